"""logsumexp: digits, shapes of the result, and special values. What it shares with softmax is in test_options.py."""

import numpy as np
import pytest

import twin
from softmax_cy import logsumexp

pytestmark = pytest.mark.usefixtures("variant")

# Around every border of lanes and blocks, and long ones that no border divides.
LENGTHS = [*range(1, 131), 255, 256, 257, 1000, 2047, 2048, 2049, 4095, 4096, 4097, 10_007, 70_001]

# Of the result, or twice as many half ulps of the maximum where that is larger: see `twin.ulps_of_logsumexp`.
LOGSUMEXP_ULPS = 2.0


@pytest.fixture(scope="module", params=twin.FAMILIES)
def family(request):
    """Inputs of a family in every length, with what is exact: computed once for all variants."""
    rng = np.random.default_rng(20240229)
    shapes = [(3 if length < 300 else 1, length) for length in LENGTHS]
    inputs = {
        dtype: [twin.family(request.param, shape, dtype, rng) for shape in shapes]
        for dtype in (np.dtype(np.float32), np.dtype(np.float64))
    }
    return {dtype: [(x, twin.logsumexp_and_unit(x)) for x in inputs[dtype]] for dtype in inputs}


def test_digits(dtype, family):
    for x, (exact, unit) in family[dtype]:
        assert twin.ulps(logsumexp(x), exact, unit) <= LOGSUMEXP_ULPS, x.shape


def test_digits_of_a_strided_axis(dtype, rng):
    for length in (3, 17, 100, 2049, 5000):
        for name in ("wide normal", "one dominant", "offset -1e6"):
            x = np.asfortranarray(twin.family(name, (3, length), dtype, rng)).T
            assert twin.ulps(logsumexp(x, 0), *twin.logsumexp_and_unit(x, 0)) <= LOGSUMEXP_ULPS, (length, name)


def test_digits_with_scale(dtype, rng):
    """The product is not rounded: with an offset of 1e4 its rounding would be more than the bound."""
    for scale in (0.01, 1 / 3, 0.7, 7.3, 300):
        for name in twin.FAMILIES:
            x = twin.family(name, (3, 37), dtype, rng)
            y = logsumexp(x, scale=scale)
            assert twin.ulps(y, *twin.logsumexp_and_unit(x, scale=scale)) <= LOGSUMEXP_ULPS, (scale, name)


# ---- near zero ---------------------------------------------------------------------------------------------------


def test_maximum_zero_leaves_the_logarithm_alone(dtype):
    """Nothing cancels, and log1p of the small rest keeps all its digits, down to subnormal numbers."""
    for difference in np.linspace(0, 100 if dtype == np.float32 else 700, 301):
        for others in (1, 3, 40):
            x = np.full(1 + others, -difference, dtype)
            x[others // 2] = 0
            y = logsumexp(x)
            assert y > 0
            assert twin.ulps(y, twin.logsumexp(x)) <= LOGSUMEXP_ULPS, (difference, others)


def test_cancelling_result_is_exact_to_an_ulp_of_the_maximum(dtype, rng):
    """Logarithms of probabilities: the exact result is next to 0, whatever the rounding of its input left."""
    for length in (2, 3, 10, 100, 1000, 5000):
        p = rng.exponential(size=(5, length))
        x = np.log(p / p.sum(axis=-1, keepdims=True)).astype(dtype)
        assert twin.ulps(logsumexp(x), *twin.logsumexp_and_unit(x)) <= LOGSUMEXP_ULPS, length


def test_small_negative_maximum_and_smaller_rest(dtype):
    """Both terms are small and of one size; neither may come out of numbers near 1."""
    for exponent in range(1, 35):
        for factor in (0.5, 0.99, 1.01, 3):
            maximum = -(10.0**-exponent)
            x = np.array([maximum, np.log(factor * -maximum)], dtype)
            assert twin.ulps(logsumexp(x), *twin.logsumexp_and_unit(x)) <= LOGSUMEXP_ULPS, (exponent, factor)


def test_all_equal_adds_the_logarithm_of_the_length(dtype):
    for length in LENGTHS:
        y = logsumexp(np.zeros(length, dtype))
        assert twin.ulps(y, np.log(np.array(length, twin.WIDE))) <= LOGSUMEXP_ULPS, length


def test_long_slices(dtype):
    x = np.full(1_000_003, 0.1, dtype)
    exact = twin.WIDE(x[0]) + np.log(np.array(x.size, twin.WIDE))
    assert twin.ulps(logsumexp(x), exact) <= LOGSUMEXP_ULPS


def test_neither_overflows_nor_underflows(dtype):
    info = np.finfo(dtype)
    for value in (info.max, info.min, info.tiny, -info.tiny, 1e4, -1e4):
        x = np.full(3, value, dtype)
        assert twin.ulps(logsumexp(x), *twin.logsumexp_and_unit(x)) <= LOGSUMEXP_ULPS, value


# ---- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 50), (4, 3, 20), (2, 3, 4, 5), (1, 6, 1, 7)])
def test_shape_is_that_of_a_reduction(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    axes = [None, *range(-len(shape), len(shape)), (), (0,), tuple(range(len(shape))), (-1, 0)[: len(shape)]]
    for axis in axes:
        for keepdims in (False, True):
            y = logsumexp(x, axis, keepdims=keepdims)
            assert isinstance(y, np.ndarray if y.ndim else np.generic)
            assert y.shape == np.max(x, axis=axis, keepdims=keepdims).shape, (axis, keepdims)
            assert y.dtype == dtype
            assert twin.ulps(y, *twin.logsumexp_and_unit(x, axis, keepdims=keepdims)) <= LOGSUMEXP_ULPS


def test_zero_dimensions(dtype):
    for axis in (-1, 0, None, (), (0,)):
        for keepdims in (False, True):
            y = logsumexp(np.array(3.25, dtype), axis, keepdims=keepdims)
            assert isinstance(y, np.generic)
            assert y.shape == ()
            assert y == 3.25


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4), (0, 0)])
def test_an_empty_sum_is_zero_and_its_logarithm_negative_infinity(shape, dtype):
    for axis in (None, *range(len(shape)), (), tuple(range(len(shape)))):
        for keepdims in (False, True):
            y = logsumexp(np.empty(shape, dtype), axis, keepdims=keepdims)
            expected = np.max(np.empty(shape, dtype), axis=axis, keepdims=keepdims, initial=-np.inf)
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, expected, strict=True)


def test_empty_result_for_an_axis_that_is_not_empty(dtype):
    assert logsumexp(np.empty((0, 3), dtype)).shape == (0,)
    assert logsumexp(np.empty((2, 0, 4), dtype), 2, keepdims=True).shape == (2, 0, 1)


def test_out_has_the_shape_of_the_result_and_nothing_else_is_written(dtype, rng):
    x = rng.standard_normal((4, 50, 3)).astype(dtype)
    for axis in (0, 1, 2, (0, 1), (0, 2), (1, 2)):
        for keepdims in (False, True):
            expected = logsumexp(x, axis, keepdims=keepdims)
            inside = tuple(slice(1, n + 1) for n in expected.shape)
            big = np.full([n + 2 for n in expected.shape], -7, dtype)
            for out in (big[inside], big[inside][::-1]):
                assert logsumexp(x, axis, keepdims=keepdims, out=out) is out
                np.testing.assert_array_equal(out, expected)
                out[...] = -7
                assert (big == -7).all()


def test_out_of_zero_dimensions(dtype):
    out = np.empty((), dtype)
    assert logsumexp(np.array([-np.inf, 2], dtype), out=out) is out
    assert out == 2


@pytest.mark.parametrize("length", [3, 40, 5000])
def test_out_may_be_part_of_the_input(length, dtype, rng):
    for axis in (0, 1):
        for line in (0, 1, -1):
            x = rng.standard_normal((3, length)).astype(dtype)
            expected = logsumexp(x, axis)
            out = x[line] if axis == 0 else x[:, line]
            assert logsumexp(x, axis, out=out) is out
            np.testing.assert_array_equal(out, expected)


# ---- special values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 15, 16, 17, 33, 100, 5000, 70_001])
def test_nan_beside_positive_infinity_gives_nan(length, dtype, rng):
    for first, second in ((0, -1), (-1, 0), (0, 1), (length // 2, 0)):
        x = rng.standard_normal((3, length)).astype(dtype)
        x[1, first] = np.nan
        x[1, second] = np.inf
        assert np.isnan(logsumexp(x)).tolist() == [False, True, False]


def test_negative_infinity_takes_no_part(dtype):
    assert logsumexp(np.array([-np.inf, 3.7, -np.inf], dtype)) == dtype.type(3.7)
    assert logsumexp(np.array([-np.inf, np.inf], dtype)) == np.inf


@pytest.mark.parametrize("value", [0.0, -0.0, 3.7, -1e30, 88.0, 1e-40])
@pytest.mark.parametrize("scale", [1, 0.3, 1e3])
def test_length_one_is_exactly_the_scaled_value(value, scale, dtype):
    x = np.array([[value]], dtype)
    np.testing.assert_array_equal(logsumexp(x, scale=scale), (dtype.type(scale) * x)[:, 0])
