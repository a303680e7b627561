"""torch.nn.Softmax, LogSoftmax and CrossEntropyLoss whose forward passes are those of this package."""

from __future__ import annotations

import torch
from torch import Tensor

from softmax_cy.torch._functions import choose_dim, cross_entropy, log_softmax, softmax


class Softmax(torch.nn.Softmax):
    """torch.nn.Softmax, computed by `softmax_cy.torch.softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return softmax along `dim`."""
        return softmax(input, choose_dim("softmax", input, 5) if self.dim is None else self.dim)


class LogSoftmax(torch.nn.LogSoftmax):
    """torch.nn.LogSoftmax, computed by `softmax_cy.torch.log_softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return log_softmax along `dim`."""
        return log_softmax(input, choose_dim("log_softmax", input, 5) if self.dim is None else self.dim)


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """torch.nn.CrossEntropyLoss, computed by `softmax_cy.torch.cross_entropy`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
