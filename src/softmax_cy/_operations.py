"""The list of operations: what each one takes, what it returns, and which kernel computes it.

Everything mechanical is made of this list: by the build the functions of the C interface, the table of kernels and what
finds them there, at run time the public names and the signatures for ctypes and numba, and the parametrisation of the
tests, the fuzzer and the benchmarks.
CONTRIBUTING.md says what a new operation needs besides its row here.

This module imports nothing of the package: the build reads it before there is a package to import.
"""

from __future__ import annotations

from typing import NamedTuple


class Array(NamedTuple):
    """An array that an operation reads or writes."""

    name: str  # of the parameter
    holds: str  # logits, vector, softmax, log_softmax or target; a result: the same, loss, grad, jacobian or logsumexp
    ndim: int = 2  # in the C interface: 1 is an element a row, 2 a row, 3 a square matrix a row


class Kernel(NamedTuple):
    """A member of the table of kernels."""

    name: str  # of the member
    kind: str  # the type of its function: SlicesKernel, JacobianKernel, CrossEntropyKernel, PartKernel or StateSize
    function: str
    file: str  # of kernels/operations/, without its ending
    block: str = ""  # elements of a block where threads share one slice, as an expression of the kernels; empty: never

    @property
    def next_pass(self) -> str:
        """The function that chooses the next pass over a shared slice."""
        return f"next_{self.name}_pass"


class Operation(NamedTuple):
    """A public function, and its two functions of the C interface."""

    name: str
    family: str  # forward, product, jacobian or loss: operations of a family are called alike
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    kernel: str  # the name of its kernel
    options: tuple[str, ...]  # keyword arguments of the Python function besides axis, out and num_threads
    many_axes: bool = False  # whether axis may be a tuple or None
    in_place: bool = False  # whether the last output may be an input of its shape
    factor: str = "scale"  # the number that ends the arguments of the C functions; empty: there are none

    @property
    def in_c(self) -> bool:
        """Whether the C interface has it."""
        return bool(self.factor)


FORWARD_OPTIONS = ("scale", "where", "dtype")
LOSS_OPTIONS = ("weight", "ignore_index", "label_smoothing", "reduction")

LOGITS = Array("x", "logits")
TARGET = Array("target", "target", ndim=1)
SOFTMAX = Array("y", "softmax")
LOG_SOFTMAX = Array("log_y", "log_softmax")
GRAD = Array("grad", "vector")
TANGENT = Array("tangent", "vector")

KERNELS = (
    Kernel("softmax", "SlicesKernel", "softmax_slices", "softmax", block="block_length()"),
    Kernel("log_softmax", "SlicesKernel", "log_softmax_slices", "logarithms", block="block_length()"),
    Kernel("logsumexp", "SlicesKernel", "logsumexp_slices", "logarithms", block="block_length()"),
    Kernel("softmax_product", "SlicesKernel", "softmax_product_slices", "products", block="TERMS"),
    Kernel("log_softmax_vjp", "SlicesKernel", "log_softmax_vjp_slices", "products", block="block_length() // 2"),
    Kernel("log_softmax_jvp", "SlicesKernel", "log_softmax_jvp_slices", "products", block="TERMS"),
    Kernel("jacobian", "JacobianKernel", "jacobian_rows", "jacobian"),
    Kernel("log_jacobian", "JacobianKernel", "log_jacobian_rows", "jacobian"),
    Kernel("cross_entropy", "CrossEntropyKernel", "cross_entropy_slices", "cross_entropy", block="block_length() // 2"),
    # States of parts of slices.
    Kernel("state_size", "StateSize", "measure_state", "parts"),
    Kernel("state", "PartKernel", "make_state", "parts"),
    Kernel("merged_state", "PartKernel", "merge_states", "parts"),
    Kernel("logsumexp_of_state", "PartKernel", "write_state_logsumexp", "parts"),
    Kernel("softmax_of_part", "PartKernel", "write_state_softmax", "parts"),
    Kernel("log_softmax_of_part", "PartKernel", "write_state_log_softmax", "parts"),
    Kernel("loss_of_part", "PartKernel", "write_state_loss", "parts"),
)


def forward(name: str, result: Array, *options: str, in_place: bool = True) -> Operation:
    """From logits, along any axes."""
    return Operation(name, "forward", (LOGITS,), (result,), name, (*FORWARD_OPTIONS, *options), True, in_place)


def product(name: str, vector: Array, y: Array, kernel: str) -> Operation:
    """A vector with a Jacobian that follows from y."""
    return Operation(name, "product", (vector, y), (Array("out", "vector"),), kernel, ("scale",), True, True)


OPERATIONS = (
    forward("softmax", Array("out", "softmax")),
    forward("log_softmax", Array("out", "log_softmax")),
    forward("logsumexp", Array("out", "logsumexp", ndim=1), "keepdims", in_place=False),
    # The Jacobian of softmax is symmetric: one kernel for both products.
    product("softmax_vjp", GRAD, SOFTMAX, "softmax_product"),
    product("softmax_jvp", TANGENT, SOFTMAX, "softmax_product"),
    product("log_softmax_vjp", GRAD, LOG_SOFTMAX, "log_softmax_vjp"),
    product("log_softmax_jvp", TANGENT, LOG_SOFTMAX, "log_softmax_jvp"),
    Operation("softmax_jacobian", "jacobian", (SOFTMAX,), (Array("out", "jacobian", ndim=3),), "jacobian", ("scale",)),
    Operation(
        "log_softmax_jacobian",
        "jacobian",
        (LOG_SOFTMAX,),
        (Array("out", "jacobian", ndim=3),),
        "log_jacobian",
        ("scale",),
    ),
    Operation(
        "softmax_and_jacobian",
        "jacobian",
        (LOGITS,),
        (Array("y", "softmax"), Array("jacobian", "jacobian", ndim=3)),
        "jacobian",
        FORWARD_OPTIONS,
        factor="",
    ),
    Operation(
        "cross_entropy",
        "loss",
        (LOGITS, TARGET),
        (Array("loss", "loss", ndim=1),),
        "cross_entropy",
        LOSS_OPTIONS,
        factor="",
    ),
    Operation(
        "cross_entropy_and_grad",
        "loss",
        (LOGITS, TARGET),
        (Array("loss", "loss", ndim=1), Array("grad", "grad")),
        "cross_entropy",
        LOSS_OPTIONS,
        in_place=True,
        factor="grad_scale",
    ),
)

BY_NAME = {operation.name: operation for operation in OPERATIONS}


def names(family: str = "") -> tuple[str, ...]:
    """The public functions of a family, or of all."""
    return tuple(operation.name for operation in OPERATIONS if family in ("", operation.family))
