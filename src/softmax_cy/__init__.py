"""softmax_cy: softmax and its Jacobian on NumPy arrays, as typed Cython loops.

>>> import numpy as np
>>> import softmax_cy
>>> y = softmax_cy.softmax(np.array([0.0, 0.0]))
>>> softmax_cy.softmax_jacobian(y)
array([[ 0.25, -0.25],
       [-0.25,  0.25]])
"""

from softmax_cy import (
    _dispatch,  # noqa: F401  # first: it says where this CPU lacks something
    _forward,
    _jacobian,
    _loss,
    _operations,
    _products,
    _threadpoolctl,  # noqa: F401  # for what it does
)
from softmax_cy._dispatch import show_config
from softmax_cy._embedding import ctypes_functions, get_include
from softmax_cy._state import SoftmaxState, merge_states, softmax_state
from softmax_cy._threads import get_num_threads, set_num_threads
from softmax_cy._version import __version__

__all__ = [
    "SoftmaxState",
    "__version__",
    "ctypes_functions",
    "get_include",
    "get_num_threads",
    "merge_states",
    "set_num_threads",
    "show_config",
    "softmax_state",
]

# The functions of the list, which type checkers and editors find in __init__.pyi.
_FAMILIES = {"forward": _forward, "product": _products, "jacobian": _jacobian, "loss": _loss}
globals().update({row.name: getattr(_FAMILIES[row.family], row.name) for row in _operations.OPERATIONS})
__all__ += _operations.names()
__all__.sort()
