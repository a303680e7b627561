"""Where the operands of the C interface may lie: every element beside every other, found by looking at all of them."""

import ctypes
import itertools

import numpy as np
import pytest

import softmax_cy
from capi_cases import call, expected, pointer_kinds, split
from softmax_cy.capi import Status

CELL = 4  # bytes: what offsets are counted in, and a float32 takes
CELLS = 96
NAMES = ["softmax_f32", "logsumexp_f32", "softmax_vjp_f32", "softmax_jacobian_f32", "cross_entropy_and_grad_f32"]


class Operand:
    """Some elements of a memory: their addresses, counted in bytes from its beginning, in an array of their shape."""

    def __init__(self, rng, shape, dtype):
        self.dtype = np.dtype(dtype)
        steps = [0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 12]
        self.strides = [int(rng.choice(steps)) * int(rng.choice([-1, 1, 1])) for _ in shape]
        if rng.integers(2) and len(shape) > 1:  # rows that lie apart, as nearly all do
            self.strides[0] = shape[1] * self.strides[1] + int(rng.integers(4))
        self.place(shape, int(rng.integers(CELLS * CELL // self.dtype.itemsize)))

    def place(self, shape, offset):
        """Compute the addresses."""
        steps = (np.arange(count) * stride for count, stride in zip(shape, self.strides, strict=True))
        size = self.dtype.itemsize
        self.addresses = size * (offset + sum(np.ix_(*steps)))
        return self

    def __repr__(self):
        return f"{self.addresses.tolist()} of {self.dtype}"

    def fits(self):
        """Whether it lies in the memory."""
        return self.addresses.min() >= 0 and self.addresses.max() + self.dtype.itemsize <= CELLS * CELL

    def bytes_taken(self):
        """All of them; one may be there twice."""
        return (self.addresses.reshape(-1, 1) + np.arange(self.dtype.itemsize)).ravel().tolist()

    def is_distinct(self):
        """Whether no element overlaps another."""
        taken = self.bytes_taken()
        return len(set(taken)) == len(taken)

    def is_nested(self):
        """Whether the axes nest in some order: then the interface says that it is distinct."""
        axes = [(abs(s), n) for s, n in zip(self.strides, self.addresses.shape, strict=True) if n > 1]
        extent = 1
        for stride, count in sorted(axes):
            if stride < extent:
                return False
            extent += (count - 1) * stride
        return True

    def is_beside(self, other):
        """Whether the two have no byte in common."""
        return not set(self.bytes_taken()) & set(other.bytes_taken())

    def is_same_as(self, other):
        """Whether each element is that of the other in its place."""
        return self.dtype == other.dtype and np.array_equal(self.addresses, other.addresses)

    def arguments(self, memory, kind):
        """As the interface takes it."""
        first = memory.ctypes.data + int(self.addresses.flat[0])
        return [ctypes.cast(first, kind), *self.strides]


def read(memory, addresses, dtype):
    """The elements at these addresses."""
    data = memory.tobytes()
    flat = [np.frombuffer(data, dtype, 1, int(address))[0] for address in addresses.flat]
    return np.array(flat, dtype).reshape(addresses.shape)


def may_lie_so(name, inputs, outputs):
    """Whether no element of an output is another one of an output or, but in place, one of an input."""
    operation, _ = split(name)
    if not all(output.is_distinct() for output in outputs):
        return False
    for output, x in itertools.product(outputs, inputs):
        in_place = operation.in_place and output is outputs[-1] and output.is_same_as(x)
        if not in_place and not output.is_beside(x):
            return False
    return all(a.is_beside(b) for a, b in itertools.combinations(outputs, 2))


def operands(name, rng):
    """Some that lie in one memory, often near each other."""
    operation, dtype = split(name)
    rows, length = (int(n) for n in rng.integers(1, 5, size=2))
    shapes = [(rows,) if kind == "target" else (rows, length) for kind in operation.inputs]
    made = [Operand(rng, shape, np.int64 if len(shape) == 1 else dtype) for shape in shapes]
    outputs = [Operand(rng, (rows, length, length)[:ndim], dtype) for ndim in operation.outputs]
    if rng.integers(2) and len(outputs[-1].strides) == 2:  # the strides of the input, at another place or the same
        outputs[-1].strides = list(made[0].strides)
        first = int(made[0].addresses.flat[0]) // dtype.itemsize
        outputs[-1].place((rows, length), first + int(rng.integers(-4, 5)))
    return made, outputs


def called(name, inputs, outputs, memory):
    """The status."""
    function = softmax_cy.ctypes_functions[name].as_ctypes()
    arguments = list(inputs[0].addresses.shape)
    for operand, kind in zip([*inputs, *outputs], pointer_kinds(function), strict=True):
        arguments += operand.arguments(memory, kind)
    return Status(function(*arguments, 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_overlap_is_accepted_and_nothing_else(name, rng):
    seen = {Status.OK: 0, Status.OVERLAP: 0}
    apart = 0  # accepted, though neither lies wholly before the other
    while min(seen.values()) < 150 or apart < 100:
        inputs, outputs = operands(name, rng)
        if not all(operand.fits() for operand in [*inputs, *outputs]):
            continue
        memory = np.zeros(CELLS * CELL // 8, np.int64)
        fill(memory, inputs, rng)
        before = memory.copy()
        copies = [read(memory, x.addresses, x.dtype) for x in inputs]
        status = called(name, inputs, outputs, memory)
        seen[status] += 1
        if status == Status.OVERLAP:
            nested = all(output.is_nested() for output in outputs)
            assert not (nested and may_lie_so(name, inputs, outputs)), (inputs, outputs)
            assert np.array_equal(memory, before)
            continue
        assert may_lie_so(name, inputs, outputs), (inputs, outputs)
        apart += any(is_among(x, output) for x, output in itertools.product(inputs, outputs))
        for output, right in zip(outputs, expected(name, copies, 1.0), strict=True):
            assert read(memory, output.addresses, output.dtype).tobytes() == right.tobytes(), (inputs, outputs)
        untouched = np.ones(memory.nbytes, bool)
        untouched[[byte for output in outputs for byte in output.bytes_taken()]] = False
        assert np.array_equal(memory.view(np.uint8)[untouched], before.view(np.uint8)[untouched]), (inputs, outputs)


def fill(memory, inputs, rng):
    """Write numbers that all inputs can be made of: where a target lies, zeros."""
    floats = memory.view(np.float32)
    floats[:] = rng.random(floats.size)
    for x in inputs:
        if x.dtype == np.int64:
            memory.view(np.uint8)[x.bytes_taken()] = 0


def is_among(x, output):
    """Whether it lies between the elements of the other: not in place, and not before or after all of them."""
    a, b = x.bytes_taken(), output.bytes_taken()
    return not x.is_same_as(output) and min(a) < max(b) and min(b) < max(a)


# ---- many rows ---------------------------------------------------------------------------------------------------

ROWS = 20_000


def pairs():
    """Logits and results taking turns, rows of three pairs."""
    memory = np.zeros((ROWS, 3, 2), np.float32)
    return memory[..., 0], memory[..., 1]


def padded_pairs():
    """The same with an odd number of elements from row to row."""
    memory = np.zeros((ROWS, 7), np.float32)
    return memory[:, 0:6:2], memory[:, 1:6:2]


def backwards():
    """Pairs, the results from the last to the first."""
    x, out = pairs()
    return x, out[::-1, ::-1]


def every_second_row():
    """Results beside every second row of logits."""
    memory = np.zeros((2 * ROWS, 30), np.float32)
    return memory[:ROWS, :10], memory[::2, 10:20]


def columns():
    """Rows that lie across: every second column has results."""
    memory = np.zeros((10, 2 * ROWS), np.float32)
    return memory[:, ::2].T, memory[:, 1::2].T


@pytest.mark.parametrize("layout", [pairs, padded_pairs, backwards, every_second_row, columns])
def test_many_rows_between_each_other(layout):
    x, out = layout()
    x[:] = np.random.default_rng(0).random(x.shape)
    right = softmax_cy.softmax(x.copy())
    assert call("softmax_f32", [x], [out]) == Status.OK
    assert np.array_equal(out, right)


def test_a_search_that_would_take_too_long_ends_in_a_refusal():
    """An input whose rows overlap each other in a manner of their own."""
    count = 3000
    memory = np.zeros(8 * count * count + 8, np.float32)
    x = np.lib.stride_tricks.as_strided(memory, (count, count), (4 * 4 * (count - 1), 4 * 4 * (count - 2)))
    out = np.lib.stride_tricks.as_strided(memory[2:], (count, count), (4 * 4 * count, 4 * 4))
    assert call("softmax_f32", [x], [out]) in (Status.OK, Status.OVERLAP)
