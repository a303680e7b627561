"""softmax_cy.plain: on ordinary logits the library agrees with the obvious loops as far as their roundings allow."""

import doctest
import subprocess
import sys

import numpy as np
import pytest

import softmax_cy
from softmax_cy import plain

SHAPES = [(0, 0), (0, 5), (5, 0), (7, 1), (1, 2), (64, 10), (37, 333), (5, 1000), (3, 4096)]
SCALE = 5.0

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


def logits_of(shape, dtype, rng, offset=0.0):
    """Ordinary ones: of different sizes, and none so far from the largest that its softmax is subnormal."""
    return (offset + SCALE * rng.standard_normal(shape)).astype(dtype)


def softmax_bound(x):
    """How far apart the two may be, in proportion to the result of the loops.

    In units of u, half the distance between 1 and the next number; an ulp of y lies between u y and 2 u y. With n the
    length of a row, d = x - max and y the exact result, these are the errors in proportion to what they are errors of:

        difference       |d|: an error of u |d| in an exponent is one of u |d| in its exponential.
        exponential      2: C libraries are right to an ulp.
        terms of a sum   log n + 2: each of them counts as much as its part y of the sum. The sum of y |d| is the
                         entropy of y, which is at most log n, less the logarithm of the sum, which is at least 0.
        additions        n - 1: the first is exact.
        quotient         1
        the library      4: it promises 2 ulp.

    Errors that add up to k u make at most k u / (1 - k u) in a product or quotient of what they are errors of, which is
    in proportion to y; in proportion to the result of the loops that is at most k u / (1 - 2 k u).
    """
    n = x.shape[-1]
    d = np.abs(x.astype(float) - x.max(axis=-1, keepdims=True, initial=-np.inf).astype(float))
    error = unit(x.dtype) * (d + 2 + np.log(max(n, 1)) + 2 + (n - 1) + 1 + 4)
    return error / (1 - 2 * error)


def unit(dtype):
    """Half the distance between 1 and the next number."""
    return float(np.finfo(dtype).eps) / 2


def by_loops(function, array, shape):
    """The result in an array that held something else."""
    out = np.full(shape, np.nan, array.dtype)
    assert function(array, out) is None
    return out


@every_shape
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4], ids=["around 0", "large", "far below 0"])
def test_softmax_agrees(shape, offset, dtype, rng, variant):
    x = logits_of(shape, dtype, rng, offset)
    y, checked = by_loops(plain.softmax, x, shape), softmax_cy.softmax(x)
    assert y.dtype == checked.dtype == dtype
    assert (y >= np.finfo(dtype).smallest_normal).all(), "the bound is none for subnormal results"
    distance = np.abs(y.astype(float) - checked.astype(float))
    assert (distance <= softmax_bound(x) * y).all(), np.max(distance / (unit(dtype) * y))


@every_shape
def test_jacobian_agrees(shape, dtype, rng, variant):
    """Off the diagonal both round the product once, and agree.

    On it the loops lose an ulp by 1 - y and half an ulp by the product, and the library promises 1 ulp: 2.5 ulp of the
    exact result. Its ulp is twice theirs if both lie below a power of two and it does not. Then they err to the same
    side, by 1.5 of its ulp at most, which is 3 of theirs.
    """
    y = softmax_cy.softmax(logits_of(shape, dtype, rng))
    rows, n = shape
    jacobian, checked = by_loops(plain.softmax_jacobian, y, (rows, n, n)), softmax_cy.softmax_jacobian(y)
    assert jacobian.dtype == checked.dtype == dtype
    off_diagonal = ~np.eye(n, dtype=bool)
    np.testing.assert_array_equal(checked[:, off_diagonal], jacobian[:, off_diagonal])
    ours, theirs = (np.diagonal(array, axis1=-2, axis2=-1) for array in (checked, jacobian))
    assert (np.abs(ours - theirs) <= 3 * np.spacing(np.maximum(ours, theirs))).all()


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (0, 5), (3, 0)])
def test_softmax_refuses_another_shape(shape, dtype):
    message = rf"out must have the shape \(3, 5\), got \({shape[0]}, {shape[1]}\)"
    with pytest.raises(ValueError, match=message):
        plain.softmax(np.zeros((3, 5), dtype), np.zeros(shape, dtype))


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 4, 5), (2, 5, 5), (3, 5, 0)])
def test_jacobian_refuses_another_shape(shape, dtype):
    message = rf"out must have the shape \(3, 5, 5\), got \({shape[0]}, {shape[1]}, {shape[2]}\)"
    with pytest.raises(ValueError, match=message):
        plain.softmax_jacobian(np.zeros((3, 5), dtype), np.zeros(shape, dtype))


def test_other_arrays_are_refused(dtype):
    """Those that a memoryview of C-contiguous rows of one dtype is no view of."""
    x = np.zeros((3, 5), dtype)
    other = np.float64 if dtype == np.float32 else np.float32
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        plain.softmax(x, np.zeros((3, 5), other))
    with pytest.raises(ValueError, match="not C-contiguous"):
        plain.softmax(x, np.zeros((5, 3), dtype).T)
    with pytest.raises(ValueError, match="wrong number of dimensions"):
        plain.softmax_jacobian(x, x)
    with pytest.raises(TypeError, match="No matching signature"):
        plain.softmax(x.astype(np.float16), x)


def test_inputs_may_be_read_only_and_outputs_not(dtype, rng):
    x = logits_of((4, 6), dtype, rng)
    x.flags.writeable = False
    y = by_loops(plain.softmax, x, x.shape)
    y.flags.writeable = False
    by_loops(plain.softmax_jacobian, y, (4, 6, 6))
    with pytest.raises(ValueError, match="read-only"):
        plain.softmax(x, y)


def test_its_examples_run():
    found = doctest.testmod(plain)
    assert found.attempted
    assert not found.failed


def test_it_exports_nothing_to_c():
    assert not hasattr(plain, "__pyx_capi__")


def test_the_package_does_not_load_it():
    code = "import sys, softmax_cy; print('softmax_cy.plain' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
