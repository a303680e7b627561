"""``python -m softmax_cy``: show how the package was built, check or time it here, or say what a C compiler needs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from pathlib import Path

import numpy as np

from softmax_cy import _dispatch, _embedding


def main() -> int:
    """Do what the command line asks for, and return the exit code: 1 if a check failed."""
    parser = argparse.ArgumentParser(
        prog="python -m softmax_cy",
        description="Show how this build was made, check and time it, or what it offers to C.",
    )
    parser.add_argument("--selftest", action="store_true", help="check that bits and digits are as promised")
    parser.add_argument("--bench", action="store_true", help="time it beside NumPy, and SciPy and torch if installed")
    parser.add_argument("--json", action="store_true", help="print what is found as JSON")
    parser.add_argument("--cflags", action="store_true", help="print the compiler's flags for the C header")
    parser.add_argument("--ldflags", action="store_true", help="print the linker's, for a program that embeds Python")
    parser.add_argument("--examples", action="store_true", help="print the directory of the examples for embedders")
    options = parser.parse_args()
    if not any(vars(options).values()):
        _dispatch.show_config()
    if options.cflags:
        print(_embedding.compiler_flags())
    if options.ldflags:
        print(_embedding.linker_flags())
    if options.examples:
        print(_embedding.folder("examples"))
    return run(options) if options.selftest or options.bench or options.json else 0


def run(options: argparse.Namespace) -> int:
    """Find out what was asked for, and return the exit code."""
    about = {"CPU": cpu_name(), "NumPy": np.__version__, "load": os.getloadavg()[0]} | _dispatch.config()
    say = (lambda _: None) if options.json else print
    say(f"softmax_cy {about['version']}, variant {about['variant']}, NumPy {about['NumPy']}, on {about['CPU']}")
    found: dict[str, object] = {"machine": about}
    # Not imported before they are needed: most who call this ask for flags.
    if options.bench:
        from softmax_cy import _bench

        found |= _bench.run(say)
    if options.selftest:
        from softmax_cy import _selftest

        found |= _selftest.run(say)
    if options.json:
        print(json.dumps(found, indent=1))
    return 1 if found.get("failures") else 0


def cpu_name() -> str:
    """What the CPU calls itself, or its architecture."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
