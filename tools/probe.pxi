# The exponential of the kernels, held against libm's in the next wider type. Built by tools/exhaustive.py, once for
# each dtype and variant, with the flags of those kernels.

from libc.math cimport exp, frexp, ldexp
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

include "vector/vector.pxi"
include "formulas/exponential.pxi"

cdef extern from "<math.h>" nogil:
    long double expl(long double)
    long double fabsl(long double)

cdef enum:
    CHUNK = 4096


cdef struct Worst:
    double error        # in ulp
    double x
    int64_t misrounded  # how many are not the nearest number
    int64_t inputs


cdef inline Worst worse(Worst worst, double error, double x) noexcept nogil:
    # A NaN is the worst of all.
    if not error <= worst.error:
        worst.error = error
        worst.x = x
    worst.misrounded += not error <= 0.5
    worst.inputs += 1
    return worst


cdef object as_tuple(Worst worst):
    return worst.error, worst.x, worst.misrounded, worst.inputs


cdef inline void exponentials(const real *x, real *e, Py_ssize_t count, Shifts shifts) noexcept nogil:
    cdef Py_ssize_t i = 0, lanes
    while i < count:
        lanes = min(count - i, LANES)
        v_store_first(e + i, exp_shifted(v_load_first(x + i, lanes, 0), shifts, True).value, lanes)
        i += LANES


cdef inline double power_below(double value) noexcept nogil:
    """The largest power of two that is not above it."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    bits &= <uint64_t> 0x7FF0000000000000
    memcpy(&value, &bits, 8)
    return value


cdef inline int raised_by(Shifts shifts) noexcept nogil:
    """The power of two in the result."""
    cdef int power
    frexp(RAISE, &power)
    return power - 1 - <int> ((ROUNDER - v_first(shifts.rounder)) / STEPS)


cdef inline real largest(const real *x, Py_ssize_t count) noexcept nogil:
    cdef real top = x[0]
    cdef Py_ssize_t i
    for i in range(count):
        top = max(top, x[i])
    return top


# ---- every float ---------------------------------------------------------------------------------------------------

cdef inline Worst compared(const real *x, Py_ssize_t count, Shifts shifts, Worst worst) noexcept nogil:
    """By float64, whose own error is some 2**-29 of these units."""
    cdef real[CHUNK] e
    cdef double factor = ldexp(1.0 + (v_first(shifts.constant) - EXP_C0), raised_by(shifts)), exact
    cdef Py_ssize_t i
    exponentials(x, e, count, shifts)
    for i in range(count):
        exact = exp(x[i]) * factor
        worst = worse(worst, abs(e[i] - exact) / power_below(exact) * 0x800000, x[i])
    return worst


def every_float(uint32_t first, uint32_t last):
    """Over all floats with these bits: as a slice of its neighbours has it, and as that of logarithms has it.

    Returns for both (largest error in ulp, where, how many are misrounded, of how many).
    """
    cdef real[CHUNK] x
    cdef uint32_t bits = first, one
    cdef Py_ssize_t count, i
    cdef Worst shifted = Worst(error=0, x=0, misrounded=0, inputs=0), plain = shifted
    with nogil:
        while bits < last:
            count = min(last - bits, <uint32_t> CHUNK)
            for i in range(count):
                one = bits + <uint32_t> i
                memcpy(x + i, &one, 4)
            shifted = compared(x, count, find_shifts(v_set(largest(x, count)), 1), shifted)
            if x[0] <= 0 and largest(x, count) <= 0 and x[count - 1] > v_first(make_unshifted().lowest):
                plain = compared(x, count, make_unshifted(), plain)
            bits += <uint32_t> count
    return as_tuple(shifted), as_tuple(plain)


# ---- a great many doubles ------------------------------------------------------------------------------------------

cdef inline uint64_t mixed(uint64_t i) noexcept nogil:
    """SplitMix64."""
    i *= <uint64_t> 0x9E3779B97F4A7C15
    i = (i ^ (i >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    i = (i ^ (i >> 27)) * <uint64_t> 0x94D049BB133111EB
    return i ^ (i >> 31)


cdef inline double drawn(uint64_t i, double lowest) noexcept nogil:
    """Not above zero: half of them uniform over the domain, half of any magnitude."""
    cdef uint64_t bits = mixed(i)
    cdef double unit = ldexp(<double> (bits >> 11), -53)
    if bits & 1:
        return unit * lowest
    return -ldexp(1 + unit, -<int> (bits >> 1 & 63) + 9)


def many_doubles(uint64_t first, uint64_t last, double[::1] hard_x, double[::1] hard_e):
    """Over the doubles drawn with these numbers, by long double, whose own error is some 2**-11 of these units.

    Those that long double cannot tell from the middle between two doubles are written to hard_x, and their
    exponentials to hard_e. Returns (largest error in ulp, where, how many are misrounded, of how many), the number of
    hard ones, and the power of two that exponentials are raised by.
    """
    cdef real[CHUNK] x
    cdef real[CHUNK] e
    cdef Worst worst = Worst(error=0, x=0, misrounded=0, inputs=0)
    cdef Shifts shifts = make_unshifted()
    cdef double lowest = v_first(shifts.lowest)
    cdef int power = raised_by(shifts)
    cdef double unit
    cdef long double exact, scaled, factor = ldexp(1, power)
    cdef Py_ssize_t hard = 0, i
    with nogil:
        while first < last:
            for i in range(CHUNK):
                x[i] = <real> max(drawn(first + <uint64_t> i, lowest), lowest)
            exponentials(x, e, CHUNK, shifts)
            for i in range(CHUNK):
                exact = expl(x[i]) * factor
                unit = power_below(<double> exact)
                if unit > exact:
                    unit /= 2
                scaled = exact / unit * 4503599627370496.0
                worst = worse(worst, <double> fabsl(e[i] / unit * 4503599627370496.0 - scaled), x[i])
                if scaled - <int64_t> scaled == 0.5 and hard < hard_x.shape[0]:
                    hard_x[hard] = x[i]
                    hard_e[hard] = e[i]
                    hard += 1
            first += CHUNK
    return as_tuple(worst), hard, power
