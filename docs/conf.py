"""The configuration of the site, for Sphinx: `make docs` builds it into build/site, without a network.

What Sphinx reads lies in a folder of its own, which this file fills: docs/site_sources/staging.py says with what.
"""

from __future__ import annotations

import importlib
import sys
from importlib import resources
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT), str(ROOT / "examples")]

from benchmarks import dashboard, results  # noqa: E402
from site_sources import charts, header, operations, staging  # noqa: E402

import softmax_cy  # noqa: E402
import softmax_cy.dask  # noqa: E402
import softmax_cy.numba  # noqa: E402
import softmax_cy.plain  # noqa: E402  # or else Sphinx would read its stub, which has no docstrings
import softmax_cy.torch  # noqa: E402
from softmax_cy._operations import OPERATIONS  # noqa: E402

project = "softmax_cy"
release = version = softmax_cy.__version__
copyright = "the softmax_cy developers"
root_doc = "index"

extensions = [
    "myst_parser",
    "numpydoc",
    "site_sources.names",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]

# ---- text

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
default_role = "name"
nitpicky = True
# Types of C and what the headers of Python define.
nitpick_ignore_regex = [("c:identifier", r"ptrdiff_t|size_t|int64_t|PyObject")]
autodoc_typehints = "none"
autosummary_generate = False
numpydoc_show_class_members = False

# ---- appearance

html_theme = "pydata_sphinx_theme"
html_title = "softmax_cy"
html_static_path = [
    "_static",
    # A copy of each library in the site: no page asks for anything elsewhere.
    str(resources.files("mathjax") / "static/mathjax/es5/tex-svg-full.js"),
    str(resources.files("plotly") / "package_data/plotly.min.js"),
]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["contents.html"]}
html_domain_indices = False
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_theme_options = {
    "logo": {"text": "softmax_cy"},
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
mathjax_path = "tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}

# ---- gallery

sphinx_gallery_conf = {
    "examples_dirs": str(DOCS / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "site_sources.gallery.Order",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("softmax_cy",),
    "reference_url": {"softmax_cy": None},
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "image_srcset": ["2x"],
    "thumbnail_size": (400, 280),
}

# ---- what is generated

REPORT = dashboard.PAGE.name


def lay_out(app, config):
    """Write the sources that Sphinx is about to read."""
    if app.srcdir == DOCS:
        raise SystemExit("the sources of the site are generated: run `make docs`")
    layers = {name: importlib.import_module(name).__all__ for name in ("softmax_cy.torch", "softmax_cy.dask")}
    pages = operations.write_pages(OPERATIONS, DOCS / "results", layers)
    generated = {f"api/{name}.md": text for name, text in pages.items()}
    generated["api/index.md"] = operations.write_index(OPERATIONS)
    generated["api/numba.md"] = operations.write_numba_page(OPERATIONS, softmax_cy.numba)
    generated["api/c.md"] = header.write_page(Path(softmax_cy.get_include(), "softmax_cy.h").read_text())
    generated |= charts.write_pages(DOCS / "results", REPORT if results.files(dashboard.RESULTS) else None)
    staging.lay_out(app.srcdir, generated)


def write_report(app, exception):
    """Write the page of `make report` into the site, if the asv suite has run here."""
    if exception is None and results.files(dashboard.RESULTS):
        dashboard.main(["--results", str(dashboard.RESULTS), "--output", str(app.outdir / REPORT)])


def setup(app):
    """Connect what this file generates."""
    app.connect("config-inited", lay_out)
    app.connect("build-finished", write_report)
