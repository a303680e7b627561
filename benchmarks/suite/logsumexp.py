"""The logarithm of the sum of exponentials."""

from benchmarks.cases import IN_CACHE
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import NUMPY, OURS, SCIPY, TORCH, Grid, Pair

grid = Grid("logsumexp", IN_CACHE, backends=(OURS, NUMPY, TORCH, SCIPY))


@grid
def time_logsumexp(*_):
    """Into an array that exists."""
    grid.call()


pair = Pair("logsumexp", IN_CACHE)


@pair
def track_ratio_to_torch(*case):
    """The time of softmax_cy as a multiple of torch's, in turns."""
    return pair.ratio(*case)


digits = Digits("logsumexp")


@digits
def track_max_ulp(*_):
    """The worst result on hard inputs."""
    return digits.max_ulp()
