"""The bits that every variant with FMA gives on every machine: where their digests are kept, and for which lengths.

How inputs and digests are made is a part of the package, in softmax_cy.tests.bits: an installed package is tested with
a summary of the same digests. `make golden` writes both files anew.
"""

import json
from pathlib import Path

from softmax_cy.tests import bits
from softmax_cy.tests.bits import DTYPES, LONGEST_JACOBIAN, UNITS, inputs, integers, reals, results

__all__ = ["DTYPES", "LONGEST_JACOBIAN", "UNITS", "inputs", "integers", "reals", "results"]

DIGESTS = Path(__file__).parent / "data" / "golden.json"
SUMMARIES = Path(__file__).parents[1] / "src/softmax_cy/tests/digests.json"

# Around the borders of lanes (8, 16) and of blocks (1024, 2048, 4096), of what is kept in `out`, and beyond.
BORDERS = (255, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097)
LENGTHS = (*range(1, 131), *BORDERS, 10_007, 70_001, 300_007)


def lengths_in_groups():
    """What goes into one digest: some short lengths, or one other."""
    groups = {f"{first}-{last}": range(first, last + 1) for first, last in ((1, 16), (17, 64), (65, 130))}
    return groups | {str(length): (length,) for length in LENGTHS if length > 130}


def digests(library, dtype):
    """{kind: {operation: {lengths: digest}}} of a module with the functions of softmax_cy."""
    return bits.digests(library, dtype, lengths_in_groups())


def recorded():
    """The digests in the file, by dtype."""
    return json.loads(DIGESTS.read_text())


def write(found):
    """Write both files, from the digests by dtype."""
    DIGESTS.write_text(json.dumps(found, indent=1) + "\n")
    summaries = {dtype: bits.summarize(of_dtype) for dtype, of_dtype in found.items()}
    SUMMARIES.write_text(json.dumps(summaries, indent=1) + "\n")


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
