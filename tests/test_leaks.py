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

from operations import (
    ANY_AXES,
    FUNCTIONS,
    LOSSES,
    PRODUCTS,
    as_out,
    every_function,
    inputs_for,
    takes_pair,
    taking,
    written,
)
from softmax_cy import log_softmax, softmax
from wrong_arguments import WRONG, wrong_calls

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

X = np.arange(6.0).reshape(2, 3) / 16
MASK = X > 0
INDICES = np.array([0, 2])


@pytest.fixture(autouse=True)
def no_collection():
    """What a call leaves in cycles counts as kept, and what earlier tests left there gives nothing back meanwhile."""
    gc.disable()
    yield
    gc.enable()


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

# Given to the functions that take all of them.
OPTIONS = {
    "plain": {},
    "axis": {"axis": -2, "num_threads": 1},
    "axes": {"axis": (0, 1)},
    "scale": {"scale": 2.5},
    "where": {"where": MASK},
    "where, a row": {"where": MASK[:1]},
    "dtype float32": {"dtype": np.dtype("f4")},
    "dtype float16": {"dtype": np.dtype("f2")},
    "dtype bfloat16": {"dtype": BFLOAT16},
    "keepdims": {"keepdims": True},
    "weight": {"weight": np.ones(3), "label_smoothing": 0.125, "reduction": "sum"},
    "weight of float32": {"weight": np.ones(6, "f4")[::2], "reduction": "none"},
    "weight, a list": {"weight": [1.0, 2.0, 3.0]},
    "ignore_index": {"ignore_index": -100},
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


def arguments_of(function, x):
    """Such as x is the first of, and the second but for the losses: what it holds makes no difference here."""
    return [INDICES if function in LOSSES and i else x for i in range(len(inputs_for(function, X)))]


def takers(options):
    """The functions that a choice of options is for: several axes are for some of them, one axis for no target."""
    if "axis" in options:
        return ANY_AXES if isinstance(options["axis"], tuple) else [f for f in FUNCTIONS if f not in LOSSES]
    return taking(*options)


def calls(function):
    """Name, arguments and options of calls that work."""
    for name, x in INPUTS.items():
        for kind, options in OPTIONS.items():
            if function in takers(options):
                yield f"{name}, {kind}", arguments_of(function, x), options
        for kind, (functions, second) in SECOND.items():
            if function in functions:
                yield f"{name} and {kind}", [x, second], {}


def calls_with_out(function):
    """The same with `out`: an array of its own, the input, and one that overlaps the input."""
    for name, (x, *others), options in calls(function):
        results = [np.asarray(part) for part in written(function, function(x, *others, **options))]
        yield f"{name}, out", [x, *others], options | {"out": as_out(function, *results)}
        if takes_pair(function):
            yield f"{name}, out for the outputs", [x], options | {"out": (results[0], None)}
            yield f"{name}, out for the Jacobian", [x], options | {"out": (None, results[1])}
        out = results[0]
        if isinstance(x, np.ndarray) and x.shape == out.shape and x.dtype == out.dtype:
            in_place, memory = x.copy(), np.zeros((3, 3), out.dtype)
            yield f"{name}, in place", [in_place, *others], options | {"out": as_out(function, in_place)}
            yield f"{name}, overlap", [memory[:2], *others], options | {"out": as_out(function, memory[1:])}


# ---- errors ------------------------------------------------------------------------------------------------------

OTHER_ERRORS = {
    "no arguments": lambda function: ([], {}),
    "too many arguments": lambda function: ([X] * 4, {}),
    "unknown option": lambda function: (arguments_of(function, X), {"dim": 1000}),
    "ragged": lambda function: (arguments_of(function, [[1.0], [1.0, 2.0]]), {}),
}


def errors(kind):
    """Function, arguments and options of calls that raise."""
    if kind in OTHER_ERRORS:
        return [(function, *OTHER_ERRORS[kind](function)) for function in FUNCTIONS]
    _, rows = WRONG[kind]
    calls = [(function, call) for row in rows for function in row.functions for call in wrong_calls(row, function)]
    return [(function, [], arguments) for function, (_, arguments, *_) in calls]


ERRORS = [*WRONG, *OTHER_ERRORS]
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
        assert raises(function, arguments, options), (function.__name__, options)
        gained = references_gained(function, arguments, options)
        assert not any(gained), f"{function.__name__}, {options}: {gained}"


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
    assert traced(in_turn(errors(kind)), 20_000) <= 0


def test_the_process_does_not_grow_by_errors():
    assert in_a_process_of_its_own("resident(every_error_in_turn(), 400_000)") < 2**17


def test_one_object_in_a_thousand_calls_is_seen():
    assert traced(in_turn([(leaking([], 1000), [X], {})]), 10_000) > 0
    assert traced(in_turn([(leaking([], 1000), [X], {}), *SMALL_MIX]), 70_000) > 0


def test_memory_without_python_is_seen():
    assert in_a_process_of_its_own("resident(small_leak(), 100_000)") > 2**17
