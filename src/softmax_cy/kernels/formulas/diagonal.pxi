# The entries of a Jacobian:
#
#   softmax        J_ij = y_i * ((i == j) - y_j)       a rank-one update, -y_i * y_j, and a diagonal
#   log_softmax    J_ij = (i == j) - exp(log_y_j)      the same row again and again, and a diagonal
#
# On the diagonals y_i - y_i**2 is rounded once, and 1 - exp(log_y_i) keeps its digits where log_y_i is next to 0.

cdef inline real find_factor(real y_i, real scale, bint of_log) noexcept nogil:
    return -scale if of_log else -scale * y_i


cdef inline real find_later_factor(real y_i, real scale, bint of_log) noexcept nogil:
    """What is left to multiply a row by where -scale * y_i is infinite, but not y_i: the row may well be finite."""
    return scale if not of_log and is_finite(y_i) and not is_finite(<real> (scale * y_i)) else 1


cdef inline vreal evaluate_q(vreal r, vreal r2) noexcept nogil:
    """(exp(r) - 1 - r) / r**2, by Estrin's scheme: short chains of dependent operations."""
    cdef vreal low = v_fma(r, v_set(EXP_Q1), v_set(EXP_Q0))
    cdef vreal high = v_fma(r, v_set(EXP_Q3), v_set(EXP_Q2))
    cdef vreal r4, top
    if SOFTMAX_CY_REAL_BITS == 32:
        high = v_fma(r2, v_set(EXP_Q4), high)
    else:
        r4 = v_mul(r2, r2)
        top = v_fma(r2, v_fma(r, v_set(EXP_Q9), v_set(EXP_Q8)), v_fma(r, v_set(EXP_Q7), v_set(EXP_Q6)))
        high = v_fma(r2, v_fma(r, v_set(EXP_Q5), v_set(EXP_Q4)), high)
        high = v_fma(r4, top, high)
    return v_fma(r2, high, low)


cdef inline vreal one_minus_exp(vreal x) noexcept nogil:
    """1 - exp(x), with all its digits, for x <= 0. In whole powers of two: the first is then exactly 1."""
    cdef vreal d = v_max(v_set(LOWEST_LOG2 * (LN2_HI + LN2_LO)), x)
    cdef vreal rounded = v_fma(d, v_set(LOG2_E), v_set(POWER_ROUNDER))
    cdef vreal n = v_sub(rounded, v_set(POWER_ROUNDER))
    cdef vreal r = v_fma(n, v_set(-LN2_LO), v_fma(n, v_set(-LN2_HI), d))
    cdef vreal r2 = v_mul(r, r)
    cdef vreal one_and_r = v_add(v_set(1), r)
    cdef vreal lost = v_sub(r, v_sub(one_and_r, v_set(1)))
    cdef vreal power = v_low_bits_to_exponent(rounded)
    # What is raised with the exponential is raised in the 1 as well, and where they cancel nothing is lost.
    cdef vreal large = v_sub(v_mul(power, one_and_r), v_set(RAISE))
    return v_sub(v_set(0), v_lower(v_fma(power, v_fma(r2, evaluate_q(r, r2), lost), large)))


cdef inline real find_diagonal(real y_i, real scale, bint of_log) noexcept nogil:
    cdef real product
    if of_log:
        return scale * v_first(one_minus_exp(v_set(y_i)))
    product = scalar_fma(-y_i, y_i, y_i)
    if product == -INFINITY and scale < 1:
        # No probability: 1 - y_i is -y_i, up to rounding, and only the square is infinite.
        return -(scale * y_i) * y_i
    return scale * product
