"""What every function does in every corner case, as one table. docs/semantics.md is that table to read:

python tests/test_semantics.py > docs/semantics.md
"""

import re
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import xarray

import operations
from layouts import read_only, unaligned
from operations import bits, parts, usual_arguments
from wrong_arguments import ALL, OF_A_PAIR, WRONG
from wrong_parts import SETUP, WRONG_CALLS

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/semantics.md"

inf, nan = np.inf, np.nan
LOG2, LOG5 = np.log(2), np.log(5)
T, F = True, False

# The tables name the functions.
FUNCTIONS = {function.__name__: function for function in ALL}
every_function = pytest.mark.parametrize("name", FUNCTIONS)

(BOTH,) = (function.__name__ for function in OF_A_PAIR)
FORWARD, PRODUCTS, JACOBIANS, LOSSES = (
    tuple(function.__name__ for function in family)
    for family in (operations.FORWARD, operations.PRODUCTS, operations.JACOBIANS, operations.LOSSES)
)


# ---- corner cases ------------------------------------------------------------------------------------------------

# In the order of the cells of a case: a new function has none until they are written.
VALUES = ("softmax", "log_softmax", "logsumexp", "cross_entropy")
OF_PRODUCTS = ("softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp")
DERIVATIVES = (*OF_PRODUCTS, "softmax_jacobian", "log_softmax_jacobian", "cross_entropy_and_grad")


def cells(functions, expected):
    """What each function gives; the last ones may have none. The two products of softmax, the same bits, have one."""
    if expected and "softmax_vjp" in functions:
        expected = expected[:1] + expected
    return dict(zip(functions, expected, strict=False))


@dataclass
class Case:
    """Logits with options, and what follows from them. The functions of y take it from the column of softmax.

    A function without a cell is not called.
    """

    what: str
    x: object
    options: dict = field(default_factory=dict)
    values: tuple = ()
    derivatives: tuple = ()
    target: object = None

    @property
    def cells(self):
        """Expected results by function."""
        return cells(VALUES, self.values) | cells(DERIVATIVES, self.derivatives)


@dataclass
class ProductCase:
    """v and y, and the products with the Jacobians of softmax and log_softmax."""

    what: str
    v: object
    y: object
    products: tuple

    @property
    def cells(self):
        """Expected results by function."""
        return cells(OF_PRODUCTS, self.products)


@dataclass
class LossCase:
    """Logits, target and options; loss and gradient."""

    what: str
    x: object
    target: object
    options: dict
    results: tuple

    @property
    def cells(self):
        """Expected results by function."""
        return cells(LOSSES, self.results)


@dataclass
class Group:
    """Cases that belong together, under a title and a sentence or two."""

    title: str
    about: str
    cases: list


ALL_NAN = (nan, nan)
NAN_MATRIX = (ALL_NAN, ALL_NAN)
QUARTERS = [[0.25, -0.25], [-0.25, 0.25]]
HALVES = [[0.5, -0.5], [-0.5, 0.5]]
# What softmax([40, 0]) leaves for the second class, and lacks of 1 for the first.
TINY = np.exp(-40.0)

GROUPS = [
    Group(
        "Infinities and NaN among the logits",
        "A class at -inf has no probability and does no harm. What has no answer is NaN, in its own slice and in no "
        "other.",
        [
            Case(
                "-inf beside numbers",
                [-inf, 0, 0],
                {},
                ([0, 0.5, 0.5], [-inf, -LOG2, -LOG2], LOG2, LOG2),
                (
                    [0, -0.5, 0.5],
                    [1, -1.5, 0.5],
                    [-2, -1, 1],
                    [[0, 0, 0], [0, 0.25, -0.25], [0, -0.25, 0.25]],
                    [[1, -0.5, -0.5], [0, 0.5, -0.5], [0, -0.5, 0.5]],
                    [0, 0.5, -0.5],
                ),
            ),
            Case(
                "nothing but -inf",
                [-inf, -inf],
                {},
                (ALL_NAN, ALL_NAN, -inf, nan),
                (ALL_NAN, ALL_NAN, ALL_NAN, NAN_MATRIX, NAN_MATRIX, ALL_NAN),
            ),
            Case(
                "+inf",
                [inf, 0],
                {},
                (ALL_NAN, ALL_NAN, inf, nan),
                (ALL_NAN, ALL_NAN, ALL_NAN, NAN_MATRIX, NAN_MATRIX, ALL_NAN),
            ),
            Case(
                "NaN",
                [nan, 0],
                {},
                (ALL_NAN, ALL_NAN, nan, nan),
                (ALL_NAN, ALL_NAN, ALL_NAN, NAN_MATRIX, NAN_MATRIX, ALL_NAN),
            ),
            Case(
                "NaN and +inf",
                [nan, inf],
                {},
                (ALL_NAN, ALL_NAN, nan, nan),
                (ALL_NAN, ALL_NAN, ALL_NAN, NAN_MATRIX, NAN_MATRIX, ALL_NAN),
            ),
            Case(
                "NaN in one of two slices",
                [[nan, 0], [0, 0]],
                {},
                ([ALL_NAN, [0.5, 0.5]], [ALL_NAN, [-LOG2, -LOG2]], [nan, LOG2], [nan, LOG2]),
                (
                    [ALL_NAN, [-1, 1]],
                    [ALL_NAN, [-2, 2]],
                    [ALL_NAN, [-2, 2]],
                    [NAN_MATRIX, QUARTERS],
                    [NAN_MATRIX, HALVES],
                    [ALL_NAN, [0.5, -0.5]],
                ),
            ),
        ],
    ),
    Group(
        "Logits far apart",
        "Nothing overflows, and the logarithm of a probability next to 1 keeps its digits. So do the derivatives, but "
        "for the diagonal of `softmax_jacobian`: it is given y alone, in which 1 - 4.25e-18 has become 1.",
        [
            Case(
                "1e4 and 0",
                [1e4, 0],
                {},
                ([1, 0], [0, -1e4], 1e4, 1e4),
                ([0, 0], [-2, 2], [0, 1], [[0, 0], [0, 0]], [[0, 0], [-1, 1]], [1, -1]),
            ),
            Case(
                "40 and 0",
                [40, 0],
                {},
                ([1, TINY], [-TINY, -40], 40, 40),
                (
                    [-TINY, TINY],
                    [-2, 2],
                    [-TINY, 1],
                    [[0, -TINY], [-TINY, TINY]],
                    [[TINY, -TINY], [-1, 1]],
                    [1, -1],
                ),
            ),
            Case(
                "equal and huge",
                [1e30, 1e30],
                {},
                ([0.5, 0.5], [-LOG2, -LOG2], 1e30, LOG2),
                ([-0.25, 0.25], [-0.5, 0.5], [-0.5, 0.5], QUARTERS, HALVES, [0.5, -0.5]),
            ),
        ],
    ),
    Group(
        "Shapes",
        "A slice of one element is certain. Nothing in, nothing out: the sum of no exponentials is 0, and its "
        "logarithm -inf. A 0-d array counts as one element along one axis. The target of an empty slice can only be "
        "probabilities: no class index is in range.",
        [
            Case("one element", [3], {}, ([1], [0], 3, 0), ([0], [0], [0], [[0]], [[0]], [0])),
            Case("0-d", 3, {}, (1, 0, 3, 0), (0, 0, 0, [[0]], [[0]], 0)),
            Case("0-d, first axis", 3, {"axis": 0}, (1, 0, 3, 0), (0, 0, 0, [[0]], [[0]], 0)),
            Case(
                "slices of length 0",
                np.ones((2, 0)),
                {},
                (np.ones((2, 0)), np.ones((2, 0)), [-inf, -inf], [0, 0]),
                (*(np.ones((2, 0)),) * 3, np.ones((2, 0, 0)), np.ones((2, 0, 0)), np.ones((2, 0))),
                target=np.ones((2, 0)),
            ),
            Case(
                "no slices",
                np.ones((0, 2)),
                {},
                (np.ones((0, 2)), np.ones((0, 2)), np.ones(0), np.ones(0)),
                (*(np.ones((0, 2)),) * 3, np.ones((0, 2, 2)), np.ones((0, 2, 2)), np.ones((0, 2))),
            ),
        ],
    ),
    Group(
        "axis",
        "The last by default, counted from either end. A tuple makes one slice of several axes, None of all; the empty "
        "tuple makes every element a slice. In a Jacobian the other axes come first.",
        [
            Case(
                "the first",
                [[0], [0]],
                {"axis": 0},
                ([[0.5], [0.5]], [[-LOG2], [-LOG2]], [LOG2], [LOG2]),
                ([[-0.25], [0.25]], [[-0.5], [0.5]], [[-0.5], [0.5]], [QUARTERS], [HALVES], [[0.5], [-0.5]]),
            ),
            Case(
                "from the end",
                [[0], [0]],
                {"axis": -2},
                ([[0.5], [0.5]], [[-LOG2], [-LOG2]], [LOG2], [LOG2]),
                ([[-0.25], [0.25]], [[-0.5], [0.5]], [[-0.5], [0.5]], [QUARTERS], [HALVES], [[0.5], [-0.5]]),
            ),
        ],
    ),
    Group(
        "Several axes",
        "For the functions that can: a class has one axis, and so has a Jacobian.",
        [
            Case(
                "all",
                [[0], [0]],
                {"axis": None},
                ([[0.5], [0.5]], [[-LOG2], [-LOG2]], LOG2),
            ),
            Case(
                "two",
                [[0, 0], [0, 0]],
                {"axis": (1, 0)},
                ([[0.25] * 2] * 2, [[-2 * LOG2] * 2] * 2, 2 * LOG2),
            ),
            Case("none", [5, 7], {"axis": ()}, ([1, 1], [0, 0], [5, 7])),
            Case("0-d, all", 3, {"axis": None}, (1, 0, 3)),
            Case("0-d, none", 3, {"axis": ()}, (1, 0, 3)),
        ],
    ),
    Group(
        "where",
        "True keeps an element, False drops it, whatever it holds. What is dropped has probability 0, exactly, in a "
        "slice that is NaN too. A mask that is written as -inf into the logits does the same, but for a slice of which "
        "nothing is kept: nothing but -inf is NaN, as in torch, SciPy and JAX, while `where` gives probabilities of 0.",
        [
            Case(
                "NaN dropped",
                [nan, 0, 0],
                {"where": [F, T, T]},
                ([0, 0.5, 0.5], [-inf, -LOG2, -LOG2], LOG2),
            ),
            Case(
                "NaN kept",
                [nan, 0, 0],
                {"where": [T, T, F]},
                ([nan, nan, 0], [nan, nan, -inf], nan),
            ),
            Case(
                "+inf kept, NaN dropped",
                [inf, nan],
                {"where": [T, F]},
                ([nan, 0], [nan, -inf], inf),
            ),
            Case(
                "nothing but -inf kept",
                [-inf, 0],
                {"where": [T, F]},
                ([nan, 0], [nan, -inf], -inf),
            ),
            Case("nothing kept", [0, nan], {"where": [F, F]}, ([0, 0], [-inf, -inf], -inf)),
            Case("everything kept", [0, 0], {"where": T}, ([0.5, 0.5], [-LOG2, -LOG2], LOG2)),
            Case("one kept", [1e4, 5], {"where": [F, T]}, ([0, 1], [-inf, 0], 5)),
            Case(
                "a mask of slices",
                [[0, 0], [0, 0]],
                {"where": [[T], [F]]},
                ([[0.5, 0.5], [0, 0]], [[-LOG2, -LOG2], [-inf, -inf]], [LOG2, -inf]),
            ),
            Case("0-d, dropped", 3, {"where": F}, (0, -inf, -inf)),
        ],
    ),
    Group(
        "scale",
        "Of scale * x, the product not being rounded. Derivatives are those in x, so they have the factor.",
        [
            Case(
                "2",
                [0, LOG2],
                {"scale": 2},
                ([0.2, 0.8], [-LOG5, np.log(0.8)], LOG5),
                ([-0.32, 0.32], [0.8, -0.8], [-1.6, 0.4], [[0.32, -0.32], [-0.32, 0.32]], [[1.6, -1.6], [-0.4, 0.4]]),
            ),
            Case(
                "0.5",
                [0, 0],
                {"scale": 0.5},
                ([0.5, 0.5], [-LOG2, -LOG2], LOG2),
                ([-0.125, 0.125], [-0.25, 0.25], [-0.25, 0.25], [[0.125, -0.125], [-0.125, 0.125]], QUARTERS),
            ),
            Case("of one element", [3], {"scale": 2}, ([1], [0], 6), ([0], [0], [0], [[0]], [[0]])),
            Case(
                "of -inf",
                [-inf, 0, 0],
                {"scale": 3},
                ([0, 0.5, 0.5], [-inf, -LOG2, -LOG2], LOG2),
            ),
            Case("of +inf", [inf, 0], {"scale": 3}, (ALL_NAN, ALL_NAN, inf)),
        ],
    ),
]

PRODUCT_GROUP = Group(
    "Products",
    "Both inputs broadcast, and the axis is counted in the shape of the result. NaN or an infinity in a vector reaches "
    "all of its slice, NaN in y too; only `log_softmax_vjp` sums the gradient alone, so that there it stays in its own "
    "class. log_y is the logarithm of the y shown.",
    [
        ProductCase(
            "a class without probability", [1, 2, 4], [0, 0.5, 0.5], ([0, -0.5, 0.5], [1, -1.5, 0.5], [-2, -1, 1])
        ),
        ProductCase("a constant vector", [3, 3], [0.5, 0.5], ([0, 0], [0, 0], [0, 0])),
        ProductCase("NaN in the vector", [nan, 1], [0.5, 0.5], (ALL_NAN, ALL_NAN, ALL_NAN)),
        ProductCase("NaN in the vector, probability 0", [nan, 1], [0, 1], (ALL_NAN, ALL_NAN, ALL_NAN)),
        ProductCase("+inf in the vector", [inf, 1], [0.5, 0.5], ([nan, -inf], [nan, -inf], [nan, -inf])),
        ProductCase("NaN in one class of y", [1, 2], [nan, 0.5], (ALL_NAN, [nan, 0.5], ALL_NAN)),
        ProductCase(
            "NaN in one of two slices",
            [[nan, 2], [1, 2]],
            [0.5, 0.5],
            ([ALL_NAN, [-0.25, 0.25]], [ALL_NAN, [-0.5, 0.5]], [ALL_NAN, [-0.5, 0.5]]),
        ),
        ProductCase(
            "one y for two vectors",
            [[1, 2], [2, 1]],
            [0.5, 0.5],
            tuple([[-q, q], [q, -q]] for q in (0.25, 0.5, 0.5)),
        ),
        ProductCase(
            "one vector for two y",
            [1, 2],
            [[0.5, 0.5], [1, 0]],
            ([[-0.25, 0.25], [0, 0]], [[-0.5, 0.5], [-2, 2]], [[-0.5, 0.5], [0, 1]]),
        ),
    ],
)

LOSS_GROUP = Group(
    "Losses",
    "The reduction is the mean where no other is given. It divides by the weights of the targets that count, for "
    "probabilities by the number of slices; where that is 0 it is NaN. A class whose weight times probability is 0 "
    "does not count, whatever its logit. Any other counts by its `log_softmax`: where that is too low for a number of "
    "the dtype the loss is infinite, however small the weight.",
    [
        LossCase("a target at -inf", [-inf, 0], 0, {}, (inf, [-1, 1])),
        LossCase("probabilities", [0, 0], [0.5, 0.5], {}, (LOG2, [0, 0])),
        LossCase("probability 0 at -inf", [-inf, 0], [0.0, 1.0], {}, (0, [0, 0])),
        LossCase("probabilities that add up to 2", [0, 0], [1.0, 1.0], {}, (2 * LOG2, [0, 0])),
        LossCase("NaN among the probabilities", [0, 0], [nan, 1], {}, (nan, ALL_NAN)),
        LossCase("a weight", [0, 0], 1, {"weight": [1, 3], "reduction": "sum"}, (3 * LOG2, [1.5, -1.5])),
        LossCase("weight 0 at -inf", [-inf, 0], 0, {"weight": [0, 1], "reduction": "sum"}, (0, [0, 0])),
        LossCase("weight 0, the mean", [-inf, 0], 0, {"weight": [0, 1]}, (nan, ALL_NAN)),
        LossCase(
            "weight 0, the mean, smoothing", [0, 0], 0, {"weight": [0, 1], "label_smoothing": 0.5}, (nan, ALL_NAN)
        ),
        LossCase("all smoothing", [0, 0], 0, {"label_smoothing": 1}, (LOG2, [0, 0])),
        LossCase("smoothing and -inf", [-inf, 0], 1, {"label_smoothing": 0.5}, (inf, [-0.25, 0.25])),
        LossCase(
            "a mean of indices",
            [[0, 0], [0, 0]],
            [0, 1],
            {"weight": [1, 3]},
            (LOG2, [[-0.125, 0.125], [0.375, -0.375]]),
        ),
        LossCase(
            "a mean of probabilities",
            [[0, 0], [0, 0]],
            [[1.0, 0.0], [0.0, 1.0]],
            {"weight": [1, 3]},
            (2 * LOG2, [[-0.25, 0.25], [0.75, -0.75]]),
        ),
        LossCase(
            "one ignored",
            [[nan, 0], [0, 0]],
            [-100, 1],
            {"ignore_index": -100},
            (LOG2, [[0, 0], [0.5, -0.5]]),
        ),
        LossCase(
            "one ignored, no reduction",
            [[nan, 0], [0, 0]],
            [-100, 1],
            {"ignore_index": -100, "reduction": "none"},
            ([0, LOG2], [[0, 0], [0.5, -0.5]]),
        ),
        LossCase("all ignored, the mean", [[0, 0]], [1], {"ignore_index": 1}, (nan, [[0, 0]])),
        LossCase("all ignored, the sum", [[0, 0]], [1], {"ignore_index": 1, "reduction": "sum"}, (0, [[0, 0]])),
        LossCase("no slices, the mean", np.ones((0, 2)), np.ones(0, int), {}, (nan, np.ones((0, 2)))),
        LossCase("no slices, the sum", np.ones((0, 2)), np.ones(0, int), {"reduction": "sum"}, (0, np.ones((0, 2)))),
        LossCase("no classes", np.ones((2, 0)), np.ones((2, 0)), {}, (0, np.ones((2, 0)))),
    ],
)


def arguments_of(case, name, dtype):
    """Of a call of a function for a cell, positional and by name; what has to be an array is one of this dtype."""
    if isinstance(case, LossCase):
        target = np.asarray(case.target)
        return (np.array(case.x, dtype), target.astype(dtype) if target.dtype.kind == "f" else target), case.options
    if isinstance(case, ProductCase):
        y = np.array(case.y, dtype)
        return (np.array(case.v, dtype), logarithm(y) if name.startswith("log_") else y), {}
    x = np.array(case.x, dtype)
    options = {key: value for key, value in case.options.items() if FUNCTIONS[name] in operations.taking(key)}
    if name in LOSSES:
        if case.target is not None:
            return (x, case.target.astype(dtype)), {**options, "reduction": "none"}
        axis = case.options.get("axis", -1)
        shape = x.shape or (1,)
        target = np.full(np.delete(shape, axis), shape[axis] - 1)
        return (x, target), {**options, "reduction": "none"}
    if name in (*FORWARD, BOTH):
        return (x,), options
    y = np.array(case.cells["log_softmax" if name.startswith("log_") else "softmax"], dtype)
    return (vector(x.shape, dtype), y) if name in PRODUCTS else (y,), options


def vector(shape, dtype):
    """1, 2, 4, ... : what the products multiply with."""
    return (2 ** np.arange(np.prod(shape, dtype=int))).reshape(shape).astype(dtype)


def logarithm(y):
    """With log 0 = -inf."""
    with np.errstate(divide="ignore"):
        return np.log(y)


def assert_as_expected(result, expected, dtype):
    """Shape, dtype and values: 0, 1, NaN and the infinities exactly, anything else within 8 units."""
    expected = np.array(expected, dtype)
    assert isinstance(result, np.ndarray if expected.ndim else np.generic)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=8 * np.finfo(dtype).eps, atol=0)
    exact = np.isin(expected, [0, 1])
    np.testing.assert_array_equal(result[exact], expected[exact])


ALL_CASES = [case for group in (*GROUPS, PRODUCT_GROUP, LOSS_GROUP) for case in group.cases]
IDS = [f"{group.title}: {case.what}" for group in (*GROUPS, PRODUCT_GROUP, LOSS_GROUP) for case in group.cases]


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, id=f"{name}: {id_}")
        for case, id_ in zip(ALL_CASES, IDS, strict=True)
        for name in case.cells
        if name in FUNCTIONS
    ],
)
def test_corner(case, name, variant, dtype):
    args, options = arguments_of(case, name, dtype)
    before = [array.copy() for array in args]
    result = FUNCTIONS[name](*args, **options)
    if name == "cross_entropy_and_grad":
        loss, result = result
        assert_as_expected(loss, case.cells.get("cross_entropy"), dtype)
    assert_as_expected(result, case.cells[name], dtype)
    for array, copy in zip(args, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=id_)
        for case, id_ in zip(ALL_CASES, IDS, strict=True)
        if isinstance(case, Case) and isinstance(case.options.get("axis", -1), int)
    ],
)
def test_corner_of_softmax_and_jacobian(case, variant, dtype):
    """Y as softmax gives it, and the matrix that follows from it, with the true 1 - y."""
    args, options = arguments_of(case, BOTH, dtype)
    y, jacobian = FUNCTIONS[BOTH](*args, **options)
    assert_as_expected(y, case.cells["softmax"], dtype)
    expected = both_jacobian(case)
    nan_slices = np.isnan(expected).any(axis=(-2, -1))
    assert np.isnan(jacobian[nan_slices]).any(axis=(-2, -1)).all()
    assert jacobian.shape == expected.shape
    assert_as_expected(jacobian[~nan_slices], expected[~nan_slices], dtype)


def both_jacobian(case):
    """What softmax_and_jacobian gives for the matrix."""
    y = np.array(case.cells["softmax"])
    axis = case.options.get("axis", -1)
    y = np.moveaxis(y, axis, -1) if y.ndim else y.reshape(1)
    n = y.shape[-1]
    # 1 - y is the sum of the others.
    rest = np.stack([np.delete(y, i, -1).sum(-1) for i in range(n)], -1) if n else y
    jacobian = -y[..., :, None] * y[..., None, :]
    jacobian[..., range(n), range(n)] = y * rest
    return case.options.get("scale", 1) * jacobian


# ---- inputs and outputs ------------------------------------------------------------------------------------------

# What an array is made of; what is computed in; the result's dtype; how the document puts it.
DTYPES = [
    ("float32", "float32", "float32", ""),
    ("float64", "float64", "float64", ""),
    ("float16", "float32", "float16", "computed in float32, rounded once"),
    ("bfloat16", "float32", "bfloat16", "the same; from ml_dtypes"),
    *[(f"{sign}int{n}", "float64", "float64", "") for sign in ("", "u") for n in (8, 16, 32, 64)],
    ("bool", "float64", "float64", ""),
]
# Of the two inputs of a product; of the logits, and of probabilities or weights.
MIXED = [
    ("float32", "float64", "float64"),
    ("float16", "float32", "float32"),
    ("float16", "bfloat16", "float32"),
    ("int8", "float32", "float64"),
    ("bool", "uint8", "float64"),
]


class Labelled(np.ndarray):
    """A subclass."""


def torch_tensor(array):
    """On the CPU."""
    return pytest.importorskip("torch").from_numpy(array.copy())


LIKE_A_COPY = "the same bits as for a copy in C order"
LIKE_ASARRAY = "as `numpy.asarray` of it"

# What an input may be; what the result is then; how to make it of an array.
INPUTS = {
    "in Fortran order": (LIKE_A_COPY, np.asfortranarray),
    "every other element of an array": (LIKE_A_COPY, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]),
    "with negative strides": (LIKE_A_COPY, lambda a: a[..., ::-1]),
    "with strides of zero": (LIKE_A_COPY, lambda a: np.broadcast_to(a[..., :1], a.shape)),
    "at an odd address": (LIKE_A_COPY, unaligned),
    "of the other byte order": (LIKE_A_COPY, lambda a: a.astype(a.dtype.newbyteorder())),
    "read-only": (LIKE_A_COPY, read_only),
    "of a subclass": (LIKE_A_COPY + ", in a plain ndarray", lambda a: a.view(Labelled)),
    "a list": (LIKE_ASARRAY, lambda a: a.tolist()),
    "an object with a buffer": (LIKE_ASARRAY, memoryview),
    "a torch tensor on the CPU": (LIKE_ASARRAY + ", without a copy", torch_tensor),
    "an xarray.DataArray in memory (pandas likewise)": (LIKE_ASARRAY + ", without labels", xarray.DataArray),
}


def call(name, arguments, **options):
    """With the losses one by one."""
    if name in LOSSES:
        options = {"reduction": "none", **options}
    return FUNCTIONS[name](*arguments.values(), **options)


def dtype_named(name):
    """NumPy's or of ml_dtypes."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@every_function
@pytest.mark.parametrize(("given", "computed", "expected", "_"), DTYPES, ids=[row[0] for row in DTYPES])
def test_dtypes(name, given, computed, expected, _, variant):
    given, computed, expected = map(dtype_named, (given, computed, expected))
    values = {key: a if key == "target" else abs(2 * a) for key, a in usual_arguments(name).items()}
    if given.kind not in "biu":
        values = usual_arguments(name)
    for order in "=S":
        if given == ml_dtypes.bfloat16 and order == "S":
            continue  # it has one byte order
        arrays = {k: a if k == "target" else a.astype(given.newbyteorder(order)) for k, a in values.items()}
        # Outputs of 16 bits stay as they are: how far their sum may be from 1 follows from how they were rounded.
        kept = ("target", "y", "log_y") if name in PRODUCTS and given.itemsize == 2 else ("target",)
        exact = {k: a if k in kept else a.astype(computed) for k, a in arrays.items()}
        for result, wide in zip(parts(call(name, arrays)), parts(call(name, exact)), strict=True):
            assert result.dtype == expected
            assert result.dtype.isnative
            assert bits(result) == bits(wide.astype(expected))


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(("one", "other", "expected"), MIXED)
def test_mixed_dtypes(name, one, other, expected):
    first, second = usual_arguments(name)
    arguments = usual_arguments(name)
    for dtypes in ((one, other), (other, one)):
        arrays = {
            key: abs(2 * arguments[key]).astype(dtype_named(d)) for key, d in zip((first, second), dtypes, strict=True)
        }
        result = call(name, arrays)
        assert result.dtype == expected
        assert bits(result) == bits(call(name, {key: array.astype(expected) for key, array in arrays.items()}))


@every_function
@pytest.mark.parametrize("kind", INPUTS)
def test_inputs(name, kind, variant, dtype):
    _, make = INPUTS[kind]
    arguments = usual_arguments(name, dtype)
    for which, of_interest in arguments.items():
        given = {**arguments, which: make(of_interest)}
        plain = {key: np.array(np.asarray(value), order="C") for key, value in given.items()}
        plain = {key: array.astype(array.dtype.newbyteorder("=")) for key, array in plain.items()}
        result = call(name, given)
        assert bits(result) == bits(call(name, plain))
        assert {type(part) for part in parts(result)} == {np.ndarray}


DEFAULTS = {
    "axis": -1,
    "scale": 1.0,
    "where": None,
    "dtype": None,
    "keepdims": False,
    "weight": None,
    "ignore_index": None,
    "label_smoothing": 0.0,
    "reduction": "mean",
    "out": None,
    "num_threads": None,
}


@every_function
def test_defaults(name, variant, dtype):
    """Of all options; and the axis may be given by its place."""
    function, arguments = FUNCTIONS[name], usual_arguments(name, dtype)
    options = {key: value for key, value in DEFAULTS.items() if function in operations.taking(key)}
    expected = bits(function(*arguments.values()))
    assert bits(function(**arguments, **options)) == expected
    assert bits(function(*arguments.values(), 1)) == expected


@every_function
def test_torch_tensors_are_not_copied(name):
    arguments = usual_arguments(name, np.float32, (200, 300) if name not in (BOTH, *JACOBIANS) else (3, 200))
    tensors = {key: torch_tensor(array) for key, array in arguments.items()}
    peaks = []
    for given in (arguments, tensors):
        call(name, given)
        tracemalloc.start()
        call(name, given)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Nothing of the size of an input.
    assert peaks[1] < peaks[0] + min(array.nbytes for array in arguments.values()) / 2


def result_of(name, arguments, **options):
    """What is written to `out` if that is given."""
    return operations.written(FUNCTIONS[name], call(name, arguments, **options))


def with_out(name, arguments, outs, **options):
    """A call with these arrays to write to."""
    return call(name, arguments, out=tuple(outs) if name == BOTH else outs[0], **options)


LAYOUTS = [
    lambda a: a,
    np.asfortranarray,
    lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    lambda a: a[..., ::-1],
    unaligned,
]


@every_function
def test_a_result_is_a_new_array(name, variant, dtype):
    for part in parts(call(name, usual_arguments(name, dtype))):
        assert type(part) is np.ndarray
        assert part.flags.c_contiguous
        assert part.flags.owndata
        assert part.flags.writeable


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in (*LOSSES, *JACOBIANS)])
def test_a_result_without_axes_is_a_scalar(name, variant, dtype):
    """With `out`, that array."""
    arguments = usual_arguments(name, dtype, (4,)) if name == "logsumexp" else zero_dimensional(name, dtype)
    result = parts(call(name, arguments))[0]
    assert type(result) is dtype.type
    out = np.full((), -7, dtype)
    assert parts(with_out(name, arguments, [out, None]))[0] is out
    assert bits(out) == bits(result)


def zero_dimensional(name, dtype):
    """Arguments of no axes."""
    return {key: array[0].reshape(()) for key, array in usual_arguments(name, dtype, (1,)).items()}


@every_function
def test_out_in_any_layout(name, variant, dtype):
    """The array that was given is returned."""
    arguments = usual_arguments(name, dtype)
    expected = result_of(name, arguments)
    for layout in LAYOUTS:
        outs = [layout(np.full(part.shape, -7, dtype)) for part in expected]
        result = parts(with_out(name, arguments, outs))
        assert all(part is out for part, out in zip(result[-len(outs) :], outs, strict=True))
        assert bits(tuple(outs)) == bits(expected)


@pytest.mark.parametrize("name", [function.__name__ for function in operations.IN_PLACE])
def test_out_is_an_input(name, variant, dtype):
    """Where the shapes are the same."""
    arguments = usual_arguments(name, dtype)
    expected = result_of(name, arguments)
    for key in [key for key in arguments if key != "target"]:
        in_place = {**arguments, key: arguments[key].copy()}
        with_out(name, in_place, [in_place[key]])
        assert bits((in_place[key],)) == bits(expected), key


@every_function
def test_out_overlaps_an_input(name, variant, dtype):
    """By all but a few bytes, or by a few."""
    arguments = usual_arguments(name, dtype)
    expected = result_of(name, arguments)
    for key, array in arguments.items():
        for x_start, out_start in [(0, dtype.itemsize), (dtype.itemsize, 0), (0, 3), (40, 0), (0, 40)]:
            sizes = [part.nbytes for part in expected]
            memory = np.zeros(2 * sum(sizes) + array.nbytes + 100, np.uint8)
            over = memory[x_start:][: array.nbytes].view(array.dtype).reshape(array.shape)
            over[...] = array
            starts = np.cumsum([out_start, *sizes])
            outs = [
                memory[start:][: part.nbytes].view(dtype).reshape(part.shape)
                for start, part in zip(starts, expected, strict=False)
            ]
            with_out(name, {**arguments, key: over}, outs)
            assert bits(tuple(outs)) == bits(expected), (key, x_start, out_start)


# What `out` may be; what happens; the test that shows it.
OUTPUTS = [
    ("not given", "a new array in C order that owns its memory", test_a_result_is_a_new_array),
    (
        "not given, and the result has no axes",
        "a NumPy scalar, as from NumPy's own functions",
        test_a_result_without_axes_is_a_scalar,
    ),
    ("of the right shape and dtype, in any layout", "written to and returned", test_out_in_any_layout),
    ("an input of the right shape and dtype", "the same bits, in place", test_out_is_an_input),
    ("overlapping an input", "the same bits", test_out_overlaps_an_input),
    ("with elements that overlap each other", "an error: which of the results would be in them?", None),
    ("anything else", "an error, below", None),
]


# ---- the document ------------------------------------------------------------------------------------------------


def as_text(value):
    """A number or an array in as few characters as tell what it is."""
    array = np.asarray(value)
    if array.size == 0:
        return f"shape {array.shape}"
    if array.ndim and array.size > 1 and np.isnan(array.astype(float)).all():
        return "all NaN"
    if array.ndim:
        return f"[{', '.join(map(as_text, array))}]"
    if array.dtype == bool:
        return str(bool(array))[0]
    number = float(array)
    for factor, text in ((LOG2, "log 2"), (LOG5, "log 5")):
        for times in (1, -1, 2, -2, 3):
            if number == times * factor:
                return f"{times} {text}".replace("1 ", "", 1) if abs(times) == 1 else f"{times} {text}"
    text = f"{number:.4g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    return {"inf": "inf", "nan": "NaN"}.get(text, text)


def as_code(value):
    """For a cell."""
    return f"`{as_text(value)}`"


def options_as_text(options):
    """As they are given."""
    return ", ".join(
        f"{key}={value!r}" if key in ("axis", "reduction") else f"{key}={as_text(value)}"
        for key, value in options.items()
    )


def table(head, rows):
    """Lines of Markdown."""
    return ["", row_of(head), row_of("---" for _ in head), *map(row_of, rows)]


def row_of(row):
    return f"| {' | '.join(row)} |"


def shown(case):
    """The cells, and the matrix of softmax_and_jacobian, whose y is that of softmax."""
    if BOTH not in FUNCTIONS or not isinstance(case, Case) or not isinstance(case.options.get("axis", -1), int):
        return case.cells
    matrix = both_jacobian(case) + 0.0
    # Where something was dropped, which entries are NaN is left open.
    return {**case.cells, BOTH: nan if np.isnan(matrix).any() and "where" in case.options else matrix}


def columns_of(cases, functions):
    """Functions with a cell in any case; those that have the same in all of them share a column."""
    columns = []
    for name in functions:
        column = [as_code(shown(case)[name]) if name in shown(case) else "" for case in cases]
        if not any(column):
            continue
        for names, other in columns:
            if other == column:
                names.append(name)
                break
        else:
            columns.append(([name], column))
    return columns


SHOWN_AS = {"cross_entropy_and_grad": "cross_entropy_and_grad (gradient)", BOTH: f"{BOTH} (matrix)"}


def group_as_text(group):
    """Its sentence, and one table or two: of values and of derivatives."""
    lines = ["", f"### {group.title}", "", group.about]
    if group is PRODUCT_GROUP:
        head, given, halves = ["case", "vector", "y"], lambda c: (as_code(c.v), as_code(c.y)), [OF_PRODUCTS]
    elif group is LOSS_GROUP:
        head, halves = ["case", "x", "target", "options"], [LOSSES]

        def given(case):
            options = options_as_text(case.options)
            return as_code(case.x), as_code(case.target), f"`{options}`" if options else ""
    else:
        with_options = any(case.options for case in group.cases)
        head, halves = ["case", "x", *["option"] * with_options], [VALUES, (*DERIVATIVES, BOTH)]

        def given(case):
            return as_code(case.x), *[f"`{options_as_text(case.options)}`" if case.options else ""] * with_options

    for half in halves:
        cases = [case for case in group.cases if set(half) & set(shown(case))]
        columns = columns_of(cases, half)
        if columns:
            heads = [", ".join(SHOWN_AS.get(name, name) for name in names) for names, _ in columns]
            rows = [[case.what, *given(case), *(column[i] for _, column in columns)] for i, case in enumerate(cases)]
            lines += table([*head, *heads], rows)
    return lines


def merged(rows):
    """Rows that differ in the first cell alone, as one."""
    firsts = {}
    for first, *rest in rows:
        firsts.setdefault(tuple(rest), []).append(first)
    return [[", ".join(names), *rest] for rest, names in firsts.items()]


def functions_as_text(functions):
    """In few words."""
    names = [function.__name__ for function in functions]
    others = [name for name in FUNCTIONS if name not in names]
    if not others:
        return "every function"
    return f"all but {', '.join(others)}" if len(others) <= 2 else ", ".join(names)


def wrong_arguments_as_text():
    """A table for each argument."""
    lines = []
    for title, (about, rows) in WRONG.items():
        rows = [row for row in rows if row.documented]
        lines += ["", f"### {title}", *(["", about] if about else [])]
        for functions in dict.fromkeys(row.functions for row in rows):
            lines += ["", f"Raised by {functions_as_text(functions)}:"]
            lines += table(
                ["given", "raised", "message"],
                [
                    [f"`{cut(row.given)}`", row.exception.__name__, f"`{cut(row.message)}`"]
                    for row in rows
                    if row.functions == functions
                ],
            )
    return lines


def cut(text):
    """Numbers of hundreds of digits, and bars, which end a cell."""
    return re.sub(r"\d{30,}", lambda m: m[0][:4] + "...", text).replace("|", "\\|")


def document():
    """docs/semantics.md."""
    lines = [
        "# What happens when",
        "",
        "Every public function in every corner case. Written by `python tests/test_semantics.py > docs/semantics.md` "
        "from the table that the tests run, for every variant of the kernels, in float32 and in float64.",
        "",
        "How to read it: x is what the functions of the logits are given. The products and Jacobians are given the y "
        "or log_y that `softmax` or `log_softmax` has in the same row, and the products a vector of 1, 2, 4, ... "
        'The losses are given the last class of every slice as the target, and `reduction="none"`; their gradient '
        "is that of the sum. T and F stand for True and False. An empty cell: the function has no such argument.",
        "",
        "## Values",
    ]
    for group in (*GROUPS, PRODUCT_GROUP, LOSS_GROUP):
        lines += group_as_text(group)
    lines += [
        "",
        "## Inputs and outputs",
        "",
        "### dtypes",
        "",
        "The same for every function, and for any byte order; the result has the machine's.",
        "What `dtype=` converts to, and cannot hold, becomes an infinity or 0, without a warning.",
        *table(["given", "result", ""], merged((given, f"`{result}`", note) for given, _, result, note in DTYPES)),
        "",
        "Two inputs of a product that differ give the wider; two of 16 bits that differ give float32:",
        *table(["one", "the other", "result"], [[f"`{name}`" for name in row] for row in MIXED]),
        "",
        "### What an input may be",
        "",
        "The same for every input of every function.",
        *table(["an input that is", "gives"], merged((kind, result) for kind, (result, _) in INPUTS.items())),
        "",
        "### out",
        "",
        "The gradient of `cross_entropy_and_grad`, the result of any other function.",
        *table(["out", "then"], [row[:2] for row in OUTPUTS]),
        "",
        "## Errors",
        "",
        "Before anything is written to `out`. The inputs here are of shape (3, 4). An argument that a function does "
        "not have is a TypeError, as in all of Python.",
        *wrong_arguments_as_text(),
        "",
        "## Errors of states of parts",
        "",
        "Here the names stand for:",
        "",
        "```python",
        *SETUP.splitlines(),
        "```",
        *table(
            ["call", "raised", "message"],
            [[f"`{cut(row.call)}`", row.exception.__name__, f"`{cut(row.message)}`"] for row in WRONG_CALLS],
        ),
    ]
    return "\n".join(lines) + "\n"


def test_the_document_is_this_table():
    assert DOCUMENT.read_text() == document(), "run: python tests/test_semantics.py > docs/semantics.md"


if __name__ == "__main__":
    print(document(), end="")
