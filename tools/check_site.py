"""Open every page of the built site in Chromium, and say what is wrong: python tools/check_site.py [--shots FOLDER].

On each page: no message on the console, no request that fails or goes elsewhere, no broken link or anchor, no sideways
scrolling on a phone, and text that can be read in both colour schemes. The search must find something. `--code` lists
the blocks of code on the pages of docs/ instead, and what runs them. Exits with 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import re
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build/site"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
LEAST_CONTRAST = 4.5
BROWSER_OPTIONS = ["--no-sandbox", "--disable-background-networking", "--disable-quic", "--no-first-run"]

# What each page is asked for: its anchors, where it leads, and the colours of its text. A background that is
# transparent lets that of the element around it through.
FACTS = """() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const article = document.querySelector("article") || document.body;
  const texts = [...article.querySelectorAll("p, li, td, code, h1, h2")].filter((e) => e.innerText && e.offsetParent);
  return {
    ids: [...document.querySelectorAll("[id], a[name]")].map((e) => e.id || e.name),
    links: [...document.querySelectorAll("a[href]")].map((e) => e.href),
    width: document.documentElement.scrollWidth,
    colours: texts.map((e) => [e.tagName, numbers(getComputedStyle(e).color), background(e), e.innerText.slice(0, 30)]),
  };
}"""

# What reaches beyond the edge of the window, where nothing scrolls that it is in: it is cut off.
CUT_OFF = """() => {
  const scrolls = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(at).overflowX) && at.scrollWidth > at.clientWidth) return true;
    }
    return false;
  };
  const article = document.querySelector("article") || document.body;
  const parts = [...article.querySelectorAll("h1, h2, h3, p, li, dt, dd, img, figure, select, svg")];
  const wide = parts.filter((e) => e.offsetParent !== null && e.getBoundingClientRect().right > window.innerWidth + 1
    || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "visible" && e.clientWidth > 0);
  return wide.filter((e) => !scrolls(e)).map((e) => `<${e.tagName.toLowerCase()}> ${(e.innerText || "").slice(0, 40)}`);
}"""

FORMULAS_ARE_DRAWN = "() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true"


class Server(http.server.ThreadingHTTPServer):
    """Serves the site on this machine, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_: Any) -> None:
        """Write no traceback where the browser hangs up: it leaves a page when it has seen enough."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing: what fails is seen in the browser."""

    def log_message(self, *_: Any) -> None:
        """Write no log."""


class Checker:
    """Opens pages in one tab, and collects what is wrong with them."""

    def __init__(self, browser: Any, site: Path, address: str) -> None:
        self.site, self.address = site, address
        self.wrong: list[str] = []
        self.anchors: dict[str, set[str]] = {}
        self.links: list[tuple[str, str]] = []
        self.page = ""
        context = browser.new_context(viewport=DESK, color_scheme="light")
        context.route("**/*", self.let_through)
        self.tab = context.new_page()
        self.tab.on("console", self.read_message)
        self.tab.on("pageerror", lambda error: self.complain(f"error: {error}"))
        self.tab.on("response", self.read_response)

    def complain(self, what: str) -> None:
        """Note what is wrong with the page that is open."""
        self.wrong.append(f"{self.page}: {what}")

    def let_through(self, route: Any) -> None:
        """Let only requests to this server pass."""
        url = route.request.url
        if url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.complain(f"asks another host: {url}")
            route.abort()

    def read_message(self, message: Any) -> None:
        """Nothing that is worth a warning may be said."""
        if message.type in ("error", "warning"):
            self.complain(f"console: {message.text}")

    def read_response(self, response: Any) -> None:
        """Everything must be there."""
        if response.status >= 400:
            self.complain(f"{response.status}: {response.url}")

    def check(self, page: str) -> None:
        """Open a page, at a desk and on a phone, by day and by night."""
        self.page = page
        self.tab.set_viewport_size(DESK)
        self.tab.emulate_media(color_scheme="light")
        self.tab.goto(self.address + page)
        self.tab.evaluate(FORMULAS_ARE_DRAWN)
        facts = self.tab.evaluate(FACTS)
        self.anchors[page] = set(facts["ids"])
        self.links += [(page, link) for link in facts["links"]]
        self.judge_colours("light", facts)
        self.tab.emulate_media(color_scheme="dark")
        self.judge_colours("dark", self.tab.evaluate(FACTS))
        self.tab.set_viewport_size(PHONE)
        self.tab.wait_for_timeout(100)
        width = self.tab.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            self.complain(f"{width} pixels wide on a phone of {PHONE['width']}")
        for part in self.tab.evaluate(CUT_OFF):
            self.complain(f"cut off on a phone: {part}")

    def check_search(self, word: str) -> None:
        """The search must find a word that is on many pages."""
        self.page = f"search.html?q={word}"
        self.tab.set_viewport_size(DESK)
        self.tab.goto(self.address + self.page)
        try:
            self.tab.wait_for_selector("#search-results li a", timeout=10_000)
        except Exception as error:
            self.complain(f"finds nothing: {error}")

    def judge_colours(self, scheme: str, facts: dict[str, Any]) -> None:
        """The text must stand out."""
        worst: dict[str, tuple[float, str]] = {}
        for tag, fore, back, text in facts["colours"]:
            worst[tag] = min(worst.get(tag, (99.0, "")), (contrast(fore, back), text))
        for tag, (value, text) in worst.items():
            if value < LEAST_CONTRAST:
                self.complain(f"{scheme}: contrast {value:.1f} of <{tag.lower()}> {text!r}")

    def check_links(self) -> Counter[str]:
        """Look where all links lead, once every page was open. Count the links to other hosts, which nobody follows."""
        elsewhere: Counter[str] = Counter()
        for page, link in dict.fromkeys(self.links):
            self.page = page
            url, anchor = urldefrag(urljoin(self.address + page, link))
            if not url.startswith(self.address):
                elsewhere[urlsplit(url).netloc or urlsplit(url).scheme] += 1
                continue
            name = unquote(urlsplit(url).path).lstrip("/") or "index.html"
            if not (self.site / name).is_file():
                self.complain(f"broken link: {name}")
            elif anchor and name in self.anchors and unquote(anchor) not in self.anchors[name]:
                self.complain(f"broken anchor: {name}#{anchor}")
        return elsewhere


def luminance(colour: list[float]) -> float:
    """Return how bright a colour is, as WCAG 2 defines it."""
    parts = [c / 255 for c in colour[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[float], other: list[float]) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def find_browser() -> str | None:
    """Return where Chromium is on this machine, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def take_shots(browser: Any, address: str, folder: Path, pages: list[str]) -> None:
    """Take pictures of some pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for size, viewport in (("desk", DESK), ("phone", PHONE)):
        for scheme in ("light", "dark"):
            tab = browser.new_page(viewport=viewport, color_scheme=scheme)
            for page in pages:
                tab.goto(address + page, wait_until="networkidle")
                tab.screenshot(path=folder / f"{page.removesuffix('.html').replace('/', '-')}-{size}-{scheme}.png")
            tab.close()


# ---- code on the pages

FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\S*)[^\n]*\n(?P<code>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
# Tests of a page that run its code, too. Any other code in Python is run by tests/test_site.py.
RUN_BY = {
    "test_torch.py": ("torch.md",),
    "test_examples_of_embedding.py": ("embedding.md",),
    "test_pages.py": (
        "getting_started.md",
        "coming_from_torch.md",
        "coming_from_scipy.md",
        "coming_from_jax.md",
        "how/exponential.md",
        "how/sums.md",
        "how/walks.md",
        "how/threads.md",
    ),
}
PYTHON, TERMINAL = ("pycon", "python"), ("console", "sh")
# Other code that docs/embedding.md takes from the examples, or with which the tests build and run them.
OF_EXAMPLES = ("console", "c", "cpp", "cython", "toml")


def list_code(folder: Path) -> Iterator[tuple[Path, int, str, str]]:
    """Yield the blocks of code of all pages: page, line, language and code. Directives of Sphinx are none."""
    for page in sorted(folder.rglob("*.md")):
        text = page.read_text()
        for block in FENCE.finditer(text):
            if not block["language"].startswith("{"):
                yield page, text.count("\n", 0, block.start()) + 1, block["language"], block["code"]


def find_test(page: str, language: str) -> str:
    """Return the test that runs the code of a page, or nothing."""
    own = next((test for test, pages in RUN_BY.items() if page in pages), "")
    if language in PYTHON:
        return own or "test_site.py"
    return own if language in OF_EXAMPLES else ""


def print_code(folder: Path) -> None:
    """Print each block of code, with what runs it. Commands that nothing runs are printed, too."""
    for page, line, language, code in list_code(folder):
        test = find_test(page.relative_to(folder).as_posix(), language)
        what = f"run by tests/{test}" if test else "to read"
        if language in TERMINAL and not test:
            what = "; ".join(re.findall(r"^(?:\$ )?(.+)", code, re.MULTILINE))
        print(f"{page.relative_to(ROOT)}:{line}: {language or 'plain'}: {what}")


def main() -> int:
    """Check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=SITE, help="default: %(default)s")
    parser.add_argument("--shots", type=Path, metavar="FOLDER", help="write pictures of some pages there")
    parser.add_argument("--pages", nargs="*", help="these pages only (default: all)")
    parser.add_argument("--code", action="store_true", help="list the code on the pages of docs/")
    options = parser.parse_args()
    if options.code:
        print_code(ROOT / "docs")
        return 0
    executable = find_browser()
    if executable is None:
        print("no Chromium on this machine: apt install chromium")
        return 1
    from playwright.sync_api import sync_playwright

    pages = options.pages or sorted(path.relative_to(options.site).as_posix() for path in options.site.rglob("*.html"))
    pages = [page for page in pages if not page.startswith("_static/")]
    server = Server(options.site)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_OPTIONS)
        if options.shots:
            shown = options.pages or ["index.html", "api/softmax.html", "gallery/walk.html", "charts/speed.html"]
            take_shots(browser, server.address, options.shots, shown)
        checker = Checker(browser, options.site, server.address)
        for page in pages:
            checker.check(page)
        elsewhere = checker.check_links()
        if not options.pages:
            checker.check_search("softmax")
        browser.close()
    server.shutdown()
    print(*checker.wrong, sep="\n", end="\n" if checker.wrong else "")
    links = len(dict.fromkeys(checker.links))
    print(f"{len(pages)} pages, {links} links, {sum(elsewhere.values())} of them elsewhere: {len(checker.wrong)} wrong")
    return 1 if checker.wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
