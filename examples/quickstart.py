"""Softmax and its Jacobian, three ways: by hand, by torch's autograd, and by softmax_cy.

The textbook formulas are written as plain Python loops, torch's autograd delivers the Jacobian row by row, and both
are held against softmax_cy: first the values, then the time that each takes. The inputs are one random vector of 10
and a batch of 16 such vectors, in float64 and in float32. All on one thread.

    python examples/quickstart.py [--output DIR]

Needs torch, matplotlib and rich. Writes quickstart.png to DIR, by default ./demo-output, and exits with 1 if any two
results differ.
"""

import sys
import timeit
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import softmax_cy
from _demo import OUR_COLOUR, Checks, blank_figure, output_directory, save

NAIVE, TORCH, OURS = "naive", "torch", "softmax_cy"
COLOURS = {NAIVE: "#b8b8b8", TORCH: "#ee8866", OURS: OUR_COLOUR}

FORWARD, JACOBIAN = "forward", "Jacobian"
TITLES = {
    FORWARD: "softmax",
    JACOBIAN: "Jacobian of softmax, from its outputs (torch: autograd, row by row)",
}

SHAPES = ((10,), (16, 10))
DTYPES = (np.float64, np.float32)
SEED = 7

ROUNDS = 10
SECONDS_PER_SAMPLE = 2e-3

Computation = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One input, and how each implementation computes the softmax and the Jacobian of it."""

    name: str
    forward: dict[str, Computation]
    jacobian: dict[str, Computation]

    def tasks(self) -> tuple[tuple[str, dict[str, Computation]], ...]:
        """Both things to compute, each with its name."""
        return (FORWARD, self.forward), (JACOBIAN, self.jacobian)


@dataclass(frozen=True)
class Timing:
    """The best time of each implementation for one task of one case, in microseconds."""

    case: str
    task: str
    microseconds: dict[str, float]

    def ratio(self, implementation: str) -> float:
        """How many times as long as softmax_cy the implementation takes."""
        return self.microseconds[implementation] / self.microseconds[OURS]


def naive_softmax(x: np.ndarray) -> np.ndarray:
    """Softmax by its definition: exp(x_i) / sum_j exp(x_j).

    Good enough for small logits only: exp overflows from 89 in float32 and from 710 in float64.
    """
    exponentials = np.exp(x)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def naive_jacobian(y: np.ndarray) -> np.ndarray:
    """The Jacobian by its definition, from the outputs of softmax: J_ij = y_i (1 - y_i) if i = j, else -y_i y_j."""
    n = y.shape[-1]
    jacobian = np.empty((*y.shape, n), dtype=y.dtype)
    for item in np.ndindex(y.shape[:-1]):
        for i in range(n):
            for j in range(n):
                if i == j:
                    jacobian[item][i, j] = y[item][i] * (1 - y[item][i])
                else:
                    jacobian[item][i, j] = -y[item][i] * y[item][j]
    return jacobian


def torch_jacobian(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """The Jacobian by autograd, which gives one row at a time: the gradient of output i with respect to all inputs.

    The items of a batch do not depend on each other, so one pass gives row i of all of them.
    """
    selectors = torch.eye(y.shape[-1], dtype=y.dtype)
    rows = [torch.autograd.grad(y, x, grad_outputs=e.expand_as(y), retain_graph=True)[0] for e in selectors]
    return torch.stack(rows, dim=-2).numpy()


def make_case(x: np.ndarray) -> Case:
    """Prepare what every implementation needs, so that only the computation itself is timed.

    Each Jacobian starts from its own softmax, computed beforehand; torch's, from the graph recorded with it.
    """
    y_naive = naive_softmax(x)
    y_ours = softmax_cy.softmax(x)
    x_torch = torch.from_numpy(x)
    x_leaf = x_torch.clone().requires_grad_()
    y_graph = torch.softmax(x_leaf, dim=-1)
    return Case(
        name=f"{x.shape} {x.dtype}",
        forward={
            NAIVE: lambda: naive_softmax(x),
            TORCH: lambda: torch.softmax(x_torch, dim=-1).numpy(),
            OURS: lambda: softmax_cy.softmax(x),
        },
        jacobian={
            NAIVE: lambda: naive_jacobian(y_naive),
            TORCH: lambda: torch_jacobian(x_leaf, y_graph),
            OURS: lambda: softmax_cy.softmax_jacobian(y_ours),
        },
    )


def make_cases() -> list[Case]:
    """One case for each shape and dtype, with the same logits in both precisions."""
    rng = np.random.default_rng(SEED)
    logits = [rng.standard_normal(shape) for shape in SHAPES]
    return [make_case(x.astype(dtype)) for x in logits for dtype in DTYPES]


def check_case(case: Case, checks: Checks) -> None:
    """Hold the naive results and those of softmax_cy against torch's, the Jacobian row by row."""
    for implementation in (NAIVE, OURS):
        against = f"{case.name}, {implementation} vs {TORCH}"
        checks.check(f"{against}: forward", np.allclose(case.forward[implementation](), case.forward[TORCH]()))

        jacobian, reference = case.jacobian[implementation](), case.jacobian[TORCH]()
        rows = np.isclose(jacobian, reference).all(axis=-1)
        checks.check(f"{against}: {rows.sum()} of {rows.size} rows of the Jacobian", rows.all())


def best_times(computations: dict[str, Computation]) -> dict[str, float]:
    """The best time of each computation over several rounds, in microseconds.

    Every round goes through them forwards and then backwards (A B C C B A), so that a spell in which the machine is
    busy or its clock drifts does not fall on one of them alone.
    """
    timers = {name: timeit.Timer(computation) for name, computation in computations.items()}
    calls = {name: calls_per_sample(timer) for name, timer in timers.items()}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for name in (*timers, *reversed(timers)):
            best[name] = min(best[name], timers[name].timeit(calls[name]) / calls[name])
    return {name: 1e6 * seconds for name, seconds in best.items()}


def calls_per_sample(timer: timeit.Timer) -> int:
    """How many calls make one sample long enough for the clock; also warms the computation up."""
    seconds = min(timer.repeat(repeat=5, number=1))
    return max(1, round(SECONDS_PER_SAMPLE / seconds))


def format_time(microseconds: float) -> str:
    """As many decimals as mean anything."""
    return f"{microseconds:.2f}" if microseconds < 10 else f"{microseconds:.0f}"


def timing_table(timings: list[Timing]) -> Table:
    """The times, and how many times as long as softmax_cy the others take."""
    table = Table(title=f"Best of {2 * ROUNDS} samples, in µs; in brackets, how many times {OURS}'s")
    table.add_column("input")
    table.add_column("task")
    for implementation in (NAIVE, TORCH, OURS):
        table.add_column(implementation, justify="right")
    for timing in timings:
        compared = [f"{format_time(timing.microseconds[name])} ({timing.ratio(name):.1f}x)" for name in (NAIVE, TORCH)]
        ours = format_time(timing.microseconds[OURS])
        table.add_row(timing.case, timing.task, *compared, ours, end_section=timing.task == JACOBIAN)
    return table


def timing_figure(timings: list[Timing]) -> Figure:
    """The times as bars, one panel for each task."""
    figure = blank_figure(12, 9)
    panels = figure.subplots(2, 1)
    for panel, task in zip(panels, TITLES, strict=True):
        chosen = [timing for timing in timings if timing.task == task]
        positions = np.arange(len(chosen))
        for shift, name in zip((-0.28, 0.0, 0.28), (NAIVE, TORCH, OURS), strict=True):
            times = [timing.microseconds[name] for timing in chosen]
            bars = panel.bar(positions + shift, times, width=0.26, label=name, color=COLOURS[name])
            panel.bar_label(bars, fmt=format_time, padding=2, fontsize=11)
        panel.set_yscale("log")
        # Bars on a logarithmic axis have no natural foot; both panels get one just below their shortest bar.
        shortest = min(min(timing.microseconds.values()) for timing in chosen)
        longest = max(max(timing.microseconds.values()) for timing in chosen)
        panel.set_ylim(shortest / 3, longest * 2.5)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_xticks(positions, [timing.case for timing in chosen], fontsize=12)
        panel.set_ylabel("µs per call", fontsize=12)
        panel.set_title(TITLES[task], fontsize=14)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=12)
    return figure


def main() -> int:
    """Compare the values, then the times; return the exit code."""
    directory = output_directory(__doc__)
    # On a busy machine torch's threads wait for each other for milliseconds, even over inputs as small as these.
    torch.set_num_threads(1)
    checks = Checks()
    cases = make_cases()

    for case in cases:
        check_case(case, checks)

    timings = [Timing(case.name, task, best_times(by_name)) for case in cases for task, by_name in case.tasks()]
    print()
    Console().print(timing_table(timings))
    print("One thread. Torch's Jacobian is autograd, row by row.")

    save(timing_figure(timings), directory / "quickstart.png")
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
