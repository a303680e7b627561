"""The Jacobian of log_softmax."""

from benchmarks.cases import JACOBIANS, SMALL_JACOBIANS
from benchmarks.suite.harness import Grid

grid = Grid("log_softmax_jacobian", (*SMALL_JACOBIANS, *JACOBIANS))


@grid
def time_log_softmax_jacobian(*_):
    """Into an array that exists."""
    grid.call()
