"""Attention over blocks of keys, one a device: all that the devices share is 128 bytes a query.

Each device multiplies the queries by its keys and makes a state of its scores, with ``exact=False``. The merged state
gives each device its part of the attention weights, and the outputs add up. The merge is that of ring and of tree
attention: Liu, Zaharia, Abbeel, "Ring attention with blockwise transformers for near-infinite context", 2023,
arXiv:2310.01889; Shyam et al., "Tree attention", 2024, arXiv:2408.04093.

    python examples/attention_over_blocks.py

Exits with 1 if the output differs from attention in double precision by more than float32 explains.
"""

import math
import sys

import numpy as np

from _demo import Checks
from softmax_cy import SoftmaxState, merge_states, softmax, softmax_state

HEADS, QUERIES, KEYS, FEATURES = 4, 128, 8192, 64
BLOCK = 1024
SCALE = 1 / math.sqrt(FEATURES)
# What products of FEATURES and sums of KEYS float32 may be off by.
TOLERANCE = 1e-5


def mask_block(start: int, stop: int) -> np.ndarray:
    """Causal attention: the queries are the last tokens, and none sees a later one."""
    return np.arange(start, stop) <= np.arange(KEYS - QUERIES, KEYS)[:, None]


class Device:
    """One block of keys and values. A class here, a process or an accelerator elsewhere."""

    def __init__(self, start: int, keys: np.ndarray, values: np.ndarray) -> None:
        self.start, self.keys, self.values = start, keys, values
        self.where = mask_block(start, start + keys.shape[1])

    def summarize(self, queries: np.ndarray) -> SoftmaxState:
        """Make the state of the scores of this block."""
        self.scores = queries @ self.keys.swapaxes(-1, -2)
        return softmax_state(self.scores, offset=self.start, length=KEYS, scale=SCALE, where=self.where, exact=False)

    def attend(self, whole: SoftmaxState) -> np.ndarray:
        """Return what this block adds to the output."""
        weights = whole.finish(self.scores, self.start, where=self.where, out=self.scores)
        return weights @ self.values


def attend_in_double(queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Attention in one piece, in double precision."""
    queries, keys, values = (array.astype(np.float64) for array in (queries, keys, values))
    weights = softmax(queries @ keys.swapaxes(-1, -2), scale=SCALE, where=mask_block(0, KEYS))
    return weights @ values


def main() -> int:
    """Attend over the blocks, and compare."""
    rng = np.random.default_rng(3)
    queries = rng.standard_normal((HEADS, QUERIES, FEATURES), dtype=np.float32)
    keys, values = rng.standard_normal((2, HEADS, KEYS, FEATURES), dtype=np.float32)
    devices = [
        Device(start, keys[:, start : start + BLOCK], values[:, start : start + BLOCK])
        for start in range(0, KEYS, BLOCK)
    ]
    states = [device.summarize(queries) for device in devices]
    whole = merge_states(*states)
    output = np.sum([device.attend(whole) for device in devices], axis=0)

    error = np.abs(output - attend_in_double(queries, keys, values)).max()
    print(f"{len(devices)} blocks, {whole.nbytes // (HEADS * QUERIES)} bytes a query, largest error {error:.1e}")
    checks = Checks()
    checks.check(f"no output is off by more than {TOLERANCE:g}", error <= TOLERANCE)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
