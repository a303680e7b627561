"""Write src/softmax_cy/kernels/vector/constants.h: every number that the kernels' mathematics rests on.

Usage: python tools/constants.py [--check]      (needs mpmath)

The exponential is  exp(d) = 2**(n / STEPS) * exp(r),  n = rint(STEPS * d / ln 2),  r = d - n * ln(2) / STEPS  (Cody and
Waite 1980; Muller, "Elementary Functions", ch. 11; Tang, "Table-driven implementation of the exponential function in
IEEE floating-point arithmetic", ACM TOMS 15, 1989). Polynomials are found by Remez exchange in 60 digits.

float32 has eight steps and float64 four: 2**((j + theta) / STEPS), j = n % STEPS, is looked up in a register. theta is
chosen so that all of them lie next to a number of the format: no second table has to correct the first. The polynomial
C is exp(r) * 2**(-theta / STEPS) - 1. The diagonals of Jacobians go in whole powers of two, and take exp(r) = 1 + r +
r**2 * q(r), with q the minimax polynomial on |r| <= ln(2)/2 for the relative error of exp.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np

mp.mp.dps = 60
HEADER = Path(__file__).parents[1] / "src/softmax_cy/kernels/vector/constants.h"


@dataclass(frozen=True)
class Format:
    """An IEEE 754 binary format and the choices that follow from it."""

    bits: int
    digits: int  # significand bits, the hidden one included
    exponent_bias: int
    degree: int  # of q
    ln2_hi_bits: int  # few enough that n * LN2_HI is exact for every n a slice can need
    steps: int  # in which the power of two goes
    step_degree: int  # of C
    step_hi_bits: int  # the same for n * STEP_HI
    rounder_offset: int  # what ROUNDER holds in its low bits: simd.h
    raise_by: int  # exponentials are kept this many powers of two too large: exponential.pxi
    raise_high_by: int  # the same where the exponential is multiplied by a large sum: product.pxi
    suffix: str

    @property
    def smallest_exponent(self) -> int:
        """Exponent of the smallest subnormal number."""
        return 1 - self.exponent_bias - (self.digits - 1)

    @property
    def power_shift(self) -> int:
        """Where in a number the lowest bit of n belongs: below the exponent field there are those of n % steps."""
        return self.digits - 1 - (self.steps.bit_length() - 1)


FORMATS = (
    Format(
        bits=32,
        digits=24,
        exponent_bias=127,
        degree=4,
        ln2_hi_bits=14,
        steps=8,
        step_degree=4,
        step_hi_bits=12,
        rounder_offset=0,
        raise_by=64,
        raise_high_by=104,
        suffix="f",
    ),
    Format(
        bits=64,
        digits=53,
        exponent_bias=1023,
        degree=9,
        ln2_hi_bits=41,
        steps=4,
        step_degree=8,
        step_hi_bits=39,
        rounder_offset=0x18000,
        raise_by=512,
        raise_high_by=900,
        suffix="",
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


def best_theta(fmt: Format) -> mp.mpf:
    """The theta for which all numbers next to 2**((j + theta) / steps) are nearest to it, relatively."""
    # float64 has too many thetas to try them all. With three powers to get right, 2**22 of them are enough.
    return best_theta_of_all(fmt.steps) if fmt.bits == 32 else best_theta_near_zero(fmt)


def best_theta_of_all(steps: int) -> mp.mpf:
    """The best for float32.

    First among the thetas for which the float for j = 0 is exact, then around the best of these.
    """
    bound = 2 ** (0.5 / steps)
    first = np.concatenate([np.arange(2**24 / bound, 2**24) // 1 / 2**24, np.arange(2**23, 2**23 * bound) / 2**23])

    def worst(first: np.ndarray) -> np.ndarray:
        powers = first * np.exp2(np.arange(steps) / steps)[:, np.newaxis]
        return np.abs(powers.astype(np.float32) / powers - 1).max(axis=0)

    near = first[worst(first).argmin()] * (1 + np.linspace(-1, 1, 20_001) * 2.0**-25)
    return steps * mp.log(mp.mpf(near[worst(near).argmin()]), 2)


def best_theta_near_zero(fmt: Format) -> mp.mpf:
    """The best for which the number for j = 0 is one of the first 2**22 above 1."""
    one = 2 ** (fmt.digits - 1)
    beyond = np.arange(1, 2**22)
    worst = np.zeros(len(beyond))
    for j in range(1, fmt.steps):
        power = mp.mpf(2) ** (mp.mpf(j) / fmt.steps)
        fraction = float(mp.frac(one * power)) + beyond * float(mp.frac(power))
        worst = np.maximum(worst, np.abs(fraction - np.rint(fraction)))
    return fmt.steps * mp.log(mp.mpf(one + int(beyond[worst.argmin()])) / one, 2)


def stepped_polynomial(fmt: Format, theta: mp.mpf) -> tuple[list[mp.mpf], mp.mpf]:
    """Rounded coefficients of exp(r - theta * ln(2) / steps) - 1, lowest first, and the relative error of exp."""
    step = mp.log(2) / fmt.steps
    bound = step / 2 * mp.mpf("1.0001")
    exact, _ = remez(lambda r: mp.expm1(r - theta * step), lambda r: mp.exp(theta * step - r), fmt.step_degree, bound)
    coefficients = [rounded(c, fmt.digits) for c in exact]
    grid = [bound * (mp.mpf(2 * k) / 2000 - 1) for k in range(2001)]
    error = max(abs((1 + mp.polyval(coefficients[::-1], r)) / mp.exp(r - theta * step) - 1) for r in grid)
    return coefficients, error


def bits_of(value: mp.mpf, fmt: Format) -> int:
    """The bits of a number that the format holds exactly."""
    assert rounded(value, fmt.digits) == value
    size = fmt.bits // 8
    return int(np.array(float(value), f"f{size}").view(f"u{size}"))


def power_entries(fmt: Format, theta: mp.mpf) -> list[str]:
    """What is added to n << POWER_SHIFT to make the bits of 2**((n + theta) / steps), raised: one for each j."""
    powers = (rounded(mp.mpf(2) ** ((j + theta) / fmt.steps + fmt.raise_by), fmt.digits) for j in range(fmt.steps))
    return [f"{(bits_of(power, fmt) - (j << fmt.power_shift)) % 2**fmt.bits:#x}" for j, power in enumerate(powers)]


def literal(value: mp.mpf, fmt: Format) -> str:
    """`value`, which the format must hold exactly, as a C hexadecimal literal."""
    assert rounded(value, fmt.digits) == value, value
    number = float(value)
    assert mp.mpf(number) == value
    return number.hex() + fmt.suffix


def stated_error(error: mp.mpf) -> str:
    """What a comment says of a polynomial."""
    return f"relative error of exp at most {mp.nstr(error, 3)} = 2**{mp.nstr(mp.log(error, 2), 4)}"


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
        ("POWER_SHIFT", str(fmt.power_shift), "moves n into the exponent, and n % STEPS below it"),
        ("ROUNDER", literal(magic + fmt.rounder_offset, fmt), "adding it leaves rint() in the low bits"),
        ("POWER_ROUNDER", literal(with_field, fmt), "the same with the exponent field of a raised 1 added"),
        ("RAISE", literal(mp.mpf(2) ** fmt.raise_by, fmt), "exponentials are raised by this: exponential.pxi"),
        ("RAISE_HIGH", literal(mp.mpf(2) ** fmt.raise_high_by, fmt), "the same beside a large sum: product.pxi"),
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
    theta = best_theta(fmt)
    stepped, stepped_error = stepped_polynomial(fmt, theta)
    what = f"of exp(r) * 2**(-theta / {fmt.steps}) - 1"
    lines += [(f"EXP_C{k}", literal(c, fmt), what) for k, c in enumerate(stepped)]
    # One kernel source names them all; the C compiler drops the branch that uses these.
    for name, used, most in (
        ("Q", fmt.degree, max(other.degree for other in FORMATS)),
        ("C", fmt.step_degree, max(other.step_degree for other in FORMATS)),
    ):
        lines += [(f"EXP_{name}{k}", "0", "unused") for k in range(used + 1, most + 1)]
    text = [
        f"/* q of degree {fmt.degree}: {stated_error(error)} */",
        f"/* C of degree {fmt.step_degree}: {stated_error(stepped_error)}, theta = {mp.nstr(theta, 10)} */",
        f"#define POWERS {', '.join(power_entries(fmt, theta))}",
    ]
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
