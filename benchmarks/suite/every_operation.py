"""The benchmarks that every operation has: its time, the ratio to torch's time, and its digits.

They are made of the list of operations, so that a new operation is measured without any change here. asv finds them
among the attributes of this module, and takes their names from `benchmark_name`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import peers, reference
from benchmarks.cases import IN_CACHE, JACOBIANS, LOSSES, PRODUCTS, SMALL_JACOBIANS
from benchmarks.operations import OPERATIONS, Operation
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import BOTH, LIMIT, Grid, Pair, backends_of

# A new family of operations needs its shapes here.
SHAPES = {"forward": IN_CACHE, "product": PRODUCTS, "jacobian": (*SMALL_JACOBIANS, *JACOBIANS), "loss": LOSSES}

# What differs from the rule.
LIMITED = ("softmax_jacobian",)  # those that stand beside the limit: here, to fill the result with a constant
DIGITS = {"softmax": {"dtypes": BOTH}, "softmax_jacobian": {"length": 64}}


def benchmarks_of(operation: Operation) -> Iterator[Callable]:
    """Make the benchmarks of an operation. The last two need a definition to compare results with."""
    shapes = SHAPES[operation.family]
    yield named(operation, f"time_{operation.name}", make_time(operation, shapes))
    if operation.name in reference.OPERATIONS:
        yield named(operation, "track_ratio_to_torch", make_ratio(operation, shapes))
        yield named(operation, "track_max_ulp", make_digits(operation))


def named(operation: Operation, name: str, function: Callable) -> Callable:
    """Give a benchmark the name it would have as a function `name` in a module that is called like the operation."""
    function.benchmark_name = f"suite.{operation.name}.{name}"
    return function


def make_time(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> Callable:
    """Make the benchmark of the time."""
    limit = [LIMIT] if operation.name in LIMITED else []
    naive_on = shapes[0] if hasattr(peers.Naive, operation.name) else None
    grid = Grid(operation.name, shapes, backends=(*backends_of(operation.name), *limit), naive_on=naive_on)

    @grid
    def measure_time(*_):
        """Make one call. It writes into arrays that exist, where the peer can."""
        grid.call()

    return measure_time


def make_ratio(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> Callable:
    """Make the benchmark of the ratio."""
    pair = Pair(operation.name, shapes)

    @pair
    def measure_ratio(*case):
        """Return the time of softmax_cy as a multiple of torch's time. The two take turns."""
        return pair.ratio(*case)

    return measure_ratio


def make_digits(operation: Operation) -> Callable:
    """Make the benchmark of the digits."""
    digits = Digits(operation.name, **DIGITS.get(operation.name, {}))

    @digits
    def measure_digits(*_):
        """Return the error of the worst result on hard inputs, in units in the last place."""
        return digits.max_ulp()

    return measure_digits


for _operation in OPERATIONS:
    if _operation.family in SHAPES:
        for _function in benchmarks_of(_operation):
            globals()[f"{_operation.name}_{_function.__name__}"] = _function
