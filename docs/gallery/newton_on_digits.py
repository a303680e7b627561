r"""
Newton's method on handwritten digits
=====================================

Multinomial logistic regression, trained with softmax and its Jacobian, and nothing else of their kind.

For an image with features :math:`z`, the logits are :math:`x = W z`. The loss is the mean of
:math:`-\log y_c`, where :math:`c` is the true class. Its derivative in the logits is :math:`y - t`, with :math:`t` the
true probabilities; so the second derivative is the Jacobian of softmax as it stands:

.. math:: \nabla^2 f(W) = \frac1n \sum_k J_k \otimes z_k z_k^{\mathsf T} + \text{penalty}

There are 10 x 65 weights, few enough to solve for in one piece. The program is ``examples/digits.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import digits

train_data, test_data = digits.load_split()

# %%
# Each step solves one system of 650 equations, and is halved until the objective falls enough. Near the optimum each
# step doubles the number of correct digits.

weights = np.zeros((digits.CLASSES, train_data.features.shape[1]))
norms = []
with threadpool_limits(limits=1):
    for _ in range(digits.MOST_STEPS):
        y = digits.predict(weights, train_data)
        slope = digits.gradient(weights, y, train_data)
        norms.append(np.linalg.norm(slope))
        if norms[-1] <= digits.GRADIENT_TOLERANCE:
            break
        direction = np.linalg.solve(digits.hessian(y, train_data), slope.ravel()).reshape(weights.shape)
        weights, length = digits.damped_step(weights, slope, direction, train_data)

assert norms[-1] <= digits.GRADIENT_TOLERANCE

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.semilogy(norms, marker="o", color=digits.OUR_COLOUR)
axes.set_xlabel("step")
axes.set_ylabel("norm of the gradient")
axes.set_title("Newton's method: each step doubles the digits")

# %%
# The same problem, solved by scikit-learn's L-BFGS, has the same optimum.

ours = digits.score(weights, train_data, test_data)
theirs = digits.score(digits.train_scikit_learn(train_data), train_data, test_data)
print(f"softmax_cy, Newton:    objective {ours.objective:.6f}, accuracy {ours.accuracy:.2%}")
print(f"scikit-learn, L-BFGS:  objective {theirs.objective:.6f}, accuracy {theirs.accuracy:.2%}")
assert np.isclose(ours.objective, theirs.objective, rtol=1e-6)

# %%
# The held-out image that the model is least certain of, its probabilities, and how they would move.

figure = plt.figure(figsize=(12, 4.5), layout="constrained")
y = digits.predict(weights, test_data)
k = y.max(axis=1).argmin()
panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
digits.draw_image(panels[0], test_data.pixels[k], test_data.labels[k])
digits.draw_probabilities(panels[1], y[k])
digits.draw_jacobian(panels[2], digits.softmax_jacobian(y[k]))
