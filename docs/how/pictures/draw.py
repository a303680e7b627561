"""Draw the pictures of the pages about how the library works.

    python docs/how/pictures/draw.py FOLDER

The constants are read from the header of the kernels, and the errors are measured: the pictures show the library that
is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image

import softmax_cy

CONSTANTS = Path(__file__).parents[3] / "src/softmax_cy/kernels/vector/constants.h"

# Told apart by the colour-blind (Okabe and Ito), and dark enough on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#007a5a", "#a04a7d"
PALE = {BLUE: "#cfe4f2", ORANGE: "#f9d9c4", GREEN: "#cdeae0", PURPLE: "#ecd6e3"}
COLOURS = tuple(PALE)
GREY, PALE_GREY = "#5a6270", "#e6e9ee"

# At 390 pixels a picture is 75 pixels an inch: 9 points are 9 pixels.
WIDTH, DOTS = 4.8, 150
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def read_constants(bits: int = 32) -> dict[str, list[float]]:
    """Return the constants of a precision by name; a table of powers holds bit patterns."""
    text = CONSTANTS.read_text().split("#if SOFTMAX_CY_REAL_BITS == 32")[1]
    section = text.split("#elif SOFTMAX_CY_REAL_BITS == 64")[0 if bits == 32 else 1]
    found = {}
    for name, value in re.findall(r"#define (\w+) +([^/\n]+)", section):
        numbers = (number.strip().removesuffix("f") if "." in number else number for number in value.split(","))
        found[name] = [float.fromhex(number) if "." in number else int(number, 0) for number in numbers]
    return found


def read_powers() -> np.ndarray:
    """Return the eight powers of float32 as the kernels use them, for n of 0 to 7."""
    constants = read_constants()
    steps = np.arange(8, dtype=np.uint32)
    bits = np.array(constants["POWERS"], np.uint32) + (steps << np.uint32(constants["POWER_SHIFT"][0]))
    return bits.view(np.float32).astype(float) / constants["RAISE"][0]


def read_theta() -> float:
    """Return by what part of a step the powers of float32 lie beside whole steps."""
    return float(re.search(r"theta = (\S+) \*/", CONSTANTS.read_text())[1])


def evaluate_polynomial(r: np.ndarray) -> np.ndarray:
    """Return the polynomial of float32, without rounding."""
    constants = read_constants()
    return np.polynomial.polynomial.polyval(r, [constants[f"EXP_C{i}"][0] for i in range(5)])


def measure_errors(distances: np.ndarray, top: float = 0.7) -> dict[str, np.ndarray]:
    """Return the errors of softmax in float32, in ulp, of elements that lie so far below the other one of their slice.

    The reference is float64, which has 29 more bits.
    """
    x = np.float32(top) + distances.astype(np.float32)
    rows = np.stack([x, np.full_like(x, top)], axis=1)
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    exact = 1 / (1 + np.exp(rows[:, 1].astype(float) - rows[:, 0].astype(float)))
    results = {
        "exp(x - max) / sum": (exponentials / exponentials.sum(axis=1, keepdims=True))[:, 0],
        "softmax_cy": softmax_cy.softmax(rows)[:, 0],
    }
    return {name: np.abs(y - exact) / np.spacing(exact.astype(np.float32)) for name, y in results.items()}


def new_figure(height: float) -> Figure:
    """Return an empty figure of the width of all."""
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def empty_axes(axes: object, width: float, height: float) -> None:
    """Turn axes into a plain sheet of so many units, with y downwards."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")


def box(axes: object, x: float, y: float, text: object = "", colour: str = GREY, **options: object) -> None:
    """Draw a box with a text in it. `width`, `height` and `size` change its look."""
    width, height = options.get("width", 1), options.get("height", 1)
    face = PALE.get(colour, PALE_GREY) if options.get("filled", True) else "none"
    axes.add_patch(
        Rectangle((x, y), width, height, facecolor=face, edgecolor=colour, linewidth=options.get("line", 0.8))
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", size=options.get("size", 9))


def arrow(axes: object, begin: tuple[float, float], end: tuple[float, float], colour: str = GREY) -> None:
    """Draw an arrow."""
    axes.add_patch(
        FancyArrowPatch(
            begin, end, arrowstyle="-|>", mutation_scale=9, color=colour, linewidth=1.3, shrinkA=0, shrinkB=0
        )
    )


def draw_exponential() -> Figure:
    """The three steps of an exponential in float32."""
    figure = new_figure(6.6)
    steps, powers, rest = figure.subplots(3, 1)
    step = np.log(2) / 8

    x = np.linspace(-4.5 * step, 4.5 * step, 4001)
    n = np.rint(x / step)
    r = x - n * step
    steps.plot(x, np.where(np.diff(n, prepend=n[0]) == 0, r, np.nan), color=BLUE)
    for k in range(-4, 5):
        steps.text(k * step, 0.062, k, ha="center", va="center", color=ORANGE)
    steps.text(-0.41, 0.062, "n =", ha="center", va="center", color=ORANGE)
    steps.set(xlim=(-0.44, 0.41), ylim=(-0.055, 0.075), yticks=(-0.044, 0, 0.044), xlabel="x", ylabel="what is left, r")
    steps.set_title("1  Take n steps of ln 2 / 8 off x", pad=8)

    j, values = np.arange(8), read_powers()
    t = np.linspace(0, 8, 200)
    powers.plot(t, 2 ** (t / 8), color=GREY, linewidth=1)
    powers.plot(j, values, "o", color=ORANGE)
    for i, value in zip(j, values, strict=True):
        powers.text(i + 0.1, value - 0.03, f"{value:.4f}", va="top")
    powers.set(ylim=(0.8, 2.1), xlim=(-0.4, 8.3), xlabel="the lowest three bits of n", ylabel="power of 2")
    powers.set_xticks(j, [f"{i:03b}" for i in j])
    powers.set_title("2  Look the power up: the rest of n is the exponent")

    r = np.linspace(-step / 2, step / 2, 2001)
    target = np.exp(r - read_theta() * step) - 1
    rest.plot(r, (evaluate_polynomial(r) - target) / (1 + target) * 2**24, color=BLUE)
    rest.axhline(0, color=GREY, linewidth=0.8)
    rest.set(xlabel="r", ylabel="error, in 2$^{-24}$", ylim=(-0.06, 0.06))
    rest.set_title("3  A polynomial of degree 4 gives e$^r$: its error")
    return figure


def draw_error() -> Figure:
    """The errors of softmax by the distance from the largest element, measured."""
    figure = new_figure(3.0)
    axes = figure.subplots()
    bins, samples = 160, 250
    distances = -np.linspace(0, 86, bins * samples)
    errors = measure_errors(distances)
    middles = -distances.reshape(bins, samples).mean(axis=1)
    for (name, error), colour, style in zip(errors.items(), (ORANGE, BLUE), ("-", "-"), strict=True):
        axes.plot(middles, error.reshape(bins, samples).max(axis=1), style, color=colour, label=name, linewidth=1.5)
    axes.axhline(2, color=GREY, linestyle="--", linewidth=1)
    axes.text(86, 2.15, "the promise: 2 ulp", ha="right", va="bottom", color=GREY)
    axes.set(yscale="log", ylim=(0.4, 130), xlabel="how far an element lies below the largest", ylabel="error, ulp")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("Largest error of softmax in float32, measured", pad=8)
    axes.legend(frameon=False, loc="upper left")
    return figure


def draw_sums() -> Figure:
    """Lanes, the tree that joins them, and the chain of blocks."""
    figure = new_figure(5.9)
    axes = figure.subplots()
    empty_axes(axes, 16, 18.9)
    for i in range(48):
        lane = i % 16
        box(axes, lane, 0.8 + i // 16, i, COLOURS[lane % 4])
    axes.text(0, 0.4, "elements of one block: 16 a vector", va="center")
    axes.text(8, 4.25, "... 4,096 floats (16 KB): element i goes into lane i % 16", ha="center", va="center")
    for lane in range(16):
        arrow(axes, (lane + 0.5, 4.7), (lane + 0.5, 5.4), COLOURS[lane % 4])
        box(axes, lane, 5.5, lane, COLOURS[lane % 4], line=1.6)

    level, count, y = [lane + 0.5 for lane in range(16)], 16, 6.6
    while count > 1:
        half = count // 2
        below = [(level[j] + level[j + half]) / 2 for j in range(half)]
        for j in range(half):
            for source in (level[j], level[j + half]):
                axes.plot((source, below[j]), (y, y + 1.6), color=COLOURS[j % 4] if half > 2 else GREY, linewidth=1)
        axes.plot(below, [y + 1.6] * half, "o", color=GREY, markersize=3.5)
        level, count, y = below, half, y + 1.6
    axes.text(16, 11.5, "lane j with lane j + 8,\nthen + 4, + 2, + 1,\nin double", ha="right", va="center")
    axes.text(8, 13.95, "one block: its largest element\nand two doubles, sum and rest", ha="center", va="center")
    for number in range(4):
        left = number * 4 + 0.3
        box(axes, left, 15.9, f"block {number}" if number < 3 else "...", width=3.2, height=1.2)
        if number:
            arrow(axes, (left - 0.75, 16.5), (left - 0.05, 16.5), ORANGE)
    arrow(axes, (8, 14.75), (6.2, 15.75))
    note = "blocks are joined from the first to the last,\nwhoever has computed them, and whenever"
    axes.text(8, 18.0, note, ha="center", va="center")
    return figure


def vector_frame(axes: object, x: float, y: float, width: float, height: float = 1) -> None:
    """Frame the elements of one vector."""
    axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor="black", linewidth=2.2, zorder=3))


def draw_walks() -> Figure:
    """Rows, columns, short rows and strided slices: a colour is a slice, a frame a vector."""
    figure = new_figure(5.6)
    axes = figure.subplots()
    empty_axes(axes, 24, 26.6)

    axes.text(0, 0.6, "rows: a vector holds neighbours of one slice", va="center")
    for row in range(4):
        for i in range(16):
            box(axes, i, 1.3 + row, colour=COLOURS[row])
    vector_frame(axes, 0, 1.3, 4)
    arrow(axes, (4.3, 1.8), (15.6, 1.8), "black")
    axes.text(16.7, 3.3, "up to 16 slices\nare a group", va="center")

    axes.text(0, 7.1, "columns: a vector holds one element of each slice", va="center")
    for row in range(4):
        for i in range(16):
            box(axes, i, 7.8 + row, colour=COLOURS[i % 4])
    vector_frame(axes, 0, 7.8, 4)
    arrow(axes, (2, 9), (2, 11.6), "black")
    axes.text(16.7, 9.8, "up to 4 vectors\nare a panel", va="center")

    axes.text(0, 13.6, "short rows: turned into columns first", va="center")
    for slice_ in range(4):
        for i in range(3):
            box(axes, slice_ * 3 + i, 14.6, i, COLOURS[slice_])
            box(axes, 16 + slice_, 14.3 + i, i, COLOURS[slice_])
    arrow(axes, (12.5, 15.1), (15.5, 15.1), "black")
    vector_frame(axes, 16, 14.3, 4)
    axes.text(16, 18.0, "a tile in scratch", va="center")
    axes.text(0, 16.5, "in memory", va="center", color=GREY)

    axes.text(0, 20.2, "all else: gathered, up to 16 KB at a time", va="center")
    for i in range(4):
        box(axes, i * 3.2, 21.2, i, BLUE)
        box(axes, 16 + i, 21.2, i, BLUE)
    for i in range(12):
        if i % 3:
            box(axes, (i // 3) * 3.2 + 1.05 * (i % 3), 21.2, filled=False, line=0.5)
    arrow(axes, (13.2, 21.7), (15.5, 21.7), "black")
    vector_frame(axes, 16, 21.2, 4)
    axes.text(0, 22.7, "strides, 16-bit floats,\nintegers, masks", va="top", color=GREY)
    axes.text(16, 22.7, "float32 or float64\nin scratch", va="top")
    axes.text(0, 26.1, "colour: a slice; frame: a vector, here of 4 lanes", va="center", style="italic")
    return figure


class Claim(NamedTuple):
    """A chunk that somebody computes."""

    who: int
    chunk: int
    begin: float
    end: float


def claim_chunks(wakes: Mapping[int, float], durations: list[float]) -> list[Claim]:
    """Return who computes which chunk: whoever is free first claims the next."""
    free = dict(wakes)
    claims = []
    for chunk, duration in enumerate(durations):
        who = min(free, key=free.__getitem__)
        claims.append(Claim(who, chunk, free[who], free[who] + duration))
        free[who] += duration
    return claims


def draw_threads() -> Figure:
    """One job: who claims which chunk, what the gate says, and who waits for whom."""
    figure = new_figure(4.6)
    axes = figure.subplots()
    lanes = ("the caller", "worker 1", "worker 2", "worker 3")
    durations = [25, 26, 25, 34, 25, 25, 24, 25, 40]
    claims = claim_chunks({0: 3.0, 1: 9.0, 2: 22.0}, durations)
    axes.set(xlim=(-34, 134), ylim=(9.3, -0.7))
    axes.axis("off")
    for who, name in enumerate(lanes):
        axes.text(-2, who * 1.3 + 0.5, name, ha="right", va="center")
        axes.plot((0, 134), (who * 1.3 + 0.5,) * 2, color=PALE_GREY, linewidth=1, zorder=0)
    for claim in claims:
        box(axes, claim.begin, claim.who * 1.3, claim.chunk, COLOURS[claim.who], width=claim.end - claim.begin)
    done = max(claim.end for claim in claims)
    closed = max(claim.end for claim in claims if claim.who == 0)
    axes.add_patch(
        Rectangle((closed, 0), done - closed, 1, facecolor="none", edgecolor=BLUE, linestyle="--", linewidth=1)
    )
    axes.text((closed + done) / 2, -0.3, "waits", ha="center", va="center", color=BLUE)
    note = "wakes late:\nno seat is left"
    axes.text(
        closed + 9, 4.4, note, va="center", color=GREY, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}
    )
    axes.plot((closed + 5,), (4.4,), "x", color=ORANGE, markersize=7, markeredgewidth=2)

    top = 5.6
    axes.text(-2, top + 0.5, "the gate", ha="right", va="center")
    for begin, end, text, colour in (
        (0, 3, "", GREY),
        (3, closed, "busy, seats: come in", GREEN),
        (closed, done, "no seats", ORANGE),
        (done, 134, "idle", GREY),
    ):
        box(axes, begin, top, text, colour, width=end - begin)
    for moment in (3, closed, done):
        axes.plot((moment, moment), (0, top), color=GREY, linewidth=0.7, linestyle=":", zorder=0)
    axes.text(closed - 2, 7.6, "no chunk is left: the caller closes the gate", ha="right", va="center")
    axes.text(done - 2, 8.7, "nobody is inside: the call returns", ha="right", va="center")
    arrow(axes, (closed, 7.8), (closed, top + 1.1))
    arrow(axes, (done, 8.9), (done, top + 1.1))
    return figure


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "exponential.png": draw_exponential,
    "error.png": draw_error,
    "sums.png": draw_sums,
    "walks.png": draw_walks,
    "threads.png": draw_threads,
}


def draw(folder: Path) -> None:
    """Draw all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        for name, draw_picture in PICTURES.items():
            figure = draw_picture()
            figure.canvas.draw()
            picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
            picture.quantize(64).save(folder / name, optimize=True)


def main(argv: list[str]) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    draw(parser.parse_args(argv).folder)


if __name__ == "__main__":
    main(sys.argv[1:])
