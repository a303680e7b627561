"""The loss and its gradient."""

from benchmarks.cases import LOSSES
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import Grid, Pair

grid = Grid("cross_entropy_and_grad", LOSSES)


@grid
def time_cross_entropy_and_grad(*_):
    """The mean over the rows, and its gradient into an array that exists."""
    grid.call()


pair = Pair("cross_entropy_and_grad", LOSSES)


@pair
def track_ratio_to_torch(*case):
    """The time of softmax_cy as a multiple of torch's, in turns."""
    return pair.ratio(*case)


digits = Digits("cross_entropy_and_grad")


@digits
def track_max_ulp(*_):
    """The worst result on hard inputs."""
    return digits.max_ulp()
