"""Slices that lie in several chunks: a state of each part, and the tree that merges them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef, convert_legacy_graph
from dask.base import clone_key, tokenize
from dask.blockwise import Blockwise
from dask.graph_manipulation import bind
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.layers import ArraySliceDep

import softmax_cy
from softmax_cy.dask._arrays import Axes, is_unknown, list_blocks, make_meta, map_blocks


def is_cut(x: da.Array, axes: Axes) -> bool:
    """Tell whether slices lie in several chunks."""
    return any(x.numblocks[axis] > 1 for axis in axes)


def find_outer(x: da.Array, axes: Axes) -> int:
    """Return the axis along which slices may be cut and their parts still be ranges of elements."""
    return next((axis for axis in axes if x.shape[axis] != 1), axes[0])


def join_inner_chunks(x: da.Array, axes: Axes) -> da.Array:
    """Leave no cuts in the slices but those along the outer axis. The chunks stay as large as they are, if they can."""
    if not axes:
        return x
    outer = find_outer(x, axes)
    inner = {axis: -1 for axis in axes if axis != outer and x.numblocks[axis] > 1}
    if not inner:
        return x
    rows: Any = x.chunks[outer]
    if not is_unknown(rows):
        together = math.prod(max(x.chunks[axis]) for axis in inner)
        fitting = max(1, max(rows) * together // math.prod(x.shape[axis] for axis in inner))
        if fitting < max(rows):
            rows = fitting
    return x.rechunk({**inner, outer: rows})


def join_chunks(x: da.Array, axes: Axes) -> da.Array:
    """Leave no cuts in the slices."""
    cut = {axis: -1 for axis in axes if x.numblocks[axis] > 1}
    return x.rechunk(cut) if cut else x


class Slices:
    """How the slices of an array lie in its blocks, for the functions of a state, which know one axis."""

    def __init__(self, x: da.Array, axes: Axes):
        self.axes = axes
        self.outer = find_outer(x, axes)
        self.inner = math.prod(x.shape[axis] for axis in axes if axis != self.outer)
        self.length = x.shape[self.outer] * self.inner

    def __dask_tokenize__(self) -> Any:
        return type(self).__qualname__, self.axes, self.outer, self.length, self.inner

    def find_offset(self, region: tuple[slice, ...]) -> int:
        """Return the place in the slices where those of a block begin."""
        return int(region[self.outer].start) * self.inner

    def flatten(self, block: Any) -> Any:
        """Return a block with one axis in place of all that its slices have."""
        if len(self.axes) == 1:
            return block
        block = np.moveaxis(block, self.axes, range(-len(self.axes), 0))
        batch, inside = block.shape[: -len(self.axes)], block.shape[-len(self.axes) :]
        return block.reshape(*batch, math.prod(inside))

    def flatten_mask(self, where: Any, block: Any) -> Any:
        """Return the mask of a block for its flat form."""
        if where is None or len(self.axes) == 1:
            return where
        return self.flatten(np.broadcast_to(where, block.shape))

    @property
    def axis(self) -> int:
        """The axis of the slices in the flat form."""
        return self.axes[0] if len(self.axes) == 1 else -1

    def restore(self, flat: Any, block: Any) -> Any:
        """Return what flatten made of an array in the shape of the block."""
        if len(self.axes) == 1:
            return flat
        inside = [block.shape[axis] for axis in self.axes]
        return np.moveaxis(flat.reshape(*flat.shape[:-1], *inside), range(-len(self.axes), 0), self.axes)


def make_state(region: Any, x: Any, where: Any, *, slices: Slices, options: dict[str, Any]) -> Any:
    """Be a task: the state of a block."""
    return softmax_cy.softmax_state(
        slices.flatten(x),
        slices.axis,
        offset=slices.find_offset(region),
        length=slices.length,
        where=slices.flatten_mask(where, x),
        **options,
    )


def merge_blocks(blocks: Any, axis: Any, keepdims: bool) -> Any:
    """Be a task: states of neighbours, merged."""
    return softmax_cy.merge_states(*list_blocks(blocks))


def merge_to_logsumexp(blocks: Any, axis: Any, keepdims: bool) -> Any:
    """Be a task: the result, from all states of the slices."""
    result = merge_blocks(blocks, axis, keepdims).logsumexp()
    return np.expand_dims(result, axis) if keepdims else result


def pass_block(block: Any, axis: Any, keepdims: bool) -> Any:
    """Be a task: what `reduce_blocks` begins with."""
    return block


def reduce_blocks(
    parts: da.Array,
    axes: Axes,
    outer: int,
    combine: Callable[..., Any],
    aggregate: Callable[..., Any],
    token: str,
    split_every: int | None,
    meta: Any,
    keepdims: bool = True,
    begin: Callable[..., Any] = pass_block,
) -> da.Array:
    """Return the reduction of blocks, whatever they hold, along the axes of the slices, by a tree."""
    name = f"{token}-{tokenize(parts, axes, combine, aggregate, begin, split_every, keepdims, meta)}"
    every = None if split_every is None else {axis: split_every if axis == outer else 2 for axis in axes}
    return da.reduction(
        parts,
        begin,
        aggregate,
        axis=axes,
        keepdims=keepdims,
        dtype=meta.dtype,
        meta=meta,
        split_every=every,
        combine=combine,
        name=name,
        concatenate=False,
    )


def make_parts(
    function: Callable[..., Any], x: da.Array, axes: Axes, *operands: tuple[Any, Any], token: str
) -> da.Array:
    """Return the array whose blocks are objects that `function` makes of the regions and blocks of `x`."""
    index = tuple(range(x.ndim))
    return map_blocks(
        function,
        index,
        (ArraySliceDep(x.chunks), index),
        (x, index),
        *operands,
        meta=make_meta(x.ndim, object),
        token=token,
        adjust_chunks=dict.fromkeys(axes, 1),
    )


def pass_first(block: Any, *others: Any) -> Any:
    """Be a task: a block that waits for others."""
    return block


class RenamedLayer(MaterializedLayer):
    """A layer of tasks that can be renamed: `MaterializedLayer.clone` leaves the keys in the arguments of a `Task`."""

    def clone(self, keys: set[Any], seed: Any, bind_to: Any = None) -> tuple[MaterializedLayer, bool]:
        """Return the layer with new keys, and whether tasks that need none of these keys wait for `bind_to`."""
        tasks: dict[Any, Any] = {}
        bound = False
        for key, task in convert_legacy_graph(dict(self.mapping), {*self.mapping, *keys}).items():
            names = {needed: clone_key(needed, seed) for needed in task.dependencies if needed in keys}
            name = clone_key(key, seed) if key in keys else key
            task = task.substitute(names, key=name)
            if bind_to is not None and key in keys and not names:
                task = Task(name, pass_first, task, TaskRef(bind_to))
                bound = True
            tasks[name] = task
        return MaterializedLayer(tasks), bound


def read_again(x: da.Array, after: da.Array) -> da.Array:
    """Return an array whose blocks are computed anew, once `after` is there."""
    graph: Any = x.__dask_graph__()
    layers = {
        name: layer if isinstance(layer, Blockwise) else RenamedLayer(dict(layer))
        for name, layer in graph.layers.items()
    }
    x = da.Array(HighLevelGraph(layers, graph.dependencies), x.name, x.chunks, meta=x._meta)
    return bind(x, after, seed=("softmax_cy", after.name))
