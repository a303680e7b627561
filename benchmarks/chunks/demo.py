"""Softmax and logsumexp of arrays in chunks, on a cluster of Dask that this program starts and stops.

    python -m benchmarks.chunks.demo [--columns 4000000] [--memory 2GiB] [--seconds 300]

The first table is of a source of (64, columns) float32 in 16 chunks, which fits into the cluster. The second is of a
source of twice the memory of the cluster, in 64 chunks. The third is of logsumexp over ten times the memory of one
worker. Chunks are made where they are read, and counted. Every result is compared with one in double precision, chunk
by chunk, where it lies.

SciPy's functions are lazy only with SCIPY_ARRAY_API=1, which this program sets: without it they gather the whole array.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"  # without it SciPy gathers a Dask array in memory

import dask
import dask.array as da
import distributed
import numpy as np
import psutil
import scipy.special
from benchmarks.report import Table, markdown_table
from benchmarks.screen import WIDTH_IN_A_FILE
from dask.utils import format_bytes, parse_bytes

import softmax_cy
import softmax_cy.dask

ROWS = 64
WORKERS = 2
COLUMNS = (
    "way",
    "tasks",
    "reads of a chunk",
    "peak above idle, MB",
    "seconds",
    "largest error, ulp",
    "slices beyond 2.5 ulp",
)


def make_logits(start: int, count: int) -> np.ndarray[Any, Any]:
    """The logits of a chunk, which depend on its place alone."""
    return np.random.default_rng(start).standard_normal((ROWS, count), dtype=np.float32) * np.float32(4)


def find_place(block_info: Any) -> tuple[int, int]:
    """Where the columns of a block begin and end."""
    start, stop = block_info[0]["array-location"][1]
    return int(start), int(stop)


def read_chunk(block: Any, folder: str = "", block_info: Any = None) -> Any:
    """Be a task: make a chunk of the source, and leave a file that says so."""
    start, stop = find_place(block_info)
    Path(folder, f"{start}-{uuid.uuid4().hex}").touch()
    return make_logits(start, stop - start)


def make_source(columns: int, chunks: int, folder: str) -> da.Array:
    """Make the lazy source. No chunk is read twice without being counted."""
    places = da.zeros((ROWS, columns), chunks=(ROWS, math.ceil(columns / chunks)), dtype=np.float32)
    return places.map_blocks(read_chunk, folder=folder, dtype=np.float32, meta=np.empty((0, 0), np.float32))


def sum_chunk(block: Any, block_info: Any = None) -> Any:
    """Be a task: the sum of exponentials of a chunk in double precision. No logit is far from 0."""
    start, stop = find_place(block_info)
    return np.exp(make_logits(start, stop - start).astype(np.float64)).sum(axis=1, keepdims=True)


def find_logarithms(source: da.Array) -> np.ndarray[Any, Any]:
    """Return logsumexp in double precision."""
    places = da.zeros(source.shape, chunks=source.chunks, dtype=np.int8)
    sums = places.map_blocks(sum_chunk, dtype=np.float64, meta=np.empty((0, 0)), chunks=(ROWS, 1)).compute()
    return np.log([math.fsum(row) for row in sums])[:, None]


def count_ulp(result: Any, exact: Any) -> Any:
    """The errors in units of the last place of the exact result."""
    return np.abs(result.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)


def measure_chunk(block: Any, logarithms: Any = None, block_info: Any = None) -> Any:
    """Be a task: the largest error of each row of a chunk of softmax."""
    start, stop = find_place(block_info)
    worst = np.empty((ROWS, 1))
    for row, logits in enumerate(make_logits(start, stop - start)):
        worst[row] = count_ulp(block[row], np.exp(logits.astype(np.float64) - logarithms[row])).max()
    return worst


def naive_softmax(x: da.Array) -> da.Array:
    """Write softmax as it stands in books."""
    e = da.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def naive_logsumexp(x: da.Array) -> da.Array:
    """Write logsumexp as it stands in books."""
    top = x.max(axis=-1, keepdims=True)
    return da.log(da.exp(x - top).sum(axis=-1)) + top[:, 0]


def rechunk_first(x: da.Array) -> da.Array:
    """Make whole slices of the chunks, and call the function on each chunk."""
    return x.rechunk((1, -1)).map_blocks(functools.partial(softmax_cy.softmax, num_threads=1), dtype=x.dtype)


def rechunk_back(x: da.Array) -> da.Array:
    """Do so, and go back to the chunks of the source, in which the result is wanted."""
    return rechunk_first(x).rechunk(x.chunks)


SOFTMAX: dict[str, Callable[[da.Array], da.Array]] = {
    "softmax_cy.dask": softmax_cy.dask.softmax,
    "softmax_cy.dask, low_memory": functools.partial(softmax_cy.dask.softmax, low_memory=True),
    "da.exp": naive_softmax,
    "SciPy on the lazy array": functools.partial(scipy.special.softmax, axis=-1),
    "rechunk + map_blocks": rechunk_back,
}
LOGSUMEXP: dict[str, Callable[[da.Array], da.Array]] = {
    "softmax_cy.dask": softmax_cy.dask.logsumexp,
    "da.exp": naive_logsumexp,
    "SciPy on the lazy array": functools.partial(scipy.special.logsumexp, axis=-1),
}


class Peak:
    """Watches the memory of processes, a hundred times a second."""

    def __init__(self, pids: list[int]) -> None:
        self.processes = [psutil.Process(pid) for pid in pids]
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.idle = self.find_memory()
        self.above_idle = 0

    def find_memory(self) -> int:
        """The resident memory of all together. One that has died has none."""
        total = 0
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def watch(self) -> None:
        """Be the thread."""
        while not self.done.wait(0.01):
            self.above_idle = max(self.above_idle, self.find_memory() - self.idle)

    def __enter__(self) -> Peak:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def count_reads(folder: str) -> str:
    """How often the chunks were read, on average."""
    names = [path.name.partition("-")[0] for path in Path(folder).iterdir()]
    return f"{len(names) / max(1, len(set(names))):.3g}"


def run(
    way: str,
    function: Callable[..., Any],
    columns: int,
    chunks: int,
    memory: int,
    seconds: float,
    workers: int = WORKERS,
    of_softmax: bool = True,
) -> list[str]:
    """Compute one result on a cluster of its own, and return a row of a table."""
    quiet = {"distributed.worker.memory.terminate": False, "logging.distributed": "error"}
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set({**quiet, "temporary-directory": folder}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=memory // workers,
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        reads = Path(folder, "reads")
        reads.mkdir()
        source = make_source(columns, chunks, str(reads))
        logarithms = find_logarithms(source)
        client.restart()
        print(f"{way}: {source.nbytes / 1e9:.1f} GB in {source.npartitions} chunks")
        begin = time.perf_counter()
        try:
            with Peak(list(client.run(os.getpid).values())) as peak:
                tasks = 0
                result = function(source)
                tasks = len(dict(result.__dask_graph__()))
                if of_softmax:
                    result = result.map_blocks(
                        measure_chunk, logarithms=logarithms, dtype=np.float64, meta=np.empty((0, 0)), chunks=(ROWS, 1)
                    )
                future = client.compute(result)
                distributed.progress(future, notebook=False)
                result = future.result(timeout=seconds)
        except Exception as error:
            print()
            return [way, str(tasks), count_reads(str(reads)), "-", "-", type(error).__name__, "-"]
        elapsed = time.perf_counter() - begin
        print()
        errors = result if of_softmax else count_ulp(np.asarray(result)[:, None], logarithms)
        wrong = int((errors.max(axis=1) > 2.5).sum())
        return [
            way,
            str(tasks),
            count_reads(str(reads)),
            f"{peak.above_idle / 1e6:.0f}",
            f"{elapsed:.1f}",
            f"{errors.max():.2f}",
            f"{wrong} of {ROWS}",
        ]


def show(title: str, rows: list[list[str]]) -> None:
    """Show one table, by rich where it is installed."""
    table = Table(title, COLUMNS, rows)
    try:
        from rich.console import Console
        from rich.table import Table as RichTable
    except ImportError:
        print(markdown_table(table))
        return
    shown = RichTable(*COLUMNS, title=title)
    for row in rows:
        shown.add_row(*row)
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH_IN_A_FILE)).print(shown)


def main() -> None:
    """Run all ways, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=4_000_000, help="of the first source, which has 64 rows")
    parser.add_argument("--memory", type=parse_bytes, default="2GiB", help="of the cluster, for the larger sources")
    parser.add_argument("--seconds", type=float, default=300, help="that a way may take")
    options = parser.parse_args()
    size = ROWS * options.columns * 4
    fits = functools.partial(run, columns=options.columns, chunks=16, memory=8 * size + 2**30, seconds=options.seconds)
    show(f"softmax, {format_bytes(size)}, fits into memory", [fits(*way) for way in SOFTMAX.items()])
    show(
        f"logsumexp, {format_bytes(size)}, fits into memory",
        [fits(*way, of_softmax=False) for way in LOGSUMEXP.items()],
    )
    twice = functools.partial(
        run, columns=2 * options.memory // (ROWS * 4), chunks=64, memory=options.memory, seconds=options.seconds
    )
    show(
        f"softmax, {format_bytes(2 * options.memory)}, twice the memory of the cluster",
        [twice(*way) for way in SOFTMAX.items()],
    )
    worker = options.memory // WORKERS
    show(
        f"logsumexp, {format_bytes(10 * worker)}, ten times the memory of its worker",
        [
            run(
                *way,
                columns=10 * worker // (ROWS * 4),
                chunks=160,
                memory=worker,
                seconds=options.seconds,
                workers=1,
                of_softmax=False,
            )
            for way in LOGSUMEXP.items()
        ],
    )


if __name__ == "__main__":
    main()
