"""Finite input raises neither FE_INVALID nor FE_DIVBYZERO: programs that trap them go on.

A kernel computes in whole vectors, so what lies in lanes without an element or a slice must be harmless too.
"""

import ctypes
import ctypes.util

import ml_dtypes
import numpy as np
import pytest

import softmax_cy
from operations import FUNCTIONS

LIBM = ctypes.CDLL(ctypes.util.find_library("m"))
FE_INVALID, FE_DIVBYZERO = {"x86_64": (0x01, 0x04), "aarch64": (0x01, 0x02)}[__import__("platform").machine()]

pytestmark = pytest.mark.usefixtures("variant")

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int16]
LENGTHS = [*range(1, 71), 127, 200, 2049, 5000]


def raised(call, *args, **options):
    """The exceptions that a call has raised, as a text."""
    LIBM.feclearexcept(FE_INVALID | FE_DIVBYZERO)
    call(*args, **options)
    flags = LIBM.fetestexcept(FE_INVALID | FE_DIVBYZERO)
    LIBM.feclearexcept(FE_INVALID | FE_DIVBYZERO)
    return ("invalid " if flags & FE_INVALID else "") + ("division by zero" if flags & FE_DIVBYZERO else "")


def calls(x, y, log_y, axis):
    """Name, function, arguments and options of everything there is to call."""
    number, length = x.shape if axis == -1 else x.shape[::-1]
    indices = np.arange(number) % length
    weight = np.linspace(0.5, 1.5, length)
    functions = softmax_cy
    yield "softmax", functions.softmax, (x, axis), {}
    yield "softmax, scale", functions.softmax, (x, axis), {"scale": 0.3}
    yield "log_softmax", functions.log_softmax, (x, axis), {}
    yield "logsumexp", functions.logsumexp, (x, axis), {}
    yield "softmax, where", functions.softmax, (x, axis), {"where": np.arange(x.size).reshape(x.shape) % 3 > 0}
    yield "softmax_vjp", functions.softmax_vjp, (x, y, axis), {}
    yield "softmax_jvp", functions.softmax_jvp, (x, y, axis), {}
    yield "log_softmax_vjp", functions.log_softmax_vjp, (x, log_y, axis), {}
    yield "log_softmax_jvp", functions.log_softmax_jvp, (x, log_y, axis), {}
    yield "cross_entropy", functions.cross_entropy, (x, indices, axis), {"weight": weight}
    yield "cross_entropy_and_grad", functions.cross_entropy_and_grad, (x, indices, axis), {}
    yield "smoothing", functions.cross_entropy_and_grad, (x, indices, axis), {"label_smoothing": 0.1}
    yield "probabilities", functions.cross_entropy_and_grad, (x, y, axis), {}
    if length <= 70:
        yield "softmax_jacobian", functions.softmax_jacobian, (y, axis), {}
        yield "log_softmax_jacobian", functions.log_softmax_jacobian, (log_y, axis), {}
        yield "softmax_and_jacobian", functions.softmax_and_jacobian, (x, axis), {}


def test_no_function_is_left_out():
    x = np.ones((2, 3))
    called = [function for _, function, _, _ in calls(x, x, x, -1)]
    missing = [function.__name__ for function in FUNCTIONS if function not in called]
    assert not missing, f"add {', '.join(missing)} to calls in tests/test_exception_flags.py"


def test_the_flags_are_seen():
    """What this module rests on."""
    with np.errstate(divide="ignore", invalid="ignore"):
        assert raised(np.divide, np.ones(3), np.zeros(3)) in ("division by zero", "")  # NumPy may clear it again
    bad = np.array([1.0, np.inf, -np.inf])
    assert "invalid" in raised(softmax_cy.softmax_vjp, bad, np.full(3, 1 / 3))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("family", ["normal", "one dominant"])
def test_finite_input_raises_none(dtype, family, rng):
    found = set()
    for rows in (*range(1, 21), 33):
        for length in LENGTHS:
            if rows > 3 and length > 70:
                continue
            rows_of = 3 * rng.standard_normal((rows, length))
            if family == "one dominant":
                rows_of[:, length // 2] = 60
            for axis in (-1, 0):
                x = (rows_of if axis == -1 else rows_of.T.copy()).astype(dtype)
                y, log_y = softmax_cy.softmax(x, axis), softmax_cy.log_softmax(x, axis)
                for name, function, args, options in calls(x, y, log_y, axis):
                    what = raised(function, *args, num_threads=1, **options)
                    if what:
                        found.add((name, axis, rows, length, what))
    assert not found, sorted(found)[:20]
