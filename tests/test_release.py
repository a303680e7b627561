"""What tools/check_release.py refuses, and that it publishes nothing: on a repository made for the purpose."""

import datetime
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools/check_release.py"

if not TOOL.exists():
    pytest.skip("the tools are not part of this copy", allow_module_level=True)

CHANGELOG = """\
# Changelog

## Unreleased

## 0.2.0 - 2026-01-31

### Added

- Something.

## 0.1.0 - 2025-12-24

### Added

- All of it.
"""
# What the tests and the build leave behind.
MAKEFILE = """\
test:
	@echo tested
sdist:
	@mkdir -p dist
	@touch dist/softmax_cy-0.2.0.tar.gz
wheels:
	@touch dist/softmax_cy-0.2.0-cp311-cp311-linux_x86_64.whl
"""
FILES = {
    "CHANGELOG.md": CHANGELOG,
    "Makefile": MAKEFILE,
    "src/softmax_cy/_version.py": '__version__ = "0.2.0"\n',
    "tests/test_docs.py": "def test_nothing():\n    pass\n",
    ".gitignore": "/dist/\n__pycache__/\n",
}

# A hook of git tells its programs which repository it is about.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


class Repository:
    """A repository in a folder of its own, with one commit."""

    def __init__(self, folder):
        self.folder = folder
        for path, text in FILES.items():
            self.write(path, text)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def git(self, *arguments):
        """Run a command of git; nothing of the machine's settings has a part in it."""
        settings = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *settings, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout

    def write(self, path, text):
        """Write a file, without a commit."""
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self):
        """Commit all that there is."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "All there is")

    def change(self, path, old, new):
        """Commit a file with another text."""
        text = (self.folder / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))
        self.commit()

    def release(self, *arguments):
        """Run the tool."""
        command = [sys.executable, str(TOOL), *arguments]
        return subprocess.run(command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """One that can be released as 0.2.0."""
    for name in set(os.environ) - set(ENVIRONMENT):
        monkeypatch.delenv(name)
    return Repository(tmp_path)


@pytest.fixture
def tool():
    """The tool as a module."""
    specification = importlib.util.spec_from_file_location("check_release", TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def refusals(repository, tool, monkeypatch):
    """What the tool has against a version, but for the figures of the README, which take a second."""
    monkeypatch.setattr(tool, "find_in_figures", lambda root: iter(()))
    return lambda version="0.2.0": [
        reason.partition("\n")[0] for reason in tool.find_refusals(repository.folder, version)
    ]


def test_a_release_is_tested_and_built_and_not_published(repository):
    before = repository.git("for-each-ref"), repository.git("status", "--porcelain")
    done = repository.release("0.2.0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tested\n")
    assert "dist/softmax_cy-0.2.0-cp311-cp311-linux_x86_64.whl\ndist/softmax_cy-0.2.0.tar.gz\n" in done.stdout
    assert "is tested and built as version 0.2.0. Nothing has been published." in done.stdout
    commands = re.findall("^    (.*)", done.stdout, re.MULTILINE)
    assert [command.split()[:2] for command in commands] == [
        ["git", "tag"],
        ["git", "push"],
        ["twine", "check"],
        ["twine", "upload"],
    ]
    assert (repository.git("for-each-ref"), repository.git("status", "--porcelain")) == before


def test_the_command_that_tags_works_and_forbids_the_next_release(repository, tool, refusals):
    git, *arguments = shlex.split(tool.list_next_commands("0.2.0")[0])
    assert git == "git"
    repository.git(*arguments)
    assert refusals() == ["the tag v0.2.0 exists: this version has been released"]


def test_a_dry_run_runs_nothing_long(repository):
    done = repository.release("0.2.0", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("would run: make test\nwould run: make sdist\nwould run: make wheels\n")
    assert "tested\n" not in done.stdout
    assert not (repository.folder / "dist").exists()


def test_another_branch(repository, refusals):
    repository.git("checkout", "--quiet", "-b", "other")
    assert refusals() == ["this is branch other: releases are made on main"]
    repository.git("checkout", "--quiet", "--detach")
    assert refusals() == ["this is branch (none): releases are made on main"]


@pytest.mark.parametrize("path", ["Makefile", "new.txt"])
def test_a_tree_that_is_not_clean(repository, refusals, path):
    repository.write(path, "of nobody's commit\n")
    assert refusals() == ["the tree is not clean: commit or remove what follows"]


def test_another_version(refusals):
    assert refusals("0.1.0") == [
        "src/softmax_cy/_version.py says 0.2.0: write 0.1.0 there, and nowhere else",
        "CHANGELOG.md has 0.2.0 above 0.1.0: the newest version comes first",
    ]


@pytest.mark.parametrize("version", ["", "v0.2.0", "0.2", "0.02.0", "0.2.0rc1", "0.2.0.0"])
def test_what_is_no_version(refusals, version):
    assert f"VERSION is {version!r}: expected three numbers, such as VERSION=0.2.0" in refusals(version)


TOMORROW = str(datetime.date.today() + datetime.timedelta(days=2))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("## 0.2.0 -", "## 0.3.0 -", 'CHANGELOG.md has no section "## 0.2.0 - YYYY-MM-DD"'),
        ("- 2026-01-31", "", 'CHANGELOG.md has no date for 0.2.0: expected "## 0.2.0 - YYYY-MM-DD"'),
        ("2026-01-31", "2026-02-31", 'CHANGELOG.md has no date for 0.2.0: expected "## 0.2.0 - YYYY-MM-DD"'),
        ("2026-01-31", TOMORROW, f"CHANGELOG.md dates 0.2.0 {TOMORROW}, which is yet to come"),
        ("### Added\n\n- Something.\n", "", "CHANGELOG.md says nothing about 0.2.0"),
        (
            "## Unreleased\n",
            "## Unreleased\n\n- More.\n",
            'CHANGELOG.md has entries under "Unreleased": move them to "## 0.2.0 - YYYY-MM-DD"',
        ),
    ],
)
def test_a_changelog_that_does_not_go_with_it(repository, refusals, old, new, reason):
    repository.change("CHANGELOG.md", old, new)
    assert refusals() == [reason]


def test_figures_of_the_readme_that_are_not_those_of_the_tables(repository):
    """All reasons are given at once."""
    repository.change("tests/test_docs.py", "pass", "raise AssertionError")
    repository.git("checkout", "--quiet", "-b", "other")
    done = repository.release("0.2.0", "--dry-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.findall("^not released: (.*)", done.stderr, re.MULTILINE) == [
        "this is branch other: releases are made on main",
        "the README has other figures than docs/results, or a link is broken",
    ]


def test_files_of_another_build(repository, refusals):
    repository.write("dist/softmax_cy-0.2.0.tar.gz", "")
    repository.write("dist/softmax_cy-0.2.01.tar.gz", "")
    (reason,) = refusals()
    assert reason.endswith("of this commit or another: rm dist/softmax_cy-0.2.0.tar.gz")


def test_all_reasons_are_given_at_once(repository, refusals):
    repository.git("checkout", "--quiet", "-b", "other")
    repository.write("CHANGELOG.md", "")
    assert len(refusals("0.1.0")) == 4


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("@echo tested", "@false", "make test fails"),
        ("@mkdir -p dist", "@false", "make sdist fails"),
        ("@touch dist/softmax_cy-0.2.0-", "@false ", "make wheels fails"),
        ("@touch dist/softmax_cy-0.2.0-", "@: ", "make sdist and make wheels have not left both kinds of files"),
        ("@touch dist/softmax_cy-0.2.0.", "@: ", "make sdist and make wheels have not left both kinds of files"),
        ("@echo tested", "@touch new.txt", "the tree is not clean: commit or remove what follows"),
        (
            "@echo tested",
            "@git -c user.name=x -c user.email=x@example.org commit --quiet --allow-empty --message x",
            "there are new commits since",
        ),
    ],
)
def test_tests_and_builds_that_fail(repository, refusals, tool, capfd, monkeypatch, old, new, reason):
    repository.change("Makefile", old, new)
    monkeypatch.chdir(repository.folder)
    assert tool.main(["0.2.0"]) == 1
    printed = capfd.readouterr()
    assert f"not released: {reason}" in printed.err
    assert "Nothing has been published" not in printed.out


def test_the_make_around_it_hands_nothing_down(repository):
    """VERSION and options are for the tool alone."""
    repository.change("Makefile", "@echo tested", '@echo "tested: $(VERSION)$(MAKEFLAGS)."')
    repository.change("Makefile", "wheels:", f"release:\n\t@{sys.executable} {TOOL} $(VERSION)\nwheels:")
    done = subprocess.run(
        ["make", "--no-print-directory", "release", "VERSION=0.2.0"],
        cwd=repository.folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tested: .\n")
