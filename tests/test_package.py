"""What is shipped: names, types, wheel, documentation."""

import doctest
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import conftest
import softmax_cy

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/softmax_cy"


def test_version():
    assert softmax_cy.__version__ == importlib.metadata.version("softmax_cy")


def test_public_names():
    assert sorted(softmax_cy.__all__) == softmax_cy.__all__
    stub = (ROOT / "src/softmax_cy/__init__.pyi").read_text()
    for name in softmax_cy.__all__:
        assert hasattr(softmax_cy, name)
        assert name in stub


@pytest.mark.parametrize("name", sorted(set(softmax_cy.__all__) - {"__version__", "ctypes_functions"}))
def test_docstrings_run(name):
    finder = doctest.DocTestFinder(exclude_empty=False)
    examples = finder.find(getattr(softmax_cy, name), name, module=False)
    assert any(test.examples for test in examples), f"{name} has no example"
    runner = doctest.DocTestRunner()
    for test in examples:
        assert runner.run(test).failed == 0


def test_the_module_docstring_runs():
    assert doctest.testmod(softmax_cy).failed == 0


NOT_NUMERICAL = {
    "SoftmaxState",  # a class: softmax_state says how it is made
    "__version__",
    "ctypes_functions",
    "get_include",
    "get_num_threads",
    "set_num_threads",
    "show_config",
}


@pytest.mark.parametrize("name", sorted(set(softmax_cy.__all__) - NOT_NUMERICAL))
def test_docstrings_have_every_section(name):
    text = getattr(softmax_cy, name).__doc__
    for section in ("Parameters", "Returns", "Raises", "Notes", "References", "Examples", ".. math::"):
        assert section in text, section


def test_readme_examples_run():
    readme = (ROOT / "README.md").read_text()
    assert ">>>" in readme
    blocks = re.findall(r"```pycon\n(.*?)```", readme, flags=re.DOTALL)
    test = doctest.DocTestParser().get_doctest("".join(blocks), {}, "README.md", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("names", ["ALONE", "FIRST"])
def test_the_lists_of_files_of_tests_name_files(names):
    files = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    assert set(getattr(conftest, names)) <= files


def test_constants_are_those_of_their_script():
    done = subprocess.run([sys.executable, ROOT / "tools/constants.py", "--check"], check=False)
    assert done.returncode == 0, "run tools/constants.py"


STALE = "softmax_cy/removed_long_ago.py"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist of the tree, and a wheel built from that sdist on another path."""
    folder = tmp_path_factory.mktemp("built")
    python = [sys.executable, "-m"]
    subprocess.run(
        [*python, "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.glob("*/setup.py")
    # What an earlier build of another tree has left there.
    stale = tree.parent / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}" / STALE
    stale.parent.mkdir(parents=True)
    stale.touch()
    done = subprocess.run(
        [*python, "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, "-v", tree.parent],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel, done.stdout + done.stderr


def test_the_sdist_holds_sources_and_no_generated_code(built):
    with tarfile.open(built[0]) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {
        "src/softmax_cy/kernels/vector/simd.h",
        "src/softmax_cy/_forward.pyx",
        "tests/conftest.py",
        "LICENSE",
    } <= names
    package = [name for name in names if name.startswith("src/") and "/examples/" not in name]
    assert not [name for name in package if name.endswith((".c", ".so", ".o"))]


def test_the_wheel_holds_what_embedders_need_and_no_generated_code(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    for name in (
        "py.typed",
        "__init__.pyi",
        "__init__.pxd",
        "_build_info.py",
        "capi.pxd",
        "include/softmax_cy.h",
        "kernels/table.pxd",
        "kernels/kinds.h",
        "plain.pyi",
    ):
        assert f"softmax_cy/{name}" in names
    assert any(name.startswith("softmax_cy/plain.") and name.endswith(".so") for name in names)
    examples = {
        f"softmax_cy/{path.relative_to(PACKAGE)}"
        for path in (PACKAGE / "examples").rglob("*.*")
        if path.suffix != ".pyc"
    }
    assert examples <= names
    assert not [name for name in names - examples if name.endswith((".c", ".pyx", ".pxi", ".o"))]
    assert STALE not in names
    assert not [name for name in names if "v4_on_v3" in name], "a test variant is in the wheel that users get"
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_is_small(built, tmp_path, monkeypatch):
    """As `make wheels` makes it, which compresses it better than setuptools."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    from release import archives, contents

    assert archives.rewrite_wheel(built[1], tmp_path / built[1].name, 0).stat().st_size <= contents.MOST_BYTES


def test_the_build_tells_of_each_module_as_it_is_made(built):
    with zipfile.ZipFile(built[1]) as archive:
        modules = {
            name.partition(".")[0].replace("/", ".") for name in archive.namelist() if name.endswith((".so", ".pyd"))
        }
    told = re.findall(r"\[ ?(\d+)/(\d+)\] (softmax_cy\S+): compiled in \d+\.\d s", built[2])
    assert {name for _, _, name in told} == modules
    assert [(int(place), int(count)) for place, count, _ in told] == [
        (place, len(modules)) for place in range(1, len(modules) + 1)
    ]


def test_our_sources_compile_without_warnings(built):
    ours = r"softmax_cy/\S+\.(h|pxi|pyx|pxd|c):\d+.*warning"
    assert not re.findall(ours, built[2])


def test_the_wheel_works_where_it_is_unpacked(built, tmp_path):
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    code = "import softmax_cy; print(softmax_cy.__file__); print(softmax_cy.softmax([0.0, 0.0]))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(tmp_path / "softmax_cy/__init__.py"), "[0.5 0.5]"]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("readelf"), reason="needs readelf, on Linux")
def test_the_wheel_needs_no_library_but_libc_and_no_new_one(built, tmp_path):
    """On x86-64 with glibc what manylinux_2_17 allows."""
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    modules = sorted(tmp_path.rglob("*.so"))
    needed, versions = set(), set()
    for module in modules:
        told = subprocess.run(["readelf", "-dVW", module], capture_output=True, text=True, check=True).stdout
        needed |= set(re.findall(r"NEEDED.*\[(.*)\]", told))
        versions |= {tuple(map(int, found.split("."))) for found in re.findall(r"Name: GLIBC_([\d.]+)", told)}
    assert modules
    assert all(re.match(r"(libc|ld-linux.*|libc\.musl.*)\.so", name) for name in needed), needed
    if platform.machine() == "x86_64":
        assert max(versions, default=(2, 17)) <= (2, 17)


def test_without_a_compiler_the_build_says_what_to_install(tmp_path):
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", tmp_path, "--build-temp", tmp_path],
        cwd=ROOT,
        env={"CC": "no-such-compiler", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "needs a C compiler, but 'no-such-compiler' was not found" in done.stderr
    assert "apt install build-essential" in done.stderr
