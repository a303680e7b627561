"""What no commit of softmax_cy changes: these show how the machine drifts, and how much of a difference is noise."""

import numpy as np

from benchmarks import peers
from benchmarks.suite.harness import VERSION, Pair, Parameters, geometric_distance

ELEMENTS = {"cache": 2**16, "memory": 2**24}


class Arrays(Parameters):
    """These are an array to read and one to write. They fit in the caches, or they do not."""

    def prepare(self, where: str) -> None:
        """Touch both arrays."""
        self.x = np.random.default_rng(0).standard_normal(ELEMENTS[where], np.float32)
        self.out = np.zeros_like(self.x)


arrays = Arrays(where=ELEMENTS)


@arrays
def time_numpy_exp(*_):
    """Compute."""
    np.exp(arrays.x, out=arrays.out)


@arrays
def time_numpy_copy(*_):
    """Move memory."""
    np.copyto(arrays.out, arrays.x)


def time_nothing():
    """Take the time of asv's own loop, which is in every other time."""


time_nothing.version = VERSION


def peakmem_nothing():
    """Take the memory of a process before it computes."""


peakmem_nothing.version = VERSION


again = Pair("softmax", [(64, 10), (32, 1000), (256, 4096)], ("float32",), peers.Again.name)


@again
def track_difference_from_itself(*case):
    """Return how far softmax_cy is from itself, measured in turns. Without noise that is 0."""
    return geometric_distance(again.rounds(*case))


track_difference_from_itself.unit = "relative"
