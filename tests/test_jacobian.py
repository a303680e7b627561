"""softmax_jacobian and log_softmax_jacobian: J[..., i, j] = dy_i / dx_j."""

import numpy as np
import pytest

import twin
from softmax_cy import log_softmax, log_softmax_jacobian, softmax, softmax_jacobian

pytestmark = pytest.mark.usefixtures("variant")

LENGTHS = [*range(1, 70), 100, 127, 128, 129, 130, 333, 1025]


def outputs(shape, dtype, rng):
    """Something that softmax could have returned."""
    return softmax((3 * rng.standard_normal(shape)).astype(dtype))


@pytest.mark.parametrize("length", LENGTHS)
def test_digits(length, dtype, rng):
    y = outputs((3, length), dtype, rng)
    jacobian = softmax_jacobian(y)
    exact = twin.softmax_jacobian(y)
    off_diagonal = ~np.eye(length, dtype=bool)
    rounded = (-y[..., :, None] * y[..., None, :])[..., off_diagonal]
    np.testing.assert_array_equal(jacobian[..., off_diagonal], rounded)
    diagonal = np.arange(length)
    assert twin.ulps(jacobian[..., diagonal, diagonal], exact[..., diagonal, diagonal]) <= 1


def test_is_symmetric_with_rows_that_add_up_to_zero(dtype, rng):
    jacobian = softmax_jacobian(outputs((4, 50), dtype, rng))
    np.testing.assert_array_equal(jacobian, jacobian.swapaxes(-1, -2))
    np.testing.assert_allclose(jacobian.sum(-1), 0, atol=10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (1, 4, 1, 3)])
def test_batch_axes_come_first(shape, dtype, rng):
    y = outputs(shape, dtype, rng)
    for axis in range(-len(shape), len(shape)):
        moved = np.moveaxis(y, axis, -1)
        jacobian = softmax_jacobian(y, axis)
        assert jacobian.shape == (*moved.shape, moved.shape[-1])
        assert jacobian.dtype == dtype
        np.testing.assert_array_equal(jacobian, softmax_jacobian(moved.copy()))


@pytest.mark.parametrize("length", [3, 20, 5000])
def test_strided_inputs(length, dtype, rng):
    count = 3 if length < 1000 else 1
    y = outputs((count, length), dtype, rng)
    expected = softmax_jacobian(y)
    np.testing.assert_array_equal(softmax_jacobian(np.asfortranarray(y)), expected)
    np.testing.assert_array_equal(softmax_jacobian(np.repeat(y, 2, axis=1)[:, ::2]), expected)
    np.testing.assert_array_equal(softmax_jacobian(y[:, ::-1]), expected[:, ::-1, ::-1])
    np.testing.assert_array_equal(softmax_jacobian(y.astype(dtype.newbyteorder())), expected)


@pytest.mark.parametrize("length", [3, 20, 2100])
def test_out_of_any_layout_and_nothing_else_is_written(length, dtype, rng):
    y = outputs((2, length), dtype, rng)
    expected = softmax_jacobian(y)
    for make in (
        lambda big: big[1:-1, 1:-1, 1:-1],
        lambda big: big[1:-1, 1:-1, 1:-1].swapaxes(1, 2),
        lambda big: big[1:-1, 1:-1, 1:-1][::-1, ::-1, ::-1],
    ):
        big = np.full((4, length + 2, length + 2), 5, dtype)
        out = make(big)
        assert softmax_jacobian(y, out=out) is out
        np.testing.assert_array_equal(out, expected)
        out[...] = 5
        assert (big == 5).all()


def test_out_that_overlaps_y(dtype, rng):
    memory = np.zeros(9, dtype)
    y = memory[2:5]
    y[...] = outputs(3, dtype, rng)
    expected = softmax_jacobian(y.copy())
    out = memory.reshape(3, 3)
    np.testing.assert_array_equal(softmax_jacobian(y, out=out), expected)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_empty(shape, dtype):
    assert softmax_jacobian(np.empty(shape, dtype)).shape == (*shape, shape[-1])


def test_zero_dimensions(dtype):
    jacobian = softmax_jacobian(np.array(1, dtype))
    assert jacobian.shape == (1, 1)
    assert jacobian == 0


def test_integers_and_lists():
    np.testing.assert_array_equal(softmax_jacobian([1, 0]), [[0, 0], [0, 0]])
    assert softmax_jacobian([True]).dtype == np.float64


def test_results_past_the_caches(dtype, rng):
    """What is larger than the last cache is written in another way: same entries, at every alignment."""
    y = outputs((1, 3101), dtype, rng)
    expected = softmax_jacobian(y, out=np.empty((1, 3101, 3101), dtype))
    rounded = -y[0, :, None] * y[0]
    np.fill_diagonal(rounded, np.diagonal(expected[0]))
    np.testing.assert_array_equal(expected[0], rounded)


def test_nan_reaches_its_row_and_column_alone(dtype):
    y = np.array([0.25, np.nan, 0.25, 0.5], dtype)
    found = np.isnan(softmax_jacobian(y))
    expected = np.zeros((4, 4), bool)
    expected[1] = expected[:, 1] = True
    np.testing.assert_array_equal(found, expected)


# ---- log_softmax -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("spread", [1, 20])
def test_log_digits(length, spread, dtype, rng):
    log_y = log_softmax((spread * rng.standard_normal((3, length))).astype(dtype))
    assert twin.ulps(log_softmax_jacobian(log_y), twin.log_softmax_jacobian(log_y)) <= 1.5


def test_log_keeps_the_digits_of_a_certain_class(dtype):
    log_y = log_softmax(np.array([30, 0, 0], dtype))
    assert 0 < log_softmax_jacobian(log_y)[0, 0] == pytest.approx(2 * np.exp(-30.0), rel=1e-5)


@pytest.mark.parametrize("length", [3, 20, 2100])
def test_log_of_any_layout(length, dtype, rng):
    log_y = log_softmax(rng.standard_normal((2, length)).astype(dtype))
    expected = log_softmax_jacobian(log_y)
    np.testing.assert_array_equal(log_softmax_jacobian(np.asfortranarray(log_y)), expected)
    np.testing.assert_array_equal(log_softmax_jacobian(log_y.T.copy(), 0), expected)
    out = np.zeros((2, length, 2 * length), dtype)[..., ::2]
    assert log_softmax_jacobian(log_y, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("forward", "function"), [(softmax, softmax_jacobian), (log_softmax, log_softmax_jacobian)], ids=["softmax", "log"]
)
def test_scale_multiplies(forward, function, dtype, rng):
    y = forward(rng.standard_normal((3, 20)).astype(dtype), scale=0.5)
    # A power of two: the product is exact.
    np.testing.assert_array_equal(function(y, scale=0.5), function(y) / 2)
    np.testing.assert_allclose(function(y, scale=0.3), 0.3 * function(y), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("length", [3, 20, 300, 2100])
@pytest.mark.parametrize("step", [1, 2], ids=["contiguous", "strided"])
def test_overflows_no_sooner_than_the_result(length, step, dtype):
    """Also where scale times an element of y is infinite: y need not be probabilities."""
    info = np.finfo(dtype)
    y = np.zeros((2, length), dtype)
    y[0, 0] = info.max
    y[0, 2:] = 1 / info.max
    y[1, 1] = info.max / 4
    out = np.empty((2, length, step * length), dtype)[..., ::step]
    with np.errstate(over="ignore"):
        softmax_jacobian(y, scale=8, out=out)
        exact = np.array([8 * twin.softmax_jacobian(row) for row in y]).astype(dtype)
    assert not np.isnan(out).any()
    # The factors are powers of two but for info.max, whose last bits rounding can move.
    np.testing.assert_allclose(out, exact, rtol=4 * info.eps, atol=0)

    # 1 - y is -y here, and its square infinite.
    y = np.array([info.max / 2**20, 0, 1], dtype)
    scale = float(2.0**30 / info.max)
    exact = -scale * float(y[0]) * float(y[0])
    assert softmax_jacobian(y, scale=scale)[0, 0] == pytest.approx(exact, rel=4 * float(info.eps))
