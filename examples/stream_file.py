"""Softmax of logits in a file that is larger than the memory that the process may use.

The file holds 4 slices of 16 million float32, 256 MB. A limit of the operating system lets the process have 96 MB more
than it has when it starts, and a call on the whole file fails. One reading of the file makes a state of each part; a
second one finishes the parts with the merged state, and writes them to another file. Then the limit goes, and each byte
is compared with the one call in memory.

    python examples/stream_file.py

Needs Linux. Exits with 1 if a byte differs.
"""

import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from _demo import Checks
from softmax_cy import SoftmaxState, logsumexp, merge_states, softmax, softmax_state

SHAPE = (4, 16_000_000)
# A multiple of 4,096 float32, so that no part cuts a block: the states have no elements to keep.
PART = 1 << 20
ALLOWED = 96 << 20


def write_logits(path: Path) -> None:
    """Write the file part by part."""
    logits = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=SHAPE)
    rng = np.random.default_rng(0)
    for row in logits:
        for start in range(0, SHAPE[1], PART):
            part = row[start : start + PART]
            part[:] = 3 * rng.standard_normal(part.size, dtype=np.float32)


def parts(path: Path, mode: str) -> Iterator[tuple[int, int, np.ndarray]]:
    """Map the file part by part: row, offset, elements. No part stays mapped when the next one comes."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        begin = file.tell()
    for row in range(SHAPE[0]):
        for offset in range(0, SHAPE[1], PART):
            count = min(PART, SHAPE[1] - offset)
            place = begin + 4 * (row * SHAPE[1] + offset)
            yield row, offset, np.memmap(path, np.float32, mode, place, (count,))


def summarize(path: Path) -> list[SoftmaxState]:
    """Read the file once: the state of every slice."""
    states: list[list[SoftmaxState]] = [[] for _ in range(SHAPE[0])]
    for row, offset, part in parts(path, "r"):
        states[row].append(softmax_state(part, offset=offset, length=SHAPE[1]))
    return [merge_states(*of_row) for of_row in states]


def finish(path: Path, result: Path, states: list[SoftmaxState]) -> None:
    """Read the file once more, and write softmax of each part."""
    for (row, offset, part), (_, _, out) in zip(parts(path, "r"), parts(result, "r+"), strict=True):
        states[row].finish(part, offset, out=out)


def address_space() -> int:
    """The bytes of address space that the process has now, mapped files included."""
    (kilobytes,) = re.findall(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kilobytes)


def main() -> int:
    """Stream the file within the limit, and compare without it."""
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "logits.npy"), Path(folder, "softmax.npy")
        write_logits(source)
        np.lib.format.open_memmap(result, mode="w+", dtype=np.float32, shape=SHAPE)
        softmax(np.zeros(PART, np.float32))  # whatever a first call allocates

        unlimited = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (address_space() + ALLOWED, unlimited[1]))
        try:
            np.load(source)
            fits = True
        except MemoryError:
            fits = False
        checks.check("the whole file does not fit into the memory allowed", not fits)
        states = summarize(source)
        print(f"the states of {source.stat().st_size / 1e6:.0f} MB take {sum(s.nbytes for s in states) / 1e3:.0f} kB")
        finish(source, result, states)
        resource.setrlimit(resource.RLIMIT_AS, unlimited)

        logits = np.load(source)
        sums = np.array([state.logsumexp() for state in states])
        checks.check("logsumexp has the bits of one call", sums.tobytes() == logsumexp(logits).tobytes())
        checks.check("softmax has the bits of one call", np.load(result).tobytes() == softmax(logits).tobytes())
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
