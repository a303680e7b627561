"""Calls of every function on arrays that touch a page nobody may read: `python guarded.py LOG VARIANT MODE WHICH`.

An access out of bounds ends the process with SIGSEGV; LOG then names the call. WHICH is "all" or "sample". MODE
"streamed" makes the library take the last-level cache for one of 16 KB, and makes only calls of which the arrays are
larger: their results are written past it. MODE "one too many" makes one call on an array that has one element more than
there is room for, the input or the output as WHICH says.
"""

import builtins
import ctypes
import io
import itertools
import mmap
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

PROT_NONE, PAGE = 0, mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)

DTYPES = [np.dtype(t) for t in ("f4", "f8", "f2", ml_dtypes.bfloat16, "i4", "?")]
PLACES = ["before a guard page", "behind a guard page"]

# Around the sizes that kernels know, in bytes: groups of 8 KB, blocks of 16 KB, rows that keep their exponentials in
# 256 KB; and a quarter of a block, up to which slices are gathered. 200 elements and fewer are all there.
BORDERS = [size // item for size, item in itertools.product((4096, 8192, 16384, 32768, 262144), (4, 8))]
AROUND = [-17, -16, -1, 0, 1, 15, 17]
LENGTHS = [*range(201), *sorted({border + step for border in BORDERS for step in AROUND})]
MOST_ELEMENTS = 150_000
SMALL_CACHE = 16 * 1024


class Arena:
    """Memory between two pages that nobody may touch."""

    def __init__(self, size: int):
        size = -(-size // PAGE) * PAGE
        self.map = mmap.mmap(-1, size + 2 * PAGE)
        whole = np.frombuffer(self.map, np.uint8)
        self.data = whole[PAGE:-PAGE]
        for address in (whole.ctypes.data, whole.ctypes.data + PAGE + size):
            if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...], place: str) -> np.ndarray:
        """An array of which the last element ends, or the first begins, where a guard page does."""
        if 0 in shape:
            lowest = highest = 0
        else:
            reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
            lowest = sum(step for step in reach if step < 0)
            highest = sum(step for step in reach if step > 0) + dtype.itemsize
        offset = self.data.size - highest if place == PLACES[0] else -lowest
        return np.ndarray(shape, dtype, self.data, offset, strides)


def contiguous(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Strides in C order."""
    return tuple(size * int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))


# From a number of slices, their length and the size of an element to strides.
LAYOUTS: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "rows": lambda count, length, size: (length * size, size),
    "padded rows": lambda count, length, size: ((length + 3) * size, size),
    "columns": lambda count, length, size: (size, count * size),
    "padded columns": lambda count, length, size: (size, (count + 3) * size),
    "stride 2": lambda count, length, size: (2 * length * size, 2 * size),
    "negative strides": lambda count, length, size: (-length * size, -size),
    "unaligned": lambda count, length, size: (length * (2 * size + 1), 2 * size + 1),
    "the same row again": lambda count, length, size: (0, size),
}
# Of the first input, of the others, of the output.
TRIPLES = [(name, name, name) for name in list(LAYOUTS)[:-1]] + [
    ("rows", "stride 2", "rows"),
    ("stride 2", "rows", "rows"),
    ("rows", "rows", "unaligned"),
    ("columns", "rows", "columns"),
    ("rows", "columns", "padded rows"),
    ("rows", "the same row again", "rows"),
    ("the same row again", "columns", "rows"),
]


class Operation(NamedTuple):
    """A function, its inputs beside the first, what it returns in `out`, and what else it is given."""

    function: str
    others: tuple[str, ...] = ()
    out: str = "same"
    options: dict[str, Any] = {}  # noqa: RUF012  a tuple's field, never changed


OPERATIONS = [
    Operation("softmax"),
    Operation("softmax", options={"scale": 0.3}),
    Operation("softmax", ("where",)),
    Operation("softmax", ("where",), options={"scale": 0.3}),
    Operation("softmax", out="in place"),
    Operation("softmax", options={"dtype": np.dtype("f2")}),
    Operation("log_softmax", ("where",), options={"dtype": np.dtype("f4")}),
    Operation("log_softmax"),
    Operation("log_softmax", ("where",), options={"scale": 0.3}),
    Operation("log_softmax", out="in place"),
    Operation("logsumexp", out="slices"),
    Operation("logsumexp", ("where",), out="slices"),
    Operation("logsumexp", out="slices", options={"scale": 0.3}),
    *[Operation(f"{name}_{product}", ("y",)) for name in ("softmax", "log_softmax") for product in ("vjp", "jvp")],
    *[
        Operation(f"{name}_{product}", ("certain",))
        for name in ("softmax", "log_softmax")
        for product in ("vjp", "jvp")
    ],
    Operation("softmax_vjp", ("y of the other",), options={"scale": 0.3}),
    Operation("softmax_jvp", ("y",), out="in place"),
    Operation("softmax_jacobian", out="matrices"),
    Operation("log_softmax_jacobian", out="matrices"),
    Operation("softmax_and_jacobian", out="both"),
    Operation("softmax_and_jacobian", ("where",), out="both"),
    Operation("cross_entropy", ("indices",), out="slices", options={"reduction": "none"}),
    Operation("cross_entropy", ("short indices", "weight"), out="slices", options={"reduction": "none"}),
    Operation(
        "cross_entropy", ("indices", "weight"), out="slices", options={"reduction": "none", "label_smoothing": 0.1}
    ),
    Operation("cross_entropy", ("y",), out="slices", options={"reduction": "none"}),
    Operation("cross_entropy", ("y", "weight"), out="slices", options={"reduction": "none"}),
    Operation("cross_entropy", ("indices",), out="one", options={"ignore_index": 0}),
    Operation("cross_entropy_and_grad", ("indices",)),
    Operation("cross_entropy_and_grad", ("short indices", "weight"), options={"ignore_index": 0}),
    Operation("cross_entropy_and_grad", ("indices",), options={"label_smoothing": 0.1}),
    Operation("cross_entropy_and_grad", ("y",)),
    Operation("cross_entropy_and_grad", ("y", "weight"), options={"label_smoothing": 0.1}),
    Operation("cross_entropy_and_grad", ("indices",), out="in place"),
]


LONG = ["softmax", "log_softmax", "logsumexp"]


class Case(NamedTuple):
    """One call."""

    operation: Operation
    count: int
    length: int
    dtype: np.dtype
    layouts: tuple[str, str, str]
    place: str
    threads: int


def counts_for(length: int, jacobian: bool) -> list[int]:
    """Numbers of slices: about a vector, a panel of four and a tile."""
    counts = [1, 2, 7, 16, 17, 65] if length <= 70 else [1, 3, 17, 65] if length <= 200 else [1, 3]
    return [count for count in counts if count * length * (length if jacobian else 1) <= MOST_ELEMENTS]


def cases(streamed: bool, draw: random.Random | None) -> Iterator[Case]:
    """All there are, or, of those with the same operation, length and number of slices, one that is drawn."""
    combinations = list(itertools.product(DTYPES, TRIPLES, PLACES))
    for operation, length in itertools.product(OPERATIONS, LENGTHS):
        jacobian = "jacobian" in operation.function
        if jacobian and length > 201:
            continue
        for count in counts_for(length, jacobian):
            # Input and output, at 8 bytes an element.
            if streamed and 16 * count * length * (length if jacobian else 1) <= SMALL_CACHE:
                continue
            for dtype, layouts, place in [draw.choice(combinations)] if draw else combinations:
                if operation.out == "in place" and (dtype.kind in "ib" or layouts[0] == "the same row again"):
                    continue
                # One long slice is shared out by stretches.
                for threads in (1, 2) if count == 1 and length > 30_000 and operation.function in LONG else (1,):
                    yield Case(operation, count, length, dtype, layouts, place, threads)


class Caller:
    """Makes the calls, on memory that it has once and for all."""

    def __init__(self, library: Any):
        self.library = library
        elements = MOST_ELEMENTS + 2000
        self.arenas = [Arena(elements * 17) for _ in range(2)] + [Arena(elements * 17) for _ in range(2)]
        values = np.random.default_rng(7).standard_normal(elements)
        self.values = {dtype: (3 * values).astype(dtype) for dtype in DTYPES}
        self.outputs = {dtype: np.linspace(0, 0.01, elements).astype(dtype) for dtype in DTYPES}
        self.mask = values > -1

    def place(
        self, arena: int, case: Case, layout: str, dtype: np.dtype, source: np.ndarray | None = None
    ) -> np.ndarray:
        """An array of the shape of the logits."""
        strides = LAYOUTS[layout](case.count, case.length, dtype.itemsize)
        array = self.arenas[arena].array((case.count, case.length), dtype, strides, case.place)
        if source is not None:
            array[...] = source[: array.size].reshape(array.shape)
        return array

    def flat(self, arena: int, case: Case, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of another shape, in C order."""
        return self.arenas[arena].array(shape, dtype, contiguous(shape, dtype.itemsize), case.place)

    def call(self, case: Case) -> None:
        """One call."""
        operation, dtype, (first, second, third) = case.operation, case.dtype, case.layouts
        x = self.place(0, case, first, dtype, self.values[dtype])
        result = operation.options.get("dtype", np.dtype("f8") if dtype.kind in "ib" else dtype)
        arguments, options = [x], {**operation.options, "num_threads": case.threads}
        for name in operation.others:
            if name == "where":
                options["where"] = self.place(1, case, second, np.dtype("?"), self.mask)
            elif name == "weight":
                options["weight"] = self.flat(3, case, (case.length,), result)
                options["weight"][...] = 0.5
            elif name.endswith("indices"):
                target = self.flat(1, case, (case.count,), np.dtype("i1" if name == "short indices" else "i8"))
                target[...] = np.arange(case.count) % max(1, min(case.length, 100))
                arguments.append(target)
            else:
                other = np.dtype("f4" if result == "f8" else "f8") if name == "y of the other" else result
                y = self.place(1, case, second, other, self.outputs[result])
                result = np.promote_types(result, other)
                if name == "certain":
                    y[:, :1] = 1
                arguments.append(y)
        if operation.out == "same":
            options["out"] = self.place(2, case, third, result)
        elif operation.out == "in place":
            options["out"] = x
        elif operation.out in ("slices", "one"):
            options["out"] = self.flat(2, case, (case.count,) if operation.out == "slices" else (), result)
        else:
            matrices = self.flat(2, case, (case.count, case.length, case.length), result)
            if operation.out == "matrices":
                options["out"] = matrices
            else:
                options["out"] = (self.place(3, case, third, result), matrices)
        if case.length == 0 and any(name.endswith("indices") for name in operation.others):
            return
        getattr(self.library, operation.function)(*arguments, **options)


def call_with_one_element_too_many(library: Any, which: str) -> None:
    """What the guard pages are there for."""
    arena, size, dtype = Arena(PAGE), 40, np.dtype("f4")
    for place in PLACES:
        array = arena.array((size,), dtype, (dtype.itemsize,), place)
        library.softmax(array, out=array)
    at_the_end = arena.array((size,), dtype, (dtype.itemsize,), PLACES[0])
    too_long = np.lib.stride_tricks.as_strided(at_the_end, (size + 1,))
    one = np.zeros(size + 1, dtype)
    library.softmax(too_long if which == "input" else one, out=too_long if which == "output" else one)


def import_with_small_cache() -> None:
    """Import softmax_cy on a machine whose caches are of 16 KB, as far as it can see."""
    as_before = builtins.open
    builtins.open = lambda file, *args, **kwargs: (
        io.StringIO(f"{SMALL_CACHE // 1024}K") if "/cache/index" in str(file) else as_before(file, *args, **kwargs)
    )
    from softmax_cy import _cpu

    assert _cpu.cache_bytes() == SMALL_CACHE
    builtins.open = as_before


def main() -> None:
    """Make the calls that the command line asks for, each after it has been written down."""
    path, variant, mode, which = sys.argv[1:]
    with open(path, "r+b") as file:  # noqa: PTH123
        log = mmap.mmap(file.fileno(), 0)
    if mode == "streamed":
        import_with_small_cache()
    import softmax_cy
    from softmax_cy import _dispatch

    _dispatch.use(variant)
    if mode == "one too many":
        log[:5] = b"a log"
        call_with_one_element_too_many(softmax_cy, which)
        return
    caller = Caller(softmax_cy)
    made = 0
    draw = random.Random(f"{variant} {mode}") if which == "sample" else None
    for case in cases(mode == "streamed", draw):
        log[:] = repr(case).encode().ljust(len(log))
        caller.call(case)
        made += 1
    print(made)


if __name__ == "__main__":
    main()
