"""How wheels are made and judged, and the tests that they hold. `make wheels` builds, installs and tests real ones."""

import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import golden
from softmax_cy import _dispatch
from softmax_cy.tests import bits

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

if not (ROOT / "tools/release").is_dir():
    pytest.skip("the tools are not part of this copy", allow_module_level=True)

sys.path.insert(0, str(ROOT / "tools"))
from release import archives, contents, installing, pythons
from release.commands import FailedError

sys.path.remove(str(ROOT / "tools"))


# ---- the core of the tests, which is a part of the package -------------------------------------------------------


def run_core(folder, *options, variant=None):
    """As whoever has installed the package would, without the configuration of this repository."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), *options]
    environment = {name: value for name, value in os.environ.items() if name != _dispatch.ENVIRONMENT_VARIABLE}
    if variant:
        environment[_dispatch.ENVIRONMENT_VARIABLE] = variant
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--pyargs", "softmax_cy"],
        cwd=folder,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_core_passes(tmp_path):
    done = run_core(tmp_path)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert int(passed[1]) > 100


WITH_FMA = [name for name in _dispatch.runnable_variants() if _dispatch.VARIANTS[name].has_fma]


@pytest.mark.skipif(not WITH_FMA, reason="this CPU has no fused multiply-add, and without that no bits are promised")
@pytest.mark.parametrize(
    ("function", "change", "failing"),
    [
        ("softmax", "np.nextafter(result, 2 * result)", ("promised_bits", "layouts", "states")),
        ("log_softmax", "result * (1 + 4 * np.finfo(result.dtype).eps)", ("promised_bits", "test_values")),
        ("softmax_jvp", "result * (1 + 1e-4)", ("promised_bits", "products_are_those")),
    ],
)
def test_the_core_sees_a_wrong_result(tmp_path, function, change, failing):
    (tmp_path / "wrong.py").write_text(
        "import numpy as np\n"
        "import softmax_cy\n"
        f"right = softmax_cy.{function}\n"
        "def wrong(*arguments, out=None, **options):\n"
        "    result = right(*arguments, **options)\n"
        "    if np.size(result) == 257 or np.ndim(result) > 1:\n"
        f"        result = {change}\n"
        "    if out is None:\n"
        "        return result\n"
        "    out[...] = result\n"
        "    return out\n"
        f"softmax_cy.{function} = wrong\n"
    )
    done = run_core(tmp_path, "-p", "wrong", variant=WITH_FMA[-1])
    assert done.returncode == 1, done.stdout
    for name in failing:
        assert re.search(rf"FAILED .*{name}", done.stdout), name


def test_the_core_knows_the_recorded_bits():
    summaries = {dtype: bits.summarize(digests) for dtype, digests in golden.recorded().items()}
    assert json.loads(golden.SUMMARIES.read_text()) == summaries, "run tools/golden.py"
    groups = golden.lengths_in_groups()
    assert {group: tuple(groups[group]) for group in bits.CORE} == {
        group: tuple(lengths) for group, lengths in bits.CORE.items()
    }


def test_a_summary_sees_every_digest():
    digests = golden.recorded()["float32"]
    before = bits.summarize(digests)
    for kind in bits.UNITS:
        for group in bits.CORE:
            changed = json.loads(json.dumps(digests))
            changed[kind]["softmax"][group] = "0" * 16
            different = {name for name, digest in bits.summarize(changed).items() if digest != before[name]}
            assert different == {"softmax"}


def test_the_core_needs_nothing_of_the_repository():
    folder = ROOT / "src/softmax_cy/tests"
    imported = {
        name
        for path in folder.glob("*.py")
        for name in re.findall(r"^(?:from|import) (\w+)", path.read_text(), flags=re.MULTILINE)
    }
    assert imported <= {*sys.stdlib_module_names, "numpy", "pytest", "softmax_cy"}


# ---- archives ----------------------------------------------------------------------------------------------------

FILES = {
    "softmax_cy/__init__.py": b"",
    "softmax_cy/_call.so": bytes(range(256)) * 300,
    "softmax_cy-1.dist-info/METADATA": b"Name: softmax_cy\n",
    "softmax_cy-1.dist-info/RECORD": b"softmax_cy-1.dist-info/RECORD,,\nsoftmax_cy/_call.so,sha256=b,2\n"
    b"softmax_cy-1.dist-info/METADATA,sha256=c,3\nsoftmax_cy/__init__.py,sha256=a,1\n",
}


def write_wheel(path, names, year, mode):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, (year, 1, 2, 3, 4, 6))
            entry.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(entry, FILES[name])
    return path


def test_the_bytes_of_a_wheel_follow_from_its_files(tmp_path):
    one = write_wheel(tmp_path / "one.whl", FILES, 2001, 0o600)
    other = write_wheel(tmp_path / "other.whl", reversed(FILES), 2020, 0o777)
    first = archives.rewrite_wheel(one, tmp_path / "first.whl", 10**9)
    second = archives.rewrite_wheel(other, tmp_path / "second.whl", 10**9)
    assert first.read_bytes() == second.read_bytes()
    assert archives.sha256(first) == archives.sha256(second)
    assert first.read_bytes() != archives.rewrite_wheel(one, tmp_path / "later.whl", 2 * 10**9).read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "softmax_cy/__init__.py",
            "softmax_cy/_call.so",
            "softmax_cy-1.dist-info/METADATA",
            "softmax_cy-1.dist-info/RECORD",
        ]
        record = "softmax_cy-1.dist-info/RECORD"
        assert all(archive.read(name) == data for name, data in FILES.items() if name != record)
        assert sorted(archive.read(record).split()) == sorted(FILES[record].split())
        assert archive.read(record).split()[0].startswith(b"softmax_cy/__init__.py")
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        assert modes["softmax_cy/_call.so"] == 0o755
        assert modes["softmax_cy/__init__.py"] == 0o644
        assert {entry.date_time for entry in archive.infolist()} == {(2001, 9, 9, 1, 46, 40)}
        assert archive.getinfo("softmax_cy/_call.so").compress_size < 2000


def test_wheels_are_written_anew_in_place(tmp_path, monkeypatch, capsys):
    path = write_wheel(tmp_path / "one.whl", FILES, 2001, 0o600)
    expected = archives.rewrite_wheel(path, tmp_path / "expected.whl", 10**9).read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(10**9))
    monkeypatch.setattr(sys, "argv", ["archives.py", str(path)])
    archives.main()
    assert path.read_bytes() == expected
    assert archives.sha256(path) in capsys.readouterr().out
    assert sorted(one.name for one in tmp_path.iterdir()) == ["expected.whl", "one.whl"]


def write_sdist(path, names, mtime, mode):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"softmax_cy-1/{name}")
            entry.size, entry.mtime, entry.mode, entry.uname = len(name), mtime, mode, f"user{mode}"
            archive.addfile(entry, io.BytesIO(name.encode()))
    return path


def test_the_bytes_of_a_source_distribution_follow_from_its_files(tmp_path):
    names = ("setup.py", "PKG-INFO", "src/softmax_cy/__init__.py")
    one = write_sdist(tmp_path / "one.tar.gz", names, 5.5, 0o600)
    other = write_sdist(tmp_path / "other.tar.gz", reversed(names), 7, 0o755)
    first = archives.rewrite_sdist(one, tmp_path / "first.tar.gz", 10**9)
    second = archives.rewrite_sdist(other, tmp_path / "second.tar.gz", 10**9)
    assert first.read_bytes() == second.read_bytes()
    assert int.from_bytes(first.read_bytes()[4:8], "little") == 10**9  # the time in the header of gzip
    with tarfile.open(first) as archive:
        assert archive.getnames() == sorted(f"softmax_cy-1/{name}" for name in names)
        assert {(member.mtime, member.mode, member.uname) for member in archive} == {(10**9, 0o644, "")}


def test_the_time_of_archives(monkeypatch, tmp_path):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    assert archives.commit_time(ROOT) == 1234567890
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert archives.commit_time(tmp_path) == archives.EARLIEST


# ---- what is in a wheel ------------------------------------------------------------------------------------------


def link(folder, name, *options):
    """A library that calls a function of another one."""
    source = folder / "source.c"
    source.write_text("double cos(double); double f(double x) { return cos(x); }\n")
    command = ["cc", "-shared", "-fPIC", "-fno-builtin", str(source), "-o", str(folder / name), *options]
    subprocess.run(command, check=True)
    return (folder / name).read_bytes()


def as_wheel(path, **modules):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("softmax_cy/tests/digests.json", "{}")
        for name, data in modules.items():
            archive.writestr(f"softmax_cy/{name}.so", data)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="wheels for other systems are not looked into")
def test_a_library_beside_libc_is_found(tmp_path):
    plain, linked = link(tmp_path, "plain.so"), link(tmp_path, "linked.so", "-Wl,--no-as-needed", "-lm")
    assert "libm.so.6" in contents.needed_libraries(linked)
    assert list(contents.faults(as_wheel(tmp_path / "plain.whl", a=plain))) == []
    (fault,) = contents.faults(as_wheel(tmp_path / "linked.whl", a=plain, b=linked))
    assert fault == "softmax_cy/b.so is linked with libm.so.6"


@pytest.mark.skipif(sys.platform != "linux", reason="wheels for other systems are not looked into")
@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"])
def test_a_folder_of_the_building_machine_is_found(tmp_path, tags):
    module = link(tmp_path, "a.so", f"-Wl,{tags}", "-Wl,-rpath,/home/somebody/lib")
    (fault,) = contents.faults(as_wheel(tmp_path / "a.whl", a=module))
    assert fault == "softmax_cy/a.so looks for libraries in /home/somebody/lib"


def test_other_faults_are_found(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("softmax_cy.libs/libm.so.txt", "")
        archive.writestr("softmax_cy/kernels/_f32_v4_on_v3.py", "")
    monkeypatch.setattr(contents, "MOST_BYTES", 100)
    faults = " ".join(contents.faults(tmp_path / "empty.whl"))
    for part in ("more than 100", "no extension module", "libraries were copied", "v4_on_v3", "lacks the core"):
        assert part in faults


# ---- Pythons -----------------------------------------------------------------------------------------------------


def write_python(path, told):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Programs that say what Pythons would, and no others."""
    good = {"name": "CPython", "threads_without_gil": False, "headers": True}
    versions = tmp_path / "pyenv/versions"
    for version in ("3.9.18", "3.11.7", "3.11.10", "3.13.0"):
        numbers = list(map(int, version.split(".")))
        write_python(versions / version / "bin/python", {**good, "version": numbers})
    write_python(versions / "3.12.1/bin/python", {**good, "version": [3, 12, 1], "headers": False})
    path = tmp_path / "bin"
    write_python(path / "python3.11", {**good, "version": [3, 11, 2]})
    write_python(path / "python3.14", {**good, "version": [3, 14, 0], "threads_without_gil": True})
    write_python(path / "python3.10", {**good, "version": [3, 10, 4]})
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_usable_pythons_are_found(installed):
    found = {one.tag: str(one) for one in pythons.find_all()}
    assert found["cp310"] == "3.10.4"
    assert found["cp311"] == "3.11.10"
    assert found["cp313"] == "3.13.0"
    assert "cp39" not in found


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_pythons_are_found_by_name_version_and_path(installed):
    names = ("python3.13", "3.10", str(installed / "python3.11"))
    assert [str(one) for one in pythons.find_named(names)] == ["3.13.0", "3.10.4", "3.11.2"]
    for name, reason in (
        ("python3.9", "no Python of this version"),
        (str(installed / "python3.14"), "not CPython with the GIL"),
        (str(installed.parent / "pyenv/versions/3.12.1/bin/python"), "has no Python.h"),
        ("no-such-python", "does not run"),
    ):
        with pytest.raises(pythons.UnusableError, match=reason):
            pythons.find_named([name])


# ---- reports of installed tests ----------------------------------------------------------------------------------


def write_report(path, tests, failures, skips):
    skipped = "".join(f'<testcase><skipped message="{reason}"/></testcase>' for reason in skips)
    path.write_text(
        f'<testsuites><testsuite tests="{tests}" failures="{failures}" errors="0" skipped="{len(skips)}" time="1.5">'
        f"{skipped}</testsuite></testsuites>"
    )
    return path


def test_reports_are_counted(tmp_path):
    tested = installing.read_report(write_report(tmp_path / "a.xml", 10, 0, ["no FMA", "no FMA", "other"]), "2.0.0")
    assert tested == installing.Tested("2.0.0", 7, {"no FMA": 2, "other": 1}, 1.5)
    for tests, failures, skips in ((5, 1, []), (2, 0, ["a", "b"]), (0, 0, [])):
        with pytest.raises(FailedError, match="tests passed"):
            installing.read_report(write_report(tmp_path / "b.xml", tests, failures, skips), "2.0.0")


def test_the_oldest_version_is_that_of_the_metadata():
    assert installing.oldest_version(["other>=7", "numpy>=2.0"], "numpy") == "2.0.0"
    assert installing.oldest_version(["numpy>=2.1.3,<3"], "numpy") == "2.1.3"


# ---- workflows ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not WORKFLOWS, reason="the workflows are not part of this copy")
def test_workflows_follow_the_schema(tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    assert subprocess.run([*check, *WORKFLOWS], capture_output=True, check=False).returncode == 0
    assert subprocess.run([*check, wrong], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_says_that_it_was_never_run(path):
    """Remove the line, and the file from this test, when one has run."""
    assert path.read_text().startswith("# Never run: ")
