"""From times to numbers that can be compared: ratios, geometric means, and whether a target is met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cases import Group, Target
from benchmarks.peers import NO_COMPETITORS, OURS
from benchmarks.timing import Outcome


def ratios(outcome: Outcome, name: str) -> list[float]:
    """How many times softmax_cy's time another one took, in each round."""
    if not {OURS, name} <= outcome.rounds.keys():
        return []
    both = zip(outcome.rounds[name], outcome.rounds[OURS], strict=True)
    return [theirs / ours for theirs, ours in both]


def ratio(outcome: Outcome, name: str) -> float | None:
    """The median of the rounds; of the fastest peer if that is asked for."""
    if name == "best":
        fastest = best_peer(outcome)
        return ratio(outcome, fastest) if fastest else None
    values = ratios(outcome, name)
    return statistics.median(values) if values else None


def best_peer(outcome: Outcome) -> str | None:
    """The fastest of the other libraries; the plain loops are none."""
    others = {name: ratio(outcome, name) for name in outcome.rounds if name not in NO_COMPETITORS}
    others = {name: value for name, value in others.items() if value is not None}
    return min(others, key=others.__getitem__) if others else None


def geometric_mean(outcomes: Sequence[Outcome], name: str) -> float | None:
    """Over the cases that have such a ratio."""
    values = [value for outcome in outcomes if (value := ratio(outcome, name)) is not None]
    return statistics.geometric_mean(values) if values else None


@dataclass(frozen=True)
class Verdict:
    """A target, and what was measured: for a target of every case, the worst of them."""

    group: Group
    target: Target
    value: float | None
    worst_case: str = ""

    @property
    def met(self) -> bool | None:
        """None if nothing was measured to judge by."""
        if self.value is None:
            return None
        return self.value <= self.target.bound if self.target.at_most else self.value >= self.target.bound

    @property
    def word(self) -> str:
        """For the tables."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def judge(group: Group, outcomes: Sequence[Outcome], target: Target) -> Verdict:
    """Hold what was measured against a target."""
    judged = [outcome for outcome in outcomes if not target.shapes or outcome.case.shape in target.shapes]
    if target.each:
        measured = {outcome.case.name: value for outcome in judged if (value := ratio(outcome, target.against))}
        worst = min(measured, key=measured.__getitem__) if measured else ""
        value = measured.get(worst)
    else:
        worst, value = "", geometric_mean(judged, target.against)
    return Verdict(group, target, 1 / value if value and target.at_most else value, worst)


def verdicts(group: Group, outcomes: Sequence[Outcome], variant: str) -> list[Verdict]:
    """All targets of a group for the kernels of a variant."""
    return [judge(group, outcomes, target) for target in group.targets_of(variant)]
