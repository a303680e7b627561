"""Turn what was measured into tables, Markdown and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case, Group
from benchmarks.peers import LIMIT, OTHERS, OURS
from benchmarks.standings import Verdict, best_peer, geometric_mean, ratio, ratios
from benchmarks.timing import Outcome

NOTHING = "-"

LEGEND = """`ours` is softmax_cy, `best` the fastest of the others but plain Cython. Times are medians over the
rounds. `at best` is the shortest sample of softmax_cy. Ratios are medians too, of the ratios within a round, in which
all take turns."""


@dataclass(frozen=True)
class Table:
    """Text in rows, with notes below. If `summary` is true, the last row is a summary."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    summary: bool = False
    notes: tuple[str, ...] = ()


def group_table(group: Group, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> Table:
    """Make a table with a row for each case, a column for each peer, then the ratios; the geometric means come last."""
    names = [kind.name for kind in OTHERS if any(kind.name in outcome.rounds for outcome in outcomes)]
    limit = group.limit if any(LIMIT in outcome.rounds for outcome in outcomes) else ""
    columns = [OURS, *names, LIMIT] if limit else [OURS, *names]
    headers = ["case", OURS, "at best", *names, *([limit] if limit else []), "torch / ours", "best / ours"]
    if limit:
        headers.append(f"ours / {limit}")

    rows = []
    for outcome in outcomes:
        times = [typical_time(outcome, name) for name in columns]
        rows.append([outcome.case.name, times[0], best_time(outcome), *times[1:], *compared(outcome, bool(limit))])
    means = [geometric_mean(outcomes, name) for name in columns[1:]]
    last = [geometric_mean(outcomes, "torch"), geometric_mean(outcomes, "best")]
    against_limit = [multiple_of(geometric_mean(outcomes, LIMIT))] if limit else []
    rows.append(["geometric mean / ours", "1", "", *map(times_as_long, [*means, *last]), *against_limit])
    unit = outcomes[0].case.unit
    title = f"{group.title}: ns per {unit}"
    return Table(title, headers, rows, True, tuple(map(verdict_text, verdicts)))


def compared(outcome: Outcome, with_limit: bool) -> list[str]:
    """Make the last columns: how a case compares with torch, the fastest peer and the limit."""
    best = best_peer(outcome)
    against_best = f"{times_as_long(ratio(outcome, best))} ({best})" if best else NOTHING
    against_limit = [multiple_of(ratio(outcome, LIMIT))] if with_limit else []
    return [times_as_long(ratio(outcome, "torch")), against_best, *against_limit]


def noise_table(outcomes: Sequence[Outcome], name: str) -> Table:
    """Tabulate how far softmax_cy is from itself, in single rounds and in the medians that are reported."""
    rows = []
    for outcome in outcomes:
        distances = [abs(value - 1) for value in ratios(outcome, name)]
        if distances:
            reported = abs(statistics.median(ratios(outcome, name)) - 1)
            rows.append([outcome.case.name, *(f"{percentile(distances, p):.2%}" for p in (50, 95)), f"{reported:.2%}"])
    medians = [abs(value - 1) for outcome in outcomes if (value := ratio(outcome, name)) is not None]
    notes = tuple(
        f"{p} % of the cases are reported within {percentile(medians, p):.2%} of 1" for p in (50, 90, 95, 100)
    )
    headers = ["case", "50 % of rounds", "95 % of rounds", "median of rounds"]
    return Table("softmax_cy against itself: |ratio - 1|", headers, rows, notes=notes if medians else ())


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that this percentage of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def typical_time(outcome: Outcome, name: str) -> str:
    """Write the median of the rounds per unit of the case, or WRONG for a wrong result."""
    if name in outcome.wrong:
        return "WRONG"
    if name not in outcome.rounds:
        return NOTHING
    return nanoseconds(statistics.median(outcome.rounds[name]), outcome.case)


def best_time(outcome: Outcome) -> str:
    """Write the shortest of softmax_cy's samples."""
    return nanoseconds(outcome.best[OURS], outcome.case) if OURS in outcome.best else NOTHING


def nanoseconds(seconds: float, case: Case) -> str:
    """Write a time per unit of the case, with as many digits as mean something."""
    value = 1e9 * seconds / case.units
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def times_as_long(value: float | None) -> str:
    """Write how many times as long as softmax_cy another one takes."""
    return NOTHING if value is None else f"{value:.2f}"


def multiple_of(value: float | None) -> str:
    """Write how many times as long as another one softmax_cy takes."""
    return NOTHING if value is None else f"{1 / value:.2f}"


def target_text(verdict: Verdict) -> str:
    """Write a target, such as `>= 3x the speed of torch in the geometric mean`."""
    target = verdict.target
    sign, what = ("<=", "time") if target.at_most else (">=", "speed")
    other = {"limit": verdict.group.limit, "best": "the best peer"}.get(target.against, target.against)
    which = ", ".join("x".join(map(str, shape)) for shape in target.shapes)
    where = f"for {which}" if which else "in every case" if target.each else "in the geometric mean"
    return f"{sign} {target.bound:g}x the {what} of {other} {where}"


def verdict_text(verdict: Verdict) -> str:
    """Write whether a target was met, and the number it was judged by."""
    number = NOTHING if verdict.value is None else f"{verdict.value:.2f}"
    case = f" ({verdict.worst_case})" if verdict.worst_case else ""
    return f"{verdict.word}: {target_text(verdict)}: {number}{case}"


def markdown_table(table: Table) -> str:
    """Write a table as a section, with its numbers aligned to the right."""
    header = "| " + " | ".join(table.headers) + " |"
    rule = "|---|" + "---:|" * (len(table.headers) - 1)
    rows = ["| " + " | ".join(cells(row, table)) + " |" for row in table.rows]
    notes = ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join([f"## {table.title}", "", header, rule, *rows, *notes, ""])


def cells(row: list[str], table: Table) -> list[str]:
    """Return the cells of a row, in bold if it is the summary."""
    if not (table.summary and row is table.rows[-1]):
        return row
    return [f"**{cell}**" if cell else cell for cell in row]


def markdown(tables: Sequence[Table], machine: dict[str, str], remarks: Sequence[str], legend: str = LEGEND) -> str:
    """Write the machine first, then the remarks and the legend, then all tables."""
    top = [f"- {name}: {text}" for name, text in machine.items()]
    top += [f"- {remark}" for remark in remarks]
    top += ["", legend, ""]
    return "\n".join(top) + "\n" + "\n".join(markdown_table(table) for table in tables)


def write_below(path: Path, mark: str, text: str) -> None:
    """Replace all that is below the mark of a page; what people wrote above it stays."""
    above = path.read_text().partition(mark)[0] if path.exists() else ""
    path.write_text(f"{above}{mark}\n\n{text}")


def group_record(group: Group, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Describe a group for JSON, with every round of every peer."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.rounds if name != OURS)
    return {
        "title": group.title,
        "cases": [case_record(outcome) for outcome in outcomes],
        "geometric means, times softmax_cy": {name: geometric_mean(outcomes, name) for name in (*names, "best")},
        "targets": [
            {
                "target": target_text(verdict),
                "bound": verdict.target.bound,
                "value": verdict.value,
                "met": verdict.met,
                "worst case": verdict.worst_case,
            }
            for verdict in verdicts
        ],
    }


def case_record(outcome: Outcome) -> dict[str, object]:
    """Describe a case for JSON, with times in nanoseconds per unit."""
    case = outcome.case
    scale = 1e9 / case.units
    return {
        "name": case.name,
        "operation": case.operation,
        "shape": case.shape,
        "dtype": case.dtype,
        "axis": case.axis,
        "in place": case.in_place,
        "threads": case.threads,
        "allocated": case.allocated,
        "unit": case.unit,
        "units": case.units,
        "limit": case.limit,
        "best peer": best_peer(outcome),
        "peers": {
            name: {
                "median": statistics.median(rounds) * scale,
                "minimum": outcome.best[name] * scale,
                "ratio": ratio(outcome, name),
                "rounds": [seconds * scale for seconds in rounds],
            }
            for name, rounds in outcome.rounds.items()
        },
        "cannot": outcome.cannot,
        "wrong": outcome.wrong,
    }
