"""Write the sources of the kernel modules, one for each dtype and variant: all they do is to include the kernels.

setup.py calls this: the sources are made from the table of variants, and nobody edits or commits them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

PACKAGE = Path("src/softmax_cy")
DTYPES = ("f32", "f64")


def load_table(name: str) -> ModuleType:
    """Import a module of the package by its path: there is no package yet."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / PACKAGE / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
            path, text = shim_path(dtype, variant), shim_text(dtype, variant)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
