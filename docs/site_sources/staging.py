"""Lays out the sources of the site in a folder of their own, so that the repository holds nothing that is generated.

The pages of docs/ are copied as they are, but for their links to files outside of docs/: on the site such a file is a
page of its own, which shows it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages beside docs/ that the site has, too.
BESIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
PICTURES = (".png", ".svg")
LINK = re.compile(r"\]\((?!#|[a-z]+:)([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```)$", flags=re.DOTALL | re.MULTILINE)
CLAIMS = "<!-- the claims of README.md -->"
LANGUAGES = {".py": "python", ".pyx": "cython", ".h": "c", ".c": "c", ".md": "markdown"}


class Stage:
    """A folder, empty at first, that gets the sources of the site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown: dict[str, Path] = {}

    def write(self, name: str, text: str) -> None:
        """Write a page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def copy(self, source: Path, name: str) -> None:
        """Copy a picture."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)

    def copy_page(self, source: Path, name: str) -> None:
        """Copy a page, with links that hold on the site."""
        text = self.move_links(source.read_text(), source.parent)
        self.write(name, text.replace(CLAIMS, self.move_links(read_claims(), ROOT)))

    def move_links(self, text: str, folder: Path) -> str:
        """Return the text of a page of this folder with links that hold on the site."""
        pieces = FENCE.split(text)
        pieces[::2] = [LINK.sub(lambda found: f"]({self.move_link(found, folder)})", piece) for piece in pieces[::2]]
        # The doctests of some pages need a blank line at the end of their code. Readers do not.
        pieces[1::2] = [re.sub(r"\n+```$", "\n```", piece) for piece in pieces[1::2]]
        return "".join(pieces)

    def move_link(self, found: re.Match[str], folder: Path) -> str:
        """Return where a link leads on the site."""
        link, anchor = found[1], found[2] or ""
        target = (folder / link).resolve()
        if link.startswith("/") or not target.is_relative_to(ROOT) or not target.exists():
            return f"{link}{anchor}"  # Sphinx warns of what leads nowhere
        name = target.relative_to(ROOT).as_posix()
        if target.is_relative_to(DOCS):
            return f"/{target.relative_to(DOCS).as_posix()}{anchor}"
        if name in BESIDE:
            return f"/{BESIDE[name]}{anchor}"
        self.shown[name] = target
        return f"/source/{name}.md"

    def show_files(self) -> None:
        """Write a page for each file that some page has a link to."""
        for name, path in self.shown.items():
            language = LANGUAGES.get(path.suffix, "text")
            fence = "`````"
            head = f"---\norphan: true\n---\n\n# {path.name}\n\n`{name}`"
            self.write(f"source/{name}.md", f"{head}\n\n{fence}{language}\n{path.read_text()}\n{fence}\n")


def read_claims() -> str:
    """Return what the README says of speed and digits: a test checks its figures, so nothing else repeats them."""
    text = (ROOT / "README.md").read_text()
    return text[text.index("- **") : text.index("\n## ")]


def lay_out(folder: Path, generated: Mapping[str, str]) -> None:
    """Write the sources of the site into the folder, with the generated pages."""
    stage = Stage(folder)
    for path in sorted(DOCS.rglob("*")):
        name = path.relative_to(DOCS)
        if path.suffix == ".md":
            stage.copy_page(path, name.as_posix())
        elif path.suffix in PICTURES:
            stage.copy(path, name.as_posix())
    for name, page in BESIDE.items():
        if page != "index.md":
            stage.copy_page(ROOT / name, page)
    for name, text in generated.items():
        stage.write(name, text)
    stage.show_files()
