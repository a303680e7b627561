"""Twins in long double, as plain as their digits allow, and the measure of the distance to them."""

import math
from typing import NamedTuple

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


# ---- derivatives -------------------------------------------------------------------------------------------------


def softmax_vjp(v, y, axis=-1, *, scale=1.0):
    """Scale * y * (v - sum(y * v)), whatever y adds up to."""
    v, y = widened(v), widened(y)
    return WIDE(scale) * (y * (v - (y * v).sum(axis, keepdims=True)))


softmax_jvp = softmax_vjp


def log_softmax_vjp(v, log_y, axis=-1, *, scale=1.0):
    """Scale * (v - exp(log_y) * sum(v))."""
    v = widened(v)
    return WIDE(scale) * (v - np.exp(widened(log_y)) * v.sum(axis, keepdims=True))


def log_softmax_jvp(v, log_y, axis=-1, *, scale=1.0, mean=False):
    """Scale * (v - sum(exp(log_y) * v)); or v less its mean, with these weights.

    What log_y lost when it was rounded adds up in the sum of its exponentials: log_y * eps / 2, which would be the
    largest error by far. They are probabilities, so a mean is what is meant.
    """
    v, weights = widened(v), np.exp(widened(log_y))
    total = (weights * v).sum(axis, keepdims=True)
    return WIDE(scale) * (v - (total / weights.sum(axis, keepdims=True) if mean else total))


def product_terms(name, v, y, axis=-1, *, scale=1.0):
    """The formulas with every term taken absolutely and every minus a plus: what rounding errors are relative to."""
    v, y = abs(widened(v)), widened(y)
    if name == "log_softmax_vjp":
        return WIDE(scale) * (v + np.exp(y) * v.sum(axis, keepdims=True))
    if name == "log_softmax_jvp":
        return WIDE(scale) * (v + (np.exp(y) * v).sum(axis, keepdims=True))
    return WIDE(scale) * (y * (v + (y * v).sum(axis, keepdims=True)))


def widened(array):
    """In long double."""
    return np.asarray(array).astype(WIDE)


def softmax_jacobian(y):
    """diag(y) - y y', for the last axis."""
    y = widened(y)
    return y[..., :, None] * np.eye(y.shape[-1], dtype=WIDE) - y[..., :, None] * y[..., None, :]


def log_softmax_jacobian(log_y):
    """I - 1 exp(log_y)', with expm1 on the diagonal, which keeps the digits of a class that is nearly certain."""
    log_y = widened(log_y)
    jacobian = np.broadcast_to(-np.exp(log_y)[..., None, :], (*log_y.shape, log_y.shape[-1])).copy()
    diagonal = np.arange(log_y.shape[-1])
    jacobian[..., diagonal, diagonal] = -np.expm1(log_y)
    return jacobian


def jacobian_diagonal(x, *, scale=1.0, where=None):
    """From logits along the last axis: scale * y * (1 - y), where 1 - y of the largest is the sum of the others."""
    rows, kept, back = as_rows(x, -1, where)
    scale = as_computed(scale, x)
    _, e = exponents_and_exponentials(rows, rows.max(axis=-1, keepdims=True), scale)
    y, not_y = probabilities(rows, e)
    return back(np.where(kept, scale * y * not_y, 0))


def probabilities(rows, e):
    """From exponentials of which the largest is 1: y and 1 - y, both with all their digits."""
    rest = sum_without_maximum(rows, e)
    y = e / (1 + rest)
    return y, np.where(np.arange(rows.shape[-1]) == rows.argmax(axis=-1)[:, None], rest / (1 + rest), 1 - y)


# ---- cross-entropy -----------------------------------------------------------------------------------------------


class CrossEntropy(NamedTuple):
    """What is exact, and the size of the terms that each entry of the gradient is the difference of."""

    loss: np.ndarray
    grad: np.ndarray
    terms: np.ndarray


def cross_entropy(x, target, axis=-1, *, weight=None, ignore_index=None, label_smoothing=0.0, reduction="mean"):
    """With coefficients from the target, its weights and what is smoothed, one slice after another."""
    rows, _, back = as_rows(x, axis, None)
    count, length = rows.shape
    target = np.asarray(target)
    weights = np.ones(length, WIDE) if weight is None else as_computed(weight, x)
    q, counted, denominator = target.ravel(), np.ones(count, bool), WIDE(count)
    if target.dtype.kind in "iu":
        if ignore_index is not None:
            counted = q != ignore_index
        denominator = weights[q[counted].astype(int)].sum()
        q = np.where(np.arange(length) == q[:, None], WIDE(1), 0)
    else:
        q, _, _ = as_rows(as_computed(target, x), axis, None)
    losses, _, grads, terms = losses_of_rows(rows, smoothed(q, weights, label_smoothing))
    losses, grads = np.where(counted, losses, 0), np.where(counted[:, None], grads, 0)

    factor = 1 / denominator if reduction == "mean" and denominator else WIDE(1)
    if reduction == "none":
        loss = losses.reshape(without_axes(np.shape(x), axis))
    else:
        loss = np.asarray(losses.sum() * factor if reduction == "sum" or denominator else WIDE(np.nan))
    return CrossEntropy(loss, back(grads * factor), back(terms * np.abs(factor)))


def smoothed(q, weights, smoothing):
    """The coefficients of the losses of rows of probabilities."""
    smoothing = WIDE(smoothing)
    return ((1 - smoothing) * q + (smoothing / q.shape[-1] if q.size else 0)) * weights


def losses_of_rows(rows, a):
    """sum_c a_c * -log p_c with coefficients a, and its gradient p_c * sum(a) - a_c; after each the size of its terms.

    NaN where the largest logit is no number. A class without a coefficient does not count.
    """
    if rows.shape[-1] == 0:
        return np.zeros(len(rows), WIDE), np.zeros(len(rows), WIDE), rows, rows
    maximum = rows.max(axis=-1, keepdims=True)
    exponents, e = exponents_and_exponentials(rows, maximum, WIDE(1))
    p, not_p = probabilities(rows, e)
    with np.errstate(invalid="ignore"):
        each = np.where(a == 0, 0, a * (np.log1p(sum_without_maximum(rows, e)) - exponents))
    sums = a.sum(axis=-1, keepdims=True)
    # p * sum(a) - a, but 1 - p has its digits where the class is nearly certain.
    grads = np.where(np.isfinite(maximum), p * (sums - a) - a * not_p, np.nan)
    losses = np.where(np.isfinite(maximum)[:, 0], each.sum(axis=-1), np.nan)
    return losses, np.abs(each).sum(axis=-1), grads, p * np.abs(sums) + np.abs(a)


# ---- distances ---------------------------------------------------------------------------------------------------


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
