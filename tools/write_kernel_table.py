"""Write what the kernels know of the list of operations: python tools/write_kernel_table.py.

setup.py does it before each build. From src/softmax_cy/_operations.py come the members of the table of kernels, in
kernels/table.pxd, and the files that a kernel module includes, in kernels/operations.pxi. A file whose text stays the
same is not touched, so nothing is compiled again for it.
"""

from __future__ import annotations

from write_sources import PACKAGE, expand_template, load_table, write_if_changed

OUTPUTS = ("table.pxd", "operations.pxi")


def write() -> None:
    """Write what has changed."""
    kernels = load_table("_operations").KERNELS
    files = list(dict.fromkeys(kernel.file for kernel in kernels))
    for name in OUTPUTS:
        path = PACKAGE / "kernels" / name
        write_if_changed(path, expand_template(path, kernels=kernels, files=files))


if __name__ == "__main__":
    write()
