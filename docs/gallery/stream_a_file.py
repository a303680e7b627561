"""
Softmax of a file, part by part
===============================

A slice that does not fit into memory is read twice. The first time each part leaves a state behind; the merged state
finishes each part the second time. The result has the bits of one call on the whole slice.

``examples/stream_file.py`` does this under a limit of the operating system, with 256 MB of which 96 MB are allowed.
Here the file has 32 MB, so that the result can be compared, and drawn, at once.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import softmax_cy
import stream_file

stream_file.SHAPE = (4, 2_000_000)
stream_file.PART = 1 << 18

folder = tempfile.TemporaryDirectory()
source, result = Path(folder.name, "logits.npy"), Path(folder.name, "softmax.npy")
stream_file.write_logits(source)
np.lib.format.open_memmap(result, mode="w+", dtype=np.float32, shape=stream_file.SHAPE)

# %%
# The first reading: a state for each of the four slices.

states = stream_file.summarize(source)
print(f"{source.stat().st_size / 1e6:.0f} MB of logits, {sum(state.nbytes for state in states) / 1e3:.0f} kB of states")

# %%
# The second reading writes the result, part by part. Each byte is that of one call in memory.

stream_file.finish(source, result, states)
logits = np.load(source)
assert np.load(result).tobytes() == softmax_cy.softmax(logits).tobytes()
print("the same bits as one call")

# %%
# What a state holds
# ------------------
#
# How the sum settles while the first slice is read, and how the state grows: 24 bytes for each block of 16 KB. Each
# point is a call on what was read so far.

row = logits[0]
cuts = range(0, row.size, stream_file.PART)
so_far = [softmax_cy.logsumexp(row[: start + stream_file.PART]) for start in cuts]
sizes = [softmax_cy.softmax_state(row[: start + stream_file.PART]).nbytes / 1e3 for start in cuts]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
read = [min(start + stream_file.PART, row.size) * 4 / 1e6 for start in cuts]
left.plot(read, np.array(so_far) - states[0].logsumexp(), marker="o", color="#4477aa")
left.set_title("logsumexp so far, less the final one")
right.plot(read, sizes, marker="o", color="#4477aa")
right.set_title("size of the state, kB")
for axes in (left, right):
    axes.set_xlabel("MB of the slice that were read")

# %%
# ``exact=False`` keeps 128 bytes a slice, whatever is read. The bits then depend on the cuts, within 2 ulp.

small = softmax_cy.softmax_state(row, exact=False)
print(small.nbytes, "bytes;", small.logsumexp(), "for", states[0].logsumexp())

folder.cleanup()
