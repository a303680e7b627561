"""Write what the kernels know of the list of operations: python tools/write_kernel_table.py.

setup.py does it before each build. From src/softmax_cy/_operations.py come the members of the table of kernels, in
kernels/table.pxd, and the files that a kernel module includes, in kernels/operations.pxi. A file whose text stays the
same is not touched, so nothing is compiled again for it.
"""

from __future__ import annotations

from pathlib import Path

from Cython import Tempita

from write_shims import load_table

KERNELS = Path(__file__).parents[1] / "src/softmax_cy/kernels"
OUTPUTS = ("table.pxd", "operations.pxi")


def expand(name: str) -> str:
    """Expand the template of a file."""
    kernels = load_table("_operations").KERNELS
    template = Tempita.Template((KERNELS / f"{name}.tp").read_text("utf-8"), name=f"{name}.tp")
    return template.substitute(kernels=kernels, files=list(dict.fromkeys(kernel.file for kernel in kernels)))


def write() -> None:
    """Write what has changed."""
    for name in OUTPUTS:
        path, text = KERNELS / name, expand(name)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
