"""Which way a call goes. It is decided here, and nowhere else.

==========  ==========================================================================================================
route       when, and what is called
==========  ==========================================================================================================
(native)    The extension in C++ is built, and takes the call: _native.cpp says which. It is asked first, by the public
            functions. What it does not take goes one of the ways below.
BUILTIN     The kernels do not know the tensor, or torch.compile traces torch.func: torch's own operators.
OPERATOR    Something traces, or records what is called: torch.compile, torch.export, make_fx, fake tensors, subclasses
            of Tensor. A registered operator, with a fake implementation and formulas for autograd.
TRANSFORM   torch.func, or forward-mode differentiation: an autograd.Function with rules for vmap and jvp.
FUNCTION    autograd will need a derivative: an autograd.Function without these rules, the fastest way to have one.
KERNEL      None of these: the kernel.
==========  ==========================================================================================================
"""

from __future__ import annotations

import enum
import importlib
import warnings
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from softmax_cy.torch._kernels import DTYPES

# What torch itself asks before it calls an autograd.Function; each takes less than a tenth of a microsecond.
transforms_are_active = torch._C._are_functorch_transforms_active
count_dispatch_modes = torch._C._len_torch_dispatch_stack
find_tracing_state = torch._C._get_tracing_state

PLAIN = (Tensor, Parameter)


def import_native() -> ModuleType | None:
    """Return the extension in C++, or None where it was not built, or cannot run."""
    try:
        return importlib.import_module("softmax_cy.torch._native")
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        warnings.warn(f"softmax_cy.torch does without its extension in C++: {error}", RuntimeWarning, stacklevel=2)
        return None


native = import_native()
# Dynamo knows this function, and no functions of extensions.
is_compiling = torch.compiler.is_compiling


class Route(enum.Enum):
    """A way to compute, as the table above says."""

    BUILTIN = 1
    OPERATOR = 2
    TRANSFORM = 3
    FUNCTION = 4
    KERNEL = 5


def runs_on_memory(x: Tensor) -> bool:
    """Say whether a kernel may run on a known tensor. Where something records what is called, an operator must."""
    return not (count_dispatch_modes() or type(x) not in PLAIN or find_tracing_state() is not None)


def choose_route(x: Tensor, other: Tensor | None = None) -> Route:
    """Choose a way for the logits x, and a second input that may need a derivative."""
    if not (x.is_cpu and x.dtype in DTYPES and x.layout is torch.strided):
        return Route.BUILTIN
    if torch.compiler.is_compiling():
        if transforms_are_active() or forward_ad._current_level >= 0:
            return Route.BUILTIN
        return Route.OPERATOR
    if transforms_are_active() or forward_ad._current_level >= 0:
        return Route.TRANSFORM
    if not runs_on_memory(x):
        return Route.OPERATOR
    if torch.is_grad_enabled() and (x.requires_grad or (other is not None and other.requires_grad)):
        return Route.FUNCTION
    return Route.KERNEL
