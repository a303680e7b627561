"""The table of variants: the kernels are one source, which the build compiles once for every row.

The build reads this file before there is a package to import, so it imports nothing of the package. What was built of
the table is in ``_build_info``, which the build writes.
"""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One way to compile the kernels."""

    name: str  # unique among those of an architecture
    architecture: str  # the first part of what the compiler calls its target
    has_fma: bool  # whether a multiplication and an addition round once: such variants all give the golden bits
    flags: tuple[str, ...] = ()  # of the compiler
    features: tuple[str, ...] = ()  # what the CPU must offer, beyond what all of the architecture do: see _cpu.features
    macros: tuple[tuple[str, str], ...] = ()  # names and values
    for_tests: bool = False  # whether users do not get it


AVX2 = ("avx", "avx2", "fma", "f16c")
AVX512 = (*AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")


def enable(features: tuple[str, ...]) -> tuple[str, ...]:
    """The flags that let a compiler for x86 use some features, which are named alike."""
    return tuple(f"-m{feature}" for feature in features)


def without(*passes):
    """The compiler's flags that leave these passes out."""
    return tuple(f"-fno-{name}" for name in passes)


NEEDLESS = ("schedule-insns2", "tree-vectorize", "gcse", "align-functions", "align-loops", "align-jumps")

# The row of all architectures that have no row of their own.
OTHER = "other"

# The plainest first: the last that a CPU can run is used.
VARIANTS = (
    # With -O3 and all that is left out here it is a quarter larger, and no faster.
    Variant("baseline", "x86_64", has_fma=False, flags=("-O2", *without(*NEEDLESS))),
    Variant("v3", "x86_64", has_fma=True, flags=enable(AVX2), features=AVX2),
    Variant("v4", "x86_64", has_fma=True, flags=enable(AVX512), features=AVX512),
    # The 512-bit kernels for machines without AVX-512.
    Variant(
        "v4_on_v3",
        "x86_64",
        has_fma=True,
        flags=enable(AVX2),
        features=AVX2,
        macros=(("SOFTMAX_CY_VECTOR_BYTES", "64"),),
        for_tests=True,
    ),
    # Every aarch64 has NEON.
    Variant("baseline", "aarch64", has_fma=True),
    Variant("baseline", OTHER, has_fma=False),
)

# What else systems and compilers call them.
ALIASES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def architecture_of(target: str) -> str:
    """The table's name for the architecture of a target such as aarch64-linux-gnu, or of a machine such as arm64."""
    first = target.lower().partition("-")[0]
    name = ALIASES.get(first, first)
    return name if any(variant.architecture == name for variant in VARIANTS) else OTHER


def of_architecture(architecture: str) -> dict[str, Variant]:
    """The variants of an architecture by their names, the plainest first."""
    return {variant.name: variant for variant in VARIANTS if variant.architecture == architecture}
