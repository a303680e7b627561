"""The derivatives that the route in C++ leaves to the formulas of the other routes.

_native.cpp calls this where it does not know a gradient by itself: where the result must have a derivative of its own,
for batches of gradients, and where something records or transforms what is called.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from softmax_cy.torch import _primitives
from softmax_cy.torch._losses import CrossEntropy

BACKWARD = {
    "softmax": _primitives.softmax.differentiate,
    "log_softmax": _primitives.log_softmax.differentiate,
    "logsumexp": _primitives.logsumexp.differentiate,
    "cross_entropy": CrossEntropy.backward,
}


def differentiate(name: str, saved: tuple[Tensor | None, ...], options: tuple[Any, ...], grad: Tensor) -> Tensor:
    """Return the gradient in the logits, from what the autograd.Function of this name would have kept."""
    gradients = BACKWARD[name](SimpleNamespace(saved_tensors=saved, options=options), grad)
    gradient: Tensor = gradients[0]
    return gradient
