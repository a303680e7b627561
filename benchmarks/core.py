"""The two figures the core is held to: softmax against torch's, and the Jacobian against `fill`.

    python benchmarks/core.py

One thread, outputs preallocated, one process. Each pair is timed interleaved (A B B A), at several offsets of the
buffers from a page, and the median of the ratios is reported: a machine that speeds up or slows down meanwhile does
so for both.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import softmax_cy

OFFSETS = (0, 4, 68, 516)  # float32 elements from the start of a page
ROUNDS = 25
SECONDS_PER_SAMPLE = 2e-3
SEED = 3

SOFTMAX_SHAPES = ((64, 10), (64, 100), (32, 1000), (1024, 128), (37, 333), (256, 4096), (64, 32000))
JACOBIAN_SHAPES = ((64, 100), (32, 1000), (1, 4096))

Computation = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """Nanoseconds for one element of the result, and how the two times compare."""

    name: str
    peer: float
    ours: float
    ratio: float  # the peer's time over ours, the median over all rounds


def at_offset(shape: tuple[int, ...], offset: int, dtype: type = np.float32) -> np.ndarray:
    """An uninitialised array that lies `offset` elements from the start of a page."""
    size = int(np.prod(shape))
    page = 4096 // np.dtype(dtype).itemsize
    memory = np.empty(size + page + offset, dtype)
    start = -(memory.ctypes.data // memory.itemsize) % page + offset
    return memory[start : start + size].reshape(shape)


def seconds(computation: Computation, calls: int) -> float:
    """The time of one of so many calls."""
    start = time.perf_counter()
    for _ in range(calls):
        computation()
    return (time.perf_counter() - start) / calls


def compare(name: str, elements: int, pairs: list[tuple[Computation, Computation]]) -> Result:
    """Time peer and ours A B B A, over all pairs of the same computation on different buffers."""
    ratios, peers, ours = [], [], []
    for peer, own in pairs:
        calls = max(1, round(SECONDS_PER_SAMPLE / min(seconds(own, 1) for _ in range(3))))
        for _ in range(ROUNDS):
            a, b, b_again, a_again = (seconds(f, calls) for f in (peer, own, own, peer))
            ratios.append((a + a_again) / (b + b_again))
            peers.append(min(a, a_again))
            ours.append(min(b, b_again))
    scale = 1e9 / elements
    return Result(name, min(peers) * scale, min(ours) * scale, statistics.median(ratios))


def softmax_against_torch(shape: tuple[int, ...], dtype: type) -> Result:
    """`torch._softmax` with an output is what torch.softmax comes down to, without the allocation."""
    pairs = []
    for offset in OFFSETS:
        x, out, torch_out = (at_offset(shape, offset, dtype) for _ in range(3))
        x[...] = np.random.default_rng(SEED).standard_normal(shape)
        tensor, tensor_out = torch.from_numpy(x), torch.from_numpy(torch_out)
        pairs.append(
            (
                lambda tensor=tensor, out=tensor_out: torch._softmax(tensor, -1, False, out=out),
                lambda x=x, out=out: softmax_cy.softmax(x, out=out, num_threads=1),
            )
        )
        for computation in pairs[-1]:
            computation()
        if not np.allclose(out, torch_out):
            sys.exit(f"softmax {shape}: the results differ")
    return compare(f"softmax {shape} {np.dtype(dtype)}", int(np.prod(shape)), pairs)


def jacobian_against_fill(shape: tuple[int, ...]) -> Result:
    """Writing the same memory with one number is the least that a Jacobian can cost."""
    pairs = []
    for offset in OFFSETS:
        y = softmax_cy.softmax(np.random.default_rng(SEED).standard_normal(shape).astype(np.float32))
        out = at_offset((*shape, shape[-1]), offset)
        pairs.append(
            (
                lambda out=out: out.fill(0.5),
                lambda y=y, out=out: softmax_cy.softmax_jacobian(y, out=out, num_threads=1),
            )
        )
        pairs[-1][1]()
        if not np.allclose(out, y[..., None] * np.eye(shape[-1], dtype=y.dtype) - y[..., None] * y[..., None, :]):
            sys.exit(f"Jacobian {shape}: the result is wrong")
    return compare(f"Jacobian {shape} float32", int(np.prod(shape)) * shape[-1], pairs)


def main() -> None:
    """Run all comparisons and print the table."""
    torch.set_num_threads(1)
    work: list[Callable[[], Result]] = [
        lambda shape=shape, dtype=dtype: softmax_against_torch(shape, dtype)
        for dtype in (np.float32, np.float64)
        for shape in SOFTMAX_SHAPES
    ]
    work += [lambda shape=shape: jacobian_against_fill(shape) for shape in JACOBIAN_SHAPES]
    results = [run() for run in track(work, description="comparing", console=Console(stderr=True))]

    table = Table(title="ns per element of the result, one thread; ratio: the median of interleaved pairs")
    for heading in ("case", "torch or fill", "softmax_cy", "ratio"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for result in results:
        table.add_row(result.name, f"{result.peer:.3f}", f"{result.ours:.3f}", f"{result.ratio:.2f}")
    console = Console()
    console.print(table)
    config = softmax_cy.show_config(mode="dicts")
    console.print(f"variant {config['variant']}; {config['compiler']}; torch {torch.__version__}")
    console.print(f"torch uses {torch.backends.cpu.get_cpu_capability()}")


if __name__ == "__main__":
    main()
