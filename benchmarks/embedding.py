"""Measure what a call through the C interface costs, in addition to the kernel and beside torch from Python.

    python -m benchmarks.embedding

Compiles its loops in a temporary directory. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

import softmax_cy
from benchmarks import machine
from benchmarks.timing import no_garbage_collection

COLUMNS = 10
LENGTHS = [4, 10, 20, 50, 100]  # of rows, one by one and at once
FEW = 1000  # rows that a first-level cache holds
MANY = 1_000_000
ROUNDS = 31
MOST_OVERHEAD = 25.0  # ns
LEAST_LEAD = 30.0


def loops() -> ModuleType:
    """Compile the loops and import them."""
    # asv imports every module here, in an environment that cannot compile.
    from Cython.Build import cythonize
    from setuptools import Extension, setup

    with tempfile.TemporaryDirectory() as folder:
        name = "embedding_loops"
        extension = Extension(
            name, [str(Path(__file__).with_name(f"{name}.pyx"))], include_dirs=[softmax_cy.get_include(), kernels()]
        )
        setup(
            script_args=["--quiet", "build_ext", "--build-lib", folder, "--build-temp", folder],
            ext_modules=cythonize([extension], build_dir=folder, quiet=True),
        )
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(folder)


def kernels() -> str:
    """Return the directory of the headers that the kernels are built with."""
    return str(Path(softmax_cy.__file__).with_name("kernels"))


def seconds(call, *arguments) -> float:
    """Time one call."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def overhead(module: ModuleType) -> tuple[float, float]:
    """Return the nanoseconds a row that the kernel takes, and those that a call through the table adds."""
    variant = softmax_cy.show_config(mode="dicts")["variant"]
    capsule = importlib.import_module(f"softmax_cy.kernels._f32_{variant}").table
    x = np.random.default_rng(1).standard_normal((FEW, COLUMNS), dtype=np.float32)
    out, alone = np.empty_like(x), np.empty_like(x)
    repeats = 200

    def of_table() -> float:
        return seconds(module.through_table, x, out, repeats)

    def of_kernel() -> float:
        return seconds(module.kernel_alone, capsule, x, alone, repeats)

    rounds = []
    for _ in range(ROUNDS):
        a, b, c, d = of_table(), of_kernel(), of_kernel(), of_table()
        rounds.append((b + c, a + d - b - c))
    assert (out == alone).all()
    per_row = 1e9 / (2 * repeats * FEW)
    return tuple(per_row * statistics.median(column) for column in zip(*rounds, strict=True))


def lead(module: ModuleType) -> tuple[float, float, float]:
    """Nanoseconds a row, for many one by one, matrix to matrix: from C, by torch from Python, and torch's call alone.

    Of the ways to write this with torch the fastest seen. Its call alone is that on tensors made before, with a new
    tensor for a result.
    """
    x = np.random.default_rng(2).standard_normal((MANY, COLUMNS), dtype=np.float32)
    out = np.empty_like(x)
    source, target = torch.from_numpy(x), torch.empty(MANY, COLUMNS)
    softmax = torch.softmax
    torch.set_num_threads(1)

    def by_torch() -> None:
        for i in range(MANY):
            softmax(source[i], 0, out=target[i])

    def call_alone(rows: tuple[torch.Tensor, ...]) -> None:
        for row in rows:
            softmax(row, 0)

    module.through_table(x, out, 1)
    with torch.inference_mode():
        rows = source.unbind(0)
        samples = [
            (seconds(module.through_table, x, out, 1), seconds(by_torch), seconds(call_alone, rows)) for _ in range(3)
        ]
    assert np.allclose(out, target.numpy())
    return tuple(1e9 / MANY * min(column) for column in zip(*samples, strict=True))


def batches(module: ModuleType) -> list[tuple[float, float]]:
    """Return the nanoseconds a row takes for each length: one by one, and with all rows in one call."""
    found = []
    for length in LENGTHS:
        x = np.random.default_rng(3).standard_normal((FEW, length), dtype=np.float32)
        one_by_one, at_once = np.empty_like(x), np.empty_like(x)
        repeats = 50
        samples = [
            (seconds(module.through_table, x, one_by_one, repeats), seconds(module.in_one_call, x, at_once, repeats))
            for _ in range(ROUNDS)
        ]
        assert (one_by_one == at_once).all()
        per_row = 1e9 / (repeats * FEW)
        found.append(tuple(per_row * statistics.median(column) for column in zip(*samples, strict=True)))
    return found


def main() -> int:
    """Measure and print everything, and return the exit code."""
    for name, value in machine.describe([]).items():
        print(f"{name}: {value}")
    for warning in machine.warnings():
        print(f"warning: {warning}")
    module = loops()
    with no_garbage_collection():
        kernel, more = overhead(module)
        ours, theirs, alone = lead(module)
        batched = batches(module)
    print(f"\none row of {COLUMNS} float32: the kernel {kernel:.1f} ns, a call through the table {more:.1f} ns more")
    print(
        f"{MANY:,} rows of {COLUMNS}, one by one: from C {ours:.1f} ns a row, torch from Python {theirs:.0f} ns a row "
        f"({alone:.0f} ns for its call alone, {alone / ours:.0f} times)"
    )
    for length, (one_by_one, at_once) in zip(LENGTHS, batched, strict=True):
        print(f"{FEW} rows of {length}: one by one {one_by_one:.1f} ns a row, in one call {at_once:.1f} ns a row")
    within = more <= MOST_OVERHEAD, theirs / ours >= LEAST_LEAD
    print(f"overhead at most {MOST_OVERHEAD:.0f} ns: {'met' if within[0] else 'missed'}")
    print(f"at least {LEAST_LEAD:.0f} times as fast: {theirs / ours:.0f} times, {'met' if within[1] else 'missed'}")
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
