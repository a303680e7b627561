"""Build the extension modules: the face once, the kernels once a variant and dtype.

The table of variants is src/softmax_cy/_variants.py. The compiler's target decides which of them are built, so that a
cross-compiler in CC builds for another architecture.

Environment variables:

SOFTMAX_CY_BUILD_DEBUG=1            bounds checks on, no optimisation, debug symbols
SOFTMAX_CY_BUILD_TEST_VARIANTS=1    build the variants that only tests use, too
SOFTMAX_CY_BUILD_TORCH=1            build the extension of softmax_cy.torch in C++, too: docs/torch.md
SOFTMAX_CY_BUILD_ONLY="v3 v4"       build these variants and no others: to try a change of the kernels
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import torch_extension
import write_capi
import write_kernel_table
from write_shims import DTYPES, shim_path, variant_table, write_shims

DEBUG = os.environ.get("SOFTMAX_CY_BUILD_DEBUG") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": True,
}

# What is built to be shipped. Whoever sets CFLAGS, for a sanitizer or a profiler, wants to look into it.
STRIPPED = sys.platform == "linux" and not DEBUG and not os.environ.get("CFLAGS")

FLAGS = ["-O0", "-g"] if DEBUG else ["-O3", "-g0"]
# No exception passes through C, and without the tables for one a wheel is a fiftieth smaller.
FLAGS += ["-fno-unwind-tables", "-fno-asynchronous-unwind-tables"] if STRIPPED else []
# Comes last: what is no faster with -O3 is a tenth smaller, and nothing is optimised for debugging.
FACE_LEVEL = ["-O0"] if DEBUG else ["-O2", "-fno-align-functions", "-fno-align-jumps", "-fno-align-loops"]
# Modules whose calls take long anyway are made small: a wheel must stay below 2 MB.
RARELY_CALLED = ("_cpu", "_long", "_state", "_table", "_threads")
SMALL = [] if DEBUG else ["-Os"]
KERNEL_LEVEL = ["-O0"] if DEBUG else []
# Without the names of static functions a wheel is a fortieth smaller.
LINK = ["-s"] if STRIPPED else []
# Kernels round where the source says so, and nowhere else; nobody reads errno or the exception flags.
KERNEL_FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]

# A compiler that leaves one primitive out of line passes every vector through memory: twice the time was seen.
ALWAYS_INLINE = "__inline__ __attribute__((__always_inline__, __unused__))"

PACKAGE = Path("src/softmax_cy")
INCLUDE = PACKAGE / "include"
KERNELS = PACKAGE / "kernels"


def compiler_command():
    """The C compiler that setuptools will call."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def compiler_version():
    """Its first line about itself."""
    done = subprocess.run([*compiler_command(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def architecture():
    """What the compiler builds for, or this machine's own where there is no compiler that says."""
    try:
        command = [*compiler_command(), "-dumpmachine"]
        target = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        target = ""
    return variant_table.architecture_of(target or platform.machine())


def variants_to_build(architecture):
    """Those of the table that the environment asks for."""
    variants = variant_table.of_architecture(architecture)
    if os.environ.get("SOFTMAX_CY_BUILD_TEST_VARIANTS") != "1":
        variants = {name: variant for name, variant in variants.items() if not variant.for_tests}
    only = os.environ.get("SOFTMAX_CY_BUILD_ONLY", "").split()
    if unknown := set(only) - set(variants):
        sys.exit(f"SOFTMAX_CY_BUILD_ONLY names {', '.join(sorted(unknown))}: expected some of {', '.join(variants)}")
    return {name: variant for name, variant in variants.items() if not only or name in only}


def require_compiler():
    """Say what to install where there is no C compiler."""
    command = compiler_command()[0]
    if shutil.which(command) is None:
        sys.exit(
            f"softmax_cy is built from source and needs a C compiler, but {command!r} was not found. Install one: "
            "'apt install build-essential' (Debian, Ubuntu), 'dnf install gcc' (Fedora), "
            "'xcode-select --install' (macOS), or name yours in the environment variable CC."
        )


def face_extension(name):
    """A module that every machine runs."""
    return Extension(
        f"softmax_cy.{name}",
        [str(PACKAGE / f"{name}.pyx")],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            *([("CYTHON_INLINE", ALWAYS_INLINE)] if name == "capi" else []),
        ],
        include_dirs=[str(PACKAGE), str(KERNELS), str(INCLUDE)],
        depends=[str(path) for folder in (PACKAGE, INCLUDE) for path in folder.glob("*.h")],
        extra_compile_args=[*FLAGS, *FACE_LEVEL, *(SMALL if name in RARELY_CALLED else [])],
        extra_link_args=LINK,
    )


def kernel_extension(dtype, variant):
    """The kernels of one dtype in one variant."""
    return Extension(
        f"softmax_cy.kernels._{dtype}_{variant.name}",
        [str(shim_path(dtype, variant))],
        include_dirs=[str(KERNELS)],
        depends=[str(path) for pattern in ("*.h", "*.pxi") for path in sorted(KERNELS.rglob(pattern))],
        define_macros=[
            ("SOFTMAX_CY_REAL_BITS", dtype.removeprefix("f")),
            ("CYTHON_INLINE", ALWAYS_INLINE),
            *variant.macros,
        ],
        extra_compile_args=[*FLAGS, "-fvisibility=hidden", *KERNEL_FLAGS, *variant.flags, *KERNEL_LEVEL],
        extra_link_args=LINK,
    )


class BuildWithInfo(build_ext):
    """Builds in parallel, and leaves a module that says how the build was made."""

    def initialize_options(self):
        super().initialize_options()
        self.parallel = os.cpu_count()

    def run(self):
        """Build, and write softmax_cy/_build_info.py beside the modules."""
        require_compiler()
        folder = PACKAGE if self.inplace else Path(self.build_lib, "softmax_cy")
        folder.mkdir(parents=True, exist_ok=True)
        self.build_info = folder / "_build_info.py"
        self.build_info.write_text(
            '"""How this build was made. Written by setup.py."""\n\n'
            f"COMPILER = {compiler_version()!r}\n"
            f"COMPILER_FLAGS = {[*FLAGS, *KERNEL_FLAGS]!r}\n"
            f"ARCHITECTURE = {ARCHITECTURE!r}\n"
            f"BUILT = {list(VARIANTS)!r}\n"
        )
        super().run()

    def get_outputs(self):
        """What an uninstall removes."""
        return [*super().get_outputs(), str(Path(self.build_lib, "softmax_cy", "_build_info.py"))]


def extensions():
    """All extension modules."""
    import numpy

    face = [face_extension(path.stem) for path in sorted(PACKAGE.glob("*.pyx"))]
    for extension in face:
        extension.include_dirs.append(numpy.get_include())
    return face + [kernel_extension(dtype, variant) for variant in VARIANTS.values() for dtype in DTYPES]


ARCHITECTURE = architecture()
VARIANTS = variants_to_build(ARCHITECTURE)
write_shims(VARIANTS.values())
write_kernel_table.write()
write_capi.write()
setup(
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        show_all_warnings=True,
        nthreads=0,
    )
    + torch_extension.extensions(),
    cmdclass={"build_ext": BuildWithInfo},
)
