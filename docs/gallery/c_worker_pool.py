"""
Worker threads in C
===================

An extension in C with threads of its own: they take rows from a ring and normalise them in place, while Python runs. No
worker ever holds the GIL. The program is ``row_pool.c`` of the examples that are installed with the package.
"""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import softmax_cy

examples = subprocess.run(
    [sys.executable, "-m", "softmax_cy", "--examples"], capture_output=True, text=True, check=True
).stdout.strip()
folder = Path(tempfile.mkdtemp(), "c")
shutil.copytree(Path(examples, "c"), folder)

# %%
# What each thread does
# ---------------------
#
# The kernel is called by a pointer in the table ``softmax_cy``, between the two locks of the ring.

source = (folder / "row_pool.c").read_text()
print(re.search(r"^static void \*worker.*?^}", source, re.DOTALL | re.MULTILINE)[0])

# %%
# Build it
# --------

subprocess.run(["make", "--silent", f"PYTHON={sys.executable}", "row_pool.so"], cwd=folder, check=True)
sys.path.insert(0, str(folder))
use_row_pool = importlib.import_module("use_row_pool")

# %%
# Feed it
# -------
#
# One thread of Python puts rows in, another takes them out in the same order. ``use_row_pool.py`` lies beside it.

print(inspect.getsource(use_row_pool.normalise))

# %%

rng = np.random.default_rng(0)
temperatures = np.repeat([0.5, 2.0, 8.0], 2000)
logits = (rng.standard_normal((6000, 100)) * temperatures[:, None]).astype(np.float32)
normalised = use_row_pool.normalise(logits, threads=4)
assert np.array_equal(normalised, softmax_cy.softmax(logits))
print(f"{len(logits)} rows by 4 threads: the bits of softmax_cy.softmax")

# %%
# The wider the logits, the more certain the best class.

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for temperature, colour in zip((0.5, 2.0, 8.0), ("#b8b8b8", "#ee8866", "#4477aa"), strict=True):
    best = normalised[temperatures == temperature].max(axis=1)
    axes.hist(best, bins=np.linspace(0, 1, 51), color=colour, alpha=0.8, label=f"spread {temperature:g}")
axes.set_xlabel("probability of the best of 100 classes")
axes.set_ylabel("rows")
axes.legend()

shutil.rmtree(folder.parent)
