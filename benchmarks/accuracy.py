"""Measure the largest error of every function, dtype and variant, beside NumPy, SciPy, torch and JAX.

    python -m benchmarks.accuracy [--quick] [--json FILE] [--markdown docs/results/accuracy.md]

Errors are in units in the last place of the right result. Where that result may cancel, `UNITS` says what takes its
place. The exit code is 1 if a bound of softmax_cy is exceeded.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import softmax_cy
from benchmarks import exact, machine, peers, reference
from benchmarks.exact import WIDE, twin
from benchmarks.race import restart_in
from benchmarks.report import Table, markdown_table, write_below
from benchmarks.screen import screen
from softmax_cy import _dispatch

SHORT = tuple(range(1, 131))
MIDDLING = (255, 256, 257, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 10_007)
LONG = (100_003, 1_000_003, 10_000_019)
QUICK = (1, 2, 3, 7, 16, 17, 33, 100, 257, 1000, 4097)
# JAX compiles for every length anew.
LENGTHS_OF_JAX = (1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 100, 129, 257, 1000, 1025, 4097, 10_007, *LONG)
LONGEST_JACOBIAN = 130
# What is tried of slices of more elements than this: long double takes its time.
SOME_FAMILIES = 200_000, ("normal", "negative", "all equal", "one dominant")
FEW_FAMILIES = 2_000_000, ("normal", "negative")
FORWARD_ALONE = 2_000_000

UNITS = (
    "logsumexp: ulp of the result, or half an ulp of the largest logit where that is larger: the two cancel there",
    "vjp, jvp and the gradient of cross_entropy: ulp of the sum of the absolute values of the terms",
    "all others: ulp of the result; below the smallest normal number, the smallest subnormal",
)


def promised_bounds() -> dict[str, float]:
    """Return what softmax_cy promises, in these units."""
    # asv imports this module with builds of old commits, which do not say.
    from softmax_cy._selftest import BOUNDS

    return BOUNDS


@dataclass
class Problem:
    """Rows of logits, one or two of each family, with the other arguments and the exact results."""

    families: list[str]  # of each row
    x: np.ndarray
    v: np.ndarray
    target: np.ndarray
    forward: exact.Forward

    @property
    def dtype(self) -> np.dtype:
        """The dtype of all arrays."""
        return self.x.dtype

    @property
    def y(self) -> np.ndarray:
        """The softmax that derivatives start from: the exact one, rounded."""
        return self.forward.y.astype(self.dtype)

    @property
    def log_y(self) -> np.ndarray:
        """The logarithm that derivatives start from: the exact one, rounded."""
        return self.forward.log_y.astype(self.dtype)


def problems(dtype: np.dtype, lengths: Sequence[int]) -> Iterator[Problem]:
    """Yield all families of a length together, or one after the other if they are long."""
    rng = np.random.default_rng(20240229)
    for length in lengths:
        names = twin.FAMILIES
        for more_than, fewer in (SOME_FAMILIES, FEW_FAMILIES):
            names = fewer if length > more_than else names
        rows = 2 if length <= SHORT[-1] else 1
        together = len(names) if length <= SOME_FAMILIES[0] else 1
        for first in range(0, len(names), together):
            yield problem([name for name in names[first : first + together] for _ in range(rows)], length, dtype, rng)


def problem(families: list[str], length: int, dtype: np.dtype, rng: np.random.Generator) -> Problem:
    """Make a problem; the target of every other row is its likeliest class."""
    x = np.concatenate([twin.family(name, (1, length), dtype, rng) for name in families])
    target = np.where(np.arange(len(x)) % 2, x.argmax(-1), length // 2)
    target = np.where(np.isneginf(x[np.arange(len(x)), target]), x.argmax(-1), target)
    v = rng.standard_normal(x.shape).astype(dtype)
    return Problem(families, x, v, target, exact.forward(x, target))


def errors(result: np.ndarray, right: np.ndarray, unit: np.ndarray | None = None) -> np.ndarray:
    """Return the largest error of each row, in ulp of the right result or in `unit`."""
    unit = twin.unit_in_last_place(right, result.dtype) if unit is None else unit
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.abs(result.astype(WIDE) - right) / unit
        distance = np.where(result == right.astype(result.dtype), np.where(np.isfinite(right), distance, 0), distance)
    distance = np.where(np.isnan(distance), np.inf, distance)
    return distance.reshape(len(distance), -1).max(-1, initial=0).astype(float)


# ---- who is measured: each function by name, for rows ------------------------------------------------------------


class Ours:
    """softmax_cy with one variant of its kernels."""

    def __init__(self, variant: str) -> None:
        self.name = variant

    def takes(self, length: int) -> bool:
        """Say that every length is tried."""
        return True

    def __call__(self, function: str, *arrays: np.ndarray) -> object:
        """Call a function by its name."""
        options = {"reduction": "none"} if function.startswith("cross_entropy") else {}
        return getattr(softmax_cy, function)(*arrays, **options)


class Other:
    """Another library; a loss that it lacks is composed from its other functions."""

    def __init__(self, name: str, functions: dict[str, Callable], lengths: Sequence[int] | None = None) -> None:
        self.name, self.functions, self.lengths = name, functions, lengths

    def takes(self, length: int) -> bool:
        """Say whether this length is tried."""
        return self.lengths is None or length in self.lengths

    def __call__(self, function: str, *arrays: np.ndarray) -> object:
        """Call a function by its name; return None if the library has none."""
        if function == "cross_entropy_and_grad" and function not in self.functions:
            x, target = arrays
            at_target = (np.arange(len(x)), target)
            grad = self("softmax", x).copy()
            grad[at_target] -= 1
            return -self("log_softmax", x)[at_target], grad
        if function not in self.functions:
            return None
        with np.errstate(all="ignore"):
            return self.functions[function](*arrays)


def others() -> list[Other]:
    """Return the other libraries that are installed."""
    found = []
    for make in (numpy, scipy, torch, jax):
        try:
            found.append(make())
        except ImportError:
            print(f"left out: {make.__name__} is not installed", file=sys.stderr)
    return found


def numpy() -> Other:
    """Return NumPy, as the plain formulas of the benchmarks."""
    names = [name for name in reference.OPERATIONS if name not in ("cross_entropy_and_grad", "softmax_jacobian")]
    functions = {name: lambda *arrays, name=name: reference.OPERATIONS[name](*arrays, -1) for name in names}
    identity = {"softmax_jacobian": lambda y: y[:, :, None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[:, None, :])}
    return Other("numpy", functions | identity)


def scipy() -> Other:
    """Return SciPy, with the functions that it has."""
    from scipy import special

    names = ("softmax", "log_softmax", "logsumexp")
    return Other("scipy", {name: lambda x, name=name: np.asarray(getattr(special, name)(x, -1)) for name in names})


def torch() -> Other:
    """Return torch, with the functions that autograd calls and the formula of its forward mode."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)

    def on_tensors(function: Callable) -> Callable:
        return lambda *arrays: function(*map(torch.from_numpy, arrays)).numpy()

    def cross_entropy_and_grad(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = torch.from_numpy(x).clone().requires_grad_()
        loss = functional.cross_entropy(logits, torch.from_numpy(target), reduction="none")
        loss.sum().backward()
        return loss.detach().numpy(), logits.grad.numpy()

    return Other(
        "torch",
        {
            "softmax": on_tensors(lambda x: torch.softmax(x, -1)),
            "log_softmax": on_tensors(lambda x: torch.log_softmax(x, -1)),
            "logsumexp": on_tensors(lambda x: torch.logsumexp(x, -1)),
            "softmax_vjp": on_tensors(lambda v, y: torch._softmax_backward_data(v, y, -1, y.dtype)),
            "log_softmax_vjp": on_tensors(lambda v, log_y: torch._log_softmax_backward_data(v, log_y, -1, v.dtype)),
            "log_softmax_jvp": on_tensors(lambda v, log_y: v - (torch.exp(log_y) * v).sum(-1, keepdim=True)),
            "softmax_jacobian": on_tensors(lambda y: torch.diag_embed(y) - y[..., :, None] * y[..., None, :]),
            "cross_entropy_and_grad": cross_entropy_and_grad,
        },
    )


def jax() -> Other:
    """Return JAX, with the compiled functions of the race."""
    compiled = peers.Jax().compiled
    names = [name for name in compiled if name not in ("cross_entropy_and_grad", "softmax_jvp")]
    return Other(
        "jax",
        {name: lambda *arrays, name=name: np.asarray(compiled[name](*arrays, axis=-1)) for name in names},
        LENGTHS_OF_JAX,
    )


# ---- what is measured --------------------------------------------------------------------------------------------


def measured(who: Ours | Other, p: Problem) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each function with the errors of its rows."""
    dtype, length = p.dtype, p.x.shape[-1]
    for name, right in (("softmax", p.forward.y), ("log_softmax", p.forward.log_y)):
        if (result := who(name, p.x)) is not None:
            yield name, errors(result, right)
            if name == "softmax":
                subnormal = right < np.finfo(dtype).smallest_normal
                yield "softmax, below the smallest normal", errors(np.where(subnormal, result, 0), right * subnormal)
                dropped = np.isneginf(p.x)
                yield "softmax, where the logit is -inf", errors(np.where(dropped, result, 0), right * dropped)
    if (result := who("logsumexp", p.x)) is not None:
        unit = np.maximum(
            *(twin.unit_in_last_place(a, dtype) for a in (p.forward.logsumexp, p.x.max(-1).astype(WIDE) / 2))
        )
        yield "logsumexp", errors(result, p.forward.logsumexp, unit)
    if length > FORWARD_ALONE:
        return
    for name, formula, y in (
        ("softmax_vjp", exact.softmax_vjp, p.y),
        ("softmax_jvp", exact.softmax_vjp, p.y),  # the Jacobian is symmetric
        ("log_softmax_vjp", exact.log_softmax_vjp, p.log_y),
        ("log_softmax_jvp", exact.log_softmax_jvp, p.log_y),
    ):
        if (result := who(name, p.v, y)) is not None:
            right, terms = formula(p.v, y)
            yield name, errors(result, right, twin.unit_in_last_place(terms, dtype))
    if (result := who("cross_entropy_and_grad", p.x, p.target)) is not None:
        loss, grad = result
        at_target = (np.arange(len(p.x)), p.target)
        yield "cross_entropy", errors(loss, -p.forward.log_y[at_target])
        right, terms = p.forward.y.copy(), p.forward.y.copy()
        right[at_target] = -p.forward.rest
        terms[at_target] += 1
        yield "cross_entropy, gradient", errors(grad, right, twin.unit_in_last_place(terms, dtype))
    if length <= LONGEST_JACOBIAN:
        yield from measured_jacobians(who, p)


def measured_jacobians(who: Ours | Other, p: Problem) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the errors of the Jacobians, on the diagonal and off it."""
    diagonal = np.eye(p.x.shape[-1], dtype=bool)
    if (jacobian := who("softmax_jacobian", p.y)) is not None:
        y = p.y.astype(WIDE)
        off = np.where(diagonal, 0, -(y[:, :, None] * y[:, None, :]))
        yield (
            "softmax_jacobian, off the diagonal",
            within_half(jacobian, off, -(p.y[:, :, None] * p.y[:, None, :]), diagonal),
        )
        yield "softmax_jacobian, diagonal", errors(jacobian[:, diagonal], exact.softmax_diagonal(p.y))
    if (jacobian := who("log_softmax_jacobian", p.log_y)) is not None:
        off, on = exact.log_softmax_jacobian(p.log_y)
        off = np.where(diagonal, 0, np.broadcast_to(off[:, None, :], jacobian.shape))
        yield "log_softmax_jacobian, off the diagonal", errors(np.where(diagonal, 0, jacobian), off)
        yield "log_softmax_jacobian, diagonal", errors(jacobian[:, diagonal], on)


def within_half(result: np.ndarray, right: np.ndarray, rounded: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Return errors in ulp, of at most a half if the result is rounded correctly.

    Long double has too few digits to show this for products in float64.
    """
    found = errors(np.where(left_out, 0, result), right)
    correct = ((result == rounded) | left_out).reshape(len(result), -1).all(-1)
    return np.where(correct, np.minimum(found, 0.5), found)


@dataclass
class Worst:
    """The largest error of a function so far, and where it was."""

    ulp: float = -1.0
    family: str = ""
    length: int = 0
    families: dict[str, float] = field(default_factory=dict)

    def join(self, p: Problem, found: np.ndarray) -> None:
        """Take in the errors of a problem's rows."""
        for family, ulp in zip(p.families, found.tolist(), strict=True):
            self.families[family] = max(self.families.get(family, 0.0), ulp)
            if ulp > self.ulp:
                self.ulp, self.family, self.length = ulp, family, p.x.shape[-1]


Key = tuple[str, str, str]  # dtype, function, who


def measure(lengths: Sequence[int], everybody: Sequence[Ours | Other], output: object) -> dict[Key, Worst]:
    """Measure every function of everybody at all lengths."""
    worst: dict[Key, Worst] = {}
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for length in lengths:
            output.advance(f"{dtype}, length {length:,}")
            for p in problems(dtype, [length]):
                for who in everybody:
                    if not who.takes(length):
                        continue
                    if isinstance(who, Ours):
                        _dispatch.use(who.name)
                    for function, found in measured(who, p):
                        worst.setdefault((dtype.name, function, who.name), Worst()).join(p, found)
    return worst


def misrounded_halves() -> dict[str, int]:
    """Count for each variant the float16 and bfloat16 results that are not the rounded float32 results."""
    import ml_dtypes

    rng = np.random.default_rng(5)
    count = {}
    for variant in _dispatch.runnable_variants():
        _dispatch.use(variant)
        count[variant] = 0
        for half in (np.float16, ml_dtypes.bfloat16):
            for length in (*range(1, 70), 130, 1000, 4097):
                x = (4 * rng.standard_normal((20, length))).astype(half)
                v, wide = x[::-1].copy(), x.astype(np.float32)
                y, log_y = softmax_cy.softmax(x), softmax_cy.log_softmax(x)
                for name, arrays, alike in (
                    ("softmax", (x,), (wide,)),
                    ("log_softmax", (x,), (wide,)),
                    ("logsumexp", (x,), (wide,)),
                    ("softmax_vjp", (v, y), (v.astype(np.float32), y)),
                    ("log_softmax_vjp", (v, log_y), (v.astype(np.float32), log_y)),
                    ("log_softmax_jvp", (v, log_y), (v.astype(np.float32), log_y)),
                ):
                    function = getattr(softmax_cy, name)
                    count[variant] += int((function(*arrays) != function(*alike).astype(half)).sum())
    return count


def certain_class_errors(everybody: Sequence[Ours | Other]) -> dict[Key, float]:
    """The largest relative error of softmax and then its vjp, at a class whose probability rounds to 1."""
    rng = np.random.default_rng(6)
    found: dict[Key, float] = {}
    for dtype, top in ((np.dtype(np.float32), 20), (np.dtype(np.float64), 40)):
        for length in (2, 10, 100, 1000):
            x = rng.uniform(-1, 0, (1, length)).astype(dtype)
            v = (1000 + rng.uniform(0.5, 1, (1, length))).astype(dtype)
            certain = length // 3
            x[0, certain], v[0, certain] = top + math.log(length), 1000
            right = exact.certain_class(x[0], v[0], certain)
            for who in everybody:
                if isinstance(who, Ours):
                    _dispatch.use(who.name)
                result = who("softmax_vjp", v, y) if (y := who("softmax", x)) is not None else None
                if result is not None:
                    key = (dtype.name, "softmax_vjp", who.name)
                    found[key] = max(found.get(key, 0.0), float(abs(result[0, certain] - right) / abs(right)))
    return found


# ---- what is shown -----------------------------------------------------------------------------------------------


def ulp_text(ulp: float | None) -> str:
    """With the digits that mean something."""
    if ulp is None:
        return "-"
    if ulp >= 1000:
        return f"{ulp:.1e}".replace("e+0", "e").replace("e+", "e")
    return f"{ulp:.2f}" if ulp < 10 else f"{ulp:.0f}"


def tables(worst: dict[Key, Worst], certain: dict[Key, float], everybody: Sequence[Ours | Other]) -> Iterator[Table]:
    """Make the tables: by function for each dtype, by family, and for the case that cancels."""
    names = [who.name for who in everybody]
    for dtype in ("float32", "float64"):
        rows = []
        for function, bound in promised_bounds().items():
            found = [worst.get((dtype, function, name)) for name in names]
            ours = max((one for one in found[: len(variants())] if one), key=lambda one: one.ulp)
            where = f"{ours.family}, {ours.length:,}"
            rows.append([function, f"{bound:g}", *(ulp_text(one and one.ulp) for one in found), where])
        yield Table(
            f"{dtype}: largest error, ulp", ["case", "bound", *names, "where ours is largest"], rows, notes=UNITS
        )
    theirs = names[len(variants()) :]
    for dtype in ("float32", "float64"):
        rows = []
        for function in ("softmax", "log_softmax", "logsumexp"):
            for family in twin.FAMILIES:
                ours = max(worst[dtype, function, variant].families[family] for variant in variants())
                found = [worst.get((dtype, function, name)) for name in theirs]
                cells = [ulp_text(one and one.families[family]) for one in found]
                rows.append([f"{function}, {family}", ulp_text(ours), *cells])
        yield Table(f"{dtype}: by family, ulp", ["case", "softmax_cy", *theirs], rows)
    rows = [
        [dtype, *(f"{certain[key]:.1e}" if (key := (dtype, "softmax_vjp", name)) in certain else "-" for name in names)]
        for dtype in ("float32", "float64")
    ]
    yield Table("softmax, then its vjp, at a class that is nearly certain: relative error", ["case", *names], rows)


def variants() -> list[str]:
    """Return the variants that run here."""
    return _dispatch.runnable_variants()


def main(argv: Sequence[str]) -> int:
    """Measure everything and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="measure few lengths")
    add("--json", type=Path, default=Path("build/accuracy.json"), metavar="FILE", help="default: %(default)s")
    add(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the tables below the mark of this page",
    )
    options = parser.parse_args(argv)
    lengths = QUICK if options.quick else (*SHORT, *MIDDLING, *LONG)
    before = _dispatch.variant_in_use
    everybody = [*map(Ours, variants()), *others()]
    with screen(2 * len(lengths)) as output:
        worst = measure(lengths, everybody, output)
        certain = certain_class_errors(everybody)
        halves = misrounded_halves()
        shown = list(tables(worst, certain, everybody))
        for table in shown:
            output.show(table)
        remarks = [f"float16 and bfloat16 results that are not the rounded float32 results: {sum(halves.values())}"]
        remarks += [
            f"MISSED: {function}, {dtype}, {who}: {one.ulp:.3f} ulp ({one.family}, length {one.length:,})"
            for (dtype, function, who), one in worst.items()
            if who in variants() and not one.ulp <= promised_bounds()[function]
        ]
        for remark in remarks:
            output.say(remark)
    _dispatch.use(before)
    about = {key: text for key, text in machine.describe([]).items() if key not in ("load before", "peers", "caches")}
    about["lengths"] = (
        ", ".join(map(str, lengths)) if options.quick else f"1 to 130, {', '.join(map(str, lengths[130:]))}"
    )
    write_json(options.json, worst, certain, halves, about)
    if options.markdown:
        write_below(options.markdown, MARK, markdown(shown, remarks, about))
    return 1 if len(remarks) > 1 or any(halves.values()) else 0


def write_json(path: Path, worst: dict, certain: dict, halves: dict, about: dict[str, str]) -> None:
    """Write all that was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {"dtype": dtype, "function": function, "by": who, "bound": promised_bounds()[function], **vars(one)}
        for (dtype, function, who), one in worst.items()
    ]
    everything = {
        "machine": about,
        "errors": records,
        "nearly certain class": [
            {"dtype": key[0], "by": key[2], "relative error": error} for key, error in certain.items()
        ],
        "misrounded 16-bit results": halves,
    }
    path.write_text(json.dumps(everything, indent=1) + "\n")


MARK = "<!-- written by make accuracy: tables -->"


def markdown(shown: Sequence[Table], remarks: Sequence[str], about: dict[str, str]) -> str:
    """Write the machine first, then the remarks, then all tables."""
    lines = [f"- {name}: {value}" for name, value in about.items()] + [f"- {remark}" for remark in remarks]
    return "\n".join([*lines, "", *map(markdown_table, shown)])


if __name__ == "__main__":
    if not peers.environment_is_set():
        restart_in(peers.ENVIRONMENT)
    sys.exit(main(sys.argv[1:]))
