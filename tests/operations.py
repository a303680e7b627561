"""The public functions in families, and how each of them is called: made of the list of operations.

A family is a tuple of functions. `each` makes it a parameter of a test, with the names of the functions as ids:

    @each(PRODUCTS)
    def test_something(function): ...

A new row in the list of operations puts its function into the families, and so into every test of them.
"""

import numpy as np
import pytest

import softmax_cy
from softmax_cy._operations import BY_NAME, OPERATIONS


def functions(wanted):
    """The public functions of the operations for which `wanted` holds."""
    return tuple(getattr(softmax_cy, operation.name) for operation in OPERATIONS if wanted(operation))


FUNCTIONS = functions(lambda operation: True)
FORWARD = functions(lambda operation: operation.family == "forward")
PRODUCTS = functions(lambda operation: operation.family == "product")
LOSSES = functions(lambda operation: operation.family == "loss")
MATRICES = functions(lambda operation: operation.family == "jacobian")  # from outputs or from logits
JACOBIANS = functions(lambda operation: operation.family == "jacobian" and operation.inputs[0].holds != "logits")
ANY_AXES = functions(lambda operation: operation.many_axes)
IN_PLACE = functions(lambda operation: operation.in_place)  # `out` may be an input
ELEMENTWISE = tuple(function for function in FORWARD if function in IN_PLACE)  # softmax and log_softmax


def taking(*options):
    """The functions that take all of these arguments."""
    common = {"axis", "out", "num_threads"}
    return functions(lambda operation: {*options} <= {*operation.options, *input_names(operation.name), *common})


def each(chosen, argument="function"):
    """A parameter of a test, of which the ids are the names of the functions."""
    return pytest.mark.parametrize(argument, chosen, ids=lambda function: function.__name__)


every_function = each(FUNCTIONS)


# ---- inputs ------------------------------------------------------------------------------------------------------


def input_names(name):
    """The arguments without a default, in order."""
    return [array.name for array in BY_NAME[name].inputs]


def forward_of(function):
    """Of softmax and log_softmax, the one that returns the outputs that a function takes."""
    return getattr(softmax_cy, BY_NAME[function.__name__].inputs[-1].holds)


def takes_logarithms(function):
    """Whether the outputs that a function takes are log_y."""
    return any(array.holds == "log_softmax" for array in BY_NAME[function.__name__].inputs)


def inputs_for(function, x, axis=-1, *, vector=None, target=None):
    """The inputs of a call, from logits along an axis. A vector is the logits, unless another is given."""
    shape = np.shape(x) or (1,)
    makers = {
        "logits": lambda: x,
        "vector": lambda: x if vector is None else vector,
        "target": lambda: np.full(np.delete(shape, axis), shape[axis] - 1) if target is None else target,
    }
    kinds = [array.holds for array in BY_NAME[function.__name__].inputs]
    # Any other kind is what the function of that name returns.
    return [makers[kind]() if kind in makers else getattr(softmax_cy, kind)(x, axis) for kind in kinds]


# ---- results and `out` -------------------------------------------------------------------------------------------


def parts(result):
    """The results of a call as a tuple, however many there are."""
    return result if isinstance(result, tuple) else (result,)


def takes_pair(function):
    """Whether `out` is a tuple of two arrays. One array is for the last result."""
    return function is softmax_cy.softmax_and_jacobian


def written(function, result):
    """Those of the results of a call that `out` may be given for."""
    return parts(result) if takes_pair(function) else parts(result)[-1:]


def as_out(function, *arrays):
    """What is given as `out` for results to go to these arrays: the first of two, or both, or the only one."""
    return (*arrays, None)[:2] if takes_pair(function) else arrays[0]


def bits(result):
    """The bytes of a result, so that NaN equals NaN and 0 differs from -0; of two results, those of each."""
    return tuple(map(bits, result)) if isinstance(result, tuple) else np.ascontiguousarray(result).tobytes()


# ---- the arguments that most tests of calls are made with --------------------------------------------------------

SHAPE = (3, 4)


def usual_arguments(name, dtype=np.float64, shape=SHAPE):
    """The inputs of a function by name, from the same random numbers for all functions."""
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((2, *shape)).astype(dtype)
    y = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    choices = {
        "logits": x,
        "vector": v,
        "softmax": y.astype(dtype),
        "log_softmax": np.log(y).astype(dtype),
        "target": rng.integers(shape[-1] if shape else 1, size=shape[:-1]),
    }
    inputs = BY_NAME[name].inputs
    return {
        array.name: choices[array.holds] if array.holds in choices else getattr(softmax_cy, array.holds)(x)
        for array in inputs
    }
