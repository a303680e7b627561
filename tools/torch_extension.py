"""The extension of softmax_cy.torch in C++, which the build leaves out unless SOFTMAX_CY_BUILD_TORCH=1 asks for it.

    python tools/torch_extension.py [FOLDER]

builds nothing but it, into a folder, or else into the installed softmax_cy.torch.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

PACKAGE = Path(__file__).parents[1] / "src/softmax_cy"
NAME = "softmax_cy.torch._native"

# A product and a sum that are made one round once: the losses would have other bits than those of the functions on
# arrays.
FLAGS = ["-O3", "-g0", "-std=c++20", "-ffp-contract=off", "-fvisibility=hidden"]


def make_extension() -> Extension:
    """Describe the extension, for the torch that is installed."""
    try:
        import torch
        from torch.utils import cpp_extension
    except ImportError:
        sys.exit(
            "softmax_cy.torch._native is built with the headers of torch, and there is no torch where the build runs: "
            "install torch, Cython, NumPy and setuptools, and build with `pip install --no-build-isolation`"
        )
    return Extension(
        NAME,
        [os.path.relpath(PACKAGE / "torch/_native.cpp")],
        depends=[str(PACKAGE / "include/softmax_cy.h")],
        include_dirs=[str(PACKAGE / "include"), *cpp_extension.include_paths()],
        define_macros=[("_GLIBCXX_USE_CXX11_ABI", str(int(torch.compiled_with_cxx11_abi())))],
        library_dirs=cpp_extension.library_paths(),
        # Whoever imports the extension has imported torch, so nothing has to find these later.
        libraries=["c10", "torch_cpu", "torch_python"],
        extra_compile_args=FLAGS,
        language="c++",
    )


def extensions() -> list[Extension]:
    """Return what the environment asks for."""
    return [make_extension()] if os.environ.get("SOFTMAX_CY_BUILD_TORCH") == "1" else []


def find_installed() -> Path:
    """Return the folder of the installed softmax_cy.torch."""
    spec = importlib.util.find_spec("softmax_cy")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("no softmax_cy is installed: name a folder")
    return Path(spec.submodule_search_locations[0], "torch")


def build(folder: Path) -> Path:
    """Build the extension into a folder, and return its file."""
    extension = make_extension()
    extension.name = NAME.rpartition(".")[2]
    command = build_ext(Distribution({"ext_modules": [extension]}))
    with tempfile.TemporaryDirectory() as temporary:
        command.build_lib, command.build_temp = str(folder), temporary
        command.ensure_finalized()
        command.run()
    return Path(command.get_ext_fullpath(extension.name))


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else find_installed()))
