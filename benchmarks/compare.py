"""Decides whether one commit is slower than another, beyond the drift of the machine and its noise.

Both commits are measured in rounds, in turns. What did not change between them, NumPy's own arithmetic, tells how far
the machine drifted within a round and how large a difference means nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results import Record, Run

ROUNDS = 8
# Many short samples, of which the shortest counts: others who use the machine make a sample longer, never shorter.
REPEAT = 25
ATTRIBUTES = (f"repeat={REPEAT}", "sample_time=0.0005", "warmup_time=0.02")

SMALLEST = 0.05  # what is called a regression in the best of cases
WILD = 10  # one control in so many may have been disturbed all the time; a case's own interval shows if it was
LEFT_OUT = 1  # rounds at either end, in which anything may have happened
CONTROLS = ("numpy",)

_COMPARED = r"'float32', '(softmax_cy|numpy)'\)$"
SELECTION = (
    r"control\.time_numpy_exp\('cache'\)$",
    rf"\.time_(softmax|log_softmax|logsumexp|cross_entropy_and_grad)\('(64x10|32x1000|1024x128)', {_COMPARED}",
    rf"\.time_(softmax_vjp|log_softmax_vjp)\('(64x100|32x1000)', {_COMPARED}",
    rf"\.time_softmax_jacobian\('64x100', {_COMPARED}",
    rf"\.time_softmax_along_axis_0\('128x1024', {_COMPARED}",
    rf"\.time_softmax_small_call\('10', {_COMPARED}",
)


@dataclass(frozen=True)
class Change:
    """A change is the time at the later commit over the time at the earlier one, without the drift."""

    name: str
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:8.3f}  {self.low:.3f} to {self.high:.3f}  {self.name}"


@dataclass(frozen=True)
class Verdict:
    """A verdict holds the changes, and the controls they are compared with."""

    changes: tuple[Change, ...]
    controls: tuple[Change, ...]
    drift: float

    @property
    def noise(self) -> float:
        """Return how far the controls seem to have changed, without the wildest tenth of them."""
        distances = sorted(abs(math.log(change.ratio)) for change in self.controls)
        return distances[-1 - len(distances) // WILD] if distances else math.inf

    @property
    def bound(self) -> float:
        """Return the ratio beyond which a change is called one."""
        return math.exp(max(math.log1p(SMALLEST), self.noise))

    @property
    def regressions(self) -> list[Change]:
        """Return the cases that are slower by more than the bound, and slower in all but the rounds left out."""
        return [change for change in self.changes if change.ratio > self.bound and change.low > 1]

    @property
    def improvements(self) -> list[Change]:
        """Return the cases that are faster in the same sense."""
        return [change for change in self.changes if change.ratio < 1 / self.bound and change.high < 1]

    def text(self) -> str:
        """List every case, and then the verdict."""
        lines = ["time after / before, and in most rounds"]
        lines += map(str, sorted(self.changes, key=lambda change: -change.ratio))
        lines.append("what did not change")
        lines += map(str, self.controls)
        lines.append(f"drift of NumPy: {self.drift:.3f}, taken off; noise left: {math.expm1(self.noise):.1%}")
        lines += [f"REGRESSION: {change.name}: {change.ratio:.2f}x the time" for change in self.regressions]
        lines += [f"improvement: {change.name}: {change.ratio:.2f}x the time" for change in self.improvements]
        if not self.changes:
            lines.append("FAILED: nothing was measured")
        elif not self.regressions:
            lines.append(f"no regression: nothing takes more than {self.bound:.2f}x the time")
        return "\n".join(lines)


def judge(base: Run, head: Run, rounds: int) -> Verdict:
    """Compare the benchmarks that both runs have."""
    before, after = by_name(base.records), by_name(head.records)
    differences = {
        name: pairs
        for name in before.keys() & after.keys()
        if (pairs := logarithms(before[name], after[name], rounds)) is not None
    }
    controls = {name: pairs for name, pairs in sorted(differences.items()) if is_control(before[name])}
    drifts = [statistics.median(pairs) for pairs in zip(*controls.values(), strict=True)] or [0.0] * rounds
    changes = {
        name: change(name, [d - drift for d, drift in zip(pairs, drifts, strict=True)])
        for name, pairs in sorted(differences.items())
    }
    return Verdict(
        tuple(changes[name] for name in changes if name not in controls),
        tuple(changes[name] for name in controls),
        math.exp(statistics.median(drifts)),
    )


def by_name(records: Iterable[Record]) -> Mapping[str, Record]:
    """Return the records with samples, by the names that reports use."""
    return {record.name: record for record in records if record.samples}


def is_control(record: Record) -> bool:
    """Return whether no commit of softmax_cy can change it."""
    return record.module == "control" or record.params.get("backend") in CONTROLS


def logarithms(before: Record, after: Record, rounds: int) -> list[float] | None:
    """Return the logarithm of the ratio of times, round by round. Return None if rounds are missing."""
    times = [by_round(record.samples, rounds) for record in (before, after)]
    if None in times:
        return None
    return [math.log(late / early) for early, late in zip(*times, strict=True)]


def by_round(samples: Sequence[float], rounds: int) -> list[float] | None:
    """Return the shortest sample of each round. asv appends the samples of a round to those before it."""
    each, rest = divmod(len(samples), rounds)
    if rest or not each:
        return None
    return [min(samples[start : start + each]) for start in range(0, len(samples), each)]


def change(name: str, differences: Sequence[float]) -> Change:
    """Return the median of the rounds, and the range of all but the outermost rounds."""
    ordered = sorted(differences)
    inner = ordered[LEFT_OUT : len(ordered) - LEFT_OUT] or ordered
    return Change(name, *(math.exp(value) for value in (statistics.median(ordered), inner[0], inner[-1])))
