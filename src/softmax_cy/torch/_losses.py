"""cross_entropy: one kernel where only the logits need a derivative, else log_softmax and what follows from it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from softmax_cy._loss import TargetOutOfRange
from softmax_cy.torch import _builtin, _kernels
from softmax_cy.torch._kernels import find_class_dim
from softmax_cy.torch._primitives import log_softmax
from softmax_cy.torch._routes import (
    Route,
    choose_route,
    find_tracing_state,
    runs_on_memory,
    transforms_are_active,
)


def compute_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    where: Tensor | None,
    scale: float,
) -> Tensor:
    """Compute the loss by the route that fits."""
    if x.is_cpu and torch.is_autocast_enabled("cpu"):
        x, target = raise_precision(x), raise_precision(target)
        weight = None if weight is None else raise_precision(weight)
    if ignore_index >= 0 and target.is_floating_point():
        raise ValueError("ignore_index applies to class indices, and target holds probabilities")
    other = target if target.is_floating_point() and not needs_derivative(weight) else weight
    route = choose_route(x, other)
    options = (weight, ignore_index, label_smoothing, reduction)
    plain = where is None and scale == 1
    if plain and route is Route.BUILTIN:
        return _builtin.torch_cross_entropy(
            x,
            target,
            weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )
    if plain and route is Route.KERNEL:
        return call_kernel(_kernels.cross_entropy, x, target, *options)
    if plain and route is Route.FUNCTION and not needs_derivative(target) and not needs_derivative(weight):
        return CrossEntropy.apply(x, target, *options)
    return compose_loss(x, target, *options, where, scale)


def raise_precision(tensor: Tensor) -> Tensor:
    """Convert 16 bits to 32, as autocast does for torch's loss and for no other function here."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def needs_derivative(tensor: Tensor | None) -> bool:
    """Say whether autograd wants a gradient in an argument."""
    return tensor is not None and tensor.requires_grad


def call_kernel(kernel: Any, *arguments: Any) -> Any:
    """Call a kernel. An index out of range is an IndexError in torch."""
    try:
        return kernel(*arguments)
    except TargetOutOfRange as error:
        raise IndexError(str(error)) from None


class CrossEntropy(torch.autograd.Function):
    """Loss and gradient in the logits, in one call of the kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, weight: Tensor | None, *options: Any) -> Tensor:
        loss, grad = call_kernel(_kernels.cross_entropy_and_grad, x, target, weight, *options)
        ctx.save_for_backward(x, target, weight, grad)
        ctx.options = options
        return loss

    @staticmethod
    def backward(ctx: Any, grad_of_loss: Tensor) -> Any:
        x, target, weight, grad = ctx.saved_tensors
        if torch.is_grad_enabled():
            # The result must have a derivative of its own.
            ignore_index, label_smoothing, reduction = ctx.options
            loss = compose_loss(x, target, weight, ignore_index, label_smoothing, reduction, None, 1.0)
            (grad,) = torch.autograd.grad(loss, x, grad_of_loss, create_graph=True)
        elif grad_of_loss.dim():
            grad = grad * grad_of_loss.unsqueeze(find_class_dim(x))
        elif not is_one(grad_of_loss):
            grad = grad * grad_of_loss
        return grad, None, None, None, None, None


def is_one(grad_of_loss: Tensor) -> bool:
    """Say whether a loss is what backward began with. This saves a pass over the gradient. A batch has no one value."""
    if transforms_are_active() or forward_ad._current_level >= 0 or not runs_on_memory(grad_of_loss):
        # More than the value counts: a tangent, or what is recorded.
        return False
    try:
        return grad_of_loss.item() == 1
    except RuntimeError:
        return False


def check_loss(x: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, reduction: str) -> None:
    """Refuse what the kernels refuse: operators would broadcast it, or not look at it. Indices are left to nll_loss."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if find_tracing_state() is not None:
        return  # torch.jit.trace makes tensors of sizes, and a check of them would be taken for a branch
    if target.is_floating_point() and target.shape != x.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}, expected {tuple(x.shape)} for probabilities")
    classes = x.shape[find_class_dim(x)]
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected {(classes,)}")


def compose_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    where: Tensor | None,
    scale: float,
) -> Tensor:
    """Compute the loss from log_softmax, by operators that every transform knows."""
    check_loss(x, target, weight, label_smoothing, reduction)
    dim = find_class_dim(x)
    log_y = log_softmax.call(x, where, [dim], scale)
    if target.is_floating_point():
        return compose_loss_of_probabilities(log_y, target, weight, label_smoothing, reduction, dim)
    # The kernels take any integers, and weights of any dtype. nll_loss does not.
    if target.dtype not in (torch.int64, torch.uint8, torch.bool):
        target = target.long()
    if weight is not None:
        weight = weight.to(log_y.dtype)
    loss = torch.nn.functional.nll_loss(log_y, target, weight, ignore_index=ignore_index, reduction=reduction)
    if not label_smoothing:
        return loss
    n = x.shape[dim]
    counted = target != ignore_index
    smooth = weigh(_builtin.mask_result(log_y, where), weight, dim).sum(dim)
    smooth = torch.where(counted, -smooth, 0)
    if reduction != "none":
        smooth = smooth.sum()
    if reduction == "mean":
        weights = 1 if weight is None else weight[torch.where(counted, target, 0)]
        smooth = smooth / torch.where(counted, weights, 0).sum()
    return (1 - label_smoothing) * loss + share_of_class(label_smoothing, n) * smooth


def share_of_class(label_smoothing: float, n: int) -> float:
    """Return what smoothing gives to each of n classes. Without a class there is no such number."""
    try:
        return label_smoothing / n
    except ZeroDivisionError:
        return math.nan


def weigh(terms: Tensor, weight: Tensor | None, dim: int) -> Tensor:
    """Multiply by the weights of the classes."""
    return terms if weight is None else terms * weight.reshape(-1, *[1] * (terms.dim() - dim - 1))


def compose_loss_of_probabilities(
    log_y: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, reduction: str, dim: int
) -> Tensor:
    """Compute the loss for probabilities. Nothing is lost where an impossible class has none."""
    if label_smoothing:
        target = target * (1 - label_smoothing) + share_of_class(label_smoothing, log_y.shape[dim])
    log_y = log_y.masked_fill(torch.isneginf(log_y) & (target == 0), 0)
    loss = -weigh(log_y * target, weight, dim).sum(dim)
    if reduction == "none":
        return loss
    total = loss.sum()
    return total / loss.numel() if reduction == "mean" else total
