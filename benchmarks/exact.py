"""Compute what the functions should return, with more digits than any of them has.

From the logits by mpmath in 160 bits where that is not too slow, and in long double (64 bits, by tests/twin.py, the
oracle of the tests) for float32 and for long slices of float64. The derivatives, which are few operations on given
outputs, in long double.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import twin

WIDE = twin.WIDE
LONGEST_BY_MPMATH = 10_007
BEYOND_LONG_DOUBLE = 20_000  # as a power of two, below
mp.mp.prec = 160


@dataclass
class Forward:
    """For each row of logits and a class in it; `rest` is what all but that class have, 1 - y there."""

    y: np.ndarray
    log_y: np.ndarray
    logsumexp: np.ndarray
    rest: np.ndarray


def forward(x: np.ndarray, target: np.ndarray) -> Forward:
    """Compute the forward functions by mpmath or in long double."""
    if x.dtype == np.float64 and x.shape[-1] <= LONGEST_BY_MPMATH:
        return by_mpmath(x, target)
    rows, at_target = x.astype(WIDE), target[:, None]
    y = twin.softmax(x)
    others = twin.sum_without_maximum(rows, y)[:, 0]
    rest = np.where(rows.argmax(-1) == target, others, 1 - np.take_along_axis(y, at_target, -1)[:, 0])
    return Forward(y, twin.log_softmax(x), twin.logsumexp(x), rest)


def by_mpmath(x: np.ndarray, target: np.ndarray) -> Forward:
    """Compute the forward functions with mpmath, number by number."""
    rows = [row_by_mpmath(row, class_) for row, class_ in zip(x.tolist(), target.tolist(), strict=True)]
    y, log_y, logsumexp, rest = zip(*rows, strict=True)
    wide = [as_wide([number for row in block for number in row]).reshape(x.shape) for block in (y, log_y)]
    return Forward(*wide, as_wide(logsumexp), as_wide(rest))


def row_by_mpmath(x: list[float], target: int) -> tuple[list, list, mp.mpf, mp.mpf]:
    """Compute the definitions; log1p serves because the largest exponential is 1."""
    top = mp.mpf(max(x))
    differences = [mp.mpf(number) - top for number in x]
    e = [mp.exp(difference) for difference in differences]
    first = x.index(max(x))
    log_sum = mp.log1p(mp.fsum(e[:first] + e[first + 1 :]))
    total = mp.fsum(e)
    rest = mp.fsum(e[:target] + e[target + 1 :]) / total
    return [one / total for one in e], [one - log_sum for one in differences], top + log_sum, rest


def as_wide(numbers: list[mp.mpf]) -> np.ndarray:
    """Round numbers of mpmath to long double, through two doubles each."""
    parts = [(float(number), 0.0, 0) if not mp.isfinite(number) else in_doubles(number) for number in numbers]
    high, low, exponent = (np.array(part) for part in zip(*parts, strict=True))
    return np.ldexp(high.astype(WIDE) + low, exponent.astype(np.int32))


def in_doubles(number: mp.mpf) -> tuple[float, float, int]:
    """Write a number as (high + low) * 2**exponent."""
    significand, exponent = mp.frexp(number)
    exponent = max(exponent, -BEYOND_LONG_DOUBLE)
    return float(significand), float(significand - float(significand)), exponent


# ---- derivatives, from given outputs; each with the sum of the absolute values of its terms -----------------------


def softmax_vjp(v: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute y (v - sum(y v)), and the sum of the absolute values of its terms."""
    v, y = v.astype(WIDE), y.astype(WIDE)
    return y * (v - (y * v).sum(-1, keepdims=True)), y * (abs(v) + (y * abs(v)).sum(-1, keepdims=True))


def log_softmax_vjp(v: np.ndarray, log_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute v - exp(log_y) sum(v), and the sum of the absolute values of its terms."""
    v, y = v.astype(WIDE), np.exp(log_y.astype(WIDE))
    return v - y * v.sum(-1, keepdims=True), abs(v) + y * abs(v).sum(-1, keepdims=True)


def log_softmax_jvp(v: np.ndarray, log_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subtract from v its mean with the weights exp(log_y), which add up to 1 except for the rounding of log_y."""
    v, y = v.astype(WIDE), np.exp(log_y.astype(WIDE))
    y /= y.sum(-1, keepdims=True)
    return v - (y * v).sum(-1, keepdims=True), abs(v) + (y * abs(v)).sum(-1, keepdims=True)


def softmax_diagonal(y: np.ndarray) -> np.ndarray:
    """Compute the diagonal of the Jacobian, y (1 - y). Nothing is lost, because 1 - y is exact."""
    return y.astype(WIDE) * (1 - y.astype(WIDE))


def log_softmax_jacobian(log_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute what every row has off the diagonal, -exp(log_y), and the diagonal, 1 - exp(log_y)."""
    log_y = log_y.astype(WIDE)
    return -np.exp(log_y), -np.expm1(log_y)


def certain_class(x: np.ndarray, v: np.ndarray, certain: int) -> np.ndarray:
    """Compute softmax_vjp at a class whose y rounds to 1, from the logits, without the cancellation there."""
    e = np.exp(x.astype(WIDE) - x[certain].astype(WIDE))
    e[certain] = 0
    others = -(e * (v.astype(WIDE) - v[certain].astype(WIDE))).sum()
    return others / (1 + e.sum()) ** 2
