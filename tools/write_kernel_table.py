"""Write the table of kernels and what is around it from the list of operations: python tools/write_kernel_table.py.

setup.py does it before each build. From src/softmax_cy/_operations.py come the members of the table, in
kernels/table.pxd, the files that a kernel module includes and what it fills the table with, in kernels/operations.pxi,
and the functions by which the face finds the kernels of an operation, in _finders.pxd. A file whose text stays the same
is not touched, so nothing is compiled again for it.
"""

from __future__ import annotations

from write_sources import PACKAGE, expand_template, load_table, write_if_changed

OUTPUTS = ("kernels/table.pxd", "kernels/operations.pxi", "_finders.pxd")


def write() -> None:
    """Write what has changed."""
    operations = load_table("_operations")
    kernels = {kernel.name: kernel for kernel in operations.KERNELS}
    files = list(dict.fromkeys(kernel.file for kernel in kernels.values()))
    kernels_of = [(operation, kernels[operation.kernel]) for operation in operations.OPERATIONS]
    for name in OUTPUTS:
        path = PACKAGE / name
        text = expand_template(path, kernels=operations.KERNELS, files=files, kernels_of=kernels_of)
        write_if_changed(path, text)


if __name__ == "__main__":
    write()
