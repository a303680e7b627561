"""An `out` of which two elements share memory: which of the results would be in it?"""

from itertools import product

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import softmax_cy
from operations import every_function, takes_pair
from test_conversions import call, last


def view(memory, shape, strides):
    """An array that begins in the middle."""
    return as_strided(memory[memory.size // 2 :], shape, strides)


def have_common_bytes(shape, strides, itemsize):
    """Whether two elements have: found out by looking at each."""
    starts = [sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]
    places = [start + k for start in starts for k in range(itemsize)]
    return len(set(places)) < len(places)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 4), (2, 1, 3), (2, 2, 2), (0, 3)], ids=str)
def test_refused_if_and_only_if_two_elements_overlap(shape):
    x = np.arange(float(np.prod(shape))).reshape(shape).astype(np.float32)
    expected = softmax_cy.softmax(x)
    steps = (-12, -8, -4, 0, 2, 4, 6, 8, 9, 12, 16) if len(shape) < 3 else (-8, 0, 4, 8, 12, 16)
    refused = 0
    for strides in product(steps, repeat=len(shape)):
        memory = np.full(200, -7, np.float32)
        out = view(memory, shape, strides)
        if have_common_bytes(shape, strides, 4):
            refused += 1
            with pytest.raises(ValueError, match="out has elements that overlap"):
                softmax_cy.softmax(x, out=out)
            assert (memory == -7).all()
        else:
            softmax_cy.softmax(x, out=out)
            np.testing.assert_array_equal(out, expected)
    assert refused or shape == (0, 3)


@every_function
def test_refused_by_every_function(function, dtype):
    x = np.ones((4, 3), dtype)
    shape = last(call(function, x)).shape
    for strides in ((0,) * len(shape), (dtype.itemsize,) * len(shape)):
        memory = np.full(200, -7, dtype)
        if len(shape) > 1 or not any(strides):
            with pytest.raises(ValueError, match=r"out.* has elements that overlap"):
                call(function, x, view(memory, shape, strides))
        assert (memory == -7).all()
    if takes_pair(function):
        with pytest.raises(ValueError, match=r"out\[0\] has elements that overlap"):
            function(x, out=(view(np.zeros(9, dtype), (4, 3), (0, dtype.itemsize)), None))


def test_windows_of_millions_are_refused_at_once():
    """Without a list of their elements."""
    out = as_strided(np.zeros(20_000), (10_000, 10_000), (8, 8))
    with pytest.raises(ValueError, match="out has elements that overlap"):
        softmax_cy.softmax(np.broadcast_to(1.0, (10_000, 10_000)), out=out)
    out = as_strided(np.zeros(30_000), (10_000, 10_000), (8, 16))
    with pytest.raises(ValueError, match="out has elements that overlap"):
        softmax_cy.softmax(np.broadcast_to(1.0, (10_000, 10_000)), out=out)
