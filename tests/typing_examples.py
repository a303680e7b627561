# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Calls and the types that type checkers must see in them: tests/test_typing.py has mypy and pyright read this file.

It is run as well, so what is written here works. What must be refused is in `refused`, which nobody calls.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import softmax_cy
from softmax_cy import (
    SoftmaxState,
    cross_entropy,
    cross_entropy_and_grad,
    log_softmax,
    log_softmax_jacobian,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp,
    merge_states,
    plain,
    softmax,
    softmax_and_jacobian,
    softmax_jacobian,
    softmax_jvp,
    softmax_state,
    softmax_vjp,
)

half: NDArray[np.float16] = np.ones((2, 3), np.float16)
single: NDArray[np.float32] = np.ones((2, 3), np.float32)
double: NDArray[np.float64] = np.ones((2, 3), np.float64)
integers: NDArray[np.int8] = np.ones((2, 3), np.int8)
booleans: NDArray[np.bool] = np.ones((2, 3), np.bool)


class Labelled(np.ndarray[tuple[int, ...], np.dtype[np.float32]]):
    """A subclass, which `out` may be of."""


labelled = single.copy().view(Labelled)

# ---- dtypes ------------------------------------------------------------------------------------------------------

assert_type(softmax(half), NDArray[np.float16])
assert_type(softmax(single), NDArray[np.float32])
assert_type(softmax(double), NDArray[np.float64])
assert_type(softmax(integers), NDArray[np.float64])
assert_type(softmax(booleans), NDArray[np.float64])
assert_type(softmax([1.0, 2.0]), NDArray[np.float64])
assert_type(softmax([[1, 2], [3, 4]]), NDArray[np.float64])
assert_type(log_softmax(single), NDArray[np.float32])
assert_type(log_softmax(integers), NDArray[np.float64])
assert_type(log_softmax(((1.0, 2.0), (3.0, 4.0))), NDArray[np.float64])

assert_type(softmax(double, dtype=np.float32), NDArray[np.float32])
assert_type(softmax([1, 2], dtype=np.dtype(np.float16)), NDArray[np.float16])
assert_type(softmax(single, dtype="float64"), NDArray[Any])
assert_type(log_softmax(integers, dtype=np.float32), NDArray[np.float32])

# ---- numbers -----------------------------------------------------------------------------------------------------

assert_type(softmax(np.float32(1)), np.float32)
assert_type(softmax(np.float64(1)), np.float64)
assert_type(softmax(1.0), np.float64)
assert_type(softmax(1), np.float64)
assert_type(softmax(np.int8(1)), np.float64)
assert_type(log_softmax(np.float16(1)), np.float16)
assert_type(softmax(1.0, dtype=np.float32), np.float32)
assert_type(softmax_vjp(np.float32(1), np.float32(1)), np.float32)
assert_type(softmax_jvp(1.0, 1.0), np.float64)

# ---- logsumexp ---------------------------------------------------------------------------------------------------

assert_type(logsumexp(single), NDArray[np.float32] | np.float32)
assert_type(logsumexp(single, 0), NDArray[np.float32] | np.float32)
assert_type(logsumexp(integers, (0, 1)), NDArray[np.float64] | np.float64)
assert_type(logsumexp([1.0, 2.0]), NDArray[np.float64] | np.float64)
assert_type(logsumexp(single, None), np.float32)
assert_type(logsumexp([1.0, 2.0], axis=None), np.float64)
assert_type(logsumexp(single, keepdims=True), NDArray[np.float32])
assert_type(logsumexp(integers, None, keepdims=True), NDArray[np.float64])
assert_type(logsumexp(half, keepdims=np.bool(True)), NDArray[np.float16] | np.float16)
assert_type(logsumexp(np.float32(1)), np.float32)
assert_type(logsumexp(1), np.float64)
assert_type(logsumexp(double, dtype=np.float32), NDArray[np.float32] | np.float32)
assert_type(logsumexp(double, out=np.empty(2)), np.ndarray[tuple[int], np.dtype[np.float64]])

# ---- options -----------------------------------------------------------------------------------------------------

for axis in (0, -1, None, (), (0, 1), np.int64(1), np.uint8(0), (np.int8(0), 1)):
    assert_type(softmax(single, axis), NDArray[np.float32])
for scale in (2, 0.5, True, np.float32(0.5), np.float64(0.5), np.int32(2), Fraction(1, 3), Decimal("0.5")):
    assert_type(softmax(single, scale=scale), NDArray[np.float32])
for where in (True, booleans, [True, False, True], np.bool(True), None):
    assert_type(softmax(single, where=where), NDArray[np.float32])
for num_threads in (1, np.int64(2), None):
    assert_type(softmax(single, num_threads=num_threads), NDArray[np.float32])
softmax_cy.set_num_threads(np.int64(2))
softmax_cy.set_num_threads(None)
assert_type(softmax_cy.get_num_threads(), int)

# ---- out ---------------------------------------------------------------------------------------------------------

assert_type(softmax(single, out=labelled), Labelled)
assert_type(softmax(single, out=single), NDArray[np.float32])
assert_type(log_softmax([[1, 2, 3], [4, 5, 6]], dtype=np.float32, out=labelled), Labelled)
assert_type(softmax_vjp(single, single, out=labelled), Labelled)
assert_type(
    softmax_jacobian(single, out=np.empty((2, 3, 3), np.float32)),
    np.ndarray[tuple[int, int, int], np.dtype[np.float32]],
)

# ---- products and Jacobians --------------------------------------------------------------------------------------

assert_type(softmax_vjp(single, single, np.int64(0), scale=np.float32(2)), NDArray[np.float32])
assert_type(softmax_jvp(double, double, (0, 1)), NDArray[np.float64])
assert_type(log_softmax_vjp(half, half, None), NDArray[np.float16])
assert_type(log_softmax_jvp(integers, [[1, 0, 0], [0, 1, 0]]), NDArray[np.float64])
assert_type(softmax_vjp(single, double), NDArray[Any])
assert_type(softmax_jacobian(single, np.int64(0)), NDArray[np.float32])
assert_type(softmax_jacobian([0.5, 0.5]), NDArray[np.float64])
assert_type(log_softmax_jacobian(np.float32(0)), NDArray[np.float32])
assert_type(softmax_and_jacobian(single), tuple[NDArray[np.float32], NDArray[np.float32]])
assert_type(softmax_and_jacobian([1, 2], np.int8(0)), tuple[NDArray[np.float64], NDArray[np.float64]])
assert_type(softmax_and_jacobian(np.float32(1)), tuple[np.float32, NDArray[np.float32]])
assert_type(softmax_and_jacobian(1.0), tuple[np.float64, NDArray[np.float64]])
assert_type(softmax_and_jacobian(double, dtype=np.float32), tuple[NDArray[np.float32], NDArray[np.float32]])
assert_type(softmax_and_jacobian(single, out=(single, None)), tuple[NDArray[np.float32], NDArray[np.float32]])

# ---- losses ------------------------------------------------------------------------------------------------------

loss = cross_entropy(single, [0, 1], np.int64(-1), ignore_index=np.int64(1), label_smoothing=np.float32(0.1))
assert_type(loss, np.float32)
assert_type(cross_entropy(half, [0, 1], reduction="sum"), np.float16)
assert_type(cross_entropy([[1.0, 2.0]], [0], weight=[1.0, 2.0]), np.float64)
assert_type(cross_entropy(single, [0, 1], reduction="none"), NDArray[np.float32] | np.float32)
assert_type(cross_entropy(integers, double, reduction="none"), NDArray[np.float64] | np.float64)
assert_type(cross_entropy(single, [0, 1], reduction="none", out=single[0, :2]), NDArray[np.float32])
assert_type(cross_entropy_and_grad(single, [0, 1]), tuple[np.float32, NDArray[np.float32]])
assert_type(cross_entropy_and_grad(integers, [0, 1]), tuple[np.float64, NDArray[np.float64]])
assert_type(
    cross_entropy_and_grad(single, [0, 1], reduction="none"),
    tuple[NDArray[np.float32] | np.float32, NDArray[np.float32]],
)
assert_type(cross_entropy_and_grad(single, [0, 1], out=labelled), tuple[np.float32, Labelled])

# ---- states of parts ---------------------------------------------------------------------------------------------

state = softmax_state(single[:, :2], np.int64(1), length=3, scale=np.float32(1), dtype=np.float32, exact=True)
assert_type(state, SoftmaxState)
state = merge_states(state, softmax_state(single[:, 2:], offset=2))
assert_type(state.merge(), SoftmaxState)
assert_type(state.is_complete, bool)
assert_type(state.finish(single, 0), NDArray[Any])
assert_type(state.finish_log(single, 0, out=labelled), Labelled)
assert_type(state.finish(single, np.int64(0), out=half.astype(np.float32)), NDArray[np.float32])
assert_type(state.cross_entropy_and_grad(single, [0, 1], 0, grad_scale=2)[1], NDArray[Any])

# ---- plain loops -------------------------------------------------------------------------------------------------

plain.softmax(single, np.empty_like(single))
plain.softmax_jacobian(double, np.empty((2, 3, 3)))


def refused() -> None:
    """Each line is an error for both checkers: they say so where one of these comments is not needed."""
    softmax(single, "last")  # type: ignore[call-overload]
    softmax(single, 1.0)  # type: ignore[call-overload]
    softmax(single, scale="2")  # type: ignore[call-overload]
    softmax(single, num_threads=2.0)  # type: ignore[call-overload]
    softmax(single, out=[0.0])  # type: ignore[call-overload]
    softmax_jacobian(single, (0,))  # type: ignore[call-overload]
    softmax_jacobian(single, None)  # type: ignore[call-overload]
    cross_entropy(single, [0, 1], reduction="max")  # type: ignore[call-overload]
    softmax_state(single, (0, 1))  # type: ignore[arg-type]
    merge_states(single)  # type: ignore[arg-type]
    SoftmaxState(single)  # type: ignore[arg-type]
    plain.softmax(half, half)  # type: ignore[type-var]
    plain.softmax(single, double)  # type: ignore[type-var]
    plain.softmax([[0.0]], double)  # type: ignore[arg-type]
