"""Throw arbitrary arguments at every public function, for a while: `python tools/fuzz.py --seconds 60 --seed 1`.

Every example is a small program in plain NumPy: arrays of any shape, dtype and layout, options of any kind, one call.
What is checked:

- What is raised is a TypeError or a ValueError (AxisError is one). Before that nothing has been written.
- Arguments that are all good raise nothing; arguments of which one is known to be bad raise something.
- A result has the shape and the dtype that the documentation states, is `out` if that was given, nothing around `out`
  has been written, nor any input. Its values are those of the formula in long double, within a loose bound.
- No call crashes or hangs: the examples run in a child process, which writes down each before it runs it.

A finding is printed as a program that shows it, as short as could be found, and the exit status is 1. The same seed
gives the same examples.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import functools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import twin

WIDE = twin.WIDE
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

EXAMPLES_PER_ROUND = 250
SECONDS_WITHOUT_PROGRESS = 60
LARGEST_INPUT = 6000  # elements
MEMORY = 2**14  # bytes that several arguments may share

# Errors in units of eps times the size of the terms, or of the smallest number. Wrong code is off by far more.
LOOSE = 64

FORWARD = ("softmax", "log_softmax", "logsumexp")
PRODUCTS = ("softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp")
JACOBIANS = ("softmax_jacobian", "log_softmax_jacobian")
BOTH = ("softmax_and_jacobian",)
LOSSES = ("cross_entropy", "cross_entropy_and_grad")
FUNCTIONS = [*FORWARD, *PRODUCTS, *JACOBIANS, *BOTH, *LOSSES]

PREAMBLE = """\
import array, decimal, fractions
import numpy as np, ml_dtypes, softmax_cy
class Index:
    def __index__(self): return 0
class BadIndex:
    def __index__(self): raise ValueError("no index")
class Array:
    def __init__(self, x): self.x = x
    def __array__(self, dtype=None, copy=None): return np.array(self.x, dtype=dtype)
class Labelled(np.ndarray): pass
inf, nan = np.inf, np.nan
"""


# ---- examples ----------------------------------------------------------------------------------------------------


@dataclass
class Program:
    """Statements that make the arguments, the call, and what is known about it."""

    function: str
    statements: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    in_memory: bool = False  # an input lies in the memory that `out` may lie in
    shared: bool = False  # elements of `out` share memory
    last: list[str] = field(default_factory=list)  # statements that must come after the others
    # All arguments are known to be good; one is known to be bad; else unknown.
    good: bool = True
    bad: bool = False
    culprits: list[str] = field(default_factory=list)

    def note(self, verdict: bool | None) -> None:
        """Of one argument: good, bad or unknown."""
        self.good = self.good and verdict is True
        self.bad = self.bad or verdict is False

    def give(self, name: str, expression: str, verdict: bool | None) -> None:
        """An argument of the call."""
        self.arguments[name] = expression
        self.note(verdict)
        if verdict is False:
            self.culprits.append(name)

    @property
    def call(self) -> str:
        """The call itself."""
        inputs = INPUTS[self.function]
        given = [
            self.arguments[name] if name in inputs else f"{name}={self.arguments[name]}" for name in self.arguments
        ]
        return f"softmax_cy.{self.function}({', '.join(given)})"

    @property
    def source(self) -> str:
        """The program but for what all of them begin with."""
        return "\n".join([*self.statements, f"result = {self.call}"])


INPUTS = {
    **dict.fromkeys([*FORWARD, *BOTH], ("x",)),
    "softmax_vjp": ("grad", "y"),
    "softmax_jvp": ("tangent", "y"),
    "log_softmax_vjp": ("grad", "log_y"),
    "log_softmax_jvp": ("tangent", "log_y"),
    "softmax_jacobian": ("y",),
    "log_softmax_jacobian": ("log_y",),
    **dict.fromkeys(LOSSES, ("x", "target")),
}

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


def broadcast_shapes(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """As NumPy's, which gives up at 32 axes."""
    ndim = max(len(one), len(other))
    pairs = zip((1,) * (ndim - len(one)) + one, (1,) * (ndim - len(other)) + other, strict=True)
    shape = tuple(m if n == 1 else n for m, n in pairs)
    if any(n not in (m, 1) for array in (one, other) for m, n in zip(shape[ndim - len(array) :], array, strict=True)):
        raise ValueError("no common shape")
    return shape


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
    forward = "log_softmax" if name == "log_y" else "softmax"
    factor = draw(one_of([1, 10, 0, 60]))
    logits = f"{factor} * np.random.default_rng({draw(up_to(9))}).standard_normal({shape})"
    if array.dtype.kind not in "biu":
        program.statements.append(f"{name}[...] = softmax_cy.{forward}({logits}, {axis})")


def axis_of(axis: str, shape: tuple[int, ...] | None) -> list[int] | None:
    """Sorted, counted from the front, or None if it is not valid (or one of the odd objects)."""
    if shape is None:
        return None
    n = max(len(shape), 1)
    try:
        value = eval(axis, dict(namespace()))
        axes = list(range(n)) if value is None else [*value] if isinstance(value, tuple) else [value]
        if any(isinstance(a, bool) for a in axes):
            return None
        axes = [int(a.__index__()) for a in axes]
    except Exception:
        return None
    if not all(-n <= a < n for a in axes) or len({a % n for a in axes}) != len(axes):
        return None
    return sorted(a % n for a in axes)


# ---- what is expected --------------------------------------------------------------------------------------------


class Unknown(Exception):
    """Nothing can be said about what a call returns."""


def computed_dtype(dtype: np.dtype) -> np.dtype | None:
    """What a dtype is computed in, if it is."""
    if dtype.kind in "biu" and dtype.name not in ("int4", "uint4", "int2", "uint2"):
        return np.dtype(np.float64)
    if dtype == BFLOAT16 or (dtype.kind == "f" and dtype.itemsize == 2):
        return np.dtype(np.float32)
    return (
        dtype.newbyteorder("=")
        if dtype.kind == "f" and dtype.itemsize in (4, 8) and dtype.type in (np.float32, np.float64)
        else None
    )


def result_dtype(array: np.ndarray) -> np.dtype:
    """The dtype that a result has by that of the input."""
    computed = computed_dtype(array.dtype)
    if computed is None:
        raise Unknown
    return array.dtype.newbyteorder("=") if array.dtype.itemsize == 2 and array.dtype.kind not in "biu" else computed


def as_array(value: object) -> np.ndarray:
    """As the library takes it."""
    try:
        array = np.asarray(value)
    except Exception:
        raise Unknown from None
    if computed_dtype(array.dtype) is None:
        raise Unknown
    return array


class Expected:
    """Shape and dtype of what a call returns and writes to `out`, and the values if they are wanted."""

    def __init__(self, program: Program, names: dict[str, object]) -> None:
        self.name = program.function
        options = {}
        for key, expression in program.arguments.items():
            options[key] = names[expression] if expression in names else eval(expression, names)
        self.options = options
        first = as_array(options[INPUTS[self.name][0]])
        if options.get("dtype") is not None:
            try:
                wanted = np.dtype(options["dtype"]).newbyteorder("=")
            except Exception:
                raise Unknown from None
            if computed_dtype(wanted) is None or wanted.kind in "biu":
                raise Unknown
            with np.errstate(all="ignore"):
                first = first.astype(wanted)
        self.first = first
        self.second = None
        shape = first.shape
        self.dtype = result_dtype(first)
        if self.name in PRODUCTS:
            self.second = as_array(options[INPUTS[self.name][1]])
            given = [options[key] for key in INPUTS[self.name]]
            dtypes = [np.asarray(v).dtype.newbyteorder("=") for v in given]
            if dtypes[0] != dtypes[1]:
                self.dtype = max(
                    computed_dtype(first.dtype), computed_dtype(self.second.dtype), key=lambda d: d.itemsize
                )
            else:
                self.dtype = result_dtype(first)
            try:
                shape = broadcast_shapes(shape, self.second.shape)
            except ValueError:
                raise Unknown from None
        self.computed = computed_dtype(self.dtype)
        axes = axis_of(program.arguments.get("axis", "-1"), shape)
        if axes is None:
            raise Unknown
        self.shape, self.axes = shape, axes
        full = shape or (1,)
        rest = tuple(n for d, n in enumerate(full) if d not in axes)
        if self.name in ("softmax", "log_softmax", *PRODUCTS, "cross_entropy_and_grad"):
            self.outs = shape, self.dtype
        elif self.name == "logsumexp":
            try:
                keep = bool(options.get("keepdims", False))
            except ValueError:
                raise Unknown from None
            kept = tuple(1 if d in axes else n for d, n in enumerate(shape)) if keep else rest
            self.outs = kept if shape else (), self.dtype
        elif self.name in JACOBIANS + BOTH:
            if len(axes) != 1:
                raise Unknown
            self.outs = (*rest, full[axes[0]], full[axes[0]]), self.dtype
        else:
            self.outs = self.loss_shape(rest), self.dtype

    def loss_shape(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        """Of the losses or of their mean."""
        return batch if str(self.options.get("reduction", "mean")) == "none" else ()

    def rows(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Slices as rows of long doubles."""
        # The library computes in float32 or float64, whatever it was given.
        with np.errstate(all="ignore"):
            full = np.broadcast_to(array.astype(self.computed).astype(WIDE), shape)
        full = full.reshape(shape or (1,))
        order = [d for d in range(full.ndim) if d not in self.axes] + self.axes
        length = math.prod(full.shape[d] for d in self.axes)
        count = math.prod(full.shape[d] for d in range(full.ndim) if d not in self.axes)
        return full.transpose(order).reshape(count, length)

    def scale(self) -> np.longdouble:
        """As the kernels see it."""
        return WIDE(self.computed.type(float(self.options.get("scale", 1.0))))

    def check(self, result: object) -> None:
        """Raises AssertionError if the result is not what it should be."""
        parts = [result]
        if self.name in ("cross_entropy_and_grad", *BOTH):
            assert isinstance(result, tuple), f"a {type(result).__name__} was returned"
            assert len(result) == 2, f"{len(result)} results"
            parts = list(result)
        for part in parts:
            right = np.ndarray if part.ndim else self.dtype.type
            assert type(part) is right or part is self.options.get("out"), f"a {type(part).__name__} was returned"
            assert part.dtype == self.dtype, f"dtype {part.dtype}, expected {self.dtype}"
            assert part.dtype.isnative, "the byte order of the result is not the machine's"
        assert parts[-1].shape == self.outs[0], f"shape {parts[-1].shape}, expected {self.outs[0]}"
        if self.options.get("out") is not None:
            assert parts[-1] is self.options["out"], "the result is not out"

    def check_values(self, result: object) -> None:
        """Against long double. Slices that are not finite in a way that the formulas do not cover are left out."""
        with np.errstate(all="ignore"):
            getattr(self, f"check_{self.name.removesuffix('_and_grad')}", self.check_rows)(result)

    # Each of the following gives exact values and the size of what they are the difference of.

    def check_softmax(self, result):
        """Against the twin."""
        exact = twin.softmax(self.widened(), self.axis(), scale=self.scale(), where=self.options.get("where"))
        self.compare(result, exact, np.abs(exact))

    def check_log_softmax(self, result):
        """Against the twin."""
        exact = twin.log_softmax(self.widened(), self.axis(), scale=self.scale(), where=self.options.get("where"))
        self.compare(result, exact, np.abs(exact))

    def check_logsumexp(self, result):
        """Against the twin; in units of the maximum where that is larger."""
        keep = bool(self.options.get("keepdims", False))
        exact = twin.logsumexp(
            self.widened(), self.axis(), scale=self.scale(), where=self.options.get("where"), keepdims=keep
        )
        rows, _, _ = twin.as_rows(self.widened(), self.axis(), self.options.get("where"))
        largest = np.abs(self.scale() * rows.max(axis=-1, initial=-np.inf)).reshape(exact.shape)
        self.compare(result, exact, np.maximum(np.abs(exact), np.where(np.isfinite(largest), largest, 0)))

    def widened(self):
        """The logits as they are computed with."""
        with np.errstate(all="ignore"):
            return self.first.astype(self.computed)

    def axis(self):
        """As the twins take it."""
        return tuple(self.axes)

    def check_rows(self, result):
        """Products and Jacobians, row by row, where all of a row is finite."""
        scale = self.scale()
        if self.name in PRODUCTS:
            v, y = self.rows(self.first, self.shape), self.rows(self.second, self.shape)
            with np.errstate(all="ignore"):
                p = np.exp(y) if self.name.startswith("log_") else y
                # They are meant for probabilities.
                good = np.isfinite(v).all(axis=-1) & np.isfinite(p).all(axis=-1) & (p >= 0).all(axis=-1)
                good &= ~np.isnan(y).any(axis=-1) & (p <= 1).all(axis=-1)
                good &= np.abs(v).sum(axis=-1) < float(ml_dtypes.finfo(self.computed).max) / 8
                if self.name == "log_softmax_vjp":
                    of_sum = p * v.sum(axis=-1, keepdims=True)
                    exact, terms = v - of_sum, np.abs(v) + p * np.abs(v).sum(axis=-1, keepdims=True)
                else:
                    # c is taken off v first: what y lacks of a sum of 1 counts times c.
                    total = (p * v).sum(axis=-1, keepdims=True)
                    slack = (1 + p.sum(axis=-1, keepdims=True)) * np.abs(v).max(axis=-1, keepdims=True, initial=0)
                    good &= np.abs(p.sum(axis=-1) - 1) <= LOOSE / 4 * eps_of(self.dtype)
                    exact, terms = v - total, np.abs(v) + slack
                    if self.name in ("softmax_vjp", "softmax_jvp"):
                        exact, terms = p * exact, p * terms
            order = [d for d in range(max(len(self.shape), 1)) if d not in self.axes] + self.axes
            full = np.asarray(result).reshape(self.shape or (1,)).transpose(order).reshape(v.shape)
            factor = np.abs(scale * v).sum(axis=-1, keepdims=True)[good]
            self.compare(full[good], (scale * exact)[good], (scale * terms)[good], factor)
            return
        y = self.rows(self.first, self.shape)
        n = y.shape[-1]
        p = np.exp(y) if self.name.startswith("log_") else y
        # What is no logarithm of a probability has none.
        good = np.isfinite(p).all(axis=-1) & ((p <= 1).all(axis=-1) | (not self.name.startswith("log_")))
        if self.name.startswith("log_"):
            exact = np.eye(n, dtype=WIDE) - p[:, None, :]
            terms = np.eye(n, dtype=WIDE) + np.abs(p[:, None, :])
        else:
            exact = np.eye(n, dtype=WIDE) * y[:, :, None] - y[:, :, None] * y[:, None, :]
            terms = np.eye(n, dtype=WIDE) * np.abs(y[:, :, None]) + np.abs(y[:, :, None] * y[:, None, :])
        full = np.asarray(result).reshape(len(y), n, n)
        self.compare(full[good], (scale * exact)[good], (scale * terms)[good])

    def check_softmax_and_jacobian(self, result):
        """The results against the twin, the matrix against what follows from them."""
        y, jacobian = result
        Expected.check_softmax(self, y)
        p = self.rows(np.asarray(y), self.shape)
        n = p.shape[-1]
        good = np.isfinite(p).all(axis=-1)
        exact = self.scale() * (np.eye(n) * p[:, :, None] - p[:, :, None] * p[:, None, :])
        terms = self.scale() * (np.eye(n) * p[:, :, None] + p[:, :, None] * p[:, None, :])
        self.compare(jacobian.reshape(len(p), n, n)[good], exact[good], terms[good])

    def check_cross_entropy(self, result):
        """Loss, and gradient if there is one."""
        target = np.asarray(self.options["target"])
        loss, grad = result if isinstance(result, tuple) else (result, None)
        x = self.rows(self.first, self.shape)
        count, n = x.shape
        weight = self.options.get("weight")
        with np.errstate(all="ignore"):
            weights = np.ones(n, WIDE) if weight is None else np.asarray(weight).astype(self.computed).astype(WIDE)
        counted = np.ones(count, bool)
        if target.dtype.kind in "iu":
            index = target.ravel()
            ignored = self.options.get("ignore_index")
            if ignored is not None:
                counted = np.array([int(i) != int(ignored) for i in index], bool)
            q = (np.arange(n) == index[:, None]).astype(WIDE)
            denominator = (weights * q)[counted].sum()
        else:
            q, denominator = self.rows(target, self.shape), WIDE(count)
        smoothing = WIDE(float(self.options.get("label_smoothing", 0.0)))
        a = ((1 - smoothing) * q + (smoothing / n if n else 0)) * weights
        top = x.max(axis=-1, keepdims=True, initial=-np.inf)
        e = np.exp(x - top)
        rest = twin.sum_without_maximum(x, e) if x.size else np.zeros((count, 1), WIDE)
        p, minus_log_p = e / (1 + rest), np.log1p(rest) + (top - x)
        each = np.where(a == 0, 0, a * minus_log_p)
        # x has digits of its own: what is lost to the distance from top counts, and no more.
        terms = np.where(a == 0, 0, np.abs(a) * np.abs(minus_log_p))
        bad = counted & (np.isnan(x).any(axis=-1) | ~np.isfinite(top[:, 0])) if n else np.zeros(count, bool)
        losses, sizes = (np.where(counted, y.sum(axis=-1), 0) for y in (each, terms))
        losses[bad] = np.nan
        factor = WIDE(1)
        reduction = str(self.options.get("reduction", "mean"))
        if reduction == "mean":
            # Over weights that add up to 0 it is NaN, also where smoothing leaves something to divide by that.
            factor = 1 / denominator if denominator != 0 else WIDE(np.nan)
        most = float(ml_dtypes.finfo(self.computed).max) / 8
        if sizes.max(initial=0) > most:
            return  # the loss of one slice may overflow
        if minus_log_p.max(initial=0, where=(a != 0) & np.isfinite(minus_log_p)) > most:
            return  # and so may the logarithm of one probability: the loss is infinite then, whatever its weight
        if reduction == "none":
            self.compare(loss.ravel(), losses, sizes)
        else:
            self.compare(loss, np.asarray(losses.sum() * factor), np.asarray(sizes.sum() * np.abs(factor)))
        if grad is None or not np.isfinite(factor):
            return
        sums = a.sum(axis=-1, keepdims=True)
        grads, sizes = factor * (p * sums - a), np.abs(factor) * (p * np.abs(sums) + np.abs(a))
        grads[~counted], sizes[~counted] = 0, 0
        grads[bad] = np.nan
        order = [d for d in range(max(len(self.shape), 1)) if d not in self.axes] + self.axes
        full = np.asarray(grad).reshape(self.shape or (1,)).transpose(order).reshape(x.shape)
        self.compare(full, grads, sizes, np.abs(factor * sums))

    def compare(self, result, exact, size, factor=0):
        """Within LOOSE units; NaN for NaN, infinity for what rounds to infinity or nearly does."""
        result = np.asarray(result).astype(WIDE).reshape(exact.shape)
        info = ml_dtypes.finfo(self.dtype)
        # A probability is rounded to a multiple of the smallest number before a factor makes that error larger.
        smallest = float(info.smallest_subnormal) * (1 + self.scale_of_tiny() + factor)
        bound = LOOSE * (eps_of(self.dtype) * size + smallest)
        near_overflow = np.abs(size) > float(info.max) / 4
        wrong = ~near_overflow & (np.isnan(result) != np.isnan(exact))
        assert not wrong.any(), f"NaN or not: {sample(result, wrong)}, expected {sample(exact, wrong)}"
        finite = np.isfinite(exact) & np.isfinite(size)
        wrong = finite & ~near_overflow & ~(np.abs(result - exact) <= bound)
        assert not wrong.any(), f"{sample(result, wrong)}, expected {sample(exact, wrong)}"
        wrong = np.isinf(exact) & (result != exact)
        assert not wrong.any(), f"{sample(result, wrong)}, expected {sample(exact, wrong)}"

    def scale_of_tiny(self):
        """What the smallest number that an input can be rounded to is multiplied with."""
        return WIDE(float(self.options.get("scale", 1.0))) if self.name in PRODUCTS + JACOBIANS else WIDE(0)


def eps_of(dtype: np.dtype) -> np.longdouble:
    """From 1 to the next number."""
    return WIDE(float(ml_dtypes.finfo(dtype).eps))


def sample(values: np.ndarray, wrong: np.ndarray) -> str:
    """The first of those that are wrong."""
    return f"{float(values[wrong][0]):.9g} ({int(wrong.sum())} of {wrong.size})"


# ---- running them ------------------------------------------------------------------------------------------------


@functools.cache
def namespace() -> dict[str, object]:
    """What every program can name."""
    names: dict[str, object] = {}
    exec(PREAMBLE, names)
    return names


def evaluate(program: Program) -> dict[str, object]:
    """The arguments, new ones each time."""
    names = dict(namespace())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(program.statements), names)
    return names


class Finding(AssertionError):
    """What must not happen. The key is the same for what is likely to be the same bug."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def kind_of(error: BaseException) -> str:
    """The beginning of its message, without numbers."""
    return re.sub(r"[-+\d.]+(e[-+]\d+)?|nan|inf", "#", str(error))[:40]


def memory_of(value: object) -> np.ndarray | None:
    """All the memory that an array is a part of, as bytes, if it has no references in it."""
    if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.dtype.kind == "T":
        return None
    while isinstance(value.base, np.ndarray):
        value = value.base
    if value.base is not None or value.dtype.hasobject:
        return None
    flat = value.T if value.flags.f_contiguous else value
    return np.frombuffer(flat, np.uint8) if flat.flags.c_contiguous else None


def written_places(out: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Which bytes of its memory belong to an array."""
    places = np.zeros(memory.size, bool)
    if out.size == 0:
        return places
    start = out.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    starts = np.full((), start)
    for n, stride in zip(out.squeeze().shape, out.squeeze().strides, strict=True):
        starts = starts[..., None] + np.arange(n) * stride
    places[(starts[..., None] + np.arange(out.itemsize)).ravel()] = True
    return places


def run(program: Program, write_down) -> str:
    """One example: how it ended, or a Finding."""
    write_down(program.source)
    names = evaluate(program)
    try:
        expected = Expected(program, names)
    except Unknown:
        expected = None
    arrays = {
        name: names[name] for name in ("memory", "mask", "target", "weight", *INPUTS[program.function]) if name in names
    }
    out = names.get("out")
    memories = {id(m): (m, m.copy()) for m in map(memory_of, [*arrays.values(), out]) if m is not None}
    call = compile(program.call, "<call>", "eval")
    outcome, result, problem = "returned", None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = eval(call, names)
        except (TypeError, ValueError) as error:
            outcome, problem = type(error).__name__, error
        except Exception as error:
            raise Finding(f"{program.function} {type(error).__name__}", f"{type(error).__name__}: {error}") from error
    if problem is not None:
        for now, before in memories.values():
            if not np.array_equal(now, before):
                raise Finding(f"{program.function} written before {outcome}", f"memory was written before {problem!r}")
        if program.good:
            raise Finding(f"{program.function} refused {kind_of(problem)}", f"good arguments were refused: {problem!r}")
        return outcome
    if program.bad:
        raise Finding(
            f"{program.function} accepted {program.culprits}", f"bad arguments were accepted, and {result!r} returned"
        )
    for now, before in memories.values():
        changed = now != before
        if isinstance(out, np.ndarray) and now.size:
            mine = memory_of(out)
            if mine is not None and mine.__array_interface__["data"] == now.__array_interface__["data"]:
                changed &= ~written_places(out, now)
        if changed.any():
            raise Finding(f"{program.function} wrote elsewhere", f"{changed.sum()} bytes outside of out were written")
    if expected is not None:
        # The inputs may have been written to by way of `out`: the values are computed from new ones.
        try:
            expected.check(result)
            Expected(program, evaluate(program)).check_values(result)
        except AssertionError as error:
            raise Finding(f"{program.function} result {kind_of(error)}", f"wrong result: {error}") from None
    if caught:
        return f"returned, {caught[0].category.__name__}"
    return outcome


class TimeIsUp(KeyboardInterrupt):
    """What hypothesis passes on."""


class Child:
    """Runs examples until time is up, and reports to the parent in lines of JSON."""

    def __init__(self, seconds: float, seed_: int, example_file: str, start: int, skip: list[str]) -> None:
        self.deadline = time.monotonic() + seconds
        self.seed, self.round = seed_, start
        self.file = os.open(example_file, os.O_RDWR | os.O_CREAT)
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.known = set(skip)
        self.reported = 0.0
        self.parent = sys.stdout

    def write_down(self, source: str) -> None:
        """So that the parent knows, should this process die."""
        data = source.encode() + b"\0"
        os.pwrite(self.file, data, 0)

    def report(self, **fields: object) -> None:
        """A line for the parent."""
        print(json.dumps(fields), file=self.parent, flush=True)

    def progress(self) -> None:
        """Twice a second."""
        if time.monotonic() > self.reported + 0.5:
            self.reported = time.monotonic()
            counts = [[*key, count] for key, count in self.outcomes.items()]
            self.report(round=self.round, outcomes=counts)

    def run(self) -> None:
        """Rounds of examples."""
        while time.monotonic() < self.deadline:
            self.one_round()
            self.round += 1
        self.reported = 0
        self.progress()

    def one_round(self) -> None:
        """A number of examples, or a finding in as few words as possible."""
        last: list[tuple[Program, Finding]] = []

        @seed(self.seed * 1_000_003 + self.round)
        @settings(
            max_examples=EXAMPLES_PER_ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(data=st.data())
        def examples(data):
            if not last and time.monotonic() > self.deadline:
                raise TimeIsUp
            program = data.draw(programs())
            try:
                outcome = run(program, self.write_down)
            except Finding as finding:
                if finding.key in self.known:
                    outcome = "known finding"
                elif last and finding.key != last[0][1].key:
                    return  # another one, met while the first is made smaller
                else:
                    last.append((program, finding))
                    raise
            if not last:
                self.outcomes[program.function, outcome] += 1
            self.progress()

        try:
            with contextlib.redirect_stdout(sys.stderr):
                examples()
        except (Finding, TimeIsUp):
            pass
        if last:
            program, finding = last[-1]
            self.known.add(finding.key)
            self.outcomes[program.function, "finding"] += 1
            self.report(finding=str(finding), key=finding.key, source=program.source)


# ---- the parent --------------------------------------------------------------------------------------------------


def still_dies(source: str) -> bool:
    """Whether a program ends by a signal in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-c", PREAMBLE + source], capture_output=True, timeout=SECONDS_WITHOUT_PROGRESS, check=False
    )
    return process.returncode < 0


def shortened(source: str) -> str:
    """A program that dies, without the options and statements that it dies without."""
    if not still_dies(source):
        return source + "\n# (does not die on its own: some example before it counts)"
    again = True
    while again:
        again = False
        lines = source.splitlines()
        candidates = ["\n".join(lines[:i] + lines[i + 1 :]) for i in range(len(lines) - 1)]
        candidates += [
            source.replace(m[0], "", 1) for m in re.finditer(r", \w+=(\([^()]*\)|[^,()]+(\([^()]*\))?)", lines[-1])
        ]
        for candidate in candidates:
            if still_dies(candidate):
                source, again = candidate, True
                break
    return source


class Parent:
    """Starts children, shows how far they are, and collects what they find."""

    def __init__(self, seconds: float, seed_: int) -> None:
        self.seconds, self.seed = seconds, seed_
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.current: dict[tuple[str, str], int] = {}
        self.findings: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self.round = 0
        self.heard = time.monotonic()

    def listen(self, stream) -> None:
        """What a child reports."""
        for line in stream:
            self.heard = time.monotonic()
            try:
                message = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "outcomes" in message:
                self.current = {(function, outcome): count for function, outcome, count in message["outcomes"]}
                self.round = message["round"]
            else:
                self.findings.append((message["finding"], message["source"]))
                self.keys.append(message["key"])

    @property
    def total(self) -> int:
        """Examples so far."""
        return self.outcomes.total() + sum(self.current.values())

    def run(self) -> int:
        """Until time is up; the exit status."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console()
        begin = time.monotonic()
        columns = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
        with Progress(*columns, console=console) as bar, tempfile.TemporaryDirectory() as folder:
            task = bar.add_task("fuzz", total=self.seconds)
            example_file = str(Path(folder) / "example")
            while (left := self.seconds - (time.monotonic() - begin)) > 0.5:
                if not self.one_child(left, example_file, bar, task, begin):
                    break
        elapsed = time.monotonic() - begin
        self.summary(console, elapsed)
        return 1 if self.findings else 0

    def one_child(self, left: float, example_file: str, bar, task, begin: float) -> bool:
        """Whether it died, so that another may go on in the time that is left."""
        command = [sys.executable, "-X", "faulthandler", __file__, "--child", example_file, "--seconds", str(left)]
        command += ["--seed", str(self.seed), "--round", str(self.round)]
        errors = Path(example_file + "-errors").open("w+")  # noqa: SIM115
        child = subprocess.Popen(
            [*command, "--skip", json.dumps(self.keys)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        listener = threading.Thread(target=self.listen, args=(child.stdout,), daemon=True)
        self.heard = time.monotonic()
        listener.start()
        hung = False
        while child.poll() is None:
            time.sleep(0.1)
            seconds = time.monotonic() - begin
            found = f", [red]{len(self.findings)} found[/red]" if self.findings else ""
            bar.update(
                task,
                completed=min(seconds, self.seconds),
                description=f"{self.total:,} examples, {self.total / seconds:,.0f}/s{found}",
            )
            if time.monotonic() - self.heard > SECONDS_WITHOUT_PROGRESS:
                child.kill()
                hung = True
        listener.join()
        self.outcomes.update(self.current)
        self.current = {}
        if child.returncode == 0:
            return False
        errors.seek(0)
        trace = errors.read().strip()
        errors.close()
        source = Path(example_file).read_bytes().split(b"\0")[0].decode() if Path(example_file).exists() else ""
        if hung:
            self.findings.append((f"no end after {SECONDS_WITHOUT_PROGRESS} s", source))
        elif child.returncode < 0:
            self.findings.append((f"died of signal {-child.returncode}\n{trace[:1200]}", shortened(source)))
        else:
            self.findings.append((f"the fuzzer itself failed\n{trace[-3000:]}", source))
            return False
        self.round += 1
        return True

    def summary(self, console, elapsed: float) -> None:
        """A table of outcomes by function; the findings."""
        from rich.table import Table

        outcomes = sorted({outcome for _, outcome in self.outcomes}, key=lambda o: (not o.startswith("returned"), o))
        table = Table("function", *outcomes, title=f"{self.total:,} examples in {elapsed:.0f} s, seed {self.seed}")
        for column in table.columns[1:]:
            column.justify = "right"
        for function in FUNCTIONS:
            table.add_row(function, *(f"{self.outcomes[function, outcome]:,}" for outcome in outcomes))
        console.print(table)
        for number, (message, source) in enumerate(self.findings, 1):
            console.rule(f"finding {number}", align="left")
            console.print(message, markup=False, highlight=False)
            console.print(f"\n{PREAMBLE}{source}\n", markup=False, highlight=False, soft_wrap=True)
        verdict = f"{len(self.findings)} findings" if self.findings else "nothing found"
        console.print(verdict)


def main() -> int:
    """Parent or child, by the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--skip", default="[]", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is None:
        return Parent(arguments.seconds, arguments.seed).run()
    faulthandler.enable()
    Child(arguments.seconds, arguments.seed, arguments.child, arguments.round, json.loads(arguments.skip)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
