"""What only the Jacobian of softmax has: the peak of memory."""

from benchmarks.suite.harness import Grid, LeanBuffers

lean = Grid("softmax_jacobian", [(16, 1000)], ("float32",), buffers=LeanBuffers)


@lean
def peakmem_softmax_jacobian(*_):
    """Write 64 MB. `control.peakmem_nothing` tells what the process takes without them."""
    lean.call()
