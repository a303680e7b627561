"""Build other things than the library from the source of its kernels, with the very flags that setup.py gives them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from Cython.Compiler.Main import CompilationOptions
from Cython.Compiler.Main import compile as compile_cython
from setuptools import Extension

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src/softmax_cy/kernels"
OPTIONS = CompilationOptions(
    include_path=[str(ROOT / "src"), str(KERNELS), str(ROOT / "tools")],
    compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
)


def kernel_extensions(compiler: str = "") -> dict[str, Extension]:
    """Those of setup.py by names such as f32_v3, with all that their flags depend on: for the target of a compiler."""
    from distutils.core import run_setup

    os.environ["SOFTMAX_CY_BUILD_TEST_VARIANTS"] = "1"
    if compiler:
        os.environ["CC"] = compiler
    os.chdir(ROOT)
    modules = run_setup("setup.py", script_args=["--quiet"], stop_after="init").ext_modules
    return {module.name.rpartition("._")[2]: module for module in modules if ".kernels." in module.name}


def to_c(text: str, source: Path) -> Path:
    """Write a Cython source, which may include those of the kernels, and the C of it beside it."""
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    if compile_cython([str(source)], OPTIONS).num_errors:
        sys.exit(f"{source} does not compile")
    return source.with_suffix(".c")
