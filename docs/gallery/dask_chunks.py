"""
Dask arrays in chunks
=====================

Where a chunk holds only a part of each slice, a softmax of each chunk by itself is wrong, and nothing says so.
``softmax_cy.dask`` has the functions that are right, with the bits of one call on the whole array.
"""

import dask
import dask.array as da
import matplotlib.pyplot as plt
import numpy as np

import softmax_cy
import softmax_cy.dask

# One thread and one order of the tasks: this page is the same each time.
dask.config.set(scheduler="synchronous")

logits = np.random.default_rng(0).normal(scale=2, size=(6, 1200))
x = da.from_array(logits, chunks=(6, 400))
print(x)

# %%
# Right and wrong
# ---------------
#
# Each slice has three chunks here. ``map_blocks`` makes each of them add up to one.

wrong = x.map_blocks(softmax_cy.softmax).compute()
right = softmax_cy.dask.softmax(x).compute()

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
places = np.arange(6)
axes.bar(places - 0.2, wrong.sum(axis=1), 0.4, color="#ee8866", label="x.map_blocks(softmax)")
axes.bar(places + 0.2, right.sum(axis=1), 0.4, color="#4477aa", label="softmax_cy.dask.softmax(x)")
axes.axhline(1, color="black", linewidth=0.8)
axes.set_xlabel("slice")
axes.set_ylabel("sum of the probabilities")
axes.legend()

assert right.tobytes() == softmax_cy.softmax(logits).tobytes()

# %%
# Whatever the chunks are
# -----------------------
#
# The bits do not depend on the cuts. The number of tasks does.

for chunks in (1200, 400, 100, 7):
    y = softmax_cy.dask.softmax(x.rechunk((6, chunks)))
    same = y.compute().tobytes() == right.tobytes()
    print(f"chunks of {chunks:4}: {len(y.__dask_graph__()):5} tasks, same bits: {same}")
    assert same

# %%
# A loss and its gradient share their work if they are computed together.

target = np.arange(6) * 200
loss, grad = softmax_cy.dask.cross_entropy_and_grad(x, target)
loss, grad = dask.compute(loss, grad)
print("loss", loss)

figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
axes.plot(grad[3], color="#4477aa", linewidth=0.8)
axes.set_title("gradient of slice 3: y, less 1 at the target, over the number of slices")
axes.set_xlabel("class")
