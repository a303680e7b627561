"""What a wrong argument gets: an exception and its whole message, as one table over all functions that take it.

test_errors.py makes every call of the table, test_leaks.py makes each of them a hundred times, and test_semantics.py
writes the documented rows into docs/semantics.md.
"""

import itertools
from dataclasses import dataclass, field
from fractions import Fraction

import dask.array  # noqa: F401
import ml_dtypes  # noqa: F401
import numpy as np
import xarray  # noqa: F401

import softmax_cy
from layouts import read_only  # noqa: F401
from operations import (
    ANY_AXES,
    ELEMENTWISE,
    JACOBIANS,
    LOSSES,
    PRODUCTS,
    SHAPE,
    input_names,
    takes_pair,
    taking,
    usual_arguments,
    written,
)

AxisError = np.exceptions.AxisError

# The order of the document: from logits, from outputs, from logits and a target.
OF_LOGITS = taking("where")
ALL = (*OF_LOGITS, *PRODUCTS, *JACOBIANS, *LOSSES)
OF_A_PAIR = tuple(filter(takes_pair, ALL))
ONE_AXIS = (*JACOBIANS, *OF_A_PAIR, *LOSSES)
ALONE = (softmax_cy.cross_entropy,)  # losses of which the result is no gradient

NO_AXES = "axis must be an integer, a tuple of integers or None, got"
NO_AXIS = "axis must be an integer, got"
NO_SCALE = "scale must be positive and finite, got"
NOT_REAL = "scale must be a real number, got"
NO_SMOOTHING = "label_smoothing must be between 0 and 1, got"
NO_REDUCTION = "reduction must be 'mean', 'sum' or 'none', got"
EXPECTED_FLOATS = "expected float16, bfloat16, float32, float64, an integer type or bool"
EXPECTED_TARGETS = "expected integers of shape (3,) for class indices or floats of shape (3, 4) for probabilities"
EXPECTED_DTYPE = "expected float16, bfloat16, float32 or float64"
OUT_OF_BOUNDS = "is out of bounds for array of dimension 2"
INDEX_OR_NONE = "must be an integer or None, got"
BROADCAST = "which does not broadcast to (3, 4)"
DO_NOT_BROADCAST = "and {other} of shape (3, 4) do not broadcast"
OUT_OF_RANGE = "expected 0 <= target <"

TARGET = np.array([0, 3, 2])
Q = np.full(SHAPE, 0.25)


class cupy:
    """As much of that module as says what an array is: it does not run without a GPU."""

    ndarray = type("ndarray", (np.ndarray,), {"__module__": "cupy"})


def overlapping(rows, columns):
    """Results of softmax_and_jacobian that have one element in common."""
    memory = np.zeros(rows * columns * (columns + 1) - 1)
    return memory[: rows * columns].reshape(rows, columns), memory[rows * columns - 1 :].reshape(rows, columns, columns)


def overlapping_itself(shape):
    """One element of memory for all."""
    return np.lib.stride_tricks.as_strided(np.zeros(1), shape, (0,) * len(shape))


@dataclass
class Wrong:
    """An argument as Python has it, what is raised, and the whole message.

    In the message, {name} is the argument's name, {other} that of the second input, {shape} the shape of the result.
    An argument called "input" stands for each input but the target, "first" for the first.
    """

    argument: str
    given: str
    exception: type
    message: str
    functions: tuple
    options: dict = field(default_factory=dict)  # other arguments; "shape" is that of the logits
    documented: bool = True


def wrong(argument, *rows, functions=ALL, documented=True):
    """Rows of one argument, for the functions that take it. A row may end with other arguments that it needs."""
    takers = ALL if argument in ("input", "first") else taking(argument)
    chosen = tuple(function for function in functions if function in takers)
    return [
        Wrong(argument, given, exception, message, chosen, dict(*options), documented)
        for given, exception, message, *options in rows
    ]


def floats_expected(*rows):
    """Of arrays by the name of their dtype in the message."""
    return [(given, TypeError, f"{{name}} has dtype {dtype}: {EXPECTED_FLOATS}") for given, dtype in rows]


# Of any array but `out`.
NOT_GATHERED = [
    (
        "np.ma.masked_array(np.ones((3, 4)))",
        TypeError,
        "{name} is a masked array: give {name}.filled(value), or {name}.data with where=~{name}.mask",
    ),
    *[
        (
            given,
            TypeError,
            f"{{name}} is a lazy {kind}, all of which would be computed and held in memory: call {{name}}.compute() "
            "first, or map the function over its blocks (map_blocks), along an axis with one block",
        )
        for given, kind in [
            ("dask.array.ones((3, 4))", "dask.Array"),
            ("xarray.DataArray(dask.array.ones((3, 4)))", "xarray.DataArray"),
        ]
    ],
    (
        "cupy.ndarray((3, 4))",
        TypeError,
        "{name} is a cupy.ndarray, in the memory of a GPU: call cupy.asnumpy({name}) first",
    ),
]


def index(given, message, **options):
    """A target with an index that is out of range, or of a wrong shape."""
    return given, ValueError, f"target{message}", options


# Title: what the document says of it, and the rows.
WRONG = {
    "Inputs": (
        "x, grad, tangent, y, log_y: `{name}` stands for the one it is.",
        wrong(
            "input",
            *floats_expected(
                ("np.zeros(3, complex)", "complex128"),
                ("np.array([None, 1])", "object"),
                ("['a', 'b']", "<U1"),
                ("[b'a', b'b']", "|S1"),
                ("np.zeros(3, 'M8[D]')", "datetime64[D]"),
                ("np.zeros(3, 'm8[s]')", "timedelta64[s]"),
                ("np.zeros(3, np.longdouble)", "float128"),
                ("np.zeros(3, [('a', 'f4')])", "[('a', '<f4')]"),
            ),
        )
        + wrong("input", *NOT_GATHERED)
        + wrong(
            "first",
            ("np.ones((3, 5))", ValueError, f"{{name}} of shape (3, 5) {DO_NOT_BROADCAST}"),
            functions=PRODUCTS,
        )
        + wrong(
            "input",
            (
                "np.ones((1,) * 64)",
                ValueError,
                "{name} has 64 axes, and the result would have more than NumPy allows",
            ),
            functions=(*JACOBIANS, *OF_A_PAIR),
        )
        + wrong(
            "input",
            *floats_expected(("np.zeros(3, 'c8')", "complex64"), ("np.zeros(3, 'V4')", "|V4")),
            documented=False,
        )
        + wrong(
            "first",
            ("np.ones(5)", ValueError, f"{{name}} of shape (5,) {DO_NOT_BROADCAST}"),
            ("np.ones((4, 3))", ValueError, f"{{name}} of shape (4, 3) {DO_NOT_BROADCAST}"),
            functions=PRODUCTS,
            documented=False,
        ),
    ),
    "axis": (
        "AxisError is a ValueError and an IndexError.",
        wrong(
            "axis",
            ("2", AxisError, f"axis 2 {OUT_OF_BOUNDS}"),
            ("-3", AxisError, f"axis -3 {OUT_OF_BOUNDS}"),
            ("10**20", AxisError, f"axis {10**20} {OUT_OF_BOUNDS}"),
        )
        + wrong(
            "axis",
            ("(0, 2)", AxisError, f"axis 2 {OUT_OF_BOUNDS}"),
            ("(1, -1)", ValueError, "duplicate axis in (1, -1)"),
            ("1.0", TypeError, f"{NO_AXES} 1.0"),
            ("[0]", TypeError, f"{NO_AXES} [0]"),
            ("(0, None)", TypeError, f"{NO_AXES} (0, None)"),
            ("True", TypeError, f"{NO_AXES} True"),
            ("np.True_", TypeError, f"{NO_AXES} np.True_"),
            ("(0, True)", TypeError, f"{NO_AXES} (0, True)"),
            ("np.array([1])", TypeError, f"{NO_AXES} array([1])"),
            functions=ANY_AXES,
        )
        + wrong(
            "axis",
            ("None", TypeError, f"{NO_AXIS} None"),
            ("(1,)", TypeError, f"{NO_AXIS} (1,)"),
            ("1.0", TypeError, f"{NO_AXIS} 1.0"),
            ("True", TypeError, f"{NO_AXIS} True"),
            ("np.True_", TypeError, f"{NO_AXIS} np.True_"),
            ("np.array([1])", TypeError, f"{NO_AXIS} array([1])"),
            functions=ONE_AXIS,
        )
        + wrong(
            "axis",
            ("1", AxisError, "axis 1 is out of bounds for array of dimension 0", {"shape": ()}),
            ("10**30", AxisError, f"axis {10**30} {OUT_OF_BOUNDS}"),
            documented=False,
        )
        + wrong(
            "axis",
            ("'last'", TypeError, f"{NO_AXES} 'last'"),
            ("(-3, 0)", AxisError, f"axis -3 {OUT_OF_BOUNDS}"),
            ("(0, -(10**30))", AxisError, f"axis -{10**30} {OUT_OF_BOUNDS}"),
            ("(0, 1.0)", TypeError, f"{NO_AXES} (0, 1.0)"),
            ("((0,),)", TypeError, f"{NO_AXES} ((0,),)"),
            ("(0, 0)", ValueError, "duplicate axis in (0, 0)"),
            ("(0, -2)", ValueError, "duplicate axis in (0, -2)"),
            ("(1, 0, -1)", ValueError, "duplicate axis in (1, 0, -1)"),
            functions=ANY_AXES,
            documented=False,
        )
        + wrong("axis", ("'last'", TypeError, f"{NO_AXIS} 'last'"), functions=ONE_AXIS, documented=False),
    ),
    "scale": (
        "",
        wrong(
            "scale",
            ("0", ValueError, f"{NO_SCALE} 0"),
            ("-1.5", ValueError, f"{NO_SCALE} -1.5"),
            ("inf", ValueError, f"{NO_SCALE} inf"),
            ("nan", ValueError, f"{NO_SCALE} nan"),
            ("10**400", ValueError, f"{NO_SCALE} {10**400}, which float64 rounds to inf"),
            ("1j", TypeError, f"{NOT_REAL} 1j"),
            ("'2'", TypeError, f"{NOT_REAL} '2'"),
            ("None", TypeError, f"{NOT_REAL} None"),
            ("np.ones(2)", TypeError, f"{NOT_REAL} array([1., 1.])"),
        )
        + wrong(
            "scale",
            ("1e-50", ValueError, f"{NO_SCALE} 1e-50, which float32 rounds to 0", {"dtype": np.float32}),
            ("1e50", ValueError, f"{NO_SCALE} 1e+50, which float32 rounds to inf", {"dtype": np.float32}),
            functions=OF_LOGITS,
        )
        + wrong(
            "scale",
            ("-0.0", ValueError, f"{NO_SCALE} -0.0"),
            ("Fraction(1, 10**400)", ValueError, f"{NO_SCALE} {Fraction(1, 10**400)!r}, which float64 rounds to 0"),
            ("np.complex64(2)", TypeError, f"{NOT_REAL} np.complex64(2+0j)"),
            ("np.array('2')", TypeError, f"{NOT_REAL} array('2', dtype='<U1')"),
            ("np.array([2.0])", TypeError, f"{NOT_REAL} array([2.])"),
            ("b'2'", TypeError, f"{NOT_REAL} b'2'"),
            documented=False,
        )
        + wrong(
            "scale",
            ("1e39", ValueError, f"{NO_SCALE} 1e+39, which float32 rounds to inf", {"dtype": "f4"}),
            ("inf", ValueError, f"{NO_SCALE} inf", {"dtype": "f4"}),
            ("0", ValueError, f"{NO_SCALE} 0", {"dtype": "f4"}),
            functions=OF_LOGITS,
            documented=False,
        ),
    ),
    "where": (
        "",
        wrong(
            "where",
            ("[1, 0, 1, 1]", TypeError, "where has dtype int64, expected bool"),
            ("np.ones(4)", TypeError, "where has dtype float64, expected bool"),
            *NOT_GATHERED,
            ("[True, False]", ValueError, f"where has shape (2,), {BROADCAST}"),
            ("np.ones((1, 3, 4), bool)", ValueError, f"where has shape (1, 3, 4), {BROADCAST}"),
        )
        + wrong(
            "where",
            ("[None]", TypeError, "where has dtype object, expected bool"),
            ("[]", TypeError, "where has dtype float64, expected bool"),
            ("np.ones(5, bool)", ValueError, f"where has shape (5,), {BROADCAST}"),
            documented=False,
        ),
    ),
    "dtype": (
        "",
        wrong(
            "dtype",
            ("int", TypeError, f"dtype is int64: {EXPECTED_DTYPE}"),
            ("complex", TypeError, f"dtype is complex128: {EXPECTED_DTYPE}"),
            ("object", TypeError, f"dtype is object: {EXPECTED_DTYPE}"),
            ("'float31'", TypeError, "data type 'float31' not understood"),
        )
        + wrong(
            "dtype",
            ("np.int32", TypeError, f"dtype is int32: {EXPECTED_DTYPE}"),
            ("np.longdouble", TypeError, f"dtype is float128: {EXPECTED_DTYPE}"),
            ("bool", TypeError, f"dtype is bool: {EXPECTED_DTYPE}"),
            ("str", TypeError, f"dtype is <U0: {EXPECTED_DTYPE}"),
            ("ml_dtypes.float8_e5m2", TypeError, f"dtype is float8_e5m2: {EXPECTED_DTYPE}"),
            documented=False,
        ),
    ),
    "out": (
        "`{shape}` is that of the result."
        " `softmax_and_jacobian` takes a pair, of which the messages speak as out[0] and out[1].",
        wrong(
            "out",
            ("[0.0]", TypeError, "out must be a numpy.ndarray, got list"),
            ("np.zeros({shape}, 'f4')", TypeError, "out has dtype float32, expected float64"),
            ("np.zeros({shape}, '>f8')", TypeError, "out has dtype >f8, expected float64"),
            ("np.zeros((9, 9))", ValueError, "out has shape (9, 9), expected {shape}"),
            ("read_only(np.zeros({shape}))", ValueError, "out is read-only"),
            (
                "overlapping_itself({shape})",
                ValueError,
                "out has elements that overlap, and only one of the results could be in them",
            ),
        )
        + wrong(
            "out",
            ("np.zeros((3, 4))", TypeError, "out must be a tuple of two arrays, got ndarray"),
            ("(None,)", TypeError, "out must be a tuple of two arrays, got a tuple of 1"),
            ("overlapping(3, 4)", ValueError, "out[0] and out[1] overlap"),
            functions=OF_A_PAIR,
        )
        + wrong(
            "out",
            ("1", TypeError, "out must be a numpy.ndarray, got int"),
            ("np.zeros({shape}, 'i8')", TypeError, "out has dtype int64, expected float64"),
            ("np.zeros(12)", ValueError, "out has shape (12,), expected {shape}"),
            ("np.zeros((4, 3))", ValueError, "out has shape (4, 3), expected {shape}"),
            ("np.zeros((12, 4))", ValueError, "out has shape (12, 4), expected {shape}"),
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros({shape})", TypeError, "out has dtype float64, expected float32", {"dtype": "f4"}),
            functions=OF_LOGITS,
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros((3, 4))", ValueError, "out has shape (3, 4), expected {shape}"),
            functions=(softmax_cy.logsumexp, *JACOBIANS, *ALONE),
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros((3, 4, 4))", ValueError, "out has shape (3, 4, 4), expected (4, 3, 3)", {"axis": 0}),
            functions=JACOBIANS,
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros((3, 1))", ValueError, "out has shape (3, 1), expected (3,)"),
            ("np.zeros(3)", ValueError, "out has shape (3,), expected (4,)", {"axis": 0}),
            ("np.zeros(1)", ValueError, "out has shape (1,), expected ()", {"axis": None}),
            ("np.zeros(3)", ValueError, "out has shape (3,), expected (3, 4)", {"axis": ()}),
            ("np.zeros(3)", ValueError, "out has shape (3,), expected (3, 1)", {"keepdims": True}),
            ("np.zeros(())", ValueError, "out has shape (), expected (1, 1)", {"axis": None, "keepdims": True}),
            functions=(softmax_cy.logsumexp,),
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros(4)", ValueError, "out has shape (4,), expected (3,)", {"reduction": "none"}),
            ("np.zeros(1)", ValueError, "out has shape (1,), expected ()", {"reduction": "mean"}),
            ("np.zeros(3)", ValueError, "out has shape (3,), expected ()", {"reduction": "sum"}),
            functions=ALONE,
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros(())", ValueError, "out has shape (), expected {shape}"),
            functions=(*ELEMENTWISE, *PRODUCTS, softmax_cy.cross_entropy_and_grad),
            documented=False,
        )
        + wrong(
            "out",
            ("np.zeros((3, 4, 4)), np.zeros((3, 4))", ValueError, "out[0] has shape (3, 4, 4), expected (3, 4)"),
            ("[None, None]", TypeError, "out must be a tuple of two arrays, got list"),
            ("'out'", TypeError, "out must be a tuple of two arrays, got str"),
            ("()", TypeError, "out must be a tuple of two arrays, got a tuple of 0"),
            ("(None, None, None)", TypeError, "out must be a tuple of two arrays, got a tuple of 3"),
            functions=OF_A_PAIR,
            documented=False,
        ),
    ),
    "num_threads": (
        "",
        wrong(
            "num_threads",
            ("0", ValueError, "num_threads must be at least 1, got 0"),
            ("-2", ValueError, "num_threads must be at least 1, got -2"),
            ("1.5", TypeError, f"num_threads {INDEX_OR_NONE} 1.5"),
            ("'two'", TypeError, f"num_threads {INDEX_OR_NONE} 'two'"),
        ),
    ),
    "target": (
        "Class indices if it holds integers, else probabilities.",
        wrong(
            "target",
            index("[0, 4, 9]", f"[1] is 4, {OUT_OF_RANGE} 4"),
            index("[0, 1, -1]", f"[2] is -1, {OUT_OF_RANGE} 4"),
            index("4", f" is 4, {OUT_OF_RANGE} 4", shape=(4,)),
            index("[0, 1]", f" has shape (2,) and dtype int64, {EXPECTED_TARGETS}"),
            index("[0.5, 0.5, 0]", f" has shape (3,) and dtype float64, {EXPECTED_TARGETS}"),
            index("[]", f" has shape (0,) and dtype float64, {EXPECTED_TARGETS}"),
            *NOT_GATHERED,
            ("[True, False, True]", TypeError, "target has dtype bool: expected an integer or floating type"),
            ("np.zeros((3, 4), complex)", TypeError, f"target has dtype complex128: {EXPECTED_FLOATS}"),
            ("['a', 'b', 'c']", TypeError, f"target has dtype <U1: {EXPECTED_FLOATS}"),
        )
        + wrong(
            "target",
            ("[None] * 3", TypeError, f"target has dtype object: {EXPECTED_FLOATS}"),
            index("[0] * 5", f" has shape (5,) and dtype int64, {EXPECTED_TARGETS}"),
            index(
                "TARGET",
                f" has shape (3,) and dtype int64, {EXPECTED_TARGETS.replace('(3,)', '(4,)')}",
                axis=0,
                target=[0] * 4,
            ),
            index("Q.astype(int)", f" has shape (3, 4) and dtype int64, {EXPECTED_TARGETS}"),
            index("0", f" has shape () and dtype int64, {EXPECTED_TARGETS}"),
            index(
                "[0]",
                " has shape (1,) and dtype int64, expected integers of shape () for class indices or floats of shape "
                "(4,) for probabilities",
                shape=(4,),
            ),
            index("Q[:, :3]", f" has shape (3, 3) and dtype float64, {EXPECTED_TARGETS}"),
            index("Q[0]", f" has shape (4,) and dtype float64, {EXPECTED_TARGETS}"),
            index("TARGET.astype('f4')", f" has shape (3,) and dtype float32, {EXPECTED_TARGETS}"),
            index(
                "[]",
                f" has shape (0,) and dtype float64, {EXPECTED_TARGETS.replace('(3', '(0')}",
                shape=(0, 4),
            ),
            index("[[0, 0, 0], [1, 2, 7], [9, 0, 0]]", f"[1, 2] is 7, {OUT_OF_RANGE} 4", shape=(3, 3, 4)),
            index("[0, 2, 1, 3]", f"[3] is 3, {OUT_OF_RANGE} 3", axis=0, target=[0] * 4),
            index("[-100, -99, 0]", f"[1] is -99, {OUT_OF_RANGE} 4", ignore_index=-100),
            index("[0, -(2**63), 0]", f"[1] is -{2**63}, {OUT_OF_RANGE} 4"),
            index("np.array([0, 0, 2**64 - 1], 'u8')", f"[2] is {2**64 - 1}, {OUT_OF_RANGE} 4"),
            index("[0, 0]", f"[0] is 0, {OUT_OF_RANGE} 0", x=np.ones((2, 0)), target=np.ones((2, 0))),
            documented=False,
        ),
    ),
    "weight": (
        "",
        wrong(
            "weight",
            *NOT_GATHERED,
            ("[1.0, 2.0]", ValueError, "weight has shape (2,), expected (4,)"),
            ("2.0", ValueError, "weight has shape (), expected (4,)"),
            ("np.ones(4, complex)", TypeError, f"weight has dtype complex128: {EXPECTED_FLOATS}"),
            ("['a'] * 4", TypeError, f"weight has dtype <U1: {EXPECTED_FLOATS}"),
        )
        + wrong(
            "weight",
            ("np.ones(3)", ValueError, "weight has shape (3,), expected (4,)"),
            ("np.ones(3)", ValueError, "weight has shape (3,), expected (4,)", {"target": Q}),
            ("Q", ValueError, "weight has shape (3, 4), expected (4,)"),
            documented=False,
        ),
    ),
    "ignore_index": (
        "",
        wrong(
            "ignore_index",
            ("1.0", TypeError, f"ignore_index {INDEX_OR_NONE} 1.0"),
            ("'0'", TypeError, f"ignore_index {INDEX_OR_NONE} '0'"),
            ("0", ValueError, "ignore_index applies to class indices, and target holds probabilities", {"target": Q}),
        ),
    ),
    "label_smoothing": (
        "",
        wrong(
            "label_smoothing",
            ("-0.1", ValueError, f"{NO_SMOOTHING} -0.1"),
            ("1.5", ValueError, f"{NO_SMOOTHING} 1.5"),
            ("nan", ValueError, f"{NO_SMOOTHING} nan"),
            ("'a'", TypeError, "label_smoothing must be a real number, got 'a'"),
            ("None", TypeError, "label_smoothing must be a real number, got None"),
        )
        + wrong(
            "label_smoothing",
            ("-0.1", ValueError, f"{NO_SMOOTHING} -0.1", {"target": Q}),
            ("nan", ValueError, f"{NO_SMOOTHING} nan", {"target": Q}),
            ("10**400", ValueError, f"{NO_SMOOTHING} {10**400}"),
            documented=False,
        ),
    ),
    "reduction": (
        "",
        wrong(
            "reduction",
            ("'max'", ValueError, f"{NO_REDUCTION} 'max'"),
            ("None", ValueError, f"{NO_REDUCTION} None"),
        ),
    ),
}


# ---- the calls of a row ------------------------------------------------------------------------------------------


def places(row, function):
    """For which parts of a pair a wrong `out` is tried; None: it stands as it is."""
    return (0, 1) if row.argument == "out" and takes_pair(function) and row.functions != OF_A_PAIR else (None,)


def reductions(row, function):
    """Losses one by one, and their mean, which is one number."""
    if function not in LOSSES or "reduction" in (row.argument, *row.options):
        return ({},)
    return ({"reduction": "none"},) if row.argument == "out" else ({"reduction": "none"}, {"reduction": "mean"})


def wrong_calls(row, function):
    """What is wrong, all arguments by name, the message, and the results that `out` would be for if all were right."""
    inputs = [key for key in input_names(function.__name__) if key != "target"]
    keys = {"input": inputs, "first": inputs[:1]}.get(row.argument, [row.argument])
    options = {key: value for key, value in row.options.items() if key != "shape"}
    for key, place, reduction in itertools.product(keys, places(row, function), reductions(row, function)):
        usual = usual_arguments(function.__name__, shape=row.options.get("shape", SHAPE))
        arguments = {**usual, **options, **reduction}
        right = written(function, function(**arguments))
        shape = str(right[place or 0].shape)
        message = row.message.replace("{name}", key).replace("{other}", inputs[-1]).replace("{shape}", shape)
        given = eval(row.given.replace("{shape}", shape), {**globals(), "inf": np.inf, "nan": np.nan})
        if place is not None:
            given = (given, None) if place == 0 else (None, given)
            message = message.replace("out", f"out[{place}]", 1)
        yield key, {**arguments, key: given}, message, right
