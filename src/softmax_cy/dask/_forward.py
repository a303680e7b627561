"""softmax, log_softmax and logsumexp of Dask arrays."""

from __future__ import annotations

import functools
from typing import Any

import dask.array as da
from dask.layers import ArraySliceDep

import softmax_cy
from softmax_cy.dask._arrays import (
    find_axes,
    find_dtype,
    index_of,
    make_example,
    make_meta,
    map_blocks,
    read_array,
    read_mask,
    read_split_every,
    require_known,
    unwrap,
    without,
)
from softmax_cy.dask._states import (
    Slices,
    is_cut,
    join_inner_chunks,
    make_parts,
    make_state,
    merge_blocks,
    merge_to_logsumexp,
    read_again,
    reduce_blocks,
)


def call_forward(x: Any, where: Any, *, name: str, options: dict[str, Any]) -> Any:
    """Be a task: a function of the logits, on one thread."""
    return getattr(softmax_cy, name)(unwrap(x), where=unwrap(where), num_threads=1, **options)


def finish_part(region: Any, x: Any, where: Any, state: Any, *, name: str, slices: Slices) -> Any:
    """Be a task: the result for a block."""
    flat = slices.flatten(x)
    finish = state.finish if name == "softmax" else state.finish_log
    result = finish(flat, slices.find_offset(region), where=slices.flatten_mask(where, x))
    return slices.restore(result, x)


def compute_forward(
    name: str,
    x: Any,
    axis: Any,
    where: Any,
    split_every: Any,
    low_memory: bool = False,
    keepdims: Any = False,
    **options: Any,
) -> da.Array:
    """Return the lazy result of a function of the logits."""
    x = read_array(x, "x")
    split_every = read_split_every(split_every)
    mask = read_mask(where, x)
    only = {"keepdims": keepdims} if name == "logsumexp" else {}
    dtype = find_dtype(name, x, axis=axis, where=make_example(mask), **only, **options)
    axes = find_axes(axis, x.ndim)
    require_known(x, axes, "x")
    joined = join_inner_chunks(x, axes)
    if joined is not x and mask is not None:
        mask = read_mask(mask, joined)
    x = joined
    index = tuple(range(x.ndim))
    operand = (mask, index_of(mask, x.ndim))
    reduced = without(index, axes) if name == "logsumexp" and not keepdims else index
    if not is_cut(x, axes):
        return map_blocks(
            functools.partial(call_forward, name=name, options={"axis": axes, **only, **options}),
            reduced,
            (x, index),
            operand,
            meta=make_meta(len(reduced), dtype),
            token=name,
            adjust_chunks=dict.fromkeys(axes, 1) if name == "logsumexp" and keepdims else None,
        )
    slices = Slices(x, axes)
    states = make_parts(
        functools.partial(make_state, slices=slices, options=options), x, axes, operand, token="softmax_state"
    )
    if name == "logsumexp":
        return reduce_blocks(
            states,
            axes,
            slices.outer,
            merge_blocks,
            merge_to_logsumexp,
            name,
            split_every,
            make_meta(len(reduced), dtype),
            bool(keepdims),
        )
    merged = reduce_blocks(
        states, axes, slices.outer, merge_blocks, merge_blocks, "merge_states", split_every, make_meta(x.ndim, object)
    )
    if low_memory:
        x = read_again(x, merged)
        if mask is not None and isinstance(where, da.Array):
            operand = (read_again(mask, merged), operand[1])
    return map_blocks(
        functools.partial(finish_part, name=name, slices=slices),
        index,
        (ArraySliceDep(x.chunks), index),
        (x, index),
        operand,
        (merged, index),
        meta=make_meta(x.ndim, dtype),
        token=name,
    )
