from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softmax_cy._dispatch import show_config as show_config
from softmax_cy._threads import get_num_threads as get_num_threads
from softmax_cy._threads import set_num_threads as set_num_threads
from softmax_cy._version import __version__ as __version__

__all__ = ["__version__", "get_num_threads", "set_num_threads", "show_config", "softmax", "softmax_jacobian"]

_Float = TypeVar("_Float", np.float16, np.float32, np.float64)
_Out = TypeVar("_Out", bound=NDArray[Any])

@overload
def softmax(x: ArrayLike, axis: int = -1, *, out: _Out, num_threads: int | None = None) -> _Out: ...
@overload
def softmax(
    x: NDArray[_Float], axis: int = -1, *, out: None = None, num_threads: int | None = None
) -> NDArray[_Float]: ...
@overload
def softmax(x: ArrayLike, axis: int = -1, *, out: None = None, num_threads: int | None = None) -> NDArray[Any]: ...
@overload
def softmax_jacobian(y: ArrayLike, axis: int = -1, *, out: _Out, num_threads: int | None = None) -> _Out: ...
@overload
def softmax_jacobian(
    y: NDArray[_Float], axis: int = -1, *, out: None = None, num_threads: int | None = None
) -> NDArray[_Float]: ...
@overload
def softmax_jacobian(
    y: ArrayLike, axis: int = -1, *, out: None = None, num_threads: int | None = None
) -> NDArray[Any]: ...
