"""The loss alone."""

from benchmarks.cases import LOSSES
from benchmarks.suite.harness import Grid

grid = Grid("cross_entropy", LOSSES)


@grid
def time_cross_entropy(*_):
    """The mean over the rows."""
    grid.call()
