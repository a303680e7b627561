"""How many units in the last place the worst result is off. The inputs are those on which others lose digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks import reference
from benchmarks.buffers import Buffers
from benchmarks.cases import SEED, Case, arguments, numpy_dtype
from benchmarks.operations import BY_NAME
from benchmarks.suite.harness import PLACE, Missing, Parameters, backends_of, ready

WIDE = np.longdouble
ROWS, LENGTH = 64, 1000
DIFFERENCES = ("product", "loss")  # the families whose results are differences, which may vanish


class HardBuffers(Buffers):
    """These hold rows of four kinds: ordinary, spread out, all negative, and with one class far ahead."""

    def __init__(self, case: Case, place: tuple[int, ...]) -> None:
        rng = np.random.default_rng(SEED)
        shape = (case.shape[0] // 4, case.shape[1])
        ahead = rng.standard_normal(shape)
        ahead[:, shape[-1] // 2] = 12
        kinds = rng.standard_normal(shape), 20 * rng.standard_normal(shape), rng.uniform(-100, 0, shape), ahead
        self._out_start = place[-1]
        self.dtype = numpy_dtype(case.dtype)
        self.inputs = arguments(case, np.concatenate(kinds), self.dtype, rng)
        self.out = self.new(case.result_shape)
        self.reset()

    def reset(self) -> None:
        """Remove an earlier result from the output."""
        self.out[...] = np.nan


class Digits(Parameters):
    """A benchmark that measures the digits of an operation in every dtype, by every backend."""

    def __init__(self, operation: str, dtypes: tuple[str, ...] = ("float32",), length: int = LENGTH) -> None:
        super().__init__(unit="ulp", dtype=dtypes, backend=backends_of(operation))
        self.operation = operation
        self.shape = (ROWS, length)

    @property
    def definition(self) -> Callable[..., object]:
        """Return the formula of the operation, for arrays of any dtype."""
        return reference.OPERATIONS[self.operation]

    def prepare(self, dtype: str, backend: str) -> None:
        """Compute the result."""
        if np.finfo(WIDE).nmant <= np.finfo(dtype).nmant + 8:
            raise Missing("long double is no wider than double here")
        case = Case(self.operation, self.shape, dtype)
        self.inputs = HardBuffers(case, PLACE).inputs
        run = ready(case, backend, HardBuffers)
        self.result = run.read(run.call())

    def max_ulp(self) -> float:
        """Return the error of the worst result."""
        arrays = (array.astype(WIDE) if array.dtype.kind == "f" else array for array in self.inputs)
        exact = log_softmax(*arrays) if self.operation == "log_softmax" else self.definition(*arrays, -1)
        exact = exact if isinstance(exact, tuple) else (exact,)
        return max(worst(np.asarray(got), want, self.size(want)) for got, want in zip(self.result, exact, strict=True))

    def size(self, exact: np.ndarray) -> np.ndarray:
        """Return the numbers whose units count: the exact ones, or for differences the largest term of the slice."""
        operation = BY_NAME[self.operation]
        if operation.family not in DIFFERENCES or exact.ndim == 0:
            return np.abs(exact)
        of_softmax = [array.holds for array in operation.inputs] == ["vector", "softmax"]
        terms = np.multiply(*self.inputs) if of_softmax else exact
        return np.abs(terms).max(-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Compute log_softmax without the cancellation of the definition, which ruins the logarithm of a near certainty."""
    shifted = x - x.max(-1, keepdims=True)
    rest = np.exp(shifted)
    np.put_along_axis(rest, shifted.argmax(-1, keepdims=True), 0, -1)
    return shifted - np.log1p(rest.sum(-1, keepdims=True))


def worst(got: np.ndarray, want: np.ndarray, size: np.ndarray) -> float:
    """Return the largest error in units in the last place of numbers of that size."""
    info = np.finfo(got.dtype)
    exponent = np.maximum(np.frexp(size)[1] - 1, info.minexp)
    unit = np.ldexp(WIDE(1), exponent - info.nmant)
    return float((np.abs(got.astype(WIDE) - want) / unit).max())
