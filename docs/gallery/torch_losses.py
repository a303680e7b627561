r"""
In a torch model
================

``softmax_cy.torch.CrossEntropyLoss`` takes the place of torch's. A network learns the same with both. Where they differ
is a gradient that torch has lost: for a target that is nearly certain, :math:`y_c - 1` rounds to 0.

Data, network and batches are those of ``examples/torch_classifier.py``.
"""

import matplotlib.pyplot as plt
import torch

import softmax_cy.torch
import torch_classifier as classifier

torch.set_num_threads(1)
data, held_out = classifier.load_split()

# %%
# The same training, twice
# ------------------------
#
# Both networks begin with the same weights and see the same batches.

trainings = {name: classifier.make_training(name) for name in classifier.LOSSES}
losses = {name: [] for name in trainings}
for batch in classifier.make_batches(data):
    for name, training in trainings.items():
        training.step(*batch)
        losses[name].append(training.last_loss)
for name, training in trainings.items():
    print(f"{name:10}  accuracy {classifier.find_accuracy(training.network, held_out):.3f}")

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.semilogy(losses["torch"], color="#ee8866", linewidth=3, label="torch")
axes.semilogy(losses["softmax_cy"], color="#4477aa", linewidth=1, label="softmax_cy")
axes.set_xlabel("step")
axes.set_ylabel("loss")
axes.legend()

# %%
# Where torch stops learning
# --------------------------
#
# Two classes, and the logit of the target is ahead by a gap :math:`d`. The gradient there is
#
# .. math:: y_c - 1 = -\frac{1}{1 + e^d}
#
# which torch computes as a difference of two numbers that are both 1 from :math:`d \approx 17` on.

gaps = torch.arange(0.0, 60.0, 0.5)
target = torch.zeros(len(gaps), dtype=torch.long)
gradients = {}
for name, function in (
    ("torch", torch.nn.functional.cross_entropy),
    ("softmax_cy", softmax_cy.torch.cross_entropy),
):
    logits = torch.stack([gaps, torch.zeros_like(gaps)], dim=1).requires_grad_()
    function(logits, target, reduction="sum").backward()
    gradients[name] = -logits.grad[:, 0]

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.semilogy(gaps, gradients["softmax_cy"], color="#4477aa", label="softmax_cy")
seen = gradients["torch"] > 0
axes.semilogy(gaps[seen], gradients["torch"][seen], ".", color="#ee8866", label="torch, where it is not 0")
axes.set_xlabel("how far the target is ahead")
axes.set_ylabel("size of the gradient at the target")
axes.legend()
print("torch has no gradient from a gap of", gaps[~seen].min().item(), "on")

# %%
# A model as it is
# ----------------
#
# ``patch`` puts softmax_cy below the functions that a model calls already, for as long as the block runs.

with softmax_cy.torch.patch(trainings["torch"].network) as patched:
    print(*patched.replaced, sep="\n")
