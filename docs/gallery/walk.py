r"""
Softmax and its Jacobian, step by step
======================================

The article's walk: the formula, its derivative by hand, the same by torch, and by softmax_cy.

Softmax turns numbers into probabilities. The numbers :math:`x_i` are called logits:

.. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

The functions by hand and by torch are those of ``examples/quickstart.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import softmax_cy
from quickstart import naive_jacobian, naive_softmax, torch_jacobian

x = np.array([2.0, 1.0, 0.0, -1.0, 3.0])
y = softmax_cy.softmax(x)
print(y, y.sum())

# %%
# The larger a logit, the more probable its class, and each unit multiplies the odds by :math:`e`.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axes, values, title in ((left, x, "logits"), (right, y, "softmax")):
    axes.bar(np.arange(len(x)), values, color="#4477aa")
    axes.set_title(title)
    axes.set_xlabel("class")
    axes.axhline(0, color="black", linewidth=0.8)

# %%
# Why not the formula as it stands
# --------------------------------
#
# :math:`e^{1000}` is no number of 64 bits. Any constant may be taken off all logits, because it cancels:
#
# .. math:: \frac{e^{x_i - m}}{\sum_j e^{x_j - m}} = \frac{e^{-m} e^{x_i}}{e^{-m} \sum_j e^{x_j}} = y_i
#
# With the largest logit for :math:`m`, no exponential is above 1.

large = np.array([1000.0, 999.0])
with np.errstate(over="ignore", invalid="ignore"):
    print("by hand:   ", naive_softmax(large))
print("softmax_cy:", softmax_cy.softmax(large))

# %%
# The Jacobian
# ------------
#
# How does :math:`y_i` move with :math:`x_j`? By the quotient rule, with :math:`S = \sum_k e^{x_k}`:
#
# .. math::
#
#    \frac{\partial y_i}{\partial x_i} = \frac{e^{x_i} S - e^{x_i} e^{x_i}}{S^2} = y_i (1 - y_i),
#    \qquad
#    \frac{\partial y_i}{\partial x_j} = \frac{0 - e^{x_i} e^{x_j}}{S^2} = -y_i y_j \quad (i \neq j)
#
# The two cases are one with Kronecker's :math:`\delta_{ij}`, which is 1 if :math:`i = j` and else 0:
#
# .. math:: J_{ij} = y_i (\delta_{ij} - y_j)

jacobian = softmax_cy.softmax_jacobian(y)

x_torch = torch.from_numpy(x).requires_grad_()
by_torch = torch_jacobian(x_torch, torch.softmax(x_torch, dim=0))
print("largest difference from the loops:", np.abs(jacobian - naive_jacobian(y)).max())
print("largest difference from torch:    ", np.abs(jacobian - by_torch).max())

# %%
# A class gains what the others lose, so each row and each column adds up to 0. The matrix is symmetric.

figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
limit = np.abs(jacobian).max()
image = axes.imshow(jacobian, cmap="RdBu_r", vmin=-limit, vmax=limit)
for (i, j), value in np.ndenumerate(jacobian):
    axes.text(j, i, f"{value:.3f}", ha="center", va="center", color="white" if abs(value) > 0.6 * limit else "black")
axes.set_xlabel("logit of class j")
axes.set_ylabel("probability of class i")
figure.colorbar(image, label=r"$\partial y_i / \partial x_j$")

print("rows add up to", jacobian.sum(axis=1).round(16))

# %%
# Products instead of the matrix
# ------------------------------
#
# Back-propagation needs the matrix only times a gradient :math:`g`. That product is short, and nothing is formed:
#
# .. math:: \sum_i g_i J_{ij} = y_j \Bigl(g_j - \sum_i g_i y_i\Bigr)

g = np.array([0.0, 1.0, 0.0, 0.0, -1.0])
print(softmax_cy.softmax_vjp(g, y))
print(g @ jacobian)
