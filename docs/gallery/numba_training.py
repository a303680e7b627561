"""
A training loop under numba
===========================

All of it is compiled and holds no GIL: the products of matrices, the loss, and the gradient from
``softmax_cy.numba.cross_entropy_and_grad_f64``. The program is ``train.py`` of the examples that are installed with the
package. This page runs it as it is.
"""

import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

examples = subprocess.run(
    [sys.executable, "-m", "softmax_cy", "--examples"], capture_output=True, text=True, check=True
).stdout.strip()
program = Path(examples, "numba", "train.py")
source = program.read_text()
print(source[source.index("@njit") : source.index("images, labels = load_digits")])

# %%
# It learns all 1,797 digits by gradient descent.

names = runpy.run_path(str(program))

# %%
# The weights of a class show where its digit has ink (red), and where it must have none (blue).

weights = names["weights"]
figure, panels = plt.subplots(2, 5, figsize=(8, 3.6), layout="constrained")
limit = abs(weights).max()
for digit, axes in enumerate(panels.flat):
    axes.imshow(weights[:, digit].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_title(f"class {digit}")
    axes.set_xticks([])
    axes.set_yticks([])
