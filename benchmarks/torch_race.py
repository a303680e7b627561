"""Race softmax_cy.torch against torch, eager and compiled: one thread, forward, and forward and backward.

    python -m benchmarks.torch_race [--select PATTERN] [--markdown docs/results/race-torch.md]

All of a case take turns, on the same tensors. Before that, their results are compared with torch's in float64. A wrong
result fails the run, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch._inductor import config as inductor

from benchmarks import machine, peers, reference, report
from benchmarks.cases import SEED, Group, every, mean
from benchmarks.peers import OURS
from benchmarks.race import at_least_one, restart_in, wanted
from benchmarks.screen import PlainScreen, RichScreen, screen
from benchmarks.standings import Verdict, geometric_mean, ratio, verdicts
from benchmarks.timing import Outcome, no_garbage_collection, turns

ROUNDS = 24
SECONDS = 3.0

# The C library of Linux gives large results back to the system, and takes new memory for the next ones. This may cost
# as much as the computation, and chance decides who pays. So it keeps what it has.
ENVIRONMENT = {
    **peers.ENVIRONMENT,
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}

EAGER, COMPILED = "torch", "torch compiled"
COLUMNS = (OURS, EAGER, COMPILED)

MARK = "<!-- written by make race-torch: tables -->"

LEGEND = f"""`{OURS}` is softmax_cy.torch, `{EAGER}` the same function of torch, `{COMPILED}` that under torch.compile
for this very shape. Times are medians over the rounds. Ratios are medians too, of the ratios within a round, in which
all take turns. The forward pass runs in inference mode. The backward pass ends with a new gradient in the logits."""

SHAPES = ((1, 10), (32, 1000), (1024, 128), (32, 32000))
LARGE = SHAPES[1:]

Compute = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A case is one function on logits of one shape in float32, without or with its derivative."""

    function: str
    shape: tuple[int, ...]
    backward: bool = False

    dtype = "float32"
    limit = ""

    @property
    def name(self) -> str:
        """Return a name that no other case has, such as `softmax-backward-32x1000`."""
        parts = [self.function, *(["backward"] if self.backward else []), "x".join(map(str, self.shape))]
        return "-".join(parts)


def group_of(function: str, backward: bool, *targets: Any) -> Group:
    """Return the group of a function, with a case for each shape."""
    title = f"{function}, {'forward and backward' if backward else 'forward'}"
    return Group(title, tuple(Case(function, shape, backward) for shape in SHAPES), targets)


GROUPS = (
    group_of("softmax", False),
    group_of("log_softmax", False),
    group_of("logsumexp", False, every(EAGER, 3)),
    group_of("softmax", True, every(EAGER, 1, *LARGE)),
    group_of("log_softmax", True),
    group_of("logsumexp", True),
    group_of("cross_entropy", True, every(EAGER, 1.2), mean(EAGER, 2)),
)

# The four functions by the same names. Torch keeps one of them elsewhere.
TORCH = SimpleNamespace(
    softmax=torch.softmax,
    log_softmax=torch.log_softmax,
    logsumexp=torch.logsumexp,
    cross_entropy=torch.nn.functional.cross_entropy,
)


def make_function(library: Any, name: str) -> Compute:
    """Return a function of the logits, and for a loss of the classes."""
    function = getattr(library, name)
    if name == "cross_entropy":
        return lambda x, target: function(x, target)
    return lambda x: function(x, -1)


def compile_function(function: Compute) -> Compute:
    """Return what torch.compile makes of a function, for one shape and nothing else."""
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, dynamic=False)


def why_not_compiled() -> str:
    """Say why torch.compile does not work here; an empty string means that it does."""
    try:
        compile_function(make_function(TORCH, "softmax"))(torch.zeros(2, 3))
    except Exception as error:  # a missing compiler, its headers, and more, each with an exception of its own
        lines = str(error).strip().splitlines()
        return f"torch.compile: {lines[0] if lines else type(error).__name__}"
    return ""


def name_route() -> str:
    """Say whether the extension in C++ was built, which takes all calls of the race."""
    routes = importlib.import_module("softmax_cy.torch._routes")
    return "with its extension in C++" if routes.native is not None else "without its extension in C++"


def make_inputs(case: Case) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """Return what the function takes, always the same, and the gradient that the backward pass begins with."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(case.shape, generator=generator)
    if case.function == "cross_entropy":
        return [x, torch.randint(case.shape[1], case.shape[:1], generator=generator)], None
    result_shape = case.shape[:1] if case.function == "logsumexp" else case.shape
    return [x], torch.randn(result_shape, generator=generator)


def make_call(case: Case, function: Compute, arguments: Sequence[torch.Tensor], grad: torch.Tensor | None) -> Callable:
    """Return the call that is timed. It returns all results."""
    if not case.backward:
        return partial(function, *arguments)
    x, *others = arguments
    x = x.clone().requires_grad_()

    def call() -> tuple[torch.Tensor, torch.Tensor | None]:
        x.grad = None
        y = function(x, *others)
        y.backward(grad)
        return y, x.grad

    return call


def as_arrays(value: Any) -> tuple[Any, ...]:
    """Return the results as arrays in a tuple, even if there is only one."""
    return tuple(y.detach().numpy() for y in (value if isinstance(value, tuple) else (value,)))


def compute_right(case: Case, arguments: Sequence[torch.Tensor], grad: torch.Tensor | None) -> tuple[Any, ...]:
    """Compute the results with torch in float64."""
    wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in arguments]
    return as_arrays(
        make_call(case, make_function(TORCH, case.function), wide, None if grad is None else grad.double())()
    )


def functions_of(case: Case, missing: dict[str, str]) -> dict[str, Compute]:
    """Return the function of everyone who takes part."""
    theirs = make_function(TORCH, case.function)
    # asv imports this module with builds of old commits, which have no such package.
    ours = importlib.import_module("softmax_cy.torch")
    functions = {OURS: make_function(ours, case.function), EAGER: theirs}
    if COMPILED not in missing:
        functions[COMPILED] = compile_function(theirs)
    return functions


def measure(case: Case, functions: dict[str, Compute], rounds: int, budget: float) -> Outcome:
    """Time all functions of a case in turns, for so many rounds or seconds."""
    outcome = Outcome(case)
    arguments, grad = make_inputs(case)
    right = compute_right(case, arguments, grad)
    with torch.inference_mode(not case.backward):
        calls = {}
        for name, function in functions.items():
            call = make_call(case, function, arguments, grad)
            fault = reference.fault(case, as_arrays(call()), right)
            if fault:
                outcome.drop(name, fault)
            else:
                calls[name] = call
        with no_garbage_collection():
            for samples in turns(calls, 1, rounds, budget):
                for name, both in samples.items():
                    outcome.add(name, both)
    return outcome


def microseconds(outcome: Outcome, name: str) -> str:
    """Write the median of the rounds, or WRONG for a wrong result."""
    if name in outcome.wrong:
        return "WRONG"
    if name not in outcome.rounds:
        return report.NOTHING
    value = 1e6 * statistics.median(outcome.rounds[name])
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def group_table(group: Group, outcomes: Sequence[Outcome], judged: Sequence[Verdict]) -> report.Table:
    """Make a table with a row for each case: the times, then the ratios. The geometric means come last."""
    others = COLUMNS[1:]
    headers = ["case", *COLUMNS, *(f"{name} / ours" for name in others)]
    rows = [
        [
            outcome.case.name,
            *(microseconds(outcome, name) for name in COLUMNS),
            *(report.times_as_long(ratio(outcome, name)) for name in others),
        ]
        for outcome in outcomes
    ]
    means = [report.times_as_long(geometric_mean(outcomes, name)) for name in others]
    rows.append(["geometric mean", *[""] * len(COLUMNS), *means])
    return report.Table(f"{group.title}: µs per call", headers, rows, True, tuple(map(report.verdict_text, judged)))


def selected(patterns: Sequence[str] | None) -> list[tuple[Group, list[Case]]]:
    """Return each group that has cases which match any of the patterns, with these cases."""
    chosen = ((group, [case for case in group.cases if wanted(group, case, patterns)]) for group in GROUPS)
    return [(group, cases) for group, cases in chosen if cases]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line and check it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_race", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--select", action="append", metavar="PATTERN", help="cases whose name or group contains or matches it")
    add("--rounds", type=at_least_one, default=ROUNDS, help="at most so many rounds a case (default: %(default)s)")
    add("--seconds", type=float, default=SECONDS, help="about so many seconds a case (default: %(default)s)")
    add("--eager", action="store_true", help="leave out torch.compile, which takes most of the time")
    add("--markdown", type=Path, metavar="FILE", help="write the tables below the mark of this page")
    options = parser.parse_args(argv)
    if not selected(options.select):
        names = ", ".join(case.name for group in GROUPS for case in group.cases)
        parser.error(f"no case is named like {' or '.join(options.select)}; there are {names}")
    return options


def run(options: argparse.Namespace, output: PlainScreen | RichScreen) -> int:
    """Measure the cases that were selected, show and write the tables, and return the exit code."""
    missing = {COMPILED: why} if (why := "--eager" if options.eager else why_not_compiled()) else {}
    description = {**machine.describe([peers.Torch()]), "softmax_cy.torch": name_route()}
    remarks = [*machine.warnings(), *(f"left out: {name}: {why}" for name, why in missing.items())]
    for line in (*(f"{name}: {text}" for name, text in description.items()), *remarks, ""):
        output.say(line)
    tables, judged, wrong = [], [], []
    for group, cases in selected(options.select):
        outcomes = []
        for case in cases:
            output.advance(case.name)
            outcomes.append(measure(case, functions_of(case, missing), options.rounds, options.seconds))
        # A part of the cases has no mean to judge.
        of_group = verdicts(group, outcomes, "") if len(cases) == len(group.cases) else []
        tables.append(group_table(group, outcomes, of_group))
        output.show(tables[-1])
        judged += of_group
        wrong += [
            f"WRONG: {outcome.case.name}: {name}: {why}" for outcome in outcomes for name, why in outcome.wrong.items()
        ]
    summary = [f"{sum(verdict.met is True for verdict in judged)} of {len(judged)} targets met"] if judged else []
    summary += [f"{verdict.group.title}: {report.verdict_text(verdict)}" for verdict in judged]
    summary += wrong
    for line in summary:
        output.say(line)
    if options.markdown:
        text = report.markdown(tables, description, [*remarks, *summary], LEGEND)
        report.write_below(options.markdown, MARK, text)
    return 1 if wrong else 0


def main(argv: Sequence[str]) -> int:
    """Run the race on one thread and return the exit code."""
    options = arguments(argv)
    torch.set_num_threads(1)
    # Processes that compile beside each other would still be about when the clock starts.
    inductor.compile_threads = 1
    with screen(sum(len(cases) for _, cases in selected(options.select))) as output:
        return run(options, output)


if __name__ == "__main__":
    if not peers.environment_is_set(ENVIRONMENT):
        restart_in(ENVIRONMENT)
    sys.exit(main(sys.argv[1:]))
