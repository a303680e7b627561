"""What the pages for those who join say exists: files, targets of make, versions of linters, forms."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / ".github").is_dir():
    pytest.skip("the forms and the settings of tools are not part of this copy", allow_module_level=True)

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = [
    *(
        ROOT / name
        for name in ("CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CITATION.cff", ".editorconfig")
    ),
    *sorted(path for path in (ROOT / ".github").rglob("*.*") if path.is_file()),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FOLDERS = r"(?:\.ci|\.github|benchmarks|docs|examples|src|tests|tools)"
# In a folder of the repository, or at its root with a name that only files have.
PATH = re.compile(rf"(?<![\w/.\-])(?:{FOLDERS}/[\w.*/\-]*[\w*]|[A-Z_]+\.(?:md|cff)|(?:pyproject|MANIFEST)\.\w+)")
COMMAND = re.compile(r"\bmake((?: [a-z][a-z0-9-]*)+)((?: [A-Z]+=)?)")


def missing_paths(text):
    """The files and folders that a text names and that do not exist; NAME stands for any."""
    return [path for path in PATH.findall(text) if not any(ROOT.glob(path.replace("NAME", "*").rstrip("/")))]


def targets():
    """The targets of the Makefile that have a line in its help."""
    return re.findall(r"^([a-z0-9-]+):.* ## ", MAKEFILE, re.MULTILINE)


def commands(text):
    """What stands between back quotes, or behind the dollar of a console."""
    return re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\s*\$ (.*)$", text, re.MULTILINE)


def unknown_targets(text):
    """The targets of make in the commands of a text that the Makefile lacks, and variables that it does not use."""
    for command in commands(text):
        for found, variable in COMMAND.findall(command):
            yield from (target for target in found.split() if target not in targets())
            if variable and f"$({variable.strip(' =')})" not in MAKEFILE:
                yield variable.strip()


@every_page
def test_every_file_that_a_page_names_exists(page):
    assert not missing_paths(page.read_text())


@every_page
def test_every_command_that_a_page_names_exists(page):
    assert not list(unknown_targets(page.read_text()))


def test_what_does_not_exist_is_found():
    text = "See docs/nowhere.md, `tests/test_none.py`, NOTHING.md, docs/design.md and `src/softmax_cy/*.pyx`."
    assert missing_paths(text) == ["docs/nowhere.md", "tests/test_none.py", "NOTHING.md"]
    text = (
        '`make test nothing`, `make none`, `make race NO=1`, `make race ARGS="--select softmax"`\n$ make test never\n'
    )
    assert list(unknown_targets(text)) == ["nothing", "none", "NO=", "never"]


# ---- make help ---------------------------------------------------------------------------------------------------


def test_help_has_each_target_once_in_groups_and_short_lines():
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    groups = [re.split(r"\n  ", group) for group in done.stdout.strip().split("\n\n")]
    titles = [title for title, *_ in groups]
    assert titles == [*dict.fromkeys([*re.findall(r"^##@ (?!Other$)(.*)$", MAKEFILE, re.MULTILINE), "Other"])]
    listed = [line.split()[0] for _, *lines in groups for line in lines]
    assert sorted(listed) == sorted(targets())
    assert [line for line in done.stdout.splitlines() if len(line) > 120] == []


def test_every_target_with_a_line_of_help_is_run_whatever_files_there_are():
    phony = " ".join(re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)).split()
    assert set(targets()) <= set(phony)


# ---- settings of tools -------------------------------------------------------------------------------------------


def read_yaml(path):
    """A file as Python objects."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads it")
    return yaml.safe_load(path.read_text())


def test_hooks_have_the_versions_of_the_tests():
    hooks = [hook for entry in read_yaml(ROOT / ".pre-commit-config.yaml")["repos"] for hook in entry["hooks"]]
    tools = {tool for hook in hooks for tool in hook["additional_dependencies"]}
    names = {re.match(r"[\w-]+", tool)[0] for tool in tools}
    assert names == {"ruff", "cython-lint", "clang-format", "typos"}
    others = {tool for tool in tools if not tool.startswith("typos==")}
    assert others <= set(PROJECT["optional-dependencies"]["test"]), "as in the extra `test` of pyproject.toml, please"


FORMS = sorted(set((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_forms_ask_for_what_helps(form):
    content = read_yaml(form)
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert {"name", "description", "body"} <= content.keys()
    assert len({field["id"] for field in fields}) == len(fields)
    asks = [field["attributes"]["label"] for field in fields if field.get("validations", {}).get("required")]
    assert asks
    assert form.stem == "question" or any("python -m softmax_cy" in label for label in asks)


def test_the_citation_is_of_this_project():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["license"] == PROJECT["license"]
    assert PROJECT["name"] in citation["title"]
    assert "version" not in citation, "the version stands in src/softmax_cy/_version.py alone"


def test_classifiers_name_the_pythons_from_the_oldest_on():
    named = [
        tuple(map(int, found)) for found in re.findall(r"Python :: (\d)\.(\d+)", "\n".join(PROJECT["classifiers"]))
    ]
    oldest = tuple(map(int, re.fullmatch(r">=(\d)\.(\d+)", PROJECT["requires-python"]).groups()))
    assert named == [(3, minor) for minor in range(oldest[1], oldest[1] + len(named))]


# ---- the changelog -----------------------------------------------------------------------------------------------

KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def faults_of_changelog(text):
    """What is not in the form that the first lines of the changelog describe."""
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if titles[:1] != ["Unreleased"]:
        yield "the first section is Unreleased"
    yield from (title for title in titles[1:] if not re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", title))
    versions = [tuple(map(int, re.findall(r"\d+", title)[:3])) for title in titles[1:]]
    if versions != sorted(versions, reverse=True) or len(set(versions)) < len(versions):
        yield "the newest version comes first"
    for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        yield from (kind for kind in kinds if kind not in KINDS)
        if kinds != [kind for kind in KINDS if kind in kinds]:
            yield f"{', '.join(kinds)}: each once, in the order {', '.join(KINDS)}"
        for entry in re.findall(r"^- (.*)$", section, re.MULTILINE):
            is_marked = re.match(r"\W*(bits|api)\b", entry, re.IGNORECASE)
            if is_marked and not entry.startswith(("**Bits**: ", "**API**: ")):
                yield entry


def test_the_changelog_has_the_form_that_it_describes():
    assert list(faults_of_changelog((ROOT / "CHANGELOG.md").read_text())) == []


def test_another_form_is_seen():
    good = (
        "## Unreleased\n\n## 0.10.0 - 2026-02-01\n\n### Added\n\n- Bitset.\n- **API**: No.\n\n## 0.9.0 - 2026-01-31\n"
    )
    assert list(faults_of_changelog(good)) == []
    for old, new in [
        ("## Unreleased\n", ""),
        ("2026-02-01", "soon"),
        ("0.9.0", "0.10.0"),
        ("0.9.0", "0.11.0"),
        ("Added", "New"),
        ("### Added", "### Fixed\n\n### Added"),
        ("**API**: ", "API: "),
    ]:
        assert list(faults_of_changelog(good.replace(old, new))), new
