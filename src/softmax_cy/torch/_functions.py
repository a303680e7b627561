"""The public functions: they read the arguments as torch does, and call a primitive or the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn._reduction import legacy_get_string
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic

from softmax_cy.torch import _primitives, _routes
from softmax_cy.torch._losses import compute_loss
from softmax_cy.torch._routes import is_compiling


def count_dim(dim: int, rank: int) -> int:
    """Return a dimension that is not negative, for a tensor that has one at least."""
    if not -rank <= dim < rank:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    return dim % rank


def choose_dim(name: str, input: Tensor, stacklevel: int) -> int:
    """Return the dimension that torch chooses where none was given, with torch's warning."""
    choose: Any = getattr(torch.nn.functional, "_get_softmax_dim")  # noqa: B009  # types do not know it
    return int(choose(name, input.dim(), stacklevel))


def compute_along(
    primitive: _primitives.Primitive,
    input: Tensor,
    dim: int,
    dtype: torch.dtype | None,
    where: Tensor | None,
    scale: float,
) -> Tensor:
    """Call a primitive whose result has the shape of the logits. They are converted first, as by torch."""
    if dtype is not None:
        input = input.to(dtype)
    rank = input.dim()
    if rank == 0:
        return compute_along(primitive, input.unsqueeze(0), dim, None, where, scale).squeeze(0)
    return primitive.call(input, where, [count_dim(dim, rank)], float(scale))


def softmax(
    input: Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    *,
    where: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    r"""Softmax of a tensor, as `torch.softmax`.

    .. math:: y_i = \frac{e^{s x_i}}{\sum_j e^{s x_j}}

    Parameters
    ----------
    input : Tensor, any shape
        The logits.
    dim : int
        The results add up to one along this dimension.
    dtype : torch.dtype, optional
        `input` is converted to this dtype first.
    where : Tensor of bool, broadcastable to the shape of `input`, optional
        True keeps an element, False drops it from its slice: its probability is 0.
    scale : float, optional
        The result is softmax(scale * input). The scale must be positive and finite. It has no derivative.

    Returns
    -------
    Tensor, same shape as `input`

    Raises
    ------
    IndexError
        If `dim` is out of range.
    ValueError, TypeError
        These are the same as from `softmax_cy.softmax`.

    Notes
    -----
    The largest error is that of `softmax_cy.softmax`. All derivatives go through its products.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import torch
    >>> from softmax_cy.torch import softmax
    >>> softmax(torch.zeros(2, 4), dim=1)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500],
            [0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if (native := _routes.native) is not None and not is_compiling():
        y: Tensor | None = native.softmax(input, dim, dtype, where, scale)
        if y is not None:
            return y
    if has_torch_function_unary(input):
        return handle_torch_function(softmax, (input,), input, dim, dtype, where=where, scale=scale)
    return compute_along(_primitives.softmax, input, dim, dtype, where, scale)


def log_softmax(
    input: Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    *,
    where: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    r"""Logarithm of softmax of a tensor, as `torch.log_softmax`.

    .. math:: l_i = s x_i - \log \sum_j e^{s x_j}

    Parameters
    ----------
    input, dim, dtype, where, scale
        These are the same as for `softmax`. What `where` drops is -inf.

    Returns
    -------
    Tensor, same shape as `input`

    Raises
    ------
    IndexError, ValueError, TypeError
        These are the same as from `softmax`.

    Notes
    -----
    Where a class is all but certain its logarithm keeps its digits, and so a gradient that torch's operator loses.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
       IMA Journal of Numerical Analysis 41, 2021.

    Examples
    --------
    >>> import torch
    >>> from softmax_cy.torch import log_softmax
    >>> log_softmax(torch.tensor([40.0, 0.0]), dim=0)
    tensor([-4.2484e-18, -4.0000e+01])
    """
    if (native := _routes.native) is not None and not is_compiling():
        y: Tensor | None = native.log_softmax(input, dim, dtype, where, scale)
        if y is not None:
            return y
    if has_torch_function_unary(input):
        return handle_torch_function(log_softmax, (input,), input, dim, dtype, where=where, scale=scale)
    return compute_along(_primitives.log_softmax, input, dim, dtype, where, scale)


def logsumexp(
    input: Tensor,
    dim: int | Sequence[int],
    keepdim: bool = False,
    *,
    where: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    r"""Logarithm of the sum of exponentials of a tensor, as `torch.logsumexp`.

    .. math:: \log \sum_j e^{s x_j}

    Parameters
    ----------
    input : Tensor, any shape
        The logits. Integers are converted to torch's default dtype.
    dim : int or sequence of int
        The sum goes over these dimensions.
    keepdim : bool, optional
        Whether these dimensions stay, with length one.
    where, scale
        These are the same as for `softmax`.

    Returns
    -------
    Tensor

    Raises
    ------
    IndexError, ValueError, TypeError
        These are the same as from `softmax`.

    Notes
    -----
    The gradient is softmax(scale * input) times scale.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
       IMA Journal of Numerical Analysis 41, 2021.

    Examples
    --------
    >>> import torch
    >>> from softmax_cy.torch import logsumexp
    >>> logsumexp(torch.zeros(2, 2), dim=1)
    tensor([0.6931, 0.6931])
    """
    if (native := _routes.native) is not None and not is_compiling():
        y: Tensor | None = native.logsumexp(input, dim, keepdim, where, scale)
        if y is not None:
            return y
    if has_torch_function_unary(input):
        return handle_torch_function(logsumexp, (input,), input, dim, keepdim, where=where, scale=scale)
    x = input if input.dim() else input.unsqueeze(0)
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(torch.get_default_dtype())
    given = [dim] if isinstance(dim, int) else list(dim) or list(range(x.dim()))
    dims = [count_dim(d, x.dim()) for d in given]
    if len(set(dims)) < len(dims):
        raise ValueError(f"dim {tuple(given)} names a dimension twice")
    y = _primitives.logsumexp.call(x, where, dims, float(scale), bool(keepdim))
    return y if input.dim() or not keepdim else y.squeeze(0)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    where: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    r"""Cross-entropy of logits against class indices or probabilities, as `torch.nn.functional.cross_entropy`.

    .. math:: \ell = -\sum_c w_c q_c \log y_c, \quad y = \mathrm{softmax}(s x)

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        The logits. The classes are dimension 1, or 0 of one slice.
    target : Tensor of int, shape (), (N,) or (N, d1, ...); or floating, same shape as `input`
        The class of each slice, or the probabilities of all classes.
    weight : Tensor, shape (C,), optional
        One weight a class.
    size_average, reduce : bool, optional
        Deprecated in torch: use `reduction`.
    ignore_index : int, optional
        Slices with this target do not count. For probabilities it must be negative, as in torch.
    reduction : {"mean", "sum", "none"}, optional
        The mean of class indices divides by the sum of the weights of all targets, that of probabilities by the number
        of slices.
    label_smoothing : float, optional
        This share of the target is spread evenly over all classes.
    where, scale
        These are the same as for `softmax`.

    Returns
    -------
    Tensor
        The losses, one a slice, or their mean or sum.

    Raises
    ------
    IndexError
        If a class is out of range.
    ValueError, TypeError
        These are the same as from `softmax_cy.cross_entropy`.

    Notes
    -----
    Where only the logits need a derivative, one call of the kernel gives the loss and its gradient.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import torch
    >>> from softmax_cy.torch import cross_entropy
    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.6931)
    """
    if (native := _routes.native) is not None and not is_compiling():
        y: Tensor | None = native.cross_entropy(
            input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing, where, scale
        )
        if y is not None:
            return y
    if has_torch_function_variadic(input, target):
        return handle_torch_function(
            cross_entropy,
            (input, target),
            input,
            target,
            weight,
            size_average,
            ignore_index,
            reduce,
            reduction,
            label_smoothing,
            where=where,
            scale=scale,
        )
    if size_average is not None or reduce is not None:
        reduction = legacy_get_string(size_average, reduce)
    return compute_loss(input, target, weight, ignore_index, float(label_smoothing), reduction, where, float(scale))
