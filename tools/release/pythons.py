"""Which Pythons there are to build for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MINORS = range(10, 15)
VERSION = re.compile(r"(python)?3\.\d+(\.\d+)?")

# What an interpreter says of itself; without headers nothing can be built for it.
QUESTIONS = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "version": sys.version_info[:3],
    "name": platform.python_implementation(),
    "threads_without_gil": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python to build for."""

    path: str
    version: tuple[int, int, int]

    @property
    def tag(self) -> str:
        """Its part of the names of wheels, such as cp311."""
        return f"cp{self.version[0]}{self.version[1]}"

    def __str__(self) -> str:
        """Return its version, such as 3.11.7."""
        return ".".join(map(str, self.version))


class UnusableError(Exception):
    """Why an interpreter cannot be built for."""


def ask(path: str) -> Interpreter:
    """Start an interpreter, and judge what it says of itself."""
    try:
        done = subprocess.run([path, "-c", QUESTIONS], capture_output=True, text=True, check=True, timeout=60)
        told = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UnusableError("it does not run") from error
    if told["name"] != "CPython" or told["threads_without_gil"]:
        raise UnusableError("it is not CPython with the GIL")
    if not told["headers"]:
        raise UnusableError("it has no Python.h")
    return Interpreter(path, tuple(told["version"]))


def candidates() -> list[str]:
    """Where Pythons may be: those that pyenv has installed, newest first, then those on the path."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

    def by_version(path: Path) -> list[int]:
        return [int(number) if number.isdigit() else -1 for number in path.name.split(".")]

    found = [str(path / "bin/python") for path in sorted(versions.glob("3.*"), key=by_version, reverse=True)]
    return found + [path for minor in MINORS if (path := shutil.which(f"python3.{minor}"))]


def find_all() -> list[Interpreter]:
    """Find one Python of each version that is supported."""
    chosen: dict[tuple[int, int], Interpreter] = {}
    for path in candidates():
        try:
            interpreter = ask(path)
        except UnusableError:
            continue
        if interpreter.version[0] == 3 and interpreter.version[1] in MINORS:
            chosen.setdefault(interpreter.version[:2], interpreter)
    return [chosen[version] for version in sorted(chosen)]


def find_named(names: Iterable[str]) -> list[Interpreter]:
    """Find the Pythons that somebody asks for. A version such as python3.12 need not be a command that runs."""
    everything = find_all()
    found = []
    for name in names:
        if VERSION.fullmatch(name):
            version = tuple(map(int, name.removeprefix("python").split(".")))
            matching = [one for one in everything if one.version[: len(version)] == version]
            if not matching:
                raise UnusableError(f"{name}: no Python of this version was found")
            found += matching
            continue
        try:
            found.append(ask(shutil.which(name) or name))
        except UnusableError as error:
            raise UnusableError(f"{name}: {error}") from error
    return found
