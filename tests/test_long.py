"""One slice that several threads share: the bits of one thread, whatever lies in it and however it lies."""

import numpy as np
import pytest

from softmax_cy import log_softmax, logsumexp, softmax

every_variant = pytest.mark.usefixtures("variant")
every_function = pytest.mark.parametrize(
    "function", [softmax, log_softmax, logsumexp], ids=lambda function: function.__name__
)

# Enough for several threads to pay, and not a whole number of blocks (4096 or 2048 elements).
LENGTH = 700_001
THREADS = (2, 3, 7, 8)


def assert_the_same_bits(function, x, **options):
    expected = function(x, num_threads=1, **options)
    for threads in THREADS:
        result = function(x, num_threads=threads, **options)
        assert result.tobytes() == expected.tobytes(), threads
    return expected


@every_variant
@every_function
def test_any_number_of_threads(function, dtype, rng):
    for length in (LENGTH, 2**20):
        assert_the_same_bits(function, (5 * rng.standard_normal(length)).astype(dtype))


@every_variant
@every_function
def test_several_slices_but_fewer_than_threads(function, dtype, rng):
    assert_the_same_bits(function, rng.standard_normal((3, LENGTH)).astype(dtype))


@every_variant
@every_function
@pytest.mark.parametrize("above", [10, 25, 60])  # the others: more than one of it, some thousandth, next to nothing
def test_one_class_that_dominates(function, above, dtype, rng):
    x = rng.standard_normal(LENGTH).astype(dtype)
    x[LENGTH // 3] = above
    assert_the_same_bits(function, x)


@every_variant
@every_function
@pytest.mark.parametrize("scale", [0.1, 1e4])
def test_scale(function, scale, dtype, rng):
    assert_the_same_bits(function, rng.standard_normal(LENGTH).astype(dtype), scale=scale)


@every_variant
@every_function
def test_layouts(function, dtype, rng):
    x = rng.standard_normal((2, LENGTH)).astype(dtype)
    expected = function(x[0], num_threads=1)
    strided, swapped = np.ascontiguousarray(x.T)[:, 0], x[0].astype(dtype.newbyteorder("S"))
    for other in (strided, swapped, x[0][::-1].copy()[::-1]):
        assert assert_the_same_bits(function, other).tobytes() == expected.tobytes()
    assert_the_same_bits(function, x, axis=None)
    assert_the_same_bits(function, rng.standard_normal(LENGTH).astype(np.float16))


@every_variant
@every_function
def test_where(function, dtype, rng):
    x = rng.standard_normal(LENGTH).astype(dtype)
    keep = rng.random(LENGTH) < 0.5
    x[~keep] = np.nan
    assert np.isfinite(assert_the_same_bits(function, x, where=keep)[keep if function is not logsumexp else ...]).all()
    assert_the_same_bits(function, x, where=np.zeros(LENGTH, bool))


@every_variant
@pytest.mark.parametrize("function", [softmax, log_softmax], ids=lambda function: function.__name__)
def test_in_place(function, dtype, rng):
    x = rng.standard_normal(LENGTH).astype(dtype)
    expected = function(x, num_threads=1)
    for threads in THREADS:
        same = x.copy()
        assert function(same, out=same, num_threads=threads) is same
        assert same.tobytes() == expected.tobytes()


@every_variant
@every_function
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_special_values_at_the_ends_and_in_between(function, value, dtype, rng):
    for position in (0, LENGTH // 2, LENGTH - 1):
        x = rng.standard_normal(LENGTH).astype(dtype)
        x[position] = value
        assert_the_same_bits(function, x)
    assert_the_same_bits(function, np.full(LENGTH, value, dtype))
