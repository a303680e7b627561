"""The result files of asv, read as plain records. Nothing here measures."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
FULL = ROOT / ".asv" / "results"
QUICK = ROOT / ".asv" / "quick"  # the folder of `make bench-quick`, whose results are below it

VERSION = 2  # of asv's result files
NOT_RESULTS = {"machine.json", "benchmarks.json"}


@dataclass(frozen=True)
class Record:
    """A record is the result of one benchmark with one combination of parameters, at one commit."""

    benchmark: str
    params: Mapping[str, str]
    value: float
    low: float
    high: float
    number: int | None = None
    samples: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Return a name that no other record of the run has."""
        return f"{self.benchmark}({', '.join(self.params.values())})"

    @property
    def function(self) -> str:
        """Return the last name of the benchmark, which tells its kind."""
        return self.benchmark.rpartition(".")[2]

    @property
    def module(self) -> str:
        """Return the name before it, which is that of the operation."""
        return self.benchmark.split(".")[-2]

    @property
    def measured(self) -> bool:
        """Return whether it was measured, not skipped."""
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Run:
    """A run holds all that was measured at one commit, on one machine, in one environment."""

    commit: str
    date: int  # of the commit, in milliseconds since 1970
    machine: Mapping[str, str]
    requirements: Mapping[str, str]
    environment: str
    records: tuple[Record, ...] = field(default=(), repr=False)


def load(folder: Path) -> list[Run]:
    """Read every result file below the folder, the oldest commit first."""
    names = parameter_names(folder)
    return sorted((read(path, names) for path in files(folder)), key=lambda run: run.date)


def files(folder: Path) -> list[Path]:
    """List the result files below the folder."""
    return sorted(path for path in folder.glob("*/*.json") if path.name not in NOT_RESULTS)


def latest() -> Path:
    """Return the folder in which asv wrote last: that of the full suite, or that of the quick run."""
    return max(FULL, quick(), key=lambda folder: max((path.stat().st_mtime for path in files(folder)), default=0))


def quick() -> Path:
    """Return the folder with the results of the quick run."""
    return QUICK / "results"


def parameter_names(folder: Path) -> dict[str, list[str]]:
    """Return the parameter names of each benchmark, as asv found it last."""
    path = folder / "benchmarks.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return {name: entry["param_names"] for name, entry in found.items() if isinstance(entry, dict)}


def read(path: Path, names: Mapping[str, list[str]]) -> Run:
    """Read one file."""
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
    """Yield a record for each combination of parameters that did not fail."""
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
    """Return the 99 % interval if asv had enough samples, else the middle half of them, or a point if it has none."""
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        return low, high
    quarter, three_quarters = column("stats_q_25"), column("stats_q_75")
    if quarter is None or three_quarters is None:
        return float(value), float(value)
    return quarter, three_quarters
