"""patch: try softmax_cy on a model as it is, by replacing torch's functions for a while."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from softmax_cy.torch import _builtin
from softmax_cy.torch._functions import choose_dim, cross_entropy, log_softmax, logsumexp, softmax

FUNCTIONAL = torch.nn.functional


def make_forward(ours: Callable[..., Tensor], theirs: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a function with the arguments of torch.softmax. What ours does not have goes to torch's."""

    def forward(input: Tensor, dim: Any, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
        if options or not isinstance(dim, int):
            return theirs(input, dim, dtype=dtype, **options)
        return ours(input, dim, dtype)

    return forward


def make_functional(ours: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Make a function with the arguments of torch.nn.functional.softmax."""

    def functional(
        input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
    ) -> Tensor:
        if dim is None:
            dim = choose_dim(name, input, _stacklevel + 2)
        return ours(input, dim, dtype)

    return functional


def reduce_exponentials(input: Tensor, dim: Any, keepdim: bool = False, **options: Any) -> Tensor:
    """Be torch.logsumexp. Names of dimensions and `out` go to torch's."""
    dims = (dim,) if isinstance(dim, int) else dim
    if options or not all(isinstance(d, int) for d in dims):
        return _builtin.torch_logsumexp(input, dim, keepdim, **options)
    return logsumexp(input, dims, keepdim)


# Torch's functions, and what takes their place.
REPLACEMENTS: dict[Any, Callable[..., Tensor]] = {
    torch.softmax: make_forward(softmax, torch.softmax),
    torch.log_softmax: make_forward(log_softmax, torch.log_softmax),
    torch.logsumexp: reduce_exponentials,
    torch.special.softmax: make_forward(softmax, torch.special.softmax),
    torch.special.log_softmax: make_forward(log_softmax, torch.special.log_softmax),
    torch.special.logsumexp: reduce_exponentials,
    torch.Tensor.softmax: make_forward(softmax, torch.Tensor.softmax),
    torch.Tensor.log_softmax: make_forward(log_softmax, torch.Tensor.log_softmax),
    torch.Tensor.logsumexp: reduce_exponentials,
    FUNCTIONAL.softmax: make_functional(softmax, "softmax"),
    FUNCTIONAL.log_softmax: make_functional(log_softmax, "log_softmax"),
    FUNCTIONAL.cross_entropy: cross_entropy,
}
EVERYWHERE = (torch, torch.special, torch.nn.functional, torch.Tensor)


def find_modules(model: torch.nn.Module) -> Iterator[types.ModuleType]:
    """Find the Python modules whose classes a model is made of."""
    for name in dict.fromkeys(type(part).__module__ for part in model.modules()):
        if name in sys.modules:
            yield sys.modules[name]


class patch:  # a small letter: it is used as a function
    """Replace torch's softmax, log_softmax, logsumexp and cross_entropy while a `with` block runs.

    Parameters
    ----------
    target : torch.nn.Module or module, optional
        A module of Python: the functions are replaced in this module only. A model: they are replaced in torch,
        torch.special, torch.nn.functional, among the methods of Tensor, and where the modules that define the classes
        of the model have imported them by name. The default is all of these but the last.

    Attributes
    ----------
    replaced : list of str
        What is replaced, by full name. It is empty outside of the block.

    Notes
    -----
    The whole process sees the replacements. `scaled_dot_product_attention` and what C++ calls by itself, such as
    `torch.nn.MultiheadAttention` on its fast path, keep torch's softmax.

    Examples
    --------
    >>> import torch
    >>> from softmax_cy.torch import patch
    >>> with patch(torch.nn.functional) as patched:
    ...     loss = torch.nn.CrossEntropyLoss()(torch.zeros(1, 2), torch.tensor([0]))
    >>> loss
    tensor(0.6931)
    >>> with patch(torch.nn.functional) as patched:
    ...     print(*patched.replaced)
    torch.nn.functional.cross_entropy torch.nn.functional.log_softmax torch.nn.functional.softmax
    """

    def __init__(self, target: torch.nn.Module | types.ModuleType | None = None) -> None:
        if isinstance(target, types.ModuleType):
            self.owners: list[Any] = [target]
        elif target is None or isinstance(target, torch.nn.Module):
            self.owners = list(EVERYWHERE)
            if target is not None:
                self.owners += [module for module in find_modules(target) if module not in self.owners]
        else:
            raise TypeError(f"target must be a torch.nn.Module or a module, got {type(target).__name__}")
        self.originals: list[tuple[Any, str, Any]] = []  # owner, name, and None for what a class had inherited

    @property
    def replaced(self) -> list[str]:
        """What is replaced, by full name."""
        return [f"{find_name(owner)}.{name}" for owner, name, _ in self.originals]

    def __enter__(self) -> patch:
        if self.originals:
            raise RuntimeError("this patch is in use already")
        for owner in self.owners:
            for name in sorted(dir(owner)):
                original = getattr(owner, name, None)
                if is_function(original) and original in REPLACEMENTS:
                    self.originals.append((owner, name, vars(owner).get(name)))
                    setattr(owner, name, REPLACEMENTS[original])
        return self

    def __exit__(self, *_: object) -> None:
        while self.originals:
            owner, name, original = self.originals.pop()
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

    def __repr__(self) -> str:
        return f"<patch of {', '.join(self.replaced) or 'nothing'}>"


def is_function(value: Any) -> bool:
    """Say whether a value could be one of torch's functions. Others may not be hashable."""
    return isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType))


def find_name(owner: Any) -> str:
    """Return the name of a module or a class."""
    return owner.__name__ if isinstance(owner, types.ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
