"""States of parts of slices: however slices are cut and states are merged, the bits of one call on the whole."""

import copy
import itertools
import pickle
import re
import sys
import warnings
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest

import twin
from conftest import variants_under_test
from layouts import layouts
from operations import bits
from softmax_cy import (
    SoftmaxState,
    _dispatch,
    cross_entropy,
    cross_entropy_and_grad,
    log_softmax,
    logsumexp,
    merge_states,
    softmax,
    softmax_state,
)
from wrong_parts import NAMES, WRONG_CALLS

every_variant = pytest.mark.usefixtures("variant")

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int16)


def block_length(dtype):
    """How many elements of a slice a block has, of the type that results are computed in."""
    return 2048 if dtype in (np.float64, np.int16) else 4096


def take(array, axis, start, stop):
    """A part of each slice, or None of None."""
    return None if array is None else array[(slice(None),) * (axis % array.ndim) + (slice(start, stop),)]


def stretches(cuts, length):
    """The parts between the cuts, in any order and more than once, as pairs of a start and a stop."""
    ends = [0, *sorted(cuts), length]
    return list(itertools.pairwise(ends))


def cut(x, cuts, axis=-1, where=None, **options):
    """The states of all parts."""
    length = x.shape[axis]
    return [
        softmax_state(
            take(x, axis, start, stop),
            axis,
            offset=start,
            length=length,
            where=take(where, axis, start, stop),
            **options,
        )
        for start, stop in stretches(cuts, length)
    ]


def merge_in_any_order(states, rng):
    """All of them, by groups of neighbours in any order."""
    states = list(states)
    while len(states) > 1:
        first, count = rng.integers(len(states) - 1), rng.integers(2, 5)
        group = states[first : first + count]
        states[first : first + count] = [merge_states(*(group[i] for i in rng.permutation(len(group))))]
    return states[0]


def assert_same(result, expected, what):
    assert np.asarray(result).dtype == np.asarray(expected).dtype, what
    assert np.shape(result) == np.shape(expected), what
    assert bits(result) == bits(expected), what


def assert_finishes(state, x, cuts, axis=-1, where=None, **options):
    """Each result of each part has the bits of the whole. The parts need not be those that were summarized."""
    assert state.is_complete
    assert_same(state.logsumexp(), logsumexp(x, axis, where=where, **options), "logsumexp")
    for finish, function in ((state.finish, softmax), (state.finish_log, log_softmax)):
        expected = function(x, axis, where=where, **options)
        for start, stop in stretches(cuts, x.shape[axis]):
            result = finish(take(x, axis, start, stop), start, where=take(where, axis, start, stop))
            assert_same(result, take(expected, axis, start, stop), (function.__name__, start, stop))


def assert_losses(state, x, target, cuts, axis=-1, grad_scale=1.0, **options):
    """The losses of all parts add up to those of the whole, and the gradients are parts of the whole gradient."""
    with np.errstate(all="ignore"):
        expected, expected_grad = cross_entropy_and_grad(x, target, axis, reduction="none", **options)
        total = np.zeros(expected.shape, expected.dtype)
    for start, stop in stretches(cuts, x.shape[axis]):
        part = take(x, axis, start, stop)
        loss, grad = state.cross_entropy_and_grad(part, target, start, grad_scale=grad_scale, **options)
        assert_same(state.cross_entropy(part, target, start, **options), loss, "loss alone")
        if grad_scale == 1:
            assert_same(grad, take(expected_grad, axis, start, stop), ("gradient", start, stop))
        total = total + loss
    assert_same(total, expected, "loss")


def assert_any_cut(x, rng, axis=-1, where=None, cuts=None, **options):
    """Cut at random, merge in any order, finish in other parts."""
    length = x.shape[axis]
    cuts = rng.integers(0, length + 1, rng.integers(7)) if cuts is None else cuts
    state = merge_in_any_order(cut(x, cuts, axis, where, **options), rng)
    assert_finishes(state, x, rng.integers(0, length + 1, 3), axis, where, **options)
    return state


# ---- any cuts, any values ----------------------------------------------------------------------------------------

KINDS = {
    "normal": lambda x, rng: x,
    "wide": lambda x, rng: 40 * x,
    "some NaN": lambda x, rng: np.where(rng.random(x.shape) < 2 / x.shape[-1], np.nan, x),
    "some -inf": lambda x, rng: np.where(rng.random(x.shape) < 0.3, -np.inf, x),
    "all -inf": lambda x, rng: np.full(x.shape, -np.inf),
    "one +inf": lambda x, rng: np.where(np.arange(x.shape[-1]) == rng.integers(x.shape[-1]), np.inf, x),
    # Blocks far below the largest element: their results are subnormal numbers, or zeros.
    "rising": lambda x, rng: x + np.linspace(-300, 0, x.shape[-1]),
    "falling": lambda x, rng: x + np.linspace(0, -1800, x.shape[-1]),
    # So far from 0 that the largest element is subtracted.
    "far away": lambda x, rng: x + rng.choice([-5000, 3000, 1e6]),
    "far away and apart": lambda x, rng: x + np.linspace(0, 4000, x.shape[-1]) * rng.choice([-1, 1]),
    "near the limit": lambda x, rng: x / 20 + np.linspace(200, 212, x.shape[-1]),
    "one dominates": lambda x, rng: np.where(np.arange(x.shape[-1]) == rng.integers(x.shape[-1]), 60, x),
    "all equal": lambda x, rng: np.full(x.shape, -1.7),
}
LENGTHS = (1, 2, 17, 300, 2047, 2048, 2049, 4095, 4096, 4097, 8192, 9001, 20_000)


def draw(kind, dtype, shape, rng):
    with np.errstate(all="ignore"):
        x = KINDS[kind](rng.standard_normal(shape), rng)
        if dtype == np.int16:
            x = np.clip(np.nan_to_num(x, posinf=3, neginf=-3), -30_000, 30_000)
        return x.astype(dtype)


@every_variant
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data_dtype", DTYPES, ids=lambda one: np.dtype(one).name)
def test_any_cuts(kind, data_dtype, rng):
    for i, length in enumerate(LENGTHS):
        x = draw(kind, data_dtype, (2, length), rng)
        where = [None, rng.random(x.shape) < rng.choice([0, 0.3, 0.9])][i % 2]
        options = {"scale": [1.0, 1.0, 0.7, 2.5][i % 4]}
        step = block_length(data_dtype)
        at_borders = [border for border in range(step, length, step) if rng.random() < 0.7]
        assert_any_cut(x, rng, where=where, cuts=[None, None, at_borders][i % 3], **options)


@every_variant
@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_parts(kind, dtype, rng):
    for length in (1, 5, 4096, 9001):
        x = draw(kind, dtype, (3, length), rng)
        weight = rng.random(length)
        target = np.array([rng.integers(length), 0, length - 1])
        cuts = rng.integers(0, length + 1, 3)
        state = merge_in_any_order(cut(x, cuts), rng)
        assert_losses(state, x, target, [length // 2])
        assert_losses(state, x, target, [length // 3], weight=weight)
        target[1] = -100
        assert_losses(state, x, target, cuts, weight=weight, ignore_index=-100)


@every_variant
@hypothesis.settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@hypothesis.given(data=st.data())
def test_cuts_that_hypothesis_finds(data):
    length = data.draw(st.sampled_from([0, 1, 2, 3, 40, 2048, 4096, 4100, 6144, 12_288]))
    dtype = np.dtype(data.draw(st.sampled_from([np.float32, np.float64])))
    x = np.random.default_rng(length).standard_normal((2, length)).astype(dtype)
    special = st.sampled_from([np.nan, np.inf, -np.inf, 700.0, -700.0, -0.0, 3e4, -3e4])
    for place, value in data.draw(st.dictionaries(st.integers(0, max(0, length - 1)), special, max_size=3)).items():
        x[:, place : place + 1] = value
    near = st.sampled_from([n for b in range(0, length + 1, 2048) for n in (b - 1, b, b + 1) if 0 <= n <= length])
    cuts = data.draw(st.lists(st.integers(0, length) | near, max_size=6))
    states = cut(x, cuts)
    while len(states) > 1:
        first = data.draw(st.integers(0, len(states) - 2))
        states[first : first + 2] = [states[first + 1].merge(states[first])]
    assert_finishes(states[0], x, data.draw(st.lists(st.integers(0, length) | near, max_size=3)))


@every_variant
def test_parts_of_one_element_and_empty_parts(dtype, rng):
    x = rng.standard_normal((2, 40)).astype(dtype)
    cuts = sorted([*range(40), 0, 7, 7, 40, 40])
    assert_any_cut(x, rng, cuts=cuts)
    long = rng.standard_normal(block_length(dtype) + 3).astype(dtype)
    border = block_length(dtype)
    assert_any_cut(long, rng, cuts=[border - 1, border, border, border + 1])


@every_variant
def test_parts_around_each_border_of_blocks(dtype, rng):
    """Results are computed in the units of the blocks they lie in: here they are far apart."""
    block = block_length(dtype)
    for rise in (-40, 40):
        x = (rng.standard_normal((2, 3 * block + 2)) + rise * (np.arange(3 * block + 2) // block)).astype(dtype)
        near = [border + i for border in (block, 2 * block, 3 * block) for i in (-1, 0, 1)]
        state = merge_states(*cut(x, near))
        assert state == softmax_state(x)
        for place in near:
            assert_finishes(state, x, [place])
            assert_losses(state, x, np.array([place, 0]), [place])


@every_variant
def test_one_call_on_the_whole(dtype, rng):
    for length in (0, 1, 30, 20_000):
        assert_any_cut(rng.standard_normal((2, length)).astype(dtype), rng, cuts=[])


@every_variant
def test_slices_of_no_elements_and_no_slices(dtype, rng):
    for shape, axis in (((3, 0), 1), ((0, 5), 1), ((0, 0), 0), ((0,), 0)):
        x = np.zeros(shape, dtype)
        assert_any_cut(x, rng, axis, cuts=[0, x.shape[axis]])
    state = merge_states(*cut(np.zeros((2, 0), dtype), [0]))
    loss, grad = state.cross_entropy_and_grad(np.zeros((2, 0), dtype), [7, 7], 0, ignore_index=7)
    assert loss.tolist() == [0, 0]
    assert grad.shape == (2, 0)


@every_variant
def test_any_axis(dtype, rng):
    x = rng.standard_normal((3, 50, 4)).astype(dtype)
    for axis in range(-3, 3):
        state = assert_any_cut(x, rng, axis)
        assert state.axis == axis % 3
        assert state.shape == tuple(np.delete(x.shape, axis))
        assert_same(state.logsumexp(keepdims=True), logsumexp(x, axis, keepdims=True), axis)
        target = rng.integers(x.shape[axis], size=state.shape)
        assert_losses(state, x, target, [1, 2], axis)
    tall = rng.standard_normal((9001, 2)).astype(dtype)
    assert_any_cut(tall, rng, 0)


@every_variant
def test_a_vector_gives_scalars(dtype, rng):
    x = rng.standard_normal(9).astype(dtype)
    state = assert_any_cut(x, rng)
    assert state.shape == ()
    assert type(state.logsumexp()) is dtype.type
    assert type(state.cross_entropy(x[:4], 2, 0)) is dtype.type
    assert_losses(state, x, np.array(5), [3, 6])


@every_variant
def test_layouts(dtype, rng):
    x = rng.standard_normal((3, 9000)).astype(dtype)
    target = np.array([0, 8999, 4500])
    for name, laid in layouts(x).items():
        state = merge_states(*cut(laid, [17, 5000]))
        assert state == merge_states(*cut(x, [17, 5000])), name
        assert_finishes(state, laid, [100, 6000])
        for form in (target.astype(">i4"), target.astype(np.uint64), np.repeat(target, 2)[::2], target.tolist()):
            assert_losses(state, laid, form, [100, 6000])


@every_variant
@pytest.mark.parametrize("wanted", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_dtype(wanted, rng):
    for source in (np.float64, np.float32, np.int64, np.int8, bool, np.float16):
        x = (9 * rng.standard_normal((2, 5001))).astype(source)
        state = assert_any_cut(x, rng, dtype=wanted)
        assert state.dtype == np.dtype(wanted)


@every_variant
def test_a_mask_that_broadcasts(dtype, rng):
    x = rng.standard_normal((3, 40)).astype(dtype)
    mask = rng.random(40) < 0.5
    left = softmax_state(x[:, :9], where=mask[:9], length=40)
    right = softmax_state(x[:, 9:], where=mask[9:], offset=9)
    state = left.merge(right)
    assert_same(state.finish(x[:, 9:], 9, where=mask[9:]), softmax(x, where=mask)[:, 9:], "softmax")
    assert state.masked
    assert not softmax_state(x).masked
    unmasked = softmax_state(x[:, :9], length=40), softmax_state(x[:, 9:], offset=9)
    for state in (merge_states(unmasked[0], right), merge_states(left, unmasked[1])):
        assert state.masked
        with pytest.raises(ValueError, match="a loss has no mask"):
            state.cross_entropy(x, [0, 1, 2], 0)
    assert not merge_states(*unmasked).masked


@every_variant
def test_what_is_dropped_may_be_anything(dtype, rng):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    mask = rng.random(x.shape) < 0.5
    mask[1] = False
    x[~mask] = np.nan
    state = assert_any_cut(x, rng, where=mask)
    assert np.isfinite(state.logsumexp()).tolist() == [True, False]


@every_variant
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_special_value_in_one_part_only(value, dtype, rng):
    for length in (10, 9000):
        for place in (0, length // 2, length - 1):
            x = rng.standard_normal((2, length)).astype(dtype)
            x[0, place] = value
            for cuts in ([place], [place, place + 1], [1, length - 1]):
                state = assert_any_cut(x, rng, cuts=cuts)
            assert_losses(state, x, np.array([length // 3, place]), [place])


@every_variant
def test_nan_in_a_block_without_a_number(dtype, rng):
    """It counts, whether the numbers of the slice come before it or after it."""
    block = block_length(dtype)
    for place in (3, block + 3, 2 * block + 3):
        x = rng.standard_normal((2, 3 * block)).astype(dtype)
        first = place // block * block
        x[:, first : first + block] = -np.inf
        x[0, place] = np.nan
        assert np.isnan(logsumexp(x)).tolist() == [True, False]
        for exact in (True, False):
            state = merge_states(*cut(x, [first, first + block], exact=exact))
            assert np.isnan(state.logsumexp()).tolist() == [True, False], (place, exact)
            assert np.isnan(state.finish(x, 0)).all(1).tolist() == [True, False], (place, exact)


@every_variant
def test_one_element_that_is_kept_counts_in_any_part(dtype):
    """Of slices of nothing but -inf: softmax is NaN where anything is kept, and 0 where nothing is."""
    for length, exact in itertools.product((10, 9000), (True, False)):
        x = np.full((2, length), -np.inf, dtype)
        for place in (0, length // 2, length - 1):
            where = np.zeros((2, length), bool)
            where[0, place] = True
            for cuts in ([length // 3], [0, place, place + 1, length]):
                state = merge_states(*cut(x, cuts, where=where, exact=exact))
                assert_finishes(state, x, [5], where=where)


@every_variant
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_slice_without_a_softmax_has_a_loss_in_no_part(value, dtype, rng):
    """Wherever its target is, and whatever the weight of that."""
    for length in (10, 9000):
        x = rng.standard_normal((2, length)).astype(dtype)
        x[0, slice(None) if value == -np.inf else slice(3, 4)] = value
        state = merge_states(*cut(x, [2, length // 2]))
        for weight in (None, np.ones(length), np.zeros(length)):
            for start, stop in stretches([5, length - 1], length):
                loss, grad = state.cross_entropy_and_grad(x[:, start:stop], [1, 1], start, weight=weight)
                assert np.isnan(loss).tolist() == [True, False], (start, weight)
                assert np.isnan(grad[0]).all(), (start, weight)
                assert np.isfinite(grad[1]).all(), (start, weight)
            assert_losses(state, x, np.array([1, 1]), [5], weight=weight)


@every_variant
@pytest.mark.parametrize("scale", [1e-30, 0.3, 1e4, 1e30])
def test_scale(scale, dtype, rng):
    for length in (30, 9000):
        for offset in (0, -50, 300):
            assert_any_cut((rng.standard_normal((2, length)) + offset).astype(dtype), rng, scale=scale)


@every_variant
def test_weights_and_factors_that_are_no_numbers(dtype, rng):
    x = rng.standard_normal((4, 5000)).astype(dtype)
    weight = rng.random(5000)
    weight[:4] = [np.inf, np.nan, 0, 1]
    target = np.arange(4)
    state = merge_states(*cut(x, [2, 2048]))
    assert_losses(state, x, target, [1, 3, 3000], weight=weight)
    assert_losses(state, x, target, [1, 3, 3000], weight=weight.astype(np.float16))
    assert_losses(state, x, target, [1, 3, 3000], weight=weight.astype(">f8")[::-1].copy()[::-1])
    assert_losses(state, x, target, [1, 3, 3000], weight=np.arange(5000))
    # Infinity times 0 is NaN, of the one kind that results have.
    far = np.where(np.arange(5000) < 4000, x, dtype.type(-2000))
    assert_losses(merge_states(*cut(far, [2, 2048])), far, target, [1, 3, 3000, 4500], weight=weight)
    for factor in (np.nan, np.inf):
        loss, grad = state.cross_entropy_and_grad(x[:, :9], target, 0, grad_scale=factor)
        assert_same(loss, cross_entropy(x, target, reduction="none"), factor)
        assert np.isnan(grad).all() if factor != factor else np.isinf(grad).all()
    nans = np.isnan(state.cross_entropy_and_grad(x[:, :9], target, 0, grad_scale=np.nan)[1])
    assert nans.all()


@every_variant
def test_the_factor_of_a_mean(dtype, rng):
    x = rng.standard_normal((8, 5000)).astype(dtype)
    target = rng.integers(5000, size=8)
    state = merge_states(*cut(x, [2, 2048]))
    expected = cross_entropy_and_grad(x, target)[1]
    for start, stop in stretches([70, 4000], 5000):
        grad = state.cross_entropy_and_grad(x[:, start:stop], target, start, grad_scale=1 / 8)[1]
        assert_same(grad, expected[:, start:stop], start)


@every_variant
def test_an_ignored_class_of_any_size(dtype, rng):
    x = rng.standard_normal((2, 7)).astype(dtype)
    state = softmax_state(x)
    for ignored in (2**64 - 1, 2**63, 2**62):
        assert_losses(state, x, np.array([3, ignored], np.uint64), [2], ignore_index=ignored)
    assert_losses(state, x, np.array([3, -(2**63)]), [2], ignore_index=-(2**63))
    for elsewhere in (2**70, -(2**70), 2**64 - 1):
        assert_losses(state, x, np.array([3, 4]), [2], ignore_index=elsewhere)


@every_variant
def test_16_bit_losses_overflow_in_silence():
    x = np.array([[60000, -60000]], np.float16)
    state = softmax_state(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert state.cross_entropy(x, [1], 0).tolist() == [np.inf]


@every_variant
def test_in_place(dtype, rng):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    state = merge_states(*cut(x, [4000]))
    for finish, function in ((state.finish, softmax), (state.finish_log, log_softmax)):
        expected = function(x)
        same = x.copy()
        for start, stop in stretches([100, 5000], 9000):
            part = same[:, start:stop]
            assert finish(part, start, out=part) is part
        assert_same(same, expected, function.__name__)
        memory = np.zeros((2, 9001), dtype)
        memory[:, :-1] = x
        assert_same(finish(memory[:, :-1], 0, out=memory[:, 1:]), expected, "moved by one")
        swapped = np.zeros((9000, 2), dtype).T
        assert finish(x, 0, out=swapped) is swapped
        assert_same(swapped, expected, "another order")


@every_variant
def test_a_mask_in_the_memory_of_the_result(dtype, rng):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    mask = rng.random(x.shape) < 0.5
    state = softmax_state(x, where=mask)
    for finish, function in ((state.finish, softmax), (state.finish_log, log_softmax)):
        out = np.zeros_like(x)
        where = out.reshape(-1).view(bool)[: x.size].reshape(x.shape)
        where[...] = mask
        assert_same(finish(x, 0, where=where, out=out), function(x, where=mask), function.__name__)


# ---- what a state is ---------------------------------------------------------------------------------------------


@every_variant
def test_equal_states_however_they_were_merged(dtype, rng):
    """The bytes of a state depend on the part alone."""
    x = rng.standard_normal((2, 30_001)).astype(dtype)
    part = softmax_state(x[:, 101:20_001], offset=101, length=30_001)
    ends = [101, 101, 150, 4096, 9000, 9001, 12_288, 20_001, 20_001]
    pieces = [softmax_state(x[:, i:j], offset=i, length=30_001) for i, j in itertools.pairwise(ends)]
    for _ in range(5):
        assert merge_in_any_order(pieces, rng) == part
    assert merge_in_any_order(cut(x, [5, 5000, 5000]), rng) == softmax_state(x)
    assert part != softmax_state(x[:, 101:20_000], offset=101, length=30_001)
    other = x.copy()
    other[0, 5000] += 1
    assert softmax_state(other) != softmax_state(x)
    assert softmax_state(x) != 1


@every_variant
def test_merging_loses_nothing(dtype, rng):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    states = cut(x, [100, 5000])
    before = [pickle.dumps(state) for state in states]
    merge_states(*states)
    with pytest.raises(ValueError, match="gap"):
        merge_states(states[0], states[2])
    assert [pickle.dumps(state) for state in states] == before
    assert_finishes(merge_states(*states), x, [7])


def test_states_travel(dtype, rng):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    for exact in (True, False):
        for state in (*cut(x, [100, 5000], exact=exact), softmax_state(x[0], exact=exact)):
            copies = [pickle.loads(pickle.dumps(state, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
            for other in (*copies, copy.copy(state), copy.deepcopy(state)):
                assert other == state
                assert repr(other) == repr(state)


def test_a_state_travels_as_bytes_that_begin_anywhere(dtype, rng):
    x = rng.standard_normal((2, 9000)).astype(dtype)
    states = []
    for state in cut(x, [100, 5000]):
        buffers = []
        data = pickle.dumps(state, protocol=5, buffer_callback=buffers.append)
        moved = [memoryview(bytearray(b"x" + buffer.raw()))[1:].toreadonly() for buffer in buffers]
        assert moved
        states.append(pickle.loads(data, buffers=moved))
        rows, _ = states[-1].__reduce__()[1]
        assert rows.ctypes.data % 8 == 0
    assert_finishes(merge_states(*states), x, [7])


def test_states_of_one_variant_serve_another(dtype, rng):
    """Those that promise the same bits."""
    tested = variants_under_test()
    names = [name for name in tested if _dispatch.VARIANTS[name].has_fma] or tested
    x = rng.standard_normal((2, 9000)).astype(dtype)
    before = _dispatch.variant_in_use
    try:
        states = []
        for i, state_of in enumerate(stretches([100, 5000], 9000)):
            _dispatch.use(names[i % len(names)])
            states.append(softmax_state(x[:, slice(*state_of)], offset=state_of[0], length=9000))
        for name in names:
            _dispatch.use(name)
            assert_finishes(merge_states(*states), x, [7])
    finally:
        _dispatch.use(before)


def test_a_state_says_what_it_is_of():
    state = softmax_state(np.zeros((3, 4), np.float32), 0, offset=2, length=9, scale=0.5)
    assert repr(state) == ("<SoftmaxState of elements 2 to 5 of 9, shape (4,), axis 0, float32, scale 0.5>")
    assert repr(softmax_state(np.zeros(2), exact=False)) == (
        "<SoftmaxState of elements 0 to 2 of 2, shape (), axis 0, float64, scale 1, exact=False>"
    )
    assert (state.offset, state.stop, state.length, state.axis, state.shape) == (2, 5, 9, 0, (4,))
    assert (state.scale, state.dtype, state.exact, state.masked) == (0.5, np.float32, True, False)
    assert not state.is_complete
    assert sys.getsizeof(state) >= state.nbytes
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)
    with pytest.raises(TypeError, match="call softmax_state to make a state"):
        SoftmaxState()


@every_variant
def test_the_size_of_a_state(dtype):
    """Little for long slices, and a constant for short ones. Blocks that are cut keep their elements."""
    block = block_length(dtype)
    for blocks in (50, 51):
        x = np.zeros(100 * block, dtype)
        assert softmax_state(x[: blocks * block], length=x.size).nbytes <= 0.002 * blocks * block * dtype.itemsize
        assert softmax_state(x[blocks * block :], offset=blocks * block).nbytes <= 0.002 * x.nbytes
    uncut = softmax_state(x[block : 9 * block], offset=block, length=x.size).nbytes
    for start, stop in ((block - 1, 9 * block), (block + 1, 9 * block), (block, 10 * block - 1), (17, 9 * block + 5)):
        nbytes = softmax_state(x[start:stop], offset=start, length=x.size).nbytes
        assert nbytes <= uncut + 24 + 2 * 16384
        if stop == 9 * block or start == block:
            assert nbytes <= uncut + 24 + 16384
    for length in (1, 10, block):
        assert softmax_state(x[:length]).nbytes == 128
        assert softmax_state(x[: 3 * block], exact=False).nbytes == 128
    assert softmax_state(x[:10], length=1000).nbytes == 128 + 10 * dtype.itemsize


# ---- one pass, a state of a few numbers --------------------------------------------------------------------------


def measure_inexact(name, length, dtype, rng, scale=1.0):
    """The largest errors of softmax, log_softmax and logsumexp, in ulp."""
    x = twin.family(name, (2, length), dtype, rng)
    cuts = rng.integers(0, length + 1, 9)
    states = cut(x, cuts, exact=False, scale=scale)
    state = merge_in_any_order(states, rng)
    exact, unit = twin.logsumexp_and_unit(x, scale=scale)
    return (
        twin.ulps(state.finish(x, 0), twin.softmax(x, scale=scale)),
        twin.ulps(state.finish_log(x, 0), twin.log_softmax(x, scale=scale)),
        twin.ulps(state.logsumexp(), exact, unit),
    )


@every_variant
@pytest.mark.parametrize("name", twin.FAMILIES)
def test_inexact_states_stay_within_their_bound(name, dtype, rng):
    for length in (1, 17, 1000, 9001):
        assert max(measure_inexact(name, length, dtype, rng)) <= 2, length


@every_variant
def test_inexact_states_of_many_parts_stay_within_their_bound(dtype, rng):
    """What each merge loses must not add up."""
    length = 6000
    for slope in (0, 60, -60):
        x = (rng.standard_normal(length) + slope * np.arange(length) / length).astype(dtype)
        state = softmax_state(x[:0], length=length, exact=False)
        for start in range(0, length, 2):
            state = state.merge(softmax_state(x[start : start + 2], offset=start, length=length, exact=False))
        exact, unit = twin.logsumexp_and_unit(x)
        assert twin.ulps(state.finish(x, 0), twin.softmax(x)) <= 2, slope
        assert twin.ulps(state.finish_log(x, 0), twin.log_softmax(x)) <= 2, slope
        assert twin.ulps(state.logsumexp(), exact, unit) <= 2, slope


@every_variant
@pytest.mark.parametrize("kind", KINDS)
def test_special_values_of_inexact_states(kind, dtype, rng):
    """NaN, infinities and zeros are where they are in one call."""
    for length in (17, 9001):
        x = draw(kind, dtype, (2, length), rng)
        where = rng.random(x.shape) < 0.7
        for mask in (None, where):
            cuts = rng.integers(0, length + 1, 5)
            state = merge_in_any_order(cut(x, cuts, where=mask, exact=False), rng)
            for result, expected in (
                (state.finish(x, 0, where=mask), softmax(x, where=mask)),
                (state.finish_log(x, 0, where=mask), log_softmax(x, where=mask)),
                (state.logsumexp(), logsumexp(x, where=mask)),
            ):
                wanted = np.where(np.isfinite(expected), 0, expected)
                assert_same(np.where(np.isfinite(expected), 0, result), wanted, "what is no number")


@every_variant
def test_losses_of_inexact_states(dtype, rng):
    x = (5 * rng.standard_normal((3, 9001))).astype(dtype)
    target = np.array([0, 4000, 9000])
    state = merge_in_any_order(cut(x, [1, 700, 5000], exact=False), rng)
    exact = twin.cross_entropy(x, target, reduction="none")
    loss, grad = state.cross_entropy_and_grad(x, target, 0)
    assert twin.ulps(loss, exact.loss) <= 2
    assert (np.abs(grad - exact.grad) <= 4 * exact.terms * np.finfo(dtype).eps).all()


# ---- the guide ---------------------------------------------------------------------------------------------------

GUIDE = Path(__file__).parents[1] / "docs/scale.md"


@pytest.mark.skipif(not GUIDE.exists(), reason="the documents are not part of this copy")
def test_the_commands_of_the_guide():
    by_hand = GUIDE.read_text().partition("\n## Parts by hand\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", by_hand, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    names = {}
    exec("".join(blocks), names)
    logits, target = names["logits"], names["target"]
    mean, grad = cross_entropy_and_grad(logits, target)
    assert_same(np.concatenate(names["y"], -1), softmax(logits), "softmax")
    assert_same(names["loss"], cross_entropy(logits, target, reduction="none"), "losses")
    assert_same(names["mean"], mean, "mean")
    assert_same(np.concatenate(names["grads"], -1), grad, "gradient")
    block = block_length(logits.dtype)
    for state, part in zip(names["states"], names["parts"], strict=True):
        assert state.nbytes == len(logits) * (128 + 24 * -(-part.shape[-1] // block))


# ---- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", WRONG_CALLS, ids=lambda wrong: wrong.call)
def test_wrong_calls(wrong):
    with pytest.raises(wrong.exception) as caught:
        eval(wrong.call, NAMES)
    assert type(caught.value) is wrong.exception
    assert str(caught.value) == wrong.message


def test_no_order_of_the_arguments_makes_states_belong_together():
    x = np.zeros((3, 10))
    left = softmax_state(x[:, :4], length=10)
    for other in (softmax_state(x[:, 5:], offset=5), softmax_state(x[:, 3:], offset=3), softmax_state(x)):
        with pytest.raises(ValueError, match="neighbours") as first:
            merge_states(left, other)
        with pytest.raises(ValueError, match="neighbours") as second:
            merge_states(other, left)
        assert str(first.value) == str(second.value)
    assert merge_states(left) == left


class Changing:
    """An integer that is another one each time."""

    def __init__(self, *values):
        self.values = iter(values)

    def __index__(self):
        return next(self.values)


def test_an_offset_is_read_once(rng):
    x = rng.standard_normal((3, 4))
    state = softmax_state(x)
    assert_same(state.finish(x[:, 1:], Changing(1, 10**9)), softmax(x)[:, 1:], "softmax")
    loss = state.cross_entropy(x[:, 1:], [1, 2, 3], Changing(1, 10**9))
    assert_same(loss, cross_entropy(x, [1, 2, 3], reduction="none"), "loss")
