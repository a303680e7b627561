"""Values beside arithmetic with 60 digits, derivatives beside the Jacobian, and the corner cases."""

import decimal

import numpy as np
import pytest

import softmax_cy

pytestmark = pytest.mark.usefixtures("variant")
NAN, INF = np.nan, np.inf


@pytest.fixture(params=[1, 2, 15, 16, 17, 100, 257])
def logits(request, dtype):
    """One slice."""
    return np.random.default_rng(request.param).normal(scale=5, size=request.param).astype(dtype)


@pytest.fixture(autouse=True)
def digits():
    """Compute with 60 decimal digits."""
    with decimal.localcontext() as context:
        context.prec = 60
        yield


def exactly(array):
    """The elements as they are."""
    return [decimal.Decimal(float(element)) for element in np.ravel(array)]


def ulps(found, expected):
    """The largest distance, in units in the last place of the results."""
    spacings = exactly(np.spacing(np.abs(found)))
    return float(max(abs(a - b) / c for a, b, c in zip(exactly(found), expected, spacings, strict=True)))


def test_values(logits):
    """Within the bounds of the documentation: 2 units in the last place."""
    exponentials = [element.exp() for element in exactly(logits)]
    total = sum(exponentials)
    log_y = [element - total.ln() for element in exactly(logits)]
    assert ulps(softmax_cy.softmax(logits), [element / total for element in exponentials]) <= 2
    assert ulps(softmax_cy.log_softmax(logits), log_y) <= 2
    assert ulps(softmax_cy.logsumexp(logits), [total.ln()]) <= 2
    assert ulps(softmax_cy.cross_entropy(logits, logits.size - 1), [-log_y[-1]]) <= 2


def test_the_loss_and_its_gradient(logits):
    """The gradient is softmax without the target's 1."""
    target = logits.size // 2
    loss, grad = softmax_cy.cross_entropy_and_grad(logits, target)
    assert loss == -softmax_cy.log_softmax(logits)[target]
    expected = softmax_cy.softmax(logits)
    expected[target] -= 1
    np.testing.assert_allclose(grad, expected, rtol=0, atol=2 * np.finfo(logits.dtype).eps)


def test_products_are_those_with_the_jacobian(logits):
    """Of softmax and of its logarithm, from either side."""
    v = np.random.default_rng(0).normal(size=logits.size).astype(logits.dtype)
    terms = np.abs(v).max() + softmax_cy.softmax(logits).max() * np.abs(v).sum()
    tolerance = 8 * np.finfo(logits.dtype).eps * terms
    for name in ("softmax", "log_softmax"):
        y = getattr(softmax_cy, name)(logits)
        jacobian = getattr(softmax_cy, f"{name}_jacobian")(y)
        vjp = getattr(softmax_cy, f"{name}_vjp")(v, y)
        jvp = getattr(softmax_cy, f"{name}_jvp")(v, y)
        np.testing.assert_allclose(vjp, v @ jacobian.astype(np.float64), rtol=0, atol=tolerance)
        np.testing.assert_allclose(jvp, jacobian.astype(np.float64) @ v, rtol=0, atol=tolerance)


def test_both_from_the_logits(logits):
    """Each off-diagonal element is a product of two results."""
    y, jacobian = softmax_cy.softmax_and_jacobian(logits)
    assert (y == softmax_cy.softmax(logits)).all()
    off = ~np.eye(y.size, dtype=bool)
    assert (jacobian[off] == -np.outer(y, y)[off]).all()
    assert (jacobian == jacobian.T).all()


CASES = {
    "equal": ([0.0, 0.0], [0.5, 0.5], np.log(2)),
    "far apart": ([1e4, 0.0, -1e4], [1.0, 0.0, 0.0], 1e4),
    "equal and huge": ([1e30, 1e30], [0.5, 0.5], 1e30),
    "-inf": ([-INF, 1.0, 1.0], [0.0, 0.5, 0.5], 1 + np.log(2)),
    "nothing but -inf": ([-INF, -INF], [NAN, NAN], -INF),
    "+inf": ([INF, 0.0], [NAN, NAN], INF),
    "NaN": ([NAN, 0.0], [NAN, NAN], NAN),
    "one element": ([3.0], [1.0], 3.0),
    "no element": ([], [], -INF),
}


@pytest.mark.parametrize("case", CASES)
def test_corner_cases(case, dtype):
    """Every one has a defined result."""
    x, y, logsumexp = (np.array(value, dtype) for value in CASES[case])
    np.testing.assert_array_equal(softmax_cy.softmax(x), y)
    np.testing.assert_allclose(softmax_cy.logsumexp(x), logsumexp, rtol=2 * np.finfo(dtype).eps)


def test_options(dtype):
    """A scale, a mask, several axes, and 16-bit floats."""
    x = np.random.default_rng(4).normal(size=(3, 4, 5)).astype(dtype)
    keep = x < 1
    np.testing.assert_allclose(softmax_cy.softmax(x, scale=0.5), softmax_cy.softmax(x / 2), rtol=1e-6)
    masked = softmax_cy.softmax(x, where=keep)
    assert (masked == softmax_cy.softmax(np.where(keep, x, -INF))).all()
    assert (softmax_cy.softmax(x, axis=(1, 2)).reshape(3, 20) == softmax_cy.softmax(x.reshape(3, 20))).all()
    half = softmax_cy.softmax(x.astype(np.float16))
    assert half.dtype == np.float16
    assert (half == softmax_cy.softmax(x.astype(np.float16), dtype=np.float32).astype(np.float16)).all()
