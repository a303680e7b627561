"""Loads the peers before anything is measured.

asv imports all modules of the suite once, in the process that it then forks for each benchmark: so no benchmark waits
for an import. Where it starts a new process for each, it imports only the module of that benchmark, and not this one.
"""

import contextlib
import importlib

for _name in ("scipy.special", "torch"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
