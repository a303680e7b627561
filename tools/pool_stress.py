"""A million jobs of random sizes from eight threads at once, for the pool of threads.

    python tools/pool_stress.py [--jobs N] [--flags=-fsanitize=thread]

The pool is compiled by itself, with the flags given. Exits with 1 if an item was not computed exactly once.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "softmax_cy"
CALLERS = 8
MOST_ITEMS = 60
MOST_THREADS = 5


def build(folder: Path, flags: str = "") -> ModuleType:
    """The module of pool_stress.pyx, compiled into the folder."""
    source = folder / "pool_stress.c"
    module = folder / ("pool_stress" + sysconfig.get_config_var("EXT_SUFFIX"))
    cython = [sys.executable, "-m", "cython", "-3", str(HERE / "pool_stress.pyx"), "-o", str(source)]
    subprocess.run(cython, check=True)
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    include = [f"-I{sysconfig.get_paths()['include']}", f"-I{PACKAGE}"]
    command = [
        *compiler,
        "-O2",
        "-g",
        "-shared",
        "-fPIC",
        *shlex.split(flags),
        *include,
        str(source),
        "-o",
        str(module),
    ]
    subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location("pool_stress", module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def wrong_jobs(stress: ModuleType, jobs: int) -> int:
    """Of so many jobs, shared by callers that run at once."""
    found = [0] * CALLERS

    def call(caller: int) -> None:
        found[caller] = stress.run(jobs // CALLERS, MOST_ITEMS, MOST_THREADS, caller)

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(found)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--flags", default="", help="for the compiler")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stress = build(Path(folder), options.flags)
        wrong = wrong_jobs(stress, options.jobs)
        print(f"{options.jobs} jobs from {CALLERS} threads at once, {stress.workers()} workers: {wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
