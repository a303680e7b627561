"""Arguments that say one thing and are another, or that change the others while they are converted.

A wrong answer to these writes past the end of an array, so the arrays lie in larger ones, and what may still fail runs
in a process of its own.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from operations import (
    ANY_AXES,
    LOSSES,
    bits,
    every_function,
    input_names,
    parts,
    takes_pair,
    taking,
    written,
)


def call(function, x, out=None, **options):
    """With x as every input but a target, losses one by one, and `out` for the last result."""
    x = np.asarray(x)
    if function in LOSSES:
        options = {"reduction": "none", "target": np.zeros(x.shape[:-1], int), **options}
        options["target"] = np.ones(x.shape, x.dtype) if 0 in x.shape else options["target"]
    inputs = [x for name in input_names(function.__name__) if name != "target"]
    return function(*inputs, out=(None, out) if takes_pair(function) and out is not None else out, **options)


def last(result):
    """What `out` is for."""
    return parts(result)[-1]


# ---- out that says one thing and is another ----------------------------------------------------------------------


def claiming(**claims):
    """A class of arrays with these attributes, whatever they really are."""
    return type("Claiming", (np.ndarray,), {key: property(lambda _, v=value: v) for key, value in claims.items()})


@every_function
def test_the_shape_of_out_is_not_what_its_class_says(function, dtype):
    x = np.ones((20, 30), dtype)
    shape = last(call(function, x)).shape
    memory = np.full(20 * 30 * 30 + 10, -7, dtype)
    out = memory[:4].view(claiming(shape=shape, ndim=len(shape), size=np.prod(shape), strides=(8,) * len(shape)))
    with pytest.raises(ValueError, match=r"out.* has shape \(4,\), expected"):
        call(function, x, out)
    assert (memory == -7).all()


@every_function
def test_the_dtype_of_out_is_not_what_its_class_says(function, dtype):
    x = np.ones((20, 30), dtype)
    shape = last(call(function, x)).shape
    memory = np.full(9 * 20 * 30 * 30, 7, np.int8)
    out = memory[: np.prod(shape)].reshape(shape).view(claiming(dtype=dtype, itemsize=dtype.itemsize))
    with pytest.raises(TypeError, match=r"out.* has dtype int8, expected"):
        call(function, x, out)
    assert (memory == 7).all()


@every_function
def test_out_is_read_only_whatever_its_class_says(function, dtype):
    x = np.ones((2, 3), dtype)
    expected = last(call(function, x))
    out = np.zeros(expected.shape, dtype)
    flags = out.flags
    memory = out.tobytes()
    out = np.frombuffer(memory, dtype).reshape(expected.shape).view(claiming(flags=flags))
    with pytest.raises(ValueError, match=r"out.* is read-only"):
        call(function, x, out)
    assert not any(memory)


class Overriding(np.ndarray):
    """Says nothing wrong, but nothing of it should be asked."""

    def fail(self, *_args, **_kwargs):
        """Instead of any method."""
        raise AssertionError("code of the class of out was run")

    reshape = fill = view = copy = ravel = transpose = squeeze = fail
    __setitem__ = __getitem__ = __array__ = __array_function__ = __array_ufunc__ = fail
    shape = dtype = flags = ndim = size = strides = base = property(fail)


@every_function
@pytest.mark.parametrize("shape", [(), (2, 3), (3, 0)], ids=str)
@pytest.mark.parametrize("given", ["f2", "f4", "f8"])
def test_no_code_of_the_class_of_out_is_run(function, shape, given):
    x = np.ones(shape, given)
    expected = last(call(function, x))
    plain = np.full(np.shape(expected), -7, given)
    out = plain.view(Overriding)
    assert last(call(function, x, out)) is out
    np.testing.assert_array_equal(plain, expected)
    if takes_pair(function):
        y = np.full(shape, -7, given)
        assert softmax_cy.softmax_and_jacobian(x, out=(y.view(Overriding), out))[1] is out
        np.testing.assert_array_equal(y, softmax_cy.softmax(x))


@every_function
def test_no_code_of_the_class_of_an_input_is_run(function):
    x = np.ones((2, 3))
    inputs = [x if name != "target" else np.zeros(2, int) for name in input_names(function.__name__)]
    options = {"where": np.ones(3, bool)} if function in taking("where") else {}
    options |= {"weight": np.ones(3)} if function in LOSSES else {}
    overriding = {key: array.view(Overriding) for key, array in options.items()}
    assert bits(function(*[array.view(Overriding) for array in inputs], **overriding)) == bits(
        function(*inputs, **options)
    )


# ---- arguments whose conversion changes others -------------------------------------------------------------------

LARGE = (200_000, 2)  # so large that the system gets back what resizing to the small one leaves
SMALL = (2, 3)
FLAT = (6,)  # with an axis less


class Subclass(np.ndarray):
    """Of which a view has to be made."""


class Agent:
    """An argument that resizes an array while it is converted."""

    def __init__(self, victim, shape, value=None):
        self.victim, self.shape, self.value = victim, shape, value

    def act(self, *_args, **_kwargs):
        """Resize, once."""
        if self.victim is not None:
            shrink(self.victim, self.shape)
            self.victim = None
        return self.value

    __array__ = __index__ = __float__ = __bool__ = act
    dtype = property(act)


class Number(Agent):
    """One for `scale`, of which an array is made first."""

    def __array__(self, dtype=None, copy=None):
        return np.array(1.0)


class Pair(tuple):
    """One for an `out` of two."""

    def __iter__(self):
        self.agent.act()
        return super().__iter__()


class Reduction(str):
    """One for `reduction`, which is compared."""

    def __eq__(self, other):
        self.agent.act()
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def shrink(array, shape):
    """In place, whoever else looks at it."""
    array.resize(shape, refcheck=False)
    array[...] = 1


def ones(kind, shape, dtype):
    """An array that owns its memory."""
    array = kind(shape, dtype)
    array[...] = 1
    return array


OPTIONS = ("axis", "num_threads", "scale", "where", "dtype", "keepdims", "weight", "ignore_index", "label_smoothing")


def converted(function):
    """The arguments of a function whose conversion runs code of theirs."""
    several_axes = ["axis of two"] if function in ANY_AXES else []
    out = ["out"] if takes_pair(function) else []
    reduction = ["reduction"] if function in taking("reduction") else []
    options = [name for name in OPTIONS if function in taking(name)]
    return [*input_names(function.__name__), *options, *several_axes, *out, *reduction]


def give(which, agent, arguments):
    """Put the agent in the place of an argument."""
    values = {
        "where": np.array(True),
        "scale": 2.0,
        "dtype": np.dtype("f4"),
        "target": np.ones(2, int),
        "weight": np.ones(3),
        "label_smoothing": 0.25,
        "ignore_index": 9,
    }
    if which in ("x", "grad", "tangent", "y", "log_y"):
        agent.value = np.ones(SMALL)
        arguments[which] = agent
    elif which == "axis of two":
        agent.value = 1
        arguments["axis"] = (agent, 0)
    elif which == "out":
        arguments["out"] = Pair(arguments["out"])
        arguments["out"].agent = agent
    elif which == "reduction":
        arguments["reduction"] = Reduction("none")
        arguments["reduction"].agent = agent
    else:
        agent.value = values.get(which, 1)
        arguments[which] = agent


def victims(function):
    """The arrays that another argument may resize, with the shapes that fit each other."""
    arrays = {name: SMALL[:1] if name == "target" else SMALL for name in input_names(function.__name__)}
    arrays["out"] = written(function, call(function, np.ones(SMALL)))[0].shape
    arrays |= {"where": SMALL} if function in taking("where") else {}
    return arrays | ({"weight": SMALL[1:]} if function in LOSSES else {})


def outcome(function, which, victim, shape, kind, while_converted):
    """What a call raises or returns if an array is resized while an argument is converted, or before the call."""
    shapes = victims(function)
    shapes[victim] = (*LARGE, 1)[: len(shapes[victim])]
    dtypes = {"where": bool, "target": int}
    arrays = {name: ones(kind, shapes[name], dtypes.get(name, float)) for name in shapes}
    arguments = {name: array for name, array in arrays.items() if name != "where" or victim == "where"}
    if function in LOSSES:
        arguments["reduction"] = "none"
    if takes_pair(function):
        arguments["out"] = (arguments["out"], None)
    agent = (Number if which == "scale" else Agent)(arrays[victim] if while_converted else None, shape)
    if not while_converted:
        shrink(arrays[victim], shape)
    give(which, agent, arguments)
    try:
        result = function(**arguments)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    assert agent.victim is None
    return [(part.shape, part.dtype, part.tobytes()) for part in parts(result)]


def check_resizing(name):
    """Whichever argument resizes whichever array: that is the same as if it had happened before the call."""
    function = getattr(softmax_cy, name)
    returned = 0
    for which in converted(function):
        for victim, right in victims(function).items():
            if which == victim:  # it is the agent
                continue
            for kind in (np.ndarray, Subclass):
                for shape in (right, FLAT) if kind is np.ndarray else (right,):
                    expected = outcome(function, which, victim, shape, kind, while_converted=False)
                    found = outcome(function, which, victim, shape, kind, while_converted=True)
                    assert found == expected, (which, victim, kind.__name__, shape)
                    returned += isinstance(found, list)
    assert returned


@every_function
def test_arrays_are_looked_at_when_all_arguments_have_been_converted(function):
    """In a process of its own: a call that believes in old shapes writes beyond its arrays."""
    program = f"from test_conversions import check_resizing; check_resizing({function.__name__!r})"
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
