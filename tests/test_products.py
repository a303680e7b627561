"""softmax_vjp, softmax_jvp, log_softmax_vjp, log_softmax_jvp: products with Jacobians that are never formed."""

import functools
import math

import ml_dtypes
import numpy as np
import pytest

import twin
from layouts import layouts
from operations import PRODUCTS, bits, each, forward_of, takes_logarithms
from softmax_cy import (
    log_softmax,
    log_softmax_jvp,
    log_softmax_vjp,
    softmax,
    softmax_jacobian,
    softmax_jvp,
    softmax_vjp,
)

every_variant = pytest.mark.usefixtures("variant")

every_product = each(PRODUCTS, "product")
# softmax_jvp is softmax_vjp to the bit, and tested to be: these are what there is to compute.
every_formula = each([softmax_vjp, log_softmax_vjp, log_softmax_jvp], "product")

# Around the borders of lanes (8, 16) and of blocks (1024, 2048 elements of each input), and a long one.
LENGTHS = [*range(1, 71), 127, 128, 129, 130, 1000, 2047, 2048, 2049, 4095, 4096, 4097, 10_007]

# In units of the last place of the sum of the absolute values of the terms, as `terms` below has it.
PRODUCT_ULPS = 4


# ---- twins -------------------------------------------------------------------------------------------------------


def outputs(product, x, axis=-1, *, scale=1.0):
    """What a caller hands over as the second argument."""
    return forward_of(product)(x, axis, scale=scale)


def exact_outputs(product, x, axis=-1, *, scale=1.0):
    """The same in long double."""
    return getattr(twin, forward_of(product).__name__)(x, axis, scale=scale)


def exact_product(product, v, y, axis=-1, *, scale=1.0):
    """With outputs that add up to 1 but for their rounding."""
    options = {"mean": True} if product is log_softmax_jvp else {}
    return getattr(twin, product.__name__)(v, y, axis, scale=scale, **options)


def terms(product, v, y, axis=-1, *, scale=1.0):
    """What rounding errors are relative to."""
    return twin.product_terms(product.__name__, v, y, axis, scale=scale)


def product_ulps(product, result, v, y, *, scale=1.0):
    """The largest error of a result along the last axis, in the units of PRODUCT_ULPS."""
    unit = twin.unit_in_last_place(terms(product, v, y, scale=scale), result.dtype)
    return twin.ulps(result, exact_product(product, v, y, scale=scale), unit)


def pair(product, shape, dtype, rng, axis=-1):
    """A vector, and outputs that it may be multiplied with."""
    v = rng.standard_normal(shape).astype(dtype)
    return v, outputs(product, (2 * rng.standard_normal(shape)).astype(dtype), axis)


# ---- digits ------------------------------------------------------------------------------------------------------


def one_hot_at_largest(x):
    """1 where x is largest, at the first such place, else 0."""
    return (np.arange(x.shape[-1]) == x.argmax(-1)[..., None]).astype(x.dtype)


def a_little_over_a_half(shape):
    """Logits of a first class with 0.52 of the whole; the others share the rest alike."""
    return np.where(np.arange(shape[-1]) == 0, np.log(max(shape[-1] - 1, 1)) + 0.1, np.zeros(shape))


# name: how the logits are drawn, how the vector is drawn given the logits
FAMILIES = {
    "normal": (
        lambda shape, dtype, rng: 2 * rng.standard_normal(shape),
        lambda x, rng: rng.standard_normal(x.shape),
    ),
    "one dominant class": (
        lambda shape, dtype, rng: twin.family("one dominant", shape, dtype, rng),
        lambda x, rng: rng.standard_normal(x.shape),
    ),
    "all equal": (
        lambda shape, dtype, rng: np.full(shape, 1.7),
        lambda x, rng: rng.standard_normal(x.shape),
    ),
    "exact zeros in y": (
        lambda shape, dtype, rng: twin.family("masked -inf", shape, dtype, rng),
        lambda x, rng: rng.standard_normal(x.shape),
    ),
    "subnormal y": (
        lambda shape, dtype, rng: twin.family("subnormal results", shape, dtype, rng),
        lambda x, rng: rng.standard_normal(x.shape),
    ),
    "huge vector": (
        lambda shape, dtype, rng: 2 * rng.standard_normal(shape),
        lambda x, rng: (1e30 if x.dtype == np.float32 else 1e300) * rng.standard_normal(x.shape),
    ),
    "tiny vector": (
        lambda shape, dtype, rng: 2 * rng.standard_normal(shape),
        lambda x, rng: (1e-30 if x.dtype == np.float32 else 1e-300) * rng.standard_normal(x.shape),
    ),
    "vector of all magnitudes": (
        lambda shape, dtype, rng: 2 * rng.standard_normal(shape),
        lambda x, rng: rng.standard_normal(x.shape) * 10 ** rng.uniform(-9, 9, x.shape),
    ),
    "vector of one constant and a little": (
        lambda shape, dtype, rng: 2 * rng.standard_normal(shape),
        lambda x, rng: 1000 + rng.standard_normal(x.shape),
    ),
    "one hot at the largest class": (
        lambda shape, dtype, rng: 2 * rng.standard_normal(shape),
        lambda x, rng: one_hot_at_largest(x),
    ),
    "one class of a little over a half": (
        lambda shape, dtype, rng: a_little_over_a_half(shape),
        lambda x, rng: rng.standard_normal(x.shape),
    ),
    "one hot at a class of a little over a half": (
        lambda shape, dtype, rng: a_little_over_a_half(shape),
        lambda x, rng: one_hot_at_largest(x),
    ),
    "one hot among equal classes": (
        lambda shape, dtype, rng: np.full(shape, -0.3),
        lambda x, rng: one_hot_at_largest(x),
    ),
}


@functools.cache
def cases(product, name, dtype):
    """For every length: v and y, for every variant the same; then the exact results and units, in one row."""
    rng = np.random.default_rng(7)
    logits, vector = FAMILIES[name]
    pairs = []
    for length in LENGTHS:
        x = logits((2, length), dtype, rng).astype(dtype)
        pairs.append((vector(x, rng).astype(dtype), exact_outputs(product, x).astype(dtype)))
    exact = np.concatenate([exact_product(product, v, y).ravel() for v, y in pairs])
    unit = np.concatenate([twin.unit_in_last_place(terms(product, v, y).ravel(), dtype) for v, y in pairs])
    return pairs, exact, unit


@every_variant
@every_formula
@pytest.mark.parametrize("name", FAMILIES)
def test_digits(product, name, dtype):
    """Against the formulas in long double on the same v and y."""
    pairs, exact, unit = cases(product, name, dtype)
    result = np.concatenate([product(v, y).ravel() for v, y in pairs])
    assert result.dtype == dtype
    # Whether any length is worse than the bound, and which: its v has the first so many of all elements.
    error = np.array([twin.ulps(result, exact, unit)])
    if not error <= PRODUCT_ULPS:
        worst = {v.shape[-1]: product_ulps(product, product(v, y), v, y) for v, y in pairs}
        pytest.fail(f"ulp by length: { {n: round(e, 1) for n, e in worst.items() if not e <= PRODUCT_ULPS} }")


@every_variant
@every_formula
def test_digits_with_scale(product, dtype, rng):
    for length in (1, 2, 15, 33, 200, 3000):
        for scale in (1e-3, 0.1, 1.0, 3.7, 1e4):
            v, y = pair(product, (2, length), dtype, rng)
            # The scale counts as rounded to the precision of the computation.
            rounded = dtype.type(scale)
            assert product_ulps(product, product(v, y, scale=scale), v, y, scale=rounded) <= PRODUCT_ULPS, length


@every_variant
@every_formula
def test_the_largest_numbers_overflow_no_sooner_than_the_formula(product, dtype):
    """Neither sum(y * v) nor v less that is infinite here, nor is sum(v)."""
    largest = np.finfo(dtype).max
    for v in (np.array([largest, -largest], dtype), np.array([-largest, largest], dtype)):
        y = outputs(product, np.zeros(2, dtype))
        assert product_ulps(product, product(v, y), v, y) <= PRODUCT_ULPS


@every_variant
def test_a_small_scale_costs_a_small_y_no_digits(dtype):
    """Where y is subnormal and scale * y would be rounded once more, but the result is a normal number."""
    y = np.array([1, 7 * np.finfo(dtype).smallest_subnormal, 1000 * np.finfo(dtype).smallest_normal], dtype)
    v = np.array([0, 1e25, 1e25], dtype)
    for scale in (1.0, 0.125, 2.0**-20):
        assert product_ulps(softmax_vjp, softmax_vjp(v, y, scale=scale), v, y, scale=scale) <= PRODUCT_ULPS, scale


@every_variant
@pytest.mark.parametrize("length", [3, 40, 700])
def test_a_large_scale_overflows_no_sooner_than_the_result(dtype, length, rng):
    """Also where scale times an element of v is infinite, and y there is 0 or small; along both axes."""
    tiny = np.finfo(dtype).smallest_normal
    scale = {4: 1e30, 8: 1e250}[dtype.itemsize]
    y = softmax(rng.standard_normal((20, length)).astype(dtype))
    y[::2, 1:-1] *= dtype.type(1 / scale)
    y[:, 0] = 0
    y[1::4, 1:] *= dtype.type(tiny)
    for size in (1.0, scale):
        v = (size * rng.standard_normal((20, length))).astype(dtype)
        result = softmax_vjp(v, y, scale=scale)
        assert (result[:, 0] == 0).all()
        with np.errstate(over="ignore"):
            assert product_ulps(softmax_vjp, result, v, y, scale=dtype.type(scale)) <= PRODUCT_ULPS
        assert bits(softmax_vjp(v.T, y.T, 0, scale=scale).T) == bits(result)


@every_variant
@each([softmax_vjp, softmax_jvp, log_softmax_jvp], "product")
@pytest.mark.parametrize("vector", ["one hot", "a constant and a little"])
def test_a_nearly_certain_class_keeps_its_digits(product, vector, dtype, rng):
    """The y of that class rounds to 1, and v - sum(y * v), formed as it stands, to 0: all that counts was in 1 - y.

    But what 1 - y should be is the sum of the other y, and they have all their digits. With c = v at that class taken
    off v, the sum runs over y * (v - c) of the others alone, each off by a few units of the last place.
    """
    top, tolerance = (20, 1e-5) if dtype == np.float32 else (40, 1e-12)
    for length in (2, 3, 10, 17, 100, 3000):
        certain = length // 3
        x = rng.uniform(-1, 0, length).astype(dtype)
        x[certain] = top + np.log(length)
        # Positive but for the certain class, so that the exact sum does not cancel.
        v = np.zeros(length, dtype) if vector == "one hot" else 1000 + rng.uniform(0.5, 1, length).astype(dtype)
        v[certain] = 1 if vector == "one hot" else 1000
        y = outputs(product, x)

        probability = np.exp(y) if takes_logarithms(product) else y
        plain = v - (probability * v).sum(dtype=dtype)
        assert probability[certain] == 1

        # From the logits: here nothing has been rounded to 1 yet.
        e = np.exp(x.astype(twin.WIDE) - x[certain].astype(twin.WIDE))
        e[certain] = 0
        exact = -(e * (v.astype(twin.WIDE) - v[certain].astype(twin.WIDE))).sum() / (1 + e.sum())
        if not takes_logarithms(product):
            exact /= 1 + e.sum()
        assert exact != 0
        assert abs(plain[certain] - exact) >= 0.5 * abs(exact), "the formula as it stands would do"
        assert abs(product(v, y)[certain] - exact) <= tolerance * abs(exact), length


@every_variant
def test_the_sum_of_a_gradient_keeps_its_digits(dtype, rng):
    """log_softmax_vjp where large gradients cancel: the unit is of what is left of the sum, not of its terms."""
    for length in (20, 100, 1000, 5000):
        large = (1e4 * rng.standard_normal(length)).astype(dtype)
        v = np.concatenate([large, -large, rng.uniform(0, 1, 5).astype(dtype)])
        rng.shuffle(v)
        v = np.concatenate([v, np.zeros(5, dtype)])
        log_y = log_softmax(rng.standard_normal(v.size).astype(dtype))
        # Long double has not digits enough for this sum: the exact one, in two parts.
        exact_sum = math.fsum(v)
        exact_sum = twin.WIDE(exact_sum) + math.fsum([*v, -exact_sum])
        exact = -np.exp(log_y[-5:].astype(twin.WIDE)) * exact_sum
        assert twin.ulps(log_softmax_vjp(v, log_y)[-5:], exact) <= PRODUCT_ULPS, length


# ---- the Jacobians that they are products with -------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("vjp", [softmax_vjp, log_softmax_vjp], ids=["softmax", "log_softmax"])
def test_vjp_is_the_transpose_of_jvp(vjp, dtype, rng):
    """<u, J v> == <J' u, v>."""
    jvp = softmax_jvp if vjp is softmax_vjp else log_softmax_jvp
    for length in (1, 2, 9, 40, 1500, 5000):
        u, v = rng.standard_normal((2, length)).astype(dtype)
        y = outputs(vjp, (3 * rng.standard_normal(length)).astype(dtype))
        forward, backward = jvp(v, y, scale=1.7), vjp(u, y, scale=1.7)
        left = (u.astype(twin.WIDE) * forward).sum()
        right = (backward.astype(twin.WIDE) * v).sum()
        # y is off by a few units (log_y by a few of up to 16 eps), and the two forms do not feel that alike.
        size = (abs(u) * terms(jvp, v, y)).sum() + (abs(v) * terms(vjp, u, y)).sum()
        assert abs(left - right) <= 16 * np.finfo(dtype).eps * size, length


@every_variant
def test_softmax_vjp_and_jvp_are_the_same_bits(dtype, rng):
    """The Jacobian of softmax is symmetric."""
    for length in LENGTHS:
        v, y = pair(softmax_vjp, (2, length), dtype, rng)
        assert bits(softmax_vjp(v, y, scale=0.3)) == bits(softmax_jvp(v, y, scale=0.3)), length


@every_variant
def test_unit_vectors_give_the_rows_of_the_jacobian(dtype, rng):
    for length in (1, 2, 3, 8, 17, 64, 200):
        for x in (2 * rng.standard_normal(length), np.zeros(length), np.arange(length) == 0):
            y = softmax(x.astype(dtype))
            units = np.eye(length, dtype=dtype)
            jacobian = softmax_jacobian(y)
            unit = twin.unit_in_last_place(terms(softmax_vjp, units, y), dtype)
            for product in (softmax_vjp, softmax_jvp):
                assert twin.ulps(product(units, y), jacobian.astype(twin.WIDE), unit) <= PRODUCT_ULPS, length


@every_variant
@each([softmax_vjp, softmax_jvp, log_softmax_jvp], "product")
def test_a_constant_vector_gives_next_to_nothing(product, dtype, rng):
    """Adding a constant to all logits changes nothing."""
    for length in (1, 2, 9, 40, 1500, 5000):
        x = (3 * rng.standard_normal((2, length))).astype(dtype)
        v = np.full((2, length), 1234.5, dtype)
        y = outputs(product, x)
        result = product(v, y)
        assert (abs(result) <= PRODUCT_ULPS * np.finfo(dtype).eps * terms(product, v, y)).all(), length


# ---- special values ----------------------------------------------------------------------------------------------


@every_variant
@every_product
def test_nan_reaches_its_slice_alone(product, dtype, rng):
    for length in (1, 2, 15, 16, 17, 33, 2500):
        v, y = pair(product, (3, length), dtype, rng)
        expected = product(v, y)
        for position in {0, length // 2, length - 1}:
            for nan in (np.nan, -np.nan):
                for where in "vy":
                    bad_v, bad_y = v.copy(), y.copy()
                    (bad_v if where == "v" else bad_y)[1, position] = nan
                    result = product(bad_v, bad_y)
                    if product is log_softmax_vjp and where == "y":
                        # The sum is of the gradient alone: only a NaN in that reaches the other classes.
                        assert np.isnan(result[1, position])
                    else:
                        assert np.isnan(result[1]).all()
                    assert bits(result[[0, 2]]) == bits(expected[[0, 2]])


@every_variant
@every_product
def test_outputs_that_are_all_nan_give_nan(product, dtype, rng):
    """As softmax leaves a slice that held +inf."""
    for length in (1, 5, 40):
        v, y = pair(product, (3, length), dtype, rng)
        expected = product(v, y)
        y[1] = np.nan
        result = product(v, y)
        assert np.isnan(result[1]).all()
        assert bits(result[[0, 2]]) == bits(expected[[0, 2]])


@every_variant
def test_classes_without_probability(dtype):
    """log_y of -inf is a y of 0, exactly."""
    v = np.array([1, 2, 3, 4], dtype)
    x = np.array([0, -np.inf, 0, -np.inf], dtype)
    y, log_y = np.array([0.5, 0, 0.5, 0], dtype), np.array([np.log(0.5), -np.inf, np.log(0.5), -np.inf], dtype)
    np.testing.assert_array_equal(softmax(x), y)
    assert softmax_vjp(v, y).tolist() == [-0.5, 0, 0.5, 0]
    assert log_softmax_vjp(v, log_y)[1::2].tolist() == [2, 4]
    np.testing.assert_allclose(log_softmax_jvp(v, log_y), [-1, 0, 1, 2], rtol=0, atol=4 * np.finfo(dtype).eps)


@every_variant
@every_product
def test_length_one_is_exactly_zero(product, dtype):
    for value in (0.0, 1.0, -3.7, 1e-30, 1e30):
        y = outputs(product, np.array([[2.5]], dtype))
        assert product(np.array([[value]], dtype), y, scale=0.3).tolist() == [[0.0]]
        assert product(np.array([[value]] * 3, dtype), np.repeat(y, 3, 0)).tolist() == [[0.0]] * 3


@every_variant
@every_product
def test_empty(product, dtype):
    for shape in ((0,), (3, 0), (0, 3), (2, 0, 4)):
        for axis in (0, -1, None, tuple(range(len(shape)))):
            result = product(np.empty(shape, dtype), np.empty(shape, dtype), axis)
            assert result.shape == shape
            assert result.dtype == dtype
    assert product(np.empty((0, 3), dtype), np.empty(3, dtype)).shape == (0, 3)
    assert product(np.empty((2, 1, 0), dtype), np.empty((5, 1), dtype)).shape == (2, 5, 0)


@every_variant
@every_product
def test_zero_dimensions(product, dtype):
    for axis in (-1, 0, None):
        y = outputs(product, np.array(3, dtype))
        result = product(np.array(5, dtype), y, axis)
        assert isinstance(result, np.generic)
        assert result.shape == ()
        assert result.dtype == dtype
        assert result == 0


# ---- outputs that are no distribution ----------------------------------------------------------------------------


def exact_formula(product, v, y, axis=-1):
    """The formulas of the docstrings, whatever y adds up to."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        return getattr(twin, product.__name__)(v, y, axis)


def formula_ulps(product, result, v, y, axis=-1):
    """The largest error against `exact_formula`, in the units of PRODUCT_ULPS."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        unit = twin.unit_in_last_place(terms(product, v, y, axis), result.dtype)
    return twin.ulps(result, exact_formula(product, v, y, axis), unit)


def as_given(product, y, dtype):
    """Outputs as the product takes them."""
    with np.errstate(divide="ignore"):
        return (np.log(y) if takes_logarithms(product) else np.asarray(y)).astype(dtype)


@every_variant
@every_product
def test_outputs_that_do_not_add_up_to_one_give_the_formula(product, dtype):
    """Around a half, where v at the largest y is taken off v first, and where e^log_y is a mean's weight."""
    for a in (0.1, 0.49, 0.51, 0.6, 0.89, 0.9001, 0.95, 1.0, 2.5):
        for others in ([0.1], [0.1, 0.1], [0.0], [1e-4] * 3, [0.01] * 40, [1e-5] * 5000):
            y = as_given(product, np.array([a, *others]), dtype)
            v = np.linspace(1, 2, y.size).astype(dtype)
            assert formula_ulps(product, product(v, y), v, y) <= PRODUCT_ULPS, (a, len(others))
            if y.size < 100:  # the same as columns: few, and more than a vector of them
                for width in (3, 70):
                    columns = product(np.tile(v[:, None], width), np.tile(y[:, None], width), 0)
                    assert bits(columns) == bits(np.tile(product(v, y)[:, None], width))


@every_variant
@each([softmax_vjp, softmax_jvp], "product")
def test_an_attention_sink(product, dtype):
    """With y = e^x / (1 + sum e^x), whose derivative is that of softmax with one more logit of 0."""
    x = np.array([2.0, 0.0])
    y = (np.exp(x) / (1 + np.exp(x).sum())).astype(dtype)
    v = np.array([1, 0], dtype)
    np.testing.assert_allclose(product(v, y), v @ softmax_jacobian(y), rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(product(v, y), [0.1676, -0.0838], atol=5e-5)


@every_variant
@every_product
def test_a_sum_beyond_rounding_counts_and_one_within_does_not(product, dtype):
    """The border lies where the roundings of a true softmax end: some 2**-19 in float32, and 2**-48 in float64."""
    eps = np.finfo(dtype).eps
    for off in (2.0**9 * eps, -(2.0**9) * eps, 0.01):
        y = as_given(product, np.array([0.75, 0.25 + off]), dtype)
        v = np.array([3, 1], dtype)
        assert formula_ulps(product, product(v, y), v, y) <= PRODUCT_ULPS


@every_variant
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@each([softmax_vjp, log_softmax_jvp], "product")
def test_what_rounding_16_bit_outputs_can_do_is_more(product, half, rng):
    """The rounded outputs of a true softmax keep the digits of a class that is nearly certain."""
    for length in (2, 10, 100, 3000):
        x = np.concatenate([[9.0], rng.uniform(-1, 0, length - 1)]).astype(np.float32)
        y = outputs(product, x).astype(half)
        v = np.concatenate([[64.0], np.zeros(length - 1)]).astype(half)
        wide = y.astype(np.float64)
        probability = np.exp(wide) if takes_logarithms(product) else wide
        # Of the certain class: what the others have, whatever 1 - y has become.
        exact = 64 * probability[1:].sum()
        exact *= probability[0] if product is softmax_vjp else 1 / probability.sum()
        assert abs(float(product(v, y)[0]) - exact) <= 0.01 * exact, length


# ---- the ends of the range ---------------------------------------------------------------------------------------


@every_variant
def test_a_probability_too_small_for_a_number_still_counts_times_a_large_sum(dtype):
    """e^log_y is subnormal or less, and the sum of the gradient large enough that the product is neither."""
    info = np.finfo(dtype)
    lows = np.linspace(np.log(info.smallest_normal) * 1.9, np.log(info.smallest_normal) * 0.9, 200)
    for power in (-30, -1, 0, 1, 5, 12, 20, 37):
        for low in [-92.5, -104.5, *lows]:
            v = np.array([0.7 * 10.0**power, 0, 0], dtype)
            log_y = np.array([0, low, -np.inf], dtype)
            result = log_softmax_vjp(v, log_y)
            if power <= (22 if dtype == np.float32 else 250) or low > -100:
                assert twin.ulps(result, exact_formula(log_softmax_vjp, v, log_y)) <= PRODUCT_ULPS, (power, low)
            assert result[2] == 0


@every_variant
@every_product
@pytest.mark.parametrize("family", ["normal", "one dominant", "a little over a half"])
def test_cotangents_near_the_end_of_the_range(product, family, dtype, rng):
    """A result is finite where the formula's is, but for the last bit of the range."""
    largest = np.finfo(dtype).max
    lost = 0
    for length in (2, 3, 10, 33, 100, 5000):
        for share in (0.3, 0.9, 1.0):
            shape = (5, length)
            x = (
                a_little_over_a_half(shape)
                if family == "a little over a half"
                else twin.family(family, shape, dtype, rng)
            )
            y = outputs(product, x.astype(dtype))
            v = (share * largest * rng.uniform(-1, 1, shape)).astype(dtype)
            for axis, (v_, y_) in ((-1, (v, y)), (0, (v.T.copy(), y.T.copy()))):
                result = product(v_, y_, axis)
                exact = exact_formula(product, v_, y_, axis)
                assert not np.isnan(result).any(), (length, share)
                finite = abs(exact) <= 0.999 * largest
                assert np.isfinite(result[finite]).all(), (length, share)
                with np.errstate(over="ignore"):
                    unit = twin.unit_in_last_place(terms(product, v_, y_, axis), dtype)
                assert (abs(result.astype(twin.WIDE) - exact)[finite] <= PRODUCT_ULPS * unit[finite]).all()
                lost += (~finite).sum()
    if product is log_softmax_vjp:
        assert lost  # the test has been to the end of the range


@every_variant
@every_product
def test_infinite_cotangents_give_nan_only_where_the_formula_does(product, dtype, rng):
    for length in (2, 3, 17, 40, 3000):
        for rows in (1, 30):
            x = rng.standard_normal((rows, length))
            x[:, -1] = -np.inf  # a class without probability: 0 * inf
            x[rows // 2, 0] = 30
            y = outputs(product, x.astype(dtype))
            for places in ([0], [length - 1], [0, length // 2], range(length)):
                for signs in ([1], [-1], [1, -1]):
                    v = rng.standard_normal((rows, length)).astype(dtype)
                    for place, sign in zip(places, signs * length, strict=False):
                        v[:, place] = sign * np.inf
                    exact = exact_formula(product, v, y).astype(dtype)
                    np.testing.assert_array_equal(
                        np.where(np.isfinite(exact), 0, product(v, y)), np.where(np.isfinite(exact), 0, exact)
                    )
                    assert np.isfinite(product(v, y)[np.isfinite(exact)]).all()


# ---- axes and shapes ---------------------------------------------------------------------------------------------


@every_variant
@every_product
def test_every_axis(product, dtype, rng):
    for shape in ((7,), (3, 50), (4, 3, 20), (2, 3, 4, 5), (1, 6, 1, 7), (3000, 2)):
        for axis in range(-len(shape), len(shape)):
            v, y = pair(product, shape, dtype, rng, axis)
            expected = product(np.moveaxis(v, axis, -1).copy(), np.moveaxis(y, axis, -1).copy())
            assert bits(product(v, y, axis)) == bits(np.moveaxis(expected, -1, axis))
            assert bits(product(v, y, axis=(axis,))) == bits(np.moveaxis(expected, -1, axis))


@every_variant
@every_product
def test_several_axes_are_one_slice(product, dtype, rng):
    shape = (4, 5, 6)
    for axis in ((0, 1), (1, 2), (0, 2), (2, 0), (-1, 0), (0, 1, 2), (1, 2, 0), None, ()):
        v = rng.standard_normal(shape).astype(dtype)
        y = outputs(product, rng.standard_normal(shape).astype(dtype), axis)
        axes = twin.sorted_axes(axis, 3)
        order = [d for d in range(3) if d not in axes] + axes
        two = (-1, int(np.prod([shape[d] for d in axes])))
        rows = product(v.transpose(order).reshape(two), y.transpose(order).reshape(two))
        expected = bits(rows.reshape([shape[d] for d in order]).transpose(np.argsort(order)))
        assert bits(product(v, y, axis)) == expected
        for reordered in (np.asfortranarray, lambda array: array[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]):
            assert bits(product(reordered(v), y, axis)) == expected
            assert bits(product(v, reordered(y), axis, out=reordered(np.zeros_like(v)))) == expected


BROADCAST = [
    ((5, 1, 7), (3, 7)),
    ((7,), (3, 7)),
    ((3, 7), (7,)),
    ((4, 3, 7), (3, 7)),
    ((1, 7), (6, 1, 7)),
    ((2, 1, 1, 7), (3, 4, 7)),
    ((1,), (9,)),
    ((9, 1), (9, 33)),
    ((), (4, 5)),
    ((4, 2500), (1, 2500)),
]


@every_variant
@every_product
def test_inputs_broadcast(product, dtype, rng):
    for v_shape, y_shape in BROADCAST:
        v, y = rng.standard_normal(v_shape).astype(dtype), outputs(product, rng.standard_normal(y_shape).astype(dtype))
        shape = np.broadcast_shapes(v_shape, y_shape)
        full_v, full_y = np.broadcast_to(v, shape).copy(), np.broadcast_to(y, shape).copy()
        for axis in (-1, 0, None):
            result = product(v, y, axis)
            assert result.shape == shape
            assert bits(result) == bits(product(full_v, full_y, axis))
            out = np.zeros(shape, dtype)
            assert product(v, y, axis, out=out) is out
            assert bits(out) == bits(result)
            # The axis is counted in the shape of the result, whichever input has it.
            assert bits(product(y, v, axis)) == bits(product(full_y, full_v, axis))


@every_variant
@every_product
def test_y_of_one_element_is_a_slice_of_equal_classes(product, dtype, rng):
    """A slice of a broadcast y has the length of the result."""
    v = rng.standard_normal(8).astype(dtype)
    y = np.array([np.log(1 / 8) if takes_logarithms(product) else 1 / 8], dtype)
    assert product_ulps(product, product(v, y), v, np.repeat(y, 8)) <= PRODUCT_ULPS


# ---- dtypes ------------------------------------------------------------------------------------------------------


@every_variant
@every_product
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_16_bit_floats_that_broadcast(product, half, rng):
    v, y = (array.astype(half) for array in pair(product, (7, 33), np.float32, rng))
    assert bits(product(v, y[0])) == bits(product(v.astype(np.float32), y[0]).astype(half))


@every_variant
@every_product
def test_float16_of_any_byte_order(product, rng):
    v, y = (array.astype(np.float16) for array in pair(product, (7, 33), np.float32, rng))
    expected = product(v, y)
    swapped = np.dtype(np.float16).newbyteorder()
    for args in ((v.astype(swapped), y.astype(swapped)), (v, y.astype(swapped)), (v.astype(swapped), y)):
        result = product(*args)
        assert result.dtype == np.float16
        assert result.dtype.isnative
        assert bits(result) == bits(expected)


MIXED = [
    (np.float16, np.float32, np.float32),
    (ml_dtypes.bfloat16, np.float32, np.float32),
    (np.float16, ml_dtypes.bfloat16, np.float32),
    (np.float16, np.float64, np.float64),
    (ml_dtypes.bfloat16, np.float64, np.float64),
    (np.float32, np.float64, np.float64),
    (np.int32, np.float64, np.float64),
    (np.int8, np.float32, np.float64),
    (np.bool_, np.float16, np.float64),
    (np.uint8, np.int64, np.float64),
]


@every_variant
@every_product
def test_mixed_dtypes_give_the_wider(product, rng):
    for one, other, expected in MIXED:
        first = 3 * rng.standard_normal((4, 9))
        # What a negative number is as an unsigned one differs from CPU to CPU, and NumPy warns.
        first = (np.abs(first) if np.issubdtype(one, np.unsignedinteger) else first).astype(one)
        second = np.minimum(0, rng.standard_normal((4, 9))).astype(other)
        for v, y in ((first, second), (second, first)):
            result = product(v, y)
            assert result.dtype == expected
            assert bits(result) == bits(product(v.astype(expected), y.astype(expected)))
            out = np.zeros((4, 9), expected)
            assert product(v, y, out=out) is out
            assert bits(out) == bits(result)


@every_variant
@every_product
def test_lists_scalars_and_subclasses(product):
    expected = product(np.array([1.0, 2.0]), np.array([0.0, -1.0]))
    assert bits(product([1, 2], (0.0, -1.0))) == bits(expected)
    assert bits(product([1, 2], np.array([0, -1]))) == bits(expected)
    assert product(3, 0).shape == ()

    class Labelled(np.ndarray):
        pass

    assert type(product(np.array([1.0, 2.0]).view(Labelled), np.array([0.0, -1.0]).view(Labelled))) is np.ndarray


# ---- layout ------------------------------------------------------------------------------------------------------


@every_variant
@every_product
def test_every_layout_of_either_input(product, dtype, rng):
    for shape in ((3, 50), (4, 3, 20), (2, 2500)):
        v, y = pair(product, shape, dtype, rng)
        expected = {axis: bits(product(v, y, axis)) for axis in (-1, 0)}
        y_layouts = layouts(y)
        for name, v_view in layouts(v).items():
            # With the other input in C order, and with both in the same order.
            for y_view in (y, y_layouts[name]):
                for axis in (-1, 0):
                    assert bits(product(v_view, y_view, axis)) == expected[axis], name
        for name, y_view in y_layouts.items():
            for axis in (-1, 0):
                assert bits(product(v, y_view, axis)) == expected[axis], name


# ---- out ---------------------------------------------------------------------------------------------------------


@every_variant
@every_product
def test_in_place_over_an_input_that_broadcasts(product, dtype, rng):
    """The other input may be one row of what is written."""
    v, y = pair(product, (4, 30), dtype, rng)
    for row in (0, 2):
        over = v.copy()
        assert bits(product(over, over[row], out=over)) == bits(product(v, v[row].copy()))
        over = y.copy()
        assert bits(product(over[row], over, out=over)) == bits(product(y[row].copy(), y))


# ---- out that does not fit both inputs ---------------------------------------------------------------------------

V = np.arange(6.0).reshape(2, 3)
Y = -np.ones((2, 3)) / 3


@every_product
def test_out_has_the_shape_that_the_inputs_broadcast_to(product):
    out = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"out has shape \(2, 3\), expected \(4, 2, 3\)"):
        product(V, np.ones((4, 1, 1)), out=out)
    assert (out == 0).all()


@every_product
def test_out_has_the_wider_dtype(product):
    for v, y, expected in (
        (V.astype(np.float32), Y, "float64"),
        (V.astype(np.float16), Y.astype(np.float32), "float32"),
        (V.astype(np.float16), Y.astype(np.float16), "float16"),
    ):
        out = np.zeros((2, 3), np.float16 if expected != "float16" else np.float32)
        with pytest.raises(TypeError, match=f"out has dtype {out.dtype}, expected {expected}"):
            product(v, y, out=out)
        assert (out == 0).all()


@every_product
def test_more_axes_than_numpy_broadcasts(product):
    y = np.full((1,) * 62 + (2,), 0.5)
    assert_equal = np.testing.assert_array_equal
    assert_equal(product(np.array([1.0, 3.0]), y).ravel(), product(np.array([1.0, 3.0]), [0.5, 0.5]))
