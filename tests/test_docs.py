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
    for link in LINK.findall(without_code(page)):
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
    page.write_text("# Here\n\n" + "\n".join(f"[text]({link})" for link in (*right, *wrong)))
    assert tuple(broken_links(page)) == wrong
