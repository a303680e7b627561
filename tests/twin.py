"""Plain twins in long double, and the measure of the distance to them."""

import numpy as np

WIDE = np.longdouble
assert np.finfo(WIDE).nmant >= 63, "the twins need a long double that is wider than double"


def softmax(x, axis=-1):
    """exp(x - max) / sum, as in a textbook."""
    x = np.asarray(x).astype(WIDE)
    if x.size == 0:
        return x
    # Not the rounding of x - max in long double counts here, but that -inf minus -inf, and inf minus inf, is NaN.
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)


def softmax_jacobian(y):
    """diag(y) - y y', for the last axis."""
    y = np.asarray(y).astype(WIDE)
    return y[..., :, None] * np.eye(y.shape[-1], dtype=WIDE) - y[..., :, None] * y[..., None, :]


def ulps(result, exact):
    """The largest distance in units of the last place of the exact value; the smallest subnormal counts as one."""
    assert result.shape == exact.shape
    if result.size == 0:
        return 0.0
    info = np.finfo(result.dtype)
    with np.errstate(over="ignore", under="ignore"):
        exponent = np.frexp(np.abs(exact))[1]
    unit = np.ldexp(WIDE(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
    same_kind = np.isnan(result) == np.isnan(exact)
    assert same_kind.all(), "NaN in one and not in the other"
    distance = np.abs(result.astype(WIDE) - exact) / unit
    return float(np.nanmax(distance, initial=0))


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
