"""The C interface for functions that numba compiles: callable under ``@njit``, with the GIL or without, on arrays.

Each function of `softmax_cy.ctypes_functions` but those for states of parts of slices is here under its name
(``softmax_f32``, ``cross_entropy_and_grad_f64``, ...), with the arrays of its typed-memoryview form as arguments: two
axes, rows first, one for what is a number a row, three for a Jacobian. They return a status, `softmax_cy.capi.Status`;
anything but 0: nothing was written. A read-only array to write to is an error of the compiler,
``numba.errors.TypingError``; arrays that are constants of a compiled function are read-only, too.

>>> import numpy as np
>>> from numba import njit
>>> from softmax_cy.numba import softmax_f64
>>> @njit(nogil=True)
... def halves(x):
...     return softmax_f64(x, x, 1.0)
>>> x = np.zeros((1, 2))
>>> halves(x)
0
>>> x
array([[0.5, 0.5]])
"""

from __future__ import annotations

import linecache
from typing import Any

from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import overload

from softmax_cy._embedding import ctypes_functions
from softmax_cy._operations import BY_NAME, Operation
from softmax_cy.capi import Status

__all__ = sorted(name for name in ctypes_functions if name.rpartition("_")[0] in BY_NAME)

BAD_STRIDE = int(Status.BAD_STRIDE)
SHAPE_MISMATCH = int(Status.SHAPE_MISMATCH)


@njit(inline="always")
def step(array: Any, axis: int) -> Any:
    """The stride of an axis in elements."""
    return array.strides[axis] // array.itemsize


@njit(inline="always")
def has_steps(array: Any) -> Any:
    """Whether all strides are whole elements."""
    whole = True
    for stride in array.strides:
        whole &= stride % array.itemsize == 0
    return whole


def must_be_writable(output: Any) -> None:
    """Refuse to compile what would write where numba itself would not: a pointer does not know."""


@overload(must_be_writable)
def compiled_must_be_writable(output: Any) -> Any:
    """What the compiler makes of it. Its message shows the line, with the name of the argument."""
    if isinstance(output, types.Array) and not output.mutable:
        raise TypingError(f"an output is read-only, expected an array to write to: {output}")

    def nothing(output: Any) -> Any:
        pass

    return nothing


# Programs may name the arguments of a callable. These are not called what they are in the list; the names are kept.
INPUTS = {"grad": "v", "tangent": "v", "log_y": "y"}
OUTPUTS = {"loss": "losses"}


def write_source(operation: Operation, name: str) -> str:
    """Write a function that checks its arrays and calls `function`, which takes pointers and strides."""
    inputs = {INPUTS.get(array.name, array.name): array.ndim for array in operation.inputs}
    outputs = {OUTPUTS.get(array.name, array.name): array.ndim for array in operation.outputs}
    arrays = inputs | outputs
    first, *others = arrays
    shapes = {1: "(rows,)", 2: "(rows, length)", 3: "(rows, length, length)"}
    arguments = ["rows", "length"]
    for array, ndim in arrays.items():
        arguments += [f"{array}.ctypes", *(f"step({array}, {axis})" for axis in range(ndim))]
    lines = [
        f"def {name}({', '.join(arrays)}, {operation.factor}):",
        *(f"    must_be_writable({array})" for array in outputs),
        f"    rows, length = {first}.shape",
        f"    if {' or '.join(f'{array}.shape != {shapes[arrays[array]]}' for array in others)}:",
        "        return SHAPE_MISMATCH",
        f"    if not ({' and '.join(f'has_steps({array})' for array in arrays)}):",
        "        return BAD_STRIDE",
        f"    return function({', '.join(arguments)}, {operation.factor})",
    ]
    return "\n".join(lines) + "\n"


def make_caller(name: str) -> Any:
    """Make what numba can call in place of the function of this name."""
    if name not in __all__:
        raise ValueError(f"no function of the C interface is named {name!r}, expected one of {', '.join(__all__)}")
    source = write_source(BY_NAME[name.rpartition("_")[0]], name)
    # The compiler's messages quote the line, and look for it here.
    file = f"<softmax_cy.numba.{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = {**globals(), "function": ctypes_functions[name].as_ctypes()}
    exec(compile(source, file, "exec"), names)
    return njit(nogil=True)(names[name])


globals().update({name: make_caller(name) for name in __all__})
