"""No reference and no memory is lost, neither in calls that work nor in calls that raise."""

import ctypes
import gc
import itertools
import os
import subprocess
import sys
import tracemalloc
from array import array
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from softmax_cy import (
    cross_entropy,
    cross_entropy_and_grad,
    log_softmax,
    log_softmax_jacobian,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp,
    softmax,
    softmax_and_jacobian,
    softmax_jacobian,
    softmax_jvp,
    softmax_vjp,
)

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

X = np.arange(6.0).reshape(2, 3) / 16
MASK = X > 0
INDICES = np.array([0, 2])
READ_ONLY = np.zeros(X.shape)
READ_ONLY.flags.writeable = False
JACOBIAN = np.zeros((2, 3, 3))


ANY_AXES = [softmax, log_softmax, logsumexp]
FORWARD = [*ANY_AXES, softmax_and_jacobian]
PRODUCTS = [softmax_vjp, softmax_jvp, log_softmax_vjp, log_softmax_jvp]
JACOBIANS = [softmax_jacobian, log_softmax_jacobian]
LOSSES = [cross_entropy, cross_entropy_and_grad]
SAME_SHAPE = [softmax, log_softmax, *PRODUCTS, softmax_and_jacobian, cross_entropy_and_grad]
FUNCTIONS = FORWARD + PRODUCTS + JACOBIANS + LOSSES


@pytest.fixture(autouse=True)
def no_collection():
    """What a call leaves in cycles counts as kept, and what earlier tests left there gives nothing back meanwhile."""
    gc.disable()
    yield
    gc.enable()


every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)


def arguments_of(function, x):
    """Such as x is the first of."""
    return [x, *([x] if function in PRODUCTS else [INDICES] if function in LOSSES else [])]


def as_out(function, array):
    """What is given as `out` for its first, or only, result to go to this array."""
    return (array, None) if function is softmax_and_jacobian else array


# ---- calls -------------------------------------------------------------------------------------------------------

INPUTS = {
    "float64": X,
    "float32": X.astype("f4"),
    "float16": X.astype("f2"),
    "bfloat16": X.astype(BFLOAT16),
    "int8": X.astype("i1"),
    "bool": MASK,
    "other byte order": X.astype(">f8"),
    "strided": np.repeat(X, 2, 1)[:, ::2],
    "list": X.tolist(),
}

OPTIONS = {
    "plain": (FUNCTIONS, {}),
    "axis": (FORWARD + PRODUCTS + JACOBIANS, {"axis": -2, "num_threads": 1}),
    "axes": (ANY_AXES + PRODUCTS, {"axis": (0, 1)}),
    "scale": (FORWARD + PRODUCTS + JACOBIANS, {"scale": 2.5}),
    "where": (FORWARD, {"where": MASK}),
    "where, a row": (FORWARD, {"where": MASK[:1]}),
    "dtype float32": (FORWARD, {"dtype": np.dtype("f4")}),
    "dtype float16": (FORWARD, {"dtype": np.dtype("f2")}),
    "dtype bfloat16": (FORWARD, {"dtype": BFLOAT16}),
    "weight": (LOSSES, {"weight": np.ones(3), "label_smoothing": 0.125, "reduction": "sum"}),
    "weight of float32": (LOSSES, {"weight": np.ones(6, "f4")[::2], "reduction": "none"}),
    "weight, a list": (LOSSES, {"weight": [1.0, 2.0, 3.0]}),
    "ignore_index": (LOSSES, {"ignore_index": -100}),
}

SECOND = {
    "a row": (PRODUCTS, X[0]),
    "float32": (PRODUCTS, X.astype("f4")),
    "list": (PRODUCTS, X.tolist()),
    "int8": (LOSSES, INDICES.astype("i1")),
    "other byte order": (LOSSES, INDICES.astype(">i8")),
    "list of indices": (LOSSES, [0, 2]),
    "probabilities": (LOSSES, X),
    "probabilities of float32": (LOSSES, X.astype("f4")),
}


def calls(function):
    """Name, arguments and options of calls that work."""
    for name, x in INPUTS.items():
        for kind, (functions, options) in OPTIONS.items():
            if function in functions:
                yield f"{name}, {kind}", arguments_of(function, x), options
        for kind, (functions, second) in SECOND.items():
            if function in functions:
                yield f"{name} and {kind}", [x, second], {}


def calls_with_out(function):
    """The same with `out`: an array of its own, the input, and one that overlaps the input."""
    for name, (x, *others), options in calls(function):
        results = function(x, *others, **options)
        out = results[1] if function is cross_entropy_and_grad else results
        if isinstance(out, np.generic):
            out = np.array(out)
        yield f"{name}, out", [x, *others], options | {"out": out}
        if function is softmax_and_jacobian:
            out = results[0]
            yield f"{name}, out for the outputs", [x], options | {"out": (out, None)}
            yield f"{name}, out for the Jacobian", [x], options | {"out": (None, results[1])}
        if isinstance(x, np.ndarray) and x.shape == out.shape and x.dtype == out.dtype:
            in_place, memory = x.copy(), np.zeros((3, 3), out.dtype)
            yield f"{name}, in place", [in_place, *others], options | {"out": as_out(function, in_place)}
            yield f"{name}, overlap", [memory[:2], *others], options | {"out": as_out(function, memory[1:])}


# ---- errors ------------------------------------------------------------------------------------------------------

# kind: functions, options. `out` is for the first result.
WRONG_OPTIONS = {
    "axis too large": (FUNCTIONS, {"axis": 1000}),
    "axis huge": (FUNCTIONS, {"axis": 10**30}),
    "axis a float": (FUNCTIONS, {"axis": 1.5}),
    "axes twice": (ANY_AXES + PRODUCTS, {"axis": (0, 0)}),
    "no threads": (FUNCTIONS, {"num_threads": 0}),
    "half a thread": (FUNCTIONS, {"num_threads": 0.5}),
    "out a list": (FUNCTIONS, {"out": [0.0]}),
    "out of another dtype": (FUNCTIONS, {"out": X.astype("f4")}),
    "out of another shape": (FUNCTIONS, {"out": np.zeros(7)}),
    "out read-only": (SAME_SHAPE, {"out": READ_ONLY}),
    "unknown option": (FUNCTIONS, {"dim": 1000}),
    "scale zero": (FORWARD + PRODUCTS + JACOBIANS, {"scale": 0.0}),
    "scale complex": (FORWARD + PRODUCTS + JACOBIANS, {"scale": 2.5j}),
    "scale huge": (FORWARD + PRODUCTS + JACOBIANS, {"scale": 10**400}),
    "where of floats": (FORWARD, {"where": X}),
    "where of another shape": (FORWARD, {"where": np.ones(7, bool)}),
    "dtype of integers": (FORWARD, {"dtype": np.dtype("i4")}),
    "weight of another shape": (LOSSES, {"weight": np.ones(7)}),
    "weight complex": (LOSSES, {"weight": np.ones(3, complex)}),
    "reduction unknown": (LOSSES, {"reduction": "median"}),
    "label_smoothing too large": (LOSSES, {"label_smoothing": 1.5}),
    "label_smoothing a string": (LOSSES, {"label_smoothing": "some"}),
    "ignore_index a float": (LOSSES, {"ignore_index": 1.5}),
}

# kind: the `out` of softmax_and_jacobian
WRONG_PAIRS = {
    "out an array": np.zeros(X.shape),
    "out of three": (None, None, None),
    "Jacobian of another dtype": (np.zeros(X.shape), np.zeros((2, 3, 3), "f4")),
    "Jacobian of another shape": (np.zeros(X.shape), np.zeros(X.shape)),
    "outputs in the Jacobian": (JACOBIAN[0, :2], JACOBIAN),
}

WRONG_INPUTS = {
    "complex": X + 1j,
    "object": np.array([None, X], object),
    "ragged": [[1.0], [1.0, 2.0]],
}

# kind: functions, arguments
WRONG_ARGUMENTS = {
    "no arguments": (FUNCTIONS, []),
    "too many arguments": (FUNCTIONS, [X] * 4),
    "not broadcasting": (PRODUCTS, [X, np.zeros(7)]),
    "second complex": (PRODUCTS + LOSSES, [X, X + 1j]),
    "target too large": (LOSSES, [X, np.array([0, 3])]),
    "target negative": (LOSSES, [X, np.array([-1, 0])]),
    "target of another shape": (LOSSES, [X, np.zeros(7, int)]),
    "target of booleans": (LOSSES, [X, MASK]),
}


def with_pairs(function, options):
    return options | ({"out": as_out(function, options["out"])} if "out" in options else {})


def errors(kind):
    """Function, arguments and options of calls that raise."""
    if kind in WRONG_OPTIONS:
        functions, options = WRONG_OPTIONS[kind]
        return [(function, arguments_of(function, X), with_pairs(function, options)) for function in functions]
    if kind in WRONG_PAIRS:
        return [(softmax_and_jacobian, [X], {"out": WRONG_PAIRS[kind]})]
    if kind in WRONG_INPUTS:
        return [(function, arguments_of(function, WRONG_INPUTS[kind]), {}) for function in FUNCTIONS]
    functions, arguments = WRONG_ARGUMENTS[kind]
    return [(function, arguments, {}) for function in functions]


ERRORS = [*WRONG_OPTIONS, *WRONG_PAIRS, *WRONG_INPUTS, *WRONG_ARGUMENTS]
every_error = pytest.mark.parametrize("kind", ERRORS)


def raises(function, arguments, options):
    """Whether a call raises. The result, or the exception, is gone afterwards."""
    try:
        function(*arguments, **options)
    except (TypeError, ValueError, IndexError):
        return True
    return False


# ---- references --------------------------------------------------------------------------------------------------


def references_gained(function, arguments, options):
    """In a hundred calls, by each object that they are given and by dtypes. Integers, strings and None are shared."""
    given = [*arguments, *options.values()]
    given += [element for value in given if isinstance(value, tuple) for element in value]
    objects = [value for value in given if not isinstance(value, int | str | None)]
    arrays = [value for value in objects if isinstance(value, np.ndarray)]
    objects += [a.dtype for a in arrays] + [a.base for a in arrays if a.base is not None]
    objects += [np.dtype("f4"), np.dtype("f8"), BFLOAT16]
    for _ in range(3):
        raises(function, arguments, options)
    before = [*map(sys.getrefcount, objects)]
    for _ in range(100):
        raises(function, arguments, options)
    after = [*map(sys.getrefcount, objects)]
    return [b - a for a, b in zip(before, after, strict=True)]


@pytest.mark.filterwarnings("ignore:overflow")
@every_function
def test_references_of_calls(function):
    for name, arguments, options in itertools.chain(calls(function), calls_with_out(function)):
        assert not raises(function, arguments, options), name
        gained = references_gained(function, arguments, options)
        assert not any(gained), f"{name}: {gained}"


@every_error
def test_references_of_errors(kind):
    for function, arguments, options in errors(kind):
        assert raises(function, arguments, options), function.__name__
        gained = references_gained(function, arguments, options)
        assert not any(gained), f"{function.__name__}: {gained}"


def leaking(kept, every):
    """A function that keeps one small object in so many calls."""
    count = itertools.count(1)

    def leak(*arguments, **options):
        if next(count) % every == 0:
            kept.append(object())

    return leak


def test_references_are_seen():
    kept = []
    assert references_gained(kept.append, [X], {})[0] == 100
    assert references_gained(lambda x: kept.append(x.dtype), [X.astype(">f4")], {})[1] == 100
    assert not any(references_gained(lambda x: None, [X], {}))


# ---- memory ------------------------------------------------------------------------------------------------------

ROUNDS = 5


def empty_the_caches_of_the_interpreter():
    """Which keeps up to 2000 tuples of each length, and thousands of names that were looked up."""
    # A full collection empties the free lists. What is frozen it spares, so that garbage in cycles counts as kept.
    gc.freeze()
    gc.collect()
    gc.unfreeze()
    (getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache)()


def growth(read, call, times):
    """By how much a reading grows in the calmest round but the first: what leaks does so in all."""
    readings = array("q", [0] * ROUNDS)
    for i in range(ROUNDS):
        for _ in range(times // ROUNDS):
            call()
        empty_the_caches_of_the_interpreter()
        readings[i] = read()
    return min(b - a for a, b in itertools.pairwise(readings))


def traced(call, times):
    """Bytes of Python and of NumPy."""
    tracemalloc.start()
    try:
        return growth(lambda: tracemalloc.get_traced_memory()[0], call, times)
    finally:
        tracemalloc.stop()


def resident(call, times):
    """Bytes of this process, which takes pages only where none are free: see `in_a_process_of_its_own`."""
    page = os.sysconf("SC_PAGE_SIZE")
    return growth(lambda: int(Path("/proc/self/statm").read_text().split()[1]) * page, call, times)


def in_turn(cases):
    """Something to call that makes the next of these calls each time."""
    cases = itertools.cycle(cases)
    return lambda: raises(*next(cases))


SMALL_MIX = [
    (softmax, [X], {}),
    (softmax, [X], {"out": np.empty(X.shape)}),
    (softmax, [X[0]], {"where": MASK[0]}),
    (softmax, [X.astype("f4")], {"axis": 0}),
    (softmax, [X.astype("f2")], {"scale": 2.5}),
    (softmax, [INDICES], {}),
    (log_softmax, [X], {"axis": (0, 1), "dtype": "f4"}),
]


def every_error_in_turn():
    return in_turn([case for kind in ERRORS for case in errors(kind)])


def small_leak():
    """A few bytes, of the C library."""
    malloc = ctypes.CDLL(None).malloc
    return lambda: malloc(16)


def in_a_process_of_its_own(measure):
    """What a measurement of this module gives where no earlier test has left memory to be used again."""
    command = [sys.executable, "-c", f"import gc; gc.disable(); from test_leaks import *; print({measure})"]
    path = os.pathsep.join(sys.path)
    result = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    return int(result.stdout)


def test_no_memory_is_kept_by_calls():
    assert traced(in_turn(SMALL_MIX), 100_000) <= 0
    assert in_a_process_of_its_own("resident(in_turn(SMALL_MIX), 100_000)") < 2**17


@every_function
def test_no_memory_is_kept_by_any_call(function):
    cases = [(function, arguments, options) for _, arguments, options in calls(function)]
    assert traced(in_turn(cases), 10_000) <= 0


@every_error
def test_no_memory_is_kept_by_errors(kind):
    assert traced(in_turn(errors(kind)), 5_000) <= 0


def test_the_process_does_not_grow_by_errors():
    assert in_a_process_of_its_own("resident(every_error_in_turn(), 100_000)") < 2**17


def test_one_object_in_a_thousand_calls_is_seen():
    assert traced(in_turn([(leaking([], 1000), [X], {})]), 10_000) > 0
    assert traced(in_turn([(leaking([], 1000), [X], {}), *SMALL_MIX]), 70_000) > 0


def test_memory_without_python_is_seen():
    assert in_a_process_of_its_own("resident(small_leak(), 100_000)") > 2**17
