"""Softmax and its Jacobian in one call."""

from benchmarks.cases import JACOBIANS, SMALL_JACOBIANS
from benchmarks.suite.harness import Grid

grid = Grid("softmax_and_jacobian", (*SMALL_JACOBIANS, *JACOBIANS))


@grid
def time_softmax_and_jacobian(*_):
    """Into arrays that exist."""
    grid.call()
