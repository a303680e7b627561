"""The list of operations of this checkout, whatever build of softmax_cy is installed.

asv measures old commits with the benchmarks of this checkout, and the builds of old commits have no such list. So this
module loads the list from its file, not from the installed package.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "softmax_cy" / "_operations.py"

_specification = importlib.util.spec_from_file_location(f"{__name__}._list", SOURCE)
_list = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(_list)

Operation = _list.Operation
OPERATIONS = _list.OPERATIONS
BY_NAME = _list.BY_NAME
names = _list.names
