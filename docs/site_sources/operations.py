"""Writes the pages of the API: one for each row of the list of operations, and those of the groups that have no row.

What a page says of speed and digits is cut out of docs/results/; what it says of arguments and formulas is the
function's docstring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from site_sources.tables import Section, read_sections, read_table, write_table

FAMILIES = {
    "forward": "From the logits",
    "product": "Products with a Jacobian",
    "jacobian": "Jacobians",
    "loss": "Losses",
}
PRECISIONS = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64"}
# The pages that are not of one operation.
GROUPS = ("states", "configuration", "torch", "dask", "numba", "c", "plain")
LIBRARIES = ("numpy", "scipy", "torch", "jax")
# In the first ones the precision of the kernels is that of the CPU's vectors; the last is there for the tests alone.
VARIANTS = ("baseline", "v3", "v4")


def write_pages(operations: Iterable, results: Path, layers: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the text of the page of each operation by its name. `layers` has the public names of other modules."""
    speed = read_sections(results / "race.md")
    _, means = read_table((results / "asv.md").read_text())
    digits = read_sections(results / "accuracy.md")
    pages = {}
    for operation in operations:
        name = operation.name
        parts = [
            f"# {name}",
            document("softmax_cy", f".. autofunction:: {name}"),
            *write_cost(name, speed, means),
            *write_digits(operation, digits),
            *write_layers(operation, layers),
        ]
        pages[name] = "\n\n".join(parts) + "\n"
    return pages


def document(module: str, *directives: str) -> str:
    """Write directives of Sphinx into a page of Markdown."""
    body = "\n\n".join([f".. currentmodule:: {module}", *directives])
    return f"```{{eval-rst}}\n{body}\n```"


def write_cost(name: str, sections: list[Section], means: list[dict[str, str]]) -> list[str]:
    """Write what the function costs: the means of the asv suite, then each case that `make race` has timed."""
    parts = []
    for row in means:
        if row[""] == name:
            others = [library for library in row if library not in ("", "cases") and row[library]]
            parts += [
                f"How many times faster softmax_cy is: the geometric mean of {row['cases']} cases, and the worst one "
                "in parentheses ([asv](/results/asv.md)).",
                write_table(others, [[row[library] for library in others]], left=0),
            ]
    races = []
    for section in sections:
        title, _, unit = section.title.rpartition(": ")
        rows = [
            [describe_case(row["case"]), row["softmax_cy"], row["torch / ours"], row["best / ours"]]
            for row in section.rows
            if row["case"].startswith(f"{name}-")
        ]
        if rows:
            races += [f"**{title}**", write_table(["case", unit, "torch / ours", "fastest other / ours"], rows)]
    if races:
        parts += [
            "Each case beside others, on one thread unless it says otherwise. A ratio above 1 means that softmax_cy is "
            "faster. All libraries, and the machine: [race](/results/race.md), [as charts](/charts/speed.md).",
            *races,
        ]
    return ["## Cost", *parts] if parts else []


def describe_case(case: str) -> str:
    """Say what a case of the race is: `softmax-f32-64x10-axis0` is float32, (64, 10), axis 0."""
    _, kind, shape, *rest = case.split("-")
    extra = " ".join({"axis0": "axis 0", "allocated": "a new result"}.get(word, word) for word in rest)
    numbers = ", ".join(shape.split("x")) + ("," if "x" not in shape else "")
    return f"{PRECISIONS.get(kind, kind)}, ({numbers})" + (f", {extra}" if extra else "")


def find_cases(operation, section: Section) -> list[dict[str, str]]:
    """Return the rows of a table of errors that are about the results of an operation."""
    names = [operation.name] + [operation.name.partition("_and_")[0]] * ("_and_" in operation.name)
    holds = {array.holds for array in operation.outputs}
    rows = []
    for row in section.rows:
        name, _, part = row["case"].partition(", ")
        if name in names and (part != "gradient" or "grad" in holds):
            rows.append(row)
    return rows


def write_digits(operation, sections: list[Section]) -> list[str]:
    """Write the bounds of the errors, and the largest ones that were seen, in every set of kernels."""
    rows, notes = [], []
    for section in sections:
        precision, _, what = section.title.partition(": ")
        if not what.startswith("largest error"):
            continue
        notes = section.notes or notes
        for row in find_cases(operation, section):
            ours = max((row[variant] for variant in VARIANTS), key=float)
            rows.append([row["case"], precision, row["bound"], ours, *(row[library] for library in LIBRARIES)])
    if not rows:
        return []
    text = (
        "In units in the last place, the largest that was seen in all kernels, lengths and kinds of input. The bound "
        "is that of the tests. All of it: [tables](/results/accuracy.md), [charts](/charts/digits.md). "
        "[Where the errors come from](/accuracy.md)."
    )
    headers = ["result", "dtype", "bound", "softmax_cy", *LIBRARIES]
    return ["## Largest error", text, write_table(headers, rows, left=2), "\n".join(f"- {note}" for note in notes)]


def write_layers(operation, layers: Mapping[str, Iterable[str]]) -> list[str]:
    """Write where else the function is."""
    rows = [
        [what, f"{{py:obj}}`{module}.{operation.name}`"]
        for module, what in (("softmax_cy.torch", "tensors of torch"), ("softmax_cy.dask", "arrays of Dask"))
        if operation.name in layers.get(module, ())
    ]
    in_c = [f"{operation.name}_{suffix}" for suffix in ("f32", "f64")]
    if operation.in_c:
        rows.append(["C, C++, Cython, cffi", ", ".join(f"{{c:member}}`~softmax_cy_table.{name}`" for name in in_c)])
        rows.append(["numba", ", ".join(f"[`{name}`](numba.md)" for name in in_c)])
    if not rows:
        return []
    return ["## The same for others", write_table(["for", "name"], rows, left=2)]


def write_numba_page(operations: Iterable, numba: ModuleType) -> str:
    """Write the page of the functions for numba: their arguments are those of the sources that the module makes."""
    rows = []
    for operation in operations:
        if operation.in_c:
            head = numba.write_source(operation, f"{operation.name}_f32").partition(":\n")[0].removeprefix("def ")
            rows.append([f"`{head}`", f"`{operation.name}_f64`"])
    text = document("softmax_cy.numba", ".. automodule:: softmax_cy.numba")
    table = write_table(["float32", "the same in float64"], rows, left=2)
    return f"# softmax_cy.numba\n\n{text}\n\n## Functions\n\n{table}\n"


def write_index(operations: Iterable) -> str:
    """Write the page that lists all others."""
    operations = list(operations)
    parts = [
        "# API",
        "A page for each function, with its formula, arguments, cost and largest error. Corner cases are "
        "[in one table for all](/semantics.md).",
    ]
    for family, title in FAMILIES.items():
        names = [row.name for row in operations if row.family == family]
        parts += [f"## {title}", document("softmax_cy", summarize(names)), list_pages(names, ":hidden:")]
    parts += ["## Other modules and interfaces", list_pages(GROUPS)]
    return "\n\n".join(parts) + "\n"


def summarize(names: Iterable[str]) -> str:
    """Write the directive that shows each function with the first line of its docstring."""
    return ".. autosummary::\n\n" + "\n".join(f"   {name}" for name in names)


def list_pages(names: Iterable[str], option: str = ":maxdepth: 1") -> str:
    """Write the entries of the navigation."""
    return "\n".join(["```{toctree}", option, "", *names, "```"])
