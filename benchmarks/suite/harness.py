"""What stands between asv and the race. It prepares their cases and peers before asv's clock starts."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from benchmarks import peers
from benchmarks.buffers import Buffers
from benchmarks.cases import Case, numpy_dtype
from benchmarks.peers import LIMIT, OURS
from benchmarks.standings import ratios
from benchmarks.timing import race

NUMPY, TORCH, SCIPY, NAIVE = peers.NumPy.name, peers.Torch.name, peers.SciPy.name, peers.Naive.name
PLAIN_CYTHON = "plain Cython"
KINDS = {kind.name: kind for kind in (peers.SoftmaxCy, peers.Again, peers.Naive, peers.Limit, *peers.OTHERS)}

__all__ = ["LIMIT", "NAIVE", "NUMPY", "OURS", "SCIPY", "TORCH", "Grid", "LeanBuffers", "Pair", "Parameters"]

# asv shows the results of one version of a benchmark only. By default the version is a digest of the source text, which
# benchmarks made by one function share, and which a better docstring changes. So it is a number here: raise it when
# times before and after a change of the benchmarks cannot be compared.
VERSION = "1"

PLACE = (64, 1088, 2112)  # apart from each other, and the same for all peers and commits
RATIO_ROUNDS, RATIO_SECONDS = 24, 0.6
BOTH = ("float32", "float64")


class Missing(Exception):
    """There is nothing to measure. The message tells why."""


class Parameters:
    """An object that holds the parameters of a benchmark and prepares what it measures.

    asv takes it for the list of combinations to leave out. It asks whether a combination is in the list before it
    measures, and never while it measures. That is when it prepares. With a `setup`, asv would time single calls. With
    preparations or imports within the first call, asv would count them as its time, with the same effect.
    """

    def __init__(self, unit: str = "", **params: Iterable[str]) -> None:
        self.unit = unit
        self.names = list(params)
        self.values = [list(values) for values in params.values()]
        self.prepared: tuple[str, ...] | None = None

    def __call__(self, function: Callable) -> Callable:
        """Turn a function into a benchmark with these parameters."""
        function.params, function.param_names, function.skip_params = self.values, self.names, self
        function.version = VERSION
        if self.unit:
            function.unit = self.unit
        return function

    def __contains__(self, combination: tuple[str, ...]) -> bool:
        """Return whether this combination cannot be measured. If it can, it is ready afterwards."""
        if combination != self.prepared:
            try:
                self.prepare(*combination)
            except (ImportError, Missing, peers.Cannot) as reason:
                print(f"skipped: {', '.join(combination)}: {reason}")
                return True
            self.prepared = combination
        return False

    def combinations(self) -> Iterable[tuple[str, ...]]:
        """Return all combinations of the parameters."""
        return itertools.product(*self.values)

    def prepare(self, *combination: str) -> None:
        """Do everything but what is measured. Raise Missing, Cannot or ImportError if that is impossible."""
        raise NotImplementedError


class Grid(Parameters):
    """A benchmark that measures an operation on every shape, in every dtype and by every backend."""

    def __init__(
        self,
        operation: str,
        shapes: Iterable[tuple[int, ...]],
        dtypes: Sequence[str] = BOTH,
        backends: Sequence[str] = (OURS, NUMPY, TORCH),
        buffers: type[Buffers] = Buffers,
        naive_on: tuple[int, ...] | None = None,
        **options: object,
    ) -> None:
        naive = [NAIVE] if naive_on else []
        super().__init__(shape=map(shape_name, shapes), dtype=dtypes, backend=[*backends, *naive])
        self.operation = operation
        self.options = options
        self.buffers = buffers
        self.naive_on = naive_on
        self.run: peers.Run | None = None

    def case(self, shape: str, dtype: str) -> Case:
        """Return the case of the race."""
        return Case(self.operation, shape_of(shape), dtype, **self.options)

    def prepare(self, shape: str, dtype: str, backend: str) -> None:
        """Let `call` be the call to measure."""
        if backend == NAIVE and shape_of(shape) != self.naive_on:
            raise Missing("loops in Python only on the smallest shape")
        self.run = ready(self.case(shape, dtype), backend, self.buffers)
        self.call = self.run.call


class Pair(Parameters):
    """A benchmark that measures softmax_cy and another peer in turns, on every shape and in every dtype."""

    def __init__(
        self,
        operation: str,
        shapes: Iterable[tuple[int, ...]],
        dtypes: Sequence[str] = BOTH,
        other: str = TORCH,
        **options: object,
    ) -> None:
        super().__init__(unit="x", shape=map(shape_name, shapes), dtype=dtypes)
        self.grid = Grid(operation, shapes, dtypes, **options)
        self.other = other

    def prepare(self, shape: str, dtype: str) -> None:
        """Make sure that both peers can compute the case."""
        for backend in (OURS, self.other):
            self.grid.prepare(shape, dtype, backend)

    def rounds(self, shape: str, dtype: str) -> list[float]:
        """Return the time of softmax_cy as a multiple of the other peer's time, round by round."""
        case = self.grid.case(shape, dtype)
        outcome = race(case, [peer(OURS), peer(self.other)], RATIO_ROUNDS, RATIO_SECONDS)
        if outcome.wrong:
            raise ArithmeticError(f"{case.name}: {outcome.wrong}")
        return [1 / value for value in ratios(outcome, self.other)]

    def ratio(self, shape: str, dtype: str) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.rounds(shape, dtype))


class LeanBuffers(Buffers):
    """Buffers for peaks of memory: they make the inputs without temporaries and leave the output untouched."""

    def __init__(self, case: Case, place: tuple[int, ...]) -> None:
        self._out_start = place[-1]
        self.dtype = numpy_dtype(case.dtype)
        row = np.random.default_rng(0).random(case.shape[-1], self.dtype)
        x = np.empty(case.shape, self.dtype)
        x[...] = row if case.operation == "softmax" else row / row.sum()
        self.inputs = (x,)
        self.out = self.new(case.result_shape)

    def reset(self) -> None:
        """Leave the output untouched."""


def backends_of(operation: str) -> tuple[str, ...]:
    """Name the backends that compute an operation, softmax_cy first."""
    others = (NUMPY, TORCH, SCIPY, PLAIN_CYTHON)
    return (OURS, *(name for name in others if hasattr(KINDS.get(name), operation)))


@cache
def peer(name: str) -> peers.Peer:
    """Load a peer when it is first asked for. Raise ImportError if it is not installed."""
    return KINDS[name]()


def ready(case: Case, backend: str, buffers: type[Buffers] = Buffers) -> peers.Run:
    """Return a call that has been made once. Commits that lack a function or an argument have nothing to measure."""
    ours = peer(backend) is peer(OURS)
    if ours and not hasattr(peer(OURS).library, case.operation):
        raise Missing(f"this build has no {case.operation}")
    run = peer(backend).prepare(case, buffers(case, PLACE))
    try:
        run.call()
    except TypeError as error:
        if ours:
            raise Missing(f"this build's {case.operation} takes other arguments: {error}") from error
        raise
    return run


def shape_name(shape: Sequence[int]) -> str:
    """Return the name of a shape that asv shows."""
    return "x".join(map(str, shape))


def shape_of(name: str) -> tuple[int, ...]:
    """Return the shape of such a name."""
    return tuple(map(int, name.split("x")))


def geometric_distance(values: Sequence[float]) -> float:
    """Return how far the median of ratios is from 1, upwards or downwards."""
    return math.exp(abs(math.log(statistics.median(values)))) - 1
