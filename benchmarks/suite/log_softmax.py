"""The logarithm of softmax."""

from benchmarks.cases import IN_CACHE
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import NUMPY, OURS, SCIPY, TORCH, Grid, Pair

grid = Grid("log_softmax", IN_CACHE, backends=(OURS, NUMPY, TORCH, SCIPY))


@grid
def time_log_softmax(*_):
    """Into an array that exists."""
    grid.call()


pair = Pair("log_softmax", IN_CACHE)


@pair
def track_ratio_to_torch(*case):
    """The time of softmax_cy as a multiple of torch's, in turns."""
    return pair.ratio(*case)


digits = Digits("log_softmax")


@digits
def track_max_ulp(*_):
    """The worst result on hard inputs."""
    return digits.max_ulp()
