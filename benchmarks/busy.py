"""Time calls on several threads, on an idle machine and beside other processes that compute.

    python -m benchmarks.busy [--peers NAME ...] [--calls N] [--markdown docs/results/busy.md]

Calls follow each other at once, or come 10 ms apart, as in a server. Meanwhile nothing else runs, or one process on
each CPU computes. That process gives way to others (nice 19) or does not (nice 0). Each peer runs in a process of its
own for each number of threads. The processes take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, peers
from benchmarks.report import Table, markdown_table, percentile, write_below
from benchmarks.screen import screen

MARK = "<!-- written by make race-busy: tables -->"
PEERS = ("softmax_cy", "torch", "onnxruntime")
SHAPES = ((256, 4096), (64, 32000), (1, 4_000_000))
LOADS = {"idle": None, "busy, nice 19": 19, "busy, nice 0": 0}
PAUSE = 0.01
ROUNDS = 5
HOG = "while True: pass"
FORKED = "softmax_cy, forked"


@dataclass(frozen=True)
class Setting:
    """One table: how busy the machine is, how calls follow each other, and on what."""

    load: str
    spaced: bool
    shape: tuple[int, ...]

    @property
    def title(self) -> str:
        """The heading of the table, without the case."""
        return f"{self.load}, {'10 ms apart' if self.spaced else 'back to back'}"

    @property
    def case(self) -> str:
        """The shape, written as in the other races."""
        return "x".join(map(str, self.shape))


Times = dict[Setting, dict[tuple[str, int], list[float]]]


def serve(name: str, threads: int) -> None:
    """Run the process of one peer: read a setting from each line, and answer with the seconds of each call."""
    from benchmarks.buffers import PLACES, Buffers
    from benchmarks.cases import Case

    peer = next(kind for kind in (peers.SoftmaxCy, *peers.OTHERS) if kind.name == name.partition(",")[0])()
    runs: dict[tuple[int, ...], peers.Run] = {}
    if name == FORKED:
        # A child of a process whose threads were used.
        peer.prepare(Case("softmax", SHAPES[0], threads=threads), Buffers(Case("softmax", SHAPES[0]), PLACES[1])).call()
        if child := os.fork():
            os.waitpid(child, 0)
            return
    for line in sys.stdin:
        setting = json.loads(line)
        shape = tuple(setting["shape"])
        if shape not in runs:
            case = Case("softmax", shape, threads=threads)
            runs[shape] = peer.prepare(case, Buffers(case, PLACES[1]))
        print(json.dumps(seconds_of_calls(runs[shape], setting["calls"], spaced=setting["spaced"])), flush=True)


def seconds_of_calls(run: peers.Run, calls: int, *, spaced: bool) -> list[float]:
    """Time each call, after one that does not count."""
    run.call()
    times = []
    for _ in range(calls):
        if spaced:
            time.sleep(PAUSE)
        start = time.perf_counter()
        run.call()
        times.append(time.perf_counter() - start)
    return times


class Server:
    """The process of one peer with one number of threads, as the main process sees it."""

    def __init__(self, name: str, threads: int) -> None:
        self.key = name, threads
        command = [sys.executable, "-m", "benchmarks.busy", "--serve", name, str(threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def time(self, setting: Setting, calls: int) -> list[float]:
        """Let the process time this many calls."""
        self.process.stdin.write(json.dumps({**asdict(setting), "calls": calls}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """Close the input of the process, at which it ends."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def hogs(nice: int | None) -> Iterator[None]:
    """Keep each CPU busy with a process that computes, unless nice is None."""
    started = []
    if nice is not None:
        for cpu in sorted(os.sched_getaffinity(0)):
            program = f"import os; os.nice({nice}); os.sched_setaffinity(0, {{{cpu}}})\n{HOG}"
            started.append(subprocess.Popen([sys.executable, "-c", program]))
        time.sleep(0.5)
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def settings() -> list[Setting]:
    """List every setting, one load after the other."""
    return [Setting(load, spaced, shape) for load in LOADS for spaced in (True, False) for shape in SHAPES]


def measure(servers: Sequence[Server], calls: int) -> Times:
    """Measure every setting, in rounds in which all processes take turns."""
    times: Times = {}
    with screen(len(settings())) as shown:
        for load, nice in LOADS.items():
            with hogs(nice):
                for setting in (setting for setting in settings() if setting.load == load):
                    shown.advance(f"{setting.title}, {setting.case}")
                    found = times[setting] = {server.key: [] for server in servers}
                    for turn in range(ROUNDS):
                        for server in servers if turn % 2 else reversed(servers):
                            found[server.key] += server.time(setting, calls // ROUNDS)
                    shown.show(table_of(setting, found))
        for text in verdicts(times):
            shown.say(text)
    return times


def table_of(setting: Setting, found: dict[tuple[str, int], list[float]]) -> Table:
    """Make the table of a setting: one row for each peer and number of threads."""
    rows = []
    for name, threads in sorted(found):
        times = found[name, threads]
        alone = found.get((name.partition(",")[0], 1), times)
        ratio = statistics.median(alone) / statistics.median(times)
        values = [1e3 * percentile(times, percent) for percent in (50, 90, 99)]
        rows.append([name, str(threads), *(f"{value:.2f}" for value in values), f"{ratio:.2f}"])
    headers = ["library", "threads", "median, ms", "90 %", "99 %", "times as fast as on one thread (medians)"]
    return Table(f"{setting.title}: softmax of {setting.case}, float32", headers, rows)


def verdicts(times: Times) -> list[str]:
    """Say for each target of two threads whether it was met."""
    lines = []

    def judge(what: str, value: float, bound: float, *, at_most: bool) -> None:
        met = value <= bound if at_most else value >= bound
        lines.append(f"{'met' if met else 'MISSED'}: {what}, {'<=' if at_most else '>='} {bound}: {value:.2f}")

    for setting, found in times.items():
        if ("softmax_cy", 2) not in found:
            continue
        one, two = found["softmax_cy", 1], found["softmax_cy", 2]
        what = f"{setting.title}, {setting.case}"
        if setting.load != "idle":
            if setting.spaced and setting.shape == SHAPES[0]:
                for percent, bound in ((50, 1.1), (90, 2.0)):
                    ratio = percentile(two, percent) / percentile(one, percent)
                    judge(f"{what}: two threads' time against one's, {percent} %", ratio, bound, at_most=True)
            continue
        speed = statistics.median(one) / statistics.median(two)
        judge(f"{what}: two threads' speed against one's", speed, 1.4 if setting.spaced else 1.85, at_most=False)
        if (FORKED, 2) in found and not setting.spaced:
            ratio = statistics.median(found[FORKED, 2]) / statistics.median(two)
            judge(f"{what}: two threads' time in a forked child against the parent's", ratio, 1.1, at_most=True)
    return lines


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME")
    parser.add_argument(
        "--calls", type=int, default=200, help="calls of each peer in each setting (default: %(default)s)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables below the mark of this page")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure everything and return the exit code."""
    options = arguments(argv)
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return 0
    numbers = sorted({1, 2, len(os.sched_getaffinity(0))})
    names = [*options.peers, FORKED] if "softmax_cy" in options.peers else options.peers
    servers = [Server(name, threads) for name in names for threads in (numbers if name != FORKED else [2])]
    try:
        times = measure(servers, options.calls)
    finally:
        for server in servers:
            server.stop()
    if options.markdown:
        taking_part, _ = peers.available([name for name in options.peers if name != "softmax_cy"])
        about = [f"- {name}: {text}" for name, text in machine.describe(taking_part).items()]
        tables = [markdown_table(table_of(setting, found)) for setting, found in times.items()]
        judged = [f"- {line}" for line in verdicts(times)]
        write_below(options.markdown, MARK, "\n".join([*about, *judged, "", *tables]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
