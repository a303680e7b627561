"""Links of the pages that people read: each leads to a file that exists, and to a heading in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / "docs").is_dir():
    pytest.skip("the documents are not part of this copy", allow_module_level=True)

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`]+`")


def without_code(page):
    """The text of a page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page):
    """The anchors that GitHub makes of a page's headings."""
    found, seen = set(), {}
    for title in re.findall(r"^#+ (.*?)\s*$", without_code(page), flags=re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        times = seen[anchor] = seen.get(anchor, -1) + 1
        found.add(f"{anchor}-{times}" if times else anchor)
    return found


def broken_links(page):
    """The relative links of a page that lead nowhere."""
    for link in LINK.findall(CODE.sub("", without_code(page))):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert not list(broken_links(page))


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A title, `code`\n\n```\n# no title\n```\n")
    page = tmp_path / "page.md"
    right = ("other.md", "other.md#a-title-code", "#here", "https://example.org/nothing")
    wrong = ("nowhere.md", "other.md#no-title", "#there")
    page.write_text("# Here\n\n" + "\n".join(f"`f[0](x)` [`text`]({link})" for link in (*right, *wrong)))
    assert tuple(broken_links(page)) == wrong


def section(page, title):
    """The rows of the first table below a heading that starts like this, as lists of cells."""
    text = (ROOT / "docs/results" / page).read_text().partition(f"\n## {title}")[2].partition("\n## ")[0]
    return [[cell.strip(" *") for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.*$", text, re.MULTILINE)]


def cell(page, title, row, column):
    """One figure of the tables that tools write."""
    headers, *rows = section(page, title)
    return next(cells for cells in rows if cells[: len(row)] == list(row))[headers.index(column)]


BY_THREADS = "idle, back to back: softmax of 256x4096", ("softmax_cy", "2")
RACE = {
    "{}x as fast as in torch": ("softmax, float32, in cache", "geometric mean / ours", "torch / ours"),
    "{}x its speed at": ("softmax, float32, in cache", "softmax-f32-256x4096", "best / ours"),
    "{}x at (8, 1000000)": ("softmax, float32, beyond cache", "softmax-f32-8x1000000", "best / ours"),
    "axis 0 of (10, 4096): {}x": ("softmax, axis 0", "softmax-f32-10x4096-axis0", "best / ours"),
    "{}x at (1024, 128)": ("softmax_vjp, in cache", "softmax_vjp-f32-1024x128", "torch / ours"),
    "At (64, 10) they take {}x": ("softmax_jacobian", "softmax_jacobian-f32-64x10", "ours / fill"),
}
FIGURES = {sentence: ("race.md", title, (row,), column) for sentence, (title, row, column) in RACE.items()} | {
    "largest error is {} ulp": ("accuracy.md", "float32: largest error, ulp", ("softmax",), "v4"),
    "where NumPy and SciPy reach {}": ("accuracy.md", "float32: largest error, ulp", ("softmax",), "numpy"),
    "and torch {}": ("accuracy.md", "float32: largest error, ulp", ("softmax",), "torch"),
    "to {}x the speed of one": ("busy.md", *BY_THREADS, "times as fast as on one thread (medians)"),
}


@pytest.mark.parametrize("sentence", FIGURES)
def test_the_readme_has_the_figures_of_the_tables(sentence):
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert sentence.format(cell(*FIGURES[sentence]).partition(" ")[0]) in readme


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90
