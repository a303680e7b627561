"""log_softmax: digits, near zero above all, and special values. See test_options.py and test_out.py for the rest."""

import numpy as np
import pytest

import twin
from softmax_cy import log_softmax

pytestmark = pytest.mark.usefixtures("variant")

# Around every border of lanes and blocks, and long ones that no border divides.
LENGTHS = [*range(1, 131), 255, 256, 257, 1000, 2047, 2048, 2049, 4095, 4096, 4097, 10_007, 70_001]

LOG_SOFTMAX_ULPS = 2.0


@pytest.fixture(scope="module", params=twin.FAMILIES)
def family(request):
    """Inputs of a family in every length, with what is exact: computed once for all variants."""
    rng = np.random.default_rng(20240229)
    shapes = [(3 if length < 300 else 1, length) for length in LENGTHS]
    inputs = {
        dtype: [twin.family(request.param, shape, dtype, rng) for shape in shapes]
        for dtype in (np.dtype(np.float32), np.dtype(np.float64))
    }
    return {dtype: [(x, twin.log_softmax(x)) for x in inputs[dtype]] for dtype in inputs}


def test_digits(dtype, family):
    for x, exact in family[dtype]:
        assert twin.ulps(log_softmax(x), exact) <= LOG_SOFTMAX_ULPS, x.shape


def test_digits_of_a_strided_axis(dtype, rng):
    for length in (3, 17, 100, 2049, 5000):
        for name in ("wide normal", "one dominant", "offset -1e6"):
            x = np.asfortranarray(twin.family(name, (3, length), dtype, rng)).T
            assert twin.ulps(log_softmax(x, 0), twin.log_softmax(x, 0)) <= LOG_SOFTMAX_ULPS, (length, name)


# ---- near zero ---------------------------------------------------------------------------------------------------


def test_the_class_that_holds_nearly_everything(dtype):
    """Where the maximum plus the logarithm of the sum is subtracted, as usual, this is 0."""
    y = log_softmax(np.array([20, 0, 0, 0], dtype))
    exact = -np.log1p(3 * np.exp(twin.WIDE(-20)))
    assert np.isclose(float(exact), -6.18e-9, rtol=1e-3)
    assert twin.ulps(y[:1], np.array([exact])) <= LOG_SOFTMAX_ULPS


@pytest.mark.parametrize("length", [2, 3, 4, 16, 17, 33, 100, 1000])
def test_nearly_zero_for_every_difference(length, dtype, rng):
    """Down to answers of 1e-44, a subnormal number, in float32 and of 1e-304 in float64."""
    largest = 100 if dtype == np.float32 else 700
    for difference in np.linspace(0, largest, 201):
        x = np.zeros((1, length), dtype)
        position = rng.integers(length)
        x[0, position] = difference
        x += rng.choice([0, 0, 1.25, -40])
        y = log_softmax(x)
        assert y[0, position] < 0, difference
        assert twin.ulps(y, twin.log_softmax(x)) <= LOG_SOFTMAX_ULPS, difference


@pytest.mark.parametrize("length", [2049, 4097, 10_007, 70_001])
def test_nearly_zero_in_long_slices(length, dtype, rng):
    largest = 100 if dtype == np.float32 else 700
    for position in (0, 1, length // 2, length - 1):
        for difference in (5, 12, 18, 40, 0.9 * largest):
            x = np.minimum(rng.standard_normal((1, length)), 2).astype(dtype)
            x[0, position] = difference
            y = log_softmax(x)
            assert y[0, position] < 0, (position, difference)
            assert twin.ulps(y, twin.log_softmax(x)) <= LOG_SOFTMAX_ULPS, (position, difference)


def test_nearly_zero_with_others_of_every_size(dtype, rng):
    """The small sum without the maximum is itself of numbers that differ in size."""
    depth = 100 if dtype == np.float32 else 700
    for _ in range(300):
        x = rng.uniform(-depth, -rng.choice([0.01, 1, 8, 30, 80]), (1, rng.integers(2, 60))).astype(dtype)
        x[0, rng.integers(x.size)] = 0
        assert twin.ulps(log_softmax(x), twin.log_softmax(x)) <= LOG_SOFTMAX_ULPS, x


def test_nearly_zero_with_scale(dtype):
    for scale in (0.01, 0.1, 1 / 3, 2, 7.3, 1e4):
        for difference in (1, 5, 15, 20, 60, 90):
            x = np.array([1, 2, 1, 0.5], dtype)
            x[1] = 1 + difference / scale
            assert twin.ulps(log_softmax(x, scale=scale), twin.log_softmax(x, scale=scale)) <= LOG_SOFTMAX_ULPS


def test_two_classes_share_nearly_everything(dtype):
    """The answer is -ln 2 and a little more, on both sides of it."""
    for small in (1e-1, 1e-3, 1e-6, 1e-7, 1e-15, 1e-30):
        x = np.array([[small, 0, -30, -30], [0, small, -90, -100], [0, -small, -5, -np.inf]], dtype)
        assert twin.ulps(log_softmax(x), twin.log_softmax(x)) <= LOG_SOFTMAX_ULPS, small


def test_all_equal_is_the_logarithm_of_the_length(dtype):
    for length in LENGTHS[1:]:
        y = log_softmax(np.full(length, 3.3, dtype))
        assert (y == y[0]).all()
        assert twin.ulps(y[:1], -np.log(np.array([length], twin.WIDE))) <= LOG_SOFTMAX_ULPS, length


# ---- far below zero ----------------------------------------------------------------------------------------------


def test_what_softmax_rounds_to_zero_keeps_its_logarithm(dtype):
    assert log_softmax(np.array([0, -1e4, -1e30], dtype)).tolist() == [0, -1e4, dtype.type(-1e30)]
    lowest = np.finfo(dtype).min
    assert log_softmax(np.array([0, lowest], dtype)).tolist() == [0, lowest]


def test_a_difference_beyond_the_range_is_negative_infinity(dtype):
    info = np.finfo(dtype)
    assert log_softmax(np.array([info.max, info.min], dtype)).tolist() == [0, -np.inf]
    y = log_softmax(np.array([info.min, info.min], dtype))
    assert twin.ulps(y, np.full(2, -np.log(twin.WIDE(2)))) <= LOG_SOFTMAX_ULPS


# ---- special values ----------------------------------------------------------------------------------------------


def test_negative_infinity_stays_and_takes_no_part(dtype):
    y = log_softmax(np.array([1, -np.inf, 1, -np.inf], dtype))
    np.testing.assert_array_equal(y, [y[0], -np.inf, y[0], -np.inf])
    assert twin.ulps(y[:1], np.array([-np.log(twin.WIDE(2))])) <= LOG_SOFTMAX_ULPS
    assert log_softmax(np.array([-np.inf, 3.7, -np.inf], dtype)).tolist() == [-np.inf, 0, -np.inf]


@pytest.mark.parametrize("value", [0.0, -0.0, 3.7, -1e30, 88.0])
def test_length_one_is_exactly_zero(value, dtype):
    assert log_softmax(np.array([[value]], dtype)).tolist() == [[0]]
    assert log_softmax(np.array([[value]], dtype), scale=0.3).tolist() == [[0]]
