"""The bits that every variant with FMA gives on every machine: how their digests are made.

The inputs are those of a few lines of integer arithmetic, and every one of them is exact in float32.
"""

import hashlib

import numpy as np

from softmax_cy._operations import OPERATIONS
from softmax_cy._selftest import integers, reals

LONGEST_JACOBIAN = 130
LONGEST_IN_ROWS = 4097
DTYPES = ("float32", "float64")

# What is multiplied with 24-bit integers of either sign to make the logits.
UNITS = {
    "near": 2.0**-20,  # +-8: every exponential counts
    "wide": 2.0**-16,  # +-128: results among the subnormal numbers of float32, and zeros
    "far": 2.0**-11,  # +-4096: where the maximum is subtracted
    "masked": 2.0**-20,  # of which some are -inf
    "ties": 2.0**-20,  # of which there are few different ones
}

# The lengths that an installed package is tested with, in groups of one digest.
CORE = {"1-16": range(1, 17), "17-64": range(17, 65), "257": (257,), "4097": (4097,)}


def inputs(kind, length, dtype):
    """Logits, a vector, and a class index a row: several rows where they are short."""
    rows = 3 if length <= LONGEST_IN_ROWS else 1
    bits = integers(rows * length, seed=list(UNITS).index(kind)).reshape(rows, length)
    if kind == "ties":
        bits &= np.uint64(0b11 << 62)
    x = reals(bits, UNITS[kind], np.dtype(dtype))
    if kind == "masked":
        x[:, 1:][bits[:, 1:] % np.uint64(3) == 0] = -np.inf
    v = reals(integers(rows * length, seed=100).reshape(rows, length), 2.0**-22, np.dtype(dtype))
    target = (integers(rows, seed=200) % np.uint64(length)).astype(np.int64)
    return x, v, target


def results(library, x, v, target):
    """One name and array after another: all results of all functions of the list, which depend on `library` alone."""
    # Any other kind of input is what the function of that name returned.
    inputs = {"logits": x, "vector": v, "target": target}
    for operation in OPERATIONS:
        if x.shape[-1] > LONGEST_JACOBIAN and any(array.ndim == 3 for array in operation.outputs):
            continue
        function, given = getattr(library, operation.name), [inputs[array.holds] for array in operation.inputs]
        found = function(*given, **({"reduction": "none"} if operation.family == "loss" else {}))
        if isinstance(found, tuple):
            for array, part in zip(operation.outputs, found, strict=True):
                yield f"{operation.name}, {array.name}", part
            continue
        yield operation.name, found
        inputs[operation.name] = found
        if operation.family == "forward":
            yield f"{operation.name}, scaled", function(*given, scale=0.7)


def digests(library, dtype, groups):
    """{kind: {operation: {group of lengths: digest}}} of a module with the functions of softmax_cy."""
    found = {}
    for kind in UNITS:
        of_kind = found[kind] = {}
        for group, lengths in groups.items():
            hashes = {}
            for length in lengths:
                for name, array in results(library, *inputs(kind, length, dtype)):
                    little_endian = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
                    hashes.setdefault(name, hashlib.sha256()).update(little_endian.tobytes())
            for name, digest in hashes.items():
                of_kind.setdefault(name, {})[group] = digest.hexdigest()[:16]
    return found


def summarize(digests):
    """One digest an operation, of those of all kinds of logits and the lengths of CORE."""
    texts = {
        name: "".join(digests[kind][name].get(group, "") for kind in UNITS for group in CORE)
        for name in digests["near"]
    }
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}
