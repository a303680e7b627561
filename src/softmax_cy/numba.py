"""The C interface for functions that numba compiles: callable under ``@njit``, with the GIL or without, on arrays.

Each function of `softmax_cy.ctypes_functions` is here under its name (``softmax_f32``, ``cross_entropy_and_grad_f64``,
...), with the arrays of its typed-memoryview form as arguments: two axes, rows first, one for what is a number a row,
three for a Jacobian. They return a status, `softmax_cy.capi.Status`; anything but 0: nothing was written. A read-only
array to write to is an error of the compiler, ``numba.errors.TypingError``; arrays that are constants of a compiled
function are read-only, too.

>>> import numpy as np
>>> from numba import njit
>>> from softmax_cy.numba import softmax_f64
>>> @njit(nogil=True)
... def halves(x):
...     return softmax_f64(x, x, 1.0)
>>> x = np.zeros((1, 2))
>>> halves(x)
0
>>> x
array([[0.5, 0.5]])
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import overload

from softmax_cy._embedding import ctypes_functions
from softmax_cy.capi import Status

__all__ = sorted(ctypes_functions)

BAD_STRIDE = int(Status.BAD_STRIDE)
SHAPE_MISMATCH = int(Status.SHAPE_MISMATCH)


@njit(inline="always")
def step(array: Any, axis: int) -> Any:
    """The stride of an axis in elements."""
    return array.strides[axis] // array.itemsize


@njit(inline="always")
def has_steps(array: Any) -> Any:
    """Whether all strides are whole elements."""
    whole = True
    for stride in array.strides:
        whole &= stride % array.itemsize == 0
    return whole


def must_be_writable(output: Any) -> None:
    """Refuse to compile what would write where numba itself would not: a pointer does not know."""


@overload(must_be_writable)
def compiled_must_be_writable(output: Any) -> Any:
    """What the compiler makes of it. Its message shows the line, with the name of the argument."""
    if isinstance(output, types.Array) and not output.mutable:
        raise TypingError(f"an output is read-only, expected an array to write to: {output}")

    def nothing(output: Any) -> Any:
        pass

    return nothing


def elementwise(function: Any) -> Any:
    """Softmax and log_softmax."""

    @njit(nogil=True)
    def call(x: Any, out: Any, scale: float) -> int:
        must_be_writable(out)
        if x.shape != out.shape:
            return SHAPE_MISMATCH
        if not (has_steps(x) and has_steps(out)):
            return BAD_STRIDE
        rows, length = x.shape
        return function(rows, length, x.ctypes, step(x, 0), step(x, 1), out.ctypes, step(out, 0), step(out, 1), scale)

    return call


def reduction(function: Any) -> Any:
    """Logsumexp."""

    @njit(nogil=True)
    def call(x: Any, out: Any, scale: float) -> int:
        must_be_writable(out)
        rows, length = x.shape
        if out.shape != (rows,):
            return SHAPE_MISMATCH
        if not (has_steps(x) and has_steps(out)):
            return BAD_STRIDE
        return function(rows, length, x.ctypes, step(x, 0), step(x, 1), out.ctypes, step(out, 0), scale)

    return call


def product(function: Any) -> Any:
    """A product with a Jacobian."""

    @njit(nogil=True)
    def call(v: Any, y: Any, out: Any, scale: float) -> int:
        must_be_writable(out)
        if v.shape != out.shape or y.shape != out.shape:
            return SHAPE_MISMATCH
        if not (has_steps(v) and has_steps(y) and has_steps(out)):
            return BAD_STRIDE
        rows, length = v.shape
        return function(
            rows,
            length,
            v.ctypes,
            step(v, 0),
            step(v, 1),
            y.ctypes,
            step(y, 0),
            step(y, 1),
            out.ctypes,
            step(out, 0),
            step(out, 1),
            scale,
        )

    return call


def jacobian(function: Any) -> Any:
    """A Jacobian a row."""

    @njit(nogil=True)
    def call(y: Any, out: Any, scale: float) -> int:
        must_be_writable(out)
        rows, length = y.shape
        if out.shape != (rows, length, length):
            return SHAPE_MISMATCH
        if not (has_steps(y) and has_steps(out)):
            return BAD_STRIDE
        return function(
            rows,
            length,
            y.ctypes,
            step(y, 0),
            step(y, 1),
            out.ctypes,
            step(out, 0),
            step(out, 1),
            step(out, 2),
            scale,
        )

    return call


def loss(function: Any) -> Any:
    """Cross-entropy and its gradient."""

    @njit(nogil=True)
    def call(x: Any, target: Any, losses: Any, grad: Any, grad_scale: float) -> int:
        must_be_writable(losses)
        must_be_writable(grad)
        rows, length = x.shape
        if target.shape != (rows,) or losses.shape != (rows,) or grad.shape != x.shape:
            return SHAPE_MISMATCH
        if not (has_steps(x) and has_steps(target) and has_steps(losses) and has_steps(grad)):
            return BAD_STRIDE
        return function(
            rows,
            length,
            x.ctypes,
            step(x, 0),
            step(x, 1),
            target.ctypes,
            step(target, 0),
            losses.ctypes,
            step(losses, 0),
            grad.ctypes,
            step(grad, 0),
            step(grad, 1),
            grad_scale,
        )

    return call


def caller(name: str) -> Any:
    """What numba can call in place of the function of this name."""
    function = ctypes_functions[name].as_ctypes()
    operation = name.rpartition("_")[0]
    if operation in ("softmax", "log_softmax"):
        return elementwise(function)
    if operation == "logsumexp":
        return reduction(function)
    if operation == "cross_entropy_and_grad":
        return loss(function)
    return jacobian(function) if operation.endswith("jacobian") else product(function)


globals().update({name: caller(name) for name in __all__})
