"""Reference vectors that mpmath computed: tests/data/vectors-*.csv, written by tools/vectors.py."""

import csv
import functools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import softmax_cy

pytestmark = pytest.mark.usefixtures("variant")

DATA = Path(__file__).parent / "data"


def cross_entropy(x, target):
    return softmax_cy.cross_entropy(x, int(target[0]), reduction="none").reshape(1)


def gradient(x, target):
    return softmax_cy.cross_entropy_and_grad(x, int(target[0]))[1]


def softmax_jacobian(_, by_column):
    length = int(by_column.size**0.5)
    return softmax_cy.softmax_jacobian(by_column[:length]).ravel()


FUNCTIONS = {
    "softmax": lambda x, _: softmax_cy.softmax(x),
    "log_softmax": lambda x, _: softmax_cy.log_softmax(x),
    "logsumexp": lambda x, _: softmax_cy.logsumexp(x).reshape(1),
    "cross_entropy": cross_entropy,
    "gradient": gradient,
    "softmax_vjp": softmax_cy.softmax_vjp,
    "log_softmax_vjp": softmax_cy.log_softmax_vjp,
    "log_softmax_jvp": softmax_cy.log_softmax_jvp,
    "softmax_jacobian": softmax_jacobian,
}


@functools.cache
def vectors(dtype):
    """{function: {slice: columns}}, the columns without the lines that have nothing there."""
    lines = defaultdict(lambda: defaultdict(list))
    with (DATA / f"vectors-{dtype}.csv").open(newline="") as file:
        for function, name, *numbers in list(csv.reader(file))[1:]:
            lines[function][name].append([float.fromhex(number) if number else None for number in numbers[:-1]])
            lines[function][name][-1].append(float(numbers[-1]) if numbers[-1] else None)
    return {
        function: {
            name: [np.array([number for number in column if number is not None]) for column in zip(*rows, strict=True)]
            for name, rows in slices.items()
        }
        for function, slices in lines.items()
    }


def units_off(result, expected, rest, unit):
    """How far each number is from expected + rest, in units; the difference of neighbours is exact."""
    with np.errstate(invalid="ignore"):
        distance = np.abs((result.astype(np.float64) - expected) - rest) / unit
    return np.where(result == expected, np.where(np.isfinite(expected), distance, 0), distance)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_reference_vectors(function, dtype):
    slices = vectors(dtype)[function]
    assert len(slices) >= 8
    for name, (first, second, expected, rest, unit, allowed) in slices.items():
        result = FUNCTIONS[function](first.astype(dtype), second.astype(dtype))
        assert result.dtype == dtype
        assert result.shape == expected.shape
        off = units_off(result, expected, rest, unit)
        # What long double is for elsewhere: half a unit is half a unit and what the division above rounds.
        assert (off <= allowed * (1 + 1e-9)).all(), (name, off.max())


def test_no_function_is_left_out(dtype):
    assert set(vectors(dtype)) == set(FUNCTIONS)
    assert {len(columns) for slices in vectors(dtype).values() for columns in slices.values()} == {6}


def test_a_few_units_more_are_too_many(dtype):
    """In both directions, and among the subnormal numbers."""
    for name, (x, _, expected, rest, unit, allowed) in vectors(dtype)["softmax"].items():
        result = softmax_cy.softmax(x.astype(dtype))
        for steps in (-5, 5):
            moved = (result.astype(np.longdouble) + steps * unit).astype(dtype)
            assert (units_off(moved, expected, rest, unit) > allowed).all(), name
