"""The Jacobian of softmax."""

from benchmarks.cases import JACOBIANS, SMALL_JACOBIANS
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import LIMIT, NUMPY, OURS, TORCH, Grid, LeanBuffers, Pair

SHAPES = (*SMALL_JACOBIANS, *JACOBIANS)

grid = Grid("softmax_jacobian", SHAPES, backends=(OURS, NUMPY, TORCH, LIMIT), naive_on=SHAPES[0])


@grid
def time_softmax_jacobian(*_):
    """Into an array that exists; the limit is to fill it with a constant."""
    grid.call()


lean = Grid("softmax_jacobian", [(16, 1000)], ("float32",), buffers=LeanBuffers)


@lean
def peakmem_softmax_jacobian(*_):
    """64 MB out; `control.peakmem_nothing` is what the process takes without them."""
    lean.call()


pair = Pair("softmax_jacobian", SHAPES)


@pair
def track_ratio_to_torch(*case):
    """The time of softmax_cy as a multiple of torch's, in turns."""
    return pair.ratio(*case)


digits = Digits("softmax_jacobian", length=64)


@digits
def track_max_ulp(*_):
    """The worst entry."""
    return digits.max_ulp()
