"""``python -m softmax_cy --selftest``: whether bits and digits are here what docs/accuracy.md promises."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from decimal import Context, Decimal, localcontext
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

import softmax_cy
from softmax_cy import _dispatch
from softmax_cy._operations import BY_NAME, OPERATIONS, Operation

# The largest errors that are allowed, in the units of docs/accuracy.md.
BOUNDS: dict[str, float] = {
    "softmax": 2,
    "softmax, below the smallest normal": 1,
    "softmax, where the logit is -inf": 0,
    "log_softmax": 2,
    "logsumexp": 2,
    "softmax_vjp": 4,
    "softmax_jvp": 4,
    "log_softmax_vjp": 4,
    "log_softmax_jvp": 4,
    "softmax_jacobian, off the diagonal": 0.5,
    "softmax_jacobian, diagonal": 1,
    "log_softmax_jacobian, off the diagonal": 2,
    "log_softmax_jacobian, diagonal": 2,
    "cross_entropy": 2,
    "cross_entropy, gradient": 4,
}
DTYPES = ("float16", "float32", "float64")
# Of the bits that all variants with FMA give, by dtype. Written by tools/golden.py.
DIGESTS = {
    "softmax, out": "9c5158aa 75b7d58c f3467006",
    "log_softmax, out": "058fd776 da0957b3 a428f9c5",
    "logsumexp, out": "a605f67c cfc90f3c a4195b16",
    "softmax_vjp, out": "e8160ec1 543e6226 094a69b5",
    "softmax_jvp, out": "e8160ec1 543e6226 094a69b5",
    "log_softmax_vjp, out": "14acb47b b7fe6aec 50213848",
    "log_softmax_jvp, out": "4da33214 17915d58 bdd3ef80",
    "softmax_jacobian, out": "2feb6ffe 15c61810 6b2a255f",
    "log_softmax_jacobian, out": "0341d8e9 5abfd1b5 18b0cffd",
    "softmax_and_jacobian, y": "d4e20c7c 840329c3 a6d1a3a5",
    "softmax_and_jacobian, jacobian": "9dddc6cc 060f9333 5d5e6aa5",
    "cross_entropy, loss": "ba4e60af c4ade9fc 3e6afaf7",
    "cross_entropy_and_grad, loss": "ba4e60af c4ade9fc 3e6afaf7",
    "cross_entropy_and_grad, grad": "31821f7d b2135563 337d6f7d",
}

# Rows and columns: for every walk of the kernels, and so many that two threads share rows, matrices or the last row.
SHAPES = ((64, 1), (64, 3), (64, 10), (512, 33), (16, 130), (540, 257), (4, 4099), (1, 400_009))
LONGEST_JACOBIAN = 33
LENGTHS = (*range(1, 18), 33, 130, 257, 520)  # of the rows whose digits are checked


def integers(count: int, seed: int) -> np.ndarray:
    """64 bits each: SplitMix64 (Steele, Lea and Flood, 2014), of which any part can be computed by itself."""
    state = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)
    z = state * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def reals(bits: np.ndarray, unit: float, dtype: np.dtype) -> np.ndarray:
    """The upper 24 bits as an integer of either sign, in this unit: exact in float32 and float64."""
    return ((bits >> np.uint64(40)).astype(np.int64) - 2**23).astype(dtype) * dtype.type(unit)


# ---- bits --------------------------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """How the rows of an array are given to a function."""

    name: str
    place: Callable[[np.ndarray], np.ndarray] = np.asarray
    restore: Callable[[np.ndarray], np.ndarray] = np.asarray
    axis: int | tuple[int, ...] = -1
    num_threads: int = 1


WHOLE = Layout("one thread")
ALONE = Layout("one row alone", lambda a: a[0], lambda a: a[None])
IN_FLOAT32 = Layout("float32, rounded", lambda a: a.astype(np.float32))


def layouts(rows: int, length: int, dtype: np.dtype) -> Iterator[Layout]:
    """All others for whole arrays."""
    shape, pairs = (rows, length), (1 if rows % 2 else 2, -1, length)
    yield Layout("two threads", num_threads=2)
    yield Layout("axis 0", lambda a: a.T.copy(), np.transpose, 0)
    middle = (lambda a: a.reshape(pairs).swapaxes(1, 2).copy(), lambda a: a.swapaxes(1, 2).reshape(shape))
    yield Layout("axis 1 of 3", *middle, 1)
    yield Layout("strided", lambda a: np.repeat(a[:, ::-1], 2, 1)[:, ::-2])
    if length % 2 == 0:
        yield Layout("two axes", lambda a: a.reshape(rows, 2, -1), lambda a: a.reshape(shape), (1, 2))
    if dtype == np.float16:
        yield IN_FLOAT32


def inputs(rows: int, length: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Logits, a vector and class indices. Some rows are wide, and some have many -inf."""
    bits = integers(rows * length, seed=length).reshape(rows, length)
    x, v = (reals(part, 2.0**-20, np.dtype(np.float32)) for part in (bits, bits << np.uint64(24)))
    x[1::3] *= 16
    x[2::4, 1:][bits[2::4, 1:] % np.uint64(3) == 0] = -np.inf
    return x.astype(dtype), v.astype(dtype), (bits[:, 0] % np.uint64(length)).astype(np.int64)


def call(operation: Operation, layout: Layout, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The results of a public function."""
    options = {"reduction": "none"} if operation.family == "loss" else {}
    found = getattr(softmax_cy, operation.name)(*arrays, layout.axis, num_threads=layout.num_threads, **options)
    return found if isinstance(found, tuple) else (found,)


def results(layout: Layout, x: np.ndarray, v: np.ndarray, target: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every result of every function that can be called so, as rows."""
    given = {"logits": layout.place(x), "vector": layout.place(v)}
    one_axis = isinstance(layout.axis, int)
    if one_axis:
        given["target"] = target.reshape(np.delete(given["logits"].shape, layout.axis))
    for operation in OPERATIONS:
        if (
            (operation.family == "jacobian" and x.shape[1] > LONGEST_JACOBIAN)
            or not (one_axis or operation.many_axes)
            # What follows from outputs would follow from others.
            or (layout is IN_FLOAT32 and operation.inputs[0].holds != "logits")
        ):
            continue
        found = call(operation, layout, *(given[array.holds] for array in operation.inputs))
        for array, part in zip(operation.outputs, found, strict=True):
            rows = layout.restore(part) if array.ndim == 2 else part
            yield f"{operation.name}, {array.name}", np.reshape(rows, (*x.shape, x.shape[1])[: array.ndim])
            if operation.family == "forward" and array.ndim == 2:
                given[operation.name] = layout.place(rows)


def results_in_parts(x: np.ndarray, target: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Those that follow from states of parts of the rows."""
    length = x.shape[1]
    cuts = sorted({0, length // 3, length // 3 + length // 2, length})
    parts = [(x[:, start:stop], start) for start, stop in pairwise(cuts)]
    states = [softmax_cy.softmax_state(part, offset=start, length=length) for part, start in parts]
    state = softmax_cy.merge_states(*states)
    yield "softmax, out", np.hstack([state.finish(*part) for part in parts])
    yield "log_softmax, out", np.hstack([state.finish_log(*part) for part in parts])
    yield "logsumexp, out", state.logsumexp()
    # All losses are 0 but that of the part with the target.
    yield "cross_entropy, loss", sum(state.cross_entropy(part, target, start) for part, start in parts)
    grads = [state.cross_entropy_and_grad(part, target, start)[1] for part, start in parts]
    yield "cross_entropy_and_grad, grad", np.hstack(grads)


def bits_of(array: np.ndarray) -> np.ndarray:
    """The numbers as integers, the lowest byte first."""
    unsigned = f"u{array.dtype.itemsize}"
    return np.ascontiguousarray(array).view(unsigned).astype(f"<{unsigned}", copy=False)


def digests() -> dict[str, str]:
    """Over all shapes, by result and dtype."""
    found: dict[str, str] = {}
    for dtype in DTYPES:
        hashes: dict[str, hashlib._Hash] = {}
        for shape in SHAPES:
            for name, array in results(WHOLE, *inputs(*shape, np.dtype(dtype))):
                hashes.setdefault(name, hashlib.sha256()).update(bits_of(array).tobytes())
        found |= {f"{name}, {dtype}": one.hexdigest()[:8] for name, one in hashes.items()}
    return found


def recorded() -> dict[str, str]:
    """The same of the record."""
    rows = {name: zip(DTYPES, row.split(), strict=True) for name, row in DIGESTS.items()}
    return {f"{name}, {dtype}": one for name, row in rows.items() for dtype, one in row}


def unlike_recorded() -> list[str]:
    """The results, with their dtypes, whose digests are not those of the record."""
    return sorted(dict(digests().items() ^ recorded().items()))


def differences(dtype: np.dtype) -> Iterator[str]:
    """Where a result depends on more than its row."""
    for rows, length in SHAPES:
        x, v, target = inputs(rows, length, dtype)
        right = dict(results(WHOLE, x, v, target))
        ways = [(way.name, slice(None), results(way, x, v, target)) for way in layouts(rows, length, dtype)]
        ways.append(("in parts", slice(None), results_in_parts(x, target)))
        for one in (slice(row, row + 1) for row in {0, rows // 2, rows - 1}):
            ways.append((ALONE.name, one, results(ALONE, x[one], v[one], target[one])))
        for way, which, found in ways:
            for name, array in found:
                count = np.count_nonzero(bits_of(array.astype(dtype)) != bits_of(right[name][which]))
                if count:
                    yield f"{name}, {dtype}, {way}: {count} of {array.size} numbers differ in {rows} x {length}"


# ---- digits ------------------------------------------------------------------------------------------------------

CONTEXT = Context(prec=50, traps=[])
SMALL = Decimal("1e-16")  # where a series with three terms has 48 digits, and the plain formula 34
ZERO = np.array(Decimal(0))

row_sum = partial(np.sum, axis=1, keepdims=True)
as_decimals = np.frompyfunc(lambda number: CONTEXT.create_decimal_from_float(float(number)), 1, 1)
log1p = np.frompyfunc(lambda z: z - z * z / 2 + z**3 / 3 if abs(z) < SMALL else (1 + z).ln(), 1, 1)
expm1 = np.frompyfunc(lambda z: z + z * z / 2 + z**3 / 6 if abs(z) < SMALL else z.exp() - 1, 1, 1)


class Check(NamedTuple):
    """One bound, and a call whose last result must be close to high + low * unit."""

    bound: str
    operation: Operation
    arrays: tuple[np.ndarray, ...]
    high: np.ndarray
    low: np.ndarray
    unit: np.ndarray
    where: np.ndarray | bool

    def largest_error(self) -> float:
        """In units. Infinite where only one of the two is a finite number."""
        result = call(self.operation, WHOLE, *self.arrays)[-1].astype(np.float64)
        with np.errstate(all="ignore"):
            found = np.abs((result - self.high) / self.unit - self.low)
        found[(result == self.high) & np.isinf(result)] = 0
        return float(np.nan_to_num(found, nan=np.inf, posinf=np.inf).max(initial=0, where=self.where))


def check(bound: str, arrays: tuple[np.ndarray, ...], right: np.ndarray, *sizes, name="", where=True) -> Check:
    """Errors are in the last place of the largest of some sizes, or of the right result if none is given."""
    info, high = np.finfo(arrays[0].dtype), right.astype(np.float64)
    size = np.maximum.reduce([np.abs(one.astype(np.float64)) for one in sizes or (right,)])
    size[np.isinf(size)] = 0
    exponents = np.frexp(np.maximum(size, float(info.smallest_normal)))[1]
    unit = np.ldexp(1.0, exponents - 1 - info.nmant)
    low = ((right - as_decimals(high)) / as_decimals(unit)).astype(np.float64)
    low[np.isinf(high)] = 0
    return Check(bound, BY_NAME[name or bound.partition(",")[0]], arrays, high, low, unit, where)


def logits(length: int, dtype: str) -> np.ndarray:
    """A row each of what has hurt implementations of softmax before."""
    part = (integers(9 * length, seed=length) >> np.uint64(11)).reshape(9, length) * 2.0**-53
    least = np.log(float(np.finfo(dtype).smallest_normal))
    x = np.array([16, 256, -100, 6e4, 4, 4, 0, 16, least / 5])[:, None] * part
    x += np.array([-8, -128, 0, -3e4, 1e4, 0, 1.7, -8, 0.95 * least])[:, None]
    x[5, -1] = 50
    x[7, 1:][part[7, 1:] < 0.5] = -np.inf
    x[8, 0] = 0
    return x.astype(dtype)


def checks(dtype: str) -> Iterator[Check]:
    """Every bound on rows of every length: of results from logits, then of what follows from rounded outputs."""
    for length in LENGTHS:
        x = logits(length, dtype)
        exact, place = as_decimals(x), x.argmax(1)
        target = np.where(np.arange(len(x)) % 2, place, length // 2)
        is_top, is_target = (np.arange(length) == column[:, None] for column in (place, target))
        top = exact.max(1, keepdims=True)
        e = np.exp(exact - top)
        rest = row_sum(np.where(is_top, ZERO, e))
        y, log_y, log_sum = e / (1 + rest), exact - top - log1p(rest), top + log1p(rest)
        # 1 - y has its digits in what the others have.
        grad = np.where(is_target, -row_sum(np.where(is_target, ZERO, e)) / (1 + rest), y)
        yield check("softmax", (x,), y)
        yield check("softmax, below the smallest normal", (x,), y, where=y < float(np.finfo(dtype).smallest_normal))
        yield check("softmax, where the logit is -inf", (x,), y, where=np.isneginf(x))
        yield check("log_softmax", (x,), log_y)
        yield check("logsumexp", (x,), log_sum[:, 0], log_sum[:, 0], top[:, 0] / 2)
        yield check("cross_entropy", (x, target), -log_y[is_target])
        name = "cross_entropy_and_grad"
        yield check("cross_entropy, gradient", (x, target), grad, y + is_target.astype(int), name=name)

        y, log_y = (output.astype(np.float64).astype(dtype) for output in (y, log_y))
        v = np.cos(np.arange(x.size)).reshape(x.shape).astype(dtype)
        exact_v, exact_y, exact_log_y = map(as_decimals, (v, y, log_y))
        p = np.exp(exact_log_y)
        # The formulas, and the sums of the absolute values of their terms.
        signs = ((exact_v, -1), (abs(exact_v), 1))
        product = [exact_y * (w + sign * row_sum(exact_y * w)) for w, sign in signs]
        yield check("softmax_vjp", (v, y), *product)
        yield check("softmax_jvp", (v, y), *product)
        yield check("log_softmax_vjp", (v, log_y), *(w + sign * p * row_sum(w) for w, sign in signs))
        yield check("log_softmax_jvp", (v, log_y), *(w + sign * row_sum(p * w) / row_sum(p) for w, sign in signs))
        if length <= 10:
            diagonal = np.eye(length, dtype=bool)
            on, off = (exact_y * (1 - exact_y))[:, :, None], -exact_y[:, :, None] * exact_y[:, None, :]
            on_log, off_log = -expm1(exact_log_y)[:, :, None], -p[:, None, :]
            for name, output, right in (
                ("softmax_jacobian", y, np.where(diagonal, on, off)),
                ("log_softmax_jacobian", log_y, np.where(diagonal, on_log, off_log)),
            ):
                yield check(f"{name}, off the diagonal", (output,), right, where=~diagonal)
                yield check(f"{name}, diagonal", (output,), right, where=diagonal)


# ---- the command -------------------------------------------------------------------------------------------------


def run(say: Callable[[str], object]) -> dict[str, object]:
    """Check every variant that runs here, and leave the one in use as it was."""
    start, before = time.monotonic(), _dispatch.variant_in_use
    failures: list[str] = []
    bits: dict[str, str] = {}
    errors = {bound: dict.fromkeys(DTYPES[1:], 0.0) for bound in BOUNDS}
    with localcontext(CONTEXT):
        some = {dtype: list(checks(dtype)) for dtype in DTYPES[1:]}
    for variant in _dispatch.runnable_variants():
        wrong: list[str] = []
        state = "as recorded"
        try:
            _dispatch.use(variant)
            unlike = unlike_recorded()
            if _dispatch.VARIANTS[variant].has_fma:
                wrong += (f"{name}: not the recorded bits" for name in unlike)
            elif unlike:
                state = "without FMA, so unlike the recorded ones, as documented"
            for dtype in DTYPES:
                wrong += differences(np.dtype(dtype))
            for dtype, of_dtype in some.items():
                for one in of_dtype:
                    ulp = one.largest_error()
                    errors[one.bound][dtype] = max(ulp, errors[one.bound][dtype])
                    if ulp > BOUNDS[one.bound]:
                        wrong.append(f"{one.bound}, {dtype}: off by {ulp:.3g} ulp, not {BOUNDS[one.bound]:g}")
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
        finally:
            _dispatch.use(before)
        bits[variant] = "FAILED" if wrong else f"{state}; the same in every layout, in parts, on two threads"
        say(f"bits of {variant}: {bits[variant]}")
        failures += (f"{variant}: {text}" for text in wrong)
    say(f"{'largest error, ulp':40}{'bound':>5}{'float32':>9}{'float64':>9}")
    for bound, of_dtypes in errors.items():
        say(f"{bound:40}{BOUNDS[bound]:5g}" + "".join(f"{ulp:9.2f}" for ulp in of_dtypes.values()))
    for text in failures[:20]:
        say(f"FAILED: {text}")
    verdict = f"FAILED: {len(failures)} checks" if failures else "passed: bits and digits are as promised"
    say(f"{verdict} ({time.monotonic() - start:.1f} s)")
    return {"failures": failures, "bits": bits, "errors": errors, "bounds": BOUNDS}
