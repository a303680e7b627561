"""Targets that change during a call: a kernel checks every index that it uses. Nothing beyond an array is touched."""

import ctypes
import importlib
import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from softmax_cy import cross_entropy_and_grad

pytestmark = pytest.mark.usefixtures("variant")

KINDS = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "bfloat16", "f4", "f8"]
SWAPPED = 64
PLACE_IN_TABLE = 8  # the members before it are pointers to functions, too

# Of ten and less go through tiles or groups; 5,000 is longer than a block.
LENGTHS = [1, 5, 10, 40, 300, 1000, 5000]


class Elements(ctypes.Structure):
    """As in table.pxd."""

    _fields_ = [
        ("kind", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("shape", ctypes.c_ssize_t * 64),
        ("strides", ctypes.c_ssize_t * 64),
    ]


class CrossEntropySlices(ctypes.Structure):
    """As in table.pxd."""

    _fields_ = [
        ("x", ctypes.c_void_p),
        ("target", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("loss", ctypes.c_void_p),
        ("loss_kind", ctypes.c_int),
        ("grad", ctypes.c_void_p),
        ("count", ctypes.c_ssize_t),
        ("length", ctypes.c_ssize_t),
        ("x_next", ctypes.c_ssize_t),
        ("target_next", ctypes.c_ssize_t),
        ("loss_next", ctypes.c_ssize_t),
        ("grad_next", ctypes.c_ssize_t),
        ("x_elements", ctypes.POINTER(Elements)),
        ("target_elements", ctypes.POINTER(Elements)),
        ("index_kind", ctypes.c_int),
        ("weight_elements", ctypes.POINTER(Elements)),
        ("grad_elements", ctypes.POINTER(Elements)),
        ("smoothing", ctypes.c_double),
        ("weight_sum", ctypes.c_double),
        ("grad_factor", ctypes.c_double),
        ("any_ignored", ctypes.c_int),
        ("ignored", ctypes.c_int64),
    ]


def kind_of(array):
    """The number of a dtype in kinds.h."""
    return KINDS.index(array.dtype.str[1:]) + (0 if array.dtype.isnative else SWAPPED)


def elements_of(array, axis):
    """How those along an axis lie."""
    elements = Elements(kind=kind_of(array), ndim=1)
    elements.shape[0], elements.strides[0] = array.shape[axis], array.strides[axis]
    return ctypes.pointer(elements)


def call_kernel(variant, x, target, loss, grad=None, weight=None, smoothing=0.0, ignored=None):
    """The kernel by itself, on the rows of a matrix. Nothing is checked on the way there."""
    bits = "f64" if loss.dtype == np.float64 else "f32"
    capsule = importlib.import_module(f"softmax_cy.kernels._{bits}_{variant}").table
    address_of = ctypes.pythonapi.PyCapsule_GetPointer
    address_of.restype, address_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = (ctypes.c_void_p * (PLACE_IN_TABLE + 1)).from_address(address_of(capsule, b"softmax_cy.kernels.table"))
    slices = CrossEntropySlices(
        x=x.ctypes.data,
        target=target.ctypes.data,
        loss=loss.ctypes.data,
        loss_kind=kind_of(loss),
        count=x.shape[0],
        length=x.shape[1],
        x_next=x.strides[0],
        target_next=target.strides[0],
        loss_next=loss.strides[0],
        x_elements=elements_of(x, 1),
        index_kind=kind_of(target),
        smoothing=smoothing,
        weight_sum=x.shape[1] if weight is None else math.fsum(weight),
        grad_factor=1,
        any_ignored=ignored is not None,
        ignored=ignored or 0,
    )
    if grad is not None:
        slices.grad, slices.grad_next, slices.grad_elements = grad.ctypes.data, grad.strides[0], elements_of(grad, 1)
    if weight is not None:
        slices.weight, slices.weight_elements = weight.ctypes.data, elements_of(weight, 0)
    ctypes.CFUNCTYPE(None, ctypes.POINTER(CrossEntropySlices))(table[PLACE_IN_TABLE])(ctypes.byref(slices))


PADDING = 40


def padded(array, order, value):
    """A copy with room around it, and the memory of both."""
    memory = np.full([n + 2 * PADDING for n in array.shape], value, array.dtype, order=order)
    inner = memory[(slice(PADDING, -PADDING),) * array.ndim]
    inner[...] = array
    return memory, inner


LAYOUTS = {
    "rows": lambda x: padded(x, "C", 0),
    "side by side": lambda x: padded(x, "F", 0),
    "strided": lambda x: (lambda memory, inner: (memory, inner[:, ::2]))(*padded(np.repeat(x, 2, axis=1), "C", 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("in_place", [False, True])
def test_an_index_out_of_range_is_nan_alone_and_nothing_is_touched_beyond(layout, in_place, variant, dtype, rng):
    """By the kernel itself: a caller that has checked the indices may find others there when it is called."""
    for length, smoothing, weighted in product(LENGTHS, (0.0, 0.1), (False, True)):
        x = rng.standard_normal((37, length)).astype(dtype)
        target = rng.integers(length, size=37)
        weight = rng.uniform(1, 2, length).astype(dtype) if weighted else None
        options = {"weight": weight, "label_smoothing": smoothing}
        right, right_grad = cross_entropy_and_grad(x, target, reduction="none", **options)
        # The first is within the room around the array. Then those that a signed comparison or one end would miss.
        for bad in (length, length + PADDING // 2, -1, -PADDING // 2, 2**40, -(2**40), 2**63 - 1, -(2**63)):
            given = target.copy()
            given[[0, 16, 35]] = bad
            memory, logits = LAYOUTS[layout](x)
            grad_memory, grad = (memory, logits) if in_place else LAYOUTS[layout](np.zeros_like(x))
            losses = np.zeros(37, dtype)
            call_kernel(variant, logits, given, losses, grad, weight, smoothing)
            is_bad = given != target
            np.testing.assert_array_equal(losses, np.where(is_bad, np.nan, right), err_msg=f"{length} {bad}")
            np.testing.assert_array_equal(grad, np.where(is_bad[:, None], np.nan, right_grad))
            grad[...] = 0
            if layout != "strided":
                assert not grad_memory.any(), (length, bad)
            alone = np.zeros(37, dtype)
            call_kernel(variant, LAYOUTS[layout](x)[1], given, alone, None, weight, smoothing)
            assert alone.tobytes() == losses.tobytes()


def test_an_index_that_is_ignored_is_not_out_of_range(variant, dtype, rng):
    x = rng.standard_normal((20, 7)).astype(dtype)
    expected, expected_grad = cross_entropy_and_grad(x, [0] * 20, reduction="none")
    expected[3:], expected_grad[3:] = 0, 0
    expected[9], expected_grad[9] = np.nan, np.nan
    for kind, ignored, bad in (("i8", -100, -99), ("i1", -1, 7), ("u8", -1, -2), (">i4", 2**31 - 1, 7)):
        target = np.zeros(20, kind)
        target[3:], target[9] = np.array([ignored, bad]).astype(target.dtype)
        losses, grad = np.full(20, -1, dtype), np.full_like(x, -1)
        call_kernel(variant, x, target, losses, grad, ignored=ignored)
        np.testing.assert_array_equal(losses, expected)
        np.testing.assert_array_equal(grad, expected_grad)


OTHER_THREAD = """
import sys, threading
import numpy as np
import softmax_cy

def flip():
    while not done:
        target[...] = 2**40
        target[...] = 1

softmax_cy._dispatch.use(sys.argv[1])
sys.setswitchinterval(1e-6)
x, target, done = np.zeros(SHAPE, np.float32), np.ones(SHAPE[0], np.int64), False
memory = np.zeros((SHAPE[0] + 200, SHAPE[1]), np.float32)
thread = threading.Thread(target=flip)
thread.start()
try:
    for i in range(300):
        try:
            softmax_cy.cross_entropy(x, target, reduction=("mean", "none")[i % 2], num_threads=1)
            softmax_cy.cross_entropy_and_grad(x, target, ignore_index=(None, 1)[i % 2], out=memory[100:-100])
        except ValueError as error:
            assert "expected 0 <= target <" in str(error)
        assert not memory[:100].any() and not memory[-100:].any()
finally:
    done = True
    thread.join()
print("survived")
"""


@pytest.mark.parametrize("shape", [(2000, 40), (500, 300), (40, 5000)], ids=str)
def test_another_thread_writes_the_target(shape, variant):
    """In a process of its own, for it to crash."""
    code = f"SHAPE = {shape}\n{OTHER_THREAD}"
    done = subprocess.run(
        [sys.executable, "-c", code, variant], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "survived\n", (done.returncode, done.stderr)
