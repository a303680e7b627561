"""What wrong arguments get from states of parts: calls, an exception and its whole message, as one table.

test_state.py makes every call, test_errors.py looks for every message of the source, and test_semantics.py writes the
table into docs/semantics.md.
"""

from dataclasses import dataclass

import numpy as np

from softmax_cy import SoftmaxState, merge_states, softmax_state
from wrong_arguments import EXPECTED_DTYPE, EXPECTED_FLOATS

AxisError = np.exceptions.AxisError

# What the names in the calls stand for.
SETUP = """\
x = np.zeros((3, 4))
half = x.astype(np.float32)
target = [0, 1, 2]
whole = softmax_state(x)
left = softmax_state(x, length=9)
scaled = softmax_state(x, scale=2)
masked = softmax_state(x, where=x == 0)
restore, (rows, description) = whole.__reduce__()
"""
NAMES = {"np": np, "SoftmaxState": SoftmaxState, "merge_states": merge_states, "softmax_state": softmax_state}
exec(SETUP, NAMES)
LEFT = NAMES["left"]

LIE_WITHIN = "they must lie within"
UNFINISHED = f"merge the states of all parts first: this is {LEFT!r}"
NO_SCALE = f"a loss has no scale, but this is {NAMES['scaled']!r}"
NO_MASK = f"a loss has no mask, but one was given for {NAMES['masked']!r}"
ONE_MORE_AXIS = "expected (3,) with one more axis at 1"


@dataclass
class WrongCall:
    """A call, what it raises, and the whole message."""

    call: str
    exception: type
    message: str


def of_state(arguments, exception, message):
    """softmax_state, of the arguments as Python has them."""
    return WrongCall(f"softmax_state({arguments})", exception, message)


def of_methods(names, arguments, exception, message, state="whole"):
    """The same arguments for several methods of a state."""
    return [WrongCall(f"{state}.{name}({arguments})", exception, message) for name in names]


RESULTS = ("finish", "finish_log")
LOSSES = ("cross_entropy", "cross_entropy_and_grad")


def different(what, second):
    """Two states that differ."""
    other = eval(second, NAMES)
    return WrongCall(
        f"merge_states(left, {second})",
        ValueError,
        f"states of different {what} do not belong together: {getattr(LEFT, what)} of {LEFT!r} and "
        f"{getattr(other, what)} of {other!r}",
    )


def no_neighbours(what, second):
    """Two states that do not touch."""
    other = eval(second, NAMES)
    return WrongCall(
        f"merge_states(left, {second})",
        ValueError,
        f"states of neighbours are needed, but these {what}: {LEFT!r} and {other!r}",
    )


WRONG_CALLS = [
    of_state("x.astype(complex)", TypeError, f"x has dtype complex128: {EXPECTED_FLOATS}"),
    of_state(
        "np.ma.array(x)",
        TypeError,
        "x is a masked array: give x.filled(value), or x.data with where=~x.mask",
    ),
    of_state("1.0", ValueError, "x has no axes: a part of a slice has one at least"),
    of_state("x, 2", AxisError, "axis 2 is out of bounds for array of dimension 2"),
    of_state("x, (0, 1)", TypeError, "axis must be an integer, got (0, 1)"),
    of_state("x, None", TypeError, "axis must be an integer, got None"),
    of_state("x, offset=1.0", TypeError, "offset must be an integer, got 1.0"),
    of_state("x, offset=-1", ValueError, f"the part holds elements -1 to 3 of slices of 3: {LIE_WITHIN}"),
    of_state("x, offset=7, length=10", ValueError, f"the part holds elements 7 to 11 of slices of 10: {LIE_WITHIN}"),
    of_state("x, length=3", ValueError, f"the part holds elements 0 to 4 of slices of 3: {LIE_WITHIN}"),
    of_state("x, length=-1", ValueError, f"the part holds elements 0 to 4 of slices of -1: {LIE_WITHIN}"),
    of_state("x, length='4'", TypeError, "length must be an integer, got '4'"),
    of_state("x, length=2**62 + 1", ValueError, "length is 4611686018427387905, expected 2**62 at most"),
    of_state("x, offset=2**63 - 2", ValueError, "length is 9223372036854775810, expected 2**62 at most"),
    of_state(
        "x, offset=2**70, length=5",
        ValueError,
        f"the part holds elements {2**70} to {2**70 + 4} of slices of 5: {LIE_WITHIN}",
    ),
    of_state("x, scale=0", ValueError, "scale must be positive and finite, got 0"),
    of_state("x, scale='2'", TypeError, "scale must be a real number, got '2'"),
    of_state("x, where=x", TypeError, "where has dtype float64, expected bool"),
    of_state(
        "x, where=np.zeros((3, 5), bool)",
        ValueError,
        "where has shape (3, 5), which does not broadcast to (3, 4)",
    ),
    of_state("x, dtype=int", TypeError, f"dtype is int64: {EXPECTED_DTYPE}"),
    WrongCall("SoftmaxState()", TypeError, "call softmax_state to make a state"),
    WrongCall("merge_states()", ValueError, "there is no state to merge"),
    WrongCall("merge_states(left, x)", TypeError, "expected a SoftmaxState, got ndarray"),
    different("dtype", "softmax_state(half[:, :2], offset=4, length=9)"),
    different("length", "softmax_state(x, offset=4, length=11)"),
    different("scale", "softmax_state(x, offset=4, length=9, scale=2)"),
    different("axis", "softmax_state(x.T, 0, offset=4, length=9)"),
    different("shape", "softmax_state(x[:2], offset=4, length=9)"),
    different("exact", "softmax_state(x, offset=4, length=9, exact=False)"),
    no_neighbours("have a gap between them", "softmax_state(x, offset=5)"),
    no_neighbours("overlap", "softmax_state(x, offset=3, length=9)"),
    no_neighbours("overlap", "left"),
    WrongCall("left.logsumexp()", ValueError, UNFINISHED),
    *of_methods(RESULTS, "x, 0", ValueError, UNFINISHED, "left"),
    *of_methods(RESULTS, "x[:2], 0", ValueError, f"x has shape (2, 4), {ONE_MORE_AXIS}"),
    *of_methods(RESULTS, "x[0], 0", ValueError, f"x has shape (4,), {ONE_MORE_AXIS}"),
    *of_methods(RESULTS, "1.0, 0", ValueError, f"x has shape (), {ONE_MORE_AXIS}"),
    *of_methods(RESULTS, "x.astype(complex), 0", TypeError, f"x has dtype complex128: {EXPECTED_FLOATS}"),
    *of_methods(RESULTS, "x, 1", ValueError, f"the part holds elements 1 to 5 of slices of 4: {LIE_WITHIN}"),
    *of_methods(RESULTS, "x, -1", ValueError, f"the part holds elements -1 to 3 of slices of 4: {LIE_WITHIN}"),
    *of_methods(
        RESULTS, "x, 2**64", ValueError, f"the part holds elements {2**64} to {2**64 + 4} of slices of 4: {LIE_WITHIN}"
    ),
    *of_methods(RESULTS, "x, None", TypeError, "offset must be an integer, got None"),
    *of_methods(RESULTS, "x, 0, where=x", TypeError, "where has dtype float64, expected bool"),
    *of_methods(
        RESULTS,
        "x, 0, where=np.zeros((3, 5), bool)",
        ValueError,
        "where has shape (3, 5), which does not broadcast to (3, 4)",
    ),
    *of_methods(RESULTS, "x, 0, out=x.tolist()", TypeError, "out must be a numpy.ndarray, got list"),
    *of_methods(RESULTS, "x, 0, out=half", TypeError, "out has dtype float32, expected float64"),
    *of_methods(RESULTS, "x, 0, out=np.zeros((3, 5))", ValueError, "out has shape (3, 5), expected (3, 4)"),
    *of_methods(RESULTS, "x, 0, out=np.broadcast_to(0.0, (3, 4))", ValueError, "out is read-only"),
    *of_methods(LOSSES, "x, target, 0", ValueError, UNFINISHED, "left"),
    *of_methods(LOSSES, "x, target, 0", ValueError, NO_SCALE, "scaled"),
    *of_methods(LOSSES, "x, target, 0", ValueError, NO_MASK, "masked"),
    *of_methods(LOSSES, "x[:2], target, 0", ValueError, f"x has shape (2, 4), {ONE_MORE_AXIS}"),
    *of_methods(LOSSES, "x, target, 1", ValueError, f"the part holds elements 1 to 5 of slices of 4: {LIE_WITHIN}"),
    *of_methods(LOSSES, "x, target, 0.0", TypeError, "offset must be an integer, got 0.0"),
    *of_methods(LOSSES, "x, [0, 1, 4], 0", ValueError, "target[2] is 4, expected 0 <= target < 4"),
    *of_methods(LOSSES, "x, [0, -1, 4], 0", ValueError, "target[1] is -1, expected 0 <= target < 4"),
    *of_methods(
        LOSSES,
        "x, np.array([0, 1, 2**63], 'u8'), 0",
        ValueError,
        "target[2] is 9223372036854775808, expected 0 <= target < 4",
    ),
    *of_methods(LOSSES, "x, [0, 1], 0", ValueError, "target has shape (2,), expected (3,)"),
    *of_methods(LOSSES, "x, [0.0, 1.0, 2.0], 0", TypeError, "target has dtype float64, expected an integer type"),
    *of_methods(LOSSES, "x, [True, True, False], 0", TypeError, "target has dtype bool, expected an integer type"),
    *of_methods(
        LOSSES,
        "x, np.ma.array(target), 0",
        TypeError,
        "target is a masked array: give target.filled(value), or target.data with where=~target.mask",
    ),
    *of_methods(LOSSES, "x, target, 0, weight=np.ones(3)", ValueError, "weight has shape (3,), expected (4,)"),
    *of_methods(
        LOSSES,
        "x, target, 0, weight=np.ones(4, complex)",
        TypeError,
        f"weight has dtype complex128: {EXPECTED_FLOATS}",
    ),
    *of_methods(
        LOSSES, "x, target, 0, weight=np.ones(4, object)", TypeError, f"weight has dtype object: {EXPECTED_FLOATS}"
    ),
    *of_methods(LOSSES, "x, target, 0, ignore_index=1.0", TypeError, "ignore_index must be an integer, got 1.0"),
    WrongCall(
        "whole.cross_entropy_and_grad(x, target, 0, grad_scale='2')",
        TypeError,
        "grad_scale must be a real number, got '2'",
    ),
    WrongCall("restore(rows[:, 8:], description)", ValueError, "these bytes are no SoftmaxState of this version"),
]
