from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray

class TargetOutOfRange(ValueError): ...

def compute_part(
    with_grad: bool,
    x: ArrayLike,
    target: ArrayLike,
    axis: int,
    weight: ArrayLike | None,
    ignore_index: int | None,
    label_smoothing: float,
    factor: float,
) -> tuple[NDArray[Any], NDArray[Any] | None]: ...
def add_losses(losses: ArrayLike, length: int, factor: float, dtype: DTypeLike) -> Any: ...
def add_target_weights(
    dtype: DTypeLike, target: ArrayLike, length: int, weight: ArrayLike | None, ignore_index: int | None
) -> float: ...
