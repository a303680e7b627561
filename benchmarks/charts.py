"""Draw the charts and write the tables of asv's results: docs/results/ holds them, and the README a few rows.

    python -m benchmarks.charts [--results FOLDER] [--output FOLDER] [--page FILE] [--readme FILE]

Nothing is measured here.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.dashboard import OURS, RESULTS, ROOT, cases, digits, one_environment
from benchmarks.results import Record, Run, load

CHARTS = ROOT / "docs" / "results"
PAGE = CHARTS / "asv.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- results: written by make charts -->", "<!-- end of results -->"

# The rows of the README's table: what most callers use, and where softmax_cy loses cases.
ROWS = (
    "softmax",
    "softmax_along_axis_0",
    "log_softmax",
    "cross_entropy_and_grad",
    "softmax_vjp",
    "softmax_jacobian",
)

# Told apart by the colour-blind, and opaque, so that both themes of a web page will do.
COLOURS = {OURS: "#1f5fbf", "torch": "#d9601a", "numpy": "#7a8291", "scipy": "#9b59b6"}
COLOURS |= {"plain Cython": "#c2a300", "limit": "#2f9e6e"}
MARKERS = {OURS: "o", "torch": "s", "numpy": "^", "scipy": "D", "plain Cython": "v", "limit": ""}
STYLE = {
    "figure.facecolor": "#f6f8fa",
    "axes.facecolor": "#ffffff",
    "axes.edgecolor": "#8a93a3",
    "axes.grid": True,
    "axes.grid.which": "major",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dde2ea",
    "axes.axisbelow": True,
    "font.size": 11,
    "svg.hashsalt": "softmax_cy",
}
SIZE, DOTS = (8, 4.2), 110


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="asv's results (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=CHARTS, help="for the charts (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="whose table gets all rows (default: %(default)s)")
    parser.add_argument("--readme", type=Path, default=README, help="whose table gets some (default: %(default)s)")
    return parser.parse_args(argv)


def elements(shape: str) -> int:
    """Count the elements of an array of this shape."""
    return math.prod(map(int, shape.split("x")))


def records(run: Run, function: str, **params: str) -> list[Record]:
    """Return what was measured of one benchmark with these parameters."""
    return [
        record
        for record in run.records
        if record.measured
        and record.function == function
        and all(record.params.get(name) == value for name, value in params.items())
    ]


def forward(run: Run, axes: object) -> None:
    """Draw the time an element takes against the length of the rows."""
    found = records(run, "time_softmax_by_length", dtype="float32")
    for peer in COLOURS:
        mine = sorted((int(r.params["shape"].split("x")[1]), r) for r in found if r.params["backend"] == peer)
        if not mine:
            continue
        lengths, own = zip(*mine, strict=True)
        times, lows, highs = (
            [1e9 * getattr(r, end) / elements(r.params["shape"]) for r in own] for end in ("value", "low", "high")
        )
        label = "copy of the input" if peer == "limit" else peer
        axes.plot(
            lengths, times, color=COLOURS[peer], marker=MARKERS[peer], label=label,
            linestyle="--" if peer == "limit" else "-", linewidth=2.2 if peer == OURS else 1.6,
        )  # fmt: skip
        axes.fill_between(lengths, lows, highs, color=COLOURS[peer], alpha=0.15, linewidth=0)
    axes.set(yscale="log", xlabel="length of the rows", ylabel="ns per element")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("softmax of 1 MB of float32, one thread", loc="left")
    if found:
        axes.legend(frameon=False)


def jacobian(run: Run, axes: object) -> None:
    """Draw the times of the Jacobian as multiples of the time that filling its memory takes."""
    found = records(run, "time_softmax_jacobian", dtype="float32")
    fills = {r.params["shape"]: r.value for r in found if r.params["backend"] == "limit"}
    shapes = sorted(fills, key=lambda shape: elements(shape) * int(shape.split("x")[1]))
    shown = (OURS, "numpy", "torch", "plain Cython")
    peers = [peer for peer in shown if any(r.params["backend"] == peer for r in found)]
    for place, peer in enumerate(peers):
        times = {r.params["shape"]: r.value for r in found if r.params["backend"] == peer}
        heights = [times.get(shape, math.nan) / fills[shape] for shape in shapes]
        left = (place - (len(peers) - 1) / 2) * 0.81 / len(peers)
        bars = axes.bar(
            [i + left for i in range(len(shapes))], heights, 0.75 / len(peers), color=COLOURS[peer], label=peer
        )
        axes.bar_label(bars, [f"{height:.1f}" for height in heights], fontsize=9)
    axes.axhline(1, color=COLOURS["limit"], linestyle="--", linewidth=1.6, label="fill with a constant")
    axes.set(yscale="log", ylabel="times as long as fill")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(range(len(shapes)), shapes)
    axes.grid(axis="x", visible=False)
    axes.set_title("Jacobian of softmax, float32, one thread", loc="left")
    axes.legend(frameon=False, ncols=2)


def error_against_speed(run: Run, axes: object) -> None:
    """Draw the largest error against the time; the best place is the lower left corner."""
    shape, marks = "32x1000", {"softmax": "o", "log_softmax": "s", "logsumexp": "^"}
    errors = digits([run])
    for operation, mark in marks.items():
        for record in records(run, f"time_{operation}", shape=shape, dtype="float32"):
            peer = record.params["backend"]
            error = errors.get(f"{operation} float32", {}).get(peer)
            if error is None or peer not in COLOURS:
                continue
            time = 1e9 * record.value / elements(shape)
            axes.plot(time, error, mark, color=COLOURS[peer], markersize=9, alpha=0.9)
    for peer in (OURS, "torch", "numpy", "scipy"):
        axes.plot([], [], "o", color=COLOURS[peer], label=peer)
    for operation, mark in marks.items():
        axes.plot([], [], mark, color="#39414f", fillstyle="none", label=operation)
    axes.set(xscale="log", yscale="log", xlabel="ns per element, 32 rows of 1000", ylabel="largest error, ulp")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_title("Error against time, float32: left is fast, below is right", loc="left")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


DRAWINGS = {"forward": forward, "jacobian": jacobian, "error-against-speed": error_against_speed}


def table(run: Run, names: Sequence[str] | None = None) -> str:
    """Tabulate in Markdown how many times as long as softmax_cy each peer takes.

    A cell holds the geometric mean over the cases of an operation and, in parentheses, the case that is worst for
    softmax_cy. `names` selects the rows and their order; None means all rows.
    """
    peers = [peer for peer in ("torch", "numpy", "scipy") if any(peer in entry for entry in cases(run).values())]
    groups: dict[str, list[Mapping[str, Record]]] = {}
    for entry in cases(run).values():
        groups.setdefault(entry[OURS].function.removeprefix("time_"), []).append(entry)
    lines = [f"| | cases | {' | '.join(peers)} |", f"|---|---:|{'---:|' * len(peers)}"]
    for name in sorted(groups) if names is None else [name for name in names if name in groups]:
        entries = groups[name]
        cells = []
        for peer in peers:
            ratios = [entry[peer].value / entry[OURS].value for entry in entries if peer in entry]
            mean = f"{statistics.geometric_mean(ratios):.2f} ({min(ratios):.2f})" if ratios else ""
            cells.append(mean)
        lines.append(f"| {name} | {len(entries)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def renewed(text: str, new: str) -> str:
    """Return the text with `new` between the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} ... {END}")
    return f"{before}{begin}\n{new}\n{end}{after}"


def main(argv: Sequence[str]) -> int:
    """Draw and write everything, and return the exit code."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    options = arguments(argv)
    runs = one_environment(load(options.results))
    if not runs:
        print(f"nothing to show: no results in {options.results}; `make bench` or `asv run` measures")
        return 1
    run = runs[-1]
    with mpl.rc_context(STYLE):
        for name, draw in DRAWINGS.items():
            figure = Figure(SIZE, dpi=DOTS, layout="constrained")
            draw(run, figure.add_subplot())
            path = options.output / f"{name}.png"
            figure.savefig(path, metadata={"Software": None})
            print(path)
    for path, rows in ((options.page, None), (options.readme, ROWS)):
        path.write_text(renewed(path.read_text(), table(run, rows)))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
