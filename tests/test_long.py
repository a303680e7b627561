"""One slice that several threads share: the bits of one thread, whatever lies in it and however it lies."""

import numpy as np
import pytest

from operations import ELEMENTWISE, FORWARD, PRODUCTS, bits, each, forward_of
from softmax_cy import cross_entropy, cross_entropy_and_grad, logsumexp, softmax

every_variant = pytest.mark.usefixtures("variant")
every_function = each(FORWARD)

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
@each(ELEMENTWISE)
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


# ---- products and losses -----------------------------------------------------------------------------------------

every_product = each(PRODUCTS, "product")


def assert_the_same_product(product, v, y, **options):
    return assert_the_same_bits(lambda v, **threads: product(v, y, **options, **threads), v)


@every_variant
@every_product
@pytest.mark.parametrize("above", [0, 14, 30])  # 14: one class has more than half; 30: it has nearly everything
def test_products(product, above, dtype, rng):
    x, v = rng.standard_normal((2, 2, LENGTH)).astype(dtype)
    x[:, LENGTH // 3] = above
    y = forward_of(product)(x)
    if above:
        assert (y[:, LENGTH // 3] > (0.5 if forward_of(product) is softmax else -0.7)).all()
    assert_the_same_product(product, v[0], y[0])
    assert_the_same_product(product, v, y)
    assert_the_same_product(product, v, y, axis=None)
    assert_the_same_product(product, v[0], y[0], scale=0.3)
    assert_the_same_product(product, v[0], y[0], scale=7)


@every_variant
@every_product
def test_products_of_y_that_does_not_add_up_to_one(product, dtype, rng):
    v, y = rng.standard_normal((2, LENGTH)).astype(dtype)
    y = np.abs(y) if forward_of(product) is softmax else -np.abs(y) - 1
    assert_the_same_product(product, v, y)
    y[LENGTH // 2] = 0.9 if forward_of(product) is softmax else -0.1
    assert_the_same_product(product, v, y)


@every_variant
@every_product
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_products_of_special_values(product, value, dtype, rng):
    x, v = rng.standard_normal((2, LENGTH)).astype(dtype)
    v[LENGTH // 2] = value
    assert_the_same_product(product, v, forward_of(product)(x))


@every_variant
@every_product
def test_products_of_any_layout_and_in_place(product, dtype, rng):
    x, v = rng.standard_normal((2, LENGTH)).astype(dtype)
    y = forward_of(product)(x)
    expected = product(v, y, num_threads=1)
    for strided in (np.repeat(v, 2)[::2], v.astype(dtype.newbyteorder("S")), v[::-1].copy()[::-1]):
        assert assert_the_same_product(product, strided, y).tobytes() == expected.tobytes()
    out = np.empty(2 * LENGTH, dtype)[::2]
    assert product(v, y, out=out, num_threads=3).tobytes() == expected.tobytes()
    for same in (v, y):
        arguments = [array.copy() if array is same else array for array in (v, y)]
        out = arguments[0 if same is v else 1]
        assert product(*arguments, out=out, num_threads=3).tobytes() == expected.tobytes()


def assert_the_same_loss(x, target, **options):
    for reduction in ("none", "mean"):
        one = cross_entropy_and_grad(x, target, num_threads=1, reduction=reduction, **options)
        for threads in THREADS:
            several = cross_entropy_and_grad(x, target, num_threads=threads, reduction=reduction, **options)
            assert bits(several) == bits(one), (reduction, threads)
        alone = cross_entropy(x, target, num_threads=3, reduction=reduction, **options)
        assert bits(alone) == bits(one[0])
    return one


@every_variant
@pytest.mark.parametrize("above", [0, 25])
@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_indices(above, smoothing, weighted, dtype, rng):
    x = rng.standard_normal((2, LENGTH)).astype(dtype)
    x[:, LENGTH // 3] = above
    weight = rng.uniform(0.5, 2, LENGTH).astype(dtype) if weighted else None
    for target in ([0, LENGTH // 3], [LENGTH - 1, 17]):
        assert_the_same_loss(x, np.array(target), weight=weight, label_smoothing=smoothing)
    assert_the_same_loss(x, np.array([-100, 17]), weight=weight, ignore_index=-100)


@every_variant
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_losses_of_probabilities(smoothing, dtype, rng):
    x, logits = rng.standard_normal((2, 2, LENGTH)).astype(dtype)
    assert_the_same_loss(x, softmax(logits), label_smoothing=smoothing)
    assert_the_same_loss(np.asfortranarray(x), softmax(logits), weight=rng.uniform(0.5, 2, LENGTH).astype(dtype))


@every_variant
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_losses_of_special_values(value, dtype, rng):
    x = rng.standard_normal((2, LENGTH)).astype(dtype)
    x[0, LENGTH // 2] = value
    assert_the_same_loss(x, np.array([LENGTH // 2, 17]))
    assert_the_same_loss(x, np.array([3, 17]), label_smoothing=0.1)


@every_variant
def test_a_gradient_in_place(dtype, rng):
    x = rng.standard_normal(LENGTH).astype(dtype)
    loss, grad = cross_entropy_and_grad(x, 5, num_threads=1)
    same = x.copy()
    assert cross_entropy_and_grad(same, 5, out=same, num_threads=3)[0] == loss
    assert same.tobytes() == grad.tobytes()
