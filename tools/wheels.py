"""Build wheels that strangers can install, and install them as a stranger would: `make wheels`.

For every CPython that is found, or that is named: python tools/wheels.py python3.10 /opt/python/bin/python3

1. One wheel is built from a copy of this tree, in an environment with what pyproject.toml says a build needs. Another
   one is built from the source distribution, in another folder and in an environment that pip makes.
2. Both are repaired by auditwheel, and written anew in a fixed order, with the time of the last commit. Their bytes
   must be the same.
3. The wheel may be linked with nothing but libc, may name no folder of this machine to the loader, and may not have
   more than 2,000,000 bytes.
4. It is installed into a new environment that finds no compiler, with NumPy and pytest alone, and the core of the tests
   is run there: with the newest NumPy, and with the oldest that the metadata promises where that has a wheel.

The wheels and the source distribution are left in dist/, the logs in build/wheels/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from release import archives, building, installing, pythons
from release.commands import FOLDER, ROOT, FailedError

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
STEPS_OF_BUILD, STEPS_OF_TESTS = 4, 2

console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)


@dataclass
class Made:
    """A wheel, and what is known of it."""

    python: str
    name: str
    tag: str
    bytes: int
    sha256: str
    build_seconds: float
    tests: list[installing.Tested] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_row(self) -> dict[str, str]:
        """Return the cells of its row by the titles of the columns."""
        return {
            "Python": self.python,
            "tag": self.tag,
            "bytes": f"{self.bytes:,}",
            "sha256": self.sha256,
            "tests passed": ", ".join(f"{tests.passed} with NumPy {tests.numpy}" for tests in self.tests),
            "test s": ", ".join(f"{tests.seconds:.1f}" for tests in self.tests),
            "build s": f"{self.build_seconds:.0f}",
        }


def make_and_test(interpreter: pythons.Interpreter, sdist: Path | None, epoch: int, say: Callable[[str], None]) -> Made:
    """Build a wheel, or find it in dist/ where there is no source distribution to compare with, and test it."""
    began = time.monotonic()
    if sdist is None:
        wheel, notes = building.find_built(interpreter), []
    else:
        requirements = PROJECT["build-system"]["requires"]
        wheel, notes = building.build_twice(interpreter, requirements, sdist, epoch, say)
    # Of several names of one platform the last is the plainest.
    tag = f"{wheel.stem.split('-', 2)[2].partition('.')[0].rpartition('-')[0]}-{wheel.stem.rpartition('.')[2]}"
    seconds = time.monotonic() - began
    made = Made(
        str(interpreter), wheel.name, tag, wheel.stat().st_size, archives.sha256(wheel), seconds, notes=list(notes)
    )
    log = FOLDER / f"tests-{interpreter.tag}.txt"
    log.unlink(missing_ok=True)
    oldest = installing.oldest_version(PROJECT["project"]["dependencies"], "numpy")
    for numpy in ("numpy", f"numpy=={oldest}"):
        say(f"tests with {numpy}")
        tested = installing.install_and_test(wheel, interpreter, numpy, log)
        if tested is None:
            made.notes.append(f"NumPy {oldest} has no wheel for this Python")
        else:
            made.tests.append(tested)
    skipped = {reason: count for tests in made.tests for reason, count in tests.skipped.items()}
    made.notes += [f"{count} tests skipped: {reason}" for reason, count in skipped.items()]
    return made


def make_all(chosen: list[pythons.Interpreter], sdist: Path | None, epoch: int) -> tuple[list[Made], list[str]]:
    """Make and test a wheel for each Python. Return them, and the Pythons for which that failed."""
    made, failed = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    steps = STEPS_OF_TESTS if sdist is None else STEPS_OF_BUILD + STEPS_OF_TESTS
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(chosen) * steps)
        for number, interpreter in enumerate(chosen):
            done = iter(range(number * steps, (number + 1) * steps))

            def say(step: str, interpreter: object = interpreter, done: object = done) -> None:
                progress.update(task, description=f"{interpreter}: {step}", completed=next(done))

            try:
                one = make_and_test(interpreter, sdist, epoch, say)
            except FailedError as error:
                failed.append(str(interpreter))
                console.print(f"{interpreter}: {error}", style="red")
                continue
            made.append(one)
            console.print("\n  ".join([one.name, f"sha256 {one.sha256}", *one.notes]))
        progress.update(task, description="done", completed=len(chosen) * steps)
    return made, failed


def show(made: list[Made]) -> None:
    """Print the table. Whole digests stand above it."""
    if not made:
        return
    table = Table(box=None, pad_edge=False)
    for title in made[0].as_row():
        table.add_column(title, justify="right" if title in ("bytes", "test s", "build s") else "left")
    for one in made:
        table.add_row(*(value[:12] if title == "sha256" else value for title, value in one.as_row().items()))
    console.print(table)


def as_markdown(made: list[Made]) -> str:
    """Write the table for a document."""
    rows = [one.as_row() for one in made]
    titles = list(rows[0]) if rows else []
    lines = [titles, ["---"] * len(titles), *(list(row.values()) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", help="names, versions or paths; all that are found if none is given")
    parser.add_argument("--sdist", action="store_true", help="build the source distribution alone")
    parser.add_argument("--test", action="store_true", help="build nothing: test the wheels in dist/")
    parser.add_argument("--json", type=Path, help="write the table into a file")
    parser.add_argument("--markdown", type=Path, help="write the table into a file")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    epoch, sdist = archives.commit_time(ROOT), None
    try:
        if not options.test:
            building.take_snapshot()
            with console.status("source distribution"):
                sdist = building.build_sdist(epoch)
            console.print(f"{sdist.name}\n  sha256 {archives.sha256(sdist)}\n  {sdist.stat().st_size:,} bytes")
        if options.sdist:
            return 0
        chosen = pythons.find_named(options.pythons) if options.pythons else pythons.find_all()
    except (FailedError, pythons.UnusableError) as error:
        console.print(str(error), style="red")
        return 1
    if not chosen:
        sys.exit("no CPython with headers was found")
    console.print(
        f"for Python {', '.join(map(str, chosen))}; the time in archives is {time.asctime(time.gmtime(epoch))}"
    )
    made, failed = make_all(chosen, sdist, epoch)
    show(made)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in made], indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(as_markdown(made))
    if failed:
        console.print(f"failed for Python {', '.join(failed)}", style="red")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
