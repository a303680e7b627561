"""What compilers and foreign-function interfaces ask for: paths, flags, addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from softmax_cy import capi
from softmax_cy._operations import OPERATIONS, Operation

# What the names of the C interface end in: the type of the numbers in C.
REALS = {"f32": "float", "f64": "double"}

CTYPES: dict[str, Any] = {
    "int": ctypes.c_int,
    "double": ctypes.c_double,
    "ptrdiff_t": ctypes.c_ssize_t,
    "float *": ctypes.POINTER(ctypes.c_float),
    "double *": ctypes.POINTER(ctypes.c_double),
    "int64_t *": ctypes.POINTER(ctypes.c_int64),
    "ptrdiff_t *": ctypes.POINTER(ctypes.c_ssize_t),
    "void *": ctypes.c_void_p,
}

# The functions for states of parts of slices are no operations of the list. This is what they take. `real` is the type
# of their numbers.
OF_STATES = {
    "softmax_state_size": "ptrdiff_t, ptrdiff_t, ptrdiff_t, int, ptrdiff_t *",
    "softmax_state": "ptrdiff_t, ptrdiff_t, ptrdiff_t, int, const real *, ptrdiff_t, void *, double",
    "merge_states": "const void *, const void *, void *",
    "logsumexp_of_state": "const void *, real *",
    "softmax_of_part": "ptrdiff_t, ptrdiff_t, const void *, const real *, ptrdiff_t, real *, ptrdiff_t",
    "log_softmax_of_part": "ptrdiff_t, ptrdiff_t, const void *, const real *, ptrdiff_t, real *, ptrdiff_t",
}


class Function(NamedTuple):
    """A function of the C interface: where it is, and its type in C."""

    address: int
    signature: str

    def as_ctypes(self) -> Any:
        """As a ctypes function, which is called without the GIL."""
        arguments = self.signature.split("(*)(")[1].rstrip(")").split(", ")
        return ctypes.CFUNCTYPE(ctypes.c_int, *(CTYPES[kind.replace("const ", "")] for kind in arguments))(self.address)


def write_signature(operation: Operation, real: str) -> str:
    """Write the type in C of the function for arrays of this type."""
    kinds = ["ptrdiff_t", "ptrdiff_t"]
    for const, arrays in (("const ", operation.inputs), ("", operation.outputs)):
        for array in arrays:
            kinds.append(f"{const}{'int64_t' if array.holds == 'target' else real} *")
            kinds += ["ptrdiff_t"] * array.ndim
    return f"int (*)({', '.join([*kinds, 'double'])})"


def list_signatures() -> dict[str, str]:
    """List the functions with their types in C."""
    signatures = {}
    for suffix, real in REALS.items():
        for operation in OPERATIONS:
            if operation.in_c:
                signatures[f"{operation.name}_{suffix}"] = write_signature(operation, real)
        for name, kinds in OF_STATES.items():
            signatures[f"{name}_{suffix}"] = f"int (*)({kinds.replace('real', real)})"
    return signatures


def functions() -> Mapping[str, Function]:
    """All that have no argument but numbers and pointers."""
    # Prototypes of our own: whoever else uses ctypes.pythonapi has theirs.
    python = ctypes.pythonapi
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", python))
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", python))
    found = {}
    for name, signature in sorted(list_signatures().items()):
        capsule = capi.__pyx_capi__[name]
        found[name] = Function(pointer_of(capsule, name_of(capsule)), signature)
    return MappingProxyType(found)


ctypes_functions = functions()


def get_include() -> str:
    """The directory of the C header ``softmax_cy.h``.

    Returns
    -------
    str
        For the compiler's option ``-I``. Programs written in Cython need it not.

    Examples
    --------
    >>> import os, softmax_cy
    >>> os.listdir(softmax_cy.get_include())
    ['softmax_cy.h']
    """
    return folder("include")


def folder(name: str) -> str:
    """Of the installed package."""
    from pathlib import Path  # few ask, and all would wait

    return str(Path(__file__).with_name(name))


def compiler_flags() -> str:
    """Where a C compiler finds this header, and Python's."""
    import sysconfig

    return f"-I{get_include()} -I{sysconfig.get_path('include')}"


def linker_flags() -> str:
    """What links a C program that embeds Python."""
    import sysconfig

    value = sysconfig.get_config_var
    static = not value("Py_ENABLE_SHARED")
    flags = [f"-L{path}" for path in (static and value("LIBPL"), value("LIBDIR")) if path]
    if value("LIBDIR"):
        flags.append(f"-Wl,-rpath,{value('LIBDIR')}")
    flags.append(f"-lpython{value('LDVERSION') or value('VERSION')}")
    # A program that holds Python itself shows its functions to extension modules.
    flags += [value(name) or "" for name in ("LIBS", "SYSLIBS", *(["LINKFORSHARED"] if static else []))]
    return " ".join(" ".join(flags).split()).replace("-Xlinker ", "-Wl,")
