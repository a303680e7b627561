"""What the C interface promises, as JSON: python tools/capi_signatures.py [--check].

Writes tests/data/capi_signatures.json from the installed library and its header. With --check nothing is written, and
what has changed or vanished since is named: additions are no breach of the promise.
"""

import ctypes
import json
import re
import sys
from pathlib import Path

import softmax_cy
from softmax_cy import capi

PROMISED = Path(__file__).parents[1] / "tests/data/capi_signatures.json"


def functions() -> dict[str, str]:
    """The functions that Cython code can cimport, with their types as the C compiler sees them."""
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return {name: name_of(capsule).decode() for name, capsule in sorted(capi.__pyx_capi__.items())}


def declarations() -> dict[str, str]:
    """The same with their types as Cython code sees them."""
    text = Path(softmax_cy.get_include(), "../capi.pxd").read_text()
    text = re.sub(r" *#.*", "", text)
    found = re.findall(r"^cdef int (\w+)(\(.*?\)) noexcept nogil", text, re.DOTALL | re.MULTILINE)
    return {name: re.sub(r"\s+", " ", types).replace("( ", "(").replace(", )", ")") for name, types in sorted(found)}


def table(header: str) -> str:
    """The members of the C table and what is said about them."""
    return re.search(r"typedef struct softmax_cy_table \{(.*?)\n\} softmax_cy_table;", header, re.DOTALL)[1]


def members() -> list[str]:
    """The members of the C table in their order, one line each."""
    header = Path(softmax_cy.get_include(), "softmax_cy.h").read_text()
    code = re.sub(r"/\*.*?\*/", "", table(header), flags=re.DOTALL)
    return [re.sub(r"\s+", " ", member).replace("( ", "(").strip() for member in code.split(";") if member.strip()]


def promise() -> dict[str, object]:
    """All that must stay."""
    return {
        "functions": functions(),
        "declarations": declarations(),
        "members": members(),
        "status": {status.name: status.value for status in capi.Status},
    }


def breaches(promised: dict, now: dict) -> list[str]:
    """What has changed or vanished."""
    found = [
        f"{kind} {name}: was {was}, is {now[kind].get(name)}"
        for kind in ("functions", "declarations", "status")
        for name, was in promised[kind].items()
        if now[kind].get(name) != was
    ]
    was, are = promised["members"], now["members"]
    return found + [
        f"member {i}: was {was[i]}, is {are[i] if i < len(are) else None}"
        for i in range(len(was))
        if are[i : i + 1] != [was[i]]
    ]


def main() -> int:
    """Write, or check."""
    if "--check" not in sys.argv:
        PROMISED.parent.mkdir(exist_ok=True)
        PROMISED.write_text(json.dumps(promise(), indent=1) + "\n")
        return 0
    found = breaches(json.loads(PROMISED.read_text()), promise())
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
