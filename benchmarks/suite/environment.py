"""Loads the peers before anything is measured, and tells asv what was found.

asv imports all modules of the suite once, in the process that it then forks for each benchmark: so no benchmark waits
for an import. Where it starts a new process for each, it imports only the module of that benchmark, and not this one.
"""

import contextlib
import importlib

from benchmarks import machine, peers

for _name in ("scipy.special", "torch"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)


def _description():
    """Of machine, build and peers; nothing where a build is too old to tell."""
    names = [kind.name for kind in (peers.Torch, peers.SciPy)]
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        return machine.describe(peers.available(names)[0])
    return {}


def track_cpus():
    """Those that a benchmark may use."""
    return machine.usable_cpus()


track_cpus.unit = "CPUs"
track_cpus.description = _description()  # asv writes it to benchmarks.json
