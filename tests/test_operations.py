"""The list of operations says what the public functions really take, and names all of them."""

import inspect

import numpy as np
import pytest

import softmax_cy
from softmax_cy import capi
from softmax_cy._operations import BY_NAME, KERNELS, OPERATIONS, names

# Public functions that compute nothing.
OTHERS = {"get_include", "get_num_threads", "set_num_threads", "show_config"}

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def test_every_public_function_is_in_the_list():
    public = {name for name in softmax_cy.__all__ if callable(getattr(softmax_cy, name))}
    missing = public - OTHERS - set(BY_NAME)
    assert not missing, f"add a row for {', '.join(sorted(missing))} to OPERATIONS in src/softmax_cy/_operations.py"
    unknown = set(BY_NAME) - public
    assert not unknown, f"add {', '.join(sorted(unknown))} to src/softmax_cy/__init__.py"


@every_operation
def test_the_signature_is_that_of_the_list(operation):
    parameters = inspect.signature(getattr(softmax_cy, operation.name)).parameters
    positional = [name for name, parameter in parameters.items() if parameter.kind == parameter.POSITIONAL_OR_KEYWORD]
    keywords = [name for name, parameter in parameters.items() if parameter.kind == parameter.KEYWORD_ONLY]
    assert positional == [*(array.name for array in operation.inputs), "axis"]
    assert sorted(keywords) == sorted([*operation.options, "out", "num_threads"])


@every_operation
def test_axes_are_those_of_the_list(operation):
    inputs = [np.zeros((2, 2)) if array.ndim == 2 else np.zeros(2, int) for array in operation.inputs]
    function = getattr(softmax_cy, operation.name)
    if operation.many_axes:
        function(*inputs, axis=(0, 1))
    else:
        with pytest.raises(TypeError, match="axis"):
            function(*inputs, axis=(0, 1))


def test_every_kernel_belongs_to_an_operation():
    assert {operation.kernel for operation in OPERATIONS} == {kernel.name for kernel in KERNELS}


def test_the_c_interface_has_what_the_list_says():
    wanted = {
        f"{o.name}{view}_{dtype}" for o in OPERATIONS if o.in_c for view in ("", "_view") for dtype in ("f32", "f64")
    }
    assert set(capi.__pyx_capi__) == wanted


def test_names_of_a_family():
    assert names("product") == ("softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp")
    assert names() == tuple(BY_NAME)
