"""Writes one page that tells where softmax_cy stands, from asv's result files. The page needs no network.

python -m benchmarks.dashboard [--results FOLDER] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from benchmarks import results
from benchmarks.results import Record, Run, load

ROOT = results.ROOT
RESULTS = results.FULL
PAGE = ROOT / ".asv" / "report.html"
TEMPLATE = Path(__file__).with_name("dashboard.html")

OURS = "softmax_cy"
PEERS = ("torch", "numpy", "scipy", "plain Cython", "naive", "limit")  # the order of the columns
DIGITS = (OURS, "torch", "numpy", "scipy", "plain Cython")
CONTROL, ITSELF = "control", "track_difference_from_itself"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="asv's results (default: those measured last)")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default: %(default)s)")
    return parser.parse_args(argv)


def cases(run: Run) -> dict[str, dict[str, Record]]:
    """Return what each peer took, case by case. Cases without softmax_cy are left out."""
    found: dict[str, dict[str, Record]] = {}
    for record in run.records:
        if record.measured and record.function.startswith("time_") and "backend" in record.params:
            found.setdefault(case_name(record), {})[record.params["backend"]] = record
    return {name: peers for name, peers in found.items() if OURS in peers}


def case_name(record: Record) -> str:
    """Return the name of a case, which is the same for all peers."""
    rest = ", ".join(value for name, value in record.params.items() if name != "backend")
    return f"{record.function.removeprefix('time_')}({rest})"


def ratio(theirs: Record, ours: Record) -> list[float]:
    """Return how many times as long the other takes, and the smallest and largest number that it may be."""
    return [theirs.value / ours.value, theirs.low / ours.high, theirs.high / ours.low]


def digits(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Return the latest largest errors in units in the last place, by operation and dtype and then by peer."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        for record in run.records:
            if record.measured and record.function == "track_max_ulp":
                key = f"{record.module} {record.params['dtype']}"
                found.setdefault(key, {})[record.params["backend"]] = record.value
    return found


def noise(runs: Iterable[Run]) -> float | None:
    """Return the largest difference of softmax_cy from itself."""
    values = [r.value for run in runs for r in run.records if r.function == ITSELF and r.measured]
    return max(values, default=None)


def drift(runs: Sequence[Run]) -> list[list[object]]:
    """Return the times of each control over the commits, relative to their median."""
    times: dict[str, dict[str, float]] = {}
    for run in runs:
        for record in run.records:
            if record.module == CONTROL and record.function.startswith("time_numpy") and record.measured:
                times.setdefault(record.name.rpartition("time_")[2], {})[run.commit] = record.value
    return [
        [name, [by_commit[run.commit] / statistics.median(by_commit.values()) if run.commit in by_commit else None
                for run in runs]]
        for name, by_commit in sorted(times.items())
    ]  # fmt: skip


def one_environment(runs: Sequence[Run]) -> list[Run]:
    """Select the runs on the machine and with the versions of the latest. Only these can be compared."""
    return [run for run in runs if (run.environment, run.machine["machine"]) == where(runs[-1])] if runs else []


def where(run: Run) -> tuple[str, str]:
    """Return what must not change between commits."""
    return run.environment, run.machine["machine"]


def history(name: str, peer: str, measured: Iterable[Mapping[str, Mapping[str, Record]]]) -> list[list[float] | None]:
    """Return the ratio at each commit, or None where one of the two has no time."""
    peers = (then.get(name, {}) for then in measured)
    return [ratio(then[peer], then[OURS]) if peer in then else None for then in peers]


def content(
    runs: Sequence[Run], subjects: Mapping[str, str], description: Mapping[str, str], quick: bool = False
) -> dict[str, object]:
    """Collect all that the page shows."""
    runs = one_environment(runs)
    measured = {run.commit: cases(run) for run in runs}
    latest = {name: run.commit for run in runs for name in measured[run.commit]}
    rows = []
    for name, commit in latest.items():
        peers = measured[commit][name]
        ours = peers[OURS]
        rows.append(
            {
                "name": name,
                "operation": ours.module,
                "function": ours.function.removeprefix("time_"),
                "shape": ours.params.get("shape", ""),
                "dtype": ours.params.get("dtype", ""),
                "commit": commit,
                "seconds": {peer: record.value for peer, record in peers.items()},
                "ratios": {peer: ratio(record, ours) for peer, record in peers.items() if peer != OURS},
                "digits": f"{ours.module} {ours.params.get('dtype', '')}",
                "history": {peer: history(name, peer, measured.values()) for peer in peers if peer != OURS},
            }
        )
    return {
        "quick": quick,
        "rows": rows,
        "peers": [peer for peer in PEERS if any(peer in row["ratios"] for row in rows)],
        "digitPeers": [peer for peer in DIGITS if any(peer in entry for entry in digits(runs).values())],
        "digits": digits(runs),
        "commits": [
            {"hash": run.commit[:8], "date": day(run), "subject": subjects.get(run.commit, "")} for run in runs
        ],
        "drift": drift(runs),
        "noise": noise(runs),
        "machine": machine(runs, description),
    }


def day(run: Run) -> str:
    """Return the date and time of the commit."""
    return datetime.fromtimestamp(run.date / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")


def machine(runs: Sequence[Run], description: Mapping[str, str]) -> dict[str, str]:
    """Describe the machine as the benchmarks saw it, or as asv knows it."""
    if not runs:
        return dict(description)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(runs[-1].requirements.items()))
    known = {name: str(runs[-1].machine.get(name, "")) for name in ("machine", "cpu", "ram", "os", "python")}
    return {**known, **description, **({"environment": versions} if versions else {})}


def description(folder: Path) -> dict[str, str]:
    """Return what the suite last told asv about machine, compiler, flags and versions."""
    path = folder / "benchmarks.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return found.get("suite.environment.track_cpus", {}).get("description", {})


def commit_subjects() -> dict[str, str]:
    """Return the first line of each commit's message, for the commits in this repository."""
    done = subprocess.run(
        ["git", "log", "--all", "--format=%H %s"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def page(data: Mapping[str, object]) -> str:
    """Fill the template with the library and the data."""
    from plotly.offline import get_plotlyjs

    # Neither may close the element that it stands in.
    text = json.dumps(data, allow_nan=False).replace("</", "<\\/")
    return TEMPLATE.read_text().replace("/*PLOTLY*/", get_plotlyjs()).replace("/*DATA*/", text)


def main(argv: Sequence[str]) -> int:
    """Write the page, and return the exit code."""
    options = arguments(argv)
    folder = options.results or results.latest()
    quick = folder.resolve() == results.quick().resolve()
    data = content(load(folder), commit_subjects(), description(folder), quick)
    if not data["rows"]:
        print(f"nothing to show: no results in {folder}; `make bench`, `make bench-quick` or `asv run` measures")
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page(data), encoding="utf-8")
    kind = " of a quick run" if quick else ""
    print(f"{options.output}: {len(data['rows'])} cases{kind}, {len(data['commits'])} commits")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
