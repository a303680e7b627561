"""What the writers of sources share: they read the tables of the package, and write files that the build needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from Cython import Tempita

PACKAGE = Path(__file__).parents[1] / "src/softmax_cy"


def load_table(name: str) -> ModuleType:
    """Import a module of the package by its path: there is no package yet."""
    spec = importlib.util.spec_from_file_location(name, PACKAGE / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expand_template(path: Path, **names: object) -> str:
    """Expand the template that lies beside a file."""
    template = path.with_name(f"{path.name}.tp")
    return Tempita.Template(template.read_text("utf-8"), name=template.name).substitute(**names)


def write_if_changed(path: Path, text: str) -> None:
    """Write a file, or leave it as old as it is if its text is the same: then nothing is compiled again for it."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
