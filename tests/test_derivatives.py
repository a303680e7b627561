"""Every derivative, against central differences in long double and against torch's autograd in float64."""

import functools
import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import softmax_cy
import twin
from operations import PRODUCTS, each, forward_of
from softmax_cy import (
    cross_entropy_and_grad,
    log_softmax,
    log_softmax_jacobian,
    log_softmax_jvp,
    log_softmax_vjp,
    softmax,
    softmax_and_jacobian,
    softmax_jacobian,
    softmax_jvp,
    softmax_vjp,
)

pytestmark = pytest.mark.usefixtures("variant")

# In units of eps times the terms that an entry is the sum or difference of.
ULPS = 8
# The error of either oracle, relative to the largest of those terms.
ORACLE_ERROR = 4e-15

# Numbers of few bits, which are the same in float32.
SCALES = [1.0, 0.375, 2.5]

CASES = {
    "one slice": ((6,), -1),
    "a longer slice": ((12,), -1),
    "rows": ((3, 5), 1),
    "columns": ((5, 3), 0),
    "the middle axis": ((2, 4, 3), 1),
    "the first of three axes": ((4, 2, 3), -3),
    "all of one length": ((3, 3, 3), 1),
}
CASES_OF_TUPLES = {
    "the first two axes": ((2, 3, 4), (0, 1)),
    "the outer axes": ((2, 4, 3), (2, 0)),
    "the last two axes": ((3, 2, 4), (-1, -2)),
    "all axes": ((2, 3, 2), None),
    "no axes": ((2, 3), ()),
}
ALL_CASES = CASES | CASES_OF_TUPLES

every_oracle = pytest.mark.parametrize("oracle", ["differences", "autograd"])
every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module", autouse=True)
def one_thread_for_torch():
    """More would wait for each other: the tensors are tiny."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- the oracles -------------------------------------------------------------------------------------------------


def by_differences(f, x):
    """The Jacobian of f at x, flat: central differences of three steps, extrapolated to a step of nothing.

    f takes a stack of arrays like x. Truncation and rounding leave less than 1e-15 of what is of the size of 1.
    """
    x = x.astype(twin.WIDE)
    steps = twin.WIDE(2) ** -np.arange(7, 10).reshape(3, 1, 1)
    moves = (steps * np.eye(x.size, dtype=twin.WIDE)).reshape(3, x.size, *x.shape)
    slopes = (f(x + moves) - f(x - moves)).reshape(3, x.size, -1) / (2 * steps)
    slopes = (4 * slopes[1:] - slopes[:-1]) / 3
    return ((16 * slopes[1] - slopes[0]) / 15).T


def by_autograd(f, x, results):
    """The same by torch, in one step backward from a copy of x for each result."""
    copies = torch.from_numpy(np.tile(x.astype(np.float64), (results, *[1] * x.ndim))).requires_grad_()
    f(copies).reshape(results, -1).diagonal().sum().backward()
    return copies.grad.reshape(results, -1).numpy()


def from_the_end(axis, ndim):
    """The same axes, counted so that axes may be added in front."""
    return tuple(d - ndim for d in twin.sorted_axes(axis, ndim))


def of_tensor(name, x, axes, scale):
    """The function of that name in torch, taken along any axes."""
    axes = twin.sorted_axes(axes, x.ndim)
    order = [d for d in range(x.ndim) if d not in axes] + axes
    permuted = [x.shape[d] for d in order]
    rows = (scale * x).permute(order).reshape([*permuted[: x.ndim - len(axes)], -1])
    if name == "logsumexp":
        return rows.logsumexp(-1)
    return getattr(torch, name)(rows, -1).reshape(permuted).permute(list(np.argsort(order)))


def logits(shape):
    """Numbers that float32 holds exactly."""
    rng = np.random.default_rng(math.prod(shape))
    return (2 * rng.standard_normal(shape)).astype(np.float32)


@functools.cache
def derivative(oracle, name, shape, axis, scale):
    """Of softmax, log_softmax or logsumexp at `logits(shape)`: all results by all logits."""
    x, axes = logits(shape), from_the_end(axis, len(shape))
    if oracle == "differences":
        return by_differences(lambda x: getattr(twin, name)(x, axes, scale=scale), x)
    results = twin.without_axes(shape, axis) if name == "logsumexp" else shape
    return by_autograd(lambda x: of_tensor(name, x, axes, scale), x, math.prod(results))


def own_blocks(jacobian, shape, axis):
    """The part of each slice by itself, of shape (..., n, n)."""
    ndim, axis = len(shape), axis % len(shape)
    moved = np.moveaxis(jacobian.reshape(shape * 2), (axis, ndim + axis), (ndim - 1, 2 * ndim - 1))
    batch, n = moved.shape[: ndim - 1], shape[axis]
    count = math.prod(batch)
    blocks = moved.reshape(count, n, count, n).swapaxes(1, 2)
    own = np.eye(count, dtype=bool)
    assert (blocks[~own] == 0).all(), "slices depend on each other"
    return blocks[own].reshape(*batch, n, n)


def check(result, expected, size):
    """Whether a result is as near as its precision allows, the errors being in proportion to `size`."""
    assert result.shape == expected.shape
    allowed = ULPS * np.finfo(result.dtype).eps * size + ORACLE_ERROR * np.max(size)
    error = abs(result - expected)
    assert (error <= allowed).all(), f"off by {error.max()}"


# ---- products ----------------------------------------------------------------------------------------------------

every_product = each(PRODUCTS, "product_")


def terms(product_, v, y, axis=-1, *, scale=1.0):
    """What rounding errors are relative to."""
    return twin.product_terms(product_.__name__, v, y, axis, scale=scale)


@every_oracle
@every_product
@pytest.mark.parametrize("case", ALL_CASES)
def test_products(product_, oracle, case, dtype, rng):
    """Of random vectors, along any axes, with any scale."""
    shape, axis = ALL_CASES[case]
    for scale in SCALES:
        v = rng.standard_normal(shape).astype(dtype)
        y = forward_of(product_)(logits(shape).astype(dtype), axis, scale=scale)
        jacobian = derivative(oracle, forward_of(product_).__name__, shape, axis, scale)
        if product_ in (softmax_vjp, log_softmax_vjp):
            jacobian = jacobian.T
        expected = (jacobian @ v.astype(twin.WIDE).ravel()).reshape(shape)
        check(product_(v, y, axis, scale=scale), expected, terms(product_, v, y, axis, scale=scale))


@every_product
def test_products_of_broadcast_vectors(product_, dtype, rng):
    """A vector that is the same for all slices, or for all elements of a slice."""
    shape, axis = (2, 4, 3), 1
    y = forward_of(product_)(logits(shape).astype(dtype), axis, scale=2.5)
    jacobian = derivative("differences", forward_of(product_).__name__, shape, axis, 2.5)
    if product_ in (softmax_vjp, log_softmax_vjp):
        jacobian = jacobian.T
    for part in ((4, 1), (3,), (2, 1, 1), ()):
        v = rng.standard_normal(part).astype(dtype)
        full = np.broadcast_to(v, shape)
        expected = (jacobian @ full.astype(twin.WIDE).ravel()).reshape(shape)
        check(product_(v, y, axis, scale=2.5), expected, terms(product_, full, y, axis, scale=2.5))


def test_products_with_dropped_classes(dtype, rng):
    """They do not move, and nothing moves with them."""
    shape, axis, scale = (3, 6), 1, 2.5
    mask = np.array([[1, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 1, 1]], bool)
    jacobian = by_differences(lambda x: twin.softmax(x, -1, scale=scale, where=mask), logits(shape))
    v = rng.standard_normal(shape).astype(dtype)
    y = softmax(logits(shape).astype(dtype), axis, scale=scale, where=mask)
    for product_, matrix in ((softmax_vjp, jacobian.T), (softmax_jvp, jacobian)):
        result = product_(v, y, axis, scale=scale)
        assert (result[~mask] == 0).all()
        expected = (matrix @ v.astype(twin.WIDE).ravel()).reshape(shape)
        check(result[mask], expected[mask], terms(product_, v, y, axis, scale=scale)[mask])
    found = softmax_jacobian(y, axis, scale=scale)
    assert (found[~mask] == 0).all()
    assert (found.swapaxes(1, 2)[~mask] == 0).all()
    both = mask[:, :, None] & mask[:, None, :]
    check(found[both], own_blocks(jacobian, shape, axis)[both], jacobian_terms("softmax", y, scale)[both])


@st.composite
def pairs_of_vectors(draw):
    """Two vectors and logits, the axes of the slices, and a scale."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 5, 7, 17, 33]), min_size=1, max_size=3)))
    axes = st.integers(-len(shape), len(shape) - 1)
    unique = st.lists(axes, max_size=len(shape), unique_by=lambda axis: axis % len(shape))
    axis = draw(axes | st.none() | unique.map(tuple))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return *rng.standard_normal((2, *shape)), 2 * rng.standard_normal(shape), axis, draw(st.floats(0.125, 4, width=32))


@pytest.mark.parametrize(
    ("forward", "vjp", "jvp"),
    [(softmax, softmax_vjp, softmax_jvp), (log_softmax, log_softmax_vjp, log_softmax_jvp)],
    ids=["softmax", "log_softmax"],
)
@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    # The fixtures are the variant and the dtype, which are the same for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(vectors=pairs_of_vectors())
def test_vjp_is_the_transpose_of_jvp_along_any_axes(forward, vjp, jvp, dtype, vectors):
    """<u, J v> == <J' u, v>, the sum running over all slices."""
    *arrays, axis, scale = vectors
    u, v, x = (array.astype(dtype) for array in arrays)
    y = forward(x, axis, scale=scale)
    left = (u.astype(twin.WIDE) * jvp(v, y, axis, scale=scale)).sum()
    right = (vjp(u, y, axis, scale=scale).astype(twin.WIDE) * v).sum()
    size = (abs(u) * terms(jvp, v, y, axis, scale=scale)).sum() + (abs(v) * terms(vjp, u, y, axis, scale=scale)).sum()
    assert abs(left - right) <= ULPS * np.finfo(dtype).eps * size


# ---- Jacobians ---------------------------------------------------------------------------------------------------

# name: which derivative it is, and the matrices from the logits
JACOBIANS = {
    "softmax_jacobian": (
        "softmax",
        lambda x, axis, scale: softmax_jacobian(softmax(x, axis, scale=scale), axis, scale=scale),
    ),
    "log_softmax_jacobian": (
        "log_softmax",
        lambda x, axis, scale: log_softmax_jacobian(log_softmax(x, axis, scale=scale), axis, scale=scale),
    ),
    "softmax_and_jacobian": (
        "softmax",
        lambda x, axis, scale: softmax_and_jacobian(x, axis, scale=scale)[1],
    ),
}
every_jacobian = pytest.mark.parametrize("jacobian", JACOBIANS)


def jacobian_terms(name, outputs, scale):
    """Each entry with a plus for every minus, from outputs with the axis of the classes at the end.

    The exponential of log_y is off by what log_y is, which is in proportion to log_y.
    """
    wide = outputs.astype(twin.WIDE)
    if name == "softmax":
        return twin.WIDE(scale) * wide[..., :, None] * (np.eye(wide.shape[-1]) + wide[..., None, :])
    return twin.WIDE(scale) * (np.eye(wide.shape[-1]) + (np.exp(wide) * (1 + abs(wide)))[..., None, :])


@every_oracle
@every_jacobian
@every_case
def test_jacobians(jacobian, oracle, case, dtype):
    shape, axis = CASES[case]
    name, function = JACOBIANS[jacobian]
    x = logits(shape).astype(dtype)
    for scale in SCALES:
        outputs = getattr(softmax_cy, name)(x, axis, scale=scale)
        expected = own_blocks(derivative(oracle, name, shape, axis, scale), shape, axis)
        check(function(x, axis, scale), expected, jacobian_terms(name, np.moveaxis(outputs, axis, -1), scale))


@every_jacobian
@pytest.mark.parametrize("length", [1, 2, 9, 17, 40, 130])
def test_rows_are_vjps_and_columns_are_jvps_of_unit_vectors(jacobian, length, dtype, rng):
    """Of a batch of slices along an axis in the middle, all of them at once."""
    name, function = JACOBIANS[jacobian]
    vjp, jvp = (softmax_vjp, softmax_jvp) if name == "softmax" else (log_softmax_vjp, log_softmax_jvp)
    x = (2 * rng.standard_normal((2, length, 3))).astype(dtype)
    outputs = getattr(softmax_cy, name)(x, 1, scale=0.375)
    found = function(x, 1, 0.375)
    size = jacobian_terms(name, np.moveaxis(outputs, 1, -1), 0.375)
    # units[i, 0, :, 0] is 1 at i; both results have i in front.
    units = np.eye(length, dtype=dtype)[:, None, :, None]
    rows = vjp(units, outputs, 2, scale=0.375)
    columns = jvp(units, outputs, 2, scale=0.375)
    check(found, rows.transpose(1, 3, 0, 2).astype(twin.WIDE), size)
    check(found, columns.transpose(1, 3, 2, 0).astype(twin.WIDE), size)


# ---- logsumexp ---------------------------------------------------------------------------------------------------


@every_oracle
@pytest.mark.parametrize("case", ALL_CASES)
def test_softmax_is_the_derivative_of_logsumexp(oracle, case, dtype):
    shape, axis = ALL_CASES[case]
    for scale in SCALES:
        y = softmax(logits(shape).astype(dtype), axis, scale=scale)
        # Each logit is part of one slice alone.
        expected = derivative(oracle, "logsumexp", shape, axis, scale).sum(axis=0).reshape(shape)
        check((twin.WIDE(scale) * y).astype(dtype), expected, expected)


# ---- cross-entropy -----------------------------------------------------------------------------------------------

CROSS_ENTROPY_CASES = {
    "one slice": ((5,), 0),
    "rows": ((4, 6), -1),
    "columns": ((6, 4), 0),
    "the middle axis": ((2, 5, 3), 1),
}

# What is ignored: nothing, an index that is no class, a class.
TARGETS = {"indices": None, "indices, -100 ignored": -100, "indices, 1 ignored": 1, "probabilities": None}


def target_and_weight(kind, shape, axis):
    """In float32, exactly; not all indices are ignored."""
    rng = np.random.default_rng(math.prod(shape))
    length = shape[axis]
    weight = rng.uniform(0.25, 3, length).astype(np.float32)
    if kind == "probabilities":
        q = rng.exponential(size=shape) * (rng.random(shape) < 0.8)
        return q.astype(np.float32), weight
    target = np.asarray(rng.integers(length, size=twin.without_axes(shape, axis)))
    if TARGETS[kind] is not None:
        target.flat[::3] = TARGETS[kind]
        target.flat[-1] = length - 1
    return target, weight


def total_losses(stack, target, axis, **options):
    """What the gradient is of, for each array of two axes of them."""
    totals = [twin.cross_entropy(x, target, axis, **options).loss.sum() for x in stack.reshape(-1, *stack.shape[2:])]
    return np.reshape(totals, (*stack.shape[:2], 1))


def torch_cross_entropy(x, target, axis, *, weight, ignore_index, **options):
    """The same of one tensor, in float64, by torch's own function."""
    classes = min(1, x.ndim - 1)
    target = torch.from_numpy(np.asarray(target))
    if target.is_floating_point():
        target = target.double().movedim(axis, classes)
    options["weight"] = None if weight is None else torch.from_numpy(weight.astype(np.float64))
    if ignore_index is not None:
        options["ignore_index"] = ignore_index
    return torch.nn.functional.cross_entropy(x.movedim(axis, classes), target, **options).sum()


@functools.cache
def cross_entropy_gradient(oracle, case, kind, weighted, smoothing, reduction):
    """Of the total loss, and the size of the terms of each entry."""
    shape, axis = CROSS_ENTROPY_CASES[case]
    target, weight = target_and_weight(kind, shape, axis)
    x = logits(shape)
    options = {"weight": weight if weighted else None, "ignore_index": TARGETS[kind]}
    options |= {"label_smoothing": smoothing, "reduction": reduction}
    if oracle == "differences":
        grad = by_differences(lambda stack: total_losses(stack, target, axis, **options), x)
    else:
        grad = by_autograd(lambda x: torch_cross_entropy(x[0], target, axis, **options), x, 1)
    return grad.reshape(shape), target, options


@every_oracle
@pytest.mark.parametrize("case", CROSS_ENTROPY_CASES)
@pytest.mark.parametrize("kind", TARGETS)
def test_cross_entropy(oracle, case, kind, dtype):
    """With every combination of options."""
    shape, axis = CROSS_ENTROPY_CASES[case]
    x = logits(shape).astype(dtype)
    for weighted, smoothing, reduction in product((False, True), (0.0, 0.25, 1.0), ("none", "sum", "mean")):
        expected, target, options = cross_entropy_gradient(oracle, case, kind, weighted, smoothing, reduction)
        _, grad = cross_entropy_and_grad(x, target, axis, **options)
        check(grad, expected, twin.cross_entropy(x, target, axis, **options).terms)


@pytest.mark.parametrize("case", CROSS_ENTROPY_CASES)
@pytest.mark.parametrize("kind", TARGETS)
def test_cross_entropy_is_torchs(case, kind, dtype):
    """The loss too: what the gradient is the gradient of."""
    shape, axis = CROSS_ENTROPY_CASES[case]
    target, weight = target_and_weight(kind, shape, axis)
    x = logits(shape).astype(dtype)
    for weighted, smoothing, reduction in product((None, weight), (0.0, 0.25, 1.0), ("sum", "mean")):
        options = {"weight": weighted, "ignore_index": TARGETS[kind]}
        options |= {"label_smoothing": smoothing, "reduction": reduction}
        loss, _ = cross_entropy_and_grad(x, target, axis, **options)
        expected = torch_cross_entropy(torch.from_numpy(x).double(), target, axis, **options).numpy()
        check(loss, expected, expected)
