"""The protocol of pool.h, step by step, in every order in which its threads can take their steps.

A state is what the threads share and where each of them is. From the first state on all that can follow are visited;
each step is one atomic operation of pool.h, or a read or write of what is not atomic. Memory is sequentially
consistent here: whether the memory orders of pool.h suffice is for ThreadSanitizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest


@dataclass(frozen=True)
class Thread:
    """Where a thread is, and what it remembers."""

    step: str
    job: int = -1  # callers: the one to do, or being done; workers: the one that they found inside
    chunk: int = -1
    count: int = 0
    index: int = 0


@dataclass(frozen=True)
class State:
    """Everything that a step may change."""

    threads: tuple[Thread, ...]
    asleep: tuple[int, ...]
    bell: tuple[int, ...]
    busy: int = 0
    waiting: int = 0
    seats: int = 0
    inside: int = 0
    job: int = -1  # -1 while a caller writes it
    next: int = 0
    done: int = 0
    ran: tuple[tuple[int, ...], ...] = field(default=())


class Broken(Exception):
    """The protocol does not hold what it promises."""


@dataclass(frozen=True)
class Protocol:
    """Callers with jobs of some chunks, workers, and what is left out of the protocol to see that it is missed."""

    callers: int
    workers: int
    jobs: int  # of each caller
    chunks: int
    without: str = ""

    def first(self) -> State:
        """Nothing has begun: callers wish to, and the workers look for work."""
        threads = [Thread("begin", job=caller * self.jobs) for caller in range(self.callers)]
        return State(
            threads=(*threads, *[Thread("look")] * self.workers),
            asleep=(0,) * self.workers,
            bell=(0,) * self.workers,
            ran=((0,) * self.chunks,) * (self.callers * self.jobs),
        )

    def following(self, state: State) -> Iterator[State]:
        """Every state that one step of one thread leads to."""
        for k, thread in enumerate(state.threads):
            steps = self.caller_steps(state, thread) if k < self.callers else self.worker_steps(state, thread, k)
            for changed, after in steps:
                yield replace(state, threads=(*state.threads[:k], after, *state.threads[k + 1 :]), **changed)

    def caller_steps(self, s: State, t: Thread) -> Iterator[tuple[dict, Thread]]:
        """pool_run."""
        match t.step:
            case "begin":
                if s.busy:
                    ran = tuple((1,) * self.chunks if job == t.job else old for job, old in enumerate(s.ran))
                    yield {"ran": ran}, self.next_job(t)
                else:
                    yield {"busy": 1}, replace(t, step="write")
            case "write":
                yield {"job": -1}, replace(t, step="written")
            case "written":
                yield {"job": t.job, "next": 0}, replace(t, step="open")
            case "open":
                yield {"seats": self.workers}, replace(t, step="see the gate")
            case "see the gate" | "count" | "ring":
                yield self.ringing(s, t, "claim")
            case "claim":
                yield {"next": s.next + 1}, self.claimed(s, t, "close")
            case "compute":
                yield {"ran": self.computed(s, t)}, replace(t, step="claim", chunk=-1)
            case "close":
                yield {} if self.without == "closing" else {"seats": 0}, replace(t, step="wait")
            case "wait":
                if not s.inside or self.without == "waiting":
                    yield {}, replace(t, step="end")
                else:
                    # Having looked long enough.
                    yield {}, replace(t, step="doze")
            case "doze":
                if s.inside or self.without == "exchange of the gate":
                    yield {"waiting": 1}, replace(t, step="dream")
                else:
                    yield {}, replace(t, step="end")
            case "dream":
                if s.done:
                    yield {"done": 0}, replace(t, step="end")
            case "end":
                if s.ran[t.job] != (1,) * self.chunks:
                    raise Broken(f"the call returns, and its chunks were computed {s.ran[t.job]} times")
                if s.inside:
                    raise Broken("the call returns, and a worker is still inside")
                yield {"busy": 0, "waiting": 0, "seats": 0}, self.next_job(t)

    def worker_steps(self, s: State, t: Thread, k: int) -> Iterator[tuple[dict, Thread]]:
        """pool_work."""
        me = k - self.callers
        match t.step:
            case "look":
                if s.seats:
                    yield {"seats": s.seats - 1, "inside": s.inside + 1}, replace(t, step="see the gate")
                else:
                    # Having looked long enough.
                    yield {}, replace(t, step="yawn")
            case "see the gate" | "count" | "ring":
                yield self.ringing(s, t, "read")
            case "read":
                if s.job < 0:
                    raise Broken("a worker reads a job while it is written")
                yield {}, replace(t, step="claim", job=s.job)
            case "claim":
                yield {"next": s.next + 1}, self.claimed(s, t, "leave")
            case "compute":
                yield {"ran": self.computed(s, t)}, replace(t, step="claim", chunk=-1)
            case "leave":
                last = s.waiting and s.inside == 1
                step = "wake" if last and self.without != "waking" else "look"
                yield {"inside": s.inside - 1}, replace(t, step=step, job=-1)
            case "wake":
                if s.done:
                    raise Broken("a caller is woken twice")
                yield {"done": 1}, replace(t, step="look")
            case "yawn":
                yield {"asleep": put(s.asleep, me, 1)}, replace(t, step="look again")
            case "look again":
                step = "stay" if s.seats and self.without != "second look" else "sleep"
                yield {}, replace(t, step=step)
            case "stay":
                if s.asleep[me] or self.without == "exchange of asleep":
                    yield {"asleep": put(s.asleep, me, 0)}, replace(t, step="look")
                else:
                    yield {}, replace(t, step="sleep")
            case "sleep":
                if s.bell[me]:
                    yield {"bell": put(s.bell, me, 0)}, replace(t, step="look")
                elif s.seats and s.job >= 0 and not any(map(self.will_ring, s.threads)) and not any(s.bell):
                    raise Broken("a worker sleeps while there is a seat, and nobody will ring")

    def ringing(self, s: State, t: Thread, then: str) -> tuple[dict, Thread]:
        """A step of pool_ring."""
        if t.step == "see the gate":
            return {}, replace(t, step="count", index=0, count=s.seats + s.inside - self.workers)
        if t.step == "count":
            if t.index < self.workers:
                return {}, replace(t, index=t.index + 1, count=t.count + s.asleep[t.index])
            return {}, replace(t, step="ring", index=0, count=min(2, t.count))
        if t.index == self.workers or t.count <= 0:
            return {}, replace(t, step=then, index=0, count=0)
        if not s.asleep[t.index]:
            return {}, replace(t, index=t.index + 1)
        if s.bell[t.index]:
            # A bell is a lock that is held: to release it twice is an error.
            raise Broken("a bell is rung twice")
        rung = {"asleep": put(s.asleep, t.index, 0), "bell": put(s.bell, t.index, 1)}
        return rung, replace(t, index=t.index + 1, count=t.count - 1)

    def will_ring(self, t: Thread) -> bool:
        """Whether the thread rings, or takes a seat and rings, without another's help."""
        before = ("open", "see the gate", "count", "ring")
        return t.step in (*before, "look", "yawn", "look again", "stay", "wake", "leave")

    def next_job(self, t: Thread) -> Thread:
        """What a caller does after its call."""
        last = (t.job + 1) % self.jobs == 0
        return Thread("finished" if last else "begin", job=t.job + 1)

    def claimed(self, s: State, t: Thread, otherwise: str) -> Thread:
        """With the next chunk, or where there is none left."""
        if s.job != t.job:
            raise Broken("a thread is in a job that is over")
        return replace(t, step="compute", chunk=s.next) if s.next < self.chunks else replace(t, step=otherwise)

    def computed(self, s: State, t: Thread) -> tuple[tuple[int, ...], ...]:
        """How often each chunk was, now that this thread has done its own."""
        if s.job != t.job:
            raise Broken("a thread is in a job that is over")
        return put(s.ran, t.job, put(s.ran[t.job], t.chunk, s.ran[t.job][t.chunk] + 1))

    def finished(self, state: State) -> bool:
        """All calls have returned."""
        return all(thread.step == "finished" for thread in state.threads[: self.callers])


def put(values: tuple, index: int, value: object) -> tuple:
    """The values with another one there."""
    return (*values[:index], value, *values[index + 1 :])


def explore(protocol: Protocol) -> int:
    """The number of states that can be reached; raises Broken."""
    seen = {protocol.first()}
    to_do = list(seen)
    ended = False
    while to_do:
        state = to_do.pop()
        found = list(protocol.following(state))
        ended = ended or protocol.finished(state)
        if not found and not protocol.finished(state):
            raise Broken("all sleep, and a call has not returned")
        for after in found:
            if after not in seen:
                seen.add(after)
                to_do.append(after)
    assert ended
    return len(seen)


@pytest.mark.parametrize(
    ("callers", "workers", "jobs", "chunks"), [(1, 1, 2, 2), (1, 2, 2, 2), (1, 2, 1, 3), (2, 1, 1, 2), (2, 2, 1, 1)]
)
def test_every_order_of_steps(callers, workers, jobs, chunks):
    """Each chunk is computed once before its call returns, no job is read while it is written, nobody is forgotten."""
    assert explore(Protocol(callers, workers, jobs, chunks)) > 100


@pytest.mark.parametrize(
    "without",
    ["closing", "waiting", "waking", "exchange of the gate", "second look", "exchange of asleep"],
)
def test_nothing_of_it_can_be_left_out(without):
    with pytest.raises(Broken):
        explore(Protocol(callers=1, workers=2, jobs=2, chunks=1, without=without))
