"""The whole package on an emulated aarch64: `make test-aarch64`, or python tools/aarch64.py [pytest arguments].

Python and what it needs are Debian's packages for arm64, NumPy and the tests' other requirements PyPI's wheels for
aarch64: all of them are unpacked into build/aarch64 and none is installed. The extension modules are cross-compiled by
setup.py, and an emulator of one process runs Python with all that it starts. What is emulated is not what an arm64
machine is: neither its speed, nor its weak order of memory accesses between threads.

Needs Debian's packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, and its servers the first time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build/aarch64"
SYSTEM = FOLDER / "root"
LIBRARY = FOLDER / "lib"
PYTHON = FOLDER / "python"
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
# Without versions: pyproject.toml says which ones suffice, and pip takes the newest that this Python can run.
WHEELS = ("numpy", "ml_dtypes", "pytest", "hypothesis", "mpmath", "rich", "threadpoolctl")
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] + ["manylinux2014_aarch64"]

# The golden bits, the choice of a variant, and the functions: what some ten minutes of emulation are enough for.
TESTS = ("golden", "dispatch", "softmax", "products")


def run(*command: object, **options: object) -> str:
    """Run a command, which must succeed, and return what it printed."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, command))} ended with {done.returncode}")
    return done.stdout


def apt(tool: str, *arguments: object, **options: object) -> str:
    """Call a tool of Debian's for packages of arm64, with lists of its own: the system's are left as they are."""
    state = FOLDER / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    places = {"Dir::State::Lists": state / "lists", "Dir::Cache": state / "cache", "Dir::State::status": "/dev/null"}
    settings = {"APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Sandbox::User": "root"} | places
    return run(tool, "-qq", *(f"-o{name}={value}" for name, value in settings.items()), *arguments, **options)


def python_version() -> str:
    """The version of the distribution's Python, such as 3.11."""
    found = re.search(r"python(3\.\d+)-minimal", apt("apt-cache", "depends", "python3-minimal"))
    if found is None:
        sys.exit("this distribution's servers have no Python for arm64")
    return found[1]


def unpack_python() -> str:
    """Unpack the distribution's Python with its headers and libraries, and return its version."""
    apt("apt-get", "update")
    version = python_version()
    wanted = (f"python{version}-minimal", f"libpython{version}-stdlib", f"libpython{version}-dev", "libstdc++6")
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances", "pre-depends")
    needed = apt("apt-cache", "depends", "--recurse", *(f"--no-{kind}" for kind in kinds), *wanted).splitlines()
    # The programs that their scripts would need on a real system are of no use here, nor are other headers.
    libraries = [name for name in needed if name.startswith(("lib", "zlib")) and not name.endswith("-dev")]
    packages = FOLDER / "packages"
    packages.mkdir(exist_ok=True)
    apt("apt-get", "download", *sorted({*wanted, *libraries}), cwd=packages)
    for package in sorted(packages.glob("*.deb")):
        run("dpkg", "-x", package, SYSTEM)
    return version


def unpack_wheels(version: str) -> None:
    """Unpack NumPy and what the tests import where that Python looks for modules."""
    wheels, site = FOLDER / "wheels", SYSTEM / "usr/lib/python3/dist-packages"
    abis = ("--abi", f"cp{version.replace('.', '')}", "--abi", "abi3", "--abi", "none")
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    target = ("--python-version", version, "--implementation", "cp", *abis, *platforms)
    run(sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--dest", wheels, *target, *WHEELS)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    (site / "softmax_cy.pth").write_text(f"{LIBRARY}\n")


def write_launcher(version: str) -> None:
    """Write a program that starts the emulated Python, which starts itself again by that program."""
    PYTHON.write_text(
        "#!/bin/sh\n"
        f'export PYTHONHOME="{SYSTEM}/usr"\n'
        f'exec {EMULATOR} -L "{SYSTEM}" -0 "{PYTHON}" "$PYTHONHOME/bin/python{version}" "$@"\n'
    )
    PYTHON.chmod(0o755)


def prepare() -> str:
    """Unpack what has not been unpacked yet, and return the version of Python."""
    complete = FOLDER / "complete"
    if not complete.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        version = unpack_python()
        unpack_wheels(version)
        write_launcher(version)
        complete.write_text(version)
    return complete.read_text()


def build(version: str) -> None:
    """Cross-compile the package, with what the other Python says of itself and the headers of its NumPy."""
    data = FOLDER / "sysconfig"
    data.mkdir(exist_ok=True)
    name = "_sysconfigdata__aarch64-linux-gnu"
    shutil.copy(SYSTEM / f"usr/lib/python{version}/{name}.py", data)
    numpy = run(PYTHON, "-c", "import numpy; print(numpy.get_include(), end='')")
    folders = (numpy, SYSTEM / f"usr/include/python{version}", SYSTEM / "usr/include")
    run(
        sys.executable,
        "setup.py",
        "--quiet",
        "build",
        f"--build-lib={LIBRARY}",
        f"--build-temp={FOLDER / 'temp'}",
        cwd=ROOT,
        env=os.environ
        | {
            "CC": f"{'ccache ' if shutil.which('ccache') else ''}{COMPILER}",
            "CFLAGS": " ".join(f"-I{folder}" for folder in folders),
            "PYTHONPATH": str(data),
            "SOFTMAX_CY_BUILD_TEST_VARIANTS": "1",
            "_PYTHON_HOST_PLATFORM": "linux-aarch64",
            "_PYTHON_SYSCONFIGDATA_NAME": name,
        },
    )


def main(arguments: Iterable[str]) -> int:
    """Return the exit code."""
    for program in (COMPILER, EMULATOR, "apt-get", "dpkg"):
        if shutil.which(program) is None:
            sys.exit(
                f"{program} is missing: on Debian, apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
            )
    os.environ.pop("PYTHONPATH", None)  # of this machine's modules
    build(prepare())
    print(run(PYTHON, "-m", "softmax_cy"))
    tests = list(arguments) or [f"tests/test_{name}.py" for name in TESTS]
    return subprocess.run([PYTHON, "-m", "pytest", "-q", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
