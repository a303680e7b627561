"""What asv wrote down, as plain records. Nothing here measures."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VERSION = 2  # of asv's result files
NOT_RESULTS = {"machine.json", "benchmarks.json"}


@dataclass(frozen=True)
class Record:
    """One benchmark with one combination of parameters, at one commit."""

    benchmark: str
    params: Mapping[str, str]
    value: float
    low: float
    high: float
    number: int | None = None
    samples: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Of this record alone."""
        return f"{self.benchmark}({', '.join(self.params.values())})"

    @property
    def function(self) -> str:
        """Its last name, which tells what kind it is."""
        return self.benchmark.rpartition(".")[2]

    @property
    def module(self) -> str:
        """The one it is in, which is named after the operation."""
        return self.benchmark.split(".")[-2]

    @property
    def measured(self) -> bool:
        """Not skipped."""
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Run:
    """All that was measured at one commit, on one machine, in one environment."""

    commit: str
    date: int  # of the commit, in milliseconds since 1970
    machine: Mapping[str, str]
    requirements: Mapping[str, str]
    environment: str
    records: tuple[Record, ...] = field(default=(), repr=False)


def load(folder: Path) -> list[Run]:
    """Every result file below the folder, the oldest commit first."""
    names = parameter_names(folder)
    paths = sorted(path for path in folder.glob("*/*.json") if path.name not in NOT_RESULTS)
    return sorted((read(path, names) for path in paths), key=lambda run: run.date)


def parameter_names(folder: Path) -> dict[str, list[str]]:
    """Of each benchmark, as asv found it last."""
    path = folder / "benchmarks.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return {name: entry["param_names"] for name, entry in found.items() if isinstance(entry, dict)}


def read(path: Path, names: Mapping[str, list[str]]) -> Run:
    """One file."""
    content = json.loads(path.read_text())
    if content["version"] != VERSION:
        raise ValueError(f"{path}: asv's format {content['version']}; this reads {VERSION}")
    machine = path.with_name("machine.json")
    records = itertools.chain.from_iterable(
        records_of(name, dict(zip(content["result_columns"], row, strict=False)), names.get(name))
        for name, row in content["results"].items()
    )
    return Run(
        content["commit_hash"],
        content["date"],
        {**(json.loads(machine.read_text()) if machine.exists() else {}), **content["params"]},
        content["requirements"],
        content["env_name"],
        tuple(records),
    )


def records_of(benchmark: str, columns: Mapping[str, Sequence], names: Sequence[str] | None) -> Iterator[Record]:
    """One for each combination of parameters that did not fail."""
    if columns.get("result") is None:
        return
    values = columns["params"]
    names = names if names is not None and len(names) == len(values) else [f"param{i}" for i in range(len(values))]
    for index, combination in enumerate(itertools.product(*values)):

        def column(name: str, index: int = index) -> object:
            entries = columns.get(name)
            return None if entries is None else entries[index]

        value = column("result")
        if value is None:
            continue
        low, high = interval(value, column("stats_ci_99_a"), column("stats_ci_99_b"), column)
        yield Record(
            benchmark,
            {name: text.strip("'") for name, text in zip(names, combination, strict=True)},
            float(value),
            low,
            high,
            column("stats_number"),
            tuple(column("samples") or ()),
        )


def interval(value: float, low: float | None, high: float | None, column: object) -> tuple[float, float]:
    """Of 99 % if asv had samples enough for one, else the middle half of the samples; a point where there are none."""
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        return low, high
    quarter, three_quarters = column("stats_q_25"), column("stats_q_75")
    if quarter is None or three_quarters is None:
        return float(value), float(value)
    return quarter, three_quarters
