"""Arguments of the losses that run code of their own while they are converted, and resize other arguments meanwhile.

A shape that was looked at before is that of memory which is no longer there. So all arguments are converted first.
"""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from softmax_cy import cross_entropy_and_grad

class Resizing:
    # Converted to a value after an array has got another shape.
    def __init__(self, value, array, *shape):
        self.value, self.array, self.shape = value, array, shape

    def convert(self):
        self.array.resize(self.shape, refcheck=False)
        return self.value

    __index__ = __float__ = convert

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.convert())

class Reduction(str):
    def __eq__(self, other):
        x.resize((3, 4000), refcheck=False)
        return str.__eq__(self, other)

    __hash__ = str.__hash__

class Plain(np.ndarray):
    pass

class Telling(np.ndarray):
    shape = property(lambda self: print("code ran"))
    ndim = dtype = flags = strides = size = shape

x, target, weight = np.zeros((3, 4)), np.zeros(3, int), np.ones(4)
indices = target.copy()
owner = Plain((3, 4))
owner[...] = 0
options = {"num_threads": 1}
try:
    loss, grad = cross_entropy_and_grad(*eval(sys.argv[1]), **options | eval(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
else:
    print(loss.round(9), np.asarray(grad).shape)
"""

LOG_4 = "1.386294361 (3, 4)"
LOG_4000 = "8.29404964 (3, 4000)"
AXES = "AxisError axis 1 is out of bounds for array of dimension 1"
TARGET_300 = "ValueError target has shape (300,)"
WEIGHT_4 = "ValueError weight has shape (4,), expected (4000,)"
WEIGHT_1 = "ValueError weight has shape (1,), expected (4,)"

# The arguments, and what the program prints: about the shapes that the arrays have in the end.
CASES = {
    "target resizes x": ("x, Resizing(indices, x, 3, 4000)", "{}", LOG_4000),
    "target resizes x of a subclass": ("owner, Resizing(indices, owner, 3, 4000)", "{}", LOG_4000),
    "target takes an axis from x": ("x, Resizing(indices, x, 12)", "{'axis': 1}", AXES),
    "weight resizes x": ("x, target", "{'weight': Resizing(weight, x, 3, 4000)}", WEIGHT_4),
    "weight resizes target": ("x, target", "{'weight': Resizing(weight, target, 300)}", TARGET_300),
    "axis resizes x": ("x, target, Resizing(1, x, 3, 4000)", "{}", LOG_4000),
    "axis takes an axis from x": ("x, target, Resizing(1, x, 12)", "{}", AXES),
    "smoothing resizes x": ("x, target", "{'label_smoothing': Resizing(0.0, x, 3, 4000)}", LOG_4000),
    "smoothing resizes weight": (
        "x, target",
        "{'weight': weight, 'label_smoothing': Resizing(0.0, weight, 1)}",
        WEIGHT_1,
    ),
    "ignore_index resizes target": ("x, target", "{'ignore_index': Resizing(9, target, 300)}", TARGET_300),
    "num_threads resizes x": ("x, target", "{'num_threads': Resizing(1, x, 3, 4000)}", LOG_4000),
    "reduction resizes x": ("x, target", "{'reduction': Reduction('mean')}", LOG_4000),
    "out with code of its own": ("x, target", "{'out': np.zeros((3, 4)).view(Telling)}", LOG_4),
    "inputs with code of their own": (
        "x.view(Telling), target.view(Telling)",
        "{'weight': weight.view(Telling)}",
        LOG_4,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_after_all_arguments_are_converted(name):
    """In a process of its own: a call that believes in old shapes writes beyond its arrays."""
    arguments, options, expected = CASES[name]
    command = [sys.executable, "-c", PROGRAM, arguments, options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)
