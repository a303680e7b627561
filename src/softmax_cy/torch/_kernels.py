"""The functions of softmax_cy on tensors of the CPU. They know no derivatives, and write into new tensors.

The arrays that are passed on are views: no strides make a copy. Each call uses as many threads as torch would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import softmax_cy

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None  # type: ignore[assignment]

DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def view_as_array(tensor: Tensor) -> Any:
    """Return an array in the memory of a tensor. NumPy itself has no bfloat16."""
    # To detach costs half as much as all the rest.
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    if ml_dtypes is None:
        raise ImportError('tensors of bfloat16 need ml_dtypes: pip install "softmax_cy[torch]"')
    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def view_as_tensor(array: Any, dtype: torch.dtype) -> Tensor:
    """Return a tensor of this dtype in the memory of an array, or of a NumPy scalar."""
    array = np.asarray(array)
    if dtype is torch.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def view_optional(tensor: Tensor | None) -> Any:
    """Return an array in the memory of a tensor, or None of None."""
    return None if tensor is None else view_as_array(tensor)


def read_dims(dims: Sequence[int]) -> Any:
    """Return one dimension as an int, which the functions on arrays read fastest, and several as a tuple."""
    return dims[0] if len(dims) == 1 else tuple(dims)


def reduced_shape(shape: Sequence[int], dims: Sequence[int], keepdim: bool) -> list[int]:
    """Return the shape of a reduction. The dimensions are not negative."""
    if keepdim:
        return [1 if d in dims else n for d, n in enumerate(shape)]
    return [n for d, n in enumerate(shape) if d not in dims]


def find_class_dim(x: Tensor) -> int:
    """Return the dimension of the classes of a loss: 1, or 0 of one slice."""
    return 0 if x.dim() == 1 else 1


def compute_forward(
    function: Any, x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float, out: Tensor, **options: Any
) -> Tensor:
    """Call a function of logits, which writes into `out`, and return `out`."""
    function(
        view_as_array(x),
        read_dims(dims),
        scale=scale,
        where=view_optional(where),
        out=view_as_array(out),
        num_threads=torch.get_num_threads(),
        **options,
    )
    return out


def softmax(x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float) -> Tensor:
    """Return the softmax of scaled logits along all of dims together."""
    return compute_forward(softmax_cy.softmax, x, where, dims, scale, torch.empty_like(x))


def log_softmax(x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float) -> Tensor:
    """Return the logarithm of softmax along all of dims together."""
    return compute_forward(softmax_cy.log_softmax, x, where, dims, scale, torch.empty_like(x))


def logsumexp(x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float, keepdim: bool) -> Tensor:
    """Return the logarithm of the sum of exponentials over dims."""
    out = x.new_empty(reduced_shape(x.shape, dims, keepdim))
    return compute_forward(softmax_cy.logsumexp, x, where, dims, scale, out, keepdims=keepdim)


def multiply(product: Any, v: Tensor, y: Tensor, dims: Sequence[int], scale: float) -> Tensor:
    """Compute a product with a Jacobian. The two inputs broadcast."""
    if v.shape == y.shape:
        out = torch.empty_like(y)
    else:
        shape = torch.broadcast_shapes(v.shape, y.shape)
        out = torch.empty_like(y) if shape == y.shape else y.new_empty(shape)
    product(
        view_as_array(v),
        view_as_array(y),
        read_dims(dims),
        scale=scale,
        out=view_as_array(out),
        num_threads=torch.get_num_threads(),
    )
    return out


def softmax_product(v: Tensor, y: Tensor, dims: Sequence[int], scale: float) -> Tensor:
    """Compute the product with the Jacobian of softmax, which is symmetric."""
    return multiply(softmax_cy.softmax_vjp, v, y, dims, scale)


def log_softmax_vjp(grad: Tensor, log_y: Tensor, dims: Sequence[int], scale: float) -> Tensor:
    """Compute the product with the transposed Jacobian of log_softmax."""
    return multiply(softmax_cy.log_softmax_vjp, grad, log_y, dims, scale)


def log_softmax_jvp(tangent: Tensor, log_y: Tensor, dims: Sequence[int], scale: float) -> Tensor:
    """Compute the product with the Jacobian of log_softmax."""
    return multiply(softmax_cy.log_softmax_jvp, tangent, log_y, dims, scale)


def read_loss_options(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, reduction: str
) -> dict[str, Any]:
    """Return the arguments of a loss in softmax_cy besides the logits."""
    return {
        "target": view_as_array(target),
        "axis": find_class_dim(x),
        "weight": view_optional(weight),
        "ignore_index": None if target.is_floating_point() else ignore_index,
        "label_smoothing": label_smoothing,
        "reduction": reduction,
        "num_threads": torch.get_num_threads(),
    }


def cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, reduction: str
) -> Tensor:
    """Compute the loss of logits whose classes lie along dimension 1, or 0 of one slice."""
    out = x.new_empty(reduced_shape(x.shape, [find_class_dim(x)], False) if reduction == "none" else ())
    options = read_loss_options(x, target, weight, ignore_index, label_smoothing, reduction)
    softmax_cy.cross_entropy(view_as_array(x), out=view_as_array(out), **options)
    return out


def cross_entropy_and_grad(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, reduction: str
) -> tuple[Tensor, Tensor]:
    """Compute the loss, and the gradient of the loss, or of the sum of all losses."""
    grad = torch.empty_like(x)
    options = read_loss_options(x, target, weight, ignore_index, label_smoothing, reduction)
    loss, _ = softmax_cy.cross_entropy_and_grad(view_as_array(x), out=view_as_array(grad), **options)
    return view_as_tensor(loss, x.dtype), grad
