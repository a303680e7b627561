"""Programs are run in a child process, which writes down each before it runs it; the parent collects what is found."""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzzing.oracle import Expected, Unknown
from fuzzing.program import FUNCTIONS, INPUTS, PREAMBLE, Program, evaluate
from fuzzing.strategies import programs

COMMAND = Path(__file__).parents[1] / "fuzz.py"

EXAMPLES_PER_ROUND = 250
SECONDS_WITHOUT_PROGRESS = 60


class Finding(AssertionError):
    """What must not happen. The key is the same for what is likely to be the same bug."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def kind_of(error: BaseException) -> str:
    """The beginning of its message, without numbers."""
    return re.sub(r"[-+\d.]+(e[-+]\d+)?|nan|inf", "#", str(error))[:40]


def memory_of(value: object) -> np.ndarray | None:
    """All the memory that an array is a part of, as bytes, if it has no references in it."""
    if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.dtype.kind == "T":
        return None
    while isinstance(value.base, np.ndarray):
        value = value.base
    if value.base is not None or value.dtype.hasobject:
        return None
    flat = value.T if value.flags.f_contiguous else value
    return np.frombuffer(flat, np.uint8) if flat.flags.c_contiguous else None


def written_places(out: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Which bytes of its memory belong to an array."""
    places = np.zeros(memory.size, bool)
    if out.size == 0:
        return places
    start = out.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    starts = np.full((), start)
    for n, stride in zip(out.squeeze().shape, out.squeeze().strides, strict=True):
        starts = starts[..., None] + np.arange(n) * stride
    places[(starts[..., None] + np.arange(out.itemsize)).ravel()] = True
    return places


def run(program: Program, write_down) -> str:
    """One example: how it ended, or a Finding."""
    write_down(program.source)
    names = evaluate(program)
    try:
        expected = Expected(program, names)
    except Unknown:
        expected = None
    arrays = {
        name: names[name] for name in ("memory", "mask", "target", "weight", *INPUTS[program.function]) if name in names
    }
    out = names.get("out")
    memories = {id(m): (m, m.copy()) for m in map(memory_of, [*arrays.values(), out]) if m is not None}
    call = compile(program.call, "<call>", "eval")
    outcome, result, problem = "returned", None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = eval(call, names)
        except (TypeError, ValueError) as error:
            outcome, problem = type(error).__name__, error
        except Exception as error:
            raise Finding(f"{program.function} {type(error).__name__}", f"{type(error).__name__}: {error}") from error
    if problem is not None:
        for now, before in memories.values():
            if not np.array_equal(now, before):
                raise Finding(f"{program.function} written before {outcome}", f"memory was written before {problem!r}")
        if program.good:
            raise Finding(f"{program.function} refused {kind_of(problem)}", f"good arguments were refused: {problem!r}")
        return outcome
    if program.bad:
        raise Finding(
            f"{program.function} accepted {program.culprits}", f"bad arguments were accepted, and {result!r} returned"
        )
    for now, before in memories.values():
        changed = now != before
        if isinstance(out, np.ndarray) and now.size:
            mine = memory_of(out)
            if mine is not None and mine.__array_interface__["data"] == now.__array_interface__["data"]:
                changed &= ~written_places(out, now)
        if changed.any():
            raise Finding(f"{program.function} wrote elsewhere", f"{changed.sum()} bytes outside of out were written")
    if expected is not None:
        # The inputs may have been written to by way of `out`: the values are computed from new ones.
        try:
            expected.check(result)
            Expected(program, evaluate(program)).check_values(result)
        except AssertionError as error:
            raise Finding(f"{program.function} result {kind_of(error)}", f"wrong result: {error}") from None
    if caught:
        return f"returned, {caught[0].category.__name__}"
    return outcome


class TimeIsUp(KeyboardInterrupt):
    """What hypothesis passes on."""


class Child:
    """Runs examples until time is up, and reports to the parent in lines of JSON."""

    def __init__(self, seconds: float, seed_: int, example_file: str, start: int, skip: list[str]) -> None:
        self.deadline = time.monotonic() + seconds
        self.seed, self.round = seed_, start
        self.file = os.open(example_file, os.O_RDWR | os.O_CREAT)
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.known = set(skip)
        self.reported = 0.0
        self.parent = sys.stdout

    def write_down(self, source: str) -> None:
        """So that the parent knows, should this process die."""
        data = source.encode() + b"\0"
        os.pwrite(self.file, data, 0)

    def report(self, **fields: object) -> None:
        """A line for the parent."""
        print(json.dumps(fields), file=self.parent, flush=True)

    def progress(self) -> None:
        """Twice a second."""
        if time.monotonic() > self.reported + 0.5:
            self.reported = time.monotonic()
            counts = [[*key, count] for key, count in self.outcomes.items()]
            self.report(round=self.round, outcomes=counts)

    def run(self) -> None:
        """Rounds of examples."""
        while time.monotonic() < self.deadline:
            self.one_round()
            self.round += 1
        self.reported = 0
        self.progress()

    def one_round(self) -> None:
        """A number of examples, or a finding in as few words as possible."""
        last: list[tuple[Program, Finding]] = []

        @seed(self.seed * 1_000_003 + self.round)
        @settings(
            max_examples=EXAMPLES_PER_ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(data=st.data())
        def examples(data):
            if not last and time.monotonic() > self.deadline:
                raise TimeIsUp
            program = data.draw(programs())
            try:
                outcome = run(program, self.write_down)
            except Finding as finding:
                if finding.key in self.known:
                    outcome = "known finding"
                elif last and finding.key != last[0][1].key:
                    return  # another one, met while the first is made smaller
                else:
                    last.append((program, finding))
                    raise
            if not last:
                self.outcomes[program.function, outcome] += 1
            self.progress()

        try:
            with contextlib.redirect_stdout(sys.stderr):
                examples()
        except (Finding, TimeIsUp):
            pass
        if last:
            program, finding = last[-1]
            self.known.add(finding.key)
            self.outcomes[program.function, "finding"] += 1
            self.report(finding=str(finding), key=finding.key, source=program.source)


# ---- the parent --------------------------------------------------------------------------------------------------


def still_dies(source: str) -> bool:
    """Whether a program ends by a signal in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-c", PREAMBLE + source], capture_output=True, timeout=SECONDS_WITHOUT_PROGRESS, check=False
    )
    return process.returncode < 0


def shortened(source: str) -> str:
    """A program that dies, without the options and statements that it dies without."""
    if not still_dies(source):
        return source + "\n# (does not die on its own: some example before it counts)"
    again = True
    while again:
        again = False
        lines = source.splitlines()
        candidates = ["\n".join(lines[:i] + lines[i + 1 :]) for i in range(len(lines) - 1)]
        candidates += [
            source.replace(m[0], "", 1) for m in re.finditer(r", \w+=(\([^()]*\)|[^,()]+(\([^()]*\))?)", lines[-1])
        ]
        for candidate in candidates:
            if still_dies(candidate):
                source, again = candidate, True
                break
    return source


class Parent:
    """Starts children, shows how far they are, and collects what they find."""

    def __init__(self, seconds: float, seed_: int) -> None:
        self.seconds, self.seed = seconds, seed_
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.current: dict[tuple[str, str], int] = {}
        self.findings: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self.round = 0
        self.heard = time.monotonic()

    def listen(self, stream) -> None:
        """What a child reports."""
        for line in stream:
            self.heard = time.monotonic()
            try:
                message = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "outcomes" in message:
                self.current = {(function, outcome): count for function, outcome, count in message["outcomes"]}
                self.round = message["round"]
            else:
                self.findings.append((message["finding"], message["source"]))
                self.keys.append(message["key"])

    @property
    def total(self) -> int:
        """Examples so far."""
        return self.outcomes.total() + sum(self.current.values())

    def run(self) -> int:
        """Until time is up; the exit status."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console()
        begin = time.monotonic()
        columns = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
        with Progress(*columns, console=console) as bar, tempfile.TemporaryDirectory() as folder:
            task = bar.add_task("fuzz", total=self.seconds)
            example_file = str(Path(folder) / "example")
            while (left := self.seconds - (time.monotonic() - begin)) > 0.5:
                if not self.one_child(left, example_file, bar, task, begin):
                    break
        elapsed = time.monotonic() - begin
        self.summary(console, elapsed)
        return 1 if self.findings else 0

    def one_child(self, left: float, example_file: str, bar, task, begin: float) -> bool:
        """Whether it died, so that another may go on in the time that is left."""
        command = [sys.executable, "-X", "faulthandler", str(COMMAND), "--child", example_file, "--seconds", str(left)]
        command += ["--seed", str(self.seed), "--round", str(self.round)]
        errors = Path(example_file + "-errors").open("w+")  # noqa: SIM115
        child = subprocess.Popen(
            [*command, "--skip", json.dumps(self.keys)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        listener = threading.Thread(target=self.listen, args=(child.stdout,), daemon=True)
        self.heard = time.monotonic()
        listener.start()
        hung = False
        while child.poll() is None:
            time.sleep(0.1)
            seconds = time.monotonic() - begin
            found = f", [red]{len(self.findings)} found[/red]" if self.findings else ""
            bar.update(
                task,
                completed=min(seconds, self.seconds),
                description=f"{self.total:,} examples, {self.total / seconds:,.0f}/s{found}",
            )
            if time.monotonic() - self.heard > SECONDS_WITHOUT_PROGRESS:
                child.kill()
                hung = True
        listener.join()
        self.outcomes.update(self.current)
        self.current = {}
        if child.returncode == 0:
            return False
        errors.seek(0)
        trace = errors.read().strip()
        errors.close()
        source = Path(example_file).read_bytes().split(b"\0")[0].decode() if Path(example_file).exists() else ""
        if hung:
            self.findings.append((f"no end after {SECONDS_WITHOUT_PROGRESS} s", source))
        elif child.returncode < 0:
            self.findings.append((f"died of signal {-child.returncode}\n{trace[:1200]}", shortened(source)))
        else:
            self.findings.append((f"the fuzzer itself failed\n{trace[-3000:]}", source))
            return False
        self.round += 1
        return True

    def summary(self, console, elapsed: float) -> None:
        """A table of outcomes by function; the findings."""
        from rich.table import Table

        outcomes = sorted({outcome for _, outcome in self.outcomes}, key=lambda o: (not o.startswith("returned"), o))
        table = Table("function", *outcomes, title=f"{self.total:,} examples in {elapsed:.0f} s, seed {self.seed}")
        for column in table.columns[1:]:
            column.justify = "right"
        for function in FUNCTIONS:
            table.add_row(function, *(f"{self.outcomes[function, outcome]:,}" for outcome in outcomes))
        console.print(table)
        for number, (message, source) in enumerate(self.findings, 1):
            console.rule(f"finding {number}", align="left")
            console.print(message, markup=False, highlight=False)
            console.print(f"\n{PREAMBLE}{source}\n", markup=False, highlight=False, soft_wrap=True)
        verdict = f"{len(self.findings)} findings" if self.findings else "nothing found"
        console.print(verdict)


def main() -> int:
    """Parent or child, by the arguments."""
    parser = argparse.ArgumentParser(description="Throw arbitrary arguments at every public function, for a while.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--skip", default="[]", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is None:
        return Parent(arguments.seconds, arguments.seed).run()
    faulthandler.enable()
    Child(arguments.seconds, arguments.seed, arguments.child, arguments.round, json.loads(arguments.skip)).run()
    return 0
