"""Every NaN in a result has the same bits: those of a positive quiet NaN without a payload.

Which of two NaN survives an addition, and with what sign, depends on the order of the operands in an instruction. The
bits of a result would depend on the alignment and on the compiler otherwise.
"""

import ml_dtypes
import numpy as np
import pytest

import softmax_cy

pytestmark = pytest.mark.usefixtures("variant")

LENGTHS = (1, 2, 3, 7, 16, 17, 33, 40, 100, 257, 1025, 5000)
WORDS = {2: np.uint16, 4: np.uint32, 8: np.uint64}
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)


def words(array):
    """The bits of each number."""
    array = np.asarray(array)
    return array.view(WORDS[array.itemsize])


def the_nan(dtype):
    """The bits that every NaN has."""
    return words(np.array(np.nan, dtype))


def troubles(dtype):
    """Elements that make a slice NaN: NaN with both signs, with and without a payload, and infinity."""
    quiet = the_nan(dtype)
    sign = quiet.dtype.type(1) << quiet.dtype.type(8 * quiet.itemsize - 1)
    for bits in (quiet, quiet | sign, quiet | quiet.dtype.type(5), quiet | sign | quiet.dtype.type(9)):
        yield np.array(bits, quiet.dtype).view(dtype)[()]
    yield np.array(np.inf, dtype)[()]
    yield np.array(-np.inf, dtype)[()]


def placed(array, offset):
    """A copy that begins some elements after an aligned address."""
    memory = np.empty(array.size + 64, array.dtype)
    start = -memory.ctypes.data % 64 // array.itemsize + offset
    copy = memory[start : start + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def results(x, v, y, log_y, axis):
    """The results of all functions by name, for a slice along an axis."""
    yield "softmax", softmax_cy.softmax(x, axis)
    yield "log_softmax", softmax_cy.log_softmax(x, axis)
    yield "logsumexp", softmax_cy.logsumexp(x, axis)
    yield "softmax_vjp", softmax_cy.softmax_vjp(v, y, axis)
    yield "log_softmax_vjp", softmax_cy.log_softmax_vjp(v, log_y, axis)
    yield "log_softmax_jvp", softmax_cy.log_softmax_jvp(v, log_y, axis)
    if x.shape[axis] <= 100:
        yield "softmax_jacobian", softmax_cy.softmax_jacobian(y, axis)
        yield "log_softmax_jacobian", softmax_cy.log_softmax_jacobian(log_y, axis)
        yield "softmax_and_jacobian", softmax_cy.softmax_and_jacobian(x, axis)[1]
    indices = np.zeros(x.size // x.shape[axis], int).reshape(np.delete(x.shape, axis))
    for name, target, smoothing in (
        ("cross_entropy of an index", indices, 0),
        ("cross_entropy with smoothing", indices, 0.1),
        ("cross_entropy of probabilities", y, 0),
    ):
        loss, grad = softmax_cy.cross_entropy_and_grad(x, target, axis, label_smoothing=smoothing, reduction="none")
        yield f"{name}, loss", loss
        yield f"{name}, gradient", grad


def wrong(dtype, arrays, batch):
    """What gives a NaN with other bits, over alignments, rows and columns."""
    nan = the_nan(dtype)
    for axis, offset in ((-1, 0), (-1, 1), (-1, 3), (0, 0), (0, 1)):
        lying = [np.stack([array] * batch, axis=-1 if axis == 0 else 0) for array in arrays]
        for name, result in results(*[placed(array, offset) for array in lying], axis):
            bits = words(result)[np.isnan(np.asarray(result, np.float64))]
            if (bits != nan).any():
                yield name, axis, offset, {hex(word) for word in bits.ravel()}


@every_dtype
def test_every_nan_has_the_same_bits(dtype, rng):
    found = []
    for length in LENGTHS:
        x = rng.standard_normal(length).astype(dtype)
        v = rng.standard_normal(length).astype(dtype)
        y, log_y = softmax_cy.softmax(x), softmax_cy.log_softmax(x)
        for trouble in troubles(dtype):
            for place in {0, length // 2, length - 1}:
                for which in range(4):
                    arrays = [x.copy(), v.copy(), y.copy(), log_y.copy()]
                    arrays[which][place] = trouble
                    for batch in (1, 3) if length <= 100 else (1,):
                        found += [(length, place, which, trouble, *found) for found in wrong(dtype, arrays, batch)]
        if len(found) > 20:
            break
    assert not found, found[:10]


@every_dtype
def test_nothing_but_minus_infinity_gives_the_same_nan(dtype):
    for length in LENGTHS:
        nothing = np.full(length, -np.inf, dtype)
        some = np.full(length, 1 / length, dtype)
        assert not list(wrong(dtype, [nothing, some, some, nothing], 3))
