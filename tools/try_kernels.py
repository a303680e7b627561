"""Time a change of the kernels within half a minute: `make try OP=softmax VARIANT=v4 DTYPE=float32`.

One kernel module is compiled from this tree, beside a copy of the installed package (with ccache, where it is there).
Then the installed library and the copy take turns, A B B A, each in a process of its own. The figure to look at is the
median of the ratios; the least times say what one call takes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build/try"
SHAPES = ((64, 10), (64, 100), (1024, 128), (32, 1000), (37, 333), (256, 4096), (64, 32_000), (8, 1_000_000))
SAMPLE_SECONDS = 2e-3

# The other side of the pipe: a line with a shape and a number of calls (0: find one) in, a number out.
WORKER = """
import json, sys, time
import numpy as np
import softmax_cy

operation, dtype, axis = sys.argv[1], np.dtype(sys.argv[2]), int(sys.argv[3])
function = getattr(softmax_cy, operation)
rng = np.random.default_rng(1)
calls = {}


def call_of(shape):
    x, v = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    options = {"num_threads": 1}
    if operation.startswith("cross_entropy"):
        arguments = x, np.zeros(np.delete(shape, axis), int), axis
    elif operation.endswith("jvp") or operation.endswith("vjp"):
        outputs = softmax_cy.log_softmax if operation.startswith("log") else softmax_cy.softmax
        arguments = v, outputs(x, axis), axis
    elif operation.endswith("_jacobian") and not operation.startswith("softmax_and"):
        outputs = softmax_cy.log_softmax if operation.startswith("log") else softmax_cy.softmax
        arguments = outputs(x, axis), axis
    else:
        arguments = x, axis
    if operation in ("softmax", "log_softmax") or operation.endswith("jvp") or operation.endswith("vjp"):
        options["out"] = np.empty_like(x)
    return lambda: function(*arguments, **options)


def seconds(call, number):
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


for line in sys.stdin:
    shape, number = json.loads(line)
    call = calls.setdefault(tuple(shape), None) or call_of(shape)
    calls[tuple(shape)] = call
    call()
    print(seconds(call, number) if number else max(1, int(SAMPLE_SECONDS / seconds(call, 3))), flush=True)
""".replace("SAMPLE_SECONDS", str(SAMPLE_SECONDS))


def build(dtype: str, variant: str) -> None:
    """The copy of the installed package, with the one kernel module of this tree in it."""
    import softmax_cy

    installed, package = Path(softmax_cy.__file__).parent, FOLDER / "lib/softmax_cy"
    marker = FOLDER / "installed"
    if not marker.exists() or marker.stat().st_mtime < installed.stat().st_mtime:
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(installed, package)
        marker.touch()
    if shutil.which("ccache"):
        os.environ["CC"] = f"ccache {os.environ.get('CC', 'cc')}"
    os.environ["SOFTMAX_CY_BUILD_ONLY"] = variant
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    from kernel_builds import kernel_extensions

    command = build_ext(Distribution({"ext_modules": [kernel_extensions()[f"{dtype}_{variant}"]]}))
    logging.disable(logging.INFO)
    command.build_lib, command.build_temp, command.force = str(FOLDER / "lib"), str(FOLDER / "temp"), True
    command.ensure_finalized()
    command.run()


def worker(options: argparse.Namespace, path: str) -> subprocess.Popen[str]:
    """A process that has imported the library from a path, or the installed one."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, options.operation, options.dtype, str(options.axis)],
        env=os.environ | {"PYTHONPATH": path, "SOFTMAX_CY_VARIANT": options.variant},
        cwd=FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process: subprocess.Popen[str], shape: tuple[int, ...], number: int) -> float:
    """What a worker answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps([shape, number]), file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        sys.exit("the worker ended: see above")
    return float(answer)


def main() -> None:
    """Build, time, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operation", default="softmax")
    parser.add_argument("--variant", default="v4")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--axis", type=int, default=-1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    build({"float32": "f32", "float64": "f64"}[options.dtype], options.variant)
    installed, tried = worker(options, ""), worker(options, str(FOLDER / "lib"))
    table = Table(
        f"{options.operation}, {options.dtype}, {options.variant}", "installed, us", "tree, us", "tree / installed"
    )
    for shape in SHAPES:
        if options.operation.endswith("jacobian") and shape[-1] > 1000:
            continue
        number = int(ask(installed, shape, 0))
        ratios, least = [], [float("inf")] * 2
        for turn in range(options.rounds):
            times = [0.0, 0.0]
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which] = ask((installed, tried)[which], shape, number)
            least = [min(pair) for pair in zip(least, times, strict=True)]
            ratios.append(times[1] / times[0])
        table.add_row(str(shape), *(f"{time * 1e6:.2f}" for time in least), f"{statistics.median(ratios):.3f}")
    Console().print(table)
    for process in (installed, tried):
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
