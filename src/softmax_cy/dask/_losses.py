"""cross_entropy and cross_entropy_and_grad of Dask arrays."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import dask.array as da
import numpy as np
from dask.layers import ArrayBlockIdDep, ArraySliceDep

import softmax_cy
from softmax_cy import _loss
from softmax_cy.dask._arrays import (
    Axes,
    find_axes,
    find_dtype,
    fits,
    is_half,
    list_blocks,
    make_example,
    make_meta,
    map_blocks,
    read_array,
    read_operand,
    read_shaped,
    read_split_every,
    require_known,
    unwrap,
    without,
)
from softmax_cy.dask._states import (
    Slices,
    is_cut,
    join_chunks,
    make_parts,
    make_state,
    merge_blocks,
    read_again,
    reduce_blocks,
)


def check_target(region: Any, target: Any, *, classes: int, ignored: int | None) -> Any:
    """Be a task: a block of class indices, all of which are in range."""
    wrong = (target < 0) | (target >= classes)
    if ignored is not None:
        wrong &= target != ignored
    if np.any(wrong):
        position = tuple(map(int, np.argwhere(wrong)[0]))
        raise ValueError(
            f"target has {target[position]} at {list(position)} of its chunk {tuple(region)}, expected 0 <= target < "
            f"{classes}"
        )
    return target


def add_weights(target: Any, weight: Any, *, dtype: Any, classes: int, ignored: int | None) -> Any:
    """Be a task: the sum of the weights of all targets."""
    return np.float64(_loss.add_target_weights(dtype, unwrap(target), classes, unwrap(weight), ignored))


def find_factor(divisor: Any) -> float:
    """Return what the losses and the gradient are multiplied by."""
    divisor = float(unwrap(divisor))
    return 1 / divisor if divisor != 0 else math.nan


def compute_losses(
    x: Any, target: Any, weight: Any, divisor: Any, *, with_grad: bool, rounded: bool, options: dict[str, Any]
) -> Any:
    """Be a task: the losses of whole slices, and their gradient."""
    x, target, weight = unwrap(x), unwrap(target), unwrap(weight)
    if rounded:
        name = "cross_entropy_and_grad" if with_grad else "cross_entropy"
        return getattr(softmax_cy, name)(x, target, weight=weight, reduction="none", num_threads=1, **options)
    losses, grad = _loss.compute_part(with_grad, x, target, weight=weight, factor=find_factor(divisor), **options)
    return (losses, grad) if with_grad else losses


def make_state_and_logit(region: Any, x: Any, target: Any, *, slices: Slices, dtype: Any) -> Any:
    """Be a task: the state of a block, which targets lie in it, and their logits."""
    state = make_state(region, x, None, slices=slices, options={"dtype": dtype})
    index = np.expand_dims(unwrap(target), slices.outer)
    count = x.shape[slices.outer]
    inside = (index >= slices.find_offset(region)) & (index < slices.find_offset(region) + count)
    if not count:
        return state, inside, np.zeros(index.shape, x.dtype)
    place = np.where(inside, index.astype(np.int64) - slices.find_offset(region), 0)
    return state, inside, np.take_along_axis(x, place, slices.outer)


def merge_with_logits(blocks: Any, axis: Any, keepdims: bool) -> Any:
    """Be a task: neighbours merged, each of which is a state and the logits of the targets in it."""
    states, insides, logits = zip(*list_blocks(blocks), strict=True)
    return (
        softmax_cy.merge_states(*states),
        functools.reduce(operator.or_, insides),
        functools.reduce(
            lambda one, other: np.where(other[0], other[1], one),
            zip(insides, logits, strict=True),
            np.zeros_like(logits[0]),
        ),
    )


def finish_loss(merged: Any, target: Any, *, slices: Slices, ignored: int | None) -> Any:
    """Be a task: the losses, from the whole states and the logits of the targets."""
    state, _, logits = unwrap(merged)
    # The logits are given as if they were of class 0, which the target then is.
    index = np.zeros(target.shape, np.int64) if ignored is None else np.where(target == ignored, -1, 0)
    return state.cross_entropy(logits, index, 0, ignore_index=None if ignored is None else -1)


def finish_part_of_loss(
    region: Any,
    x: Any,
    state: Any,
    target: Any,
    weight: Any,
    divisor: Any,
    *,
    with_grad: bool,
    slices: Slices,
    ignored: int | None,
    dtype: Any,
) -> Any:
    """Be a task: the losses whose targets lie in a block, and the gradient of the block."""
    offset = slices.find_offset(region)
    options = {"weight": unwrap(weight), "ignore_index": ignored}
    if not with_grad:
        return state.cross_entropy(x, unwrap(target), offset, **options), None
    factor = 1.0 if divisor is None else find_factor(divisor)
    losses, grad = state.cross_entropy_and_grad(x, unwrap(target), offset, grad_scale=factor, **options)
    with np.errstate(over="ignore"):
        return losses, grad.astype(dtype, copy=False)


def take_losses(block: Any, axis: Any, keepdims: bool) -> Any:
    """Be a task: what the losses are added from."""
    return block[0]


def add_parts(blocks: Any, axis: Any, keepdims: bool) -> Any:
    """Be a task: losses of parts, of which all but one are 0."""
    return functools.reduce(operator.add, list_blocks(blocks))


def take_item(block: Any, *, item: int) -> Any:
    """Be a task: one of several results."""
    return unwrap(block)[item]


def reduce_losses(losses: Any, divisor: Any, *, length: int, dtype: Any) -> Any:
    """Be a task: the sum or the mean of the losses of all slices."""
    return _loss.add_losses(losses, length, find_factor(divisor), dtype)


def compute_loss(
    with_grad: bool,
    x: Any,
    target: Any,
    axis: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction: str,
    low_memory: bool,
    split_every: Any,
) -> Any:
    """Return the lazy loss, or the loss and the gradient."""
    x = read_array(x, "x")
    split_every = read_split_every(split_every)
    target = read_shaped(target)
    of_indices = target.dtype.kind in "iu"
    weight = None if weight is None else read_shaped(weight)
    examples = x, da.zeros((1,) * (max(x.ndim - 1, 0) if of_indices else x.ndim), dtype=target.dtype)
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    dtype = find_dtype(
        "cross_entropy", *examples, axis=axis, weight=make_example(weight), reduction=reduction, **options
    )
    axes = find_axes(axis, x.ndim)
    require_known(x, axes, "x")
    index = tuple(range(x.ndim))
    batch = without(index, axes)
    classes = int(x.shape[axes[0]]) if axes else 1
    whole = tuple(x.shape[d] for d in batch)
    if not fits(target.shape, whole if of_indices else x.shape):
        raise ValueError(
            f"target has shape {target.shape} and dtype {target.dtype}, expected integers of shape {whole} for class "
            f"indices or floats of shape {x.shape} for probabilities"
        )
    if weight is not None and not fits(weight.shape, (classes,)):
        raise ValueError(f"weight has shape {weight.shape}, expected {(classes,)}")
    ignored = None if ignore_index is None else operator.index(ignore_index)
    options = {"axis": axes[0] if axes else -1, "ignore_index": ignored, "label_smoothing": float(label_smoothing)}
    if not of_indices or options["label_smoothing"] != 0:
        x = join_chunks(x, axes)
    target_index = batch if of_indices else index
    target = read_operand(target, tuple(x.chunks[d] for d in target_index), "target")
    if of_indices:
        target = map_blocks(
            functools.partial(check_target, classes=classes, ignored=ignored),
            target_index,
            (ArrayBlockIdDep(target.chunks), target_index),
            (target, target_index),
            meta=target._meta,
            token="check_target",
        )
    # An axis of its own: x may have as many as there are.
    weight_operand: tuple[Any, Any] = (None, None)
    if weight is not None:
        if isinstance(weight, np.ndarray):
            weight = da.from_array(weight, chunks=-1)
        weight_operand = (read_array(weight, "weight").rechunk(-1), (x.ndim,))
    divisor = find_divisor(x, axes, target, target_index, weight_operand, classes, ignored, reduction)

    rounded = reduction == "none"
    loss_dtype = dtype
    if not rounded and is_half(dtype):
        loss_dtype = np.dtype(np.float32)
    loss_meta = make_meta(len(batch), loss_dtype)
    objects = make_meta(x.ndim, object)
    if not is_cut(x, axes):
        function = functools.partial(compute_losses, with_grad=with_grad, rounded=rounded, options=options)
        operands = ((x, index), (target, target_index), weight_operand, divisor)
        if with_grad:
            pairs = map_blocks(function, index, *operands, meta=objects, token="cross_entropy_and_grad")
            losses = map_blocks(
                functools.partial(take_item, item=0), batch, (pairs, index), meta=loss_meta, token="cross_entropy"
            )
        else:
            losses = map_blocks(function, batch, *operands, meta=loss_meta, token="cross_entropy")
    else:
        slices = Slices(x, axes)
        state_dtype = None if loss_dtype == dtype else loss_dtype
        if weight is None and not with_grad:
            losses = compute_cut_losses(x, target, slices, state_dtype, ignored, split_every, loss_meta)
        else:
            states = make_parts(
                functools.partial(make_state, slices=slices, options={"dtype": state_dtype}),
                x,
                axes,
                (None, None),
                token="softmax_state",
            )
            merged = reduce_blocks(
                states, axes, slices.outer, merge_blocks, merge_blocks, "merge_states", split_every, objects
            )
            if low_memory:
                x = read_again(x, merged)
            pairs = map_blocks(
                functools.partial(
                    finish_part_of_loss, with_grad=with_grad, slices=slices, ignored=ignored, dtype=dtype
                ),
                index,
                (ArraySliceDep(x.chunks), index),
                (x, index),
                (merged, index),
                (target, target_index),
                weight_operand,
                divisor,
                meta=objects,
                token="cross_entropy_and_grad",
            )
            losses = reduce_blocks(
                pairs,
                axes,
                slices.outer,
                add_parts,
                add_parts,
                "cross_entropy",
                split_every,
                loss_meta,
                keepdims=False,
                begin=take_losses,
            )
    if not rounded:
        losses = map_blocks(
            functools.partial(reduce_losses, length=classes, dtype=dtype),
            (),
            (losses, batch),
            divisor,
            meta=make_meta(0, dtype),
            token=f"cross_entropy-{reduction}",
            concatenate=True,
        )
    if not with_grad:
        return losses
    grad = map_blocks(
        functools.partial(take_item, item=1),
        index,
        (pairs, index),
        meta=make_meta(x.ndim, dtype),
        token="cross_entropy_grad",
    )
    return losses, grad


def find_divisor(
    x: da.Array,
    axes: Axes,
    target: da.Array,
    target_index: Axes,
    weight_operand: tuple[Any, Any],
    classes: int,
    ignored: int | None,
    reduction: str,
) -> tuple[Any, Any]:
    """Return what the mean divides by, as an operand of `map_blocks`: a number, or a lazy one."""
    if reduction != "mean":
        return 1.0, None
    of_indices = target.dtype.kind in "iu"
    if (weight_operand[0] is None and ignored is None) or not of_indices:
        count = math.prod(n for axis, n in enumerate(x.shape) if axis not in axes)
        if not math.isnan(count):
            return float(count), None
    if not of_indices:
        raise ValueError("x has unknown chunk sizes: call x.compute_chunk_sizes() first")
    divisor = map_blocks(
        functools.partial(add_weights, dtype=x.dtype, classes=classes, ignored=ignored),
        (),
        (target, target_index),
        weight_operand,
        meta=make_meta(0, np.dtype(np.float64)),
        token="add_weights",
        concatenate=True,
    )
    return divisor, ()


def compute_cut_losses(
    x: da.Array,
    target: da.Array,
    slices: Slices,
    dtype: Any,
    ignored: int | None,
    split_every: int | None,
    meta: np.ndarray[Any, Any],
) -> da.Array:
    """Return the losses of class indices with no weights: the logits of the targets are kept beside the states."""
    index = tuple(range(x.ndim))
    batch = without(index, slices.axes)
    parts = make_parts(
        functools.partial(make_state_and_logit, slices=slices, dtype=dtype),
        x,
        slices.axes,
        (target, batch),
        token="softmax_state",
    )
    merged = reduce_blocks(
        parts,
        slices.axes,
        slices.outer,
        merge_with_logits,
        merge_with_logits,
        "merge_states",
        split_every,
        make_meta(x.ndim, object),
    )
    return map_blocks(
        functools.partial(finish_loss, slices=slices, ignored=ignored),
        batch,
        (merged, index),
        (target, batch),
        meta=meta,
        token="cross_entropy",
    )
