"""What bad arguments get: the stated exception, a message that names the value, and an untouched `out`."""

import numpy as np
import pytest

import softmax_cy
from softmax_cy import softmax, softmax_jacobian

X = np.arange(6.0).reshape(2, 3)
READ_ONLY = np.zeros((2, 3))
READ_ONLY.flags.writeable = False

# arguments of softmax, exception, what the message says
SOFTMAX_ERRORS = {
    "complex": (((X + 1j,), {}), TypeError, "x has dtype complex128: expected float16, bfloat16, float32, float64"),
    "object": (((np.array([None, 1]),), {}), TypeError, "x has dtype object"),
    "string": (((np.array(["a"]),), {}), TypeError, "x has dtype <U1"),
    "bytes": (((np.array([b"a"]),), {}), TypeError, "x has dtype |S1"),
    "datetime": (((np.array(["2024-02-29"], "M8[D]"),), {}), TypeError, "x has dtype datetime64"),
    "timedelta": (((np.array([1], "m8[s]"),), {}), TypeError, "x has dtype timedelta64"),
    "structured": (((np.zeros(3, [("a", "f4")]),), {}), TypeError, r"x has dtype \[\('a', '<f4'\)\]"),
    "long double": (((X.astype(np.longdouble),), {}), TypeError, "x has dtype float128"),
    "axis too large": (((X, 2), {}), np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
    "axis too small": (((X, -3), {}), np.exceptions.AxisError, "axis -3 is out of bounds for array of dimension 2"),
    "axis huge": (((X, 10**30), {}), np.exceptions.AxisError, f"axis {10**30} is out of bounds"),
    "axis of a scalar": (((3.0, 1), {}), np.exceptions.AxisError, "axis 1 is out of bounds for array of dimension 0"),
    "axis a float": (((X, 1.0), {}), TypeError, "axis must be an integer, a tuple of integers or None, got 1.0"),
    "axis a string": (((X, "last"), {}), TypeError, "axis must be an integer, a tuple of integers or None, got 'last'"),
    "out a list": (((X,), {"out": [0.0]}), TypeError, "out must be a numpy.ndarray, got list"),
    "out of another dtype": (
        ((X,), {"out": np.zeros((2, 3), np.float32)}),
        TypeError,
        "out has dtype float32, expected float64",
    ),
    "out of another byte order": (
        ((X,), {"out": np.zeros((2, 3), np.dtype(np.float64).newbyteorder())}),
        TypeError,
        "out has dtype >f8, expected float64",
    ),
    "out of another shape": (
        ((X,), {"out": np.zeros((3, 2))}),
        ValueError,
        r"out has shape \(3, 2\), expected \(2, 3\)",
    ),
    "out with fewer axes": (((X,), {"out": np.zeros(6)}), ValueError, r"out has shape \(6,\), expected \(2, 3\)"),
    "out read-only": (((X,), {"out": READ_ONLY}), ValueError, "out is read-only"),
    "no threads": (((X,), {"num_threads": 0}), ValueError, "num_threads must be at least 1, got 0"),
    "negative threads": (((X,), {"num_threads": -2}), ValueError, "num_threads must be at least 1, got -2"),
    "half a thread": (((X,), {"num_threads": 0.5}), TypeError, "num_threads must be an integer or None, got 0.5"),
    "a named thread": (((X,), {"num_threads": "two"}), TypeError, "num_threads must be an integer or None, got 'two'"),
    "no input": (((), {}), TypeError, "softmax"),
    "out by position": (((X, -1, X), {}), TypeError, "positional"),
    "an unknown argument": (((X,), {"dim": 1}), TypeError, "dim"),
}


@pytest.mark.parametrize("name", SOFTMAX_ERRORS)
def test_softmax(name):
    (args, kwargs), exception, message = SOFTMAX_ERRORS[name]
    with pytest.raises(exception, match=message):
        softmax(*args, **kwargs)


@pytest.mark.parametrize("name", [name for name in SOFTMAX_ERRORS if not name.startswith("out")])
def test_nothing_is_written_before_the_error(name):
    (args, kwargs), exception, _ = SOFTMAX_ERRORS[name]
    out = np.full((2, 3), -7.0)
    with pytest.raises(exception):
        softmax(*args, out=out, **kwargs)
    assert (out == -7).all()


@pytest.mark.parametrize(
    ("kwargs", "exception", "message"),
    [
        ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
        ({"axis": None}, TypeError, "axis must be an integer, got None"),
        ({"out": np.zeros((2, 3))}, ValueError, r"out has shape \(2, 3\), expected \(2, 3, 3\)"),
        ({"axis": 0, "out": np.zeros((2, 3, 3))}, ValueError, r"out has shape \(2, 3, 3\), expected \(3, 2, 2\)"),
        ({"out": np.zeros((2, 3, 3), np.float32)}, TypeError, "out has dtype float32, expected float64"),
        ({"out": 1}, TypeError, "out must be a numpy.ndarray, got int"),
        ({"num_threads": 0}, ValueError, "num_threads must be at least 1, got 0"),
    ],
)
def test_jacobian(kwargs, exception, message):
    with pytest.raises(exception, match=message):
        softmax_jacobian(X, **kwargs)


def test_jacobian_names_its_argument():
    with pytest.raises(TypeError, match="y has dtype complex64"):
        softmax_jacobian(np.zeros(2, np.complex64))


def test_jacobian_of_too_many_axes():
    with pytest.raises(ValueError, match="y has 64 axes, and the result would have more than NumPy allows"):
        softmax_jacobian(np.ones((1,) * 64))


def test_show_config_of_an_unknown_mode():
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got 'yaml'"):
        softmax_cy.show_config(mode="yaml")
