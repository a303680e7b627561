"""Wrong arguments, the C interface, and what the package says of itself."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from softmax_cy import _dispatch, capi

X = np.ones((3, 4))

WRONG = {
    "axis": (lambda: softmax_cy.softmax(X, axis=2), np.exceptions.AxisError, "axis 2 is out of bounds"),
    "dtype of x": (lambda: softmax_cy.softmax(X * 1j), TypeError, "x has dtype complex128"),
    "scale": (lambda: softmax_cy.softmax(X, scale=0), ValueError, "scale must be positive and finite"),
    "shape of out": (lambda: softmax_cy.softmax(X, out=np.ones(3)), ValueError, "out has shape"),
    "target": (lambda: softmax_cy.cross_entropy(X, [0, 4, 0]), ValueError, "expected 0 <= target < 4"),
    "threads": (lambda: softmax_cy.softmax(X, num_threads=0), ValueError, "num_threads"),
    "shapes": (lambda: softmax_cy.softmax_vjp(X, np.ones((3, 5))), ValueError, "do not broadcast"),
    "states": (softmax_cy.merge_states, ValueError, "there is no state to merge"),
}


@pytest.mark.parametrize("argument", WRONG)
def test_wrong_arguments(argument):
    """Each gets an exception that names it."""
    call, exception, message = WRONG[argument]
    with pytest.raises(exception, match=message):
        call()


def test_nothing_is_written_before_an_error():
    """A target that is out of range is found first."""
    grad = np.full_like(X, 7)
    with pytest.raises(ValueError, match="target"):
        softmax_cy.cross_entropy_and_grad(X, [0, 1, -1], out=grad)
    assert (grad == 7).all()


def test_the_capsule_for_c():
    """What softmax_cy.h imports is there, and its first number is the version of the header."""
    header = Path(softmax_cy.get_include(), "softmax_cy.h").read_text("utf-8")
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = ctypes.cast(pointer_of(capi._C_API, b"softmax_cy.capi._C_API"), ctypes.POINTER(ctypes.c_int))
    assert f"#define SOFTMAX_CY_ABI_VERSION {table[0]}\n" in header


@pytest.mark.parametrize("suffix", ["f32", "f64"])
@pytest.mark.usefixtures("variant")
def test_a_function_by_its_address(suffix):
    """The bits of the function in Python, and a status for a wrong argument."""
    function = softmax_cy.ctypes_functions[f"softmax_{suffix}"].as_ctypes()
    x = np.random.default_rng(5).normal(size=(3, 50)).astype(f"f{int(suffix[1:]) // 8}")
    out = np.zeros_like(x)
    pointers = [ctypes.cast(array.ctypes.data, function.argtypes[2]) for array in (x, out)]
    assert function(3, 50, pointers[0], 50, 1, pointers[1], 50, 1, 1.0) == 0
    assert (out == softmax_cy.softmax(x)).all()
    assert function(3, 50, pointers[0], 50, 1, pointers[1], 50, 1, -1.0) == capi.Status.BAD_SCALE


def test_configuration():
    """The kernels in use are among those that were built."""
    config = softmax_cy.show_config(mode="dicts")
    assert config["version"] == softmax_cy.__version__
    assert config["variant"] in config["variants runnable"]
    assert set(config["variants runnable"]) <= set(config["variants built"]) == set(_dispatch.VARIANTS)


def test_the_number_of_threads():
    """It can be changed, and given back to the system."""
    before = softmax_cy.get_num_threads()
    softmax_cy.set_num_threads(3)
    try:
        assert softmax_cy.get_num_threads() == 3
    finally:
        softmax_cy.set_num_threads(None)
    assert softmax_cy.get_num_threads() >= 1
    assert before >= 1
