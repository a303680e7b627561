"""Commands that `make wheels` runs, and what they may know of the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build/wheels"
DIST = ROOT / "dist"

# What would change a build, or let tests see another package than the installed one.
FOREIGN = ("CFLAGS", "CPPFLAGS", "LDFLAGS", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS")


class FailedError(Exception):
    """What went wrong, for a person."""


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without what would change a build or a test."""
    kept = {
        name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("SOFTMAX_CY_")
    }
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **changes}


def run(*command: object, log: Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, and return what it printed. All of it goes into the log."""
    words = list(map(str, command))
    with log.open("a+") as file:
        file.write(f"$ {' '.join(words)}\n")
        file.flush()
        start = file.tell()
        done = subprocess.run(
            words, cwd=cwd, env=env or environment(), stdout=file, stderr=subprocess.STDOUT, check=False
        )
        file.seek(start)
        printed = file.read()
    if done.returncode:
        tail = "\n".join(printed.splitlines()[-25:])
        raise FailedError(f"{tail}\n{' '.join(words)} ended with {done.returncode}; all of it: {log}")
    return printed


def make_empty(folder: Path) -> Path:
    """Make a folder, or remove what is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def make_environment(python: str, folder: Path, log: Path) -> Path:
    """Make a virtual environment, and return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    run(python, "-m", "venv", folder, log=log)
    return folder / "bin/python"
