"""The Jacobian-vector product of log_softmax."""

from benchmarks.cases import PRODUCTS
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import Grid, Pair

grid = Grid("log_softmax_jvp", PRODUCTS)


@grid
def time_log_softmax_jvp(*_):
    """Into an array that exists."""
    grid.call()


pair = Pair("log_softmax_jvp", PRODUCTS)


@pair
def track_ratio_to_torch(*case):
    """The time of softmax_cy as a multiple of torch's, in turns."""
    return pair.ratio(*case)


digits = Digits("log_softmax_jvp")


@digits
def track_max_ulp(*_):
    """The worst result on hard inputs."""
    return digits.max_ulp()
