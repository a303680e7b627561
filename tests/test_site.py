"""The site without Sphinx: its sources can be made, nothing is left out of it, and the code on its pages runs.

`make test-docs` builds the site and opens it in a browser.
"""

import ast
import doctest
import re
import sys
from pathlib import Path

import pytest

import softmax_cy
from softmax_cy._operations import OPERATIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if not (DOCS / "site_sources").is_dir():
    pytest.skip("the documents are not part of this copy", allow_module_level=True)

sys.path.insert(0, str(DOCS))
from site_sources import charts, gallery, header, operations, staging, tables
from tools import capi_signatures, check_site

RESULTS = DOCS / "results"
SCRIPTS = sorted(DOCS.glob("gallery/*.py"))
HEADER = Path(softmax_cy.get_include(), "softmax_cy.h").read_text()


@pytest.fixture(scope="module")
def pages():
    """The pages of the operations, by name."""
    return operations.write_pages(OPERATIONS, RESULTS, {"softmax_cy.torch": ["softmax"]})


# ---- what is on the site


def toctree(page):
    """The entries of the navigation in a page."""
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    return {path for line in lines for path in ([line] if "*" not in line else globbed(line))}


def globbed(pattern):
    """The pages that a pattern of the navigation stands for."""
    return {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob(f"{pattern}.md")}


def test_every_page_is_in_the_navigation():
    groups = {f"api/{name}" for name in operations.GROUPS}
    listed = toctree(DOCS / "index.md") | groups
    found = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")} - {"index"}
    assert found <= listed


def test_every_entry_of_the_navigation_is_a_page():
    generated = {"api/index", "gallery/index", "charts/speed", "charts/digits"}
    generated |= {page.removesuffix(".md") for page in staging.BESIDE.values()}
    missing = {entry for entry in toctree(DOCS / "index.md") - generated if not (DOCS / f"{entry}.md").exists()}
    assert not missing


def test_every_public_name_has_a_page(pages):
    text = "".join([*pages.values(), *(page.read_text() for page in DOCS.glob("api/*.md"))])
    documented = set(re.findall(r"^\.\. auto(?:function|class|data):: (\w+)$", text, re.MULTILINE))
    assert documented == set(softmax_cy.__all__) - {"__version__"}


def test_the_index_lists_every_page_of_the_api(pages):
    entries = set(operations.write_index(OPERATIONS).splitlines())
    assert set(pages) <= entries
    assert {page.stem for page in DOCS.glob("api/*.md")} <= entries


# ---- what the tables of docs/results/ give


def test_every_operation_has_its_largest_errors(pages):
    for name, page in pages.items():
        digits = page.partition("## Largest error")[2]
        assert re.search(r"\| float32 \| \d", digits), name
        assert re.search(r"\| float64 \| \d", digits), name
    assert "gradient" in pages["cross_entropy_and_grad"].partition("## Largest error")[2]
    assert "cross_entropy, gradient" not in pages["cross_entropy"]


def test_a_page_has_the_times_of_its_own_function_and_no_others(pages):
    rows = [row for section in tables.read_sections(RESULTS / "race.md") for row in section.rows if "-" in row["case"]]
    for name, page in pages.items():
        shown = [line for line in page.partition("## Cost")[2].splitlines() if line.startswith(("| float", "| bfloat"))]
        own = [row for row in rows if row["case"].partition("-")[0] == name]
        assert len(shown) == len(own)
        for row, line in zip(own, shown, strict=True):
            assert line.endswith(f" | {row['softmax_cy']} | {row['torch / ours']} | {row['best / ours']} |")
        assert "## Cost" in page, name
    assert "| float32, (10, 4096), axis 0 | " in pages["softmax"]


def test_tables_are_read_as_they_are_written(tmp_path):
    page = tmp_path / "page.md"
    table = "| case | a |\n|---|---:|\n| **b** | 1.7e7 |"
    page.write_text(f"- date: today\n\n## One: ns\n\n{table}\n\n- a note\n\n## None\n\ntext\n")
    (section,) = tables.read_sections(page)
    assert (section.title, section.rows, section.notes) == ("One: ns", [{"case": "b", "a": "1.7e7"}], ["a note"])
    assert tables.read_facts(page) == {"date": "today"}
    assert [tables.read_number(cell) for cell in ("1.7e7", "1.25 (torch)", "-", "1,000")] == [1.7e7, 1.25, None, 1000]


def test_charts_have_every_case_of_the_tables():
    times = charts.read_times(RESULTS / "race.md")
    shown = times["softmax, float32, in cache"]
    assert set(shown["values"]) >= {"softmax_cy", "torch", "numpy", "scipy", "jax"}
    assert all(len(values) == len(shown["cases"]) == 7 for values in shown["values"].values())
    errors = charts.read_errors(RESULTS / "accuracy.md")
    assert set(errors) == {"float32", "float64"}
    assert {"softmax_cy", "bound", "torch"} <= set(errors["float32"]["all functions"]["values"])
    assert len(charts.write_pages(RESULTS, None)) == 2


# ---- the C interface


def test_the_page_of_c_has_all_of_the_header():
    page = header.write_page(HEADER)
    for status in softmax_cy.capi.Status:
        assert f".. c:enumerator:: SOFTMAX_CY_{status.name} = {status.value}\n" in page
    for member in capi_signatures.members():
        assert f".. c:member:: {member}\n" in page
    for name in ("softmax_cy_import", "softmax_cy_status_message", "SOFTMAX_CY_ABI_VERSION", "SOFTMAX_CY_CAPSULE"):
        assert name in page
    assert page.count(".. c:") >= HEADER.count("/**") - 4  # of the file, and of what C++ and other names need


# ---- links


def test_links_are_moved_to_where_the_site_has_the_page(tmp_path):
    stage = staging.Stage(tmp_path)
    text = (
        "[a](../CONTRIBUTING.md#rules) [b](scale.md) [c](../tests/test_site.py) [d](#here) [e](https://example.org/)\n"
    )
    moved = stage.move_links(f"{text}\n```\n[b](scale.md)\n```\n", DOCS)
    assert moved == (
        "[a](/contributing.md#rules) [b](/scale.md) [c](/source/tests/test_site.py.md) [d](#here) "
        "[e](https://example.org/)\n\n```\n[b](scale.md)\n```\n"
    )
    stage.show_files()
    assert "def test_links_are_moved" in (tmp_path / "source/tests/test_site.py.md").read_text()


def test_the_sources_are_laid_out(tmp_path):
    staging.lay_out(tmp_path, {"api/made.md": "# Made\n"})
    shown = "source/src/softmax_cy/include/softmax_cy.h.md"
    for name in ("api/made.md", "results/forward.png", "contributing.md", "changelog.md", shown):
        assert (tmp_path / name).exists(), name
    assert staging.CLAIMS not in (tmp_path / "index.md").read_text()


def test_the_first_page_has_the_claims_of_the_readme():
    assert staging.CLAIMS in (DOCS / "index.md").read_text()
    assert staging.read_claims().startswith("- **Fast.**")


# ---- the gallery


def test_every_script_has_a_place_in_the_gallery():
    assert sorted(gallery.ORDER) == [path.name for path in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_of_the_gallery_compiles_and_finds_the_examples(script):
    tree = ast.parse(script.read_text())
    compile(tree, script, "exec")
    title, underline = ast.get_docstring(tree).splitlines()[:2]
    assert underline == "=" * len(title)
    examples = {path.stem for path in ROOT.glob("examples/*.py")}
    for node in ast.walk(tree):
        # What a script takes from an example must be there.
        if isinstance(node, ast.ImportFrom) and node.module in examples:
            example = ast.parse((ROOT / f"examples/{node.module}.py").read_text())
            assert {alias.name for alias in node.names} <= {getattr(top, "name", "") for top in example.body}
    assert "plt.subplots" in script.read_text()


# ---- the check of the built site

GOOD = "<!doctype html><title>t</title><meta name=viewport content=width=device-width><p id=here>text</p>"
WRONG = {
    "<script>console.error('oh')</script>": "console: oh",
    "<script>throw Error('oh')</script>": "error: oh",
    "<img src=missing.png>": "404: ",
    "<img src=http://192.0.2.1/picture.png>": "asks another host: http://192.0.2.1/picture.png",
    "<a href=missing.html>to</a>": "broken link: missing.html",
    "<a href=#there>to</a>": "broken anchor: page.html#there",
    "<p style='width: 500px'>wide</p>": "pixels wide on a phone",
    "<div style='overflow: hidden'><h1>a_name_without_a_space_in_it</h1></div>": "cut off on a phone: <h1> a_name",
    "<p style='color: #888'>pale</p>": "light: contrast 3.5 of <p> 'pale'",
    "<style>@media (prefers-color-scheme: dark) { p { color: #222; background: #333 } }</style>": "dark: contrast 1.3",
}


@pytest.fixture(scope="module")
def browser():
    """Chromium, if this machine has one."""
    if check_site.find_browser() is None:
        pytest.skip("no Chromium on this machine: apt install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=check_site.find_browser(), args=check_site.BROWSER_OPTIONS
        )
        yield chromium
        chromium.close()


def complaints(browser, site, html):
    """What is said of a site that has this page alone."""
    (site / "page.html").write_text(html)
    (site / "favicon.ico").touch()
    server = check_site.Server(site)
    checker = check_site.Checker(browser, site, server.address)
    checker.check("page.html")
    checker.check_links()
    server.shutdown()
    server.server_close()
    return checker.wrong


def test_nothing_is_said_of_a_good_page(browser, tmp_path):
    assert complaints(browser, tmp_path, f"{GOOD}<a href=#here>to</a><a href=page.html>to</a>") == []


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_page_is_said(browser, tmp_path, wrong):
    said = complaints(browser, tmp_path, GOOD + wrong)
    assert any(WRONG[wrong] in line for line in said), said


# ---- code on the pages

BLOCKS = [(page, line, language, code) for page, line, language, code in check_site.list_code(DOCS)]
# What a block of Python needs beside the blocks before it on its page.
GIVEN = {
    "apply_ufunc": "import xarray as xr; x = xr.DataArray(x, dims=['rows', 'classes'])",
    "whole.__reduce__": "import numpy as np; from softmax_cy import softmax_state",
}


def code_of_pages():
    """The pages with code in Python that no other test runs, and its blocks."""
    found = {}
    for page, line, language, code in BLOCKS:
        if check_site.find_test(page.relative_to(DOCS).as_posix(), language) == "test_site.py":
            found.setdefault(page, []).append((line, language, code))
    return [pytest.param(page, blocks, id=str(page.relative_to(DOCS))) for page, blocks in found.items()]


def import_all(code):
    """Skip where the code imports what is not installed."""
    for name in re.findall(r"^(?:>>> )?(?:import|from) ([\w.]+)", code, re.MULTILINE):
        pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.mark.parametrize(("page", "blocks"), code_of_pages())
def test_the_code_of_a_page_does_what_it_says(page, blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for line, language, code in blocks:
        import_all(code)
        if language == "python":
            for word, given in GIVEN.items():
                if word in code:
                    exec(given, names)
            exec(compile("\n" * line + code, page, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
        said = []
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        assert runner.run(test, out=said.append, clear_globs=False).failed == 0, "".join(said)
        names = test.globs


@pytest.mark.parametrize("test", check_site.RUN_BY)
def test_other_tests_run_the_code_of_their_pages(test):
    text = (ROOT / "tests" / test).read_text()
    for page in check_site.RUN_BY[test]:
        assert (DOCS / page).exists()
        assert page in text


def test_every_kind_of_code_is_known():
    known = {"", "text", "c", "cpp", "cython", "toml", *check_site.PYTHON, *check_site.TERMINAL}
    assert {language for _, _, language, _ in BLOCKS} <= known
