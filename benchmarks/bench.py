"""Commands around asv: take a quick look at this tree, or compare two commits.

    python -m benchmarks.bench quick
    python -m benchmarks.bench compare BASE [HEAD]

asv measures. This module chooses what it measures, and judges the results.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks import compare, dashboard, results

ROOT = results.ROOT
CONFIGURATION = ROOT / "asv.conf.json"
COMPARED = ROOT / ".asv" / "compared"

QUICK_SHAPES = ("32x1000",)  # besides the first of each benchmark
QUICK_ATTRIBUTES = ("rounds=1", "repeat=5", "sample_time=0.004", "warmup_time=0.01")

MILLISECOND = 1e-3


def configuration() -> dict:
    """Read the configuration of asv, without its comments."""
    lines = CONFIGURATION.read_text().splitlines()
    return json.loads("\n".join(line for line in lines if not line.strip().startswith("//")))


def with_results_in(folder: Path) -> Path:
    """Copy the configuration, with another folder for results. asv takes paths relative to the copy."""
    settings = configuration()
    for name in ("repo", "benchmark_dir", "env_dir", "html_dir"):
        settings[name] = str((ROOT / settings[name]).resolve())
    settings["results_dir"] = str(folder / "results")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "asv.conf.json"
    path.write_text(json.dumps(settings, indent=1))
    return path


def environment() -> dict[str, str]:
    """Return the environment with what the configuration sets. asv sets it only in environments that it made."""
    settings = configuration()["matrix"]["env_nobuild"]
    return {**os.environ, **{name: values[0] for name, values in settings.items()}}


def asv(*arguments: str, config: Path, log: Path | None = None) -> int:
    """Run asv and return its exit code. Its output goes into the log file, and is shown if it fails."""
    command, *rest = arguments
    whole = [sys.executable, "-m", "asv", command, "--config", str(config), *rest]
    if log is None:
        return subprocess.run(whole, env=environment(), check=False).returncode
    with log.open("w") as stream:
        code = subprocess.run(whole, env=environment(), check=False, stdout=stream, stderr=stream).returncode
    if code:
        print(log.read_text())
    return code


def introduce_machine() -> None:
    """Tell asv about this machine. On a new machine it would ask questions, and nobody may be there to answer."""
    subprocess.run([sys.executable, "-m", "asv", "machine", "--yes"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def commit_hash(name: str) -> str:
    """Return the full hash of a commit."""
    done = subprocess.run(["git", "rev-parse", f"{name}^0"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{name}: no such commit")
    return done.stdout.strip()


def discovered() -> Iterator[object]:
    """Find every benchmark as asv finds it."""
    from asv_runner.discovery import disc_benchmarks

    return disc_benchmarks(str(ROOT / "benchmarks"))


def benchmarks() -> Iterator[tuple[str, list[list[str]]]]:
    """Name every benchmark, with its parameters as asv writes them."""
    for benchmark in discovered():
        yield benchmark.name, benchmark.params


def quick_selection(found: Iterable[tuple[str, list[list[str]]]]) -> list[str]:
    """Select the first shape and dtype of each benchmark, and some other shape, with all peers: as patterns for asv."""
    patterns = []
    for name, (*params, backends) in ((name, params or [[]]) for name, params in found):
        chosen = [values[:1] for values in params]
        if params and name.partition("time_")[1] and "jacobian" not in name:
            chosen[0] = [*chosen[0], *(shape for shape in params[0][1:] if shape.strip("'") in QUICK_SHAPES)]
        if backends and len(params) < 2:  # the last parameter is no backend, or it is the only one
            backends = backends[: None if params else 1]
        alternatives = [*chosen, backends]
        inside = ", ".join(f"({'|'.join(map(re.escape, values))})" for values in alternatives if values)
        patterns.append(rf"^{re.escape(name)}\({inside}\)$" if inside else f"^{re.escape(name)}$")
    return patterns


def quick() -> int:
    """Measure the installed build for about a minute. It shows that everything runs, not how fast it is."""
    introduce_machine()
    shutil.rmtree(results.QUICK, ignore_errors=True)
    config = with_results_in(results.QUICK)
    code = asv("check", "--python=same", config=config)
    if code:
        return code
    options = ["--python=same", "--show-stderr", "--set-commit-hash", commit_hash("HEAD")]
    for attribute in QUICK_ATTRIBUTES:
        options += ["--attribute", attribute]
    for pattern in quick_selection(benchmarks()):
        options += ["--bench", pattern]
    code = asv("run", *options, config=config, log=results.QUICK / "asv.log")
    runs = results.load(results.quick())
    for line in (*standing(runs), *(faults := list(what_is_wrong(runs)))):
        print(line)
    print("`make report` shows these results on a page")
    return code or (1 if faults else 0)


def standing(runs: Iterable[results.Run]) -> Iterator[str]:
    """Say how many times as long the others take, case by case. This is no more than a first look."""
    for run in runs:
        for name, times in dashboard.cases(run).items():
            ours = times.pop(dashboard.OURS)
            ratios = ", ".join(f"{peer} {record.value / ours.value:.2f}" for peer, record in times.items())
            yield f"{name}: softmax_cy {1e6 * ours.value:.3g} us; times as long: {ratios}"
        yield f"{sum(record.measured for record in run.records)} results"


def what_is_wrong(runs: Sequence[results.Run]) -> Iterator[str]:
    """Say if nothing was measured, or not every function of this build, or short calls one at a time."""
    import softmax_cy

    records = [record for run in runs for record in run.records if record.measured]
    if not records:
        yield "FAILED: nothing was measured"
    timed = {record.function for record in records if record.params.get("backend") == "softmax_cy"}
    for name in public_functions(softmax_cy):
        if records and f"time_{name}" not in timed:
            yield f"FAILED: {name} was not measured"
    for record in records:
        if record.function.startswith("time_") and record.number == 1 and record.value < MILLISECOND:
            yield f"FAILED: {record.name}: one call of {record.value:.3g} s a sample"


def public_functions(library: object) -> list[str]:
    """Name the functions that compute."""
    others = {"ctypes_functions", "get_include", "get_num_threads", "set_num_threads", "show_config"}
    others |= {"SoftmaxState", "merge_states", "softmax_state"}  # benchmarks/suite/states.py times them
    return [name for name in library.__all__ if not name.startswith("_") and name not in others]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("quick", help="see that all of the suite runs on the installed build")
    comparing = verbs.add_parser("compare", help="two commits; fails if the later one is slower")
    comparing.add_argument("base")
    comparing.add_argument("head", nargs="?", default="HEAD")
    comparing.add_argument("--rounds", type=int, default=compare.ROUNDS)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the command, and return the exit code."""
    options = arguments(argv)
    if options.verb == "quick":
        return quick()
    return compare_commits(commit_hash(options.base), commit_hash(options.head), options.rounds)


def compare_commits(base: str, head: str, rounds: int) -> int:
    """Let asv measure both commits in turns, and judge the results."""
    introduce_machine()
    shutil.rmtree(COMPARED, ignore_errors=True)
    config = with_results_in(COMPARED)
    options = ["--interleave-rounds", "--attribute", f"rounds={rounds}"]
    for attribute in compare.ATTRIBUTES:
        options += ["--attribute", attribute]
    for pattern in compare.SELECTION:
        options += ["--bench", pattern]
    # Its own verdict knows no drift, so that its exit code says nothing.
    asv("continuous", *options, base, head, config=config)
    runs = {run.commit: run for run in results.load(COMPARED / "results")}
    if not {base, head} <= runs.keys():
        print("FAILED: nothing was measured")
        return 1
    verdict = compare.judge(runs[base], runs[head], rounds)
    print(verdict.text())
    return 1 if verdict.regressions or not verdict.changes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
