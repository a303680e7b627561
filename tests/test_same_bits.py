"""The bits of a slice depend on its values, its length, its dtype and the options, and on nothing else.

Every test lays the same slices out differently, for all functions, and compares with each slice by itself. The bits
across variants, machines and compilers: test_golden.py.
"""

from dataclasses import dataclass

import numpy as np
import pytest

import golden
import softmax_cy

pytestmark = pytest.mark.usefixtures("variant")

MOST_THREADS = 8


@dataclass
class Layout:
    """A library like softmax_cy, for one slice at a time, which it gives to softmax_cy as part of something else."""

    batch: tuple[int, ...] = ()
    position: tuple[int, ...] = ()
    axis: int = 0  # of the slice, after the batch axes have been put around it
    order: str = "C"
    step: int = 1  # between the elements of the slice, in elements
    offset: int = 0  # from an aligned address, in elements
    out: str = ""  # "own": a result with a layout of its own; "first", "last": over that input
    num_threads: int | None = 1

    def placed(self, x):
        """An array in which x is the slice at the position; all others hold ones."""
        shape = list(self.batch)
        shape.insert(self.axis, x.size * abs(self.step))
        memory = np.empty(np.prod(shape) + 2 * 64, x.dtype)
        start = -memory.ctypes.data % 64 // x.itemsize + self.offset
        array = memory[start : start + np.prod(shape)].reshape(shape, order=self.order)
        array[...] = 1
        along = [slice(None)] * array.ndim
        along[self.axis] = slice(None, None, self.step)
        array = array[tuple(along)]
        self.slice_of(array)[...] = x
        return array

    def slice_of(self, array):
        """The slice, of an array with the axis of the slices."""
        return np.moveaxis(array, self.axis, -1)[self.position]

    def __getattr__(self, name):
        function = getattr(softmax_cy, name)
        if name.startswith("cross_entropy"):
            return lambda x, target, **options: self.loss(function, x, target, **options)
        if name == "softmax_and_jacobian":
            return self.output_and_jacobian

        def call(*arrays, **options):
            arrays = [self.placed(array) for array in arrays]
            if not name.endswith("jacobian") and name != "logsumexp":
                options["out"] = self.room(arrays)
            result = function(*arrays, self.axis, num_threads=self.num_threads, **options)
            return self.slice_of(result) if result.shape == arrays[0].shape else result[self.position]

        return call

    def room(self, inputs):
        """For a result of the same shape, or None."""
        if self.out == "own":
            return Layout(self.batch, self.position, self.axis, offset=15 - self.offset).placed(
                np.zeros(inputs[0].shape[self.axis], inputs[0].dtype)
            )
        return {"": None, "first": inputs[0], "last": inputs[-1]}[self.out]

    def output_and_jacobian(self, x):
        """The batch axes come first in the second one."""
        y, jacobian = softmax_cy.softmax_and_jacobian(self.placed(x), self.axis, num_threads=self.num_threads)
        return self.slice_of(y), jacobian[self.position]

    def loss(self, function, x, target, **options):
        """The target is the same in the whole batch."""
        x = self.placed(x)
        target = np.full(self.batch, target) if self.batch else target
        loss, grad = function(x, target, self.axis, out=self.room([x]), num_threads=self.num_threads, **options)
        return loss[self.position], self.slice_of(grad)


def every_bit(library, x, v, target):
    """The bytes of each result, so that NaN equals NaN and 0 differs from -0."""
    return {name: np.ascontiguousarray(array).tobytes() for name, array in golden.results(library, x, v, target)}


def first_slice(kind, length, dtype):
    """The first of the golden inputs."""
    x, v, target = golden.inputs(kind, length, dtype)
    return x[0], v[0], target[0]


def check(dtype, lengths, *layouts, kinds=("near",)):
    """All layouts give what the slice by itself gives."""
    for kind in kinds:
        for length in lengths:
            arguments = first_slice(kind, length, dtype)
            expected = every_bit(softmax_cy, *arguments)
            for layout in layouts:
                found = every_bit(layout, *arguments)
                different = [name for name in expected if found[name] != expected[name]]
                assert not different, (different, kind, length, layout)


SHORT = range(1, 131)
AROUND_BORDERS = golden.BORDERS
LONG = golden.LENGTHS[-3:]
ALL = golden.LENGTHS


def test_batch_size_and_position(dtype):
    for batch in (2, 3, 17):
        positions = sorted({0, batch // 2, batch - 1})
        check(dtype, SHORT, *[Layout((batch,), (position,), axis=1) for position in positions])
    check(dtype, AROUND_BORDERS, Layout((3,), (0,), axis=1), Layout((9,), (7,), axis=1))
    check(dtype, (4, 10, 33, 130, 257), Layout((64,), (40,), axis=1), kinds=golden.UNITS)
    check(dtype, LONG, Layout((2,), (1,), axis=1))


def test_alignment(dtype):
    offsets = [Layout(offset=offset, out="own") for offset in range(16)]
    check(dtype, [*range(1, 36), 63, 64, 65, 127, 128, 129, 130, 256, 257, 1025, 4097, 10_007], *offsets)
    check(dtype, [5, 17, 33, 100], *[Layout((5,), (3,), axis=1, offset=offset, out="own") for offset in range(16)])
    check(dtype, LONG[1:], Layout(offset=3, out="own"), Layout(offset=15, out="own"))


def test_axis_and_order(dtype):
    layouts = [
        Layout((3,), (2,), axis=0),
        Layout((3,), (2,), axis=0, order="F"),
        Layout((3,), (0,), axis=1, order="F"),
        Layout((2, 3), (1, 2), axis=0),
        Layout((2, 3), (1, 2), axis=1),
        Layout((2, 3), (1, 0), axis=2, order="F"),
    ]
    check(dtype, [*SHORT, *AROUND_BORDERS], *layouts)
    check(dtype, (4, 10, 33, 130, 257), *layouts, kinds=golden.UNITS)
    check(dtype, (16, 17, 100, 300, 1025), Layout((70,), (69,), axis=0), Layout((70,), (20,), axis=0))
    check(dtype, LONG, *layouts[:2])


def test_strides(dtype):
    layouts = [
        Layout(step=2),
        Layout(step=-1),
        Layout(step=-3),
        Layout((3,), (1,), axis=1, step=2),
        Layout((3,), (1,), axis=1, step=-1),
        Layout((3,), (1,), axis=0, step=-2),
    ]
    check(dtype, [*SHORT, *AROUND_BORDERS], *layouts)
    check(dtype, LONG, *layouts[:3])


def test_in_place(dtype):
    layouts = [
        Layout(out="first"),
        Layout(out="last"),
        Layout((3,), (1,), axis=1, out="first"),
        Layout((3,), (1,), axis=0, out="last"),
        Layout(step=2, out="first"),
    ]
    check(dtype, [*SHORT, *AROUND_BORDERS], *layouts)
    check(dtype, (4, 10, 33, 130, 257), *layouts, kinds=golden.UNITS)
    check(dtype, LONG, *layouts[:2])


def test_number_of_threads(dtype):
    """Shapes that are worth several threads, one long slice among them."""
    for shape in ((4096, 10), (500, 131), (97, 1025), (16, 10_007), (1, 300_007)):
        bits = golden.integers(shape[0] * shape[1], seed=7).reshape(shape)
        x = golden.reals(bits, golden.UNITS["near"], dtype)
        v, target = x[::-1].copy(), np.arange(shape[0]) % shape[1]
        for columns in (False, True):
            expected, *others = [
                every_bit(Threads(count, columns), x, v, target) for count in range(1, MOST_THREADS + 1)
            ]
            for count, found in enumerate(others, start=2):
                assert [name for name in expected if found[name] != expected[name]] == [], (shape, columns, count)


@dataclass
class Threads:
    """softmax_cy with a number of threads, on rows or on columns."""

    count: int
    columns: bool

    def __getattr__(self, name):
        def call(*arrays, **options):
            if self.columns and not name.endswith("jacobian"):
                arrays = [np.asfortranarray(array) for array in arrays]
            return getattr(softmax_cy, name)(*arrays, num_threads=self.count, **options)

        return call


def test_number_of_threads_of_jacobians(dtype):
    for shape in ((200, 65), (1, 1025)):
        x = golden.reals(golden.integers(shape[0] * shape[1], seed=8).reshape(shape), golden.UNITS["near"], dtype)
        for function, y in (
            (softmax_cy.softmax_jacobian, softmax_cy.softmax(x)),
            (softmax_cy.log_softmax_jacobian, softmax_cy.log_softmax(x)),
            (lambda x, num_threads: softmax_cy.softmax_and_jacobian(x, num_threads=num_threads)[1], x),
        ):
            expected = function(y, num_threads=1).tobytes()
            for count in range(2, MOST_THREADS + 1):
                assert function(y, num_threads=count).tobytes() == expected, (shape, count)


def test_repeated_runs(dtype):
    check(dtype, ALL[::10], *[Layout(num_threads=None)] * 5, kinds=golden.UNITS)
