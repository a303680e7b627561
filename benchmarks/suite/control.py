"""What does not depend on softmax_cy: how the machine itself drifts, and how much of a difference is noise."""

import numpy as np

from benchmarks import peers
from benchmarks.suite.harness import Pair, Parameters, geometric_distance

ELEMENTS = {"cache": 2**16, "memory": 2**24}


class Arrays(Parameters):
    """One to read and one to write, that fit the caches or do not."""

    def prepare(self, where: str) -> None:
        """Touch both."""
        self.x = np.random.default_rng(0).standard_normal(ELEMENTS[where], np.float32)
        self.out = np.zeros_like(self.x)


arrays = Arrays(where=ELEMENTS)


@arrays
def time_numpy_exp(*_):
    """Arithmetic."""
    np.exp(arrays.x, out=arrays.out)


@arrays
def time_numpy_copy(*_):
    """Traffic."""
    np.copyto(arrays.out, arrays.x)


def time_nothing():
    """What asv's own loop takes, which is in every other time."""


def peakmem_nothing():
    """What a process takes before it computes."""


again = Pair("softmax", [(64, 10), (32, 1000), (256, 4096)], ("float32",), peers.Again.name)


@again
def track_difference_from_itself(*case):
    """Softmax_cy against itself, in turns: 0 but for noise."""
    return geometric_distance(again.rounds(*case))


track_difference_from_itself.unit = "relative"
