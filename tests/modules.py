"""Modules that lie in no package."""

import importlib
import sys


def import_from(folder, name):
    """Import a module of a folder that is on no path. What it imports when it is imported may lie beside it."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
