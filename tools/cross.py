"""Compile the extension modules for systems that are not here: `make cross`, or python tools/cross.py [targets].

The compiler is Zig's clang, which brings the headers of other systems' C libraries. Nothing is linked and nothing is
run: what compiles may still fail there. The headers of Python and NumPy are those of this machine, and say what its C
library has. So only systems of 64 bits with POSIX threads can be tried with them, and not Windows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from setuptools import Extension

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build/cross"

# NumPy's headers for Linux ask for this file, and those for macOS for none.
ENDIAN = FOLDER / "macos/endian.h"

ELF, MACH_O = b"\x7fELF", b"\xcf\xfa\xed\xfe"


class Target(NamedTuple):
    """A system, and what its object files begin with."""

    name: str  # as Zig calls it
    magic: bytes
    machine: int
    place: int  # of the number of the machine in the file
    form: str  # of that number


TARGETS = (
    Target("aarch64-linux-gnu", ELF, 183, 18, "<H"),
    Target("aarch64-linux-musl", ELF, 183, 18, "<H"),
    Target("x86_64-linux-musl", ELF, 62, 18, "<H"),
    Target("aarch64-macos", MACH_O, 0x100000C, 4, "<I"),
    Target("x86_64-macos", MACH_O, 0x1000007, 4, "<I"),
)


def compiler_for(target: Target) -> list[str]:
    """Return the command of the compiler."""
    return [sys.executable, "-m", "ziglang", "cc", "-target", target.name]


def list_modules(target: Target) -> list[Extension]:
    """List the modules that setup.py would build there, with their flags and the C that Cython has made."""
    from distutils.core import run_setup

    os.environ["CC"] = shlex.join(compiler_for(target))
    os.chdir(ROOT)
    modules = run_setup("setup.py", script_args=["--quiet"], stop_after="init").ext_modules
    # Zig leaves this empty file when setup.py asks for its target.
    (ROOT / "a.o").unlink(missing_ok=True)
    return modules


def compile_module(target: Target, module: Extension) -> str:
    """Compile one, and return what is wrong: an empty text if nothing is."""
    output = FOLDER / target.name / f"{module.name}.o"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    folders = [*module.include_dirs, np.get_include(), sysconfig.get_path("include")]
    if target.magic == MACH_O:
        folders.append(str(ENDIAN.parent))
    command = [
        *compiler_for(target),
        *module.extra_compile_args,
        *(f"-D{name}={value}" for name, value in module.define_macros),
        *(f"-I{folder}" for folder in folders),
        *("-fPIC", "-Wno-unused-command-line-argument", "-Wno-ignored-optimization-argument"),
        *("-c", *module.sources, "-o", str(output)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{module.name} for {target.name}:\n{done.stderr}"
    start = output.read_bytes()[:32]
    if not start.startswith(target.magic) or struct.unpack_from(target.form, start, target.place)[0] != target.machine:
        return f"{module.name} for {target.name}: an object file of another machine"
    return ""


def compile_all(chosen: Iterable[Target], table: Table) -> list[str]:
    """Compile all modules for some systems, and return what is wrong."""
    faults = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for target in chosen:
            modules = list_modules(target)
            found = pool.map(lambda module, target=target: compile_module(target, module), modules)
            wrong = [fault for fault in track(found, target.name, len(modules), transient=True) if fault]
            kernels = sorted(module.name.rpartition("._")[2] for module in modules if ".kernels." in module.name)
            table.add_row(target.name, ", ".join(kernels), str(len(modules)), str(len(modules) - len(wrong)))
            faults += wrong
    return faults


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help=", ".join(target.name for target in TARGETS))
    asked = parser.parse_args().targets
    by_name = {target.name: target for target in TARGETS}
    if unknown := set(asked) - by_name.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    ENDIAN.parent.mkdir(parents=True, exist_ok=True)
    ENDIAN.write_text("#include <machine/endian.h>\n")
    table = Table("target", "kernels", "modules", "compiled", box=None, pad_edge=False)
    faults = compile_all([by_name[name] for name in asked or by_name], table)
    console = Console(highlight=False, markup=False)
    for fault in faults:
        console.print(fault, style="red")
    console.print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
