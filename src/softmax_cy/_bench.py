"""``python -m softmax_cy --bench``: how long a call takes here, beside NumPy, and SciPy and torch if installed.

All take turns, forwards and then backwards, and ratios are taken within such a round: a machine that slows down
meanwhile does so for all.
"""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from itertools import product, repeat
from statistics import geometric_mean, median

import numpy as np

import softmax_cy

SHAPES = ((64, 10), (1024, 128), (256, 4096), (8, 100_000))
OURS = "softmax_cy"
SAMPLE_SECONDS = 200e-6  # far above the resolution of the clock
CASE_SECONDS = 0.2
FEWEST_ROUNDS = 3

Calls = dict[str, Callable[[], object]]


# The formulas in NumPy.
def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x):
    return x - logsumexp(x)[:, None]


def logsumexp(x):
    top = x.max(-1, keepdims=True)
    return np.log(np.exp(x - top).sum(-1)) + top[:, 0]


def cross_entropy_and_grad(x, target):
    y, at_target = softmax(x), (np.arange(len(x)), target)
    loss = -np.log(y[at_target]).mean()
    y[at_target] -= 1
    return loss, y / len(x)


def softmax_vjp(grad, y):
    return y * (grad - (y * grad).sum(-1, keepdims=True))


FORMULAS = {
    formula.__name__: formula for formula in (softmax, log_softmax, logsumexp, cross_entropy_and_grad, softmax_vjp)
}


def calls(operation: str, dtype: str, shape: tuple[int, int], others: dict) -> Calls:
    """A call of each library that can compute this, all with the same arguments."""
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((2, *shape)).astype(dtype)
    second = {"softmax_vjp": softmax(v), "cross_entropy_and_grad": rng.integers(0, shape[1], shape[0])}
    arrays = (x, second[operation]) if operation in second else (x,)
    found: Calls = {
        OURS: partial(getattr(softmax_cy, operation), *arrays, num_threads=1),
        "numpy": partial(FORMULAS[operation], *arrays),
    }
    if hasattr(others.get("scipy"), operation):
        found["scipy"] = partial(getattr(others["scipy"], operation), *arrays, axis=-1)
    if "torch" not in others:
        return found
    torch = others["torch"]
    logits, *other = map(torch.from_numpy, arrays)

    def forward_and_backward():
        leaf = logits.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(leaf, *other)
        loss.backward()
        return loss.detach(), leaf.grad

    if operation == "cross_entropy_and_grad":
        found["torch"] = forward_and_backward
    elif operation == "softmax_vjp":
        # What autograd calls.
        found["torch"] = partial(torch._softmax_backward_data, logits, *other, -1, logits.dtype)
    else:
        found["torch"] = partial(getattr(torch, operation), logits, -1)
    return found


def rounds(some: Calls) -> Iterator[dict[str, float]]:
    """Seconds of a call of each, round by round."""
    counts = {name: math.ceil(SAMPLE_SECONDS / min(sample(call, 1) for _ in range(3))) for name, call in some.items()}
    end, done = time.perf_counter() + CASE_SECONDS, 0
    while done < FEWEST_ROUNDS or time.perf_counter() < end:
        there = {name: sample(call, counts[name]) for name, call in some.items()}
        back = {name: sample(some[name], counts[name]) for name in reversed(some)}
        yield {name: (there[name] + back[name]) / 2 for name in some}
        done += 1


def sample(call: Callable[[], object], count: int) -> float:
    """Seconds of a call, the mean of some."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return (time.perf_counter() - start) / count


def measure(operation: str, dtype: str, shape: tuple[int, int], others: dict) -> dict:
    """The times of one case, and the ratios to ours: medians over the rounds."""
    some = calls(operation, dtype, shape, others)
    books = "torch" not in others or operation == "cross_entropy_and_grad"
    with nullcontext() if books else others["torch"].inference_mode():
        seconds = list(rounds(some))
    times = {name: median(one[name] for one in seconds) * 1e9 / math.prod(shape) for name in some}
    ratios = {name: median(one[name] / one[OURS] for one in seconds) for name in some}
    return {"operation": operation, "dtype": dtype, "shape": shape, "ns per element": times, "ratios": ratios}


def run(say: Callable[[str], object]) -> dict[str, object]:
    """Measure every case, and leave torch as it was."""
    others, versions = {}, {"numpy": np.__version__}
    for name, module in (("scipy", "scipy.special"), ("torch", "torch")):
        try:
            others[name] = import_module(module)
            versions[name] = import_module(name).__version__
        except ImportError:
            say(f"{name} is not installed")
    cases = list(product(FORMULAS, ("float32", "float64"), SHAPES))
    peers = ", ".join(" ".join(peer) for peer in versions.items())
    say(f"{len(cases)} cases on one thread, about {len(cases) // 3} seconds, beside {peers}")
    load, torch = os.getloadavg()[0], others.get("torch")
    threads = torch and torch.get_num_threads()
    gc.disable()
    start, used = time.perf_counter(), time.process_time()
    try:
        if torch:
            torch.set_num_threads(1)
        measured = [measure(operation, dtype, shape, others) for operation, dtype, shape in cases]
    finally:
        gc.enable()
        if torch:
            torch.set_num_threads(threads)
    share = (time.process_time() - used) / (time.perf_counter() - start)
    busy = load > (os.cpu_count() or 1) / 4 or share < 0.97
    if say is print:
        show([OURS, *versions], measured)
    say("ns per element, and in parentheses how many times softmax_cy's: medians of rounds in which all take turns")
    doubt = "BUSY, do not trust these numbers: " if busy else ""
    say(f"{doubt}the load was {load:.2f} before, and a CPU was ours {share:.0%} of the time")
    return {"cases": measured, "versions": versions, "busy": busy, "CPU share": share}


def show(names: list[str], measured: list[dict]) -> None:
    """Print a table with geometric means, by rich if it is installed."""
    rows = [["", "dtype", "shape", *names]]
    ratios: dict[str, list[float]] = {name: [] for name in names[1:]}
    for case in measured:
        times, shape = case["ns per element"], "x".join(map(str, case["shape"]))
        rows.append([case["operation"], case["dtype"], shape, f"{times[OURS]:.2f}"])
        for name, of_all in ratios.items():
            ratio = case["ratios"].get(name)
            of_all += [ratio] if ratio else []
            rows[-1].append(f"{times[name]:.2f} ({ratio:.2f})" if ratio else "-")
    rows.append(["geometric mean", "", "", "", *(f"({geometric_mean(of_all):.2f})" for of_all in ratios.values())])
    try:
        from rich import console, table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print(*map(str.rjust, row, widths), sep="  ")
        return
    drawn = table.Table(*(table.Column(header, justify="right") for header in rows[0]))
    for row in rows[1:]:
        drawn.add_row(*row)
    console.Console(width=None if sys.stdout.isatty() else 120).print(drawn)
