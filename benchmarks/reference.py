"""Compute the right results, by the definitions and in float64, and how far from them a result may be.

No measure of accuracy, the tests are that: it only keeps wrong answers from winning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.cases import Case

TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Divide exp(x) by its sum."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Subtract from x its logsumexp."""
    return x - np.expand_dims(logsumexp(x, axis), axis)


def logsumexp(x: np.ndarray, axis: int) -> np.ndarray:
    """Compute log(sum(exp(x)))."""
    largest = x.max(axis, keepdims=True)
    return np.log(np.exp(x - largest).sum(axis)) + largest.squeeze(axis)


def softmax_vjp(v: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Multiply a vector by the Jacobian, which is symmetric: this is the jvp too."""
    return y * (v - (y * v).sum(axis, keepdims=True))


def log_softmax_vjp(grad: np.ndarray, log_y: np.ndarray, axis: int) -> np.ndarray:
    """Multiply a vector by the transpose of J[i, j] = (i == j) - y_j."""
    return grad - np.exp(log_y) * grad.sum(axis, keepdims=True)


def log_softmax_jvp(tangent: np.ndarray, log_y: np.ndarray, axis: int) -> np.ndarray:
    """Multiply J[i, j] = (i == j) - y_j by a vector."""
    return tangent - (np.exp(log_y) * tangent).sum(axis, keepdims=True)


def softmax_jacobian(y: np.ndarray, axis: int) -> np.ndarray:
    """Compute J[i, j] = (i == j) y_i - y_i y_j along the last axis."""
    assert axis == -1
    return y[..., :, None] * (np.eye(y.shape[-1]) - y[..., None, :])


def cross_entropy_and_grad(x: np.ndarray, target: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean over the rows of -log(y[target]), and its gradient."""
    assert axis == -1
    target = target.astype(np.intp)[..., None]
    log_y = log_softmax(x, axis)
    loss = -np.take_along_axis(log_y, target, axis).mean()
    grad = np.exp(log_y)
    np.put_along_axis(grad, target, np.take_along_axis(grad, target, axis) - 1, axis)
    return loss, grad / target.size


OPERATIONS: dict[str, Callable[..., object]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "softmax_vjp": softmax_vjp,
    "softmax_jvp": softmax_vjp,
    "log_softmax_vjp": log_softmax_vjp,
    "log_softmax_jvp": log_softmax_jvp,
    "softmax_jacobian": softmax_jacobian,
    "cross_entropy_and_grad": cross_entropy_and_grad,
}


def expected(case: Case, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Compute the results in float64, as a tuple even if there is only one."""
    result = OPERATIONS[case.operation](*(array.astype(np.float64) for array in inputs), case.axis)
    return result if isinstance(result, tuple) else (result,)


def fault(case: Case, actual: tuple[np.ndarray, ...], right: tuple[np.ndarray, ...]) -> str:
    """Say what is wrong with a result; an empty string means that it is right."""
    for got, want in zip(actual, right, strict=True):
        if np.shape(got) != np.shape(want):
            return f"the shape is {np.shape(got)}, not {np.shape(want)}"
        error = largest_error(np.asarray(got).astype(np.float64), want)
        if not error <= TOLERANCES[case.dtype]:  # NaN is wrong too
            return f"off by {error:.1g}, where {TOLERANCES[case.dtype]:.0e} is allowed"
    return ""


def largest_error(got: np.ndarray, want: np.ndarray) -> float:
    """Return errors in proportion to the right number, or to a typical one where that is close to 0."""
    size = np.abs(want)
    return float((np.abs(got - want) / (size + size.mean())).max())
