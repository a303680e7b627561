"""States of parts of slices, exact ones and not, beside one call on as many elements: what it costs to cut slices.

No other library has such states, so the last parameter is the way to compute instead of the peer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np

from benchmarks.buffers import copy_at, empty_at
from benchmarks.cases import SEED
from benchmarks.suite.harness import BOTH, OURS, PLACE, Missing, Parameters, peer, shape_name, shape_of

# Slices that are shorter than a block of the kernels, and slices of blocks that neither 2 nor 64 parts cut.
SHAPES = ((64, 1000), (4, 2**18))
PARTS = (2, 64)
EXACT, INEXACT, WHOLE = "exact", "inexact", "whole call"

STREAMED, READ_AT_ONCE = (16, 2**20), 2**16  # a shape, and the elements of each slice that are in memory at a time


def library() -> ModuleType:
    """Return the build that is measured. Commits before softmax_state have nothing to measure."""
    found = peer(OURS).library
    if not hasattr(found, "softmax_state"):
        raise Missing("this build has no softmax_state")
    return found


class Cut:
    """Slices that are cut into parts, with a class for each loss, and room for a result."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        rng = np.random.default_rng(SEED)
        self.ours = library()
        self.length = shape[-1]
        self.middle = self.length // 2
        self.x = copy_at(rng.standard_normal(shape).astype(dtype), PLACE[0])
        self.out = empty_at(shape, self.x.dtype, PLACE[-1])
        self.target = rng.integers(self.middle, self.length, shape[:-1])  # all classes are in the second half

    @property
    def second_half(self) -> np.ndarray:
        """Return the part that results are computed of."""
        return self.x[:, self.middle :]

    def states(self, exact: bool, parts: int) -> list:
        """Make the state of each part."""
        ends = [self.length * i // parts for i in range(parts + 1)]
        return [
            self.ours.softmax_state(self.x[:, start:stop], offset=start, length=self.length, exact=exact)
            for start, stop in itertools.pairwise(ends)
        ]

    def state(self, exact: bool) -> object:
        """Make the state of the whole slices, of two parts."""
        return self.ours.merge_states(*self.states(exact, 2))


class Ways(Parameters):
    """A benchmark that measures what states do, exact ones and not, and the one call that does as much."""

    def __init__(self, of_states: Callable[[Cut, bool], Callable], of_whole: Callable[[Cut], Callable]) -> None:
        super().__init__(shape=map(shape_name, SHAPES), dtype=BOTH, way=(EXACT, INEXACT, WHOLE))
        self.of_states, self.of_whole = of_states, of_whole

    def prepare(self, shape: str, dtype: str, way: str) -> None:
        """Let `call` be the call to measure."""
        self.cut = Cut(shape_of(shape), dtype)
        self.call = self.of_whole(self.cut) if way == WHOLE else self.of_states(self.cut, way == EXACT)
        self.call()


class Merges(Parameters):
    """A benchmark that measures how the states of some parts become one."""

    def __init__(self) -> None:
        super().__init__(shape=map(shape_name, SHAPES), dtype=BOTH, parts=map(str, PARTS), way=(EXACT, INEXACT))

    def prepare(self, shape: str, dtype: str, parts: str, way: str) -> None:
        """Let `call` be the call to measure."""
        cut = Cut(shape_of(shape), dtype)
        self.call = partial(cut.ours.merge_states, *cut.states(way == EXACT, int(parts)))
        self.call()


class Streams(Parameters):
    """A benchmark of the memory that logsumexp takes where the logits come a part at a time, or all at once."""

    def __init__(self) -> None:
        super().__init__(way=(EXACT, INEXACT, WHOLE))

    def prepare(self, way: str) -> None:
        """Let `call` be the call to measure."""
        count, length = STREAMED
        at_once = length if way == WHOLE else READ_AT_ONCE
        x = np.empty((count, at_once), np.float32)
        if way == WHOLE:
            fill(x, 0)
            self.call = partial(library().logsumexp, x, num_threads=1)
        else:
            self.call = partial(stream_logsumexp, library(), x, length, way == EXACT)
        self.call()


def fill(x: np.ndarray, start: int) -> None:
    """Bring the part of the slices that begins with element `start` into memory. No array as large is made."""
    for first in range(0, x.shape[-1], READ_AT_ONCE):
        values = np.random.default_rng(start + first).standard_normal(READ_AT_ONCE, np.float32)
        x[:, first : first + READ_AT_ONCE] = values


def stream_logsumexp(ours: ModuleType, x: np.ndarray, length: int, exact: bool) -> np.ndarray:
    """Compute logsumexp of slices that are never in memory as a whole. Each state is merged as it comes."""
    whole = None
    for start in range(0, length, x.shape[-1]):
        fill(x, start)
        state = ours.softmax_state(x, offset=start, length=length, exact=exact)
        whole = state if whole is None else whole.merge(state)
    return whole.logsumexp()


def make_state(cut: Cut, exact: bool) -> Callable:
    """Prepare the state of the second half."""
    return partial(cut.ours.softmax_state, cut.second_half, offset=cut.middle, length=cut.length, exact=exact)


def finish(cut: Cut, exact: bool) -> Callable:
    """Prepare softmax of the second half, once the state of the whole is there."""
    return partial(cut.state(exact).finish, cut.second_half, cut.middle, out=cut.out[:, cut.middle :])


def find_logsumexp(cut: Cut, exact: bool) -> Callable:
    """Prepare what the state of the whole knows."""
    return cut.state(exact).logsumexp


def find_losses(name: str, cut: Cut, exact: bool) -> Callable:
    """Prepare a loss whose classes are in the second half."""
    return partial(getattr(cut.state(exact), name), cut.second_half, cut.target, cut.middle)


def find_losses_at_once(name: str, cut: Cut) -> Callable:
    """Prepare one call on as many elements, with the same classes."""
    function = getattr(cut.ours, name)
    return partial(function, cut.second_half, cut.target - cut.middle, reduction="none", num_threads=1)


def compute_in_parts(cut: Cut, exact: bool) -> Callable:
    """Prepare softmax of the whole, from two parts: both states, the merge, and both results."""

    def compute() -> np.ndarray:
        whole = cut.state(exact)
        for part in (slice(0, cut.middle), slice(cut.middle, cut.length)):
            whole.finish(cut.x[:, part], part.start, out=cut.out[:, part])
        return cut.out

    return compute


softmax_state = Ways(make_state, lambda cut: partial(cut.ours.logsumexp, cut.second_half, num_threads=1))


@softmax_state
def time_softmax_state(*_):
    """Summarize half of each slice. One call of logsumexp reads as much."""
    softmax_state.call()


merge_states = Merges()


@merge_states
def time_merge_states(*_):
    """Merge the states of all parts. Parts of short slices still hold their elements."""
    merge_states.call()


finish_part = Ways(
    finish,
    lambda cut: partial(cut.ours.softmax, cut.second_half, out=cut.out[:, cut.middle :], num_threads=1),
)


@finish_part
def time_finish_part(*_):
    """Compute softmax of half of each slice, with the state of the whole. One call of softmax needs no state."""
    finish_part.call()


logsumexp = Ways(find_logsumexp, lambda cut: partial(cut.ours.logsumexp, cut.x, num_threads=1))


@logsumexp
def time_logsumexp_of_state(*_):
    """Ask the state of the whole. One call computes it."""
    logsumexp.call()


cross_entropy = Ways(partial(find_losses, "cross_entropy"), partial(find_losses_at_once, "cross_entropy"))


@cross_entropy
def time_cross_entropy_of_part(*_):
    """Find the losses whose classes lie in half of each slice. They need one logit of it."""
    cross_entropy.call()


cross_entropy_and_grad = Ways(
    partial(find_losses, "cross_entropy_and_grad"), partial(find_losses_at_once, "cross_entropy_and_grad")
)


@cross_entropy_and_grad
def time_cross_entropy_and_grad_of_part(*_):
    """Find the same losses, and the gradient in half of each slice, which is a new array."""
    cross_entropy_and_grad.call()


in_two_parts = Ways(compute_in_parts, lambda cut: partial(cut.ours.softmax, cut.x, out=cut.out, num_threads=1))


@in_two_parts
def time_softmax_in_two_parts(*_):
    """Do all of it: both states, the merge, and both results."""
    in_two_parts.call()


streamed = Streams()


@streamed
def peakmem_streamed_logsumexp(*_):
    """Read 64 MB, 4 MB at a time or at once. `control.peakmem_nothing` tells what the process takes without them."""
    streamed.call()
