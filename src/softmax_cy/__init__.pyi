from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softmax_cy._dispatch import show_config as show_config
from softmax_cy._embedding import ctypes_functions as ctypes_functions
from softmax_cy._embedding import get_include as get_include
from softmax_cy._threads import get_num_threads as get_num_threads
from softmax_cy._threads import set_num_threads as set_num_threads
from softmax_cy._version import __version__ as __version__

__all__ = [
    "__version__",
    "cross_entropy",
    "cross_entropy_and_grad",
    "ctypes_functions",
    "get_include",
    "get_num_threads",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_and_jacobian",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]

_Float = TypeVar("_Float", np.float16, np.float32, np.float64)
_Out = TypeVar("_Out", bound=NDArray[Any])
_Axes = int | tuple[int, ...] | None

@overload
def softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def softmax(
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def log_softmax(
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def logsumexp(
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    dtype: None = None,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_vjp(
    grad: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def softmax_vjp(
    grad: NDArray[_Float],
    y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax_vjp(
    grad: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_jvp(
    tangent: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def softmax_jvp(
    tangent: NDArray[_Float],
    y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax_jvp(
    tangent: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_vjp(
    grad: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def log_softmax_vjp(
    grad: NDArray[_Float],
    log_y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_vjp(
    grad: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_jvp(
    tangent: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def log_softmax_jvp(
    tangent: NDArray[_Float],
    log_y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_jvp(
    tangent: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_jacobian(
    y: ArrayLike,
    axis: int = -1,
    *,
    scale: float = 1.0,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def softmax_jacobian(
    y: NDArray[_Float],
    axis: int = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax_jacobian(
    y: ArrayLike,
    axis: int = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_jacobian(
    log_y: ArrayLike,
    axis: int = -1,
    *,
    scale: float = 1.0,
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def log_softmax_jacobian(
    log_y: NDArray[_Float],
    axis: int = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_jacobian(
    log_y: ArrayLike,
    axis: int = -1,
    *,
    scale: float = 1.0,
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_and_jacobian(
    x: NDArray[_Float],
    axis: int = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: tuple[NDArray[_Float] | None, NDArray[_Float] | None] | None = None,
    num_threads: int | None = None,
) -> tuple[NDArray[_Float], NDArray[_Float]]: ...
@overload
def softmax_and_jacobian(
    x: ArrayLike,
    axis: int = -1,
    *,
    scale: float = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: tuple[NDArray[Any] | None, NDArray[Any] | None] | None = None,
    num_threads: int | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    axis: int = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: _Out,
    num_threads: int | None = None,
) -> _Out: ...
@overload
def cross_entropy(
    x: NDArray[_Float],
    target: ArrayLike,
    axis: int = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[_Float]: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    axis: int = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: None = None,
    num_threads: int | None = None,
) -> NDArray[Any]: ...
@overload
def cross_entropy_and_grad(
    x: ArrayLike,
    target: ArrayLike,
    axis: int = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: _Out,
    num_threads: int | None = None,
) -> tuple[NDArray[Any], _Out]: ...
@overload
def cross_entropy_and_grad(
    x: NDArray[_Float],
    target: ArrayLike,
    axis: int = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: None = None,
    num_threads: int | None = None,
) -> tuple[NDArray[_Float], NDArray[_Float]]: ...
@overload
def cross_entropy_and_grad(
    x: ArrayLike,
    target: ArrayLike,
    axis: int = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: None = None,
    num_threads: int | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
