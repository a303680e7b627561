"""torch's own samples of inputs: those that torch tests its operators and modules with.

They lie in modules of torch that import expecttest, which torch does not install. torch only derives its own test cases
from a class of it, so an empty module in its place is enough. The import takes some seconds; so each function does it.
"""

import sys
import unittest
from functools import cache
from types import ModuleType

import torch


@cache
def load():
    """Import op_db and module_db: what torch knows of each operator, and of each module."""
    stand_in = ModuleType("expecttest")
    stand_in.TestCase = unittest.TestCase
    missing = "expecttest" not in sys.modules
    if missing:
        sys.modules["expecttest"] = stand_in
    try:
        from torch.testing._internal.common_methods_invocations import op_db
        from torch.testing._internal.common_modules import module_db
    finally:
        if missing:
            del sys.modules["expecttest"]
    return op_db, module_db


def find_operator(name):
    """What torch knows of an operator. A variant follows the name after a space."""
    (found,) = (operator for operator in load()[0] if f"{operator.name} {operator.variant_test_name}".rstrip() == name)
    return found


def find_module(cls):
    """What torch knows of a module."""
    (found,) = (module for module in load()[1] if module.module_cls is cls)
    return found


def samples_of_operator(name, dtype, requires_grad=False):
    """The inputs that torch tests an operator with, the same ones in every run."""
    operator = find_operator(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield from list(operator.reference_inputs("cpu", dtype, requires_grad=requires_grad))


def samples_of_module(cls, dtype, requires_grad=False):
    """The inputs that torch tests a module with: arguments to make it, and arguments to call it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return find_module(cls).module_inputs_func(None, "cpu", dtype, requires_grad, training=True)


def errors_of_module(cls):
    """The arguments that a module must refuse, and the error that torch raises."""
    return find_module(cls).module_error_inputs_func(None, "cpu", torch.float32, False, training=True)
