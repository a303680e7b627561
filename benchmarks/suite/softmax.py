"""The forward pass."""

from benchmarks.cases import ALONG_AXIS_0, BEYOND_CACHE, HALF_PRECISION, IN_CACHE, IN_PLACE, SHARED_ROWS, VECTOR
from benchmarks.suite.digits import Digits
from benchmarks.suite.harness import BOTH, LIMIT, NUMPY, OURS, SCIPY, TORCH, Grid, LeanBuffers, Pair

TOTAL = 2**18  # elements, 1 MB in float32: as much as the second-level cache of many CPUs
LENGTHS = tuple(2**power for power in range(3, 19, 3))

PEERS = (OURS, NUMPY, TORCH, SCIPY)

grid = Grid("softmax", IN_CACHE, backends=PEERS, naive_on=IN_CACHE[0])


@grid
def time_softmax(*_):
    """Into an array that exists, where the peer can."""
    grid.call()


beyond_cache = Grid("softmax", BEYOND_CACHE, backends=(*PEERS, LIMIT))


@beyond_cache
def time_softmax_beyond_cache(*_):
    """More than the caches hold; the limit is a copy of the input."""
    beyond_cache.call()


by_length = Grid("softmax", [(TOTAL // n, n) for n in LENGTHS], ("float32",), (*PEERS, LIMIT))


@by_length
def time_softmax_by_length(*_):
    """As many elements, in longer and longer rows; the limit is a copy of the input."""
    by_length.call()


half_precision = Grid("softmax", HALF_PRECISION, ("float16", "bfloat16"))


@half_precision
def time_softmax_half_precision(*_):
    """Computed in float32, rounded once."""
    half_precision.call()


along_axis_0 = Grid("softmax", ALONG_AXIS_0, axis=0)


@along_axis_0
def time_softmax_along_axis_0(*_):
    """Slices side by side."""
    along_axis_0.call()


in_place = Grid("softmax", IN_PLACE, in_place=True)


@in_place
def time_softmax_in_place(*_):
    """Over its own input."""
    in_place.call()


small_call = Grid("softmax", [VECTOR], backends=PEERS, allocated=True)


@small_call
def time_softmax_small_call(*_):
    """Ten numbers and a new array: what a call costs."""
    small_call.call()


two_threads = Grid("softmax", SHARED_ROWS, ("float32",), (OURS, TORCH), threads=2)


@two_threads
def time_softmax_two_threads(*_):
    """Rows shared by two threads."""
    two_threads.call()


lean = Grid("softmax", [(2048, 8192)], ("float32",), buffers=LeanBuffers)


@lean
def peakmem_softmax(*_):
    """64 MB in and 64 MB out; `control.peakmem_nothing` is what the process takes without them."""
    lean.call()


pair = Pair("softmax", IN_CACHE)


@pair
def track_ratio_to_torch(*case):
    """The time of softmax_cy as a multiple of torch's, in turns."""
    return pair.ratio(*case)


digits = Digits("softmax", BOTH)


@digits
def track_max_ulp(*_):
    """The worst result on hard inputs."""
    return digits.max_ulp()
