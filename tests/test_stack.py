"""Threads with little stack: no function needs more than some KB of it."""

import ctypes
import subprocess
import sys

import pytest

from conftest import variants_under_test

# Every function over rows, columns, strided and converted elements, masks, and slices on both sides of a block.
PROGRAM = """
import ctypes
import sys
import threading

import ml_dtypes
import numpy as np

import softmax_cy
from softmax_cy import _dispatch

_dispatch.use(sys.argv[1])
layouts = {
    "rows": lambda x: x,
    "columns": lambda x: np.asfortranarray(x),
    "strided": lambda x: np.repeat(x, 2, -1)[..., ::2],
}


def call_everything():
    rng = np.random.default_rng(3)
    for shape in ((40, 3), (3, 300), (70, 20), (2, 9000)):
        for dtype in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int16):
            for lay_out in layouts.values():
                x = lay_out(rng.standard_normal(shape).astype(dtype))
                target = np.zeros(shape[0], int)
                for axis in (0, -1):
                    y, log_y = softmax_cy.softmax(x, axis), softmax_cy.log_softmax(x, axis)
                    softmax_cy.logsumexp(x, axis, where=x > 0)
                    softmax_cy.softmax(x, axis, where=x > 0)
                    softmax_cy.softmax_vjp(x, y, axis)
                    softmax_cy.softmax_vjp(x, 0.9 * y, axis)
                    softmax_cy.softmax_jvp(x, y, axis)
                    softmax_cy.log_softmax_vjp(x, log_y, axis)
                    softmax_cy.log_softmax_jvp(x, log_y, axis)
                    for smoothing in (0, 0.1):
                        indices = np.zeros(np.delete(shape, axis), int)
                        softmax_cy.cross_entropy_and_grad(x, indices, axis, label_smoothing=smoothing)
                        softmax_cy.cross_entropy(x, y, axis, weight=np.ones(shape[axis]), label_smoothing=smoothing)
                    if shape[axis] <= 300:
                        softmax_cy.softmax_jacobian(y, axis)
                        softmax_cy.log_softmax_jacobian(log_y, axis)
                        softmax_cy.softmax_and_jacobian(x, axis)


if sys.argv[2] == "python":
    softmax_cy.set_num_threads(1)
    threading.stack_size(65536)
    thread = threading.Thread(target=call_everything)
    thread.start()
    thread.join()
else:
    # The pool's threads are not Python's: they have the stack that glibc gives by default.
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(64)
    assert libc.pthread_attr_init(attributes) == 0
    assert libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(65536)) == 0
    assert libc.pthread_setattr_default_np(attributes) == 0
    # Long enough that several threads pay.
    x = np.random.default_rng(4).standard_normal((4000, 100)).astype(np.float32)
    for x in (x, np.asfortranarray(x), x.astype(np.float16), x[:, ::2], x.reshape(1, -1)):
        for axis in (0, -1):
            y, log_y = softmax_cy.softmax(x, axis, num_threads=2), softmax_cy.log_softmax(x, axis, num_threads=2)
            softmax_cy.logsumexp(x, axis, where=x > 0, num_threads=2)
            softmax_cy.softmax_vjp(x, y, axis, num_threads=2)
            softmax_cy.log_softmax_jvp(x, log_y, axis, num_threads=2)
            softmax_cy.cross_entropy_and_grad(x, y, axis, label_smoothing=0.1, num_threads=2)
            softmax_cy.cross_entropy_and_grad(x, np.zeros(np.delete(x.shape, axis), int), axis, num_threads=2)
print("done")
"""


@pytest.mark.parametrize("variant", variants_under_test())
@pytest.mark.parametrize("threads", ["python", "pool"])
def test_64_kilobytes_of_stack_are_enough(variant, threads):
    if threads == "pool" and not hasattr(ctypes.CDLL(None), "pthread_setattr_default_np"):
        pytest.skip("glibc alone has a default for the stacks of threads that can be changed")
    command = [sys.executable, "-X", "faulthandler", "-c", PROGRAM, variant, threads]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr
