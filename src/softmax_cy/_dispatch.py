"""Which variant of the kernels is used, and what there is to choose from.

The variants and what each needs of the CPU are listed in ``_variants``; ``_build_info`` says which of them were built.
Exactly one variant is imported.
"""

from __future__ import annotations

import importlib
import os
import sys

from softmax_cy import _cpu, _table, _threads, _variants
from softmax_cy._build_info import ARCHITECTURE, BUILT, COMPILER, COMPILER_FLAGS

ENVIRONMENT_VARIABLE = "SOFTMAX_CY_VARIANT"

# Those that were built, by name.
VARIANTS = {name: variant for name, variant in _variants.of_architecture(ARCHITECTURE).items() if name in BUILT}


def missing_features(variant: str) -> list[str]:
    """What this CPU or its operating system lacks to run a variant."""
    present = _cpu.features()
    return sorted(feature for feature in VARIANTS[variant].features if not present.get(feature))


def runnable_variants() -> list[str]:
    """The variants that were built and that this CPU can run, the plainest first."""
    return [name for name in VARIANTS if not missing_features(name)]


def choose() -> str:
    """The variant that the environment asks for, or else the widest that this CPU can run."""
    runnable = runnable_variants()
    asked = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not asked:
        offered = [name for name in runnable if not VARIANTS[name].for_tests]
        if not offered:
            lacks = "; ".join(f"{name!r} lacks {', '.join(missing_features(name))}" for name in VARIANTS)
            raise ImportError(f"nothing of this build can run here: {lacks}")
        return offered[-1]
    if asked not in VARIANTS:
        raise ImportError(
            f"{ENVIRONMENT_VARIABLE}={asked!r} is not a variant of this build: expected one of {', '.join(VARIANTS)}"
        )
    if asked not in runnable:
        raise ImportError(
            f"{ENVIRONMENT_VARIABLE}={asked!r} cannot run here: this CPU or operating system lacks "
            f"{', '.join(missing_features(asked))}; expected one of {', '.join(runnable)}"
        )
    return asked


def use(variant: str) -> None:
    """Put a variant that this CPU can run in use, for every call from now on."""
    global variant_in_use
    modules = [importlib.import_module(f"softmax_cy.kernels._{dtype}_{variant}") for dtype in ("f32", "f64")]
    _table.bind(*(module.table for module in modules))
    variant_in_use = variant


def config() -> dict[str, object]:
    """Everything that decides how this build runs on this machine."""
    from softmax_cy._version import __version__

    return {
        "version": __version__,
        "variant": variant_in_use,
        "variants built": list(VARIANTS),
        "variants runnable": runnable_variants(),
        "variants with FMA": [name for name in VARIANTS if VARIANTS[name].has_fma],
        "CPU features": [name for name, present in _cpu.features().items() if present],
        "last-level cache bytes": _cpu.cache_bytes(),
        "threads": _threads.get_num_threads(),
        "threads started": _threads.workers(),
        "compiler": COMPILER,
        "flags": " ".join(COMPILER_FLAGS),
        "variant flags": {name: " ".join(variant.flags) for name, variant in VARIANTS.items()},
        "Python": sys.version.split()[0],
    }


def show_config(mode: str = "stdout") -> dict[str, object] | None:
    """Show how softmax_cy was built and what it uses on this machine.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, optional
        Print it, or return it as a dictionary.

    Returns
    -------
    dict or None
        The dictionary if `mode` is "dicts".

    Raises
    ------
    ValueError
        If `mode` is something else.

    Examples
    --------
    >>> import softmax_cy
    >>> softmax_cy.show_config(mode="dicts")["version"] == softmax_cy.__version__
    True
    """
    if mode == "dicts":
        return config()
    if mode != "stdout":
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    for name, value in config().items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, entry in value.items():
                print(f"    {key}: {entry}".rstrip())
        else:
            print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    return None


variant_in_use = ""
use(choose())
