"""The same functions from torch's own operators.

They serve tensors that the kernels do not know: on other devices, of other dtypes, without memory. torch.compile also
gets them where it traces torch.func, because operators registered from outside give wrong derivatives there.

The names are looked up when this module is imported, so that a patched torch does not lead back here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

torch_softmax = torch.softmax
torch_log_softmax = torch.log_softmax
torch_logsumexp = torch.logsumexp
torch_cross_entropy = torch.nn.functional.cross_entropy


def prepare(x: Tensor, where: Tensor | None, scale: float) -> Tensor:
    """Scale logits, and drop what the mask drops."""
    if scale != 1:
        x = x * scale
    return x if where is None else torch.where(where, x, -torch.inf)


def mask_result(y: Tensor, where: Tensor | None) -> Tensor:
    """Make what was dropped 0: a slice without an element is NaN otherwise."""
    return y if where is None else torch.where(where, y, 0)


def softmax(x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float) -> Tensor:
    """Return the softmax of scaled logits along a dimension."""
    return mask_result(torch_softmax(prepare(x, where, scale), dims[0]), where)


def log_softmax(x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float) -> Tensor:
    """Return the logarithm of softmax along a dimension."""
    y = torch_log_softmax(prepare(x, where, scale), dims[0])
    return y if where is None else torch.where(where, y, -torch.inf)


def logsumexp(x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float, keepdim: bool) -> Tensor:
    """Return the logarithm of the sum of exponentials over dims."""
    return torch_logsumexp(prepare(x, where, scale), list(dims), keepdim)
