"""Writes the pages with charts: the tables of docs/results/ as data, which _static/charts.js draws with plotly."""

from __future__ import annotations

import json
from pathlib import Path

from site_sources.operations import describe_case
from site_sources.tables import Section, read_facts, read_number, read_sections

OURS = "softmax_cy"
# Columns of the tables that are no library.
NOT_PEERS = {"case", "at best", "torch / ours", "best / ours", "bound", "v3", "v4", "v4_on_v3", "baseline"}
RACES = {"AVX-512": "race.md", "AVX2": "race-avx2.md"}


def write_pages(results: Path, report: str | None) -> dict[str, str]:
    """Return the text of the pages by their names. `report`: where the site has the page of `make report`."""
    return {"charts/speed.md": write_speed(results, report), "charts/digits.md": write_digits(results)}


def write_speed(results: Path, report: str | None) -> str:
    """Write the page of times."""
    data = {
        "unit": "ns",
        "groups": {kernels: read_times(results / page) for kernels, page in RACES.items() if (results / page).exists()},
    }
    facts = read_facts(results / RACES["AVX-512"])
    lines = [
        "# Speed in charts",
        f"softmax_cy beside other libraries, on one thread unless the chart says otherwise. {describe_machine(facts)} "
        "[How to read it](/performance.md). The tables: [AVX-512](/results/race.md), [AVX2](/results/race-avx2.md).",
        chart("speed", data, "Times of each library, case by case"),
    ]
    if report:
        lines.append(f'From commit to commit: <a href="../{report}">what the asv suite has measured</a>.')
    return "\n\n".join(lines) + "\n"


def write_digits(results: Path) -> str:
    """Write the page of errors."""
    data = {"unit": "ulp", "groups": read_errors(results / "accuracy.md")}
    facts = read_facts(results / "accuracy.md")
    lines = [
        "# Digits in charts",
        f"The largest error of each function, in units in the last place. {describe_machine(facts)} "
        "[Where the errors come from](/accuracy.md), and [the tables](/results/accuracy.md).",
        chart("digits", data, "Largest errors of each library, case by case"),
    ]
    return "\n\n".join(lines) + "\n"


def describe_machine(facts: dict[str, str]) -> str:
    """Say when and where a table was measured."""
    return f"Measured on {facts['date'].partition(' ')[0]}: {facts['CPU']}."


def read_times(page: Path) -> dict[str, dict[str, object]]:
    """Return the tables of a race by their titles: the cases, and the times of each library."""
    found = {}
    for section in read_sections(page):
        title, _, unit = section.title.rpartition(": ")
        rows = [row for row in section.rows if read_number(row[OURS]) is not None and "-" in row["case"]]
        found[title] = {
            "axis": unit,
            "cases": [describe(row["case"], section) for row in rows],
            "values": read_columns(section, rows),
        }
    return found


def describe(case: str, section: Section) -> str:
    """Return the name of a case, with that of the function where a table has several."""
    names = {row["case"].partition("-")[0] for row in section.rows if "-" in row["case"]}
    name = case.partition("-")[0]
    return f"{name}: {describe_case(case)}" if len(names) > 1 else describe_case(case)


def read_errors(page: Path) -> dict[str, dict[str, object]]:
    """Return the tables of errors, with the precision as the group: those of functions, and those of families."""
    found: dict[str, dict[str, object]] = {}
    for section in read_sections(page):
        precision, _, what = section.title.partition(": ")
        if not precision.startswith("float"):
            continue
        if what.startswith("largest error"):
            rows = [{**row, OURS: row["v4"]} for row in section.rows]
            found.setdefault(precision, {})["all functions"] = {
                "axis": "ulp",
                "cases": [row["case"] for row in rows],
                "values": read_columns(section, rows, (OURS, "bound")),
            }
        else:
            for name in dict.fromkeys(row["case"].partition(", ")[0] for row in section.rows):
                rows = [row for row in section.rows if row["case"].startswith(f"{name}, ")]
                found.setdefault(precision, {})[f"{name}, by kind of input"] = {
                    "axis": "ulp",
                    "cases": [row["case"].partition(", ")[2] for row in rows],
                    "values": read_columns(section, rows),
                }
    return found


def read_columns(section: Section, rows: list[dict[str, str]], first: tuple[str, ...] = (OURS,)) -> dict[str, list]:
    """Return the numbers of each library. What is only a yardstick, such as `np.copyto`, is a column as well."""
    names = [*first, *(name for name in section.headers if name not in NOT_PEERS | set(first) and " / " not in name)]
    names = [name for name in names if name != "where ours is largest"]
    return {name: [read_number(row[name]) for row in rows] for name in names}


def chart(kind: str, data: dict[str, object], label: str) -> str:
    """Write the place of a chart, with its data. Without JavaScript the links to the tables remain."""
    text = json.dumps(data, allow_nan=False).replace("</", "<\\/")
    return f"""```{{raw}} html
<figure class="chart" data-chart="{kind}" aria-label="{label}"></figure>
<noscript><p>The charts need JavaScript. The tables do not.</p></noscript>
<script type="application/json" class="chart-data">{text}</script>
<script defer src="../_static/plotly.min.js"></script>
<script defer src="../_static/charts.js"></script>
```"""
