"""Build the extension modules: the face once, the kernels once a variant and dtype.

Environment variables:

SOFTMAX_CY_BUILD_DEBUG=1            bounds checks on, no optimisation, debug symbols
SOFTMAX_CY_BUILD_TEST_VARIANTS=1    build the variants that only tests use, too
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
import write_capi

X86_64 = platform.machine().lower() in ("x86_64", "amd64")

# What a variant adds to the compiler's flags. Plainest first; each -mNAME is also what the CPU must offer to run it.
# On aarch64 the baseline is NEON.
AVX2 = ["-mavx", "-mavx2", "-mfma", "-mf16c"]
VARIANTS = {"baseline": []}
if X86_64:
    VARIANTS["v3"] = AVX2
    VARIANTS["v4"] = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]

# The 512-bit kernels for machines without AVX-512. Never chosen by itself.
TEST_VARIANTS = {"v4_on_v3": AVX2} if X86_64 else {}
TEST_VARIANT_MACROS = {"v4_on_v3": [("SOFTMAX_CY_VECTOR_BYTES", "64")]}

DEBUG = os.environ.get("SOFTMAX_CY_BUILD_DEBUG") == "1"
# Instead of -O3, for what is no faster by that: a tenth smaller.
SMALL = [] if DEBUG else ["-O2"]
if X86_64:
    VARIANTS["baseline"] = SMALL
if os.environ.get("SOFTMAX_CY_BUILD_TEST_VARIANTS") == "1":
    VARIANTS |= TEST_VARIANTS
else:
    TEST_VARIANTS = {}
if only := os.environ.get("SOFTMAX_CY_BUILD_ONLY", "").split():
    if unknown := set(only) - set(VARIANTS):
        sys.exit(f"SOFTMAX_CY_BUILD_ONLY names {', '.join(sorted(unknown))}: expected some of {', '.join(VARIANTS)}")
    VARIANTS = {variant: VARIANTS[variant] for variant in VARIANTS if variant in only}
    TEST_VARIANTS = {variant: TEST_VARIANTS[variant] for variant in TEST_VARIANTS if variant in only}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": True,
}

FLAGS = ["-O0", "-g"] if DEBUG else ["-O3", "-g0"]
# Kernels round where the source says so, and nowhere else; nobody reads errno or the exception flags.
KERNEL_FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]

# A compiler that leaves one primitive out of line passes every vector through memory: twice the time was seen.
ALWAYS_INLINE = "__inline__ __attribute__((__always_inline__, __unused__))"

PACKAGE = Path("src/softmax_cy")
INCLUDE = PACKAGE / "include"
KERNELS = PACKAGE / "kernels"
BITS = {"f32": "32", "f64": "64"}


def compiler_command():
    """The C compiler that setuptools will call."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def compiler_version():
    """Its first line about itself."""
    done = subprocess.run([*compiler_command(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


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
        extra_compile_args=[*FLAGS, *SMALL],
    )


def kernel_extension(dtype, variant):
    """The kernels of one dtype in one variant."""
    return Extension(
        f"softmax_cy.kernels._{dtype}_{variant}",
        [str(KERNELS / f"_{dtype}_{variant}.pyx")],
        include_dirs=[str(KERNELS)],
        depends=[str(path) for pattern in ("*.h", "*.pxi") for path in sorted(KERNELS.rglob(pattern))],
        define_macros=[
            ("SOFTMAX_CY_REAL_BITS", BITS[dtype]),
            ("CYTHON_INLINE", ALWAYS_INLINE),
            *TEST_VARIANT_MACROS.get(variant, []),
        ],
        extra_compile_args=[*FLAGS, "-fvisibility=hidden", *KERNEL_FLAGS, *VARIANTS[variant]],
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
            f"VARIANTS = {VARIANTS!r}\n"
            f"TEST_VARIANTS = {list(TEST_VARIANTS)!r}\n"
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
    return face + [kernel_extension(dtype, variant) for variant in VARIANTS for dtype in BITS]


write_capi.write()
setup(
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        show_all_warnings=True,
        nthreads=0,
    ),
    cmdclass={"build_ext": BuildWithInfo},
)
