"""Slices side by side, along another axis than the last: the bits are those of the same slices as rows."""

import functools
from collections.abc import Callable
from itertools import permutations, product
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import softmax_cy
import twin
from layouts import in_records, read_only, unaligned
from operations import ELEMENTWISE, FORWARD, JACOBIANS, PRODUCTS, each, forward_of
from softmax_cy import (
    cross_entropy,
    cross_entropy_and_grad,
    logsumexp,
    softmax,
    softmax_and_jacobian,
)

pytestmark = pytest.mark.usefixtures("variant")

inf, nan = np.inf, np.nan


# ---- the operations ----------------------------------------------------------------------------------------------


class Operation(NamedTuple):
    """Something that is done to each slice by itself."""

    # From logits as rows: the arrays that have the axis of the slices, at the end, and one that has not, or None.
    inputs: Callable
    # From these arrays, an axis and options: the results, each with the axis of the slices at the end or without it.
    results: Callable
    # The one that has the shape of the first array, as it comes, or None.
    same_shape: Callable | None
    # What it takes besides an axis.
    scale: bool = True
    where: bool = False
    # Whether a result is a matrix for each slice.
    matrices: bool = False


def of_logits(function):
    """A result in the shape of the logits."""
    return Operation(
        lambda x: ([x], None),
        lambda x, _, axis, **options: [np.moveaxis(function(x, axis, **options), axis, -1)],
        lambda x, _, axis, **options: function(x, axis, **options),
        where=True,
    )


def of_vector(function):
    """A product: the logits, without -inf, are the vector as well."""
    return Operation(
        lambda x: ([np.where(np.isneginf(x), x.dtype.type(1), x), forward_of(function)(x)], None),
        lambda v, y, _, axis, **options: [np.moveaxis(function(v, y, axis, **options), axis, -1)],
        lambda v, y, _, axis, **options: function(v, y, axis, **options),
    )


def of_outputs(function):
    """A matrix from what a forward function returned."""
    return Operation(
        lambda x: ([forward_of(function)(x)], None),
        lambda y, _, axis, **options: [function(y, axis, **options)],
        None,
        matrices=True,
    )


def indices(x):
    """A class for each slice, all of them in turn."""
    return np.arange(x[..., 0].size).reshape(x.shape[:-1]) % x.shape[-1]


def probabilities(x):
    """Or what takes their place: some of them 0, and neighbours with different ones."""
    q = np.arange(x.size).reshape(x.shape) * 31 % 17 * (np.arange(x.shape[-1]) % 3 < 2)
    return (q / 64).astype(x.dtype)


def of_losses(soft, weighted=False, **fixed):
    """The losses with and without the gradient, and that."""

    def all_options(x, axis, options):
        weight = np.linspace(0.3, 2, x.shape[axis]) if weighted else None
        return {"axis": axis, "weight": weight, "reduction": "none", **fixed, **options}

    def results(x, target, *none, axis, **options):
        options = all_options(x, axis, options)
        losses, grad = cross_entropy_and_grad(x, target, **options)
        return [losses, np.moveaxis(grad, axis, -1), cross_entropy(x, target, **options)]

    return Operation(
        lambda x: ([x, probabilities(x)], None) if soft else ([x], indices(x)),
        results,
        lambda x, target, *none, axis, **options: cross_entropy_and_grad(x, target, **all_options(x, axis, options))[1],
        scale=False,
    )


def outputs_and_matrices(x, _, axis, **options):
    y, jacobian = softmax_and_jacobian(x, axis, **options)
    return [np.moveaxis(y, axis, -1), jacobian]


OPERATIONS = {
    **{function.__name__: of_logits(function) for function in ELEMENTWISE},
    "logsumexp": Operation(
        lambda x: ([x], None),
        lambda x, _, axis, **options: [logsumexp(x, axis, **options)],
        None,
        where=True,
    ),
    **{function.__name__: of_vector(function) for function in PRODUCTS},
    **{function.__name__: of_outputs(function) for function in JACOBIANS},
    "cross_entropy of indices": of_losses(False),
    "cross_entropy of indices, weighted, smoothed, ignoring": of_losses(
        False, weighted=True, label_smoothing=0.1, ignore_index=0
    ),
    "cross_entropy of probabilities": of_losses(True),
    "cross_entropy of probabilities, weighted, smoothed": of_losses(True, weighted=True, label_smoothing=0.1),
    "softmax_and_jacobian": Operation(
        lambda x: ([x], None),
        outputs_and_matrices,
        None,
        where=True,
        matrices=True,
    ),
}


def every(wanted=lambda operation: True):
    """A parameter: the operations of some kind."""
    return pytest.mark.parametrize("name", [name for name in OPERATIONS if wanted(OPERATIONS[name])])


every_operation = every()
every_operation_with_scale = every(lambda operation: operation.scale)
every_operation_with_where = every(lambda operation: operation.where)
every_operation_of_one_shape = every(lambda operation: operation.same_shape)


def bits(array):
    """The bytes, so that 0 differs from -0; any NaN is the same NaN."""
    is_nan = np.isnan(array)
    return (np.where(is_nan, array.dtype.type(nan), array) if is_nan.any() else array).tobytes()


def as_columns(rows, axis=0):
    """A copy with the slices along another axis, the last one counting them."""
    return np.moveaxis(rows, -1, axis).copy()


def all_bits(operation, arrays, other, axis, **options):
    """Of all results."""
    with np.errstate(invalid="ignore", over="ignore"):
        return [bits(result) for result in operation.results(*arrays, other, axis=axis, **options)]


def check(operation, rows, make=lambda columns: columns, axis=0, hint=None, **options):
    """The same bits from rows and from columns, these lying in memory as `make` puts them."""
    arrays, other = operation.inputs(rows)
    expected = all_bits(operation, arrays, other, -1, **options)
    columns = [make(as_columns(array, axis)) for array in arrays]
    assert all_bits(operation, columns, other, axis, **options) == expected, (rows.shape, hint)


# ---- sizes and values --------------------------------------------------------------------------------------------

# Around the borders of lanes (8, 16) and of blocks (2048, 4096, and half of each).
SHORT = [*range(1, 41), 63, 64, 65, 66]
MIDDLING = [127, 128, 129, 130, 255, 256, 257, 258, 511, 512, 513]
LONG = {1000: 35, 2047: 1, 2048: 17, 2049: 5, 2050: 9, 4095: 2, 4096: 5, 4097: 1, 4098: 17, 8193: 2, 10_007: 3}
WIDTHS = [*range(1, 71), 127, 128, 129, 130, 257]
SIZES = [
    *[(n, WIDTHS[(29 * i + 25 * j) % len(WIDTHS)]) for i, n in enumerate(SHORT) for j in range(2)],
    *[(n, WIDTHS[(17 * i + 8) % 70]) for i, n in enumerate(MIDDLING)],
    *LONG.items(),
]


@functools.cache
def inputs_of_all_sizes(dtype):
    """Rows of all sizes and families in turn, with the axis that they are to lie along: 0 of two or 1 of three."""
    rng = np.random.default_rng(20240229)
    found = []
    for i, (n, m) in enumerate(SIZES):
        batch = (m,) if i % 2 else (2 if n < 100 else 1, m)
        rows = twin.family(twin.FAMILIES[i % len(twin.FAMILIES)], (*batch, n), dtype, rng)
        found.append((rows, len(batch) - 1))
    return found


def fits(operation, rows):
    """Whether the results are of a size that is worth the time."""
    return not operation.matrices or rows.size * rows.shape[-1] <= 200_000


@every_operation
def test_every_size(name, dtype):
    operation = OPERATIONS[name]
    for rows, axis in inputs_of_all_sizes(dtype):
        if fits(operation, rows):
            check(operation, rows, axis=axis)


@every_operation
def test_every_width(name, dtype, rng):
    """All that can be left over after whole vectors."""
    operation = OPERATIONS[name]
    for m in WIDTHS:
        check(operation, (3 * rng.standard_normal((m, 5))).astype(dtype))


@every_operation
def test_every_family(name, dtype, rng):
    operation = OPERATIONS[name]
    for family, (n, m) in product(twin.FAMILIES, ((3, 50), (20, 35), (130, 18), (2050, 3))):
        rows = twin.family(family, (m, n), dtype, rng)
        if fits(operation, rows):
            check(operation, rows, hint=family)


@every_operation_with_scale
def test_scale(name, dtype, rng):
    operation = OPERATIONS[name]
    for scale in (1e-3, 0.37, 8, 1e4):
        for family, n, m in (("normal", 17, 35), ("offset 1e4", 5, 70), ("wide normal", 130, 18), ("normal", 2050, 3)):
            rows = twin.family(family, (m, n), dtype, rng)
            if fits(operation, rows):
                check(operation, rows, scale=scale, hint=scale)


@each(FORWARD, "forward")
def test_slices_that_are_kept_in_no_scratch(forward, dtype, rng):
    """So long that a row computes its exponentials twice."""
    x = twin.family("wide normal", (70_001, 5), dtype, rng)
    expected = forward(x.T.copy())
    found = forward(x, axis=0)
    assert bits(found if forward is logsumexp else found.T) == bits(expected)


def test_results_past_the_caches(dtype, rng):
    """What is larger than the last cache may be written in another way."""
    n = 40
    m = softmax_cy.show_config(mode="dicts")["last-level cache bytes"] // (n * dtype.itemsize) + 1003
    base = (3 * rng.standard_normal(m + 7 * n)).astype(dtype)
    x = as_strided(base, (n, m), (7 * dtype.itemsize, dtype.itemsize))
    y = softmax(x, axis=0)
    some = np.unique(np.concatenate([np.arange(200), rng.integers(m, size=500), np.arange(m - 200, m)]))
    assert bits(y[:, some].T) == bits(softmax(x[:, some].T.copy()))


# ---- neighbours --------------------------------------------------------------------------------------------------

# Each from a row and the place of one element in it.
PECULIAR = {
    "all -inf": lambda row, place: np.full_like(row, -inf),
    "all -inf but one": lambda row, place: np.where(np.arange(row.size) == place, row, -inf),
    "a NaN": lambda row, place: np.where(np.arange(row.size) == place, nan, row),
    "all NaN": lambda row, place: np.full_like(row, nan),
    "+inf": lambda row, place: np.where(np.arange(row.size) == place, inf, row),
    "-inf": lambda row, place: np.where(np.arange(row.size) == place, -inf, row),
    "offset 1e30": lambda row, place: 1e30 * (1 + row),
    "offset -1e30": lambda row, place: -1e30 * (1 + row),
    "offset 300": lambda row, place: 300 + row,
    "offset 2000": lambda row, place: 2000 + row,
    "dominated": lambda row, place: np.where(np.arange(row.size) == place, 60, row),
    "dominated by the largest number": lambda row, place: np.where(
        np.arange(row.size) == place, np.finfo(row.dtype).max, row
    ),
    "far below": lambda row, place: np.where(np.arange(row.size) == place, -1e9, row),
    "subnormal results": lambda row, place: np.where(
        np.arange(row.size) == place, 0, row - (95 if row.dtype == np.float32 else 725)
    ),
    "all equal": lambda row, place: np.full_like(row, 1.7),
    "zeros of both signs": lambda row, place: np.where(np.arange(row.size) % 2, 0.0, -0.0),
}


def peculiar(kind, row, place):
    return PECULIAR[kind](row, place).astype(row.dtype)


@every_operation
def test_peculiar_columns_beside_ordinary_ones(name, dtype, rng):
    """Every other column is of some peculiar kind, in whichever lane; all columns are as if they were alone."""
    operation = OPERATIONS[name]
    for n in (1, 2, 3, 8, 17, 40, 300):
        if n == 300 and operation.matrices:
            continue
        for first in (0, 1, 6, 13):
            rows = rng.standard_normal((53, n)).astype(dtype)
            for i, kind in enumerate(PECULIAR):
                rows[first + 2 * i] = peculiar(kind, rows[first + 2 * i], (5 * i + first) % n)
            check(operation, rows, hint=first)
            if n < 40:
                check(operation, np.stack([rows, rows[::-1]]), axis=1, hint=first)


@every_operation
def test_one_peculiar_column_changes_no_other(name, dtype, rng):
    operation = OPERATIONS[name]
    ordinary = rng.standard_normal((37, 20)).astype(dtype)
    arrays, other = operation.inputs(ordinary)
    before = [operation.results(*map(as_columns, arrays), other, axis=0)]
    for i, kind in enumerate(PECULIAR):
        for at in (0, 7, 15, 16, 31, 32, 36):
            rows = ordinary.copy()
            rows[at] = peculiar(kind, rows[at], i)
            arrays, _ = operation.inputs(rows)
            with np.errstate(invalid="ignore", over="ignore"):
                after = operation.results(*map(as_columns, arrays), other, axis=0)
            for one, two in zip(*before, after, strict=True):
                assert bits(np.delete(one, at, 0)) == bits(np.delete(two, at, 0)), (kind, at)


@every_operation
def test_a_special_value_at_every_position(name, dtype, rng):
    """Each in a column of its own, between ordinary ones."""
    operation = OPERATIONS[name]
    for special, n in product((nan, -nan, inf), (1, 2, 3, 7, 8, 9, 16, 17, 33, 70)):
        rows = rng.standard_normal((2 * n + 1, n)).astype(dtype)
        rows[1::2][np.eye(n, dtype=bool)] = special
        check(operation, rows, hint=special)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ignored_columns_between_others(smoothing, dtype, rng):
    """Whatever they hold."""
    for n, m in ((3, 50), (17, 40), (130, 20)):
        x = rng.standard_normal((m, n)).astype(dtype)
        target = rng.integers(n, size=m)
        ignored = rng.random(m) < 0.4
        target[ignored] = -5
        for i, kind in enumerate(PECULIAR):
            if ignored[i]:
                x[i] = peculiar(kind, x[i], i % n)
        options = {"ignore_index": -5, "label_smoothing": smoothing}
        for reduction in ("none", "sum", "mean"):
            loss, grad = cross_entropy_and_grad(x, target, reduction=reduction, **options)
            found, grad_of_columns = cross_entropy_and_grad(x.T.copy(), target, 0, reduction=reduction, **options)
            assert bits(found) == bits(loss)
            assert bits(grad_of_columns.T) == bits(grad)
            assert (grad_of_columns[:, ignored] == 0).all()


# ---- where -------------------------------------------------------------------------------------------------------


@every_operation_with_where
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_where(name, scale, dtype, rng):
    """Of each element, of whole rows and of whole columns; what is dropped may be NaN."""
    operation = OPERATIONS[name]
    for n, m in ((1, 20), (4, 70), (17, 35), (130, 18), (2050, 3)):
        rows = (3 * rng.standard_normal((m, n))).astype(dtype)
        if not fits(operation, rows):
            continue
        for shape in ((m, n), (1, n), (m, 1)):
            mask = rng.random(shape) < 0.6
            holed = np.where(mask | (rng.random((m, n)) < 0.5), rows, dtype.type(nan))
            expected = all_bits(operation, [holed], None, -1, where=mask, scale=scale)
            columns = as_columns(holed)
            for turned in (mask.T.copy(), mask.T, np.broadcast_to(mask.T, (n, m)).copy(), mask.T[::-1].copy()[::-1]):
                assert all_bits(operation, [columns], None, 0, where=turned, scale=scale) == expected, (n, m, shape)


@every_operation_with_where
def test_where_with_peculiar_columns(name, dtype, rng):
    operation = OPERATIONS[name]
    n = 20
    rows = rng.standard_normal((2 * len(PECULIAR) + 1, n)).astype(dtype)
    for i, kind in enumerate(PECULIAR):
        rows[2 * i + 1] = peculiar(kind, rows[2 * i + 1], i)
    for kept in (0.3, 0.7, 1):
        mask = rng.random(rows.shape) < kept
        mask[[4, 5, -1]] = False
        expected = all_bits(operation, [rows], None, -1, where=mask)
        assert all_bits(operation, [as_columns(rows)], None, 0, where=mask.T.copy()) == expected


# ---- layout ------------------------------------------------------------------------------------------------------


def padded(offset):
    """Rows that are longer than they need be, with the columns beginning at some element of them."""

    def make(columns):
        big = np.full((*columns.shape[:-1], columns.shape[-1] + 17), nan, columns.dtype)
        view = big[..., offset : offset + columns.shape[-1]]
        view[...] = columns
        return view

    return make


def stepped(*steps):
    """With these steps along the last axes."""

    def make(columns):
        big = np.full([n * max(abs(step), 1) for n, step in zip(columns.shape, steps, strict=True)], nan, columns.dtype)
        view = big[tuple(slice(None, None, step) for step in steps)]
        view[...] = columns
        return view

    return make


LAYOUTS = {
    **{f"padded, from element {offset}": padded(offset) for offset in (0, 1, 2, 5, 8, 15, 16)},
    "every other column": stepped(1, 2),
    "every third row": stepped(3, 1),
    "every other row and column": stepped(2, 2),
    "from right to left": stepped(1, -1),
    "upside down": stepped(-1, 1),
    "turned around": stepped(-2, -3),
    "rows": np.asfortranarray,
    "unaligned": unaligned,
    "read-only": read_only,
    "other byte order": lambda columns: columns.astype(columns.dtype.newbyteorder()),
    "a field of records": in_records,
}


@every_operation
def test_every_layout(name, dtype, rng):
    """Of all inputs alike, and of each with the others in C order."""
    operation = OPERATIONS[name]
    for n, m in ((5, 40), (33, 19), (16, 67), (2050, 3)):
        rows = (2 * rng.standard_normal((m, n))).astype(dtype)
        if not fits(operation, rows):
            continue
        arrays, other = operation.inputs(rows)
        expected = all_bits(operation, arrays, other, -1)
        for layout, make in LAYOUTS.items():
            moved = [make(as_columns(array)) for array in arrays]
            assert all_bits(operation, moved, other, 0) == expected, (n, m, layout)
            for i in range(len(arrays) if len(arrays) > 1 else 0):
                columns = [as_columns(array) for array in arrays]
                columns[i] = moved[i]
                assert all_bits(operation, columns, other, 0) == expected, (n, m, layout, i)


@every_operation
def test_axes_around_the_slices_in_any_order(name, dtype, rng):
    """The axis of the slices first, in the middle, or last, and any of the three the one that lies side by side."""
    operation = OPERATIONS[name]
    for a, n, m in ((3, 7, 20), (20, 7, 3), (2, 33, 18), (1, 9, 40), (40, 9, 1)):
        rows = (2 * rng.standard_normal((a, m, n))).astype(dtype)
        for axis in (0, 1, 2, -2):
            for order in permutations(range(3)):

                def lay(columns, order=order):
                    return columns.transpose(order).copy().transpose(np.argsort(order))

                check(operation, rows, lay, axis=axis, hint=order)


@every_operation
def test_the_same_column_again_and_again(name, dtype, rng):
    """From one column in memory."""
    operation = OPERATIONS[name]
    for n in (1, 5, 17, 130):
        arrays, other = operation.inputs((2 * rng.standard_normal((1, n))).astype(dtype))
        expected = all_bits(operation, arrays, other, -1)
        wide = [np.broadcast_to(array.T, (n, 37)) for array in arrays]
        target = other if other is None else np.broadcast_to(other, 37)
        for result, alone in zip(operation.results(*wide, target, axis=0), expected, strict=True):
            assert {bits(one) for one in result} == {alone}, n


@each(PRODUCTS)
def test_products_with_one_column_for_all(function, dtype, rng):
    """Of either input; or with a number for each column."""
    for n, m in ((1, 20), (5, 40), (17, 35), (130, 18), (2050, 3)):
        v = rng.standard_normal((m, n)).astype(dtype)
        y = forward_of(function)(rng.standard_normal((m, n)).astype(dtype))
        for v_part, y_part in ((v, y[:1]), (v[:1], y), (v[:, :1], y), (v, y[:, :1]), (v[:1, :1], y)):
            expected = bits(function(v_part, y_part))
            assert bits(function(v_part.T.copy(), y_part.T.copy(), 0).T) == expected
            assert bits(function(v_part.T, y_part.T, 0).T) == expected


@every(lambda operation: operation.scale and not operation.matrices)
def test_several_axes_side_by_side(name, dtype, rng):
    """The elements of a slice lie along two axes, with the slices between or after them."""
    operation = OPERATIONS[name]
    for n, k, m in ((2, 3, 40), (5, 7, 18), (30, 40, 5), (70, 60, 2)):
        rows = (2 * rng.standard_normal((m, n * k))).astype(dtype)
        arrays, other = operation.inputs(rows)
        expected = all_bits(operation, arrays, other, -1)
        split = [array.reshape(m, n, k) for array in arrays]
        for order, axes in (((1, 2, 0), (0, 1)), ((1, 0, 2), (0, 2)), ((2, 1, 0), (0, 1)), ((2, 0, 1), (2, 0))):
            columns = [array.transpose(order).copy() for array in split]
            # The elements of a slice count in the order of its axes, whatever the order of the tuple.
            in_order = order.index(1) < order.index(2)
            again = expected
            if not in_order:
                turned = [array.swapaxes(1, 2).reshape(m, n * k).copy() for array in split]
                again = all_bits(operation, turned, other, -1)
            if operation.same_shape:
                result = operation.same_shape(*columns, other, axis=axes)
                first, second = (1, 2) if in_order else (2, 1)
                back = result.transpose([order.index(0), order.index(first), order.index(second)])
                assert [bits(back.reshape(m, -1))] == again, (order, axes)
            else:
                assert all_bits(operation, columns, other, axes) == again, (order, axes)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@every_operation
def test_16_bit_floats(name, half, rng):
    operation = OPERATIONS[name]
    for n, m in ((5, 40), (33, 19)):
        check(operation, rng.standard_normal((m, n)).astype(half))


# ---- out ---------------------------------------------------------------------------------------------------------

OUTS = {name: LAYOUTS[name] for name in LAYOUTS if name not in ("read-only", "other byte order")}


@every_operation_of_one_shape
def test_out_of_any_layout_and_nothing_else_is_written(name, dtype, rng):
    """Beside inputs in C order, and beside some that lie in the same way."""
    operation = OPERATIONS[name]
    for n, m in ((5, 40), (33, 19), (2050, 3)):
        arrays, other = operation.inputs((2 * rng.standard_normal((m, n))).astype(dtype))
        expected = bits(operation.same_shape(*arrays, other, axis=-1))
        for layout, make in OUTS.items():
            for lay in (lambda columns: columns, make):
                columns = [lay(as_columns(array)) for array in arrays]
                out = make(np.full((n, m), -7, dtype))
                memory = out if out.base is None else out.base
                untouched = memory.tobytes()
                assert operation.same_shape(*columns, other, axis=0, out=out) is out
                assert bits(out.T) == expected, (n, m, layout)
                out[...] = -7
                assert memory.tobytes() == untouched, (n, m, layout)


@every_operation_of_one_shape
def test_in_place(name, dtype, rng):
    """Over each input that has the shape of the result, in every layout."""
    operation = OPERATIONS[name]
    for n, m in ((1, 20), (5, 40), (17, 35), (130, 18), (2050, 3)):
        arrays, other = operation.inputs((2 * rng.standard_normal((m, n))).astype(dtype))
        expected = bits(operation.same_shape(*arrays, other, axis=-1))
        for layout in ("padded, from element 0", "padded, from element 5", "every other column", "turned around"):
            for over in range(len(arrays)):
                for make in (lambda columns: columns, OUTS[layout]):
                    columns = [make(as_columns(array)) for array in arrays]
                    assert operation.same_shape(*columns, other, axis=0, out=columns[over]) is columns[over]
                    assert bits(columns[over].T) == expected, (n, m, layout, over)


@every(lambda operation: operation.where and operation.same_shape)
def test_in_place_with_where_and_scale(name, dtype, rng):
    operation = OPERATIONS[name]
    for n, m in ((4, 50), (17, 35), (2050, 3)):
        rows = rng.standard_normal((m, n)).astype(dtype)
        mask = rng.random((m, n)) < 0.6
        expected = bits(operation.same_shape(rows, None, axis=-1, where=mask, scale=0.37))
        columns = as_columns(rows)
        operation.same_shape(columns, None, axis=0, where=mask.T.copy(), scale=0.37, out=columns)
        assert bits(columns.T) == expected


# What is read and what is written of n * m + 2 * m elements.
OVERLAPS = {
    "one element on": (lambda m, n, k: m[: n * k].reshape(n, k), lambda m, n, k: m[1 : n * k + 1].reshape(n, k)),
    "one element back": (lambda m, n, k: m[1 : n * k + 1].reshape(n, k), lambda m, n, k: m[: n * k].reshape(n, k)),
    "one row on": (lambda m, n, k: m[: n * k].reshape(n, k), lambda m, n, k: m[k : n * k + k].reshape(n, k)),
    "one row back": (lambda m, n, k: m[k : n * k + k].reshape(n, k), lambda m, n, k: m[: n * k].reshape(n, k)),
    "from right to left": (lambda m, n, k: m[: n * k].reshape(n, k), lambda m, n, k: m[: n * k].reshape(n, k)[:, ::-1]),
    "upside down": (lambda m, n, k: m[: n * k].reshape(n, k), lambda m, n, k: m[: n * k].reshape(n, k)[::-1]),
    "rows for columns": (lambda m, n, k: m[: n * k].reshape(n, k), lambda m, n, k: m[: n * k].reshape(k, n).T),
    "columns moved by one": (
        lambda m, n, k: m[: n * (k + 1)].reshape(n, k + 1)[:, :-1],
        lambda m, n, k: m[: n * (k + 1)].reshape(n, k + 1)[:, 1:],
    ),
    "columns moved back by one": (
        lambda m, n, k: m[: n * (k + 1)].reshape(n, k + 1)[:, 1:],
        lambda m, n, k: m[: n * (k + 1)].reshape(n, k + 1)[:, :-1],
    ),
}


@every_operation_of_one_shape
def test_out_that_overlaps_an_input(name, dtype, rng):
    operation = OPERATIONS[name]
    for (overlap, (read, write)), (n, m) in product(OVERLAPS.items(), ((5, 5), (5, 40), (33, 19), (300, 20))):
        arrays, other = operation.inputs((2 * rng.standard_normal((m, n))).astype(dtype))
        expected = bits(operation.same_shape(*arrays, other, axis=-1))
        for over in range(len(arrays)):
            memory = np.zeros(n * m + 2 * max(n, m), dtype)
            columns = [as_columns(array) for array in arrays]
            columns[over] = read(memory, n, m)
            columns[over][...] = arrays[over].T
            out = write(memory, n, m)
            operation.same_shape(*columns, other, axis=0, out=out)
            assert bits(out.T) == expected, (overlap, n, m, over)


def test_sums_into_any_layout(dtype, rng):
    """What has a number for each column, with the columns' axis kept or not."""
    for n, m in ((5, 40), (33, 19), (2050, 3)):
        rows = (2 * rng.standard_normal((m, n))).astype(dtype)
        expected = bits(logsumexp(rows))
        losses = bits(cross_entropy(rows, indices(rows), reduction="none"))
        columns = as_columns(rows)
        for step in (1, 2, -1, -3):
            memory = np.full(m * abs(step) + 2, -7, dtype)
            out = memory[1:-1][::step]
            assert logsumexp(columns, 0, out=out) is out
            assert bits(out) == expected
            out[...] = -7
            logsumexp(columns, 0, keepdims=True, out=out[None])
            assert bits(out) == expected
            out[...] = -7
            cross_entropy(columns, indices(rows), 0, reduction="none", out=out)
            assert bits(out) == losses
            out[...] = -7
            assert (memory == -7).all()


@pytest.mark.parametrize("line", [0, 1, -1])
def test_sums_over_a_row_of_the_input(line, dtype, rng):
    for n, m in ((5, 40), (33, 19), (2050, 3)):
        rows = (2 * rng.standard_normal((m, n))).astype(dtype)
        columns = as_columns(rows)
        logsumexp(columns, 0, out=columns[line])
        assert bits(columns[line]) == bits(logsumexp(rows))
        columns = as_columns(rows)
        cross_entropy(columns, indices(rows), 0, reduction="none", out=columns[line])
        assert bits(columns[line]) == bits(cross_entropy(rows, indices(rows), reduction="none"))


@every(lambda operation: operation.matrices and not operation.where)
def test_matrices_of_columns_into_any_layout(name, dtype, rng):
    operation = OPERATIONS[name]
    for n, m in ((5, 20), (33, 7), (300, 2)):
        (outputs,), _ = operation.inputs((2 * rng.standard_normal((m, n))).astype(dtype))
        expected = all_bits(operation, [outputs], None, -1)
        for make in (
            lambda big: big[1:-1, 1:-1, 1:-1],
            lambda big: big[1:-1, 1:-1, 1:-1].swapaxes(1, 2),
            lambda big: big[1:-1, 1:-1, 1:-1][::-1, ::-1, ::-1],
        ):
            big = np.full((m + 2, n + 2, n + 2), -7, dtype)
            out = make(big)
            assert all_bits(operation, [as_columns(outputs)], None, 0, out=out) == expected
            out[...] = -7
            assert (big == -7).all()


# ---- threads -----------------------------------------------------------------------------------------------------


@every_operation
def test_number_of_threads(name, dtype, rng):
    """A thread may begin at any column of any batch."""
    operation = OPERATIONS[name]
    rows = (2 * rng.standard_normal((3, 50, 61) if operation.matrices else (3, 500, 203))).astype(dtype)
    arrays, other = operation.inputs(rows)
    expected = all_bits(operation, arrays, other, -1, num_threads=1)
    columns = [as_columns(array, 1) for array in arrays]
    for num_threads in (1, 2, 3, 4):
        assert all_bits(operation, columns, other, 1, num_threads=num_threads) == expected, num_threads


@every_operation_of_one_shape
def test_number_of_threads_in_place(name, dtype, rng):
    operation = OPERATIONS[name]
    arrays, other = operation.inputs((2 * rng.standard_normal((1501, 203))).astype(dtype))
    expected = bits(operation.same_shape(*arrays, other, axis=-1, num_threads=1))
    for num_threads in (2, 3, 4):
        columns = [as_columns(array) for array in arrays]
        operation.same_shape(*columns, other, axis=0, out=columns[0], num_threads=num_threads)
        assert bits(columns[0].T) == expected, num_threads
