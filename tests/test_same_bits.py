"""The bits of a slice depend on its values, its length, its dtype and the options, and on nothing else.

Every test lays the same slices out differently, for all functions and options, and compares with each slice by itself.
The bits across machines and compilers, and across variants of the functions without options: test_golden.py.
"""

from dataclasses import dataclass

import numpy as np
import pytest

import golden
import softmax_cy
from conftest import fma_variants_under_test
from operations import ANY_AXES, FORWARD, LOSSES, MATRICES, PRODUCTS, bits, each, forward_of, inputs_for
from softmax_cy import _dispatch

every_variant = pytest.mark.usefixtures("variant")

MOST_THREADS = 8
LONGEST_MATRIX = 700
# Where every option is tried, and not only what golden.py does: around the same borders.
WITH_OPTIONS = (*range(1, 19), 31, 32, 33, 64, 65, 70, 100, 128, 129, 333, LONGEST_MATRIX, *golden.LENGTHS[130:])
WITH_OPTIONS_IN_BATCHES = (131, 1025, 4099)


def place_at(shape, dtype, offset, order="C"):
    """An array that begins so many bytes after an aligned address."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + offset + 64, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    return memory[start : start + size].view(dtype).reshape(shape, order=order)


@dataclass
class Layout:
    """A library like softmax_cy, for one slice at a time, which it gives to softmax_cy as part of something else."""

    batch: tuple[int, ...] = ()
    position: tuple[int, ...] = ()
    axis: int = 0  # of the slice, after the batch axes have been put around it
    order: str = "C"
    step: int = 1  # between the elements of the slice, in elements
    offset: int = 0  # from an aligned address, in elements
    odd: int = 0  # and in bytes
    out: str = ""  # "own": a result with a layout of its own; "first", "last": over that input
    num_threads: int | None = 1

    def placed(self, x):
        """An array in which x is the slice at the position; all others hold ones."""
        shape = list(self.batch)
        shape.insert(self.axis, x.size * abs(self.step))
        array = place_at(shape, x.dtype, self.offset * x.itemsize + self.odd, self.order)
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

        def call(*arrays, where=None, **options):
            arrays = [self.placed(array) for array in arrays]
            if where is not None:
                options["where"] = self.placed(where)
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

    def output_and_jacobian(self, x, **options):
        """The batch axes come first in the second one."""
        n, x = x.size, self.placed(x)
        if self.out == "own" and not self.batch:
            options["out"] = self.room([x]), place_at((n, n), x.dtype, (15 - self.offset) * x.itemsize)
        y, jacobian = softmax_cy.softmax_and_jacobian(x, self.axis, num_threads=self.num_threads, **options)
        return self.slice_of(y), jacobian[self.position]

    def loss(self, function, x, target, **options):
        """An index is the same in the whole batch; probabilities lie like the logits."""
        x = self.placed(x)
        target = self.placed(target) if np.ndim(target) else np.full(self.batch, target) if self.batch else target
        if function is softmax_cy.cross_entropy:
            return function(x, target, self.axis, num_threads=self.num_threads, **options)[self.position]
        loss, grad = function(x, target, self.axis, out=self.room([x]), num_threads=self.num_threads, **options)
        return loss[self.position], self.slice_of(grad)


def results(library, x, v, target):
    """A name and results: the golden ones, and those with options that use every part of the kernels.

    From slices that golden.py makes, so that nothing but `library` decides what they are.
    """
    yield from golden.results(library, x, v, target)
    length = x.shape[-1]
    if length not in (WITH_OPTIONS if x.ndim == 1 else WITH_OPTIONS_IN_BATCHES):
        return
    numbers = golden.integers(x.size, seed=300).reshape(x.shape)
    kept, few = numbers % np.uint64(5) > 0, (numbers >> np.uint64(20)) % np.uint64(8)
    for name in (function.__name__ for function in FORWARD):
        for scale in (0.3, 7.0):
            yield f"{name}, scale={scale}", getattr(library, name)(x, scale=scale)
            yield f"{name}, where, scale={scale}", getattr(library, name)(x, where=kept, scale=scale)
        yield f"{name}, where", getattr(library, name)(x, where=kept)
    for function in PRODUCTS:
        name, y = function.__name__, getattr(library, forward_of(function).__name__)(x)
        yield name, getattr(library, name)(v, y)
        yield f"{name}, scale", getattr(library, name)(v, y, scale=0.3)
        yield f"{name}, large", getattr(library, name)(v * x.dtype.type(1e20), y, scale=0.3)
    # Some probabilities are 0, and no weight is.
    q, weight = few.astype(x.dtype) / x.dtype.type(16), np.linspace(0.3, 2, length).astype(x.dtype)
    smoothed = {"weight": weight, "label_smoothing": 0.1}
    for what, given, options in (
        ("an index", target, {}),
        ("a smoothed index, weighted", target, smoothed),
        ("probabilities", q, {}),
        ("probabilities, weighted", q, {"weight": weight}),
    ):
        both = library.cross_entropy_and_grad(x, given, reduction="none", **options)
        yield f"cross_entropy_and_grad of {what}", both
        yield f"cross_entropy of {what}", library.cross_entropy(x, given, reduction="none", **options)
        assert bits(library.cross_entropy(x, given, reduction="none", **options)) == bits(both[0])
    if length <= golden.LONGEST_JACOBIAN or (x.ndim == 1 and length <= LONGEST_MATRIX):
        yield "softmax_and_jacobian, both", library.softmax_and_jacobian(x)
        yield "softmax_and_jacobian, scale", library.softmax_and_jacobian(x, scale=0.3)


def every_bit(library, x, v, target):
    """The bytes of each result."""
    return {name: bits(result) for name, result in results(library, x, v, target)}


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
WITH_LONG_MATRICES = (333, LONGEST_MATRIX)
CERTAIN = "far"  # logits so far apart that one class has nearly everything


@every_variant
def test_batch_size_and_position(dtype):
    for batch in (2, 3, 17):
        positions = sorted({0, batch // 2, batch - 1})
        check(dtype, SHORT, *[Layout((batch,), (position,), axis=1) for position in positions])
    check(dtype, SHORT[::3], Layout((17,), (8,), axis=1), kinds=[CERTAIN])
    check(dtype, (*AROUND_BORDERS, *WITH_LONG_MATRICES), Layout((3,), (0,), axis=1), Layout((9,), (7,), axis=1))
    check(dtype, (4, 10, 33, 130, 257), Layout((64,), (40,), axis=1), kinds=golden.UNITS)
    check(dtype, LONG, Layout((2,), (1,), axis=1))


@every_variant
def test_alignment(dtype):
    offsets = [Layout(offset=offset, out="own") for offset in range(16)]
    check(dtype, [*range(1, 36), 63, 64, 65, 127, 128, 129, 130, 256, 257, 1025, 4097, 10_007], *offsets)
    check(dtype, [5, 17, 33, 100], *[Layout((5,), (3,), axis=1, offset=offset, out="own") for offset in range(16)])
    check(dtype, LONG[1:], Layout(offset=3, out="own"), Layout(offset=15, out="own"))
    check(dtype, ALL[::3], Layout(odd=1), Layout(odd=1, out="first"))


@every_variant
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
    check(dtype, SHORT[::3], *layouts[:2], kinds=[CERTAIN])
    check(dtype, (4, 10, 33, 130, 257), *layouts, kinds=golden.UNITS)
    check(dtype, (16, 17, 100, 300, 1025), Layout((70,), (69,), axis=0), Layout((70,), (20,), axis=0))
    check(dtype, (*LONG, *WITH_LONG_MATRICES), *layouts[:2])


@every_variant
@each(ANY_AXES)
def test_several_axes(function, dtype):
    """A slice that lies along two axes, with others of length one or with the slices between them."""
    for length in (2, 4, 16, 18, 32, 64, 130, 256, 1024, 2048, 2050, 4096, 10_010, 70_002):
        x, v, _ = golden.inputs("near", length, dtype)
        arrays = inputs_for(function, x[:1], vector=v[:1])
        alone = np.ravel(function(*arrays)).tobytes()
        half = length // 2
        for shape, axes in (
            ((1, length, 1), None),
            ((1, length, 1), (1, 2)),
            ((2, half), (0, 1)),
            ((2, half), None),
            ((1, 2, half), (1, 2)),
            ((2, 1, half), (0, 2)),
        ):
            given = [array.reshape(shape) for array in arrays]
            assert np.ravel(function(*given, axes)).tobytes() == alone, (length, shape, axes)
            # Rows that do not lie side by side.
            apart = [np.concatenate([array, array], -1)[..., : shape[-1]] for array in given]
            assert np.ravel(function(*apart, axes)).tobytes() == alone, (length, shape, axes)


@every_variant
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
    check(dtype, SHORT[::3], *layouts[:2], kinds=[CERTAIN])
    check(dtype, (*LONG, *WITH_LONG_MATRICES), *layouts[:3])


@every_variant
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


@every_variant
def test_number_of_threads(dtype):
    """Shapes that are worth several threads, one long slice among them."""
    for shape in ((4096, 10), (500, 131), (97, 1025), (37, 4099), (16, 10_007), (1, 300_007)):
        bits_ = golden.integers(shape[0] * shape[1], seed=7).reshape(shape)
        x = golden.reals(bits_, golden.UNITS["near"], dtype)
        v, target = x[::-1].copy(), np.arange(shape[0]) % shape[1]
        for columns in (False, True):
            counts = [*range(2, MOST_THREADS + 1), None] if shape[1] in (10, 131, 300_007) else [2, 5, None]
            expected = every_bit(Threads(1, columns), x, v, target)
            for count in counts:
                found = every_bit(Threads(count, columns), x, v, target)
                assert [name for name in expected if found[name] != expected[name]] == [], (shape, columns, count)


@dataclass
class Threads:
    """softmax_cy with a number of threads, on rows or on columns."""

    count: int | None
    columns: bool

    def __getattr__(self, name):
        def call(*arrays, **options):
            if self.columns and not name.endswith("jacobian"):
                arrays = [np.asfortranarray(array) for array in arrays]
            return getattr(softmax_cy, name)(*arrays, num_threads=self.count, **options)

        return call


@every_variant
@each(ANY_AXES)
def test_number_of_threads_along_other_axes(function, dtype):
    for shape, axis in (((97, 2051), 0), ((37, 4099), 0), ((37, 4099), None)):
        numbers = golden.integers(shape[0] * shape[1], seed=8).reshape(shape)
        x = golden.reals(numbers, golden.UNITS["near"], dtype)
        for arrays in (inputs_for(function, x, axis), inputs_for(function, np.asfortranarray(x), axis)):
            expected = bits(function(*arrays, axis, num_threads=1))
            for count in (2, 3, 5, 8, None):
                assert bits(function(*arrays, axis, num_threads=count)) == expected, (shape, axis, count)


@every_variant
@each(LOSSES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_number_of_threads_of_reductions(function, reduction, dtype):
    """Whatever order the losses are added up in by several threads."""
    for shape in ((97, 1025), (5003, 7)):
        numbers = golden.integers(shape[0] * shape[1], seed=9).reshape(shape)
        x = golden.reals(numbers, golden.UNITS["near"], dtype)
        weight = np.linspace(0.3, 2, shape[1])
        for target in (np.arange(shape[0]) % shape[1], abs(x)):
            for y in (x, np.asfortranarray(x)):
                options = {"reduction": reduction, "weight": weight, "label_smoothing": 0.1}
                expected = bits(function(y, target, num_threads=1, **options))
                for count in (2, 3, None):
                    assert bits(function(y, target, num_threads=count, **options)) == expected, (shape, count)


@every_variant
@each(MATRICES)
def test_number_of_threads_of_jacobians(function, dtype):
    for shape, axis in (((200, 65), 1), ((1, 1025), 1), ((97, 130), 1), ((130, 97), 0), ((1, 1501), 1), ((3, 701), 1)):
        numbers = golden.integers(shape[0] * shape[1], seed=8).reshape(shape)
        arrays = inputs_for(function, golden.reals(numbers, golden.UNITS["near"], dtype), axis)
        expected = bits(function(*arrays, axis, num_threads=1))
        for count in (*range(2, MOST_THREADS + 1), None):
            assert bits(function(*arrays, axis, num_threads=count)) == expected, (shape, count)


@every_variant
def test_repeated_runs(dtype):
    check(dtype, ALL[::10], *[Layout(num_threads=None)] * 5, kinds=golden.UNITS)


@pytest.mark.parametrize("other", fma_variants_under_test()[1:])
def test_all_fma_variants_agree(other, dtype):
    """With the first of them, for all options; without any, test_golden.py has the bits of each."""
    before = _dispatch.variant_in_use
    found = []
    for variant in (fma_variants_under_test()[0], other):
        _dispatch.use(variant)
        arguments = [first_slice(kind, length, dtype) for kind in golden.UNITS for length in WITH_OPTIONS[:-1]]
        found.append([every_bit(softmax_cy, *slices) for slices in arguments])
    _dispatch.use(before)
    for one, two in zip(*found, strict=True):
        assert [name for name in one if one[name] != two[name]] == []
