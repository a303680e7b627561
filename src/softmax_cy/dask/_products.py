"""Products of Dask arrays with Jacobians: each is a call within chunks."""

from __future__ import annotations

import functools
import math
from typing import Any

import dask.array as da
import numpy as np

import softmax_cy
from softmax_cy.dask._arrays import (
    find_axes,
    find_dtype,
    index_of,
    make_meta,
    map_blocks,
    read_array,
    read_operand,
    read_shaped,
    require_known,
    unwrap,
)
from softmax_cy.dask._states import join_chunks


def call_function(*blocks: Any, name: str, options: dict[str, Any]) -> Any:
    """Be a task: a function in memory, on one thread."""
    return getattr(softmax_cy, name)(*map(unwrap, blocks), num_threads=1, **options)


def choose_chunks(arrays: list[da.Array], ndim: int) -> tuple[tuple[int, ...], ...]:
    """Return the chunks of the result: along each axis the finest of those of arrays that do not broadcast there."""
    chunks = []
    for d in range(-ndim, 0):
        there = [array for array in arrays if array.ndim >= -d]
        full = [array for array in there if array.shape[d] != 1] or there
        chunks.append(max((array.chunks[d] for array in full), key=len))
    return tuple(chunks)


def compute_product(name: str, vector: Any, vector_name: str, y: Any, y_name: str, axis: Any, scale: Any) -> da.Array:
    """Return the lazy product of a vector and a Jacobian."""
    given = {vector_name: read_shaped(vector), y_name: read_shaped(y)}
    ndim = max(array.ndim for array in given.values())
    dtype = find_dtype(name, *given.values(), axis=axis, scale=scale)
    axes = find_axes(axis, ndim)
    arrays = []
    for array_name, array in given.items():
        own = tuple(d - ndim + array.ndim for d in axes if d >= ndim - array.ndim)
        if isinstance(array, np.ndarray):
            array = da.from_array(array, chunks=tuple(-1 if d in own else "auto" for d in range(array.ndim)))
        array = read_array(array, array_name)
        require_known(array, own, array_name)
        arrays.append(join_chunks(array, own))
    lengths = [{array.shape[d - ndim] for array in arrays if d >= ndim - array.ndim} - {1} for d in range(ndim)]
    if any(len({n for n in several if not math.isnan(n)}) > 1 for several in lengths):
        raise ValueError(
            f"{vector_name} of shape {arrays[0].shape} and {y_name} of shape {arrays[1].shape} do not broadcast"
        )
    index = tuple(range(ndim))
    chunks = choose_chunks(arrays, ndim)
    operands = [
        read_operand(array, chunks[ndim - array.ndim :], array_name)
        for array_name, array in zip(given, arrays, strict=True)
    ]
    return map_blocks(
        functools.partial(call_function, name=name, options={"axis": axes, "scale": scale}),
        index,
        *((array, index_of(array, ndim)) for array in operands),
        meta=make_meta(ndim, dtype),
        token=name,
        adjust_chunks=dict(enumerate(chunks)),
    )
