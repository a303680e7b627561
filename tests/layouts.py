"""The same values, lying in memory in different ways."""

import numpy as np


def every_other(x):
    """With a stride of two along the last axis."""
    view = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    view[...] = x
    return view


def inside_a_larger_array(x):
    """Beginning and ending between other elements along every axis."""
    view = np.zeros([n + 3 for n in x.shape], x.dtype)[tuple(slice(1, n + 1) for n in x.shape)]
    view[...] = x
    return view


def read_only(x):
    """A copy that nothing can write to."""
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def unaligned(x, shift=1):
    """At an odd address, or some bytes after an aligned one."""
    view = np.empty(x.nbytes + shift, np.uint8)[shift:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def in_records(x):
    """A field of records of another size."""
    records = np.zeros(x.shape, np.dtype([("tag", "i1"), ("x", x.dtype)]))
    records["x"] = x
    return records["x"]


LAYOUTS = {
    "C order": lambda x: x.copy(),
    "Fortran order": np.asfortranarray,
    "every other": every_other,
    "backwards": lambda x: x[..., ::-1].copy()[..., ::-1],
    "upside down": lambda x: x[::-1].copy()[::-1],
    "inside a larger array": inside_a_larger_array,
    "read-only": read_only,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": unaligned,
    "a field of records": in_records,
}


def layouts(x, without=()):
    """An array in every layout, by name."""
    return {name: lay(x) for name, lay in LAYOUTS.items() if name not in without}
