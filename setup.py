"""Build the extension modules: the face once, the kernels once a variant and dtype.

The table of variants is src/softmax_cy/_variants.py. The compiler's target decides which of them are built, so that a
cross-compiler in CC builds for another architecture.

Environment variables:

SOFTMAX_CY_BUILD_DEBUG=1            bounds checks on, no optimisation, debug symbols
SOFTMAX_CY_BUILD_TEST_VARIANTS=1    build the variants that only tests use, too
SOFTMAX_CY_BUILD_TORCH=1            build the extension of softmax_cy.torch in C++, too: docs/torch.md
SOFTMAX_CY_BUILD_ONLY="v3 v4"       build these variants and no others: to try a change of the kernels
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import torch_extension
import write_capi
import write_kernel_modules
import write_kernel_table
from write_kernel_modules import DTYPES, variant_table
from write_sources import write_if_changed

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
# Builds for several Pythons may have several Cythons.
TRANSLATED = Path("build", f"cython-{Cython.__version__}")


def available_cpus():
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        # Cython knows of the headers that lie beside the sources.
        depends=[str(INCLUDE / "softmax_cy.h")] if name == "capi" else [],
        extra_compile_args=[*FLAGS, *FACE_LEVEL, *(SMALL if name in RARELY_CALLED else [])],
        extra_link_args=LINK,
    )


def kernel_extension(dtype, variant):
    """The kernels of one dtype in one variant, whose C translate() writes."""
    name = write_kernel_modules.module_name(dtype, variant)
    return Extension(
        f"softmax_cy.kernels.{name}",
        [str(write_kernel_modules.c_path(TRANSLATED / write_kernel_modules.SOURCE, name))],
        include_dirs=[str(KERNELS)],
        depends=[str(path) for path in sorted(KERNELS.rglob("*.h"))],
        define_macros=[
            ("SOFTMAX_CY_REAL_BITS", dtype.removeprefix("f")),
            ("CYTHON_INLINE", ALWAYS_INLINE),
            *variant.macros,
        ],
        extra_compile_args=[*FLAGS, "-fvisibility=hidden", *KERNEL_FLAGS, *variant.flags, *KERNEL_LEVEL],
        extra_link_args=LINK,
    )


def translate(face, kernels):
    """Let Cython write the C of all modules where it has changed, and return the modules of the face with their C."""
    source = write_kernel_modules.SOURCE
    # Cython copies the headers beside the C.
    headers = [str(path) for path in sorted(KERNELS.rglob("*.h"))]
    common = Extension(f"softmax_cy.kernels.{source.stem}", [str(source)], depends=headers)
    # Cython knows when a source or a file that it includes has changed. What else the C depends on stands in a file.
    basis, text = TRANSLATED / "basis", repr(DIRECTIVES)
    *face, common = cythonize(
        [*face, common],
        build_dir=str(TRANSLATED),
        compiler_directives=DIRECTIVES,
        show_all_warnings=True,
        nthreads=available_cpus(),
        force=basis.exists() and basis.read_text() != text,
    )
    basis.write_text(text)
    names = [kernel.name.rpartition(".")[2] for kernel in kernels]
    write_kernel_modules.write_c(Path(common.sources[0]), names)
    return face


class BuildOnlyWhatIsMade(build):
    """Builds, and takes away what an earlier build has made and this one does not: it would get into the wheel."""

    def run(self):
        # A source may be older than its copy and yet another one.
        self.get_finalized_command("build_py").force = True
        super().run()
        made = {
            Path(output).resolve()
            for command in self.get_sub_commands()
            for output in self.get_finalized_command(command).get_outputs()
        }
        for path in Path(self.build_lib, PACKAGE.name).rglob("*"):
            if path.is_file() and path.resolve() not in made:
                path.unlink()


class BuildModules(build_ext):
    """Builds in parallel what has changed, says so, and leaves a module that says how the build was made."""

    def initialize_options(self):
        super().initialize_options()
        self.parallel = available_cpus()
        self.lock, self.finished = threading.Lock(), 0

    def run(self):
        """Build, and write softmax_cy/_build_info.py beside the modules."""
        require_compiler()
        folder = PACKAGE if self.inplace else Path(self.build_lib, PACKAGE.name)
        folder.mkdir(parents=True, exist_ok=True)
        write_if_changed(
            folder / "_build_info.py",
            '"""How this build was made. Written by setup.py."""\n\n'
            f"COMPILER = {compiler_version()!r}\n"
            f"COMPILER_FLAGS = {[*FLAGS, *KERNEL_FLAGS]!r}\n"
            f"ARCHITECTURE = {ARCHITECTURE!r}\n"
            f"BUILT = {list(VARIANTS)!r}\n",
        )
        super().run()

    def build_extension(self, extension):
        """Compile a module, unless it was made of the very same before, and count it."""
        made, basis = Path(self.get_ext_fullpath(extension.name)), Path(self.build_temp, f"{extension.name}.basis")
        digest, started = self.digest(extension), time.perf_counter()
        if self.force or not made.exists() or not basis.exists() or basis.read_text() != digest:
            # setuptools compares times, and would leave what has other flags as it is.
            made.unlink(missing_ok=True)
            super().build_extension(extension)
            basis.parent.mkdir(parents=True, exist_ok=True)
            basis.write_text(digest)
            done = f"compiled in {time.perf_counter() - started:.1f} s"
        else:
            done = "unchanged"
        with self.lock:
            self.finished += 1
            print(f"[{self.finished:2}/{len(self.extensions)}] {extension.name}: {done}")

    def digest(self, extension):
        """A digest of all that a module is made of."""
        import numpy

        digest = hashlib.sha256()
        # The path to NumPy's headers changes with each isolated build, so its version stands for them.
        commands = self.compiler.compiler_so, self.compiler.linker_so, compiler_version()
        flags = extension.define_macros, extension.extra_compile_args, extension.extra_link_args
        digest.update(repr((commands, flags, sys.version, numpy.__version__)).encode())
        for path in [*extension.sources, *sorted(extension.depends)]:
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()

    def get_outputs(self):
        """What an uninstall removes."""
        return [*super().get_outputs(), str(Path(self.build_lib, PACKAGE.name, "_build_info.py"))]


def make_extensions():
    """All extension modules, those first that take the compiler longest: so the last one keeps no CPU waiting."""
    import numpy

    face = [face_extension(path.stem) for path in sorted(PACKAGE.glob("*.pyx"))]
    for extension in face:
        extension.include_dirs.append(numpy.get_include())
    variants = sorted(VARIANTS.values(), key=lambda variant: not variant.for_tests)
    kernels = [kernel_extension(dtype, variant) for variant in variants for dtype in DTYPES]
    face = translate(face, kernels)
    return kernels + sorted(face, key=lambda module: -Path(module.sources[0]).stat().st_size)


# Where Cython's helpers are started afresh, they import this file.
if __name__ == "__main__":
    # Under pip the output is a pipe, and is to be seen while the build goes on.
    sys.stdout.reconfigure(line_buffering=True)
    ARCHITECTURE = architecture()
    VARIANTS = variants_to_build(ARCHITECTURE)
    write_kernel_table.write()
    write_capi.write()
    setup(
        ext_modules=make_extensions() + torch_extension.extensions(),
        cmdclass={"build": BuildOnlyWhatIsMade, "build_ext": BuildModules},
    )
