"""A result without axes is a NumPy scalar, as from NumPy's own functions; an `out` without axes is returned itself."""

import ml_dtypes
import numpy as np
import pytest

import softmax_cy

DTYPES = [np.dtype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)

ELEMENTWISE = {
    "softmax": 1,
    "log_softmax": 0,
    "softmax_vjp": 0,
    "softmax_jvp": 0,
    "log_softmax_vjp": 0,
    "log_softmax_jvp": 0,
}
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)


def inputs(name, dtype, shape=()):
    """A vector and outputs, or logits."""
    if name in ("softmax", "log_softmax"):
        return [np.full(shape, 3, dtype)]
    return [np.full(shape, 3, dtype), np.full(shape, 0 if name.startswith("log_") else 1, dtype)]


@every_dtype
def test_logsumexp_of_a_vector(dtype):
    x = np.array([1, 2, 3], dtype)
    for arguments in ({}, {"axis": None}, {"axis": 0}, {"axis": (0,)}, {"where": True}):
        y = softmax_cy.logsumexp(x, **arguments)
        assert type(y) is dtype.type
        assert y == softmax_cy.logsumexp(x[None], -1)[0]
    assert type(softmax_cy.logsumexp(x, dtype=np.float32)) is np.float32
    assert type(softmax_cy.logsumexp(x[:0])) is dtype.type
    assert softmax_cy.logsumexp(x[:0]) == -np.inf
    assert type(softmax_cy.logsumexp(np.ones((2, 3), dtype), axis=(1, 0))) is dtype.type


@every_dtype
def test_logsumexp_with_axes_left_is_an_array(dtype):
    for x, arguments in [
        (np.ones(3, dtype), {"keepdims": True}),
        (np.ones(3, dtype), {"axis": ()}),
        (np.ones((1, 3), dtype), {}),
    ]:
        assert type(softmax_cy.logsumexp(x, **arguments)) is np.ndarray


@every_dtype
def test_a_number_can_be_kept_while_another_changes(dtype):
    loss = softmax_cy.logsumexp(np.array([1, 2], dtype))
    best = loss
    loss += 1
    assert best == softmax_cy.logsumexp(np.array([1, 2], dtype)) != loss
    assert {best: "best"}[best] == "best"


@every_dtype
@elementwise
def test_of_zero_dimensions(name, dtype):
    function = getattr(softmax_cy, name)
    y = function(*inputs(name, dtype))
    assert type(y) is dtype.type
    assert y == ELEMENTWISE[name]
    assert type(function(*inputs(name, dtype, (1,)))) is np.ndarray
    out = np.full((), -7, dtype)
    assert function(*inputs(name, dtype), out=out) is out
    assert out == ELEMENTWISE[name]


@pytest.mark.parametrize("x", [3, 3.0, True, np.float64(3), np.int8(3)], ids=repr)
def test_of_numbers(x):
    assert type(softmax_cy.softmax(x)) is type(softmax_cy.logsumexp(x)) is np.float64


@every_dtype
def test_y_of_softmax_and_jacobian(dtype):
    x = np.array(3, dtype)
    y, jacobian = softmax_cy.softmax_and_jacobian(x)
    assert type(y) is dtype.type
    assert type(jacobian) is np.ndarray
    out = np.zeros((), dtype)
    y, jacobian = softmax_cy.softmax_and_jacobian(x, out=(out, None))
    assert y is out
    assert type(jacobian) is np.ndarray
    assert type(softmax_cy.softmax_and_jacobian(x, out=(None, np.zeros((1, 1), dtype)))[0]) is dtype.type


@every_dtype
def test_a_jacobian_always_has_two_axes(dtype):
    assert type(softmax_cy.softmax_jacobian(np.array(1, dtype))) is np.ndarray
    assert type(softmax_cy.log_softmax_jacobian(np.array(0, dtype))) is np.ndarray
