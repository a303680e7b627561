"""Write the C interface, src/softmax_cy/capi.pyx and capi.pxd, from the list of operations: python tools/write_capi.py.

setup.py does it before each build. The text comes from the templates beside the two files, capi.pyx.tp and capi.pxd.tp,
and the functions come from src/softmax_cy/_operations.py. Those for states of parts of slices stand in the templates as
they are. A file whose text stays the same is not touched, so nothing is compiled again for it.

The header include/softmax_cy.h is written by hand, because it is documentation. Where it lacks a function of the list,
nothing is written, and a message says what to add.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from write_sources import PACKAGE, expand_template, load_table, write_if_changed

OUTPUTS = ("capi.pyx", "capi.pxd")
HEADER = PACKAGE / "include/softmax_cy.h"

# What names end in: the type in C, and the kernels.
DTYPES = {"f32": ("float", "float32_kernels"), "f64": ("double", "float64_kernels")}
# The function of calls.pxi that calls a kernel of this type.
CALLS = {
    "SlicesKernel": "call_slices_kernel",
    "JacobianKernel": "call_jacobian_kernel",
    "CrossEntropyKernel": "call_cross_entropy_kernel",
}
# By the number of axes: how an operand is made of a pointer, which sizes it has, and which strides.
OPERANDS = {
    1: ("make_column", "rows", ["stride"]),
    2: ("make_matrix", "rows, length", ["row_stride", "stride"]),
    3: ("make_matrices", "rows, length", ["matrix_stride", "row_stride", "stride"]),
}


@dataclass(frozen=True)
class Parameter:
    """An array that a function takes: a pointer with its strides, or a memoryview."""

    name: str
    ndim: int
    c_type: str
    mark: str  # IN, or OUT and what the array may be

    @property
    def const(self) -> str:
        """What comes before the type."""
        return "const " if self.mark == "IN" else ""

    @property
    def strides(self) -> list[str]:
        """The names of the strides, outermost first."""
        if self.ndim == 1 and self.name == "out":
            return ["out_row_stride"]  # the name that logsumexp has promised
        return [f"{self.name}_{stride}" for stride in OPERANDS[self.ndim][2]]

    def declare_pointer(self, integer: str = "Py_ssize_t") -> str:
        """Declare the pointer and its strides."""
        return ", ".join([f"{self.const}{self.c_type} *{self.name}", *(f"{integer} {name}" for name in self.strides)])

    def declare_view(self) -> str:
        """Declare the memoryview."""
        return f"{self.const}{self.c_type}[{', '.join(':' * self.ndim)}] {self.name}"

    def make_from_pointer(self) -> str:
        """Make an operand of the pointer."""
        function, sizes, _ = OPERANDS[self.ndim]
        return f"{function}({self.name}, {sizes}, {', '.join(self.strides)}, sizeof({self.c_type}))"

    def make_from_view(self) -> str:
        """Make an operand of the memoryview."""
        first = f"&{self.name}[{', '.join('0' * self.ndim)}]"
        return f"make_view({first}, {self.ndim}, {self.name}.shape, {self.name}.strides)"


@dataclass(frozen=True)
class Function:
    """An operation in one dtype: a function with pointers, and one with memoryviews."""

    operation: Any
    kernel: Any
    dtype: str

    @property
    def name(self) -> str:
        """The one with pointers."""
        return f"{self.operation.name}_{self.dtype}"

    @property
    def view_name(self) -> str:
        """The one with memoryviews."""
        return f"{self.operation.name}_view_{self.dtype}"

    @property
    def c_type(self) -> str:
        """The type of its numbers in C."""
        return DTYPES[self.dtype][0]

    @property
    def table(self) -> str:
        """The table of the kernels for this dtype."""
        return DTYPES[self.dtype][1]

    @property
    def call(self) -> str:
        """The function that calls the kernel."""
        return CALLS[self.kernel.kind]

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The arrays in their order."""
        operation = self.operation
        marks = ["IN"] * len(operation.inputs) + ["OUT"] * len(operation.outputs)
        if operation.in_place:
            last = operation.outputs[-1]
            marks[-1] += f", may be {' or '.join(array.name for array in operation.inputs if array.ndim == last.ndim)}"
        return [
            Parameter(array.name, array.ndim, "int64_t" if array.holds == "target" else self.c_type, mark)
            for array, mark in zip([*operation.inputs, *operation.outputs], marks, strict=True)
        ]

    def operands(self, make: Any) -> list[str]:
        """The arguments between the kernel and the factor; a kernel of slices has a second input, or none."""
        operands = [make(parameter) for parameter in self.parameters]
        if self.kernel.kind == "SlicesKernel" and len(self.operation.inputs) == 1:
            operands.insert(1, "make_none()")
        return operands

    @property
    def operands_from_pointers(self) -> list[str]:
        """Those of the function with pointers."""
        return self.operands(Parameter.make_from_pointer)

    @property
    def operands_from_views(self) -> list[str]:
        """Those of the function with memoryviews."""
        return self.operands(Parameter.make_from_view)

    def declare_member(self) -> str:
        """Declare the member of softmax_cy_table, as the header does."""
        arrays = "".join(f"        {parameter.declare_pointer('ptrdiff_t')},\n" for parameter in self.parameters)
        return (
            f"    int (*{self.name})(\n        ptrdiff_t rows, ptrdiff_t length,\n{arrays}"
            f"        double {self.operation.factor});\n"
        )


def list_functions(operations: Any) -> list[Function]:
    """List the functions of the C interface in the order of the list of operations."""
    kernels = {kernel.name: kernel for kernel in operations.KERNELS}
    return [
        Function(operation, kernels[operation.kernel], dtype)
        for operation in operations.OPERATIONS
        if operation.in_c
        for dtype in DTYPES
    ]


def find_missing_members(functions: Iterable[Function], header: str) -> str:
    """Say what the table of the header lacks; an empty text: nothing."""
    members = set(re.findall(r"int \(\*(\w+)\)\(", header))
    missing = [function.declare_member() for function in functions if function.name not in members]
    if not missing:
        return ""
    return (
        f"softmax_cy_table in {HEADER.relative_to(PACKAGE.parents[1])} lacks functions of the list of operations. Add "
        f"at its end, each with a comment that says what it computes:\n\n{''.join(missing)}"
    )


def expand(name: str, functions: Iterable[Function]) -> str:
    """Expand the template of a file."""
    types = [(suffix, *type_and_table) for suffix, type_and_table in DTYPES.items()]
    return expand_template(PACKAGE / name, functions=list(functions), types=types)


def write() -> None:
    """Write what has changed."""
    functions = list_functions(load_table("_operations"))
    if missing := find_missing_members(functions, HEADER.read_text("utf-8")):
        sys.exit(missing)
    for name in OUTPUTS:
        write_if_changed(PACKAGE / name, expand(name, functions))


if __name__ == "__main__":
    write()
