"""Twins in long double, as plain as their digits allow, and the measure of the distance to them."""

import math

import numpy as np

WIDE = np.longdouble
assert np.finfo(WIDE).nmant >= 63, "the twins need a long double that is wider than double"


def softmax(x, axis=-1, *, scale=1.0, where=None):
    """exp(x - max) / sum, as in a textbook."""
    rows, kept, back = as_rows(x, axis, where)
    if rows.size == 0:
        return back(rows)
    maximum = rows.max(axis=-1, keepdims=True)
    _, e = exponents_and_exponentials(rows, maximum, as_computed(scale, x))
    y = np.where(np.isfinite(maximum), e / e.sum(axis=-1, keepdims=True), np.nan)
    return back(np.where(kept, y, 0))


def log_softmax(x, axis=-1, *, scale=1.0, where=None):
    """(x - max) - log1p(the sum without the maximum): both have one sign, so that no digit is lost near 0 either."""
    rows, kept, back = as_rows(x, axis, where)
    if rows.size == 0:
        return back(rows)
    maximum = rows.max(axis=-1, keepdims=True)
    exponents, e = exponents_and_exponentials(rows, maximum, as_computed(scale, x))
    y = np.where(np.isfinite(maximum), exponents - np.log1p(sum_without_maximum(rows, e)), np.nan)
    return back(np.where(kept, y, -np.inf))


def logsumexp(x, axis=-1, *, scale=1.0, where=None, keepdims=False):
    """The maximum plus log1p(the sum without it); the two may cancel, see `logsumexp_and_unit`."""
    rows, _, _ = as_rows(x, axis, where)
    maximum = rows.max(axis=-1, keepdims=True, initial=-np.inf)
    y = maximum
    if rows.size:
        scale = as_computed(scale, x)
        _, e = exponents_and_exponentials(rows, maximum, scale)
        y = np.where(np.isfinite(maximum), scale * maximum + np.log1p(sum_without_maximum(rows, e)), maximum)
    return y.reshape(without_axes(np.shape(x), axis, keepdims))


def as_computed(value, x):
    """The value rounded as the library does before it computes for an input x, and then in long double."""
    dtype = np.asarray(x).dtype
    if dtype.kind in "biu":
        dtype = np.float64
    elif dtype.itemsize == 2:
        dtype = np.float32
    return np.asarray(value).astype(dtype).astype(WIDE)


def as_rows(x, axis, where):
    """The slices as rows, with -inf for what is dropped; the mask as rows; and the way back."""
    shape = np.shape(x)
    full = np.atleast_1d(as_computed(x, x))
    axes = sorted_axes(axis, full.ndim)
    order = [d for d in range(full.ndim) if d not in axes] + axes
    permuted = [full.shape[d] for d in order]
    two = (math.prod(permuted[: full.ndim - len(axes)]), math.prod(permuted[full.ndim - len(axes) :]))
    rows = full.transpose(order).reshape(two)
    kept = np.broadcast_to(True if where is None else where, full.shape).transpose(order).reshape(two)
    return (
        np.where(kept, rows, -np.inf),
        kept,
        lambda y: y.reshape(permuted).transpose(np.argsort(order)).reshape(shape),
    )


def sorted_axes(axis, ndim):
    """Any `axis` as a list, counted from the front."""
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return sorted(d % ndim for d in axes)


def without_axes(shape, axis, keepdims=False):
    """The shape that a reduction leaves."""
    axes = sorted_axes(axis, max(len(shape), 1))
    return tuple(1 if d in axes else n for d, n in enumerate(shape) if keepdims or d not in axes)


def exponents_and_exponentials(x, maximum, scale):
    """All scale * (x - maximum), rounded, and the exponentials of what they are before rounding."""
    # The NaN of -inf minus -inf, and inf minus inf, is meant: the callers know where the maximum is not finite.
    with np.errstate(invalid="ignore"):
        difference, lost = two_sum(x, -maximum)
        if scale == 1:
            return difference, np.exp(difference) * (1 + np.where(np.isfinite(difference), lost, 0))
        exponents, lost_by_product = two_product(scale, difference)
        lost = scale * lost + lost_by_product
        return exponents, np.exp(exponents) * (1 + np.where(np.isfinite(exponents), lost, 0))


def sum_without_maximum(x, e):
    """The sum of e but for one place where x is largest."""
    return np.where(np.arange(x.shape[-1]) == x.argmax(axis=-1)[:, None], 0, e).sum(axis=-1, keepdims=True)


def two_sum(a, b):
    """The rounded sum, and what rounding lost (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def two_product(a, b):
    """The rounded product, and what rounding lost (Veltkamp, Dekker)."""
    a_high, b_high = (c * (2**32 + 1) - (c * (2**32 + 1) - c) for c in (a, b))
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def softmax_jacobian(y):
    """diag(y) - y y', for the last axis."""
    y = np.asarray(y).astype(WIDE)
    return y[..., :, None] * np.eye(y.shape[-1], dtype=WIDE) - y[..., :, None] * y[..., None, :]


def ulps(result, exact, unit=None):
    """The largest distance in units of the last place of the exact value; the smallest subnormal counts as one."""
    assert result.shape == exact.shape
    if result.size == 0:
        return 0.0
    same_kind = np.isnan(result) == np.isnan(exact)
    assert same_kind.all(), "NaN in one and not in the other"
    unit = unit_in_last_place(exact, result.dtype) if unit is None else unit
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(result.dtype)
        distance = np.abs(result.astype(WIDE) - exact) / unit
    # What is infinite once rounded to this dtype has no units: it is right or not.
    infinite = np.isinf(result) | np.isinf(rounded)
    return float(np.nanmax(np.where(infinite, np.where(result == rounded, 0, np.inf), distance), initial=0))


def unit_in_last_place(exact, dtype):
    """The distance between two numbers of this dtype around each exact one."""
    info = np.finfo(dtype)
    exponent = np.frexp(np.abs(np.where(np.isfinite(exact), exact, 0)))[1]
    exponent = np.where(exact == 0, info.minexp, exponent)
    return np.ldexp(WIDE(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))


def logsumexp_and_unit(x, axis=-1, *, scale=1.0, where=None, keepdims=False):
    """The exact value, and the unit to count in: an ulp of it, or half an ulp of the maximum if that is larger.

    Where the maximum and the logarithm of the rest cancel, the former's ulp is all that can be asked for.
    """
    exact = logsumexp(x, axis, scale=scale, where=where, keepdims=keepdims)
    rows, _, _ = as_rows(x, axis, where)
    maximum = (as_computed(scale, x) * rows.max(axis=-1, initial=-np.inf)).reshape(exact.shape)
    dtype = np.float64 if np.asarray(x).dtype.kind in "biu" else np.asarray(x).dtype
    return exact, np.maximum(unit_in_last_place(exact, dtype), unit_in_last_place(maximum, dtype) / 2)


def family(name, shape, dtype, rng):
    """Inputs that have hurt softmax implementations before."""
    draw = {
        "normal": lambda: rng.standard_normal(shape),
        "wide normal": lambda: 20 * rng.standard_normal(shape),
        "negative": lambda: rng.uniform(-100, 0, shape),
        "huge range": lambda: rng.uniform(-3e4, 3e4, shape),
        "offset 1e4": lambda: 1e4 + rng.standard_normal(shape),
        "offset -1e6": lambda: -1e6 + 10 * rng.standard_normal(shape),
        "offset 1e30": lambda: 1e30 * (1 + rng.standard_normal(shape)),
        "all equal": lambda: np.full(shape, 1.7),
        "one dominant": lambda: np.where(np.arange(shape[-1]) == shape[-1] // 2, 50.0, rng.standard_normal(shape)),
        "masked -1e9": lambda: np.where(rng.random(shape) < 0.5, -1e9, rng.standard_normal(shape)),
        "masked -inf": lambda: np.where(
            (rng.random(shape) < 0.5) & (np.arange(shape[-1]) > 0), -np.inf, rng.standard_normal(shape)
        ),
        "subnormal results": lambda: np.where(
            np.arange(shape[-1]) == 0, 0.0, rng.uniform(*((-104, -86) if dtype == np.float32 else (-746, -707)), shape)
        ),
    }
    return draw[name]().astype(dtype)


FAMILIES = (
    "normal",
    "wide normal",
    "negative",
    "huge range",
    "offset 1e4",
    "offset -1e6",
    "offset 1e30",
    "all equal",
    "one dominant",
    "masked -1e9",
    "masked -inf",
    "subnormal results",
)
