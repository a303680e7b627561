"""Write src/softmax_cy/kernels/constants.h: every number that the kernels' mathematics rests on.

Usage: python tools/constants.py [--check]      (needs mpmath)

The exponential is  exp(d) = 2**(n / STEPS) * exp(r),  n = rint(STEPS * d / ln 2),  r = d - n * ln(2) / STEPS  (Cody and
Waite 1980; Muller, "Elementary Functions", ch. 11; Tang, "Table-driven implementation of the exponential function in
IEEE floating-point arithmetic", ACM TOMS 15, 1989). Polynomials are found by Remez exchange in 60 digits.

float64 has one step, and exp(r) = 1 + r + r**2 * q(r) with q the minimax polynomial on |r| <= ln(2)/2 for the
relative error of exp. float32 has eight steps, and looks 2**((j + theta) / 8) up in a register. theta is chosen so
that all eight lie next to a float: no second table has to correct the first. The polynomial C is exp(r) * 2**(-theta
/ 8) - 1. The diagonals of Jacobians take q in float32, too.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np

mp.mp.dps = 60
HEADER = Path(__file__).parents[1] / "src/softmax_cy/kernels/constants.h"


@dataclass(frozen=True)
class Format:
    """An IEEE 754 binary format and the choices that follow from it."""

    bits: int
    digits: int  # significand bits, the hidden one included
    exponent_bias: int
    degree: int  # of q
    ln2_hi_bits: int  # few enough that n * LN2_HI is exact for every n a slice can need
    steps: int  # in which the power of two goes
    step_hi_bits: int  # the same for n * STEP_HI
    raise_by: int  # exponentials are kept this many powers of two too large: exp.pxi
    raise_high_by: int  # the same where the exponential is multiplied by a large sum: products.pxi
    suffix: str

    @property
    def smallest_exponent(self) -> int:
        """Exponent of the smallest subnormal number."""
        return 1 - self.exponent_bias - (self.digits - 1)


FORMATS = (
    Format(32, 24, 127, degree=4, ln2_hi_bits=14, steps=8, step_hi_bits=12, raise_by=64, raise_high_by=104, suffix="f"),
    Format(
        64, 53, 1023, degree=9, ln2_hi_bits=41, steps=1, step_hi_bits=41, raise_by=512, raise_high_by=900, suffix=""
    ),
)


def rounded(value: mp.mpf, digits: int) -> mp.mpf:
    """`value` to `digits` significant bits, ties to even."""
    if value == 0:
        return mp.mpf(0)
    with mp.workprec(digits):
        return +value


def remez(target, weight, degree: int, bound: mp.mpf) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients, lowest first, with the smallest largest |target - p| * weight on [-bound, bound]; that error."""
    unknowns = degree + 2
    nodes = [bound * mp.cos(mp.pi * k / (unknowns - 1)) for k in range(unknowns)][::-1]
    grid = [bound * (mp.mpf(2 * k) / 2000 - 1) for k in range(2001)]
    solution: list[mp.mpf] = []
    for _ in range(12):
        rows = mp.matrix(unknowns, unknowns)
        values = mp.matrix(unknowns, 1)
        for k, node in enumerate(nodes):
            for power in range(degree + 1):
                rows[k, power] = node**power
            rows[k, unknowns - 1] = (-1) ** k / weight(node)
            values[k] = target(node)
        solution = list(mp.lu_solve(rows, values))
        errors = [(target(x) - mp.polyval(solution[-2::-1], x)) * weight(x) for x in grid]
        # The new nodes: the largest error of each run of one sign.
        runs: list[int] = [0]
        for k in range(1, len(grid)):
            if mp.sign(errors[k]) * mp.sign(errors[runs[-1]]) < 0:
                runs.append(k)
            elif abs(errors[k]) > abs(errors[runs[-1]]):
                runs[-1] = k
        while len(runs) > unknowns:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        if len(runs) < unknowns:
            raise ArithmeticError("the exchange lost a sign change: refine the grid")
        nodes = [grid[k] for k in runs]
    return solution[:-1], max(abs(e) for e in errors)


def exp_polynomial(fmt: Format) -> tuple[list[mp.mpf], mp.mpf]:
    """Rounded coefficients of q, lowest first, and the largest relative error of exp that they leave."""
    bound = mp.log(2) / 2 * mp.mpf("1.0001")
    series = [1 / mp.factorial(k + 2) for k in range(40)][::-1]

    def weight(r: mp.mpf) -> mp.mpf:
        # Near r = 0 the error of q hardly counts; the floor keeps the exchange well conditioned.
        return (r * r + mp.mpf("1e-4")) / mp.exp(r)

    exact, _ = remez(lambda r: mp.polyval(series, r), weight, fmt.degree, bound)
    coefficients = [rounded(c, fmt.digits) for c in exact]
    grid = [bound * (mp.mpf(2 * k) / 4000 - 1) for k in range(4001)]
    error = max(abs((1 + r + r * r * mp.polyval(coefficients[::-1], r)) / mp.exp(r) - 1) for r in grid)
    return coefficients, error


def best_theta(steps: int) -> mp.mpf:
    """The theta for which all floats next to 2**((j + theta) / steps) are nearest to it, relatively.

    First among the thetas for which the float for j = 0 is exact, then around the best of these.
    """
    bound = 2 ** (0.5 / steps)
    first = np.concatenate([np.arange(2**24 / bound, 2**24) // 1 / 2**24, np.arange(2**23, 2**23 * bound) / 2**23])

    def worst(first: np.ndarray) -> np.ndarray:
        powers = first * np.exp2(np.arange(steps) / steps)[:, np.newaxis]
        return np.abs(powers.astype(np.float32) / powers - 1).max(axis=0)

    near = first[worst(first).argmin()] * (1 + np.linspace(-1, 1, 20_001) * 2.0**-25)
    return steps * mp.log(mp.mpf(near[worst(near).argmin()]), 2)


def stepped_polynomial(fmt: Format, theta: mp.mpf) -> tuple[list[mp.mpf], mp.mpf]:
    """Rounded coefficients of exp(r - theta * ln(2) / steps) - 1, lowest first, and the relative error of exp."""
    step = mp.log(2) / fmt.steps
    bound = step / 2 * mp.mpf("1.0001")
    exact, _ = remez(lambda r: mp.expm1(r - theta * step), lambda r: mp.exp(theta * step - r), degree=4, bound=bound)
    coefficients = [rounded(c, fmt.digits) for c in exact]
    grid = [bound * (mp.mpf(2 * k) / 2000 - 1) for k in range(2001)]
    error = max(abs((1 + mp.polyval(coefficients[::-1], r)) / mp.exp(r - theta * step) - 1) for r in grid)
    return coefficients, error


def float32_bits(value: mp.mpf) -> int:
    """The bits of a number that float32 holds exactly."""
    assert rounded(value, 24) == value
    return int(np.float32(float(value)).view(np.uint32))


def power_entries(fmt: Format, theta: mp.mpf) -> list[str]:
    """What is added to n << 20 to make the bits of 2**((n + theta) / 8), raised: one for each j = n % 8."""
    powers = (rounded(mp.mpf(2) ** ((j + theta) / fmt.steps + fmt.raise_by), fmt.digits) for j in range(fmt.steps))
    return [f"{(float32_bits(power) - (j << 20)) % 2**32:#x}" for j, power in enumerate(powers)]


def literal(value: mp.mpf, fmt: Format) -> str:
    """`value`, which the format must hold exactly, as a C hexadecimal literal."""
    assert rounded(value, fmt.digits) == value, value
    number = float(value)
    assert mp.mpf(number) == value
    return number.hex() + fmt.suffix


def block(fmt: Format) -> list[str]:
    """The lines of one format."""
    ln2 = mp.log(2)
    hi = rounded(ln2, fmt.ln2_hi_bits)
    lo = rounded(ln2 - hi, fmt.digits)
    coefficients, error = exp_polynomial(fmt)
    # Below 2**vanish a quotient is less than half the smallest subnormal, so it rounds to zero.
    vanish = fmt.smallest_exponent - 1
    lowest = 1 - fmt.exponent_bias - fmt.raise_by  # the raised exponential is then just normal
    assert lowest < vanish - 1
    # What is zero comes out as 2**(lowest + 1), whatever it is raised by. Times a sum below 2**extreme, lowered, that
    # has to be less than half the smallest subnormal number.
    extreme = fmt.raise_high_by - fmt.digits - 3
    assert lowest + 1 + fmt.raise_by + extreme - fmt.raise_high_by < vanish
    # What is not, and makes a number of such a sum, has to be a normal number once it is raised.
    assert fmt.smallest_exponent - extreme > lowest + fmt.raise_by - fmt.raise_high_by
    magic = mp.mpf(3) * 2 ** (fmt.digits - 2)
    with_field = magic + fmt.exponent_bias + fmt.raise_by
    step = ln2 / fmt.steps
    step_hi = rounded(step, fmt.step_hi_bits)
    lines = [
        ("LOG2_E", literal(rounded(1 / ln2, fmt.digits), fmt), "1 / ln 2"),
        ("LN2_HI", literal(hi, fmt), f"ln 2 to {fmt.ln2_hi_bits} bits: n * LN2_HI is exact"),
        ("LN2_LO", literal(lo, fmt), "ln 2 - LN2_HI"),
        ("STEPS", str(fmt.steps), "in which the power of two goes"),
        ("STEPS_TO_E", literal(rounded(1 / step, fmt.digits), fmt), "STEPS / ln 2"),
        ("STEP_HI", literal(step_hi, fmt), f"ln 2 / STEPS to {fmt.step_hi_bits} bits: n * STEP_HI is exact"),
        ("STEP_LO", literal(rounded(step - step_hi, fmt.digits), fmt), "ln 2 / STEPS - STEP_HI"),
        ("ROUNDER", literal(magic if fmt.steps > 1 else with_field, fmt), "adding it leaves rint() in the low bits"),
        ("POWER_ROUNDER", literal(with_field, fmt), "the same with the exponent field of a raised 1 added"),
        ("RAISE", literal(mp.mpf(2) ** fmt.raise_by, fmt), "exponentials are kept this much too large: exp.pxi"),
        ("RAISE_HIGH", literal(mp.mpf(2) ** fmt.raise_high_by, fmt), "the same beside a large sum: products.pxi"),
        ("HIGH_SHIFT", literal(mp.mpf(fmt.raise_by - fmt.raise_high_by), fmt), "log2(RAISE / RAISE_HIGH)"),
        ("EXTREME", literal(mp.mpf(2) ** extreme, fmt), "sums from here on are the business of extreme.pxi"),
        (
            "SPLITTER",
            literal(mp.mpf(2) ** -(-fmt.digits // 2) + 1, fmt),
            "Veltkamp's: halves a significand",
        ),
        ("SEED", literal(mp.mpf(2) ** (fmt.raise_by + 1), fmt), "larger than every raised exponential"),
        (
            "LOWEST_LOG2",
            literal(mp.mpf(lowest + 1), fmt),
            "log2 of the smallest exponential worth telling from zero",
        ),
        (
            "SHIFT_ABOVE",
            literal(mp.ceil(-2 * vanish * ln2), fmt),
            "from here on x - max is exact wherever the result is not zero",
        ),
    ]
    lines += [(f"EXP_Q{k}", literal(c, fmt), f"about 1/{k + 2}!") for k, c in enumerate(coefficients)]
    # One kernel source names them all; the C compiler drops the branch that uses these.
    highest = max(other.degree for other in FORMATS)
    lines += [(f"EXP_Q{k}", "0", "unused") for k in range(fmt.degree + 1, highest + 1)]
    bits = mp.nstr(mp.log(error, 2), 4)
    text = [f"/* q of degree {fmt.degree}: relative error of exp at most {mp.nstr(error, 3)} = 2**{bits} */"]
    if fmt.steps > 1:
        theta = best_theta(fmt.steps)
        stepped, error = stepped_polynomial(fmt, theta)
        lines += [(f"EXP_C{k}", literal(c, fmt), "of exp(r) * 2**(-theta / 8) - 1") for k, c in enumerate(stepped)]
        bits = mp.nstr(mp.log(error, 2), 4)
        text += [
            f"/* C: relative error of exp at most {mp.nstr(error, 3)} = 2**{bits}, theta = {mp.nstr(theta, 10)} */",
            f"#define POWERS {', '.join(power_entries(fmt, theta))}",
        ]
    else:
        lines += [(f"EXP_C{k}", "0", "unused" if k else "exp(0) - 1") for k in range(5)]
    text += [f"#define {name:<12} {value:<26} /* {comment} */" for name, value, comment in lines]
    return text


def header() -> str:
    """The whole file."""
    lines = [
        "/* Written by tools/constants.py: change that, not this. */",
        "#ifndef SOFTMAX_CY_CONSTANTS_H",
        "#define SOFTMAX_CY_CONSTANTS_H",
        "",
    ]
    double = FORMATS[-1]
    ln2_hi = rounded(mp.log(2), double.ln2_hi_bits)
    lines += [
        "/* ln 2 for the logarithm of a sum, which is taken in double for both */",
        f"#define DOUBLE_LN2_HI {literal(ln2_hi, double)}",
        f"#define DOUBLE_LN2_LO {literal(rounded(mp.log(2) - ln2_hi, double.digits), double)}",
        "",
    ]
    for directive, fmt in zip(("#if", "#elif"), FORMATS, strict=True):
        lines += [f"{directive} SOFTMAX_CY_REAL_BITS == {fmt.bits}", *block(fmt)]
    lines += ["#else", '#error "SOFTMAX_CY_REAL_BITS is 32 or 64"', "#endif", "", "#endif", ""]
    return "\n".join(lines)


def main() -> int:
    """Write the header, or compare it with the one in the tree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if the header in the tree differs")
    text = header()
    if parser.parse_args().check:
        return int(HEADER.read_text() != text)
    HEADER.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
