"""Time all peers of one case side by side: in one process, in turns, on the same buffers.

A machine that speeds up or slows down meanwhile does so for all of them, because they take turns forwards and then
backwards (A B B A) and because ratios are taken within such a round.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat

from benchmarks import reference
from benchmarks.buffers import PLACES, Buffers
from benchmarks.cases import Case, inputs
from benchmarks.peers import Cannot, Peer

SAMPLE_SECONDS = 300e-6  # far above the resolution of the clock
COLD_SECONDS = 20e-3  # a call that takes longer works on more than the caches hold; a warm-up would change nothing
SETTLING_SECONDS = 20e-3  # threads that have nothing to do go on spinning for some milliseconds
WAKING_SECONDS = 5e-3  # and CPUs that had nothing to do do not come back at once


@dataclass
class Outcome:
    """What was measured of a case: for each peer the seconds of one call, round by round, or why there are none."""

    case: Case
    rounds: dict[str, list[float]] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    cannot: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, samples: tuple[float, float]) -> None:
        """Take in the two samples of a peer in one round."""
        self.rounds.setdefault(name, []).append(sum(samples) / 2)
        self.best[name] = min(*samples, self.best.get(name, float("inf")))

    def drop(self, name: str, why: str) -> None:
        """Drop the times of a peer whose result was wrong, at any place of the buffers."""
        self.wrong[name] = why
        self.rounds.pop(name, None)
        self.best.pop(name, None)


def race(case: Case, peers: Iterable[Peer], rounds: int, budget: float) -> Outcome:
    """Time every peer that can compute the case, at every place, for so many rounds or seconds in all."""
    outcome = Outcome(case)
    right = reference.expected(case, inputs(case))
    for place in PLACES:
        calls = contestants(outcome, peers, Buffers(case, place), right)
        with no_garbage_collection():
            for samples in turns(calls, case.threads, -(-rounds // len(PLACES)), budget / len(PLACES)):
                for name, both in samples.items():
                    outcome.add(name, both)
    return outcome


def contestants(outcome: Outcome, peers: Iterable[Peer], buffers: Buffers, right: tuple) -> dict[str, Callable]:
    """Return the calls of the peers that can compute the case and do it right."""
    calls = {}
    for peer in peers:
        if peer.name in outcome.wrong:
            continue
        try:
            run = peer.prepare(outcome.case, buffers)
        except Cannot as reason:
            outcome.cannot[peer.name] = str(reason)
            continue
        buffers.reset()
        value = run.call()
        fault = reference.fault(outcome.case, run.read(value), right) if run.read else ""
        if fault:
            outcome.drop(peer.name, fault)
        else:
            calls[peer.name] = run.call
    return calls


def turns(
    calls: dict[str, Callable], threads: int, rounds: int, budget: float
) -> Iterator[dict[str, tuple[float, float]]]:
    """Time rounds of two samples each, at least one round."""
    counts = {name: calls_per_sample(call) for name, call in calls.items()}
    end = time.perf_counter() + budget
    for _ in range(rounds):
        there = {name: sample(call, counts[name], threads) for name, call in calls.items()}
        back = {name: sample(calls[name], counts[name], threads) for name in reversed(calls)}
        yield {name: (there[name], back[name]) for name in calls}
        if time.perf_counter() >= end:
            break


def sample(call: Callable, count: int, threads: int) -> float:
    """Return the seconds of a call, the mean of `count`, with data in the caches if they fit and no other threads."""
    if threads > 1:
        time.sleep(SETTLING_SECONDS)
        awake = time.perf_counter() + WAKING_SECONDS
        while time.perf_counter() < awake:
            call()
    if seconds(call, 1) < COLD_SECONDS:
        return seconds(call, count)
    return seconds(call, 1)


def seconds(call: Callable, count: int) -> float:
    """Return the seconds of a call, the mean of `count`."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return (time.perf_counter() - start) / count


def calls_per_sample(call: Callable) -> int:
    """Choose a number of calls that takes long enough for the clock to measure."""
    return max(1, -int(-SAMPLE_SECONDS // min(seconds(call, 1) for _ in range(3))))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and not in the middle of a sample."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
