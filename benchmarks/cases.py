"""The cases that are measured, and the targets they are held to. Everything that times softmax_cy uses these cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmarks import reference
from benchmarks.operations import BY_NAME, Operation

SEED = 3

SHORT_DTYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}

IN_CACHE = ((64, 10), (64, 100), (32, 1000), (1024, 128), (37, 333), (256, 4096), (64, 32000))
BEYOND_CACHE = ((4096, 4096), (8, 1_000_000))
ALONG_AXIS_0 = ((10, 4096), (128, 1024), (1000, 1000), (4096, 256), (1000, 37))
JACOBIANS = ((64, 100), (32, 1000), (1, 4096))
SMALL_JACOBIANS = ((64, 10), (1024, 32))
LOSSES = ((64, 10), (64, 100), (32, 1000), (1024, 128), (64, 32000))
FEW_CLASSES = ((50_000, 3),)
PRODUCTS = ((64, 100), (32, 1000), (256, 4096))
HALF_PRECISION = ((64, 10), (32, 1000), (256, 4096))
IN_PLACE = ((64, 100), (32, 1000), (256, 4096), (4096, 4096))
SHARED_ROWS, ONE_ROW, TOO_SMALL_TO_SHARE = ((256, 4096), (64, 32000)), ((1, 4_000_000),), ((64, 10),)
VECTOR = (10,)


@dataclass(frozen=True)
class Case:
    """A case is one operation on one input. The last fields are options of softmax_cy, or say how it is called."""

    operation: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    axis: int = -1
    in_place: bool = False
    threads: int = 1
    allocated: bool = False  # the plain call: each makes its result, and nobody names a number of threads

    @property
    def name(self) -> str:
        """Return a short name that no other case has, such as `softmax-f32-32x1000`."""
        parts = [self.operation, SHORT_DTYPES[self.dtype], "x".join(map(str, self.shape))]
        if self.axis != -1:
            parts.append(f"axis{self.axis}")
        if self.in_place:
            parts.append("in-place")
        if self.threads > 1:
            parts.append(f"{self.threads}-threads")
        if self.allocated:
            parts.append("allocated")
        return "-".join(parts)

    @property
    def listed(self) -> Operation:
        """Return the row of the operation in the list."""
        return BY_NAME[self.operation]

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Return the shape of the last output. A loss is the mean over all rows."""
        result = self.listed.outputs[-1]
        if result.holds == "loss":
            return ()
        if result.ndim == 1:
            axis = self.axis % len(self.shape)
            return self.shape[:axis] + self.shape[axis + 1 :]
        if result.ndim == 3:
            return (*self.shape, self.shape[self.axis])
        return self.shape

    @property
    def unit(self) -> str:
        """Return what times are given for: an element, or a call where the call is what counts."""
        return "call" if self.allocated else "element"

    @property
    def units(self) -> int:
        """Return how many of these units one call takes: as many as it reads or writes, whichever is more."""
        return 1 if self.allocated else max(math.prod(self.shape), math.prod(self.result_shape))

    @property
    def limit(self) -> str:
        """Name what the time is held against besides the peers, or nothing. `peers.Limit` explains it."""
        # No call of NumPy reads rows and writes a number for each.
        if self.allocated or self.listed.outputs[-1].ndim == 1:
            return ""
        if self.threads > 1:
            return "own 1 thread"
        if self.in_place:
            return "own out of place"
        if self.axis != -1:
            return "own last axis"
        return {"jacobian": "fill", "product": "np.multiply"}.get(self.listed.family, "np.copyto")


@dataclass(frozen=True)
class Target:
    """A target bounds the time of softmax_cy against another, in every case or in the geometric mean of all."""

    against: str  # a peer, "best" for the fastest peer of each case, or "limit"
    bound: float
    each: bool
    at_most: bool = False  # softmax_cy's time as a multiple of the other's, instead of the other's of softmax_cy's
    shapes: tuple[tuple[int, ...], ...] = ()  # all if empty


def every(against: str, bound: float, *shapes: tuple[int, ...]) -> Target:
    """Ask for so many times the speed in every case."""
    return Target(against, bound, each=True, shapes=shapes)


def mean(against: str, bound: float) -> Target:
    """Ask for so many times the speed in the geometric mean."""
    return Target(against, bound, each=False)


def within(bound: float, *shapes: tuple[int, ...]) -> Target:
    """Allow at most so many times the limit in every case."""
    return Target("limit", bound, each=True, at_most=True, shapes=shapes)


@dataclass(frozen=True)
class Group:
    """A group holds the cases of one table and one mean."""

    title: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = ()  # where the CPU has AVX-512, and the peers use it
    avx2_targets: tuple[Target, ...] | None = None  # where softmax_cy and the peers are held to AVX2; None: the same

    @property
    def limit(self) -> str:
        """Return the limit of its cases."""
        return self.cases[0].limit

    def targets_of(self, variant: str) -> tuple[Target, ...]:
        """Return what the kernels of a variant are held to."""
        return self.targets if variant == "v4" or self.avx2_targets is None else self.avx2_targets


def over(operation: str, shapes: tuple[tuple[int, ...], ...], **options: object) -> tuple[Case, ...]:
    """Return a case for each shape, with the same options."""
    return tuple(Case(operation, shape, **options) for shape in shapes)


GROUPS = (
    Group(
        "softmax, float32, in cache",
        over("softmax", IN_CACHE),
        (every("torch", 1.9), mean("torch", 2.7), every("best", 1.25), mean("best", 1.7)),
        (every("torch", 1.6), mean("torch", 2.2)),
    ),
    Group(
        "softmax, float32, beyond cache",
        over("softmax", BEYOND_CACHE),
        (every("best", 1.2, (4096, 4096)), every("best", 1.0, (8, 1_000_000))),
    ),
    Group(
        "softmax, float64",
        over("softmax", IN_CACHE + BEYOND_CACHE, dtype="float64"),
        (every("torch", 1.5), mean("torch", 2.6)),
        (every("torch", 1.5), mean("torch", 1.9)),
    ),
    Group(
        "softmax, half precision",
        over("softmax", HALF_PRECISION, dtype="float16") + over("softmax", HALF_PRECISION, dtype="bfloat16"),
        (every("best", 1.1),),
    ),
    Group("softmax, axis 0", over("softmax", ALONG_AXIS_0, axis=0), (every("best", 1.1), mean("best", 1.5))),
    Group(
        "log_softmax",
        over("log_softmax", IN_CACHE),
        (every("best", 1.1), mean("best", 1.4)),
        (every("torch", 1.4), mean("torch", 1.8)),
    ),
    Group("logsumexp", over("logsumexp", IN_CACHE), (every("torch", 3.5),)),
    Group(
        "softmax_vjp, in cache",
        over("softmax_vjp", IN_CACHE),
        (every("torch", 1.0), mean("torch", 1.5)),
        (every("torch", 0.95), mean("torch", 1.2)),
    ),
    Group("softmax_vjp, beyond cache", over("softmax_vjp", BEYOND_CACHE), (within(1.15),)),
    Group(
        "other products with the Jacobians",
        over("softmax_jvp", PRODUCTS) + over("log_softmax_vjp", PRODUCTS) + over("log_softmax_jvp", PRODUCTS),
    ),
    Group(
        "softmax_jacobian",
        over("softmax_jacobian", JACOBIANS + SMALL_JACOBIANS),
        (within(2.0, (64, 10)), within(1.2, (1024, 32)), within(1.15, (32, 1000)), mean("torch", 5)),
    ),
    Group(
        "cross_entropy_and_grad",
        over("cross_entropy_and_grad", LOSSES),
        (every("torch", 2.5), mean("torch", 5)),
        (every("torch", 2.0), mean("torch", 3.5)),
    ),
    Group(
        "cross_entropy_and_grad, float64, few classes",
        over("cross_entropy_and_grad", FEW_CLASSES, dtype="float64"),
        (every("scikit-learn", 1.3),),
    ),
    Group(
        "softmax of one vector",
        over("softmax", (VECTOR,), allocated=True),
        (every("torch", 4.2), every("numpy", 15)),
    ),
    Group("softmax, in place", over("softmax", IN_PLACE, in_place=True), (within(1.1),)),
    Group(
        "softmax, 2 threads",
        over("softmax", SHARED_ROWS + ONE_ROW + TOO_SMALL_TO_SHARE, threads=2),
        (every("limit", 1.8, *SHARED_ROWS), every("limit", 1.5, *ONE_ROW), every("limit", 0.95)),
    ),
)

CASES = tuple(case for group in GROUPS for case in group.cases)


def numpy_dtype(name: str) -> np.dtype:
    """Return the dtype of a name. For bfloat16 NumPy needs ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


@lru_cache(maxsize=2)  # the large ones are as much as memory should hold
def inputs(case: Case) -> tuple[np.ndarray, ...]:
    """Return the arrays that the operation takes, in its order. They are always the same, and read-only."""
    rng = np.random.default_rng(SEED)
    dtype = numpy_dtype(case.dtype)
    logits = rng.standard_normal(case.shape)
    arrays = arguments(case, logits, dtype, rng)
    for array in arrays:
        array.flags.writeable = False
    return arrays


def arguments(case: Case, logits: np.ndarray, dtype: np.dtype, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Make the arrays that the operation takes, of logits and random numbers."""

    def argument(holds: str) -> np.ndarray:
        if holds == "target":
            return rng.integers(case.shape[-1], size=case.shape[:-1])
        if holds == "logits":
            return logits.astype(dtype)
        if holds == "vector":
            return rng.standard_normal(case.shape).astype(dtype)
        return result_of(holds, logits, case.axis).astype(dtype)

    return tuple(argument(array.holds) for array in case.listed.inputs)


def result_of(operation: str, logits: np.ndarray, axis: int) -> np.ndarray:
    """Compute an operation by its definition, or by softmax_cy itself where it is the only one that has it."""
    if operation in reference.OPERATIONS:
        return reference.OPERATIONS[operation](logits, axis)
    import softmax_cy

    return getattr(softmax_cy, operation)(logits, axis)
