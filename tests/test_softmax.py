"""softmax: digits, special values, and every way an array can lie in memory."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import softmax_cy
import twin
from layouts import layouts, unaligned
from softmax_cy import softmax

pytestmark = pytest.mark.usefixtures("variant")

# Around every border of lanes and blocks, and long ones that no border divides.
LENGTHS = [*range(1, 131), 255, 256, 257, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 10_007, 70_001]

SOFTMAX_ULPS = 2.0


@pytest.mark.parametrize("name", twin.FAMILIES)
def test_digits(name, dtype, rng):
    for length in LENGTHS:
        x = twin.family(name, (5, length), dtype, rng)
        assert twin.ulps(softmax(x), twin.softmax(x)) <= SOFTMAX_ULPS, length


def test_sums_to_one_on_long_slices(dtype):
    x = np.full(1_000_003, 0.1, dtype)
    y = softmax(x)
    assert (y == y[0]).all()
    assert twin.ulps(y[:1], np.array([twin.WIDE(1) / x.size])) <= SOFTMAX_ULPS


def test_subnormal_results_are_rounded_once(dtype):
    info = np.finfo(dtype)
    for exponent in range(info.minexp - info.nmant - 3, info.minexp + 4):
        x = np.array([0, exponent * np.log(2)], dtype)
        expected = twin.softmax(x)
        distance = abs(softmax(x)[1].astype(twin.WIDE) - expected[1])
        assert distance <= max(twin.WIDE(info.smallest_subnormal), 2 * twin.WIDE(info.eps) * expected[1])


@pytest.mark.parametrize("others", [1e-3, 0.01, 0.03, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("largest", [0, 1.3, -20.7])
@pytest.mark.parametrize("axis", [-1, 0])
def test_inputs_made_to_be_bad_below_the_smallest_normal_number(axis, largest, others, dtype):
    # The worst are just below it, with an exponential just above a power of two: sums a little above one. These are off
    # by the half of a unit that rounding takes, and by what the exponential has lost: docs/accuracy.md.
    info = np.finfo(dtype)
    border = np.log(info.smallest_normal)
    x = np.linspace(border - 0.8, border + others, 200_003, dtype=dtype)  # every float32, and a few doubles
    x = np.concatenate([np.array([0, np.log(others)], dtype), x]) + dtype.type(largest)
    expected = twin.softmax(x)
    result = softmax(x[:, None].repeat(3, 1) if axis == 0 else x, axis).reshape(len(x), -1)[:, 0]
    below = expected < info.smallest_normal
    assert below.sum() > 100_000
    assert twin.ulps(result[below], expected[below]) <= 1.1


def test_what_rounds_to_zero_is_zero(dtype):
    far = -110 if dtype == np.float32 else -750
    assert softmax(np.array([0, far], dtype)).tolist() == [1, 0]
    assert softmax(np.array([0, np.finfo(dtype).min], dtype)).tolist() == [1, 0]
    assert softmax(np.array([np.finfo(dtype).max, np.finfo(dtype).min], dtype)).tolist() == [1, 0]
    assert softmax(np.array([np.finfo(dtype).min, np.finfo(dtype).min], dtype)).tolist() == [0.5, 0.5]


# ---- special values ----------------------------------------------------------------------------------------------


def test_negative_infinity_gives_exactly_zero(dtype):
    x = np.array([1, -np.inf, 1, -np.inf], dtype)
    assert softmax(x).tolist() == [0.5, 0, 0.5, 0]


@pytest.mark.parametrize("value", [0.0, -0.0, 3.7, -1e30, 88.0])
def test_length_one_is_exactly_one(value, dtype):
    assert softmax(np.array([[value]], dtype)).tolist() == [[1.0]]


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4)])
@pytest.mark.parametrize("axis", [0, -1])
def test_empty(shape, axis, dtype):
    y = softmax(np.empty(shape, dtype), axis)
    assert y.shape == shape
    assert y.dtype == dtype


def test_zero_dimensions(dtype):
    y = softmax(np.array(3.0, dtype))
    assert isinstance(y, np.generic)
    assert y.shape == ()
    assert y.dtype == dtype
    assert y == 1


# ---- dtypes ------------------------------------------------------------------------------------------------------


def test_lists_scalars_and_subclasses():
    expected = softmax(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(softmax([1, 2]), expected)
    np.testing.assert_array_equal(softmax((1.0, 2.0)), expected)
    assert softmax(3) == 1

    class Labelled(np.ndarray):
        pass

    assert type(softmax(np.array([1.0, 2.0]).view(Labelled))) is np.ndarray


def test_other_byte_order_and_no_alignment(dtype, rng):
    x = rng.standard_normal((5, 40)).astype(dtype)
    expected = softmax(x)
    swapped = softmax(x.astype(dtype.newbyteorder()))
    assert swapped.dtype == dtype
    np.testing.assert_array_equal(swapped, expected)
    for shift in range(1, 8):
        moved = unaligned(x, shift)
        np.testing.assert_array_equal(softmax(moved), expected)
        np.testing.assert_array_equal(softmax(moved, out=moved), expected)


# ---- layout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 50), (4, 3, 20), (2, 3, 4, 5), (1, 6, 1, 7), (2, 5000), (2, 2, 20_000)])
def test_every_layout_and_axis(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        expected = np.moveaxis(softmax(np.moveaxis(x, axis, -1).copy()), -1, axis)
        assert twin.ulps(expected, twin.softmax(x, axis)) <= SOFTMAX_ULPS
        for name, view in layouts(x).items():
            np.testing.assert_array_equal(softmax(view, axis), expected, err_msg=name)


def test_broadcast_input(dtype, rng):
    row = rng.standard_normal(30).astype(dtype)
    x = np.broadcast_to(row, (4, 5, 30))
    np.testing.assert_array_equal(softmax(x), np.broadcast_to(softmax(row), x.shape))
    column = np.broadcast_to(dtype.type(2.5), (3, 8))
    np.testing.assert_array_equal(softmax(column), np.full((3, 8), 1 / 8))


def test_thirty_two_axes(dtype):
    x = np.arange(4, dtype=dtype).reshape((1,) * 15 + (2,) + (1,) * 15 + (2,))
    np.testing.assert_array_equal(softmax(x).ravel(), softmax(x.reshape(2, 2)).ravel())


# ---- out ---------------------------------------------------------------------------------------------------------


def test_results_past_the_caches(dtype, rng):
    """What is larger than the last cache is written in another way."""
    base = rng.standard_normal((8, 4099)).astype(dtype)
    rows = 2 * softmax_cy.show_config(mode="dicts")["last-level cache bytes"] // base[0].nbytes // 2
    x = as_strided(base, (rows, base.shape[1]), (0, dtype.itemsize))
    y = softmax(x)
    np.testing.assert_array_equal(y[-1], softmax(base[0]))
    assert (y == y[0]).all()


# ---- what is left out where it cannot matter ---------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 9, 16, 17, 33, 64, 100, 1000, 5000])
def test_a_neighbour_that_takes_the_long_way_changes_no_bit(length, dtype, rng):
    """Quotients whose parts could underflow are formed raised, two vectors at a time: the bits are the same."""
    x = rng.uniform(-3, 0, (3, length)).astype(dtype)
    short, long = (-57, -61) if dtype == np.float32 else (-799, -801)  # binary logarithms of a result

    def others(axis, log2_of_result):
        """The results beside one that is too small for the sum."""
        given = x.copy()
        given[:, length // 2] = -np.inf
        given[:, length // 2] = np.log(2.0) * log2_of_result + np.log(np.exp(given.astype(np.float64)).sum(-1))
        y = softmax(np.ascontiguousarray(given if axis == -1 else given.T), axis)
        return np.delete(y if axis == -1 else y.T, length // 2, axis=-1)

    for axis in (-1, 0):
        for log2_of_result in (long, -np.inf):
            assert others(axis, short).tobytes() == others(axis, log2_of_result).tobytes()
