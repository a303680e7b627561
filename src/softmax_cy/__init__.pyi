from collections.abc import Sequence
from typing import Any, ClassVar, Literal, SupportsFloat, SupportsIndex, TypeAlias, TypeVar, final, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import Never

from softmax_cy._dispatch import show_config as show_config
from softmax_cy._embedding import ctypes_functions as ctypes_functions
from softmax_cy._embedding import get_include as get_include
from softmax_cy._threads import get_num_threads as get_num_threads
from softmax_cy._threads import set_num_threads as set_num_threads
from softmax_cy._version import __version__ as __version__

__all__ = [
    "SoftmaxState",
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
    "merge_states",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_and_jacobian",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_state",
    "softmax_vjp",
]

_Out = TypeVar("_Out", bound=NDArray[Any])
_Axes: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None

# What has a result of its own dtype, and what has one of float64: arrays, nested lists and numbers.
_Float = TypeVar("_Float", np.float16, np.float32, np.float64)
_Number: TypeAlias = float | np.integer[Any] | np.bool
_Numbers: TypeAlias = (
    NDArray[np.integer[Any] | np.bool]
    | Sequence[float]
    | Sequence[Sequence[float]]
    | Sequence[Sequence[Sequence[float]]]
)
_To: TypeAlias = type[_Float] | np.dtype[_Float]

# Each function has overloads in this order: `out`; an array of floats; what becomes float64; a number, where the result
# may be one; a dtype; the rest.
@overload
def softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def softmax(
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax(
    x: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def softmax(
    x: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def softmax(
    x: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def softmax(
    x: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: _To[_Float],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: _To[_Float],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax(
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax(
    x: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax(
    x: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def log_softmax(
    x: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def log_softmax(
    x: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: _To[_Float],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def log_softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: _To[_Float],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: DTypeLike | None = None,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def logsumexp(  # type: ignore[overload-overlap]
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: Literal[True],
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def logsumexp(
    x: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: Literal[True],
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def logsumexp(  # type: ignore[overload-overlap]
    x: NDArray[_Float],
    axis: None,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: Literal[False] = False,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def logsumexp(
    x: _Numbers,
    axis: None,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: Literal[False] = False,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def logsumexp(
    x: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float] | _Float: ...
@overload
def logsumexp(
    x: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64] | np.float64: ...
@overload
def logsumexp(
    x: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def logsumexp(
    x: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def logsumexp(
    x: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: _To[_Float],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: _To[_Float],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float] | _Float: ...
@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool | np.bool = False,
    dtype: DTypeLike | None = None,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> Any: ...
@overload
def softmax_vjp(
    grad: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def softmax_vjp(
    grad: NDArray[_Float],
    y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax_vjp(
    grad: _Numbers,
    y: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def softmax_vjp(
    grad: _Float,
    y: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def softmax_vjp(
    grad: _Number,
    y: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def softmax_vjp(
    grad: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_jvp(
    tangent: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def softmax_jvp(
    tangent: NDArray[_Float],
    y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax_jvp(
    tangent: _Numbers,
    y: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def softmax_jvp(
    tangent: _Float,
    y: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def softmax_jvp(
    tangent: _Number,
    y: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def softmax_jvp(
    tangent: ArrayLike,
    y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_vjp(
    grad: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_vjp(
    grad: NDArray[_Float],
    log_y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_vjp(
    grad: _Numbers,
    log_y: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax_vjp(
    grad: _Float,
    log_y: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def log_softmax_vjp(
    grad: _Number,
    log_y: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def log_softmax_vjp(
    grad: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_jvp(
    tangent: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_jvp(
    tangent: NDArray[_Float],
    log_y: NDArray[_Float],
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_jvp(
    tangent: _Numbers,
    log_y: _Numbers,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax_jvp(
    tangent: _Float,
    log_y: _Float,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def log_softmax_jvp(
    tangent: _Number,
    log_y: _Number,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def log_softmax_jvp(
    tangent: ArrayLike,
    log_y: ArrayLike,
    axis: _Axes = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_jacobian(
    y: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def softmax_jacobian(
    y: NDArray[_Float] | _Float,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def softmax_jacobian(
    y: _Numbers | _Number,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def softmax_jacobian(
    y: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_jacobian(
    log_y: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_jacobian(
    log_y: NDArray[_Float] | _Float,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_jacobian(
    log_y: _Numbers | _Number,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax_jacobian(
    log_y: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def softmax_and_jacobian(
    x: NDArray[_Float],
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: tuple[NDArray[_Float] | None, NDArray[_Float] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[NDArray[_Float], NDArray[_Float]]: ...
@overload
def softmax_and_jacobian(
    x: _Numbers,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
@overload
def softmax_and_jacobian(
    x: _Float,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: tuple[None, NDArray[_Float] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Float, NDArray[_Float]]: ...
@overload
def softmax_and_jacobian(
    x: _Number,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: None = None,
    out: tuple[None, NDArray[np.float64] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[np.float64, NDArray[np.float64]]: ...
@overload
def softmax_and_jacobian(
    x: _Number,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: _To[_Float],
    out: tuple[None, NDArray[_Float] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Float, NDArray[_Float]]: ...
@overload
def softmax_and_jacobian(
    x: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: _To[_Float],
    out: tuple[NDArray[_Float] | None, NDArray[_Float] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[NDArray[_Float], NDArray[_Float]]: ...
@overload
def softmax_and_jacobian(
    x: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: tuple[NDArray[Any] | None, NDArray[Any] | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def cross_entropy(
    x: NDArray[_Float] | _Float,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> _Float: ...
@overload
def cross_entropy(
    x: _Numbers | _Number,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> np.float64: ...
@overload
def cross_entropy(
    x: NDArray[_Float],
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["none"],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float] | _Float: ...
@overload
def cross_entropy(
    x: _Numbers,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["none"],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64] | np.float64: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> Any: ...
@overload
def cross_entropy_and_grad(
    x: NDArray[_Float],
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Float, _Out]: ...
@overload
def cross_entropy_and_grad(
    x: _Numbers,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> tuple[np.float64, _Out]: ...
@overload
def cross_entropy_and_grad(
    x: ArrayLike,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: _Out,
    num_threads: SupportsIndex | None = None,
) -> tuple[Any, _Out]: ...
@overload
def cross_entropy_and_grad(
    x: NDArray[_Float],
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Float, NDArray[_Float]]: ...
@overload
def cross_entropy_and_grad(
    x: _Numbers,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[np.float64, NDArray[np.float64]]: ...
@overload
def cross_entropy_and_grad(
    x: NDArray[_Float],
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["none"],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[NDArray[_Float] | _Float, NDArray[_Float]]: ...
@overload
def cross_entropy_and_grad(
    x: _Numbers,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["none"],
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[NDArray[np.float64] | np.float64, NDArray[np.float64]]: ...
@overload
def cross_entropy_and_grad(
    x: ArrayLike,
    target: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    weight: ArrayLike | None = None,
    ignore_index: SupportsIndex | None = None,
    label_smoothing: SupportsFloat = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    out: None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[Any, Any]: ...

# The dtype of results is that of the state, which checkers do not know.
@final
class SoftmaxState:
    """What a part of every slice leaves behind: made by `softmax_state`, merged by `merge_states`."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    @property
    def offset(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def axis(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def scale(self) -> float: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def exact(self) -> bool: ...
    @property
    def masked(self) -> bool: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def merge(self, *others: SoftmaxState) -> SoftmaxState:
        """Merge this state with its neighbours."""

    def logsumexp(self, *, keepdims: bool | np.bool = False) -> Any:
        """Return logsumexp of every whole slice."""

    @overload
    def finish(self, x: ArrayLike, offset: SupportsIndex, *, where: ArrayLike | None = None, out: _Out) -> _Out: ...
    @overload
    def finish(
        self, x: ArrayLike, offset: SupportsIndex, *, where: ArrayLike | None = None, out: None = None
    ) -> NDArray[Any]: ...
    @overload
    def finish_log(self, x: ArrayLike, offset: SupportsIndex, *, where: ArrayLike | None = None, out: _Out) -> _Out: ...
    @overload
    def finish_log(
        self, x: ArrayLike, offset: SupportsIndex, *, where: ArrayLike | None = None, out: None = None
    ) -> NDArray[Any]: ...
    def cross_entropy(
        self,
        x: ArrayLike,
        target: ArrayLike,
        offset: SupportsIndex,
        *,
        weight: ArrayLike | None = None,
        ignore_index: SupportsIndex | None = None,
    ) -> Any:
        """Return the losses of the slices whose target lies in a part, and 0 for the others."""

    def cross_entropy_and_grad(
        self,
        x: ArrayLike,
        target: ArrayLike,
        offset: SupportsIndex,
        *,
        weight: ArrayLike | None = None,
        ignore_index: SupportsIndex | None = None,
        grad_scale: SupportsFloat = 1.0,
    ) -> tuple[Any, NDArray[Any]]:
        """Return the losses as `cross_entropy` does, and their gradient with respect to the part."""

def softmax_state(
    x: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    offset: SupportsIndex = 0,
    length: SupportsIndex | None = None,
    scale: SupportsFloat = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    exact: bool = True,
) -> SoftmaxState:
    """Summarize a part of every slice, so that softmax of the whole can be computed part by part."""

def merge_states(*states: SoftmaxState) -> SoftmaxState:
    """Merge states of neighbouring parts of the same slices into one."""
