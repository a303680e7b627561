"""The weights of cross_entropy may be all that needs a derivative."""

import pytest

torch = pytest.importorskip("torch")

import softmax_cy.torch


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_gradient_in_the_weights_alone(reduction):
    generator = torch.Generator().manual_seed(0)
    x, logits = torch.randn(2, 4, 5, generator=generator)
    target = torch.softmax(logits, 1)
    weight = torch.rand(5, generator=generator).requires_grad_()
    gradients = [
        torch.autograd.grad(library.cross_entropy(x, target, weight, reduction=reduction).sum(), weight)[0]
        for library in (softmax_cy.torch, torch.nn.functional)
    ]
    torch.testing.assert_close(*gradients)
