"""softmax_and_jacobian: both from the logits, so that the diagonal of a nearly certain class keeps its digits."""

from itertools import product

import ml_dtypes
import mpmath
import numpy as np
import pytest

import twin
from layouts import layouts
from operations import bits
from softmax_cy import softmax, softmax_and_jacobian, softmax_jacobian

pytestmark = pytest.mark.usefixtures("variant")

LENGTHS = [*range(1, 70), 100, 127, 128, 129, 130, 333, 1025]
FEW_LENGTHS = [1, 2, 3, 15, 16, 17, 33, 70, 128, 333]

# On the diagonal: of any class, of one that is nearly certain, and how much more with a scale.
DIAGONAL_ULPS = 4
CERTAIN_ULPS = 3
SCALE_ULPS = 1

inf, nan = np.inf, np.nan


# ---- parts of matrices -------------------------------------------------------------------------------------------


def diagonal(jacobian):
    return np.diagonal(jacobian, axis1=-2, axis2=-1)


def off_diagonal(jacobian):
    """What is not on the diagonal, the matrices flat."""
    return jacobian[..., ~np.eye(jacobian.shape[-1], dtype=bool)]


def without_nan_payload(array):
    """Any NaN is the same NaN."""
    return np.where(np.isnan(array), array.dtype.type(nan), array)


def both_bits(x, axis=-1, **options):
    """Of both results."""
    return bits(tuple(map(without_nan_payload, softmax_and_jacobian(x, axis, **options))))


# ---- digits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", twin.FAMILIES)
def test_digits(name, dtype, rng):
    """The bits of softmax, the bits of softmax_jacobian off the diagonal, and all digits on it."""
    for length in LENGTHS if name in ("normal", "one dominant") else FEW_LENGTHS[:-1]:
        x = twin.family(name, (3, length), dtype, rng)
        y, jacobian = softmax_and_jacobian(x)
        assert y.dtype == jacobian.dtype == dtype
        assert bits(y) == bits(softmax(x)), length
        assert bits(off_diagonal(jacobian)) == bits(off_diagonal(softmax_jacobian(y))), length
        assert twin.ulps(diagonal(jacobian), twin.jacobian_diagonal(x)) <= DIAGONAL_ULPS, length


@pytest.mark.parametrize("scale", [1e-3, 1 / 3, 0.5, 1e4])
def test_digits_with_scale(scale, dtype, rng):
    for name, length in product(twin.FAMILIES, FEW_LENGTHS[:-1]):
        x = twin.family(name, (2, length), dtype, rng)
        y, jacobian = softmax_and_jacobian(x, scale=scale)
        assert bits(y) == bits(softmax(x, scale=scale)), (name, length)
        from_outputs = softmax_jacobian(y, scale=scale)
        assert bits(off_diagonal(jacobian)) == bits(off_diagonal(from_outputs)), (name, length)
        exact = twin.jacobian_diagonal(x, scale=scale)
        assert twin.ulps(diagonal(jacobian), exact) <= DIAGONAL_ULPS + SCALE_ULPS, (name, length)


def test_a_nearly_certain_class_against_mpmath(dtype):
    """From the outputs alone its derivative is 0."""
    y, jacobian = softmax_and_jacobian(np.array([40, 0, 0, 0], dtype))
    assert y[0] == 1
    assert softmax_jacobian(y)[0, 0] == 0
    with mpmath.workdps(60):
        (largest, *_), _, _, rest = pytest.importorskip("benchmarks.exact").row_by_mpmath([40, 0, 0, 0], 0)
        exact = largest * rest
        unit = mpmath.mpf(float(np.spacing(dtype.type(exact))))
        assert abs(mpmath.mpf(float(jacobian[0, 0])) - exact) <= CERTAIN_ULPS * unit


@pytest.mark.parametrize("margin", [10, 40, 80, 100, 700])
def test_a_nearly_certain_class_keeps_its_digits(margin, dtype, rng):
    """Wherever it is, whatever the others are, and whatever is added to all logits."""
    for length in FEW_LENGTHS[1:]:
        for place in {0, 1, length // 2, length - 1}:
            # What is added leaves the others with all their digits.
            for offset in (0, 64, -64):
                x = rng.integers(-128, 1, (2, length)) / 64 + offset
                x[:, place] = margin + offset
                x = x.astype(dtype)
                _, jacobian = softmax_and_jacobian(x)
                assert twin.ulps(diagonal(jacobian), twin.jacobian_diagonal(x)) <= DIAGONAL_ULPS
                at = jacobian[:, place, place]
                assert twin.ulps(at, twin.jacobian_diagonal(x)[:, place]) <= CERTAIN_ULPS, (length, place, offset)
                assert (at > 0).all() or margin > -np.log(np.finfo(dtype).smallest_subnormal)


def test_a_nearly_certain_class_beside_dropped_ones(dtype):
    """The others that are kept make up what is left."""
    x = np.array([40, nan, 0, 0, inf, 0, 50], dtype)
    kept = np.array([1, 0, 1, 1, 0, 0, 0], bool)
    _, jacobian = softmax_and_jacobian(x, where=kept)
    assert twin.ulps(diagonal(jacobian), twin.jacobian_diagonal(x, where=kept)) <= CERTAIN_ULPS
    assert jacobian[0, 0] > 0


def test_a_nearly_certain_class_with_scale(dtype, rng):
    for scale, length in product((1e-3, 0.3, 2, 1000), FEW_LENGTHS[1:]):
        x = rng.uniform(-1, 0, (2, length))
        x[:, length // 2] = 30
        x = (x / scale).astype(dtype)
        _, jacobian = softmax_and_jacobian(x, scale=scale)
        found, exact = (array[:, length // 2] for array in (diagonal(jacobian), twin.jacobian_diagonal(x, scale=scale)))
        assert twin.ulps(found, exact) <= CERTAIN_ULPS + SCALE_ULPS, (scale, length)


def test_around_a_half(dtype):
    """Where 1 - y is taken from the other classes, and where from y itself."""
    for length in FEW_LENGTHS[1:]:
        for excess in (-0.5, -0.1, -1e-3, -1e-6, 0, 1e-6, 1e-3, 0.1, 0.5, 1, 2, 4):
            x = np.zeros((1, length), dtype)
            x[0, length // 3] = np.log(length - 1) + excess
            _, jacobian = softmax_and_jacobian(x)
            assert twin.ulps(diagonal(jacobian), twin.jacobian_diagonal(x)) <= DIAGONAL_ULPS, (length, excess)


def test_a_certain_class_does_not_move(dtype):
    """Nothing is left for the others, or nothing that is not 0 once rounded."""
    far = -200 if dtype == np.float32 else -1600
    for x, options in (
        ([[7.5]], {}),
        ([[7.5]], {"scale": 3}),
        ([[-inf, 2, -inf]], {}),
        ([[0, far, far]], {}),
        ([[1, 2, nan]], {"where": [False, True, False]}),
    ):
        y, jacobian = softmax_and_jacobian(np.array(x, dtype), **options)
        assert y.max() == 1
        assert (jacobian == 0).all()


def test_two_equal_classes(dtype):
    _, jacobian = softmax_and_jacobian(np.array([500, 500, -500], dtype), scale=2)
    assert jacobian.tolist() == [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]]


def test_rows_add_up_to_zero_to_the_last_digits(dtype, rng):
    """Of what is on the diagonal; those of softmax_jacobian add up to zero beside 1."""
    for margin, length in product((0, 5, 20, 60), FEW_LENGTHS):
        x = rng.standard_normal((3, length)).astype(dtype)
        x[:, -1] += margin
        _, jacobian = softmax_and_jacobian(x)
        np.testing.assert_array_equal(jacobian, jacobian.swapaxes(1, 2))
        wide = jacobian.astype(twin.WIDE)
        # Rounded to subnormal numbers, entries are off by half the smallest of them.
        allowed = 6 * np.finfo(dtype).eps * diagonal(wide) + length * np.finfo(dtype).smallest_subnormal
        assert (abs(wide.sum(-1)) <= allowed).all(), (margin, length)


# ---- special values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [nan, inf, "nothing but -inf"])
def test_a_bad_slice_is_nan_alone(bad, dtype, rng):
    for length in FEW_LENGTHS:
        x = rng.standard_normal((3, length)).astype(dtype)
        expected = both_bits(x[::2])
        for position in {0, length // 2, length - 1}:
            z = x.copy()
            if isinstance(bad, float):
                z[1, position] = bad
            else:
                z[1] = -inf
            y, jacobian = softmax_and_jacobian(z)
            assert np.isnan(y[1]).all()
            assert np.isnan(jacobian[1]).all()
            assert (bits(y[::2]), bits(jacobian[::2])) == expected, (length, position)


def test_classes_without_probability(dtype):
    y, jacobian = softmax_and_jacobian(np.array([1, -inf, 1, -inf], dtype))
    assert y.tolist() == [0.5, 0, 0.5, 0]
    assert jacobian.tolist() == [[0.25, 0, -0.25, 0], [0, 0, 0, 0], [-0.25, 0, 0.25, 0], [0, 0, 0, 0]]


# ---- where -------------------------------------------------------------------------------------------------------


def test_dropped_classes_have_zero_rows_and_columns(dtype, rng):
    """Whatever they hold."""
    for length in FEW_LENGTHS:
        x = (4 * rng.standard_normal((4, length))).astype(dtype)
        mask = rng.random(x.shape) < 0.7
        mask[1] = False
        mask[2] = True
        y, jacobian = softmax_and_jacobian(x, where=mask)
        assert bits(y) == bits(softmax(x, where=mask))
        assert (jacobian[~mask] == 0).all()
        assert (jacobian.swapaxes(1, 2)[~mask] == 0).all()
        assert bits(off_diagonal(jacobian)) == bits(off_diagonal(softmax_jacobian(y)))
        some = mask.any(axis=-1)
        exact = twin.jacobian_diagonal(x[some], where=mask[some])
        assert twin.ulps(diagonal(jacobian)[some], exact) <= DIAGONAL_ULPS, length
        for noise in (nan, inf, -inf, np.finfo(dtype).max):
            noisy = np.where(mask, x, dtype.type(noise))
            assert both_bits(noisy, where=mask) == (bits(y), bits(jacobian)), noise


def test_where_broadcasts_and_moves_with_the_axis(dtype, rng):
    x = rng.standard_normal((4, 3, 20)).astype(dtype)
    for shape in ((), (20,), (3, 1), (4, 1, 1), (4, 3, 20)):
        mask = rng.random(shape) < 0.6
        full = np.broadcast_to(mask, x.shape).copy()
        for axis in (0, 1, 2):
            moved = np.moveaxis(x, axis, -1).copy(), np.moveaxis(full, axis, -1).copy()
            y, jacobian = softmax_and_jacobian(x, axis, where=mask)
            assert (bits(np.moveaxis(y, axis, -1)), bits(jacobian)) == both_bits(moved[0], where=moved[1])


def test_kept_nan_in_a_slice_with_dropped_classes(dtype):
    x = np.array([[nan, 1, 2], [0, 1, 2]], dtype)
    kept = np.array([True, False, True])
    y, jacobian = softmax_and_jacobian(x, where=kept)
    np.testing.assert_array_equal(y[0], [nan, 0, nan])
    assert np.isnan(jacobian[0][np.ix_(kept, kept)]).all()
    assert not np.isnan(jacobian[1]).any()


# ---- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (3, 3, 3), (1, 4, 1, 3)])
def test_batch_axes_come_first(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        moved = np.moveaxis(x, axis, -1)
        y, jacobian = softmax_and_jacobian(x, axis)
        assert y.shape == shape
        assert jacobian.shape == (*moved.shape, moved.shape[-1])
        assert (bits(np.moveaxis(y, axis, -1)), bits(jacobian)) == both_bits(moved.copy())


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4)])
def test_empty(shape, dtype):
    for axis in range(len(shape)):
        y, jacobian = softmax_and_jacobian(np.empty(shape, dtype), axis)
        batch = shape[:axis] + shape[axis + 1 :]
        assert y.shape == shape
        assert jacobian.shape == (*batch, shape[axis], shape[axis])
        assert y.dtype == jacobian.dtype == dtype


def test_zero_dimensions(dtype):
    for axis in (-1, 0):
        y, jacobian = softmax_and_jacobian(np.array(3, dtype), axis)
        assert isinstance(y, np.generic)
        assert isinstance(jacobian, np.ndarray)
        assert (y.shape, jacobian.shape) == ((), (1, 1))
        assert y.dtype == jacobian.dtype == dtype
        assert (y.tolist(), jacobian.tolist()) == (1, [[0]])
    out = np.zeros((), dtype), np.ones((1, 1), dtype)
    softmax_and_jacobian(np.array(3, dtype), out=out)
    assert (out[0].tolist(), out[1].tolist()) == (1, [[0]])
    y, jacobian = softmax_and_jacobian(np.array(3, dtype), where=False)
    assert (y.tolist(), jacobian.tolist()) == (0, [[0]])


# ---- dtypes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_16_bit_floats_are_the_rounded_float32_result(half, rng):
    """Of both, so that the Jacobian is not that of rounded outputs."""
    x = (4 * rng.standard_normal((3, 33))).astype(half)
    x[0, 5] = 20
    expected = [bits(result.astype(half)) for result in softmax_and_jacobian(x.astype(np.float32), scale=0.3)]
    results = softmax_and_jacobian(x, scale=0.3)
    assert all(result.dtype == half for result in results)
    assert list(map(bits, results)) == expected
    out = np.zeros((3, 33), half), np.zeros((3, 33, 33), half)
    results = softmax_and_jacobian(x, scale=0.3, out=out)
    assert results[0] is out[0]
    assert results[1] is out[1]
    assert list(map(bits, out)) == expected
    in_place = x.copy()
    assert softmax_and_jacobian(in_place, scale=0.3, out=(in_place, None))[0] is in_place
    assert bits(in_place) == expected[0]


@pytest.mark.parametrize("source", ["?", "i4", "f2", "f4", "f8", ml_dtypes.bfloat16], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("wanted", ["f2", "f4", "f8", ">f8", ml_dtypes.bfloat16], ids=lambda d: np.dtype(d).str)
def test_dtype_casts_the_input(source, wanted, rng):
    x = (4 * rng.standard_normal((3, 20))).astype(source)
    native = np.dtype(wanted).newbyteorder("=")
    y, jacobian = softmax_and_jacobian(x, dtype=wanted)
    assert y.dtype == jacobian.dtype == native
    assert (bits(y), bits(jacobian)) == tuple(map(bits, softmax_and_jacobian(x.astype(native))))
    assert bits(y) == bits(softmax(x, dtype=wanted))
    out = np.zeros_like(y), np.zeros_like(jacobian)
    softmax_and_jacobian(x, dtype=wanted, out=out)
    assert tuple(map(bits, out)) == (bits(y), bits(jacobian))


def test_lists_scalars_and_subclasses():
    expected = both_bits(np.array([1.0, 2.0]))
    assert both_bits([1, 2]) == both_bits((1.0, 2.0)) == expected
    assert softmax_and_jacobian(3)[1].tolist() == [[0]]

    class Labelled(np.ndarray):
        pass

    results = softmax_and_jacobian(np.array([1.0, 2.0]).view(Labelled))
    assert isinstance(results, tuple)
    assert [type(result) for result in results] == [np.ndarray] * 2


# ---- layout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 50), (4, 3, 20), (1, 1100)])
def test_every_layout_and_axis(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    for axis in range(len(shape)):
        expected = both_bits(np.moveaxis(x, axis, -1).copy())
        for name, view in layouts(x).items():
            y, jacobian = softmax_and_jacobian(view, axis)
            assert (bits(np.moveaxis(y, axis, -1)), bits(jacobian)) == expected, (axis, name)


def test_broadcast_input(dtype, rng):
    row = rng.standard_normal(20).astype(dtype)
    y, jacobian = softmax_and_jacobian(np.broadcast_to(row, (4, 5, 20)))
    expected = softmax_and_jacobian(row)
    assert bits(y) == bits(np.broadcast_to(expected[0], y.shape))
    assert bits(jacobian) == bits(np.broadcast_to(expected[1], jacobian.shape))


def test_results_past_the_caches(dtype, rng):
    """What is larger than the last cache is written in another way: same entries, at every alignment."""
    x = (3 * rng.standard_normal((1, 3101))).astype(dtype)
    y, jacobian = softmax_and_jacobian(x, out=(None, np.empty((1, 3101, 3101), dtype)))
    assert bits(y) == bits(softmax(x))
    rounded = -y[0, :, None] * y[0]
    np.fill_diagonal(rounded, diagonal(jacobian[0]))
    assert bits(jacobian[0]) == bits(rounded)
    assert twin.ulps(diagonal(jacobian), twin.jacobian_diagonal(x)) <= DIAGONAL_ULPS


# ---- out ---------------------------------------------------------------------------------------------------------


def test_either_result_may_have_an_array_to_go_to(dtype, rng):
    x = rng.standard_normal((3, 20)).astype(dtype)
    expected = both_bits(x)
    for with_y, with_jacobian in product((False, True), repeat=2):
        out = (
            np.full((3, 20), -7, dtype) if with_y else None,
            np.full((3, 20, 20), -7, dtype) if with_jacobian else None,
        )
        results = softmax_and_jacobian(x, out=out)
        assert isinstance(results, tuple)
        assert tuple(map(bits, results)) == expected
        for result, given in zip(results, out, strict=True):
            assert given is None or result is given


@pytest.mark.parametrize("shape", [(3, 3), (2, 20), (1, 2100)])
def test_out_of_any_layout_and_nothing_else_is_written(shape, dtype, rng):
    count, length = shape
    x = rng.standard_normal(shape).astype(dtype)
    x[0, 0] = 30
    expected = both_bits(x)
    for make_y, make_jacobian in (
        (lambda big: big[1:-1, 1:-1], lambda big: big[1:-1, 1:-1, 1:-1]),
        (lambda big: big[1:-1, 1:-1][::-1, ::-1], lambda big: big[1:-1, 1:-1, 1:-1].swapaxes(1, 2)),
        (lambda big: big.T.copy().T[1:-1, 1:-1], lambda big: big[1:-1, 1:-1, 1:-1][::-1, ::-1, ::-1]),
    ):
        out = (
            make_y(np.full((count + 2, length + 2), -7, dtype)),
            make_jacobian(np.full((count + 2, length + 2, length + 2), -7, dtype)),
        )
        results = softmax_and_jacobian(x, out=out)
        for result, given, bits_of_result in zip(results, out, expected, strict=True):
            assert result is given
            assert bits(given) == bits_of_result
            given[...] = -7
            assert (given.base == -7).all()


def test_in_place(dtype, rng):
    for length in (1, 2, 10, 100, 700):
        x = rng.standard_normal((2, length)).astype(dtype)
        every = ({}, {"scale": 0.3}, {"where": rng.random((2, length)) < 0.8})
        for axis, options in product((0, 1), every if length < 700 else every[-1:]):
            expected = both_bits(x, axis, **options)
            for y in (x.copy(), np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
                results = softmax_and_jacobian(y, axis, out=(y, None), **options)
                assert results[0] is y
                assert tuple(map(bits, results)) == expected, (length, axis)


def test_both_in_one_array(dtype, rng):
    """Side by side, without a common element, with the logits where the first result goes or apart."""
    x = rng.standard_normal((3, 20)).astype(dtype)
    expected = both_bits(x)
    for in_place in (False, True):
        memory = np.full((3, 20, 21), -7, dtype)
        out = memory[..., 20], memory[..., :20]
        out[0][...] = x
        softmax_and_jacobian(out[0] if in_place else x, out=out)
        assert tuple(map(bits, out)) == expected


@pytest.mark.parametrize("length", [10, 100, 700])
def test_outputs_over_part_of_the_input(length, dtype, rng):
    values = rng.standard_normal(3 * length + 3).astype(dtype)
    for first, second in (
        (lambda m: m[:-3].reshape(3, -1), lambda m: m[3:].reshape(3, -1)),
        (lambda m: m[3:].reshape(3, -1), lambda m: m[:-3].reshape(3, -1)),
        (lambda m: m[:-3].reshape(3, -1), lambda m: m[:-3].reshape(3, -1)[::-1]),
        (lambda m: m[:-3].reshape(3, -1), lambda m: m[:-3].reshape(3, -1)[:, ::-1]),
    ):
        memory = values.copy()
        x, out = first(memory), second(memory)
        expected = both_bits(x.copy())
        _, jacobian = softmax_and_jacobian(x, out=(out, None))
        assert (bits(out), bits(jacobian)) == expected


def test_jacobian_over_the_input(dtype, rng):
    """The logits are a row, a column or the diagonal of what is written, or straddle its rows."""
    values = rng.standard_normal(7).astype(dtype)
    expected = both_bits(values)
    for place in (
        lambda memory: memory[0],
        lambda memory: memory[6],
        lambda memory: memory[:, 0],
        lambda memory: memory[:, 4],
        lambda memory: memory[::-1, 6],
        lambda memory: memory.reshape(-1)[5:12],
        lambda memory: memory.reshape(-1)[::8],
    ):
        memory = np.zeros((7, 7), dtype)
        x = place(memory)
        x[...] = values
        y, jacobian = softmax_and_jacobian(x, out=(None, memory))
        assert jacobian is memory
        assert (bits(y), bits(memory)) == expected


def test_both_over_a_part_of_the_input_each(dtype, rng):
    values = rng.standard_normal(7).astype(dtype)
    expected = both_bits(values)
    for first in ("outputs", "jacobian"):
        for start in range(42, 57) if first == "jacobian" else range(8):
            memory = np.zeros(64, dtype)
            x = memory[start : start + 7]
            x[...] = values
            parts = (memory[49:56], memory[:49]) if first == "jacobian" else (memory[:7], memory[7:56])
            out = parts[0], parts[1].reshape(7, 7)
            softmax_and_jacobian(x, out=out)
            assert tuple(map(bits, out)) == expected, (first, start)


def test_jacobian_over_a_batch_of_inputs(dtype, rng):
    values = rng.standard_normal((4, 5)).astype(dtype)
    expected = both_bits(values)
    for start in (0, 3, 80):
        memory = np.zeros(100, dtype)
        x = memory[start : start + 20].reshape(4, 5)
        x[...] = values
        y, _ = softmax_and_jacobian(x, out=(None, memory.reshape(4, 5, 5)))
        assert (bits(y), bits(memory)) == expected


def test_outputs_over_the_mask(dtype, rng):
    x = rng.standard_normal((3, 20)).astype(dtype)
    mask = rng.random((3, 20)) < 0.6
    expected = both_bits(x, where=mask)
    for which, shape in ((0, (3, 20)), (1, (3, 20, 20))):
        target = np.zeros(shape, dtype)
        for start in (0, target.nbytes - 60):
            over = target.reshape(-1).view(bool)[start : start + 60].reshape(3, 20)
            over[...] = mask
            out = (target, None) if which == 0 else (None, target)
            assert tuple(map(bits, softmax_and_jacobian(x, where=over, out=out))) == expected
            target[...] = 0
