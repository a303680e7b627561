"""Loads the peers before anything is measured, and tells asv what was found.

asv imports all modules of the suite once, in a process that it then forks for each benchmark. So no benchmark waits for
an import. Where asv cannot fork, each benchmark has a new process, which may import this module or not.
"""

import contextlib
import importlib

from benchmarks import machine, peers
from benchmarks.suite.harness import VERSION

for _name in ("scipy.special", "torch"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)


def _description():
    """Describe machine, build and peers. Return nothing where a build is too old to tell."""
    names = [kind.name for kind in (peers.Torch, peers.SciPy)]
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        return machine.describe(peers.available(names)[0])
    return {}


def track_cpus():
    """Return the number of CPUs that a benchmark may use."""
    return machine.usable_cpus()


track_cpus.unit = "CPUs"
track_cpus.version = VERSION
track_cpus.description = _description()  # asv writes it to benchmarks.json
