"""Where results go, for every function alike: into `out` of any layout, over an input or a part of it, and rounded.

What is expected is the result of the same call without `out`, to the bit.
"""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from operations import (
    ANY_AXES,
    FUNCTIONS,
    IN_PLACE,
    LOSSES,
    MATRICES,
    PRODUCTS,
    as_out,
    bits,
    inputs_for,
    parts,
    taking,
    written,
)

pytestmark = pytest.mark.usefixtures("variant")


class Call(NamedTuple):
    """A function, and what it is given besides arrays of logits, vectors and outputs."""

    function: Any
    soft: bool = False  # probabilities as the target
    where: bool = False
    options: dict = {}  # noqa: RUF012  a tuple's field, never changed

    def arguments(self, shape, dtype, rng, axis=-1):
        """Random inputs, and all options."""
        x, v = rng.standard_normal((2, *shape)).astype(dtype)
        target = None
        if self.function in LOSSES:
            q = rng.exponential(size=shape) * (rng.random(shape) < 0.8)
            target = q.astype(dtype) if self.soft else rng.integers(shape[axis], size=np.delete(shape, axis))
        options = {"where": rng.random(shape) < 0.7} if self.where else {}
        if "weight" in self.options:
            options["weight"] = rng.uniform(0.5, 2, shape[axis]).astype(dtype)
        # A class that has most of a slice is computed in another way.
        x[(0,) * x.ndim] += 5
        return inputs_for(self.function, x, axis, vector=v, target=target), {**self.options, **options}


SMOOTHED = {"label_smoothing": 0.1, "reduction": "none", "weight": True}
CALLS = {
    **{function.__name__: Call(function) for function in FUNCTIONS},
    **{
        f"{function.__name__}, where, scale": Call(function, where=True, options={"scale": 0.3})
        for function in taking("where")
    },
    **{f"{function.__name__} of probabilities": Call(function, soft=True) for function in LOSSES},
    **{f"{function.__name__}, smoothed": Call(function, options=SMOOTHED) for function in LOSSES},
    **{f"{function.__name__}, none": Call(function, soft=True, options={"reduction": "none"}) for function in LOSSES},
}


def every_call(wanted):
    """A parameter: the calls of these functions."""
    return pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.function in wanted])


every_call_into_one_array = every_call([function for function in FUNCTIONS if function not in MATRICES])
every_call_in_place = every_call([*IN_PLACE])


@every_call_into_one_array
@pytest.mark.parametrize("length", [5, 5000])
def test_out_of_any_layout_and_nothing_else_is_written(name, length, dtype, rng):
    call = CALLS[name]
    for axis in (0, 1, 2, *(((0, 2), None) if call.function in ANY_AXES else ())):
        shape = [2, 3, 3]
        shape[axis if isinstance(axis, int) else 2] = length
        inputs, options = call.arguments(shape, dtype, rng, axis if isinstance(axis, int) else -1)
        expected = call.function(*inputs, axis, **options)
        result = parts(expected)[-1]
        inner = (slice(1, -1),) * result.ndim
        for make in (
            lambda big, inner=inner: big[(*inner, ...)],
            lambda big, inner=inner: big[(*inner, ...)][(*(slice(None, None, -1) for _ in inner), ...)],
            lambda big, inner=inner: big.T.copy().T[(*inner, ...)],
        ):
            out = make(np.full([n + 2 for n in result.shape], -7, dtype))
            big = out if out.base is None else out.base
            again = call.function(*inputs, axis, out=out, **options)
            assert parts(again)[-1] is out
            assert bits(again) == bits(expected)
            out[...] = -7
            assert (big == -7).all()


@every_call_in_place
@pytest.mark.parametrize("length", [1, 10, 100, 5000])
def test_in_place_of_each_input(name, length, dtype, rng):
    call = CALLS[name]
    for axis in (0, 1):
        inputs, options = call.arguments((3, length), dtype, rng, axis)
        expected = bits(call.function(*inputs, axis, **options))
        for i, array in enumerate(inputs):
            if array.shape != (3, length) or array.dtype != dtype:
                continue
            for make in (np.copy, lambda a: a.T.copy().T, lambda a: np.repeat(a, 2, 1)[:, ::2]):
                over = make(array)
                result = call.function(*inputs[:i], over, *inputs[i + 1 :], axis, out=over, **options)
                assert parts(result)[-1] is over
                assert bits(result) == expected, (axis, i)
        if call.function in PRODUCTS:
            both = inputs[0].copy()
            expected = bits(call.function(inputs[0], inputs[0], axis))
            assert bits(call.function(both, both, axis, out=both)) == expected


OVERLAPS = {
    "some elements on": (lambda m: m[:-3].reshape(3, -1), lambda m: m[3:].reshape(3, -1)),
    "some elements back": (lambda m: m[3:].reshape(3, -1), lambda m: m[:-3].reshape(3, -1)),
    "upside down": (lambda m: m[:-3].reshape(3, -1), lambda m: m[:-3].reshape(3, -1)[::-1]),
    "from right to left": (lambda m: m[:-3].reshape(3, -1), lambda m: m[:-3].reshape(3, -1)[:, ::-1]),
}


@every_call_in_place
@pytest.mark.parametrize("length", [10, 100, 5000])
def test_over_a_part_of_each_input(name, length, dtype, rng):
    """And of both inputs of a product at once."""
    call = CALLS[name]
    for axis in (-1, 0, *(((0, 1),) if call.function in ANY_AXES else ())):
        inputs, options = call.arguments((3, length), dtype, rng, axis if isinstance(axis, int) else -1)
        places = [i for i, array in enumerate(inputs) if array.shape == (3, length) and array.dtype == dtype]
        for over in [[i] for i in places] + ([places] if call.function in PRODUCTS else []):
            for what, (read, write) in OVERLAPS.items():
                memory = np.zeros(3 * length + 3, dtype)
                given = list(inputs)
                for i in over:
                    given[i] = read(memory)
                given[over[0]][...] = inputs[over[0]]
                expected = call.function(*(array.copy() for array in given), axis, **options)
                out = write(memory)
                assert bits(call.function(*given, axis, out=out, **options)) == bits(expected), (axis, over, what)


@every_call(FUNCTIONS)
def test_more_axes_than_can_be_merged(name, dtype, rng):
    call = CALLS[name]
    inputs, options = call.arguments((4,) * 6, dtype, rng, 2)
    cut = (slice(None, None, 2), slice(None, None, -1), slice(1, None), slice(None, None, 3), slice(0, 2))
    without_axis = (*cut[:2], *cut[3:])
    inputs = [array[cut] if array.ndim == 6 else array[without_axis] % 3 for array in inputs]
    if "where" in options:
        options["where"] = options["where"][cut]
    if "weight" in options:
        options["weight"] = options["weight"][1:]
    result = call.function(*inputs, 2, **options)
    moved = [np.moveaxis(array, 2, -1).copy() if array.ndim == 6 else array.copy() for array in inputs]
    if "where" in options:
        options["where"] = np.moveaxis(options["where"], 2, -1).copy()
    expected = call.function(*moved, **options)
    for part, right in zip(parts(result), parts(expected), strict=True):
        assert bits(np.moveaxis(part, 2, -1) if part.shape == inputs[0].shape else part) == bits(right)


@every_call(FUNCTIONS)
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_16_bit_floats_are_the_rounded_float32_result(name, half, rng):
    """In a new array, in `out` and in place. Outputs stay: how they were rounded says what they add up to."""
    call = CALLS[name]
    inputs, options = call.arguments((7, 33), np.dtype(half), rng)
    kept = len(inputs) - 1 if call.function in PRODUCTS else len(inputs)
    wide = [array.astype(np.float32) if array.dtype == half else array for array in inputs[:kept]] + inputs[kept:]
    expected = tuple(part.astype(half) for part in parts(call.function(*wide, **options)))
    result = parts(call.function(*inputs, **options))
    assert all(part.dtype == half for part in result)
    assert bits(result) == bits(expected)
    outs = [np.zeros_like(part) for part in written(call.function, expected)]
    assert bits(parts(call.function(*inputs, **options, out=as_out(call.function, *outs)))) == bits(expected)
    assert bits(tuple(outs)) == bits(written(call.function, expected))
    for i, array in enumerate(inputs):
        if array.shape == expected[-1].shape and array.dtype == half and call.function in IN_PLACE:
            over = array.copy()
            assert bits(parts(call.function(*inputs[:i], over, *inputs[i + 1 :], **options, out=over))) == bits(
                expected
            )


@every_call(FUNCTIONS)
def test_inputs_are_left_alone(name, dtype, rng):
    call = CALLS[name]
    inputs, options = call.arguments((3, 40), dtype, rng)
    arrays = (*inputs, *(value for value in options.values() if isinstance(value, np.ndarray)))
    before = bits(arrays)
    result = call.function(*inputs, **options)
    assert bits(arrays) == before
    call.function(*inputs, **options, out=as_out(call.function, *map(np.zeros_like, written(call.function, result))))
    assert bits(arrays) == before
