"""States of parts of slices through the C interface: the bytes of Python's states and results, and what is refused."""

import ctypes
import itertools
import threading

import numpy as np
import pytest

import softmax_cy
from capi_cases import DTYPES
from softmax_cy import capi, log_softmax, logsumexp, softmax, softmax_state
from softmax_cy import merge_states as merge_in_python

Status = capi.Status
SENTINEL = 77
LONGEST = 2**63 // 16 - 1

every_type = pytest.mark.parametrize("suffix", DTYPES)


def call(name, *arguments):
    """Call a function by ctypes. Arrays are given as their addresses."""
    function = softmax_cy.ctypes_functions[name].as_ctypes()
    values = [
        ctypes.cast(a.ctypes.data, kind) if isinstance(a, np.ndarray) else a
        for a, kind in zip(arguments, function.argtypes, strict=True)
    ]
    return Status(function(*values))


def measure(suffix, offset, count, length, exact=1):
    """The size of a state."""
    size = ctypes.c_ssize_t(-1)
    assert call(f"softmax_state_size_{suffix}", offset, count, length, exact, ctypes.byref(size)) == Status.OK
    return size.value


def make_room(size, value=SENTINEL):
    """Memory for a state, aligned to 8 bytes."""
    return np.full(size // 8, value * 0x0101010101010101, np.uint64).view(np.uint8)


def step(x):
    """The stride of an array in elements."""
    return x.strides[0] // x.itemsize


def make_state(suffix, x, offset, length, scale=1.0, exact=1):
    """The state of a part."""
    state = make_room(measure(suffix, offset, len(x), length, exact))
    status = call(f"softmax_state_{suffix}", offset, len(x), length, exact, x, step(x), state, scale)
    assert status == Status.OK
    return state


def describe(state):
    """Of what part a state says it is: exact, offset, stop, length."""
    return [int(number) for number in state[:40].view(np.int64)[1:]]


def merge(suffix, first, second):
    """The state of two neighbours."""
    exact, offset, _, length = describe(first)
    merged = make_room(measure(suffix, offset, describe(second)[2] - offset, length, exact))
    assert call(f"merge_states_{suffix}", first, second, merged) == Status.OK
    return merged


def finish(name, suffix, state, x, offset, out=None):
    """A result of a part."""
    out = np.empty_like(x) if out is None else out
    assert call(f"{name}_{suffix}", offset, len(x), state, x, step(x), out, step(out)) == Status.OK
    return out


def find_logsumexp(suffix, state):
    """The number that a complete state knows."""
    out = np.full(1, SENTINEL, DTYPES[suffix])
    assert call(f"logsumexp_of_state_{suffix}", state, out) == Status.OK
    return out[0]


def bytes_in_python(state):
    """Those of a state of one slice."""
    rows, _ = state.__reduce__()[1]
    return rows.tobytes()


def cut(rng, length, parts):
    """Random parts of a slice, some of them empty."""
    places = [0, *sorted(rng.integers(length + 1, size=parts - 1)), length]
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(places)]


# Of float32 a block has 4096 elements, of float64 2048.
LENGTHS = [0, 1, 7, 2047, 2048, 2049, 4096, 4097, 10_000, 40_961]


# ---- results -----------------------------------------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("length", LENGTHS)
def test_states_and_results_have_the_bytes_of_python(suffix, length, variant, rng):
    for parts in (1, 2, 3, 9):
        x = rng.normal(scale=20, size=length).astype(DTYPES[suffix])
        scale = float(rng.choice([1.0, 0.3]))
        cuts = cut(rng, length, parts)
        states = [make_state(suffix, x[part], part.start, length, scale) for part in cuts]
        in_python = [softmax_state(x[part], offset=part.start, length=length, scale=scale) for part in cuts]
        assert [state.tobytes() for state in states] == [bytes_in_python(state) for state in in_python]
        while len(states) > 1:  # neighbours in any order
            i = int(rng.integers(len(states) - 1))
            states[i : i + 2] = [merge(suffix, *states[i : i + 2])]
            in_python[i : i + 2] = [merge_in_python(*in_python[i : i + 2])]
            assert states[i].tobytes() == bytes_in_python(in_python[i])
        assert find_logsumexp(suffix, states[0]).tobytes() == logsumexp(x, scale=scale).tobytes()
        for name, whole in (("softmax", softmax(x, scale=scale)), ("log_softmax", log_softmax(x, scale=scale))):
            pieces = [finish(f"{name}_of_part", suffix, states[0], x[p], p.start) for p in cut(rng, length, parts)]
            assert np.concatenate(pieces).tobytes() == whole.tobytes()


@every_type
@pytest.mark.parametrize("values", [[np.nan, 1], [np.inf, 1], [np.inf, np.inf], [-np.inf, -np.inf], [-np.inf, 1]])
def test_infinities_and_nan(suffix, values):
    x = np.array(values, DTYPES[suffix])
    whole = merge(suffix, make_state(suffix, x[:1], 0, 2), make_state(suffix, x[1:], 1, 2))
    assert find_logsumexp(suffix, whole).tobytes() == logsumexp(x).tobytes()
    assert finish("softmax_of_part", suffix, whole, x, 0).tobytes() == softmax(x).tobytes()
    assert finish("log_softmax_of_part", suffix, whole, x, 0).tobytes() == log_softmax(x).tobytes()


@every_type
def test_inexact_states_have_the_bytes_of_python(suffix, variant, rng):
    x = rng.normal(scale=20, size=10_000).astype(DTYPES[suffix])
    cuts = cut(rng, len(x), 4)
    states = [make_state(suffix, x[part], part.start, len(x), exact=0) for part in cuts]
    in_python = [softmax_state(x[part], offset=part.start, length=len(x), exact=False) for part in cuts]
    assert {len(state) for state in states} == {128}
    while len(states) > 1:
        states[:2] = [merge(suffix, *states[:2])]
        in_python[:2] = [merge_in_python(*in_python[:2])]
    assert states[0].tobytes() == bytes_in_python(in_python[0])
    assert find_logsumexp(suffix, states[0]).tobytes() == in_python[0].logsumexp().tobytes()
    assert finish("softmax_of_part", suffix, states[0], x, 0).tobytes() == in_python[0].finish(x, 0).tobytes()


@every_type
def test_strides(suffix, rng):
    x = rng.standard_normal(9000).astype(DTYPES[suffix])
    apart, backwards = np.repeat(x, 3)[::3], x[::-1].copy()[::-1]
    right = make_state(suffix, x, 0, len(x))
    for view in (apart, backwards):
        assert make_state(suffix, view, 0, len(x)).tobytes() == right.tobytes()
        out = np.zeros(2 * len(x), x.dtype)
        finish("softmax_of_part", suffix, right, view, 0, out[1::2])
        assert out[1::2].tobytes() == softmax(x).tobytes()
        assert not out[::2].any()
    constant = np.broadcast_to(x[:1], 5000)
    assert make_state(suffix, constant, 0, 5000).tobytes() == make_state(suffix, constant.copy(), 0, 5000).tobytes()


@every_type
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_in_place(suffix, name, rng):
    x = rng.standard_normal(9000).astype(DTYPES[suffix])
    right = getattr(softmax_cy, name)(x)
    state = make_state(suffix, x, 0, len(x))
    finish(f"{name}_of_part", suffix, state, x[5000:], 5000, x[5000:])
    finish(f"{name}_of_part", suffix, state, x[:5000], 0, x[:5000])
    assert x.tobytes() == right.tobytes()


@every_type
def test_copies_of_a_state_are_states(suffix, rng, tmp_path):
    x = rng.standard_normal(6000).astype(DTYPES[suffix])
    for name, part in (("first", slice(0, 2500)), ("second", slice(2500, 6000))):
        (tmp_path / name).write_bytes(make_state(suffix, x[part], part.start, len(x)).tobytes())
    first, second = (np.fromfile(tmp_path / name, np.uint64).view(np.uint8) for name in ("first", "second"))
    assert find_logsumexp(suffix, merge(suffix, first, second)).tobytes() == logsumexp(x).tobytes()


@every_type
def test_threads_finish_parts_with_one_state(suffix, rng):
    x = rng.standard_normal(40_000).astype(DTYPES[suffix])
    state = make_state(suffix, x, 0, len(x))
    before = state.tobytes()
    out = np.empty_like(x)
    threads = [
        threading.Thread(target=finish, args=("softmax_of_part", suffix, state, x[i : i + 5000], i, out[i : i + 5000]))
        for i in range(0, len(x), 5000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out.tobytes() == softmax(x).tobytes()
    assert state.tobytes() == before


@every_type
def test_no_byte_beyond_a_state_is_written(suffix, rng):
    x = rng.standard_normal(9001).astype(DTYPES[suffix])
    length = len(x)
    for part in (slice(0, 9001), slice(3, 8999), slice(4096, 8192), slice(5, 10), slice(7, 7)):
        size = measure(suffix, part.start, part.stop - part.start, length)
        middle = (part.start + part.stop) // 2
        memory = make_room(size + 64)
        arguments = (part.start, part.stop - part.start, length, 1, x[part], 1, memory[32:], 1.0)
        assert call(f"softmax_state_{suffix}", *arguments) == Status.OK
        made = memory.copy()
        memory[32:-32] = SENTINEL
        first = make_state(suffix, x[part.start : middle], part.start, length)
        second = make_state(suffix, x[middle : part.stop], middle, length)
        assert call(f"merge_states_{suffix}", first, second, memory[32:]) == Status.OK
        assert memory.tobytes() == made.tobytes()
        assert np.all(memory[:32] == SENTINEL)
        assert np.all(memory[-32:] == SENTINEL)


@every_type
def test_pointers_that_nothing_is_read_from_may_be_null(suffix):
    state = make_room(128)
    assert call(f"softmax_state_{suffix}", 5, 0, 9, 1, None, 1, state, 1.0) == Status.OK
    assert describe(state) == [1, 5, 5, 9]
    assert call(f"softmax_state_{suffix}", 0, 0, 0, 1, None, 1, state, 1.0) == Status.OK
    assert find_logsumexp(suffix, state) == -np.inf
    for name in ("softmax_of_part", "log_softmax_of_part"):
        assert call(f"{name}_{suffix}", 0, 0, state, None, 1, None, 1) == Status.OK


# ---- what is refused ---------------------------------------------------------------------------------------------

PARTS = [
    ((-1, 2, 9), Status.NEGATIVE_SIZE),
    ((0, -1, 9), Status.NEGATIVE_SIZE),
    ((0, 0, -1), Status.NEGATIVE_SIZE),
    ((8, 2, 9), Status.BAD_PART),
    ((10, 0, 9), Status.BAD_PART),
    ((2**63 - 1, 2**63 - 1, 9), Status.BAD_PART),
    ((0, 5, LONGEST + 1), Status.BAD_PART),
]


@every_type
@pytest.mark.parametrize(("part", "status"), PARTS)
def test_parts_that_lie_in_no_slice(suffix, part, status):
    size = ctypes.c_ssize_t(SENTINEL)
    assert call(f"softmax_state_size_{suffix}", *part, 1, ctypes.byref(size)) == status
    assert size.value == SENTINEL
    state = make_room(1024)
    x = np.zeros(9, DTYPES[suffix])
    assert call(f"softmax_state_{suffix}", *part, 1, x, 1, state, 1.0) == status
    assert np.all(state == SENTINEL)


@every_type
def test_the_longest_slice(suffix):
    assert measure(suffix, 0, 0, LONGEST) == measure(suffix, LONGEST, 0, LONGEST) == 128
    blocks = -(-LONGEST * DTYPES[suffix].itemsize // 16384)
    assert measure(suffix, 0, LONGEST, LONGEST) == 128 + 24 * blocks
    x = np.arange(3, dtype=DTYPES[suffix])
    assert describe(make_state(suffix, x, LONGEST - 3, LONGEST)) == [1, LONGEST - 3, LONGEST, LONGEST]


@every_type
def test_a_state_that_is_refused_is_not_begun(suffix):
    x = np.zeros(9, DTYPES[suffix])
    state = make_room(1024)
    name = f"softmax_state_{suffix}"
    huge = 2**62
    for scale in [0.0, -1.0, np.inf, np.nan, *([1e39, 1e-60] if suffix == "f32" else [])]:
        assert call(name, 0, 9, 9, 1, x, 1, state, scale) == Status.BAD_SCALE
    assert call(name, 0, 9, 9, 1, None, 1, state, 1.0) == Status.NULL_POINTER
    assert call(name, 0, 9, 9, 1, x, 1, None, 1.0) == Status.NULL_POINTER
    assert call(name, 0, 9, 9, 1, x, huge, state, 1.0) == Status.BAD_STRIDE
    for shift in range(1, 8):
        assert call(name, 0, 9, 9, 1, x, 1, state[shift:], 1.0) == Status.BAD_STATE
    inside = state[1024 - 9 * x.itemsize :].view(x.dtype)
    assert call(name, 0, 9, 9, 1, inside, 1, state[1024 - 128 :], 1.0) == Status.OVERLAP
    assert call(f"softmax_state_size_{suffix}", 0, 9, 9, 1, None) == Status.NULL_POINTER
    assert np.all(state == SENTINEL)


@every_type
def test_states_that_do_not_belong_together(suffix, rng):
    other = {"f32": "f64", "f64": "f32"}[suffix]
    x = rng.standard_normal(30).astype(DTYPES[suffix])
    first = make_state(suffix, x[:10], 0, 30)
    second = make_state(suffix, x[10:20], 10, 30)
    wrong = {
        "another type": make_state(other, x[10:20].astype(DTYPES[other]), 10, 30),
        "another length": make_state(suffix, x[10:20], 10, 31),
        "another scale": make_state(suffix, x[10:20], 10, 30, scale=2.0),
        "not exact": make_state(suffix, x[10:20], 10, 30, exact=0),
        "a gap": make_state(suffix, x[11:20], 11, 30),
        "an overlap": make_state(suffix, x[9:20], 9, 30),
        "the same": first,
        "one before": make_state(suffix, x[:0], 0, 30),
        "no state": make_room(1024),
        "nothing": make_room(1024, 0),
    }
    merged = make_room(1024)
    name = f"merge_states_{suffix}"
    for what, state in wrong.items():
        assert call(name, first, state, merged) == Status.BAD_STATE, what
    for what in ("another type", "another length", "another scale", "not exact", "no state", "nothing"):
        assert call(name, wrong[what], second, merged) == Status.BAD_STATE, what
    assert call(name, second, first, merged) == Status.BAD_STATE
    for arguments in ((None, second, merged), (first, None, merged), (first, second, None)):
        assert call(name, *arguments) == Status.NULL_POINTER
    assert call(name, first, second, merged[4:]) == Status.BAD_STATE
    before = [first.tobytes(), second.tobytes()]
    for state in (first, second):
        assert call(name, first, second, state) == Status.OVERLAP
        assert call(name, first, second, state[len(state) - 8 :]) == Status.OVERLAP
    assert before == [first.tobytes(), second.tobytes()]
    assert np.all(merged == SENTINEL)


@every_type
@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize("value", [-1, 2, 2**62, -(2**63)])
def test_headers_that_no_function_has_written(suffix, field, value):
    x = np.zeros(9, DTYPES[suffix])
    state = make_state(suffix, x, 0, 9)
    whole = state.tobytes()
    state[: 8 * 6].view(np.int64)[field] = value
    if field == 5 and value > 0:
        state[40:48].view(np.float64)[0] = -1
    out = np.full(9, SENTINEL, x.dtype)
    assert call(f"logsumexp_of_state_{suffix}", state, out) == Status.BAD_STATE
    assert call(f"softmax_of_part_{suffix}", 0, 9, state, x, 1, out, 1) == Status.BAD_STATE
    assert np.all(out == SENTINEL)
    state[:] = np.frombuffer(whole, np.uint8)
    assert call(f"softmax_of_part_{suffix}", 0, 9, state, x, 1, out, 1) == Status.OK


@every_type
def test_results_that_are_refused(suffix, rng):
    other = {"f32": "f64", "f64": "f32"}[suffix]
    x = rng.standard_normal(30).astype(DTYPES[suffix])
    whole = make_state(suffix, x, 0, 30)
    out = np.full(60, SENTINEL, x.dtype)
    huge = 2**62
    wrong = [
        make_state(suffix, x[:29], 0, 30),
        make_state(suffix, x[1:], 1, 30),
        make_state(suffix, x[:0], 0, 30),
        make_state(other, x.astype(DTYPES[other]), 0, 30),
        np.concatenate([make_room(8), whole])[4:],
    ]
    name = f"logsumexp_of_state_{suffix}"
    for state in wrong:
        assert call(name, state, out) == Status.BAD_STATE
    assert call(name, None, out) == call(name, whole, None) == Status.NULL_POINTER
    before = whole.tobytes()
    assert call(name, whole, whole[64:]) == Status.OVERLAP
    for name in (f"softmax_of_part_{suffix}", f"log_softmax_of_part_{suffix}"):
        for state in wrong:
            assert call(name, 0, 30, state, x, 1, out, 1) == Status.BAD_STATE
        assert call(name, -1, 30, whole, x, 1, out, 1) == Status.NEGATIVE_SIZE
        assert call(name, 0, -1, whole, x, 1, out, 1) == Status.NEGATIVE_SIZE
        assert call(name, 1, 30, whole, x, 1, out, 1) == Status.BAD_PART
        assert call(name, 31, 0, whole, x, 1, out, 1) == Status.BAD_PART
        assert call(name, 0, 30, None, x, 1, out, 1) == Status.NULL_POINTER
        assert call(name, 0, 30, whole, None, 1, out, 1) == Status.NULL_POINTER
        assert call(name, 0, 30, whole, x, 1, None, 1) == Status.NULL_POINTER
        assert call(name, 0, 30, whole, x, huge, out, 1) == Status.BAD_STRIDE
        assert call(name, 0, 30, whole, x, 1, out, huge) == Status.BAD_STRIDE
        assert call(name, 0, 30, whole, x, 1, out, 0) == Status.OVERLAP
        assert call(name, 0, 30, whole, out, 1, out[1:], 1) == Status.OVERLAP
        assert call(name, 0, 30, whole, out, 1, out, 2) == Status.OVERLAP
        assert call(name, 0, 10, whole, x, 1, whole[8:], 1) == Status.OVERLAP
    assert np.all(out == SENTINEL)
    assert whole.tobytes() == before
