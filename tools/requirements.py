"""Print what the library needs, and what an extra of pyproject.toml adds: `python tools/requirements.py test`.

`build` adds what the build needs.
"""

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
extras = settings["project"]["optional-dependencies"] | {"build": settings["build-system"]["requires"]}
print(*settings["project"]["dependencies"], *extras[sys.argv[1]], sep="\n")
