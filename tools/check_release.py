"""Check that this commit can be released, and stop before anything is published: `make release VERSION=0.2.0`.

The checks that take no time come first, and all that they find is printed together. Then the tests run, and the
source distribution and the wheels are built. Nothing is tagged, pushed or uploaded: the commands for that are printed,
for a person to type. With --dry-run, what takes minutes is named and not run.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSION_FILE = Path("src/softmax_cy/_version.py")
CHANGELOG = Path("CHANGELOG.md")
BRANCH = "main"
FIGURES = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_docs.py"]
OF_MAKE = ("MAKE", "MFLAGS", "VERSION", "ARGS")
LONG = (["make", "test"], ["make", "sdist"], ["make", "wheels"])
HEADING = re.compile(r"^## \[?(?P<title>[^]\s]+)\]?(?: - (?P<date>\S+))?[ \t]*$", re.MULTILINE)


def git(root: Path, *arguments: str) -> str:
    """Return what a command of git prints."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def sections(changelog: str) -> list[tuple[str, str | None, str]]:
    """Return title, date and text of each section of the changelog, in their order."""
    headings = list(HEADING.finditer(changelog))
    ends = [*(heading.start() for heading in headings), len(changelog)][1:]
    return [
        (heading["title"], heading["date"], changelog[heading.end() : end].strip())
        for heading, end in zip(headings, ends, strict=False)
    ]


def find_in_repository(root: Path, version: str) -> Iterator[str]:
    """Name what is wrong with the branch, the tree and the tags."""
    if (branch := git(root, "branch", "--show-current")) != BRANCH:
        yield f"this is branch {branch or '(none)'}: releases are made on {BRANCH}"
    if changed := git(root, "status", "--porcelain"):
        yield f"the tree is not clean: commit or remove what follows\n{changed}"
    if git(root, "tag", "--list", f"v{version}"):
        yield f"the tag v{version} exists: this version has been released"


def find_in_version(root: Path, version: str) -> Iterator[str]:
    """Name what is wrong with the version."""
    if re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version) is None:
        yield f"VERSION is {version!r}: expected three numbers, such as VERSION=0.2.0"
    elif (stated := runpy.run_path(str(root / VERSION_FILE))["__version__"]) != version:
        yield f"{VERSION_FILE} says {stated}: write {version} there, and nowhere else"


def find_in_changelog(root: Path, version: str) -> Iterator[str]:
    """Name what is wrong with the changelog."""
    found = sections((root / CHANGELOG).read_text("utf-8"))
    for title, _, text in found:
        if title == "Unreleased" and text:
            yield f'{CHANGELOG} has entries under "Unreleased": move them to "## {version} - YYYY-MM-DD"'
    released = [section for section in found if section[0] != "Unreleased"]
    if version not in [title for title, _, _ in released]:
        yield f'{CHANGELOG} has no section "## {version} - YYYY-MM-DD"'
        return
    title, date, text = next(section for section in released if section[0] == version)
    if released[0][0] != version:
        yield f"{CHANGELOG} has {released[0][0]} above {version}: the newest version comes first"
    if not text:
        yield f"{CHANGELOG} says nothing about {version}"
    try:
        if datetime.date.fromisoformat(date or "") > datetime.date.today():
            yield f"{CHANGELOG} dates {version} {date}, which is yet to come"
    except ValueError:
        yield f'{CHANGELOG} has no date for {version}: expected "## {version} - YYYY-MM-DD"'


def list_files(root: Path, version: str) -> list[Path]:
    """Return what has been built to be published."""
    return sorted(path.relative_to(root) for path in root.glob(f"dist/softmax_cy-{version}[-.]*"))


def find_in_dist(root: Path, version: str) -> Iterator[str]:
    """Name files that may be of another commit."""
    if files := list_files(root, version):
        yield f"dist has files of {version} already, of this commit or another: rm {shlex.join(map(str, files))}"


def find_in_figures(root: Path) -> Iterator[str]:
    """Name the figures of the README that are not those of the tables, and links that lead nowhere."""
    # The plugins of other tests take longer to import than this test runs.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(FIGURES, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield f"the README has other figures than docs/results, or a link is broken\n{done.stdout}{done.stderr}"


def find_refusals(root: Path, version: str) -> list[str]:
    """Name everything that forbids a release, as far as it shows without a build."""
    return [
        *find_in_version(root, version),
        *find_in_repository(root, version),
        *find_in_changelog(root, version),
        *find_in_dist(root, version),
        *find_in_figures(root),
    ]


def refuse(reasons: list[str]) -> int:
    """Print the reasons, and return the exit code."""
    print(*(f"not released: {reason}" for reason in reasons), sep="\n", file=sys.stderr)
    return 1


def run_alone(root: Path, command: list[str]) -> int:
    """Run a command as a person would who types it: without what the make around this one hands down."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_MAKE)}
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


def list_next_commands(version: str) -> list[str]:
    """Return what a person types to publish."""
    return [
        f"git tag --annotate v{version} --message 'softmax_cy {version}'",
        f"git push --atomic REMOTE {BRANCH} v{version}",
        f"twine check --strict dist/softmax_cy-{version}[-.]*",
        f"twine upload dist/softmax_cy-{version}[-.]*",
    ]


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="three numbers, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="name what takes minutes instead of running it")
    options = parser.parse_args(arguments)
    version, root = options.version, Path(git(Path.cwd(), "rev-parse", "--show-toplevel"))

    commit = git(root, "rev-parse", "--short", "HEAD")
    if reasons := find_refusals(root, version):
        return refuse(reasons)
    for command in LONG:
        if options.dry_run:
            print(f"would run: {shlex.join(command)}")
        elif run_alone(root, command) != 0:
            return refuse([f"{shlex.join(command)} fails"])
    files = list_files(root, version)
    print(*files, sep="\n")
    if not options.dry_run and {path.suffix for path in files} != {".gz", ".whl"}:
        return refuse([f"make sdist and make wheels have not left both kinds of files of version {version} in dist"])
    # Minutes have passed: what was tested and built must still be what would be tagged.
    if git(root, "rev-parse", "--short", "HEAD") != commit:
        return refuse([f"there are new commits since {commit}, which was tested"])
    if reasons := list(find_in_repository(root, version)):
        return refuse(reasons)
    done = "passed what a dry run checks" if options.dry_run else "is tested and built"
    print(f"\n{commit} {done} as version {version}. Nothing has been published. Next, by hand:\n")
    print(*(f"    {command}" for command in list_next_commands(version)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
