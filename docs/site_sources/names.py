"""A Sphinx extension: names of public functions in docstrings and in the text of pages become links to their pages."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

MODULES = ("softmax_cy", "softmax_cy.torch", "softmax_cy.dask", "softmax_cy.numba")
# Names that docstrings use for parameters and words.
NO_LINKS = {"softmax_cy.__version__"}


def list_names() -> set[str]:
    """Return the public names of all modules, with the modules before them."""
    found = {*MODULES, "softmax_cy.capi.Status"} - {"softmax_cy"}  # which in C is a pointer
    for module in MODULES:
        if module != "softmax_cy.numba":  # its page is a table
            found |= {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    return found - NO_LINKS


NAMES = list_names()

# Whose names the text of a page has in mind, where that is another module than softmax_cy, or nobody's.
PAGES = {
    "torch": "softmax_cy.torch",
    "scale": "softmax_cy.dask",
    "embedding": None,
    "coming_from_torch": None,
    "coming_from_scipy": None,
    "coming_from_jax": None,
    "results/race-torch": None,
}


def find_name(text: str, module: str | None) -> str | None:
    """Return the full name of what a text names, if that is public. Names without a module are those of `module`."""
    text = text.removesuffix("()")
    if "." in text or module is None:
        return text if text in NAMES else None
    return next((place for place in (f"{module}.{text}", f"softmax_cy.{text}") if place in NAMES), None)


def link(full: str, shown: str, docname: str) -> nodes.Node:
    """Return a reference that Sphinx resolves later."""
    reference = addnodes.pending_xref(
        "", refdomain="py", reftype="obj", reftarget=full, refexplicit=True, refwarn=True, refdoc=docname
    )
    reference += nodes.literal(shown, shown, classes=["xref", "py", "py-obj"])
    return reference


def name_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """What single backticks in docstrings mean: a public function, or else code."""
    environment = inliner.document.settings.env
    full = find_name(text, environment.ref_context.get("py:module", "softmax_cy"))
    if full is None:
        return [nodes.literal(text, text)], []
    return [link(full, text, environment.docname)], []


def link_literals(app: Sphinx, doctree: nodes.document) -> None:
    """Make links of code in the text of a page that is the name of something public."""
    page, no_places = app.env.docname, nodes.title | nodes.reference | addnodes.pending_xref
    for literal in list(doctree.findall(nodes.literal)):
        if any(isinstance(parent, no_places) for parent in walk_up(literal)):
            continue
        full = find_name(literal.astext(), PAGES.get(page, "softmax_cy"))
        if full is not None and not literal.get("classes"):
            literal.replace_self(link(full, literal.astext(), page))


def walk_up(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the nodes that hold this one."""
    while node.parent is not None:
        node = node.parent
        yield node


def adapt_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Leave out what the docstring of a module says to readers of its source, and show indented lines as they are."""
    if what != "module":
        return
    if "Design:" in lines:
        del lines[lines.index("Design:") :]
    for i in range(len(lines) - 2):
        if lines[i].endswith(":") and not lines[i + 1] and lines[i + 2].startswith("    "):
            lines[i] += ":"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role and the links."""
    app.add_role("name", name_role)
    app.connect("doctree-read", link_literals)
    app.connect("autodoc-process-docstring", adapt_docstring, priority=0)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
