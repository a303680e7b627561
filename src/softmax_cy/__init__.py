"""softmax_cy: softmax and its Jacobian on NumPy arrays, as typed Cython loops.

>>> import numpy as np
>>> import softmax_cy
>>> y = softmax_cy.softmax(np.array([0.0, 0.0]))
>>> softmax_cy.softmax_jacobian(y)
array([[ 0.25, -0.25],
       [-0.25,  0.25]])
"""

from softmax_cy import _threadpoolctl  # noqa: F401  # for what it does
from softmax_cy._dispatch import show_config
from softmax_cy._embedding import ctypes_functions, get_include
from softmax_cy._forward import log_softmax, logsumexp, softmax
from softmax_cy._jacobian import log_softmax_jacobian, softmax_and_jacobian, softmax_jacobian
from softmax_cy._loss import cross_entropy, cross_entropy_and_grad
from softmax_cy._products import log_softmax_jvp, log_softmax_vjp, softmax_jvp, softmax_vjp
from softmax_cy._threads import get_num_threads, set_num_threads
from softmax_cy._version import __version__

__all__ = [
    "__version__",
    "cross_entropy",
    "cross_entropy_and_grad",
    "ctypes_functions",
    "get_include",
    "get_num_threads",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_and_jacobian",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]
