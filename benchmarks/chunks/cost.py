"""How the cost of softmax and logsumexp grows with the number of chunks along the slices.

    python -m benchmarks.chunks.cost [--columns 4194304] [--most 4096] [--rounds 3]

The slices are the same and the chunks are ever smaller, so that what is left is the cost of tasks and states. One
thread computes; the time to build the graph is told apart. A row is the least of some rounds.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import dask
import dask.array as da
import numpy as np

import softmax_cy.dask

ROWS = 8
HEADERS = ("chunks", "function", "tasks", "build, ms", "compute, ms", "us a chunk above the fewest")


def measure(name: str, x: da.Array) -> tuple[int, float, float]:
    """Return the tasks of a graph, and the milliseconds to build it and to compute it without keeping the result."""
    begin = time.perf_counter()
    y = getattr(softmax_cy.dask, name)(x)
    if name != "logsumexp":
        y = y.map_blocks(lambda block: block[:, :1], dtype=x.dtype, chunks=(ROWS, 1))
    tasks = len(dict(y.__dask_graph__()))
    built = time.perf_counter()
    dask.compute(y, scheduler="synchronous")
    return tasks, (built - begin) * 1e3, (time.perf_counter() - built) * 1e3


def main() -> None:
    """Print a table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=4_194_304, help=f"of {ROWS} rows")
    parser.add_argument("--most", type=int, default=4096, help="chunks")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((ROWS, options.columns), dtype=np.float32)
    counts = [4**i for i in range(1, 7) if 4**i <= options.most]
    print("| " + " | ".join(HEADERS) + " |\n" + "|---:" * len(HEADERS) + "|")
    for name in ("logsumexp", "softmax"):
        fewest: Any = None
        for chunks in counts:
            lazy = da.from_array(x, chunks=(ROWS, -(-options.columns // chunks)), name="logits")
            rounds = [measure(name, lazy) for _ in range(options.rounds)]
            build, compute = min(built for _, built, _ in rounds), min(computed for *_, computed in rounds)
            fewest = fewest or (chunks, compute)
            above = (compute - fewest[1]) / (chunks - fewest[0]) * 1e3 if chunks > fewest[0] else 0.0
            print(f"| {chunks} | {name} | {rounds[0][0]} | {build:.1f} | {compute:.1f} | {above:.0f} |", flush=True)


if __name__ == "__main__":
    main()
