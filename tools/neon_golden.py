"""Whether the kernels of aarch64 give the golden bits, on another machine: cross-compiled, and run by an emulator.

    python tools/neon_golden.py

Needs Debian's packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user. The kernels are those of aarch64's
variants with FMA; the face, which does no arithmetic, is left out (tools/bits_server.pxi). The headers of this Python
serve for both machines: nothing of Python is linked. `make test-aarch64` runs the whole package, for which it needs a
Python for aarch64.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np

import golden
from kernel_builds import KERNELS, ROOT, kernel_extensions, to_c
from write_kernel_modules import variant_table
from write_sources import load_table

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FOLDER = ROOT / "build/neon"
LIST = load_table("_operations")
NAMES = tuple(kernel.name for kernel in LIST.KERNELS)  # a kernel's number is its place
# How bits_server.pxi calls what finds a kernel of this type.
FINDERS = {
    "SlicesKernel": "find_slices_kernel",
    "JacobianKernel": "find_jacobian_kernel",
    "CrossEntropyKernel": "find_cross_entropy_kernel",
}


def write_finder(kind: str) -> str:
    """Write the function in Cython that returns a kernel of this type, or NULL for the number of another."""
    lines = [f"cdef {kind} {FINDERS[kind]}(int64_t number) noexcept nogil:"]
    for number, kernel in enumerate(LIST.KERNELS):
        if kernel.kind == kind:
            lines += [f"    if number == {number}:", f"        return {kernel.function}"]
    return "\n".join([*lines, "    return NULL"])


def build(dtype: str, variant: str) -> Path:
    """Build the program for one dtype and variant, of which only what `main` reaches is linked."""
    name = f"f{np.dtype(dtype).itemsize * 8}_{variant}"
    kernels = kernel_extensions(COMPILER)[name]
    kinds = f"from softmax_cy.kernels.table cimport {', '.join(FINDERS)}"
    parts = ['include "kernels.pxi"', kinds, *map(write_finder, FINDERS), 'include "bits_server.pxi"']
    source = to_c("\n\n\n".join(parts) + "\n", FOLDER / f"server_{name}.pyx")
    macros = [f"-D{macro}={value}" for macro, value in kernels.define_macros]
    folders = [f"-I{folder}" for folder in (KERNELS, sysconfig.get_path("include"))]
    sections = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-static"]
    program = source.with_suffix("")
    command = [
        COMPILER,
        *kernels.extra_compile_args,
        *macros,
        *folders,
        *sections,
        str(source),
        "-o",
        str(program),
        "-lm",
    ]
    subprocess.run(command, check=True)
    return program


class Emulated:
    """What golden.digests asks of softmax_cy, from the program."""

    def __init__(self, program: Path, dtype: str, columns: bool) -> None:
        self.dtype, self.columns = np.dtype(dtype), columns
        self.process = subprocess.Popen([EMULATOR, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __getattr__(self, name: str) -> object:
        if name not in LIST.BY_NAME:
            raise AttributeError(name)
        return lambda *arrays, scale=1.0, **_: self.ask(LIST.BY_NAME[name], arrays, scale)

    def softmax_and_jacobian(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two kernels: the matrices follow from the results of the first and from the logits."""
        y = self.softmax(x)
        return y, self.ask(LIST.BY_NAME["softmax_jacobian"], (y, x), 1.0)

    def cross_entropy(self, *arrays: np.ndarray, **options: str) -> np.ndarray:
        """The program computes the gradient, too."""
        return self.cross_entropy_and_grad(*arrays, **options)[0]

    def ask(self, operation: NamedTuple, arrays: tuple[np.ndarray, ...], scale: float) -> object:
        """One request."""
        x = arrays[0]
        columns = self.columns and operation.family != "jacobian"
        number, one_result = NAMES.index(operation.kernel), operation.outputs[0].ndim == 1
        header = struct.pack("<qqqqqqd", number, len(arrays), one_result, *x.shape, columns, scale)
        self.process.stdin.write(header + b"".join(self.sent(array, columns) for array in arrays))
        self.process.stdin.flush()
        results = [self.received((*x.shape, x.shape[1])[: array.ndim], columns) for array in operation.outputs]
        return results[0] if len(results) == 1 else tuple(results)

    def sent(self, array: np.ndarray, columns: bool) -> bytes:
        """Rows, or columns."""
        return (array.T if columns and array.ndim == 2 else array).tobytes()

    def received(self, shape: tuple[int, ...], columns: bool) -> np.ndarray:
        """A result, as rows."""
        columns = columns and len(shape) == 2
        shape = shape[::-1] if columns else shape
        memory = self.process.stdout.read(int(np.prod(shape)) * self.dtype.itemsize)
        array = np.frombuffer(memory, self.dtype).reshape(shape)
        return array.T if columns else array

    def close(self) -> None:
        """End the program."""
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit(f"the program ended with {self.process.returncode}")


def main() -> int:
    """Return the exit code."""
    for program in (COMPILER, EMULATOR):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user")
    different = 0
    for variant in [name for name, row in variant_table.of_architecture("aarch64").items() if row.has_fma]:
        for dtype in golden.DTYPES:
            program = build(dtype, variant)
            for columns in (False, True):
                library = Emulated(program, dtype, columns)
                wrong = golden.differences(golden.digests(library, dtype), golden.recorded()[dtype])
                library.close()
                walk = "columns" if columns else "rows"
                print(f"aarch64, {variant}, {dtype}, {walk}: {len(wrong)} digests differ")
                for where in wrong[:20]:
                    print(f"  {', '.join(where)}")
                different += len(wrong)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
