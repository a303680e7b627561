"""What only softmax has: more memory, other axes, half precision, threads, and small calls."""

from benchmarks.cases import ALONG_AXIS_0, BEYOND_CACHE, HALF_PRECISION, IN_PLACE, SHARED_ROWS, VECTOR
from benchmarks.suite.harness import LIMIT, NUMPY, OURS, SCIPY, TORCH, Grid, LeanBuffers, backends_of

TOTAL = 2**18  # elements, 1 MB in float32: as much as the second-level cache of many CPUs
LENGTHS = tuple(2**power for power in range(3, 19, 3))

BESIDE_THE_LIMIT = (*backends_of("softmax"), LIMIT)

beyond_cache = Grid("softmax", BEYOND_CACHE, backends=BESIDE_THE_LIMIT)


@beyond_cache
def time_softmax_beyond_cache(*_):
    """Work on more than the caches hold. The limit is a copy of the input."""
    beyond_cache.call()


by_length = Grid("softmax", [(TOTAL // n, n) for n in LENGTHS], ("float32",), BESIDE_THE_LIMIT)


@by_length
def time_softmax_by_length(*_):
    """Work on the same number of elements, in longer and longer rows. The limit is a copy of the input."""
    by_length.call()


half_precision = Grid("softmax", HALF_PRECISION, ("float16", "bfloat16"))


@half_precision
def time_softmax_half_precision(*_):
    """Compute in float32, and round once."""
    half_precision.call()


along_axis_0 = Grid("softmax", ALONG_AXIS_0, axis=0)


@along_axis_0
def time_softmax_along_axis_0(*_):
    """Work on slices that lie side by side."""
    along_axis_0.call()


in_place = Grid("softmax", IN_PLACE, in_place=True)


@in_place
def time_softmax_in_place(*_):
    """Write over the input."""
    in_place.call()


small_call = Grid("softmax", [VECTOR], backends=(OURS, NUMPY, TORCH, SCIPY), allocated=True)


@small_call
def time_softmax_small_call(*_):
    """Work on ten numbers and return a new array. This is what a call costs."""
    small_call.call()


two_threads = Grid("softmax", SHARED_ROWS, ("float32",), (OURS, TORCH), threads=2)


@two_threads
def time_softmax_two_threads(*_):
    """Share the rows between two threads."""
    two_threads.call()


lean = Grid("softmax", [(2048, 8192)], ("float32",), buffers=LeanBuffers)


@lean
def peakmem_softmax(*_):
    """Read 64 MB and write 64 MB. `control.peakmem_nothing` tells what the process takes without them."""
    lean.call()
