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

FUNCTIONS = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "softmax_vjp",
    "softmax_jvp",
    "log_softmax_vjp",
    "log_softmax_jvp",
    "softmax_jacobian",
    "log_softmax_jacobian",
    "softmax_and_jacobian",
)
BOTH = "softmax_and_jacobian"
INPUTS = {"softmax_vjp": 2, "softmax_jvp": 2, "log_softmax_vjp": 2, "log_softmax_jvp": 2}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def call(name, x, out=None, **options):
    """With x as every input, and `out` for the last result."""
    if name == BOTH and out is not None:
        out = (None, out)
    return getattr(softmax_cy, name)(*[x] * INPUTS.get(name, 1), out=out, **options)


def last(result):
    """What `out` is for."""
    return result[-1] if isinstance(result, tuple) else result


# ---- out that says one thing and is another ----------------------------------------------------------------------


def claiming(**claims):
    """A class of arrays with these attributes, whatever they really are."""
    return type("Claiming", (np.ndarray,), {key: property(lambda _, v=value: v) for key, value in claims.items()})


@every_function
def test_the_shape_of_out_is_not_what_its_class_says(name, dtype):
    x = np.ones((20, 30), dtype)
    shape = last(call(name, x)).shape
    memory = np.full(20 * 30 * 30 + 10, -7, dtype)
    out = memory[:4].view(claiming(shape=shape, ndim=len(shape), size=np.prod(shape), strides=(8,) * len(shape)))
    with pytest.raises(ValueError, match=r"out.* has shape \(4,\), expected"):
        call(name, x, out)
    assert (memory == -7).all()


@every_function
def test_the_dtype_of_out_is_not_what_its_class_says(name, dtype):
    x = np.ones((20, 30), dtype)
    shape = last(call(name, x)).shape
    memory = np.full(9 * 20 * 30 * 30, 7, np.int8)
    out = memory[: np.prod(shape)].reshape(shape).view(claiming(dtype=dtype, itemsize=dtype.itemsize))
    with pytest.raises(TypeError, match=r"out.* has dtype int8, expected"):
        call(name, x, out)
    assert (memory == 7).all()


@every_function
def test_out_is_read_only_whatever_its_class_says(name, dtype):
    x = np.ones((2, 3), dtype)
    expected = last(call(name, x))
    out = np.zeros(expected.shape, dtype)
    flags = out.flags
    memory = out.tobytes()
    out = np.frombuffer(memory, dtype).reshape(expected.shape).view(claiming(flags=flags))
    with pytest.raises(ValueError, match=r"out.* is read-only"):
        call(name, x, out)
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
def test_no_code_of_the_class_of_out_is_run(name, shape, given):
    x = np.ones(shape, given)
    expected = last(call(name, x))
    plain = np.full(np.shape(expected), -7, given)
    out = plain.view(Overriding)
    assert last(call(name, x, out)) is out
    np.testing.assert_array_equal(plain, expected)
    if name == BOTH:
        y = np.full(shape, -7, given)
        assert softmax_cy.softmax_and_jacobian(x, out=(y.view(Overriding), out))[1] is out
        np.testing.assert_array_equal(y, softmax_cy.softmax(x))


# ---- arguments whose conversion changes others -------------------------------------------------------------------

LARGE = (200_000, 2)  # so large that the system gets back what resizing to the small one leaves
SMALL = (2, 3)


class Subclass(np.ndarray):
    """Of which a view has to be made."""


class Agent:
    """An argument that resizes an array while it is converted."""

    def __init__(self, victim, value):
        self.victim, self.value = victim, value

    def act(self, *_args, **_kwargs):
        """Resize, once."""
        if self.victim is not None:
            shrink(self.victim)
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


def shrink(array):
    """In place, whoever else looks at it."""
    array.resize(SMALL, refcheck=False)
    array[...] = 1


def ones(kind, dtype=np.float64):
    """An array that owns its memory."""
    array = kind(LARGE, dtype)
    array[...] = 1
    return array


def converted(name):
    """The arguments of a function whose conversion runs code of theirs."""
    inputs = [f"input {i}" for i in range(INPUTS.get(name, 1))]
    of_logits = ["where", "dtype"] if name in ("softmax", "log_softmax", "logsumexp", BOTH) else []
    several_axes = ["axis of two"] if "jacobian" not in name else []
    keepdims = ["keepdims"] if name == "logsumexp" else []
    out = ["out"] if name == BOTH else []
    return [*inputs, "axis", "scale", "num_threads", *of_logits, *several_axes, *keepdims, *out]


def give(which, agent, inputs, options):
    """Put the agent in the place of an argument."""
    if which.startswith("input"):
        agent.value = np.ones(SMALL)
        inputs[int(which[-1])] = agent
    elif which == "axis of two":
        agent.value = 1
        options["axis"] = (agent, 0)
    elif which == "out":
        options["out"] = Pair(options["out"])
        options["out"].agent = agent
    else:
        agent.value = {"where": np.array(True), "scale": 2.0, "dtype": np.dtype("f4")}.get(which, 1)
        options[which] = agent


def outcome(name, which, victim, kind, while_converted):
    """What a call raises or returns if an array is resized while an argument is converted, or before the call."""
    inputs = [ones(kind) for _ in range(INPUTS.get(name, 1))]
    options = {"out": ones(kind)}
    arrays = {**{f"input {i}": array for i, array in enumerate(inputs)}, "out": options["out"]}
    if name == BOTH:
        options["out"] = (options["out"], None)
    if victim == "where":
        arrays["where"] = options["where"] = ones(kind, bool)
    agent = (Number if which == "scale" else Agent)(arrays[victim] if while_converted else None, None)
    if not while_converted:
        shrink(arrays[victim])
    give(which, agent, inputs, options)
    try:
        result = getattr(softmax_cy, name)(*inputs, **options)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    assert agent.victim is None
    return [(part.shape, part.dtype, part.tobytes()) for part in (result if isinstance(result, tuple) else (result,))]


def check_resizing(name):
    """Whichever argument resizes whichever array: that is the same as if it had happened before the call."""
    of_logits = "where" in converted(name)
    for which in converted(name):
        for victim in [f"input {i}" for i in range(INPUTS.get(name, 1))] + ["out"] + ["where"] * of_logits:
            if which == victim:  # it is the agent
                continue
            for kind in (np.ndarray, Subclass):
                expected = outcome(name, which, victim, kind, while_converted=False)
                found = outcome(name, which, victim, kind, while_converted=True)
                assert found == expected, (which, victim, kind.__name__)


@every_function
def test_arrays_are_looked_at_when_all_arguments_have_been_converted(name):
    program = f"from test_conversions import check_resizing; check_resizing({name!r})"
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
