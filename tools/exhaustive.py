"""Hold the exponential of the kernels against the truth: every float32 of its domain, and a great many of float64.

    python tools/exhaustive.py [--quick] [--doubles MILLIONS] [--json FILE]

For each variant that runs here, a module is built from tools/probe.pxi with the flags of its kernels. float32 is
measured by libm's exponential in float64, float64 by that in long double; what long double cannot tell from the middle
between two doubles is measured by mpmath. Exits with 1 if an error is above the bound that docs/accuracy.md builds on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import mpmath as mp
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

from kernel_builds import KERNELS, ROOT, kernel_extensions, to_c

FOLDER = ROOT / "build/probe"
BOUND = 1.0  # ulp
# From here on the maximum is subtracted, and what is left has been seen before: SHIFT_ABOVE of constants.h.
DOMAIN = 208.0
FLOATS_AT_ONCE = 2**24
DOUBLES_AT_ONCE = 2**20
HARD_AT_ONCE = 2**12


@dataclass
class Seen:
    """What was found about one way to the exponential, in one variant."""

    dtype: str
    variant: str
    way: str
    inputs: int = 0
    misrounded: int = 0
    error: float = 0.0
    x: float = 0.0

    def join(self, error: float, x: float, misrounded: int, inputs: int) -> None:
        """Take in a part."""
        self.inputs += inputs
        self.misrounded += misrounded
        if not error <= self.error:
            self.error, self.x = error, x


def build() -> None:
    """A module a kernel module, such as probe_f32_v3."""
    modules = []
    for name, kernels in kernel_extensions().items():
        source = to_c('include "probe.pxi"\n', FOLDER / f"probe_{name}.pyx")
        modules.append(
            Extension(
                source.stem,
                [str(source)],
                include_dirs=[str(KERNELS)],
                define_macros=kernels.define_macros,
                extra_compile_args=[*kernels.extra_compile_args, "-Wno-unused-function"],
            )
        )
    command = build_ext(Distribution({"ext_modules": modules}))
    logging.disable(logging.INFO)
    command.build_lib, command.build_temp, command.force = str(FOLDER), str(FOLDER / "temp"), True
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
    sys.path.insert(0, str(FOLDER))


def float_ranges(step: int) -> list[tuple[int, int]]:
    """The bits of every float of the domain, both signs, in parts; every `step`th of them."""
    end = int(np.float32(DOMAIN).view(np.uint32))
    parts = [(first, min(first + FLOATS_AT_ONCE, end)) for first in range(0, end, FLOATS_AT_ONCE)]
    parts += [(first + 2**31, last + 2**31) for first, last in parts]
    return parts[::step]


def measure_floats(variant: str, pool: ThreadPoolExecutor, step: int, progress: Progress) -> list[Seen]:
    """Every float, or parts of them."""
    probe = importlib.import_module(f"probe_f32_{variant}")
    parts = float_ranges(step)
    seen = [Seen("float32", variant, way) for way in ("of a slice", "of logarithms")]
    task = progress.add_task(f"float32, {variant}", total=len(parts))
    for found in pool.map(lambda part: probe.every_float(*part), parts):
        for one, of_part in zip(seen, found, strict=True):
            one.join(*of_part)
        progress.advance(task)
    return seen


def measure_doubles(variant: str, pool: ThreadPoolExecutor, count: int, progress: Progress) -> list[Seen]:
    """A great many, then the hardest of them with more digits."""
    probe = importlib.import_module(f"probe_f64_{variant}")
    parts = range(0, count, DOUBLES_AT_ONCE)
    seen = Seen("float64", variant, "of logarithms")
    hardest = Seen("float64", variant, "near a tie")
    nearest = mp.inf

    def measure(first: int) -> tuple[tuple[float, float, int, int], np.ndarray, int]:
        hard = np.empty((2, HARD_AT_ONCE))
        found, many, power = probe.many_doubles(first, first + DOUBLES_AT_ONCE, *hard)
        return found, hard[:, :many], power

    task = progress.add_task(f"float64, {variant}", total=len(parts))
    for found, hard, power in pool.map(measure, parts):
        seen.join(*found)
        for x, e in hard.T.tolist():
            error, distance = ulps_of_double(x, e, power)
            hardest.join(error, x, error > 0.5, 1)
            nearest = min(nearest, distance)
        progress.advance(task)
    hardest.way = f"within 2^{int(mp.ceil(mp.log(nearest, 2)))}..2^-11 ulp of a tie"
    return [seen, hardest]


def ulps_of_double(x: float, e: float, power: int) -> tuple[float, mp.mpf]:
    """The error of e for 2**power * exp(x), and how near that is to the middle between two doubles."""
    exact = mp.ldexp(mp.exp(x), power)
    scaled = mp.ldexp(exact, 53 - mp.frexp(exact)[1])
    error = abs(mp.ldexp(e, 53 - mp.frexp(exact)[1]) - scaled)
    return float(error), abs(scaled - mp.floor(scaled) - 0.5)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python tools/exhaustive.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="one part of float32 in sixteen, and few of float64")
    add("--doubles", type=int, default=300, metavar="MILLIONS", help="of float64 (default: %(default)s)")
    add("--json", type=Path, default=ROOT / "build/exhaustive.json", metavar="FILE", help="default: %(default)s")
    options = parser.parse_args()
    mp.mp.prec = 160
    build()
    from softmax_cy import _dispatch

    console = Console(width=None if sys.stdout.isatty() else 120)
    seen: list[Seen] = []
    with Progress(console=console, transient=True) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for variant in _dispatch.runnable_variants():
            seen += measure_floats(variant, pool, 16 if options.quick else 1, progress)
            seen += measure_doubles(variant, pool, 10**6 * (4 if options.quick else options.doubles), progress)
    table = Table("dtype", "variant", "exponential", "inputs", "largest error, ulp", "at", "misrounded")
    for one in seen:
        share = f"{one.misrounded / max(one.inputs, 1):.2%}"
        table.add_row(one.dtype, one.variant, one.way, f"{one.inputs:,}", f"{one.error:.4f}", float(one.x).hex(), share)
    console.print(table)
    options.json.write_text(json.dumps([asdict(one) for one in seen], indent=1) + "\n")
    too_large = [one for one in seen if not one.error <= BOUND]
    for one in too_large:
        console.print(f"above {BOUND} ulp: {one}", style="bold red")
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
