"""Write the C of the kernel modules, one for each dtype and variant, from what Cython makes of their common source.

setup.py calls this. What the modules do differs by macros and flags of the compiler, so their C differs by the name of
the module alone. To translate the source again for each of them would take longer than to translate all other modules.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from write_sources import load_table, write_if_changed

SOURCE = Path("src/softmax_cy/kernels/_dtype_variant.pyx")
DTYPES = ("f32", "f64")

variant_table = load_table("_variants")


def module_name(dtype: str, variant: variant_table.Variant) -> str:
    """The last part of the name of a module."""
    return f"_{dtype}_{variant.name}"


def c_path(translated: Path, name: str) -> Path:
    """Where the C of a module lies: beside that of the common source."""
    return translated.with_name(f"{name}.c")


def write_c(translated: Path, names: Iterable[str]) -> None:
    """Write what is missing or has changed, and leave the rest as old as it is: it need not be compiled again."""
    text = translated.read_text("utf-8")
    for name in names:
        write_if_changed(c_path(translated, name), text.replace(SOURCE.stem, name))
