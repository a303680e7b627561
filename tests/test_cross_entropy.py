"""cross_entropy and cross_entropy_and_grad: digits, special values, targets and options of every kind, memory."""

import tracemalloc
from itertools import product

import ml_dtypes
import numpy as np
import pytest

import twin
from conftest import variants_under_test
from layouts import layouts
from operations import bits
from softmax_cy import cross_entropy, cross_entropy_and_grad, log_softmax

pytestmark = pytest.mark.usefixtures("variant")

# Around every border of lanes and blocks, and long ones that no border divides.
LENGTHS = [*range(1, 71), 127, 128, 129, 1000, 4095, 4096, 4097, 10_007]
FEW_LENGTHS = [1, 2, 3, 15, 16, 17, 33, 70, 128, 1000, 4097]

# The loss of one row with an index as its target; any other loss; and each entry of a gradient, of its two terms.
INDEX_ULPS = 2.0
LOSS_ULPS = 4.0
GRAD_ULPS = 4.0

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
REDUCTIONS = ["none", "sum", "mean"]
# How far a gradient that is nearly 0 may be off at the target, in relative terms.
CERTAIN_DIGITS = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}

inf, nan = np.inf, np.nan

# For what is decided before a kernel runs.
one_variant = pytest.mark.parametrize("variant", variants_under_test()[-1:], indirect=True)
any_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


# ---- digits ------------------------------------------------------------------------------------------------------


def grad_ulps(grad, exact):
    """The distance in units in the last place of the terms that are subtracted."""
    return twin.ulps(grad, exact.grad, twin.unit_in_last_place(exact.terms, grad.dtype))


def check(x, target, axis=-1, loss_ulps=LOSS_ULPS, exact=None, **options):
    """Loss and gradient have their digits, and the loss has the same bits without the gradient."""
    exact = exact or twin.cross_entropy(x, target, axis, **options)
    loss, grad = cross_entropy_and_grad(x, target, axis, **options)
    assert loss.dtype == grad.dtype == x.dtype
    found = twin.ulps(loss, exact.loss), grad_ulps(grad, exact)
    assert found[0] <= loss_ulps, (x.shape, options, found)
    assert found[1] <= GRAD_ULPS, (x.shape, options, found)
    alone = cross_entropy(x, target, axis, **options)
    assert alone.dtype == loss.dtype
    assert bits(alone) == bits(loss)


def probabilities(shape, dtype, rng, axis=-1):
    """Some of them 0."""
    q = rng.exponential(size=shape) * (rng.random(shape) < 0.8)
    q[(slice(None),) * (axis % len(shape)) + (0,)] += 0.1
    return (q / q.sum(axis=axis, keepdims=True)).astype(dtype)


def weights(length, dtype, rng):
    """Positive, and none of them a power of two."""
    return rng.uniform(0.1, 3, length).astype(dtype)


def certain_by(margin):
    """One class above all the rest."""

    def draw(shape, dtype, rng):
        x = rng.standard_normal(shape)
        top = rng.integers(shape[-1], size=shape[:-1])
        np.put_along_axis(x, top[..., None], x.max(axis=-1, keepdims=True) + margin, axis=-1)
        return x.astype(dtype)

    return draw


def of_family(name):
    """One of the twin's."""
    return lambda shape, dtype, rng: twin.family(name, shape, dtype, rng)


LOGITS = {
    **{name: of_family(name) for name in ("normal", "wide normal", "huge range", "offset -1e6", "all equal")},
    **{name: of_family(name) for name in ("masked -inf", "subnormal results")},
    **{f"certain by {margin}": certain_by(margin) for margin in (5, 20, 40)},
}


@pytest.fixture(scope="module", params=LOGITS)
def with_indices(request):
    """Logits of a kind in every length; the likeliest, the least likely and some other class; and what is exact."""
    rng = np.random.default_rng(20240229)
    cases = {dtype: [] for dtype in DTYPES}
    for dtype, length in product(DTYPES, LENGTHS):
        x = LOGITS[request.param]((3, length), dtype, rng)
        target = np.array([x[0].argmax(), x[1].argmin(), rng.integers(length)])
        cases[dtype].append((x, target, twin.cross_entropy(x, target, reduction="none")))
    return cases


def test_digits_with_indices(dtype, with_indices):
    for x, target, exact in with_indices[dtype]:
        check(x, target, loss_ulps=INDEX_ULPS, exact=exact, reduction="none")


# What is given besides the logits.
COEFFICIENTS = {
    "weight": (False, True, 0.0),
    "smoothing": (False, False, 0.1),
    "all smoothing": (False, False, 1.0),
    "weight and smoothing": (False, True, 0.3),
    "probabilities": (True, False, 0.0),
    "probabilities and weight": (True, True, 0.0),
    "probabilities and smoothing": (True, False, 0.1),
    "probabilities, weight and smoothing": (True, True, 0.7),
}


@pytest.fixture(scope="module", params=COEFFICIENTS)
def with_coefficients(request):
    """Some logits of each kind for each length, and what is exact."""
    rng = np.random.default_rng(20240229)
    soft, weighted, smoothing = COEFFICIENTS[request.param]
    cases = {dtype: [] for dtype in DTYPES}
    for dtype, (i, length) in product(DTYPES, enumerate(LENGTHS)):
        kinds = list(LOGITS)
        x = np.concatenate([LOGITS[kinds[(i + j) % len(kinds)]]((1, length), dtype, rng) for j in (0, 3, 7)])
        target = probabilities(x.shape, dtype, rng) if soft else rng.integers(length, size=3)
        options = {"label_smoothing": smoothing, "reduction": "none"}
        if weighted:
            options["weight"] = weights(length, dtype, rng)
        cases[dtype].append((x, target, options, twin.cross_entropy(x, target, **options)))
    return cases


def test_digits_with_weight_smoothing_and_probabilities(dtype, with_coefficients):
    for x, target, options, exact in with_coefficients[dtype]:
        check(x, target, exact=exact, **options)


@pytest.mark.parametrize("margin", [20, 40, 80])
def test_nearly_certain_loss_keeps_its_digits(margin, dtype):
    """log(1 + (length - 1) * exp(-margin)), which is far below the unit of 1, and the gradient of it."""
    for length in FEW_LENGTHS[1:]:
        x = np.zeros((1, length), dtype)
        x[0, length // 2] = margin
        rest = (length - 1) * np.exp(-twin.WIDE(margin))
        loss, grad = cross_entropy_and_grad(x, [length // 2], reduction="none")
        assert loss > 0
        assert twin.ulps(loss, np.log1p(rest)[None]) <= INDEX_ULPS, length
        assert grad[0, length // 2] == pytest.approx(float(-rest / (1 + rest)), rel=CERTAIN_DIGITS[dtype], abs=0)


def test_nearly_certain_gradient_keeps_its_digits_at_the_target(dtype, rng):
    """Whatever the other logits are, with a weight, and for each reduction."""
    for length, margin, reduction in product(FEW_LENGTHS[1:], (5, 20, 40, 60), REDUCTIONS):
        x = certain_by(margin)((3, length), dtype, rng)
        target = x.argmax(axis=-1)
        options = {"weight": weights(length, dtype, rng), "reduction": reduction}
        _, grad = cross_entropy_and_grad(x, target, **options)
        exact = twin.cross_entropy(x, target, **options).grad
        at_target = (np.arange(3), target)
        assert (grad[at_target] < 0).all()
        np.testing.assert_allclose(
            grad[at_target].astype(twin.WIDE), exact[at_target], rtol=CERTAIN_DIGITS[dtype], err_msg=f"{length}"
        )


def test_length_one_is_exactly_zero(dtype):
    for value, target in product([0.0, -3.7, 1e30], [[0], np.ones((1, 1))]):
        loss, grad = cross_entropy_and_grad(np.array([[value]], dtype), target)
        assert loss == 0
        assert grad == 0


def test_probabilities_of_one_class_agree_with_its_index(dtype, rng):
    for length in FEW_LENGTHS:
        x = (4 * rng.standard_normal((2, length))).astype(dtype)
        target = rng.integers(length, size=2)
        q = np.eye(length, dtype=dtype)[target]
        for smoothing, reduction in product((0.0, 0.1), REDUCTIONS):
            exact = twin.cross_entropy(x, target, label_smoothing=smoothing, reduction=reduction)
            check(x, q, exact=exact, label_smoothing=smoothing, reduction=reduction)


def test_many_rows_are_added_up_without_losing_digits(dtype, rng):
    x = (4 * rng.standard_normal((5003, 5))).astype(dtype)
    target = rng.integers(5, size=len(x))
    for reduction in ("sum", "mean"):
        check(x, target, reduction=reduction)


def test_gradient_adds_up_to_zero(dtype, rng):
    x = rng.standard_normal((6, 50)).astype(dtype)
    weight = weights(50, dtype, rng)
    for target in (rng.integers(50, size=6), probabilities(x.shape, dtype, rng)):
        _, grad = cross_entropy_and_grad(x, target, weight=weight, label_smoothing=0.1, reduction="sum")
        np.testing.assert_allclose(grad.sum(axis=-1), 0, atol=20 * np.finfo(dtype).eps)


# ---- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
@any_reduction
def test_every_combination_with_indices(axis, reduction, dtype, rng):
    x = (3 * rng.standard_normal((4, 5, 6))).astype(dtype)
    length = x.shape[axis]
    target = rng.integers(length, size=twin.without_axes(x.shape, axis))
    outside = target.copy()
    outside.flat[::3] = -100
    weight = weights(length, dtype, rng)
    for target_, ignored in ((target, None), (target, -100), (target, 2), (outside, -100)):
        for smoothing, weight_ in product((0.0, 0.1, 1.0), (None, weight)):
            options = {"ignore_index": ignored, "label_smoothing": smoothing, "weight": weight_}
            plain = ignored is None and weight_ is None and smoothing == 0 and reduction == "none"
            check(x, target_, axis, INDEX_ULPS if plain else LOSS_ULPS, reduction=reduction, **options)


@pytest.mark.parametrize("axis", [0, 1, -1])
@any_reduction
def test_every_combination_with_probabilities(axis, reduction, dtype, rng):
    x = (3 * rng.standard_normal((4, 5, 6))).astype(dtype)
    target = probabilities(x.shape, dtype, rng, axis)
    weight = weights(x.shape[axis], dtype, rng)
    for smoothing, weight_ in product((0.0, 0.1, 1.0), (None, weight)):
        check(x, target, axis, label_smoothing=smoothing, weight=weight_, reduction=reduction)


def test_known_values():
    """By hand: probabilities 1/2, 1/4, 1/4."""
    x = np.log([[2.0, 1, 1], [1, 1, 2]])
    log2 = np.log(2)
    target = [0, 1]
    np.testing.assert_allclose(cross_entropy(x, target, reduction="none"), [log2, 2 * log2])
    np.testing.assert_allclose(cross_entropy(x, target), 1.5 * log2)
    np.testing.assert_allclose(cross_entropy(x, target, reduction="sum"), 3 * log2)
    weight = [3.0, 1.0, 0.5]
    np.testing.assert_allclose(cross_entropy(x, target, weight=weight, reduction="none"), [3 * log2, 2 * log2])
    np.testing.assert_allclose(cross_entropy(x, target, weight=weight), 5 / 4 * log2)
    np.testing.assert_allclose(cross_entropy(x, target, ignore_index=0), 2 * log2)
    np.testing.assert_allclose(cross_entropy(x, target, label_smoothing=1, reduction="sum"), 10 / 3 * log2)
    np.testing.assert_allclose(cross_entropy(x, [[0.5, 0.5, 0], [0, 0, 1]], reduction="none"), [1.5 * log2, log2])
    # Of probabilities, the mean is over rows whatever the weights.
    np.testing.assert_allclose(cross_entropy(x, [[1.0, 0, 0], [0, 1, 0]], weight=weight), 5 / 2 * log2)
    loss, grad = cross_entropy_and_grad(x, target)
    np.testing.assert_allclose(loss, 1.5 * log2)
    np.testing.assert_allclose(grad, [[-0.25, 0.125, 0.125], [0.125, -0.375, 0.25]])


def test_label_smoothing_of_any_real_type(dtype, rng):
    x = rng.standard_normal((3, 4)).astype(dtype)
    for smoothing in (0, 1, True, np.float32(0.5), np.float64(0.5), np.array(0.5)):
        assert cross_entropy(x, [0, 1, 2], label_smoothing=smoothing) == cross_entropy(
            x, [0, 1, 2], label_smoothing=float(smoothing)
        )


def test_weights_of_either_sign(dtype, rng):
    x = rng.standard_normal((4, 9)).astype(dtype)
    weight = np.where(np.arange(9) % 2, -1, 1) * weights(9, dtype, rng)
    tolerance = 20 * np.finfo(dtype).eps
    for target, smoothing in product((np.array([3, 0, 5, 8]), probabilities(x.shape, dtype, rng)), (0.0, 0.2)):
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": "none"}
        exact = twin.cross_entropy(x, target, **options)
        loss, grad = cross_entropy_and_grad(x, target, **options)
        np.testing.assert_allclose(loss, exact.loss.astype(float), rtol=0, atol=10 * tolerance)
        np.testing.assert_allclose(grad, exact.grad.astype(float), rtol=0, atol=tolerance)


def test_nan_weight_reaches_the_rows_of_its_class_alone(dtype, rng):
    x = rng.standard_normal((3, 4)).astype(dtype)
    loss, grad = cross_entropy_and_grad(x, [0, 1, 3], weight=[1, nan, 1, 1], reduction="none")
    assert np.isnan(loss).tolist() == [False, True, False]
    assert np.isnan(grad[1, 1])
    assert not np.isnan(grad[[0, 2]]).any()


# ---- ignored rows ------------------------------------------------------------------------------------------------


def test_ignored_rows_are_exactly_zero_and_do_not_count(dtype, rng):
    """Whatever they hold: NaN too."""
    x = rng.standard_normal((5, 7)).astype(dtype)
    target = np.array([-1, 3, -1, 6, -1])
    x[0, 3], x[2, 3], x[4] = nan, inf, -inf
    kept = [1, 3]
    for weight, smoothing in product((None, weights(7, dtype, rng)), (0.0, 0.1)):
        options = {"weight": weight, "label_smoothing": smoothing}
        for reduction in REDUCTIONS:
            loss, grad = cross_entropy_and_grad(x, target, ignore_index=-1, reduction=reduction, **options)
            of_kept, grad_of_kept = cross_entropy_and_grad(x[kept], target[kept], reduction=reduction, **options)
            assert (grad[::2] == 0).all()
            assert bits(grad[kept]) == bits(grad_of_kept)
            assert bits(loss[kept] if reduction == "none" else loss) == bits(of_kept)
            assert reduction != "none" or (loss[::2] == 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_all_rows_ignored(weighted, dtype, rng):
    x = rng.standard_normal((3, 4)).astype(dtype)
    target = [2, 2, 2]
    options = {"ignore_index": 2, "weight": weights(4, dtype, rng) if weighted else None}
    for reduction, expected in (("none", [0, 0, 0]), ("sum", 0), ("mean", nan)):
        loss, grad = cross_entropy_and_grad(x, target, reduction=reduction, **options)
        np.testing.assert_array_equal(loss, expected)
        np.testing.assert_array_equal(grad, np.zeros((3, 4)))
        np.testing.assert_array_equal(cross_entropy(x, target, reduction=reduction, **options), expected)


@pytest.mark.parametrize("weight", [[1, 0, 1, 1], [0, 0, 0, 0], [2, 0, -2, 0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_mean_over_weights_that_add_up_to_zero_is_nan(smoothing, weight, dtype, rng):
    """And so is the gradient, except where a row is ignored."""
    for length in (4, 5000):
        x = rng.standard_normal((3, length)).astype(dtype)
        weights_ = np.resize(weight, length)
        for target in ([1, 1, 1], [0, 2, 1], [1, 3, -1]):
            if weights_[[index for index in target if index != -1]].sum():
                continue
            options = {"weight": weights_, "label_smoothing": smoothing, "ignore_index": -1}
            loss, grad = cross_entropy_and_grad(x, target, **options)
            assert np.isnan(loss)
            assert np.isnan(cross_entropy(x, target, **options))
            np.testing.assert_array_equal(grad, [[0.0 if index == -1 else nan] * length for index in target])


TORCH_WEIGHTS = {
    "none": None,
    "zeros": np.zeros(4),
    "zero at one class": np.array([1, 0, 1, 2.0]),
    "positive": np.array([1, 0.5, 3, 2.0]),
}
TORCH_TARGETS = {
    "one class": np.array([1, 1, 1]),
    "classes": np.array([0, 1, 3]),
    "some ignored": np.array([1, -100, 1]),
    "all ignored": np.array([-100, -100, -100]),
    "probabilities": np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]]),
    "one probability": np.array([[0, 1.0, 0, 0]] * 3),
}


@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"weight": [1, 0.1], "reduction": "sum"}])
def test_logarithm_beyond_the_range_is_infinite_whatever_its_weight(options, dtype):
    largest = np.finfo(dtype).max
    x = np.array([0.9 * largest, -0.9 * largest], dtype)
    target = 0 if "label_smoothing" in options else 1
    assert log_softmax(x)[1] == -np.inf
    assert cross_entropy(x, target, **options) == np.inf


@one_variant
@pytest.mark.parametrize("target", TORCH_TARGETS)
@pytest.mark.parametrize("weight", TORCH_WEIGHTS)
def test_loss_and_gradient_are_torchs(weight, target, dtype, rng):
    """NaN where torch has NaN, which is where the divisor of a mean is 0."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = rng.standard_normal((3, 4)).astype(dtype)
    weight, target = TORCH_WEIGHTS[weight], TORCH_TARGETS[target]
    options = {"weight": None if weight is None else weight.astype(dtype)}
    if target.dtype.kind == "f":
        target = target.astype(dtype)
    else:
        options["ignore_index"] = -100
    of_torch = {key: torch.tensor(a) if isinstance(a, np.ndarray) else a for key, a in options.items()}
    for reduction, smoothing in product(REDUCTIONS, (0.0, 0.1, 1.0)):
        more = {"reduction": reduction, "label_smoothing": smoothing}
        logits = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(target), **of_torch, **more)
        expected.sum().backward()
        loss, grad = cross_entropy_and_grad(x, target, **options, **more)
        bound = {"rtol": 20 * np.finfo(dtype).eps, "atol": 20 * np.finfo(dtype).eps}
        np.testing.assert_allclose(loss, expected.detach().numpy(), **bound, err_msg=str(more))
        np.testing.assert_allclose(grad, logits.grad.numpy(), **bound, err_msg=str(more))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", [(0, 5), (0, 1), (2, 0, 5)])
def test_no_rows(shape, soft, dtype):
    x = np.empty(shape, dtype)
    target = np.empty(shape if soft else shape[:-1], dtype if soft else np.int64)
    for reduction, expected in (("none", np.empty(shape[:-1])), ("sum", 0), ("mean", nan)):
        loss, grad = cross_entropy_and_grad(x, target, reduction=reduction)
        assert loss.dtype == grad.dtype == dtype
        assert grad.shape == shape
        np.testing.assert_array_equal(loss, expected, strict=False)
        assert loss.shape == np.shape(expected)
        np.testing.assert_array_equal(cross_entropy(x, target, reduction=reduction), expected)


@one_variant
@pytest.mark.parametrize("ignored", [-100, -(2**63), 2**63 - 1, 1, np.int8(-1), np.uint64(3)])
def test_any_integer_can_be_ignored(ignored, rng):
    x = rng.standard_normal((3, 4))
    target = np.array([0, int(ignored), 2])
    loss = cross_entropy(x, target, ignore_index=ignored, reduction="none")
    expected = cross_entropy(x[[0, 2]], [0, 2], reduction="none")
    assert loss.tolist() == [expected[0], 0, expected[1]]


def test_ignored_index_is_not_confused_with_one_that_wraps_around(rng):
    x = rng.standard_normal((2, 4))
    with pytest.raises(ValueError, match=rf"target\[1\] is {2**64 - 100}, expected 0 <= target < 4"):
        cross_entropy(x, np.array([0, 2**64 - 100], np.uint64), ignore_index=-100)
    with pytest.raises(ValueError, match=r"target\[1\] is -1, expected 0 <= target < 4"):
        cross_entropy(x, np.array([0, -1], np.int8), ignore_index=255)
    with pytest.raises(ValueError, match=r"target\[1\] is 255, expected 0 <= target < 4"):
        cross_entropy(x, np.array([0, 255], np.uint8), ignore_index=-1)
    # None of these occurs, so nothing is ignored.
    expected = cross_entropy(x, [0, 3])
    for ignored, kind in product([-1, -100, 259, 2**63 - 1, -(2**63), 10**30], INTEGERS):
        assert cross_entropy(x, np.array([0, 3], kind), ignore_index=ignored) == expected


@one_variant
@pytest.mark.parametrize("order", ["=", "S"], ids=["native", "swapped"])
@pytest.mark.parametrize("ignored", [2**64 - 1, 2**63, 2**63 - 1, 2])
def test_large_unsigned_indices_are_ignored_or_named(ignored, order, dtype, rng):
    """They are told from each other, and from the negative indices that have the same bits."""
    kind = np.dtype("u8").newbyteorder(order)
    for length in (4, 5000):
        x = rng.standard_normal((3, length)).astype(dtype)
        target = np.array([0, ignored, 3], kind)
        for reduction in REDUCTIONS:
            loss, grad = cross_entropy_and_grad(x, target, ignore_index=ignored, reduction=reduction)
            kept, kept_grad = cross_entropy_and_grad(x[::2], [0, 3], reduction=reduction)
            assert bits(loss[::2] if reduction == "none" else loss) == bits(kept)
            assert bits(grad[::2]) == bits(kept_grad)
            assert not grad[1].any()
        for bad in (2**64 - 1, 2**64 - 2, 2**63 + 1, 2**63, 2**63 - 1):
            for other in {None, -1, -(2**63), ignored, bad - 2**64, 2**64} - {bad}:
                with pytest.raises(ValueError, match=rf"^target\[2\] is {bad}, expected 0 <= target < {length}$"):
                    cross_entropy(x, np.array([0, 1, bad], kind), ignore_index=other)


@one_variant
def test_large_unsigned_weights(dtype, rng):
    """The mean does not depend on a factor of all weights."""
    x = rng.standard_normal((3, 4)).astype(dtype)
    weight = np.array([2**64 - 2**40, 2**63, 2**62, 2**61], np.uint64)
    assert cross_entropy(x, [0, 1, 3], weight=weight) == cross_entropy(x, [0, 1, 3], weight=weight.astype(np.float64))


# ---- special values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [nan, inf, "nothing but -inf"])
def test_a_bad_row_is_nan_alone(bad, dtype, rng):
    for length in FEW_LENGTHS:
        x = rng.standard_normal((3, length)).astype(dtype)
        for target, smoothing in product((rng.integers(length, size=3), probabilities(x.shape, dtype, rng)), (0, 0.1)):
            options = {"label_smoothing": smoothing, "reduction": "none"}
            for position in {0, length // 2, length - 1}:
                z = x.copy()
                if isinstance(bad, float):
                    z[1, position] = bad
                else:
                    z[1] = -inf
                loss, grad = cross_entropy_and_grad(z, target, **options)
                assert np.isnan(loss[1])
                assert np.isnan(grad[1]).all()
                expected, expected_grad = cross_entropy_and_grad(x[::2], target[::2], **options)
                assert bits(loss[::2]) == bits(expected)
                assert bits(grad[::2]) == bits(expected_grad)
                assert bits(cross_entropy(z, target, **options)) == bits(loss)
                for reduction in ("sum", "mean"):
                    assert np.isnan(cross_entropy(z, target, label_smoothing=smoothing, reduction=reduction))


def test_a_bad_row_is_nan_even_where_nothing_is_asked_of_it(dtype):
    x = np.array([[0, nan, 0], [0, inf, 0], [-inf, -inf, -inf], [0, 0, 0]], dtype)
    for target, weight in (([0, 0, 0, 0], [0, 1, 1]), (np.zeros((4, 3)), None)):
        loss, grad = cross_entropy_and_grad(x, target, weight=weight, reduction="none")
        np.testing.assert_array_equal(loss, [nan, nan, nan, 0])
        np.testing.assert_array_equal(grad, [[nan] * 3] * 3 + [[0] * 3])


def test_a_target_of_negative_infinity_loses_everything(dtype, rng):
    for length in FEW_LENGTHS[1:]:
        x = rng.standard_normal((3, length)).astype(dtype)
        x[1, length // 2] = -inf
        target = np.full(3, length // 2)
        check(x, target, loss_ulps=INDEX_ULPS, reduction="none")
        loss, grad = cross_entropy_and_grad(x, target, reduction="none")
        assert np.isinf(loss).tolist() == [False, True, False]
        assert grad[1, length // 2] == -1
        for reduction in ("sum", "mean"):
            assert cross_entropy(x, target, reduction=reduction) == inf


def test_negative_infinity_without_probability_costs_nothing(dtype, rng):
    for length in FEW_LENGTHS[1:]:
        x = rng.standard_normal((3, length)).astype(dtype)
        x[:, length // 2] = -inf
        without = np.delete(x, length // 2, axis=1)
        q = probabilities(without.shape, dtype, rng)
        weight = weights(length, dtype, rng)
        weight[length // 2] = 0
        index = np.zeros(3, int) if length > 3 else np.full(3, length - 1 if length // 2 == 0 else 0)
        for target, smoothing, weight_ in (
            (np.insert(q, length // 2, 0, axis=1), 0.0, None),
            (np.insert(q, length // 2, 0, axis=1), 0.2, weight),
            (np.insert(q, length // 2, 0.5, axis=1), 0.0, weight),
            (index, 0.0, None),
            (index, 0.2, weight),
            (np.full(3, length // 2), 0.0, weight),
            (np.full(3, length // 2), 0.2, weight),
        ):
            options = {"weight": weight_, "label_smoothing": smoothing, "reduction": "none"}
            assert np.isfinite(cross_entropy(x, target, **options)).all()
            check(x, target, **options)


def test_smoothing_over_negative_infinity_is_infinite(dtype):
    x = np.array([[0, -inf, 1], [0, 1, 1]], dtype)
    loss, grad = cross_entropy_and_grad(x, [0, 0], label_smoothing=0.3, reduction="none")
    assert np.isinf(loss).tolist() == [True, False]
    assert np.isfinite(grad).all()
    assert grad[0, 1] == pytest.approx(-0.1)


def test_loss_past_the_largest_number_is_infinite(dtype):
    info = np.finfo(dtype)
    loss, grad = cross_entropy_and_grad(np.array([[info.max, info.min]], dtype), [1])
    assert loss == inf
    assert grad.tolist() == [[1, -1]]
    loss, grad = cross_entropy_and_grad(np.array([[info.max, info.min]], dtype), [0])
    assert loss == 0
    assert (grad == 0).all()


# ---- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (1, 4, 1, 3)])
@pytest.mark.parametrize("soft", [False, True])
def test_shapes(shape, soft, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        rest = twin.without_axes(shape, axis)
        target = probabilities(shape, dtype, rng, axis) if soft else rng.integers(shape[axis], size=rest)
        moved = np.moveaxis(target, axis, -1) if soft else target
        for reduction in REDUCTIONS:
            loss, grad = cross_entropy_and_grad(x, target, axis, reduction=reduction)
            assert loss.shape == (rest if reduction == "none" else ())
            assert grad.shape == shape
            expected, expected_grad = cross_entropy_and_grad(np.moveaxis(x, axis, -1), moved, reduction=reduction)
            np.testing.assert_array_equal(loss, expected)
            np.testing.assert_array_equal(np.moveaxis(grad, axis, -1), expected_grad)


def test_lists_scalars_and_subclasses():
    expected, expected_grad = cross_entropy_and_grad(np.array([[1.0, 2.0]]), np.array([1]))
    for x, target in (([[1, 2]], [1]), (((1.0, 2.0),), (1,)), ([[1, 2]], [[0.0, 1.0]]), ([1, 2], 1)):
        loss, grad = cross_entropy_and_grad(x, target)
        assert loss == expected == cross_entropy(x, target)
        np.testing.assert_allclose(grad.ravel(), expected_grad.ravel(), rtol=1e-15)
        assert type(grad) is np.ndarray

    class Labelled(np.ndarray):
        pass

    loss, grad = cross_entropy_and_grad(np.array([1.0, 2.0]).view(Labelled), np.array(1).view(Labelled))
    assert type(loss) is np.float64
    assert type(grad) is np.ndarray


@one_variant
@pytest.mark.parametrize(
    "kind",
    [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4", ">f2", np.int8],
    ids=lambda kind: np.dtype(kind).str,
)
@pytest.mark.parametrize("soft", [False, True])
def test_one_loss_is_a_scalar_unless_it_is_given_an_array(kind, soft):
    """As NumPy's own reductions return it."""
    row = np.array([2, 0, 1], kind)
    scalar = np.dtype(kind).type if row.dtype.kind != "i" else np.float64
    q = np.array([0.0, 1.0, 0.0])
    for x, target, reductions in (
        (row, q if soft else 1, REDUCTIONS),
        (row[0, ...], q[1, ...] if soft else 0, REDUCTIONS),
        (row[None], q[None] if soft else [1], ("sum", "mean")),
        (np.empty((0, 3), kind), np.empty((0, 3)) if soft else np.empty(0, int), ("sum", "mean")),
    ):
        for reduction in reductions:
            loss = cross_entropy(x, target, reduction=reduction)
            assert type(loss) is type(cross_entropy_and_grad(x, target, reduction=reduction)[0]) is scalar
            out = np.zeros((), scalar)
            assert cross_entropy(x, target, reduction=reduction, out=out) is out
            assert bits(out) == bits(loss)
            grad = np.zeros(x.shape, scalar)
            assert type(cross_entropy_and_grad(x, target, reduction=reduction, out=grad)[0]) is scalar
    assert type(cross_entropy(row[None], q[None] if soft else [1], reduction="none")) is np.ndarray


def test_zero_dimensions(dtype):
    loss, grad = cross_entropy_and_grad(np.array(3, dtype), 0)
    assert loss.shape == grad.shape == ()
    assert loss == grad == 0


# ---- dtypes ------------------------------------------------------------------------------------------------------


@one_variant
@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("order", ["=", "S"], ids=["native", "swapped"])
def test_target_of_any_integer_type(kind, order, dtype, rng):
    x = rng.standard_normal((4, 3, 5)).astype(dtype)
    target = rng.integers(3, size=(4, 5))
    typed = target.astype(np.dtype(kind).newbyteorder(order))
    for reduction in REDUCTIONS:
        loss, grad = cross_entropy_and_grad(x, typed, 1, ignore_index=2, reduction=reduction)
        expected, expected_grad = cross_entropy_and_grad(x, target, 1, ignore_index=2, reduction=reduction)
        assert bits(loss) == bits(expected)
        assert bits(grad) == bits(expected_grad)


@one_variant
@pytest.mark.parametrize(
    "kind", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4", ">f8"], ids=lambda kind: np.dtype(kind).str
)
def test_probabilities_and_weight_of_any_floating_type(kind, dtype, rng):
    x = rng.standard_normal((4, 7)).astype(dtype)
    q = probabilities(x.shape, kind, rng)
    weight = weights(7, kind, rng)
    loss, grad = cross_entropy_and_grad(x, q, weight=weight)
    assert loss.dtype == grad.dtype == dtype
    expected, expected_grad = cross_entropy_and_grad(x, q.astype(dtype), weight=weight.astype(dtype))
    assert bits(loss) == bits(expected)
    assert bits(grad) == bits(expected_grad)


def test_weight_of_integers(dtype, rng):
    x = rng.standard_normal((4, 3)).astype(dtype)
    target = [0, 1, 2, 1]
    assert cross_entropy(x, target, weight=[1, 2, 0]) == cross_entropy(x, target, weight=[1.0, 2.0, 0.0])


@one_variant
@pytest.mark.parametrize("kind", ["?", *INTEGERS])
def test_integer_and_boolean_logits_become_float64(kind):
    x = np.array([[0, 1, 1], [1, 0, 1]], kind)
    for target in ([0, 2], np.array([[0.5, 0, 0.5], [0, 0, 1]], np.float32)):
        for reduction in REDUCTIONS:
            loss, grad = cross_entropy_and_grad(x, target, reduction=reduction)
            assert loss.dtype == grad.dtype == np.float64
            expected, expected_grad = cross_entropy_and_grad(x.astype(np.float64), target, reduction=reduction)
            assert bits(loss) == bits(expected)
            assert bits(grad) == bits(expected_grad)


# ---- layout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 50), (4, 3, 20), (1, 5000)])
@pytest.mark.parametrize("soft", [False, True])
def test_every_layout_of_logits_target_and_weight(shape, soft, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    for axis in range(len(shape)):
        rest = twin.without_axes(shape, axis)
        target = probabilities(shape, dtype, rng, axis) if soft else rng.integers(shape[axis], size=rest)
        weight = weights(shape[axis], dtype, rng)
        options = {"weight": weight, "label_smoothing": 0.1, "reduction": "none"}
        expected, expected_grad = cross_entropy_and_grad(x, target, axis, **options)
        plain = cross_entropy(x, target, axis, reduction="none")
        for name, view in layouts(x).items():
            loss, grad = cross_entropy_and_grad(view, target, axis, **options)
            np.testing.assert_array_equal(loss, expected, err_msg=name)
            np.testing.assert_array_equal(grad, expected_grad, err_msg=name)
            np.testing.assert_array_equal(cross_entropy(view, target, axis, reduction="none"), plain, err_msg=name)
        for name, view in layouts(target).items():
            loss, grad = cross_entropy_and_grad(x, view, axis, **options)
            np.testing.assert_array_equal(loss, expected, err_msg=name)
            np.testing.assert_array_equal(grad, expected_grad, err_msg=name)
        for name, view in layouts(weight).items():
            loss, grad = cross_entropy_and_grad(x, target, axis, **options | {"weight": view})
            np.testing.assert_array_equal(loss, expected, err_msg=name)
            np.testing.assert_array_equal(grad, expected_grad, err_msg=name)


def laid_out(array, rng):
    """A copy with its axes in some order, each with a step of either sign."""
    order = rng.permutation(array.ndim)
    steps = rng.choice([1, 1, 2, -1, -2], size=array.ndim)
    memory = np.zeros([array.shape[d] * abs(steps[d]) for d in order], array.dtype)
    view = memory.transpose(np.argsort(order))[tuple(slice(None, None, step) for step in steps)]
    view[...] = array
    return view


def test_any_layouts_together(dtype, rng):
    x = rng.standard_normal((3, 4, 2, 5)).astype(dtype)
    for axis in range(x.ndim):
        rest = twin.without_axes(x.shape, axis)
        index = rng.integers(x.shape[axis], size=rest)
        for target, options in (
            (index, {"ignore_index": 1, "label_smoothing": 0.1}),
            (probabilities(x.shape, dtype, rng, axis), {"weight": weights(x.shape[axis], dtype, rng)}),
        ):
            expected, expected_grad = cross_entropy_and_grad(x, target, axis, reduction="none", **options)
            for _ in range(6):
                views = laid_out(x, rng), laid_out(target, rng)
                out = laid_out(np.zeros_like(x), rng)
                loss, grad = cross_entropy_and_grad(*views, axis, reduction="none", out=out, **options)
                assert grad is out
                np.testing.assert_array_equal(loss, expected)
                np.testing.assert_array_equal(grad, expected_grad)
                losses = laid_out(np.zeros(rest, dtype), rng)
                assert cross_entropy(*views, axis, reduction="none", out=losses, **options) is losses
                np.testing.assert_array_equal(losses, expected)


def test_broadcast_inputs(dtype, rng):
    row = rng.standard_normal(30).astype(dtype)
    x = np.broadcast_to(row, (4, 5, 30))
    expected = cross_entropy(row, 7)
    np.testing.assert_array_equal(cross_entropy(x, np.broadcast_to(7, (4, 5)), reduction="none"), [[expected] * 5] * 4)
    q = probabilities((30,), dtype, rng)
    losses = cross_entropy(x, np.broadcast_to(q, x.shape), reduction="none")
    np.testing.assert_array_equal(losses, np.full((4, 5), cross_entropy(row, q)))


# ---- out ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_one_loss_into_out(reduction, dtype, rng):
    x = rng.standard_normal((4, 5)).astype(dtype)
    out = np.zeros((), dtype)
    assert cross_entropy(x, [0, 1, 2, 3], reduction=reduction, out=out) is out
    assert out == cross_entropy(x, [0, 1, 2, 3], reduction=reduction)


def test_gradient_over_the_target_or_the_weight(dtype, rng):
    x = rng.standard_normal((5, 5)).astype(dtype)
    q = probabilities(x.shape, dtype, rng)
    weight = weights(5, dtype, rng)
    expected, expected_grad = cross_entropy_and_grad(x, q, weight=weight)
    over = q.copy()
    loss, grad = cross_entropy_and_grad(x, over, weight=weight, out=over)
    assert loss == expected
    np.testing.assert_array_equal(grad, expected_grad)

    memory = np.tile(weight, (5, 1))
    loss, grad = cross_entropy_and_grad(x, q, weight=memory[1], out=memory)
    assert loss == expected
    np.testing.assert_array_equal(grad, expected_grad)

    target = rng.integers(5, size=5)
    expected, expected_grad = cross_entropy_and_grad(x, target)
    memory = np.zeros(200, np.uint8)
    over = memory[: 5 * 8].view(np.int64)
    over[...] = target
    loss, grad = cross_entropy_and_grad(x, over, out=memory[: x.nbytes].view(dtype).reshape(5, 5))
    assert loss == expected
    np.testing.assert_array_equal(grad, expected_grad)


def test_losses_over_an_input(dtype, rng):
    x = rng.standard_normal((5, 5)).astype(dtype)
    q = probabilities(x.shape, dtype, rng)
    weight = weights(5, dtype, rng)
    expected = cross_entropy(x, q, weight=weight, reduction="none")
    for place in range(5):
        for over in (lambda a, place=place: a[place], lambda a, place=place: a[:, place]):
            y, r = x.copy(), q.copy()
            np.testing.assert_array_equal(cross_entropy(y, q, weight=weight, reduction="none", out=over(y)), expected)
            np.testing.assert_array_equal(cross_entropy(x, r, weight=weight, reduction="none", out=over(r)), expected)
    np.testing.assert_array_equal(cross_entropy(x, q, weight=weight, reduction="none", out=weight), expected)


# ---- memory ------------------------------------------------------------------------------------------------------


def peak_of(call):
    """The most bytes that were allocated at one time during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@one_variant
def test_memory_of_the_losses_alone(rng):
    """No array of the size of the input."""
    x = rng.standard_normal((2000, 2000), np.float32)
    index = rng.integers(2000, size=2000)
    weight = weights(2000, np.float32, rng)
    for axis, reduction in ((0, "none"), (1, "none"), (1, "mean")):
        assert peak_of(lambda: cross_entropy(x, index, axis, reduction=reduction)) < 2**20  # noqa: B023
    assert peak_of(lambda: cross_entropy(x, index, weight=weight, label_smoothing=0.1, ignore_index=3)) < 2**20
    assert peak_of(lambda: cross_entropy(x, np.abs(x), weight=weight, label_smoothing=0.1)) < x.nbytes + 2**20


@one_variant
def test_memory_of_a_gradient_in_place(rng):
    x = rng.standard_normal((1000, 1000), np.float32)
    index = rng.integers(1000, size=1000)
    assert peak_of(lambda: cross_entropy_and_grad(x, index, label_smoothing=0.1, out=x)) < 2**20


# ---- beside each other, and longer than a block ------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 10, 100, 600, 2000])
def test_rows_of_all_kinds_side_by_side(length, dtype, rng):
    """Ignored ones, ones without a softmax and ones with a class that dominates: each as if it were by itself."""
    x = rng.standard_normal((40, length)).astype(dtype)
    target = rng.integers(length, size=40)
    x[::3, length // 2] = 30
    x[1::7, 0] = np.inf
    x[2::11] = -np.inf
    x[3::13, 1] = np.nan
    target[::4] = -100
    options = {"reduction": "none", "ignore_index": -100}
    expected = [cross_entropy_and_grad(x[i : i + 1], target[i : i + 1], **options) for i in range(len(x))]
    for in_place in (False, True):
        logits = x.copy()
        loss, grad = cross_entropy_and_grad(logits, target, out=logits if in_place else None, **options)
        assert loss.tobytes() == b"".join(row[0].tobytes() for row in expected)
        assert grad.tobytes() == b"".join(row[1].tobytes() for row in expected)


@pytest.mark.parametrize("above", [0, 30])
@pytest.mark.parametrize("length", [4097, 9000, 40_000])
def test_a_gradient_of_several_blocks_is_the_same_in_place_and_strided(length, above, dtype, rng):
    """Where it lies apart from the logits it holds their exponentials first."""
    x = rng.standard_normal((3, length)).astype(dtype)
    x[:, length // 2] += above
    target = np.array([0, length // 2, length - 1])
    loss, grad = cross_entropy_and_grad(x, target)
    strided = np.empty((3, 2 * length), dtype)[:, ::2]
    for logits, out in ((x, strided), (same := x.copy(), same), (np.repeat(x, 2, 1)[:, ::2], None)):
        again, result = cross_entropy_and_grad(logits, target, out=out)
        assert np.asarray(again).tobytes() == np.asarray(loss).tobytes()
        assert result.tobytes() == grad.tobytes()
