"""Run the tests of threads on a CPython without a GIL: `make test-freethreaded`.

    python tools/freethreaded.py [--python PATH] [ARGUMENTS OF PYTEST]

The interpreter is the one that --python names, else python3.13t of the PATH, else one built here from the source in
Debian 13, which has no such interpreter in its packages. That needs Debian's apt-get, gcc, make and the headers of
zlib, libffi and OpenSSL (apt install zlib1g-dev libffi-dev libssl-dev). It takes some minutes the first time.
Everything lies in build/freethreaded, and nothing needs root.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = "3.13"
RELEASE = "trixie"
HEADERS = {"zlib.h": "zlib1g-dev", "ffi.h": "libffi-dev", "openssl/ssl.h": "libssl-dev"}

# Without versions: pyproject.toml says which ones suffice.
PACKAGES = ("setuptools", "cython", "numpy", "ml_dtypes", "pytest", "hypothesis", "threadpoolctl")
TESTS = ("threads", "pool", "long", "same_bits")
# These have other libraries with threads in the same process, which are large.
LEFT_OUT = "not torch and not openmp and not bind"

CHECK = """
import sys, sysconfig
assert sysconfig.get_config_var("Py_GIL_DISABLED"), "this Python has a GIL"
import softmax_cy
from softmax_cy import _dispatch
for variant in _dispatch.runnable_variants():
    _dispatch.use(variant)
assert not sys._is_gil_enabled(), "the import has turned the GIL on"
print(f"Python {sys.version}\\nsoftmax_cy {softmax_cy.__version__} of {softmax_cy.__path__[0]}: the GIL is off")
"""


def run(*command: object, **options: object) -> None:
    """Run a command, which must succeed."""
    done = subprocess.run(list(map(str, command)), check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}")


def require_tools() -> None:
    """Say what is missing for an interpreter to be built."""
    missing = [program for program in ("apt-get", "tar", "make", "gcc") if shutil.which(program) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} is missing: name a Python without a GIL with --python, such as python3.14t")
    text = "".join(f"#include <{header}>\n" for header in HEADERS)
    done = subprocess.run(["gcc", "-E", "-x", "c", "-"], input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"headers are missing, on Debian: apt install {' '.join(HEADERS.values())}\n{done.stderr}")


def find_mirror() -> str:
    """The server of Debian's packages that this system uses."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for address in found:
        if re.search(r"/debian/?$", address):
            return address
    sys.exit("apt knows no server of Debian's: run apt-get update, or name a Python without a GIL with --python")


def fetch_source(folder: Path) -> Path:
    """Unpack CPython as its authors released it, with lists of apt's own: the system's are left as they are."""
    state = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(f"deb-src [signed-by={keys}] {find_mirror()} {RELEASE} main\n")
    settings = {
        "APT::Sandbox::User": "root",
        "Dir::Cache": state / "cache",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::State::status": "/dev/null",
    }
    apt = ("apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items()))
    run(*apt, "update")
    run(*apt, "source", "--download-only", "--tar-only", f"python{VERSION}", cwd=folder)
    (archive,) = folder.glob("*.orig.tar.*")
    source = folder / "source"
    source.mkdir()
    run("tar", "-xf", archive, "-C", source, "--strip-components=1")
    return source


def build_python(folder: Path) -> Path:
    """Build CPython without a GIL, and return the interpreter."""
    complete = folder / "complete"
    if not complete.exists():
        require_tools()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        source = fetch_source(folder)
        environment = dict(os.environ)
        environment.pop("PYTHONPATH", None)
        quiet = {"cwd": source, "env": environment, "stdout": subprocess.DEVNULL}
        print(f"building CPython in {source}: minutes", flush=True)
        run("./configure", "-q", "--disable-gil", f"--prefix={folder / 'python'}", **quiet)
        run("make", "-s", f"-j{os.cpu_count()}", "EXTRA_CFLAGS=-w", **quiet)
        # Nothing is compiled to bytecode but what is imported.
        run("make", "-s", "altinstall", "COMPILEALL_OPTS=-x .", **quiet)
        complete.touch()
    return folder / f"python/bin/python{VERSION}t"


def main() -> int:
    """Return the exit code of the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="an interpreter without a GIL")
    options, arguments = parser.parse_known_args()
    folder = ROOT / "build/freethreaded"
    found = options.python or shutil.which(f"python{VERSION}t")
    python = Path(found) if found else build_python(folder)
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)

    virtual = folder / "venv"
    if not virtual.exists():
        run(python, "-m", "venv", virtual, env=environment)
        run(virtual / "bin/python", "-m", "pip", "install", "-q", "--only-binary=:all:", *PACKAGES, env=environment)
    here = virtual / "bin/python"
    places = ("--build-lib", folder / "lib", "--build-temp", folder / "temp")
    run(here, "setup.py", "--quiet", "build", *places, cwd=ROOT, env=environment)

    environment |= {"PYTHONPATH": str(folder / "lib"), "OPENBLAS_NUM_THREADS": "1"}
    run(here, "-c", CHECK, env=environment)
    arguments = arguments or ["-k", LEFT_OUT, *(f"tests/test_{name}.py" for name in TESTS)]
    command = [here, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
