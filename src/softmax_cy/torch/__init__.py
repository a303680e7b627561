"""The softmax family on torch tensors of the CPU, with torch's own signatures and derivatives of any order.

>>> import torch
>>> import softmax_cy.torch
>>> x = torch.tensor([[0.0, 1.0]], requires_grad=True)
>>> loss = softmax_cy.torch.cross_entropy(x, torch.tensor([1]))
>>> loss.backward()
>>> x.grad
tensor([[ 0.2689, -0.2689]])

The results have the bits of the functions of `softmax_cy` on arrays, but for losses of which more than the logits needs
a derivative. Tensors that are not on the CPU, or of a dtype that the kernels do not know, go to torch's own operators.
docs/torch.md says what works with which transform.
"""

try:
    import torch  # noqa: F401
except ImportError:
    raise ImportError('softmax_cy.torch needs torch: pip install "softmax_cy[torch]"') from None

from softmax_cy.torch._functions import cross_entropy, log_softmax, logsumexp, softmax
from softmax_cy.torch._modules import CrossEntropyLoss, LogSoftmax, Softmax
from softmax_cy.torch._patching import patch

__all__ = ["CrossEntropyLoss", "LogSoftmax", "Softmax", "cross_entropy", "log_softmax", "logsumexp", "patch", "softmax"]
