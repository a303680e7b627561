"""Write tests/data/vectors-*.csv: inputs, what mpmath makes of them, and how far a result may be from that.

    python tools/vectors.py

A line is one number of a slice: the function, the slice, one input or two, the expected result, the unit that errors
are counted in, and how many of them are allowed. Numbers are hexadecimal. The expected result has twice the digits of a
double: it is `expected` plus `rest`. A function with one result a slice has it in the first line of the slice, and of a
Jacobian each line is an entry, with the two outputs that it comes from.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import mpmath as mp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.accuracy import BOUNDS
from benchmarks.exact import row_by_mpmath, twin

ROOT = Path(__file__).parents[1]
HEADER = ("function", "slice", "first", "second", "expected", "rest", "unit", "ulps")
LENGTHS = (1, 2, 3, 5, 8, 13, 17, 33)
LENGTHS_OF_JACOBIANS = (1, 2, 3, 5)
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

Number = tuple[float, mp.mpf, mp.mpf, float]  # of a result: the second input, what is expected, what errors are counted
# in units in the last place of, and how many of those are allowed


def unit_in_last_place(value: mp.mpf, dtype: np.dtype) -> float:
    """The distance between two numbers of this dtype around it."""
    info = np.finfo(dtype)
    exponent = mp.frexp(value)[1] if value and mp.isfinite(value) else info.minexp
    return float(mp.ldexp(1, max(exponent - info.nmant - 1, info.minexp - info.nmant)))


def slices(dtype: np.dtype) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    """A name, logits, a vector and a class: every family in three lengths."""
    rng = np.random.default_rng(20240229)
    for i, family in enumerate(twin.FAMILIES):
        for j in range(3):
            length = LENGTHS[(i + 3 * j) % len(LENGTHS)]
            x = twin.family(family, (1, length), dtype, rng)[0]
            target = int(x.argmax()) if j % 2 else length // 2
            v = rng.standard_normal(length).astype(dtype)
            yield f"{family} {length}", x, v, int(x.argmax()) if np.isneginf(x[target]) else target


def of_logits(x: np.ndarray, target: int, dtype: np.dtype) -> Iterator[tuple[str, list[float], list[Number]]]:
    """The forward functions and the loss of one slice."""
    logits = x.astype(float).tolist()
    y, log_y, logsumexp, rest = row_by_mpmath(logits, target)
    smallest_normal = np.finfo(dtype).smallest_normal
    bounds = [1.0 if one < smallest_normal else BOUNDS["softmax"] for one in y]
    bounds = [0.0 if number == -np.inf else bound for number, bound in zip(logits, bounds, strict=True)]
    yield "softmax", logits, [(0.0, one, one, bound) for one, bound in zip(y, bounds, strict=True)]
    yield "log_softmax", logits, [(0.0, one, one, BOUNDS["log_softmax"]) for one in log_y]
    counted = max(abs(logsumexp), abs(mp.mpf(max(logits))) / 2)
    yield "logsumexp", logits, [(0.0, logsumexp, counted, BOUNDS["logsumexp"])]
    yield "cross_entropy", logits, [(float(target), -log_y[target], log_y[target], BOUNDS["cross_entropy"])]
    grad = [-rest if class_ == target else one for class_, one in enumerate(y)]
    terms = [one + (class_ == target) for class_, one in enumerate(y)]
    bound = BOUNDS["cross_entropy, gradient"]
    yield "gradient", logits, [(float(target), one, term, bound) for one, term in zip(grad, terms, strict=True)]


def of_outputs(y: np.ndarray, log_y: np.ndarray, v: np.ndarray) -> Iterator[tuple[str, list[float], list[Number]]]:
    """The products with the Jacobians."""
    vector = [mp.mpf(number) for number in v.tolist()]
    size = [abs(number) for number in vector]
    outputs = [mp.mpf(number) for number in y.tolist()]
    mean, mean_size = (mp.fsum(map(mp.fmul, outputs, numbers)) for numbers in (vector, size))
    products = {}
    products["softmax_vjp"] = [
        (p * (a - mean), p * (b + mean_size)) for p, a, b in zip(outputs, vector, size, strict=True)
    ]
    logs = [mp.mpf(number) for number in log_y.tolist()]
    outputs = [mp.exp(number) for number in logs]
    total, total_size = mp.fsum(vector), mp.fsum(size)
    products["log_softmax_vjp"] = [
        (a - p * total, b + p * total_size) for p, a, b in zip(outputs, vector, size, strict=True)
    ]
    # The mean, because the exponentials of rounded logarithms do not add up to 1.
    whole = mp.fsum(outputs)
    mean, mean_size = (mp.fsum(map(mp.fmul, outputs, numbers)) / whole for numbers in (vector, size))
    products["log_softmax_jvp"] = [(a - mean, b + mean_size) for a, b in zip(vector, size, strict=True)]
    for function, numbers in products.items():
        second = (log_y if function.startswith("log") else y).tolist()
        results = [(b, one, terms, BOUNDS[function]) for b, (one, terms) in zip(second, numbers, strict=True)]
        yield function, v.tolist(), results


def jacobians(y: np.ndarray) -> Iterator[tuple[str, list[float], list[Number]]]:
    """Entry by entry."""
    outputs = [mp.mpf(number) for number in y.tolist()]
    entries = [(i, j, a, b) for i, a in enumerate(outputs) for j, b in enumerate(outputs)]
    results = [
        (float(b), a - a * b, a - a * b, BOUNDS["softmax_jacobian, diagonal"])
        if i == j
        else (float(b), -a * b, a * b, BOUNDS["softmax_jacobian, off the diagonal"])
        for i, j, a, b in entries
    ]
    yield "softmax_jacobian", [float(a) for _, _, a, _ in entries], results


def lines(dtype: np.dtype) -> Iterator[list[str]]:
    """All of them."""
    for name, x, v, target in slices(dtype):
        y, log_y, _, _ = row_by_mpmath(x.astype(float).tolist(), target)
        outputs, logs = (rounded(numbers, dtype) for numbers in (y, log_y))
        groups = [*of_logits(x, target, dtype)]
        if np.isfinite(logs).all():
            groups += of_outputs(outputs, logs, v)
        if x.size in LENGTHS_OF_JACOBIANS:
            groups += jacobians(outputs)
        for function, first, results in groups:
            for i, number in enumerate(first):
                yield [function, name, number.hex(), *result_columns(results[i : i + 1], dtype)]


def rounded(numbers: list[mp.mpf], dtype: np.dtype) -> np.ndarray:
    """To the nearest; by way of long double, because doubles would round the subnormal ones of float32 twice."""
    return np.array([twin.WIDE(float(number)) for number in numbers]).astype(dtype)


def result_columns(results: list[Number], dtype: np.dtype) -> list[str]:
    """Of one line, which may have none."""
    if not results:
        return [""] * 5
    second, expected, counted, bound = results[0]
    high = float(expected)
    rest = float(expected - high) if np.isfinite(high) else 0.0
    return [second.hex(), high.hex(), rest.hex(), unit_in_last_place(counted, dtype).hex(), f"{bound:g}"]


def main() -> None:
    """Write a file a dtype."""
    for dtype in DTYPES:
        path = ROOT / f"tests/data/vectors-{dtype}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows(lines(dtype))
        print(f"{path}: {len(path.read_text().splitlines()) - 1} lines")


if __name__ == "__main__":
    main()
