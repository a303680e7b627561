"""A program: statements that make arguments in plain NumPy, one call, and what is known about it."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, field

from softmax_cy._operations import OPERATIONS, names

FORWARD = names("forward")
PRODUCTS = names("product")
LOSSES = names("loss")
JACOBIANS = tuple(o.name for o in OPERATIONS if o.family == "jacobian" and o.inputs[0].holds != "logits")
BOTH = tuple(name for name in names("jacobian") if name not in JACOBIANS)
FUNCTIONS = names()
INPUTS = {operation.name: tuple(array.name for array in operation.inputs) for operation in OPERATIONS}

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
