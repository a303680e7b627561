"""Write the sources of the kernel modules, one for each dtype and variant: all they do is to include the kernels.

setup.py calls this: the sources are made from the table of variants, and nobody edits or commits them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from write_sources import load_table, write_if_changed

PACKAGE = Path("src/softmax_cy")
DTYPES = ("f32", "f64")


variant_table = load_table("_variants")


def shim_path(dtype: str, variant: variant_table.Variant) -> Path:
    """Where the source of a module lies, seen from the root of the repository."""
    return PACKAGE / "kernels" / f"_{dtype}_{variant.name}.pyx"


def shim_text(dtype: str, variant: variant_table.Variant) -> str:
    """What the source says."""
    return (
        f"# The {dtype.replace('f', 'float')} kernels of variant {variant.name}, which _variants.py describes. "
        'Written by tools/write_shims.py.\n\ninclude "kernels.pxi"\n'
    )


def write_shims(variants: Iterable[variant_table.Variant]) -> None:
    """Write what is missing or has changed, and leave the rest as old as it is: it need not be compiled again."""
    for variant in variants:
        for dtype in DTYPES:
            write_if_changed(shim_path(dtype, variant), shim_text(dtype, variant))
