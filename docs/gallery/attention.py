r"""
Attention with masks
====================

Attention weighs values by the softmax of scores:

.. math:: A = \mathrm{softmax}\Bigl(\tfrac{1}{\sqrt d}\, Q K^{\mathsf T}\Bigr) V

The argument ``scale`` takes the factor, and ``where`` says which keys a query may see. Neither needs a copy of the
scores.
"""

import matplotlib.pyplot as plt
import numpy as np

import attention_over_blocks as blocks
from softmax_cy import merge_states, softmax, softmax_vjp

TOKENS, FEATURES = 24, 16
rng = np.random.default_rng(0)
queries, keys, values = rng.standard_normal((3, TOKENS, FEATURES), dtype=np.float32)
scores = queries @ keys.T

# %%
# Three masks
# -----------
#
# True keeps a key. A mask broadcasts against the scores, so padding needs one row only.

positions = np.arange(TOKENS)
masks = {
    "causal: no later key": positions <= positions[:, None],
    "window: the last 6": (positions <= positions[:, None]) & (positions > positions[:, None] - 6),
    "padding: 17 tokens": (positions < 17)[None, :],
}

figure, panels = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
for axes, (title, mask) in zip(panels, masks.items(), strict=True):
    weights = softmax(scores, scale=FEATURES**-0.5, where=mask)
    assert np.allclose(weights.sum(axis=1), 1)
    assert not weights[~np.broadcast_to(mask, weights.shape)].any()
    image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=0.6)
    axes.set_title(title)
    axes.set_xlabel("key")
panels[0].set_ylabel("query")
figure.colorbar(image, ax=panels, label="weight", shrink=0.9)

# %%
# A query that may see nothing
# ----------------------------
#
# Scores of -inf leave such a row without an answer: NaN, as in torch. ``where`` gives it weights of 0, and its output
# and its gradient are 0, too.

mask = masks["padding: 17 tokens"].repeat(TOKENS, axis=0)
mask[20:] = False
weights = softmax(scores, scale=FEATURES**-0.5, where=mask)
with_infinities = softmax(np.where(mask, scores, -np.inf), scale=FEATURES**-0.5)
print("rows that are NaN with -inf:", np.isnan(with_infinities).any(axis=1).sum())
print("rows that are NaN with where:", np.isnan(weights).any(axis=1).sum())

output = weights @ values
gradient = softmax_vjp(np.ones_like(output) @ values.T, weights, scale=FEATURES**-0.5)
print("gradient of the rows that see nothing:", np.abs(gradient[20:]).max())

# %%
# Keys on several devices
# -----------------------
#
# With many keys each device has a block of them. It sends 128 bytes a query, the state of its scores; the merged state
# gives each block its weights, and the outputs add up. The classes are those of ``examples/attention_over_blocks.py``.

queries = rng.standard_normal((blocks.HEADS, blocks.QUERIES, blocks.FEATURES), dtype=np.float32)
keys, values = rng.standard_normal((2, blocks.HEADS, blocks.KEYS, blocks.FEATURES), dtype=np.float32)
starts = range(0, blocks.KEYS, blocks.BLOCK)
devices = [
    blocks.Device(start, keys[:, start : start + blocks.BLOCK], values[:, start : start + blocks.BLOCK])
    for start in starts
]
whole = merge_states(*[device.summarize(queries) for device in devices])
output = np.sum([device.attend(whole) for device in devices], axis=0)
error = np.abs(output - blocks.attend_in_double(queries, keys, values)).max()
print(f"{len(devices)} blocks, {whole.nbytes // (blocks.HEADS * blocks.QUERIES)} bytes a query, error {error:.0e}")
assert error <= blocks.TOLERANCE
