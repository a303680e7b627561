"""axis, scale, where, dtype, keepdims and out, for softmax, log_softmax and logsumexp alike."""

from itertools import permutations
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import twin
from layouts import layouts
from operations import ELEMENTWISE, FORWARD, bits, each
from softmax_cy import log_softmax, logsumexp, softmax, softmax_and_jacobian

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

# logsumexp's are counted as `twin.logsumexp_and_unit` tells.
ULPS = 2.0

inf, nan = np.inf, np.nan

any_operation = each(FORWARD, "operation")
same_shape = each(ELEMENTWISE, "operation")


def ulps(operation, result, x, axis=-1, **options):
    """The distance of a result to the twin's."""
    if operation is logsumexp:
        return twin.ulps(result, *twin.logsumexp_and_unit(x, axis, **options))
    return twin.ulps(result, getattr(twin, operation.__name__)(x, axis, **options))


# ---- any call ----------------------------------------------------------------------------------------------------


@st.composite
def strided_views(draw, shape, dtype):
    """A view of this shape, inside something larger, its axes in any order and with steps of either sign."""
    steps = [draw(st.sampled_from([1, 1, 1, 2, 3, -1, -2])) for _ in shape]
    order = draw(st.permutations(range(len(shape))))
    memory = np.zeros([shape[d] * abs(steps[d]) + 2 for d in order], dtype)
    every = [slice(1, 1 + n * abs(step), abs(step)) for n, step in zip(shape, steps, strict=True)]
    view = memory.transpose(np.argsort(order))[(*every, ...)]
    return np.flip(view, [d for d, step in enumerate(steps) if step < 0])[...]


@st.composite
def calls(draw):
    """Any input in any layout, any options, and somewhere to write."""
    dtype = np.dtype(draw(st.sampled_from([np.float32, np.float64])))
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 18]), max_size=4)))
    axes = st.integers(-max(len(shape), 1), max(len(shape), 1) - 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    x = draw(strided_views(shape, dtype))
    x[...] = twin.family(draw(st.sampled_from(twin.FAMILIES)), (*shape, 1), dtype, rng)[..., 0]
    for special in draw(st.lists(st.sampled_from([inf, -inf, nan]), max_size=3)):
        x[rng.random(shape) < 0.05] = special
    if x.size and draw(st.booleans()):
        repeated = draw(st.sampled_from([*range(x.ndim), None]))
        x = np.broadcast_to(x[tuple(slice(0, 1 if d == repeated else None) for d in range(x.ndim))], shape)

    unique = st.lists(axes, max_size=max(len(shape), 1), unique_by=lambda axis: axis % max(len(shape), 1))
    options = {
        "axis": draw(axes | st.none() | unique.map(tuple)),
        "scale": draw(st.sampled_from([1.0, 1.0, 1 / 3, 12.5, 1e-3, 2])),
    }
    if draw(st.booleans()):
        mask_shape = [draw(st.sampled_from([n, n, 1])) for n in shape][draw(st.integers(0, len(shape))) :]
        mask = options["where"] = draw(strided_views(mask_shape, bool))
        mask[...] = rng.random(mask_shape) < draw(st.sampled_from([0, 0.5, 0.9, 1]))
    return SimpleNamespace(x=x, options=options, out=draw(st.none() | strided_views(shape, dtype)))


many_examples = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    # The fixture is the variant, which is the same for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@same_shape
@many_examples
@given(call=calls())
def test_any_call_agrees_with_the_twin(operation, variant, call):
    before = call.x.copy()
    y = operation(call.x, **call.options, out=call.out)
    assert call.out is None or y is call.out
    assert y.dtype == call.x.dtype
    assert ulps(operation, y, call.x, **call.options) <= ULPS
    np.testing.assert_array_equal(call.x, before)


@many_examples
@given(call=calls(), keepdims=st.booleans())
def test_any_call_of_logsumexp_agrees_with_the_twin(variant, call, keepdims):
    y = logsumexp(call.x, **call.options, keepdims=keepdims)
    assert y.dtype == call.x.dtype
    assert ulps(logsumexp, y, call.x, **call.options, keepdims=keepdims) <= ULPS


# ---- corners -----------------------------------------------------------------------------------------------------

T, F = True, False

# input, options; softmax, log_softmax, logsumexp, each to the last bit
CORNERS = {
    "one element": ([3], {}, [1], [0], 3),
    "one element, scaled": ([[3], [5]], {"scale": 2}, [[1], [1]], [[0], [0]], [6, 10]),
    "no element": (np.ones((2, 0)), {}, np.ones((2, 0)), np.ones((2, 0)), [-inf, -inf]),
    "no slice": (np.ones((0, 2)), {}, np.ones((0, 2)), np.ones((0, 2)), np.ones(0)),
    "one slice without an element": (np.ones((0, 2)), {"axis": None}, np.ones((0, 2)), np.ones((0, 2)), -inf),
    "zero dimensions": (3, {"scale": 0.5}, 1, 0, 1.5),
    "zero dimensions, first axis": (3, {"axis": 0}, 1, 0, 3),
    "zero dimensions, all axes": (3, {"axis": None}, 1, 0, 3),
    "zero dimensions, a tuple": (3, {"axis": (0,)}, 1, 0, 3),
    "zero dimensions, no axes": (3, {"axis": ()}, 1, 0, 3),
    "zero dimensions, kept": (3, {"where": T}, 1, 0, 3),
    "zero dimensions, dropped": (3, {"where": F}, 0, -inf, -inf),
    "nothing but -inf": ([-inf, -inf], {}, [nan, nan], [nan, nan], -inf),
    "-inf": ([-inf, 2, -inf], {}, [0, 1, 0], [-inf, 0, -inf], 2),
    "+inf": ([1, inf, -inf], {}, [nan] * 3, [nan] * 3, inf),
    "+inf twice": ([inf, inf], {}, [nan] * 2, [nan] * 2, inf),
    "NaN": ([1, nan, -inf], {}, [nan] * 3, [nan] * 3, nan),
    "NaN and +inf": ([inf, nan], {}, [nan] * 2, [nan] * 2, nan),
    "-inf, scaled": ([-inf, 2], {"scale": 0.5}, [0, 1], [-inf, 0], 1),
    "nothing but -inf, scaled": ([-inf, -inf], {"scale": 0.5}, [nan, nan], [nan, nan], -inf),
    "+inf, scaled": ([1, inf], {"scale": 0.5}, [nan, nan], [nan, nan], inf),
    "NaN, scaled": ([1, nan], {"scale": 0.5}, [nan, nan], [nan, nan], nan),
    "far below, scaled": ([0, -(2.0**100)], {"scale": 2}, [1, 0], [0, -(2.0**101)], 0),
    "all axes": ([[-inf, 2], [-inf, -inf]], {"axis": None}, [[0, 1], [0, 0]], [[-inf, 0], [-inf, -inf]], 2),
    "two of three axes": (
        [[[2, 5], [-inf, -inf]], [[-inf, -inf], [-inf, -inf]]],
        {"axis": (1, 0)},
        [[[1, 1], [0, 0]], [[0, 0], [0, 0]]],
        [[[0, 0], [-inf, -inf]], [[-inf, -inf], [-inf, -inf]]],
        [2, 5],
    ),
    "no axes": ([1, -2], {"axis": ()}, [1, 1], [0, 0], [1, -2]),
    "no axes, scaled": ([1, -2], {"axis": (), "scale": 2}, [1, 1], [0, 0], [2, -4]),
    "no axes, masked": ([1, nan], {"axis": (), "where": [T, F]}, [1, 0], [0, -inf], [1, -inf]),
    "no axes, special": ([nan, inf, -inf], {"axis": ()}, [nan] * 3, [nan] * 3, [nan, inf, -inf]),
    "one kept": ([1, 2, 3], {"where": [F, T, F]}, [0, 1, 0], [-inf, 0, -inf], 2),
    "one kept, scaled": ([1, 2, 3], {"where": [F, T, F], "scale": 4}, [0, 1, 0], [-inf, 0, -inf], 8),
    "none kept": ([1, 2, 3], {"where": [F, F, F]}, [0, 0, 0], [-inf] * 3, -inf),
    "none kept of NaN and inf": ([nan, inf, -inf], {"where": F}, [0, 0, 0], [-inf] * 3, -inf),
    "dropped NaN": ([nan, 2], {"where": [F, T]}, [0, 1], [-inf, 0], 2),
    "dropped +inf": ([inf, 2], {"where": [F, T]}, [0, 1], [-inf, 0], 2),
    "dropped -inf": ([-inf, 2], {"where": [F, T]}, [0, 1], [-inf, 0], 2),
    "dropped maximum": ([1e38, 2], {"where": [F, T]}, [0, 1], [-inf, 0], 2),
    "kept NaN": ([nan, 1, 2], {"where": [T, F, T]}, [nan, 0, nan], [nan, -inf, nan], nan),
    "kept +inf": ([inf, 1, 2], {"where": [T, F, T]}, [nan, 0, nan], [nan, -inf, nan], inf),
    "kept +inf, dropped NaN": ([inf, nan], {"where": [T, F]}, [nan, 0], [nan, -inf], inf),
    "kept NaN, dropped +inf": ([inf, nan], {"where": [F, T]}, [0, nan], [-inf, nan], nan),
    "kept -inf alone": ([-inf, 1], {"where": [T, F]}, [nan, 0], [nan, -inf], -inf),
    "kept -inf beside a number": ([-inf, 5, 7], {"where": [T, T, F]}, [0, 1, 0], [-inf, 0, -inf], 5),
    "mask of rows": (
        [[1, 2], [3, 4]],
        {"where": [[T], [F]], "axis": 0},
        [[1, 1], [0, 0]],
        [[0, 0], [-inf] * 2],
        [1, 2],
    ),
    "mask of columns": ([[1, 2], [3, 4]], {"where": [T, F]}, [[1, 0], [1, 0]], [[0, -inf], [0, -inf]], [1, 3]),
    "mask of all axes": (
        [[1, 2], [3, 4]],
        {"where": [[F, F], [T, F]], "axis": None},
        [[0, 0], [1, 0]],
        [[-inf, -inf], [0, -inf]],
        3,
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name, variant, dtype):
    x, options, *expected = CORNERS[name]
    x = np.array(x, dtype)
    for operation, result in zip((softmax, log_softmax, logsumexp), expected, strict=True):
        y = operation(x, **options)
        assert isinstance(y, np.ndarray if np.ndim(result) else np.generic)
        np.testing.assert_array_equal(y, np.array(result, dtype), strict=True, err_msg=operation.__name__)
        out = np.full(y.shape, -7, dtype)
        assert operation(x, **options, out=out) is out
        np.testing.assert_array_equal(out, y)


# ---- special values ----------------------------------------------------------------------------------------------


def assert_one_slice_is(value, operation, x):
    """Of three slices the one in the middle, all of it; the others are no NaN and not infinite."""
    y = operation(x)
    np.testing.assert_array_equal(y[1], np.full(np.shape(y[1]), value))
    assert np.isfinite(y[[0, 2]]).all()


@any_operation
@pytest.mark.parametrize("length", [*range(1, 70), 200, 4100, 9000])
def test_nan_fills_its_slice_from_every_position(operation, length, variant, dtype, rng):
    positions = range(length) if length < 100 else [0, 1, 17, length // 2, length - 17, length - 2, length - 1]
    quiet_with_payload = np.array([0x7FC001FF], np.uint32).view(np.float32).astype(dtype)[0]
    for position in positions:
        for special in (nan, -nan, quiet_with_payload):
            x = rng.standard_normal((3, length)).astype(dtype)
            x[1, position] = special
            assert_one_slice_is(nan, operation, x)


@any_operation
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 33, 100, 5000, 70_001])
def test_infinities_decide_their_slice(operation, length, variant, dtype, rng):
    """One of them above, or nothing but those below."""
    for position in (0, length // 2, length - 1):
        x = rng.standard_normal((3, length)).astype(dtype)
        x[1, position] = inf
        assert_one_slice_is(inf if operation is logsumexp else nan, operation, x)
    x[1] = -inf
    assert_one_slice_is(-inf if operation is logsumexp else nan, operation, x)


# ---- axis --------------------------------------------------------------------------------------------------------


@any_operation
@pytest.mark.parametrize("shape", [(3, 4), (4, 3, 5), (2, 3, 4, 5), (2, 1, 70, 40), (3, 2, 50, 50)])
def test_a_tuple_of_axes_is_one_slice_in_any_order_and_layout(operation, shape, variant, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    for axes in [(0, 1), (0, -1), (-2, -1), tuple(range(len(shape)))]:
        rest = [d for d in range(len(shape)) if d not in {axis % len(shape) for axis in axes}]
        order = rest + [d for d in range(len(shape)) if d not in rest]
        flat = operation(x.transpose(order).reshape([shape[d] for d in rest] + [-1]).copy())
        if operation is logsumexp:
            expected = flat
        else:
            expected = flat.reshape([shape[d] for d in order]).transpose(np.argsort(order))
        for permuted in list(permutations(axes))[:5]:
            assert bits(operation(x, permuted)) == bits(expected), permuted
        for name, view in layouts(x).items():
            assert bits(operation(view, axes)) == bits(expected), (axes, name)


@any_operation
def test_all_axes_are_one_slice(operation, variant, dtype, rng):
    for shape in [(7,), (3, 4), (2, 3, 40), (2, 50, 60)]:
        x = rng.standard_normal(shape).astype(dtype)
        for name, view in layouts(x).items():
            assert bits(operation(view, None)) == bits(operation(x.ravel())), (shape, name)


@same_shape
def test_results_of_a_tuple_add_up_to_one_over_all_its_axes(operation, variant, dtype, rng):
    y = operation(rng.standard_normal((3, 40, 5)).astype(dtype), (0, 2))
    total = (y if operation is softmax else np.exp(y.astype(twin.WIDE))).sum(axis=(0, 2), dtype=twin.WIDE)
    np.testing.assert_allclose(total.astype(float), np.ones(40), rtol=10 * np.finfo(dtype).eps)


@any_operation
def test_one_axis_in_a_tuple_is_that_axis(operation, variant, dtype, rng):
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    for axis in (0, 1, 2, -1, np.int8(1)):
        assert bits(operation(x, (axis,))) == bits(operation(x, axis)) == bits(operation(x, int(axis)))


@any_operation
@pytest.mark.parametrize("axis", [np.int8(1), np.uint64(1), np.array(1)], ids=repr)
def test_an_axis_may_be_any_integer(operation, axis, dtype, rng):
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    assert bits(operation(x, axis)) == bits(operation(x, 1))
    assert bits(operation(x, (0, axis))) == bits(operation(x, (0, 1)))


@any_operation
def test_axes_of_length_one_make_no_difference(operation, variant, dtype, rng):
    x = rng.standard_normal((1, 5, 1, 40, 1)).astype(dtype)
    expected = bits(operation(x, 3))
    for axes in [(0, 3), (3, 2), (0, 2, 3, 4), (-1, -2)]:
        assert bits(operation(x, axes)) == expected, axes


# ---- scale -------------------------------------------------------------------------------------------------------


@any_operation
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1 / 3, 1, 3, 12.7, 4e4])
def test_the_product_is_not_rounded(operation, scale, variant, dtype, rng):
    """With an offset of 1e4 or 1e6 the rounding of scale * x would be far more than the bound."""
    for name in twin.FAMILIES:
        for shape in ((20, 5), (3, 37), (1, 2050)):
            x = twin.family(name, shape, dtype, rng)
            assert ulps(operation, operation(x, scale=scale), x, scale=scale) <= ULPS, (name, shape)


@any_operation
def test_the_product_may_leave_the_range(operation, variant, dtype):
    """Where a rounded product would overflow or be subnormal and the exact one is not."""
    info = np.finfo(dtype)
    for x, scale in [
        ([info.max, -info.max, 0], 10),
        ([info.max, info.max / 2, info.max], 1e10),
        ([-info.max, -info.max / 4, -info.max / 2], 8),
        ([info.tiny, 2 * info.tiny, 5 * info.tiny], 1 / info.tiny),
        ([100 * info.smallest_subnormal, 2 * info.smallest_subnormal], 0.01 * info.max),
        ([info.max, 0.999 * info.max, 0], 20 / info.max),
        ([info.tiny, -info.tiny, 0], 0.3),
    ]:
        values = np.array([x], dtype)
        assert ulps(operation, operation(values, scale=scale), values, scale=scale) <= ULPS, (x, scale)


@any_operation
def test_scale_is_converted_to_the_dtype_of_the_computation(operation, variant, rng):
    x = (1e3 * rng.standard_normal((3, 40))).astype(np.float32)
    assert bits(operation(x, scale=0.1)) == bits(operation(x, scale=np.float32(0.1)))
    half = x.astype(np.float16)
    assert bits(operation(half, scale=0.1)) == bits(operation(half, scale=np.float32(0.1)))
    wide = x.astype(np.float64)
    assert bits(operation(wide, scale=0.1)) != bits(operation(wide, scale=float(np.float32(0.1))))
    assert bits(operation(wide, scale=0.1, dtype=np.float32)) == bits(operation(x, scale=0.1))


@any_operation
def test_scale_may_be_any_real_number(operation, dtype):
    x = np.array([1, 2, 4], dtype)
    for two in (2, 2.0, np.float32(2), np.float16(2), np.int64(2), np.array(2.0), BFLOAT16.type(2)):
        assert bits(operation(x, scale=two)) == bits(operation(x, scale=2.0))
    assert bits(operation(x, scale=1)) == bits(operation(x))


@same_shape
def test_a_small_scale_of_numbers_far_apart(operation, variant, dtype):
    """Their difference is too large for the dtype, and what the scale makes of it is not."""
    largest = np.finfo(dtype).max
    x = np.array([0.9 * largest, -0.9 * largest], dtype)
    scale = float(3 / largest)
    assert twin.ulps(operation(x, scale=scale), getattr(twin, operation.__name__)(x, scale=scale)) <= 2


@any_operation
def test_a_power_of_two_as_scale_is_the_input_scaled(operation, variant, dtype, rng):
    """The values are the same, then, and so are the digits asked for."""
    x = rng.standard_normal((5, 70)).astype(dtype)
    for scale in (0.25, 2, 64):
        y = operation(x, scale=scale)
        assert ulps(operation, y, (scale * x).astype(dtype)) <= ULPS


# ---- where -------------------------------------------------------------------------------------------------------


@any_operation
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 2049, 4097, 10_007, 70_001])
def test_dropped_elements_take_no_part(operation, length, variant, dtype, rng):
    """Whatever they hold."""
    x = twin.family("wide normal", (3, length), dtype, rng)
    mask = rng.random(x.shape) < 0.7
    mask[1] = False
    expected = operation(np.where(mask, x, 0).astype(dtype), where=mask)
    assert ulps(operation, expected, x, where=mask) <= ULPS
    for noise in (nan, inf, -inf, np.finfo(dtype).max):
        noisy = x.copy()
        noisy[~mask] = noise
        y = operation(noisy, where=mask)
        assert bits(y) == bits(expected), noise
        if operation is not logsumexp:
            assert (y[~mask] == (0 if operation is softmax else -inf)).all()


@any_operation
def test_every_single_place_kept_or_dropped(operation, variant, dtype, rng):
    for length in (5, 16, 33, 70):
        x = np.broadcast_to(rng.standard_normal(length).astype(dtype), (length, length))
        for mask in (np.eye(length, dtype=bool), ~np.eye(length, dtype=bool)):
            assert ulps(operation, operation(x, where=mask), x, where=mask) <= ULPS
            assert ulps(operation, operation(x, 0, where=mask), x, 0, where=mask) <= ULPS


@same_shape
def test_dropped_elements_of_a_slice_that_is_nan(operation, variant, dtype, rng):
    dropped = 0 if operation is softmax else -inf
    for length in (2, 9, 17, 100, 4097, 10_007):
        for special in (nan, inf):
            x = rng.standard_normal((3, length)).astype(dtype)
            mask = rng.random(x.shape) < 0.5
            mask[1, [0, -1]] = [True, False]
            x[1, 0] = special
            y = operation(x, where=mask)
            assert np.isnan(y[1, mask[1]]).all()
            assert (y[~mask] == dropped).all()
            assert not np.isnan(y[[0, 2]]).any()


@any_operation
def test_every_layout_of_the_mask(operation, variant, dtype, rng):
    shape = (4, 3, 20)
    x = rng.standard_normal(shape).astype(dtype)
    mask = rng.random(shape) < 0.6
    for axis in (0, 1, 2, (0, 1), (0, 2), (2, 1), None, ()):
        expected = bits(operation(x, axis, where=mask))
        for name, view in layouts(mask).items():
            assert bits(operation(x, axis, where=view)) == expected, (axis, name)
        assert bits(operation(x, axis, where=mask.tolist())) == expected


@any_operation
@pytest.mark.parametrize("shape", [(), (1,), (20,), (3, 1), (1, 20), (4, 1, 1), (1, 1, 1), (4, 1, 20), (4, 3, 1)])
def test_a_mask_is_broadcast(operation, shape, variant, dtype, rng):
    x = rng.standard_normal((4, 3, 20)).astype(dtype)
    mask = rng.random(shape) < 0.5
    full = np.broadcast_to(mask, x.shape).copy()
    for axis in (0, 1, 2, (0, 1), (0, 2), (2, 1), None, ()):
        assert bits(operation(x, axis, where=mask)) == bits(operation(x, axis, where=full)), axis


@any_operation
def test_a_causal_mask(operation, variant, dtype, rng):
    """Row i of attention scores keeps what is not after it."""
    x = rng.standard_normal((2, 50, 50)).astype(dtype)
    mask = np.tri(50, dtype=bool)
    y = operation(x, scale=50**-0.5, where=mask)
    assert ulps(operation, y, x, scale=50**-0.5, where=mask) <= ULPS


# ---- dtype -------------------------------------------------------------------------------------------------------


@any_operation
@pytest.mark.parametrize("source", ["?", "i4", "f2", "f4", "f8", BFLOAT16], ids=str)
@pytest.mark.parametrize("wanted", ["f2", "f4", "f8", BFLOAT16], ids=str)
def test_dtype_casts_the_input(operation, source, wanted, rng):
    x = (4 * rng.standard_normal((3, 40))).astype(source)
    y = operation(x, dtype=wanted)
    assert y.dtype == wanted
    assert bits(y) == bits(operation(x.astype(wanted)))
    out = np.zeros_like(y)
    assert operation(x, dtype=wanted, out=out) is out
    assert bits(out) == bits(y)


@any_operation
@pytest.mark.parametrize("spelling", [float, "float64", "d", np.double, np.dtype("f8"), ">f8"], ids=str)
def test_dtype_may_be_spelled_in_any_way(operation, spelling):
    x = np.array([1, 2, 4], np.float32)
    y = operation(x, dtype=spelling)
    assert y.dtype == np.float64
    assert y.dtype.isnative
    assert bits(y) == bits(operation(x.astype(np.float64)))


@any_operation
def test_the_input_is_cast_and_not_the_result(operation):
    """What differs in float64 alone is equal in float32."""
    y = operation(np.array([1, 1 + 1e-12]), dtype=np.float32)
    assert bits(y) == bits(operation(np.ones(2, np.float32)))
    y = operation(np.array([2048, 2049]), dtype=np.float16)
    assert bits(y) == bits(operation(np.full(2, 2048, np.float16)))


@any_operation
@pytest.mark.parametrize("wanted", ["f2", "f4", BFLOAT16], ids=str)
def test_what_is_too_large_for_the_dtype_becomes_an_infinity_without_a_warning(operation, wanted, variant):
    """Whatever NumPy is told to do about overflow."""
    for x in ([1e300, 0], [-1e300, 0], [nan, 0], [1e-300, 0], [2**40, 0] if wanted == "f2" else [1e300, 0]):
        with np.errstate(all="raise"):
            y = operation(np.array(x), dtype=wanted)
        with np.errstate(all="ignore"):
            assert bits(y) == bits(operation(np.array(x).astype(wanted)))


@pytest.mark.parametrize("wanted", ["f2", BFLOAT16], ids=str)
def test_softmax_and_jacobian_does_not_warn_either(wanted, variant):
    x = np.array([0, -12, -15.0])
    with np.errstate(all="raise"):
        y, jacobian = softmax_and_jacobian(x, dtype=wanted)
        softmax_and_jacobian([1e300, 0], dtype=wanted)
    assert bits(y) == bits(softmax(x, dtype=wanted))
    assert jacobian.dtype == wanted


@any_operation
@pytest.mark.parametrize("half", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_16_bit_floats_are_the_rounded_float32_result(operation, half, variant, rng):
    x = (4 * rng.standard_normal((7, 33))).astype(half)
    mask = rng.random(x.shape) < 0.5
    for options in ({"scale": 0.3}, {"where": mask}, {"axis": None}, {"axis": (), "scale": 0.7}):
        y = operation(x, **options)
        assert y.dtype == half
        assert bits(y) == bits(operation(x.astype(np.float32), **options).astype(half))


# ---- out ---------------------------------------------------------------------------------------------------------


@same_shape
def test_in_place_with_every_option(operation, variant, dtype, rng):
    x = rng.standard_normal((3, 40, 5)).astype(dtype)
    for options in (
        {"axis": (0, 2)},
        {"axis": None, "scale": 0.3},
        {"axis": ()},
        {"where": rng.random(x.shape) < 0.5, "axis": 1},
        {"where": rng.random((40, 1)) < 0.5, "axis": (1, 0), "scale": 3},
    ):
        expected = operation(x, **options)
        for name, view in layouts(x, without=("read-only", "other byte order")).items():
            assert operation(view, **options, out=view) is view
            assert bits(view) == bits(expected), (options, name)


@any_operation
def test_out_may_lie_on_the_mask(operation, variant, dtype, rng):
    x = rng.standard_normal((40, 9)).astype(dtype)
    memory = np.zeros(x.size, dtype)
    mask = memory.view(bool)[: x.size].reshape(x.shape)
    mask[...] = rng.random(x.shape) < 0.5
    expected = operation(x, where=mask.copy())
    out = memory[: expected.size].reshape(expected.shape)
    operation(x, where=mask, out=out)
    assert bits(out) == bits(expected)
