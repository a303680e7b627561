"""Arguments as Dask arrays, and arrays whose blocks are made of those of others."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import dask.array as da
import numpy as np

import softmax_cy

Axes = tuple[int, ...]


def read_array(array: Any, name: str) -> da.Array:
    """Return a Dask array of what may be one, and refuse blocks that are not NumPy's."""
    if not isinstance(array, da.Array):
        array = da.asanyarray(array)
    kind = type(array._meta)
    if not issubclass(kind, np.ndarray) or issubclass(kind, np.ma.MaskedArray):
        raise TypeError(f"{name} has blocks of type {kind.__module__}.{kind.__qualname__}, expected numpy.ndarray")
    return array


def read_split_every(split_every: Any) -> int | None:
    """Return how many states a task merges."""
    if split_every is None:
        return None
    try:
        number = operator.index(split_every)
    except TypeError:
        raise TypeError(f"split_every must be an integer or None, got {split_every!r}") from None
    if number < 2:
        raise ValueError(f"split_every must be at least 2, got {split_every!r}")
    return number


def find_axes(axis: Any, ndim: int) -> Axes:
    """Return the axes of the slices in ascending order, the order of the elements. The axis is a valid one."""
    if axis is None or ndim == 0:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(operator.index(axis) % ndim for axis in axes))


def is_unknown(chunks: tuple[float, ...]) -> bool:
    """Tell whether the sizes of some chunks along an axis are unknown."""
    return any(math.isnan(size) for size in chunks)


def require_known(array: da.Array, axes: Axes, name: str) -> None:
    """Refuse slices whose lengths are unknown."""
    for axis in axes:
        if is_unknown(array.chunks[axis]):
            raise ValueError(
                f"{name} has unknown chunk sizes along axis {axis}: call {name}.compute_chunk_sizes() first"
            )


def make_example(array: Any) -> np.ndarray[Any, Any] | None:
    """Return an array of one element, or with no axes, of the dtype of this one."""
    return None if array is None else np.zeros((1,) * array.ndim, array.dtype)


def find_dtype(name: str, *arrays: Any, **options: Any) -> np.dtype[Any]:
    """Check the arguments of a function, by a call on arrays of one element, and return the dtype of its result."""
    result = getattr(softmax_cy, name)(*map(make_example, arrays), **options)
    return np.asarray(result[0] if isinstance(result, tuple) else result).dtype


def is_half(dtype: np.dtype[Any]) -> bool:
    """Tell whether results of this dtype are computed in float32 and rounded."""
    return (dtype.kind == "f" and dtype.itemsize == 2) or dtype.name == "bfloat16"


def make_meta(ndim: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Return the empty array that tells Dask what blocks are."""
    return np.empty((0,) * ndim, dtype)


def read_operand(operand: Any, wanted: tuple[tuple[int, ...], ...], name: str) -> da.Array:
    """Return an operand as a Dask array in these chunks. An axis of length 1 broadcasts."""
    lazy = not isinstance(operand, np.ndarray)
    if lazy:
        operand = read_array(operand, name)
    chunks: list[tuple[int, ...]] = []
    for d, sizes in enumerate(wanted):
        if operand.shape[d] == 1 and sum(sizes) != 1:
            chunks.append((1,))
        elif not is_unknown(sizes):
            chunks.append(sizes)
        elif lazy and operand.numblocks[d] == len(sizes):
            chunks.append(operand.chunks[d])
        else:
            raise ValueError(f"{name} does not fit chunks of unknown sizes: call compute_chunk_sizes() first")
    if not lazy:
        return read_array(da.from_array(operand, chunks=tuple(chunks)), name)
    if tuple(chunks) == operand.chunks or any(map(is_unknown, operand.chunks)):
        return operand
    return operand.rechunk(tuple(chunks))


def fits(shape: tuple[float, ...], expected: tuple[float, ...], broadcast: bool = False) -> bool:
    """Tell whether a shape is the expected one, as far as both are known."""
    return len(shape) == len(expected) and all(
        n == m or (broadcast and n == 1) or math.isnan(n) or math.isnan(m) for n, m in zip(shape, expected, strict=True)
    )


def read_shaped(array: Any) -> Any:
    """Return what is neither lazy nor an array as an array."""
    return array if hasattr(type(array), "__dask_graph__") else np.asanyarray(array)


def read_mask(where: Any, x: da.Array) -> da.Array | None:
    """Return the mask in the chunks of `x`."""
    if where is None:
        return None
    where = read_shaped(where)
    if not fits(where.shape, x.shape[x.ndim - where.ndim :] if where.ndim <= x.ndim else (), broadcast=True):
        raise ValueError(f"where has shape {where.shape}, which does not broadcast to {x.shape}")
    return read_operand(where, x.chunks[x.ndim - where.ndim :], "where")


def unwrap(block: Any) -> Any:
    """Return the only block along axes that a result does not have: Dask makes lists of them."""
    while isinstance(block, list):
        (block,) = block
    return block


def list_blocks(blocks: Any) -> Iterator[Any]:
    """Return what nested lists hold, in order."""
    if not isinstance(blocks, list):
        yield blocks
        return
    for block in blocks:
        yield from list_blocks(block)


def map_blocks(
    function: Callable[..., Any],
    index: Axes,
    *operands: tuple[Any, Any],
    meta: Any,
    token: str,
    concatenate: bool = False,
    **chunks: Any,
) -> da.Array:
    """Return the array whose blocks are `function` of the blocks of operands, each of which has its own index."""
    arguments = [argument for operand in operands for argument in operand]
    return da.blockwise(
        function,
        index,
        *arguments,
        meta=meta,
        dtype=meta.dtype,
        token=token,
        align_arrays=False,
        concatenate=concatenate,
        **chunks,
    )


def index_of(array: da.Array | None, ndim: int) -> Axes | None:
    """Return the index of an array that broadcasts to `ndim` axes, for `map_blocks`."""
    return None if array is None else tuple(range(ndim - array.ndim, ndim))


def without(index: Axes, axes: Axes) -> Axes:
    """Return an index without these axes."""
    return tuple(axis for axis in index if axis not in axes)
