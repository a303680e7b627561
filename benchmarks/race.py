"""Race softmax_cy against torch, oneDNN, ONNX Runtime, JAX, SciPy and NumPy, on one thread if not said otherwise.

    python -m benchmarks.race [--select PATTERN] [--peers NAME ...] [--json FILE] [--markdown docs/results/race.md]

All peers of a case take turns, at several places of the buffers. Before that, their results are compared with a
reference. A wrong result fails the run, and the exit code is 1. "plain Cython" are the loops in `softmax_cy.plain`.
They show what the kernels gain, and are never the best peer.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import softmax_cy
from benchmarks import machine, peers, report
from benchmarks.cases import CASES, GROUPS, Case, Group, numpy_dtype
from benchmarks.screen import PlainScreen, RichScreen, screen
from benchmarks.standings import Verdict, verdicts
from benchmarks.timing import Outcome, race

ROUNDS = 24
SECONDS = 3.0

MARK = "<!-- written by make race: tables -->"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line and check it."""
    names = [kind.name for kind in (*peers.OTHERS, peers.Limit)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--select", action="append", metavar="PATTERN", help="cases whose name or group contains or matches it")
    add("--peers", nargs="+", choices=names, default=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    add("--rounds", type=at_least_one, default=ROUNDS, help="at most so many rounds a case (default: %(default)s)")
    add("--seconds", type=float, default=SECONDS, help="about so many seconds a case (default: %(default)s)")
    add("--targets", action=argparse.BooleanOptionalAction, help="judge the targets (default: in a full run)")
    add("--noise", action="store_true", help="softmax_cy against itself")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--markdown", type=Path, metavar="FILE", help="write the tables below the mark of this page")
    add("--list", action="store_true", help="name the cases and stop")
    options = parser.parse_args(argv)
    if not any(selected(options.select)):
        parser.error(f"no case is named like {' or '.join(options.select)}; --list names them")
    if options.targets is None:
        options.targets = not options.select
    return options


def at_least_one(text: str) -> int:
    """Read a number of rounds."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def selected(patterns: Sequence[str] | None) -> list[tuple[Group, list[Case]]]:
    """Return each group that has cases which match any of the patterns, with these cases."""
    chosen = ((group, [case for case in group.cases if wanted(group, case, patterns)]) for group in GROUPS)
    return [(group, cases) for group, cases in chosen if cases]


def wanted(group: Group, case: Case, patterns: Sequence[str] | None) -> bool:
    """Say whether a pattern is the name of the case or its group, or a part or glob of these.

    The whole name of a case selects that case alone.
    """
    if patterns is None:
        return True
    whole_names = {case.name for case in CASES}.intersection(patterns)
    return case.name in whole_names or any(
        pattern in text or fnmatch.fnmatchcase(text, pattern)
        for pattern in set(patterns) - whole_names
        for text in (case.name, group.title)
    )


def why_left_out(case: Case) -> str:
    """Say why a case cannot be measured here at all; an empty string means that it can."""
    if not hasattr(softmax_cy, case.operation):
        return f"this build has no {case.operation}"
    if case.threads > machine.usable_cpus():
        return f"needs {case.threads} CPUs"
    try:
        numpy_dtype(case.dtype)
    except ImportError:
        return f"{case.dtype} needs ml_dtypes"
    return ""


class Report:
    """Collect what is measured, show it as it comes, and write it at the end."""

    def __init__(self, options: argparse.Namespace, taking_part: Sequence[peers.Peer], remarks: list[str]) -> None:
        self.options = options
        self.machine = machine.describe(taking_part)
        self.remarks = remarks
        self.tables: list[report.Table] = []
        self.records: list[dict[str, object]] = []
        self.verdicts: list[Verdict] = []
        self.wrong: list[str] = []

    def add(self, group: Group, outcomes: Sequence[Outcome]) -> report.Table:
        """Take in the outcomes of a group and return its table."""
        judged = []
        if self.options.targets and not self.options.noise:
            judged = verdicts(group, outcomes, softmax_cy.show_config(mode="dicts")["variant"])
        self.verdicts += judged
        self.records.append(report.group_record(group, outcomes, judged))
        self.wrong += [
            f"WRONG: {outcome.case.name}: {name}: {why}" for outcome in outcomes for name, why in outcome.wrong.items()
        ]
        self.tables.append(report.group_table(group, outcomes, judged))
        return self.tables[-1]

    def summary(self) -> Iterable[str]:
        """List what must not be overlooked: missed targets and wrong results."""
        if self.verdicts:
            met = sum(verdict.met is True for verdict in self.verdicts)
            yield f"{met} of {len(self.verdicts)} targets met"
            for verdict in self.verdicts:
                if not verdict.met:
                    yield f"{verdict.word}: {verdict.group.title}: {report.verdict_text(verdict).partition(': ')[2]}"
        yield from self.wrong

    def write(self) -> None:
        """Write the files that were asked for."""
        if self.options.markdown:
            remarks = [*self.remarks, *self.summary()]
            report.write_below(self.options.markdown, MARK, report.markdown(self.tables, self.machine, remarks))
        if self.options.json:
            settings = {name: value for name, value in vars(self.options).items() if name not in ("json", "markdown")}
            everything = {
                "machine": self.machine,
                "softmax_cy": softmax_cy.show_config(mode="dicts"),
                "options": settings,
                "remarks": self.remarks,
                "wrong": self.wrong,
                "groups": self.records,
            }
            self.options.json.write_text(json.dumps(everything, indent=1) + "\n")


def run(options: argparse.Namespace, taking_part: Sequence[peers.Peer], missing: dict[str, str]) -> Report:
    """Measure all cases that were selected."""
    groups = selected(options.select)
    with screen(sum(len(cases) for _, cases in groups)) as output:
        remarks = [*machine.warnings(), *(f"left out: {name}: {why}" for name, why in missing.items())]
        reasons = {case.name: why for _, cases in groups for case in cases if (why := why_left_out(case))}
        remarks += [f"left out: {name}: {why}" for name, why in reasons.items()]
        result = Report(options, taking_part, remarks)
        for line in (*(f"{name}: {text}" for name, text in result.machine.items()), *remarks, ""):
            output.say(line)
        done: list[Outcome] = []
        for group, cases in groups:
            outcomes = measure([case for case in cases if case.name not in reasons], taking_part, options, output)
            done += outcomes
            if outcomes:
                table = result.add(group, outcomes)
                if not options.noise:
                    output.show(table)
        if options.noise:
            result.tables = [report.noise_table(done, peers.Again.name)]
            output.show(result.tables[0])
        for line in result.summary():
            output.say(line)
    return result


def measure(
    cases: Sequence[Case],
    taking_part: Sequence[peers.Peer],
    options: argparse.Namespace,
    output: PlainScreen | RichScreen,
) -> list[Outcome]:
    """Measure the cases of one group."""
    outcomes = []
    for case in cases:
        output.advance(case.name)
        outcomes.append(race(case, taking_part, options.rounds, options.seconds))
    return outcomes


def list_cases(patterns: Sequence[str] | None) -> None:
    """Print each group, with its cases below it."""
    for group, cases in selected(patterns):
        print(group.title)
        for case in cases:
            print(f"  {case.name}")


def main(argv: Sequence[str], taking_part: Sequence[peers.Peer] | None = None) -> int:
    """Run the race and return the exit code; `taking_part` replaces the peers that are installed."""
    options = arguments(argv)
    if options.list:
        list_cases(options.select)
        return 0
    missing: dict[str, str] = {}
    if options.noise:
        taking_part = [peers.SoftmaxCy(), peers.Again()]
    elif taking_part is None:
        taking_part, missing = peers.available(options.peers)
    result = run(options, taking_part, missing)
    result.write()
    return 1 if result.wrong else 0


def restart_in(environment: dict[str, str]) -> None:
    """Start the program again, because libraries read how many threads they may use before they are loaded."""
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **environment})


if __name__ == "__main__":
    if not peers.environment_is_set():
        restart_in(peers.ENVIRONMENT)
    sys.exit(main(sys.argv[1:]))
