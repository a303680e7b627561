"""More than 2**31 elements, all in one buffer of 9 GB: `pytest -m huge`."""

import numpy as np
import pytest

from softmax_cy import (
    cross_entropy_and_grad,
    log_softmax,
    log_softmax_vjp,
    logsumexp,
    softmax,
    softmax_jacobian,
    softmax_vjp,
)

pytestmark = pytest.mark.huge

BORDER = 2**31
SIZE = 2_148_000_000

# A prime number of rows is repeated, so that what lies 2**31 or 2**32 elements or bytes away differs.
ROWS = 9973


@pytest.fixture(scope="module")
def memory():
    return np.empty(SIZE, np.float32)


def repeat(tile, whole):
    """Fill the first axis of an array."""
    for start in range(0, len(whole), len(tile)):
        part = whole[start : start + len(tile)]
        part[...] = tile[: len(part)]


def assert_repeated(whole, tile):
    """To the bit."""
    for start in range(0, len(whole), len(tile)):
        part = whole[start : start + len(tile)]
        assert np.array_equal(part, tile[: len(part)]), start


def ulps(result, exact):
    """The largest distance."""
    return np.abs((result - exact) / np.spacing(np.float32(exact))).max()


@pytest.mark.parametrize("function", [softmax, log_softmax], ids=lambda f: f.__name__)
def test_one_slice(function, memory, rng):
    x = memory[: BORDER + 1000]
    tile = rng.normal(0, 3, 999_983).astype(np.float32)
    repeat(tile, x)
    counts = np.full(len(tile), len(x) // len(tile)) + (np.arange(len(tile)) < len(x) % len(tile))
    total = (counts * np.exp(tile.astype(float))).sum()
    assert ulps(logsumexp(x), np.log(total)) < 2
    assert function(x, out=x) is x
    exact = np.exp(tile.astype(float)) / total if function is softmax else tile - np.log(total)
    assert ulps(x[: len(tile)], exact) < 2
    assert_repeated(x, x[: len(tile)].copy())


@pytest.mark.parametrize(
    ("function", "length"),
    [(softmax, 1), (softmax, 1000), (log_softmax, 1000)],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_rows(function, length, memory, rng):
    """In slices of one element there are more than 2**31 slices."""
    x = memory[: (BORDER // length + 5) * length].reshape(-1, length)
    tile = rng.normal(0, 3, (ROWS, length)).astype(np.float32)
    repeat(tile, x)
    assert function(x, out=x) is x
    assert_repeated(x, function(tile))


def test_sums_of_rows(memory, rng):
    """As many results as would do for an index of 32 bits, and inputs beyond it."""
    x = memory[: (BORDER // 1000 + 5) * 1000].reshape(-1, 1000)
    tile = rng.normal(0, 3, (ROWS, 1000)).astype(np.float32)
    repeat(tile, x)
    assert_repeated(logsumexp(x), logsumexp(tile))


@pytest.mark.parametrize("length", [16, 1000])
def test_columns(length, memory, rng):
    """Axis 0: elements of a slice up to 2**31 elements apart."""
    x = memory[: (BORDER // length + 5) * length].reshape(length, -1)
    tile = rng.normal(0, 3, (ROWS, length)).astype(np.float32)
    repeat(tile, x.T)
    assert softmax(x, 0, out=x) is x
    assert_repeated(x.T, softmax(tile))


def test_long_columns(memory, rng):
    """Axis 0, slices of millions of elements with a stride."""
    x = memory[: (BORDER // 1000 + 5) * 1000].reshape(-1, 1000)
    tile = rng.normal(0, 3, (ROWS, 1000)).astype(np.float32)
    repeat(tile, x)
    few = x[:, [0, 1, 500, 998, 999]].T.copy()
    softmax(x, 0, out=x)
    assert np.array_equal(x[:, [0, 1, 500, 998, 999]].T, softmax(few))


@pytest.mark.parametrize("function", [softmax_vjp, log_softmax_vjp], ids=lambda f: f.__name__)
def test_products(function, memory, rng):
    y = memory[: (BORDER // 1000 + 5) * 1000].reshape(-1, 1000)
    tile = softmax(rng.normal(0, 3, (ROWS, 1000)).astype(np.float32))
    repeat(tile, y)
    assert function(y, y, out=y) is y
    assert_repeated(y, function(tile, tile))


def test_loss(memory, rng):
    x = memory[: (BORDER // 1000 + 5) * 1000].reshape(-1, 1000)
    tile = rng.normal(0, 3, (ROWS, 1000)).astype(np.float32)
    index = rng.integers(1000, size=ROWS).astype(np.int16)
    repeat(tile, x)
    whole_index = np.resize(index, len(x))
    loss, grad = cross_entropy_and_grad(x, whole_index, reduction="none", out=x)
    assert grad is x
    exact_loss, exact_grad = cross_entropy_and_grad(tile, index, reduction="none")
    assert_repeated(loss, exact_loss)
    assert_repeated(x, exact_grad)


def test_jacobian(memory):
    """One matrix of 2**31 entries and more."""
    n = 46_342
    y = softmax(np.linspace(-1, 1, n, dtype=np.float32))
    matrix = softmax_jacobian(y, out=memory[: n * n].reshape(n, n))
    assert matrix.size > BORDER
    for i in (0, 1, n // 2, n - 2, n - 1):
        row = -y[i] * y
        row[i] = y[i] - np.float64(y[i]) ** 2
        assert np.array_equal(matrix[i], row)
