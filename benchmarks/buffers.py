"""Place inputs and outputs at chosen distances from the start of a page.

Where buffers lie decides how many vectors straddle two cache lines and which loads wait for stores to an address
with the same last 12 bits. It should not decide who wins, so every case is timed at each of these places.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.cases import Case, inputs, numpy_dtype

PAGE = 4096

# Bytes from the start of a page, for the inputs in turn and then for the output. All at 16 is what malloc makes of
# large arrays; the last two keep inputs and output apart.
PLACES = ((0, 0, 0), (16, 16, 16), (64, 1088, 2112), (1040, 528, 272))


class Buffers:
    """What all peers of a case share: the inputs, and the output that they write in turn."""

    def __init__(self, case: Case, place: tuple[int, ...]) -> None:
        *starts, self._out_start = place
        self.dtype = numpy_dtype(case.dtype)
        self._x = inputs(case)[0] if case.in_place else None
        self.out = self.new(case.result_shape)
        self.inputs = tuple(copy_at(array, start) for array, start in zip(inputs(case), starts, strict=False))
        if case.in_place:
            self.inputs = (self.out,)
        self.reset()

    def new(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an uninitialised array that lies like the output."""
        return empty_at(shape, self.dtype, self._out_start)

    def copy(self, array: np.ndarray) -> np.ndarray:
        """Return an array with the same numbers that lies like the output."""
        return copy_at(array, self._out_start)

    def reset(self) -> None:
        """Overwrite whatever an earlier result left in the output."""
        self.out[...] = np.nan if self._x is None else self._x


def empty_at(shape: tuple[int, ...], dtype: np.dtype, start: int) -> np.ndarray:
    """Return an uninitialised array that begins at this distance, in bytes, from the start of a page."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + PAGE + start, np.uint8)
    first = -memory.ctypes.data % PAGE + start
    return memory[first : first + size].view(dtype).reshape(shape)


def copy_at(array: np.ndarray, start: int) -> np.ndarray:
    """Return an array with the same numbers that begins at this distance, in bytes, from the start of a page."""
    copy = empty_at(array.shape, array.dtype, start)
    np.copyto(copy, array)
    return copy
