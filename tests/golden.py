"""The bits that every variant with FMA gives on every machine: how they are made, and where their digests are kept.

The inputs come from a few lines of integer arithmetic, so that no library's random numbers have a part in them, and
every one of them is exact in float32. `make golden` writes the digests anew.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from softmax_cy._operations import OPERATIONS
from softmax_cy._selftest import integers, reals

DIGESTS = Path(__file__).parent / "data" / "golden.json"

# Around the borders of lanes (8, 16) and of blocks (1024, 2048, 4096), of what is kept in `out`, and beyond.
BORDERS = (255, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097)
LENGTHS = (*range(1, 131), *BORDERS, 10_007, 70_001, 300_007)
LONGEST_JACOBIAN = 130
DTYPES = ("float32", "float64")

# What is multiplied with 24-bit integers of either sign to make the logits.
UNITS = {
    "near": 2.0**-20,  # +-8: every exponential counts
    "wide": 2.0**-16,  # +-128: results among the subnormal numbers of float32, and zeros
    "far": 2.0**-11,  # +-4096: where the maximum is subtracted
    "masked": 2.0**-20,  # of which some are -inf
    "ties": 2.0**-20,  # of which there are few different ones
}


def inputs(kind, length, dtype):
    """Logits, a vector, and a class index a row: several rows where they are short."""
    rows = 3 if length <= max(BORDERS) else 1
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


def lengths_in_groups():
    """What goes into one digest: some short lengths, or one other."""
    groups = {f"{first}-{last}": range(first, last + 1) for first, last in ((1, 16), (17, 64), (65, 130))}
    return groups | {str(length): (length,) for length in LENGTHS if length > 130}


def digests(library, dtype):
    """{kind: {operation: {lengths: digest}}} of a module with the functions of softmax_cy."""
    found = {}
    for kind in UNITS:
        of_kind = found[kind] = {}
        for group, lengths in lengths_in_groups().items():
            hashes = {}
            for length in lengths:
                for name, array in results(library, *inputs(kind, length, dtype)):
                    little_endian = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
                    hashes.setdefault(name, hashlib.sha256()).update(little_endian.tobytes())
            for name, digest in hashes.items():
                of_kind.setdefault(name, {})[group] = digest.hexdigest()[:16]
    return found


def recorded():
    """The digests in the file, by dtype."""
    return json.loads(DIGESTS.read_text())


def differences(found, wanted):
    """Where two of `digests` differ: (kind, operation, lengths)."""
    assert found.keys() == wanted.keys()
    return [
        (kind, name, group)
        for kind in wanted
        for name in wanted[kind].keys() | found[kind].keys()
        for group in wanted[kind].get(name, {}).keys() | found[kind].get(name, {}).keys()
        if wanted[kind].get(name, {}).get(group) != found[kind].get(name, {}).get(group)
    ]
