"""Every function of the C interface: its arguments as arrays, and what the Python face says to the same."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import softmax_cy
from softmax_cy import _embedding, _operations, capi

DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


def loss_and_grad(x, target, scale):
    """Of each row. For a scale that is a power of two, or the kernels would round once where this rounds twice."""
    losses, grad = softmax_cy.cross_entropy_and_grad(x, target, reduction="none")
    return losses, (grad * x.dtype.type(scale)).astype(x.dtype)


@dataclass(frozen=True)
class Operation:
    """What a name stands for, whatever the dtype."""

    inputs: tuple[str, ...]  # what to make: logits, softmax, log_softmax, vector or target
    outputs: tuple[int, ...]  # axes
    expected: Callable  # of the inputs and the scale
    in_place: bool  # the last output may be each input of its shape


def scaled(function):
    """The face's function of one or two arrays."""
    return lambda *arrays_and_scale: function(*arrays_and_scale[:-1], scale=arrays_and_scale[-1])


OPERATIONS = {
    row.name: Operation(
        tuple(array.holds for array in row.inputs),
        tuple(array.ndim for array in row.outputs),
        loss_and_grad if row.family == "loss" else scaled(getattr(softmax_cy, row.name)),
        row.in_place,
    )
    for row in _operations.OPERATIONS
    if row.in_c
}

# The functions for states of parts of slices, which take one slice a call.
OF_STATES = {f"{name}_{suffix}" for name in _embedding.OF_STATES for suffix in DTYPES}


def split(name):
    """The operation and the dtype of a function: ``softmax_view_f32`` is softmax in float32."""
    operation, _, suffix = name.replace("_view", "").rpartition("_")
    return OPERATIONS[operation], DTYPES[suffix]


def make_inputs(name, rng, rows, length):
    """Arrays for a function, contiguous."""
    operation, dtype = split(name)
    logits = rng.normal(scale=5, size=(rows, length)).astype(dtype)
    make = {
        "logits": lambda: logits,
        "vector": lambda: rng.standard_normal((rows, length)).astype(dtype),
        "target": lambda: rng.integers(length, size=rows),
    }
    # Any other kind is what the function of that name returns.
    return [make[kind]() if kind in make else getattr(softmax_cy, kind)(logits) for kind in operation.inputs]


def make_outputs(name, rows, length, value=np.nan):
    """Arrays for the results, filled."""
    operation, dtype = split(name)
    return [np.full((rows, length, length)[:ndim], value, dtype) for ndim in operation.outputs]


def expected(name, inputs, scale):
    """The results by the Python face."""
    results = split(name)[0].expected(*inputs, scale)
    return list(results) if isinstance(results, tuple) else [results]


def argument_list(inputs, outputs, scale, function):
    """The arguments of a function with pointers: strides in elements."""
    rows, length = inputs[0].shape
    arguments = [rows, length]
    for array, kind in zip([*inputs, *outputs], pointer_kinds(function), strict=True):
        assert all(stride % array.itemsize == 0 for stride in array.strides)
        arguments.append(ctypes.cast(array.ctypes.data, kind))
        arguments += [stride // array.itemsize for stride in array.strides]
    return [*arguments, scale]


def pointer_kinds(function):
    """The types of those arguments that are pointers."""
    return [kind for kind in function.argtypes if hasattr(kind, "contents")]


def call(name, inputs, outputs, scale=1.0):
    """The status of a function with pointers, called by ctypes."""
    function = softmax_cy.ctypes_functions[name].as_ctypes()
    return capi.Status(function(*argument_list(inputs, outputs, scale, function)))
