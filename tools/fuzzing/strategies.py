"""How programs are drawn: arrays of any shape, dtype and layout, options of any kind, good and bad."""

from __future__ import annotations

import functools
import math

import ml_dtypes  # noqa: F401  (expressions name it)
import numpy as np
from hypothesis import strategies as st

from fuzzing.oracle import BFLOAT16, Expected, Unknown, broadcast_shapes, computed_dtype
from fuzzing.program import (
    BOTH,
    FORWARD,
    FUNCTIONS,
    INPUTS,
    JACOBIANS,
    LOSSES,
    PRODUCTS,
    Program,
    axis_of,
    evaluate,
    namespace,
)
from softmax_cy._operations import BY_NAME

LARGEST_INPUT = 6000  # elements
MEMORY = 2**14  # bytes that several arguments may share

DTYPES = ("'f8'", "'f4'")
MORE_DTYPES = ("'f2'", "ml_dtypes.bfloat16", "'>f4'", "'>f8'", "'>f2'", "'i1'", "'u1'", "'i4'", "'>i4'", "'u8'", "'?'")
BAD_DTYPES = (
    "'c8'", "'c16'", "'O'", "'U3'", "'S2'", "'V4'", "'g'", "'M8[s]'", "'m8[D]'", "[('a', 'f4')]", "[('a', 'f4', 2)]",
    "np.dtypes.StringDType()", "ml_dtypes.float8_e5m2", "ml_dtypes.float8_e4m3fn",
)  # fmt: skip
WITH_REFERENCES = ("'O'", "np.dtypes.StringDType()")
UNKNOWN_DTYPES = ("ml_dtypes.int4", "ml_dtypes.uint4", "np.dtype(ml_dtypes.bfloat16).newbyteorder()")

ODD_ARRAYS = {
    "3": True, "2.5": True, "True": True, "np.float32(1)": True, "np.float16(1)": True, "[1, 2, 3]": True,
    "[[0.5, 2], [3, 4]]": True, "()": True, "[[], []]": True, "range(3)": True, "Array([1.0, 2.0])": True,
    "array.array('f', [1, 2, 3])": True, "memoryview(b'abc')": True,
    "np.ma.masked_array([1.0, 2.0], [True, False])": False,
    "np.ones((2, 3)).view(Labelled)": True, "np.recarray(3, 'f8')": None, "np.matrix([[1.0, 2.0]])": True,
    "[[1.0], [1.0, 2.0]]": False, "None": False, "'abc'": False, "b'abc'": False, "{}": False, "object()": False,
    "[None]": False, "1j": False, "[1, 2j]": False, "decimal.Decimal(1)": False, "['a', 1]": False, "2**100": False,
    "-2**63": True, "2**63": True, "[2**63, -1]": None, "np.datetime64(1, 's')": False,
    "(i for i in range(3))": False,
    "Array('abc')": False, "Array(None)": False, "np.float32": False, "np.ones((1,) * 64)": None, "...": False,
}  # fmt: skip


@functools.cache
def up_to(last: int) -> st.SearchStrategy[int]:
    """An integer from 0 on."""
    return st.integers(0, last)


@functools.cache
def sampled(choices: tuple) -> st.SearchStrategy:
    """One of these."""
    return st.sampled_from(choices)


def one_of(choices) -> st.SearchStrategy:
    """The same strategy for the same choices: making one takes longer than drawing from it."""
    return sampled(tuple(choices))


def pick(draw, *choices, often=()):
    """One of the choices; one of `often` in most examples."""
    pool = [*often, *choices, *often * (1 + 3 * len(choices) // max(len(often), 1))]
    return draw(one_of(pool))


def rarely(draw, one_in: int) -> bool:
    """Once in so many examples. Shrinks towards no."""
    return draw(up_to(one_in - 1)) == one_in - 1


LENGTHS = (2, 1, 3, 0, 4, 5, 7, 16, 17, 33)


def draw_shape(draw, max_ndim=5) -> tuple[int, ...]:
    """Few elements in up to five axes, or many in one."""
    if rarely(draw, 20):
        return (draw(one_of([129, 1025, 2049, 4099, 5001])),)
    shape: tuple[int, ...] = ()
    for _ in range(draw(one_of([n for n in (1, 2, 2, 0, 3, 3, 4, 5) if n <= max_ndim]))):
        length = draw(one_of(LENGTHS))
        shape += (length if math.prod(shape) * length <= LARGEST_INPUT else 1,)
    return shape


def allocate(program, draw, name: str, shape: tuple[int, ...], dtype: str, memory: str | None = None) -> None:
    """Statements that make an array in any layout. `memory` is the name of bytes that it may lie in."""
    kind = pick(draw, "strided", "unaligned", "fortran", "broadcast", often=("C", "in memory" if memory else "C"))
    add = program.statements.append
    if len(shape) > 8:
        kind, memory = "C", None
    if program.in_memory and name != "out":  # what one input holds must not be written over by another
        memory = None
    if dtype in WITH_REFERENCES or 16 * math.prod(shape) + 100 > MEMORY:
        kind, memory = ("C", None) if dtype in WITH_REFERENCES else (kind, None)
    if kind in ("C", "in memory") and memory is None:
        add(f"{name} = np.zeros({shape}, {dtype})")
    elif kind == "fortran":
        add(f"{name} = np.zeros({shape}, {dtype}, order='F')")
    elif kind == "broadcast":
        # One element of memory for a whole axis, and yet writable.
        small = [1 if draw(st.booleans()) else n for n in shape]
        size = np.dtype(eval(dtype, dict(namespace()))).itemsize
        steps = tuple(size * math.prod(small[d + 1 :]) * (n > 1) for d, n in enumerate(small))
        add(f"{name} = np.ndarray({shape}, {dtype}, np.zeros({size * math.prod(small)}, 'u1'), 0, {steps})")
        program.shared |= name == "out" and math.prod(small) < math.prod(shape)
    elif kind == "unaligned":
        odd = draw(st.integers(1, 3))
        add(f"{name} = np.zeros(np.dtype({dtype}).itemsize * {math.prod(shape)} + {odd}, 'u1')")
        add(f"{name} = {name}[{odd}:].view({dtype}).reshape({shape})")
    elif kind == "strided":
        steps = [draw(one_of([1, -1, 2, -3])) for _ in shape]
        order = draw(st.permutations(range(len(shape))))
        whole = tuple(shape[d] * abs(steps[d]) + 1 for d in order)
        back = tuple(int(d) for d in np.argsort(order))
        cut = [
            f"{int(step > 0)}:{1 + n * step}:{step}" if step > 0 else f"{-n * step}:0:{step}"
            for n, step in zip(shape, steps, strict=True)
        ]
        add(f"{name} = np.zeros({whole}, {dtype}).transpose({back})[{', '.join([*cut, '...'])}]")
    else:
        program.in_memory = True
        start = draw(up_to(40))
        if rarely(draw, 2):
            start -= start % 8
        size = np.dtype(eval(dtype, dict(namespace()))).itemsize * math.prod(shape)
        add(f"{name} = {memory}[{start}:{start + size}].view({dtype}).reshape({shape})")
        for d in range(len(shape)):
            if rarely(draw, 4):
                add(f"{name} = np.flip({name}, {d})")
        if len(shape) > 1 and len(set(shape)) == 1 and rarely(draw, 2):
            add(f"{name} = {name}.T")


VALUES = {
    "normal": "{rng}.standard_normal({shape})",
    "zeros": "0",
    "wide": "30 * {rng}.standard_normal({shape})",
    "huge": "1e30 * {rng}.standard_normal({shape})",
    "tiny": "1e-30 * {rng}.standard_normal({shape})",
    "largest": "3e38 * {rng}.choice([-1, 1, 0], {shape})",
    "certain": "50.0 * ({rng}.random({shape}) < 0.1)",
    "NaN": "nan",
    "-inf": "-inf",
}


def fill(program, draw, name: str, shape: tuple[int, ...], dtype: str, kinds=tuple(VALUES)) -> None:
    """A statement that writes values, special ones among them."""
    rng = f"np.random.default_rng({draw(up_to(99))})"
    if dtype.strip("'><=")[0] in "iu?" or "int" in dtype:
        program.statements.append(f"{name}[...] = {rng}.integers(0, {2 if '?' in dtype else 9}, {shape})")
        return
    values = VALUES[draw(one_of(kinds))].format(rng=rng, shape=shape)
    if rarely(draw, 3):
        specials = draw(one_of(["nan", "inf", "-inf"]))
        values = f"np.where({rng}.random({shape}) < 0.1, {specials}, {values})"
    program.statements.append(f"{name}[...] = {values}")


def draw_dtype(draw, often=DTYPES) -> tuple[str, bool | None]:
    """The expression, and whether it can be computed with."""
    if rarely(draw, 12):
        dtype = draw(one_of([*BAD_DTYPES, *UNKNOWN_DTYPES]))
        return dtype, None if dtype in UNKNOWN_DTYPES else False
    return pick(draw, *MORE_DTYPES, often=often), True


def draw_logits(program, draw, name: str, shape: tuple[int, ...] | None = None, memory: str | None = None) -> None:
    """An array of any kind, or something else, as the first argument."""
    if rarely(draw, 12):
        expression = draw(one_of(list(ODD_ARRAYS)))
        program.statements.append(f"{name} = {expression}")
        program.give(name, name, ODD_ARRAYS[expression])
        return
    dtype, verdict = draw_dtype(draw)
    shape = draw_shape(draw) if shape is None else shape
    if verdict is False and "V" in dtype:
        memory = None
    allocate(program, draw, name, shape, dtype, memory if verdict else None)
    if verdict:
        fill(program, draw, name, shape, dtype)
        if rarely(draw, 10):
            program.last.append(f"{name}.flags.writeable = False")
    program.give(name, name, verdict)


def draw_axis(program, draw, ndim: int | None, one_only: bool) -> str:
    """The expression; what it means, if anything."""
    n = max(ndim or 0, 1)
    choices = [*range(-n, n)]
    if rarely(draw, 8):
        odd = {
            "10**30": False, "-2**63": False, "2**31": False, "-2**31 - 1": False, "2**64": False, "1.0": False,
            "'0'": False, "nan": False, "object()": False, "[0]": False, "1j": False, "b'0'": False, "{0}": False,
            "np.array([0])": False, "np.array(0)": True, "np.int8(-1)": True, "False": False, "np.False_": False,
            "Index()": True,
            "BadIndex()": False, "(0, 0)": False, "(0, None)": False, "(0.0,)": False, "((0,),)": False,
            "('a',)": False,
            "(10**30,)": False,
            "(False,)": False, "(Index(),)": None, "(-1, 0)": None,
            f"{n}": None if ndim is None else False, f"{-n - 1}": None if ndim is None else False,
            "decimal.Decimal(0)": False, "np.float64(0)": False, "np.uint64(2**63)": False, "range(1)": False,
        }  # fmt: skip
        expression = draw(one_of(list(odd)))
        program.give("axis", expression, odd[expression])
    elif rarely(draw, 2):
        axes = draw(st.lists(st.sampled_from(range(n)), unique=True, max_size=n))
        axes = [a - n if rarely(draw, 3) else a for a in axes]
        expression = "None" if rarely(draw, 4) else repr(tuple(axes))
        program.give("axis", expression, not one_only)
    else:
        expression = str(draw(one_of(choices)))
        program.give("axis", expression, True)
    return expression


SCALES = {
    "2": True, "0.5": True, "1e-3": True, "np.float32(3)": True, "np.array(2.0)": True,
    "fractions.Fraction(1, 3)": True,
    "decimal.Decimal('0.25')": True, "True": True, "np.float16(0.1)": True, "1e30": True, "Index()": False,
    "0": False, "-1.5": False, "nan": False, "inf": False, "-inf": False, "1j": False, "'2'": False, "None": False,
    "np.ones(2)": False, "10**400": False, "-10**400": False, "1e-400": False, "object()": False, "[1.0]": False,
    "decimal.Decimal('NaN')": False, "decimal.Decimal('sNaN')": False, "1e39": None, "1e-46": None, "5e-324": None,
    "np.array([2.0])": None, "np.longdouble('1e400')": False, "np.datetime64(1, 's')": False, "b'1'": False,
    "np.complex128(1)": False, "-0.0": False, "np.array('a')": False, "np.array('2')": False,
    "ml_dtypes.bfloat16(2)": True,
}  # fmt: skip

THREADS = {
    "1": True, "2": True, "3": True, "None": True, "np.int8(2)": True, "True": True, "2**40": True, "10**30": True,
    "0": False, "-1": False, "-10**30": False, "1.5": False, "'2'": False, "nan": False, "object()": False,
    "[1]": False,
    "Index()": False, "BadIndex()": False, "np.array(2)": True, "np.array([2])": None, "1j": False, "2.0": False,
}  # fmt: skip

WANTED_DTYPES = {
    "None": True, "'f4'": True, "'f8'": True, "float": True, "np.float32": True, "'>f8'": True, "'f2'": True,
    "ml_dtypes.bfloat16": True, "np.dtype('>f4')": True, "np.float64(1)": None,
    "int": False, "'c16'": False, "'O'": False, "bool": False, "'g'": False, "'U3'": False, "'M8[s]'": False,
    "'float31'": False, "object()": False, "3": False, "[('a', 'f4')]": False, "[]": None, "1.5": False,
    "nan": False,
    "ml_dtypes.float8_e5m2": False, "np.floating": None, "{}": None, "np.dtypes.StringDType()": False,
    "'f4,f4'": False,
    "()": None, "'(2,)f4'": False,
}  # fmt: skip

KEEPDIMS = {
    "True": True, "False": True, "1": True, "None": None, "'yes'": None, "np.ones(2)": None, "[]": None,
    "np.bool(1)": True,
}  # fmt: skip


def draw_option(program, draw, name: str, choices: dict[str, bool | None], one_in: int = 3) -> None:
    """Rarely one that is bad."""
    if not rarely(draw, one_in):
        return
    good = [expression for expression, verdict in choices.items() if verdict]
    expression = draw(one_of(list(choices) if rarely(draw, 4) else good))
    program.give(name, expression, choices[expression])


def draw_where(program, draw, shape: tuple[int, ...] | None, memory: str | None) -> None:
    """A mask that broadcasts, or what is none."""
    if rarely(draw, 8) or shape is None:
        odd = {
            "None": True, "True": True, "False": True, "np.bool(0)": True, "1": False, "[1, 0]": False,
            "'a'": False,
            "np.ones(1)": False, "[None]": False, "object()": False, "[[True], [True, False]]": False, "[]": False,
            "np.ones((1,) * 7, bool)": None, "np.ones(6, bool)": None, "1j": False, "nan": False, "{}": False,
            "np.ones((1,) * 64, bool)": None,
        }  # fmt: skip
        expression = draw(one_of(list(odd)))
        program.give("where", expression, odd[expression])
        return
    mask_shape = tuple(draw(one_of([n, n, 1])) for n in shape)[draw(st.integers(0, len(shape))) :]
    rng = f"np.random.default_rng({draw(up_to(9))})"
    allocate(program, draw, "mask", mask_shape, "'?'", memory)
    kept = draw(one_of([0.5, 0.9, 0, 1]))
    program.statements.append(f"mask[...] = {rng}.random({mask_shape}) < {kept}")
    program.give("where", "mask", True)


def draw_out(program, draw, shape, dtype: str | None, memory: str | None) -> None:
    """`shape` and `dtype` are those of the result, or None where nobody knows."""
    if shape is None or dtype is None or len(shape) >= 64 or rarely(draw, 6):
        odd = {
            "None": True, "[0.0]": False, "3": False, "np.float64(0)": False, "object()": False, "'out'": False,
            "np.zeros(())": None, "np.zeros((9, 9, 9))": None, "Array([0.0])": False, "x": None,
        }  # fmt: skip
        if "x" not in program.arguments:
            odd.pop("x")
        expression = draw(one_of(list(odd)))
        program.statements.append(f"out = {expression}")
        program.give("out", "out", odd[expression])
        return
    verdict: bool | None = True
    if rarely(draw, 6):
        other = draw(one_of(["'f4'", "'f8'", "'f2'", "'i8'", "'>f4'", "'>f8'", "'O'", "'c16'", "'?'", "'g'"]))
        verdict, dtype = same_dtype(other, dtype), other
    if rarely(draw, 6):
        other_shape = draw(one_of([(*shape, 1), shape[1:], shape[::-1], tuple(n + 1 for n in shape), (3,), ()]))
        verdict, shape = verdict and other_shape == shape, other_shape
    allocate(program, draw, "out", shape, dtype, memory)
    if program.shared:
        verdict = False
    if rarely(draw, 12):
        program.last.append("out.flags.writeable = False")
        verdict = False
    elif rarely(draw, 12):
        program.statements.append("out = out.view(Labelled)")
    program.give("out", "out", verdict)


def same_dtype(one: str, other: str) -> bool:
    """Of two expressions."""
    return np.dtype(eval(one)) == np.dtype(eval(other))


TARGETS = {
    "0": None, "[0]": None, "[-1]": None, "None": False, "'a'": False, "[None]": False, "True": False, "1j": False,
    "np.zeros(3, bool)": False, "[[0], [1, 2]]": False, "np.zeros((2, 2), 'c8')": False, "object()": False,
    "{}": False,
    "np.zeros(2, 'M8[s]')": False, "2**63": False, "10**30": False, "np.zeros(3, [('a', 'i4')])": False,
    "1.0": None,
    "np.zeros(3, 'g')": False, "range(2)": None, "nan": None,
}  # fmt: skip

SMOOTHINGS = {
    "0.1": True, "1": True, "0": True, "np.float32(0.5)": True, "decimal.Decimal('0.5')": True, "False": True,
    "-0.1": False, "1.5": False, "nan": False, "inf": False, "'a'": False, "None": False, "1j": False,
    "10**400": False,
    "[0.1]": False, "np.ones(2)": False, "object()": False, "decimal.Decimal('sNaN')": False, "-0.0": True,
}  # fmt: skip

REDUCTIONS = {
    "'mean'": True, "'sum'": True, "'none'": True, "np.str_('sum')": True,
    "'max'": False, "None": False, "0": False, "b'sum'": False, "[]": False, "['sum']": False, "'Mean'": False,
    "object()": False, "np.array(['mean', 'sum'])": False, "np.ones(3)": False, "nan": False, "{}": False,
}  # fmt: skip

IGNORED = {
    "None": True, "0": True, "1": True, "-100": True, "10**30": True, "-10**30": True, "np.int8(1)": True,
    "True": True,
    "1.0": False, "'a'": False, "nan": False, "[0]": False, "object()": False, "1j": False, "BadIndex()": False,
    "np.array(0)": True, "np.array([0, 1])": False, "2**63": True, "-2**63": True,
}  # fmt: skip


def draw_target(program, draw, shape: tuple[int, ...] | None, axis: int | None, memory: str | None) -> None:
    """Indices, probabilities, or neither; and perhaps an index to ignore."""
    if shape is None or axis is None or rarely(draw, 10):
        expression = draw(one_of(list(TARGETS)))
        program.give("target", expression, TARGETS[expression])
        return
    shape = shape or (1,)
    classes = shape[axis]
    batch = shape[:axis] + shape[axis + 1 :]
    full = program.arguments["x_shape"]
    rng = f"np.random.default_rng({draw(up_to(9))})"
    if draw(st.booleans()) or classes == 0:
        dtype = pick(draw, "'f8'", "'f2'", "ml_dtypes.bfloat16", "'>f4'", often=("'f4'", "'f8'"))
        shape = eval(full)
        if rarely(draw, 10) and len(shape) < 60:
            shape = (*shape, 2)
            program.note(False)
        allocate(program, draw, "target", shape, dtype, memory)
        program.statements.append(f"target[...] = {rng}.integers(0, 3, {shape}) / 4")
        soft = True
    else:
        dtype = draw(one_of(["'i8'", "'i4'", "'u1'", "'i1'", "'u8'", "'>i2'", "'i2'"]))
        if rarely(draw, 10) and len(shape) < 60:
            batch = (*batch, 2)
            program.note(False)
        allocate(program, draw, "target", batch, dtype, memory)
        high = min(classes, 127)
        outside = rarely(draw, 8)
        if outside:
            program.note(None)
        odd = draw(one_of([-1, 126, -100])) if outside else 0
        values = f"{rng}.integers(0, {high}, {batch})"
        if outside:
            values = f"np.where({rng}.random({batch}) < 0.5, {odd}, {values})"
        program.statements.append(f"target[...] = np.asarray({values}).astype({dtype})")
        soft = False
    program.give("target", "target", True)
    if rarely(draw, 4):
        expression = draw(one_of([e for e in IGNORED if IGNORED[e]] if rarely(draw, 2) else list(IGNORED)))
        program.give("ignore_index", expression, IGNORED[expression] if expression == "None" or not soft else False)


def draw_weight(program, draw, classes: int | None, memory: str | None) -> None:
    """One for each class, or not."""
    if classes is None or rarely(draw, 4):
        odd = {
            "None": True, "2.0": False, "'a'": False, "[None]": False, "1j": False, "object()": False,
            "np.ones(77)": False,
            "[[1.0]]": False, "{}": False, "np.zeros(3, 'M8[s]')": False,
        }  # fmt: skip
        expression = draw(one_of(list(odd)))
        program.give("weight", expression, odd[expression])
        return
    dtype = pick(draw, "'f2'", "'i4'", "'>f4'", "'?'", often=("'f4'", "'f8'"))
    allocate(program, draw, "weight", (classes,), dtype, memory)
    program.statements.append(f"weight[...] = np.random.default_rng({draw(up_to(9))}).integers(0, 4, {classes})")
    program.give("weight", "weight", True)


def known(program, name: str) -> np.ndarray | None:
    """The array that an input stands for, if it is one that is computed with."""
    try:
        value = evaluate(program)[name]
        array = np.asarray(value)
    except Exception:
        return None
    return array if computed_dtype(array.dtype) is not None else None


@st.composite
def programs(draw) -> Program:
    """A call of any public function."""
    program = Program(draw(one_of(FUNCTIONS)))
    name = program.function
    memory = None
    if rarely(draw, 4):
        memory = "memory"
        program.statements.append(f"memory = np.zeros({MEMORY}, 'u1')")
    first = INPUTS[name][0]
    draw_logits(program, draw, first, draw_shape(draw, 3) if name in JACOBIANS + BOTH else None, memory)
    given = known(program, first)
    shape = None if given is None else given.shape
    if name in JACOBIANS and shape is not None and math.prod(shape) > 700:
        program.statements.append(f"{first} = {first}[(slice(0, 9),) * {len(shape)}]")
        given = known(program, first)
        shape = given.shape
    if name in PRODUCTS:
        second = INPUTS[name][1]
        other_shape = shape
        if shape is not None and rarely(draw, 3):
            other_shape = tuple(draw(one_of([n, n, 1])) for n in shape)[draw(st.integers(0, len(shape))) :]
        if rarely(draw, 12):
            other_shape = None
        bad_pair = other_shape is None
        draw_logits(program, draw, second, other_shape, memory)
        other = known(program, second)
        if given is not None and other is not None:
            try:
                shape = broadcast_shapes(shape, other.shape)
            except ValueError:
                shape = None
                program.note(False)
            if other.size > LARGEST_INPUT or (shape is not None and math.prod(shape) > 20 * LARGEST_INPUT):
                program.note(None)
        else:
            shape = None
            program.note(None if bad_pair else True)
    if name in JACOBIANS and shape is not None and len(shape) == 64:
        program.note(False)
    axis = "-1"
    if draw(st.booleans()):
        axis = draw_axis(program, draw, None if shape is None else len(shape), name in JACOBIANS + BOTH + LOSSES)
    verdict_of_axis = axis_of(axis, shape)
    if "axis" in program.arguments and shape is not None:
        program.note(verdict_of_axis is not None or None)
    if name in PRODUCTS + JACOBIANS and verdict_of_axis is not None and not rarely(draw, 5):
        draw_outputs(program, draw, shape, axis)
    one_axis = verdict_of_axis[0] if verdict_of_axis is not None and len(verdict_of_axis) == 1 else None
    if name in LOSSES:
        program.arguments["x_shape"] = repr(shape)
        draw_target(program, draw, shape, one_axis, memory)
        if rarely(draw, 3):
            classes = None if shape is None or one_axis is None else (shape or (1,))[one_axis]
            draw_weight(program, draw, classes, memory)
        draw_option(program, draw, "label_smoothing", SMOOTHINGS)
        draw_option(program, draw, "reduction", REDUCTIONS, 2)
        del program.arguments["x_shape"]
        # By position and in order: x, target, then names.
        program.arguments = {k: program.arguments[k] for k in ("x", "target")} | program.arguments
    else:
        draw_option(program, draw, "scale", SCALES)
    if name in FORWARD + BOTH:
        if rarely(draw, 3):
            draw_where(program, draw, shape, memory)
        draw_option(program, draw, "dtype", WANTED_DTYPES, 4)
    if name == "logsumexp":
        draw_option(program, draw, "keepdims", KEEPDIMS)
    draw_option(program, draw, "num_threads", THREADS, 4)
    if name not in BOTH and draw(st.booleans()):
        try:
            expected = Expected(program, evaluate(program))
        except Unknown:
            expected = None
        if expected is None or not expected.outs:
            draw_out(program, draw, None, None, None)
        else:
            out_shape, out_dtype = expected.outs
            spelled = "ml_dtypes.bfloat16" if out_dtype == BFLOAT16 else repr(out_dtype.str)
            draw_out(program, draw, out_shape, spelled, memory)
    program.statements += program.last
    return program


def draw_outputs(program, draw, shape: tuple[int, ...], axis: str) -> None:
    """Products and Jacobians are defined for what softmax or log_softmax returned."""
    name = INPUTS[program.function][-1]
    array = known(program, name)
    if array is None or array.shape != shape or f"{name}[...] = " not in "".join(program.statements):
        return
    forward = BY_NAME[program.function].inputs[-1].holds
    factor = draw(one_of([1, 10, 0, 60]))
    logits = f"{factor} * np.random.default_rng({draw(up_to(9))}).standard_normal({shape})"
    if array.dtype.kind not in "biu":
        program.statements.append(f"{name}[...] = softmax_cy.{forward}({logits}, {axis})")
