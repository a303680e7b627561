"""Softmax and its family in two or three lines of NumPy each, as one writes them who minds the temporaries."""

from __future__ import annotations

import math

import numpy as np


def softmax(x: np.ndarray, axis: int, out: np.ndarray | None) -> np.ndarray:
    """Three passes."""
    y = np.subtract(x, x.max(axis, keepdims=True), out=out)
    np.exp(y, out=y)
    y /= y.sum(axis, keepdims=True)
    return y


def log_softmax(x: np.ndarray, axis: int, out: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The maximum off, then the logarithm of the sum."""
    np.subtract(x, x.max(axis, keepdims=True), out=out)
    out -= np.log(np.exp(out, out=scratch).sum(axis, keepdims=True))
    return out


def logsumexp(x: np.ndarray, axis: int, out: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The maximum off, and back on."""
    largest = x.max(axis, keepdims=True)
    np.exp(np.subtract(x, largest, out=scratch), out=scratch)
    np.log(scratch.sum(axis), out=out)
    out += largest.squeeze(axis)
    return out


def softmax_vjp(v: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Out = y (v - sum(y v))."""
    np.subtract(v, np.vecdot(y, v)[..., None], out=out)
    out *= y
    return out


def log_softmax_vjp(grad: np.ndarray, log_y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Out = grad - y sum(grad)."""
    np.exp(log_y, out=out)
    out *= grad.sum(-1, keepdims=True)
    return np.subtract(grad, out, out=out)


def log_softmax_jvp(tangent: np.ndarray, log_y: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """Out = tangent - sum(y tangent)."""
    np.exp(log_y, out=scratch)
    return np.subtract(tangent, np.vecdot(scratch, tangent)[..., None], out=out)


def softmax_jacobian(y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The outer product, then its diagonal."""
    np.multiply(y[..., :, None], -y[..., None, :], out=out)
    np.einsum("...ii->...i", out)[...] += y
    return out


def softmax_and_jacobian(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One after the other."""
    return softmax(x, -1, y), softmax_jacobian(y, out)


def log_softmax_jacobian(log_y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The rows are alike but for the diagonal."""
    np.copyto(out, -np.exp(log_y)[..., None, :])
    np.einsum("...ii->...i", out)[...] += 1
    return out


def cross_entropy(x: np.ndarray, target: np.ndarray, scratch: np.ndarray) -> object:
    """The maximum off, the logarithm of the sum, and what the targets have of it."""
    largest = x.max(-1, keepdims=True)
    np.exp(np.subtract(x, largest, out=scratch), out=scratch)
    at_target = np.take_along_axis(x, target[..., None], -1)
    return (np.log(scratch.sum(-1, keepdims=True)) + largest - at_target).mean()


def cross_entropy_and_grad(x: np.ndarray, target: np.ndarray, out: np.ndarray) -> tuple[object, np.ndarray]:
    """Softmax, the logarithm of what the targets got, and one off there."""
    rows = np.arange(len(x))
    y = softmax(x, -1, out)
    loss = -np.log(y[rows, target]).mean()
    y[rows, target] -= 1
    y /= len(x)
    return loss, y


def softmax_by_loops(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The definition, number by number."""
    for row, result in zip(x, out, strict=True):
        total = 0.0
        for value in row:
            total += math.exp(value)
        for i, value in enumerate(row):
            result[i] = math.exp(value) / total
    return out


def softmax_jacobian_by_loops(y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The definition, number by number."""
    for row, result in zip(y, out, strict=True):
        for i, y_i in enumerate(row):
            for j, y_j in enumerate(row):
                result[i, j] = y_i * (1 - y_i) if i == j else -y_i * y_j
    return out
