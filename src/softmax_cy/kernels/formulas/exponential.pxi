# The exponential of a slice, shifted so that the largest element comes out near a fixed power of two.
#
# Design:
# 1. Softmax does not need exp(x - max); it needs exp(x) * 2**-K for any K that keeps the numbers in range. So nothing
#    is subtracted from x: K is taken from the exponent, for nothing and without the rounding of x - max, which alone
#    costs other libraries up to 60 ulp.
# 2. K is chosen so that the largest exponential lies near 2**64 (float32) or 2**512 (float64), not near 1. What the
#    division will bring down among the subnormal numbers is then still a normal number with all its digits, and is
#    rounded once; what will become zero needs no branch.
# 3. Where |max| is so large that n = rint(x / ln 2) would need more bits than n * LN2_HI leaves room for, max is
#    subtracted after all. There the difference is exact (Sterbenz) for every x whose result is not zero.
# 4. The largest exponential is the one that must not be rounded: with it, n equal numbers would give 1/n with an
#    error, and a class that holds everything could end up above 1. So all exponentials are scaled by a factor next to
#    1 that makes this one representable, but for a part of it too small to count, which sums know. It is added into the
#    constant of the polynomial, once a slice. Other libraries get that from subtracting max.
# 5. Powers of two go in steps of an eighth (float32) or a quarter (float64), looked up in a register. That leaves a
#    remainder so small that the polynomial is short, and that all of it beside 1 can be rounded as a whole
#    (tools/constants.py).
# 6. NaN passes through every operation here, whatever its payload: it is in the remainder, whatever becomes of the
#    power.

cdef struct Shifts:
    # Of the slices in the lanes of a vector: one and the same where its elements are of one slice.
    real scale
    vreal base      # subtracted from x before it is scaled: 0, or the largest x where scale times that is large
    vreal lowest    # below this the result is zero whatever the sum
    vreal rounder   # ROUNDER - K * STEPS
    vreal constant  # of the polynomial: EXP_C0, and what makes the largest exponential representable


cdef struct Reduced:
    # exp(x) in two factors: 2**((n + theta) / STEPS) and what is left, for the remainder r of n steps
    vreal power
    vreal r


cdef inline bint is_unscaled(const Shifts *shifts) noexcept nogil:
    """Whether x is the argument of the exponential as it stands, in the first lane."""
    return v_first(shifts.base) == 0 and shifts.scale == 1


cdef inline Reduced reduce_argument(vreal x, Shifts shifts, bint unscaled) noexcept nogil:
    """`unscaled` must be a compile-time constant: is_unscaled, in every lane."""
    cdef vreal d = x
    cdef vreal rounded, n, product, lost
    cdef Reduced y
    if not unscaled:
        x = v_sub(x, shifts.base)
        d = product = v_mul(x, v_set(shifts.scale))
    # The order of the operands lets a NaN in x through.
    d = v_max(shifts.lowest, d)
    rounded = v_fma(d, v_set(STEPS_TO_E), shifts.rounder)
    n = v_sub(rounded, shifts.rounder)
    y.power = v_power(rounded)
    y.r = v_fma(n, v_set(-STEP_LO), v_fma(n, v_set(-STEP_HI), d))
    if not unscaled:
        # Left out, the rounding of the product would be an error of the result in proportion to |d|.
        lost = v_product_error(x, v_set(shifts.scale), product)
        y.r = v_add(y.r, v_where_greater(d, shifts.lowest, lost))
    return y


cdef inline vreal evaluate_steps(vreal r, vreal constant) noexcept nogil:
    """exp(r) * 2**(-theta / STEPS) - 1, where `constant` takes the place of EXP_C0."""
    cdef vreal high
    if SOFTMAX_CY_REAL_BITS == 32:
        high = v_fma(r, v_fma(r, v_set(EXP_C4), v_set(EXP_C3)), v_set(EXP_C2))
    else:
        high = v_fma(r, v_fma(r, v_set(EXP_C8), v_set(EXP_C7)), v_set(EXP_C6))
        high = v_fma(r, v_fma(r, v_fma(r, high, v_set(EXP_C5)), v_set(EXP_C4)), v_set(EXP_C3))
        high = v_fma(r, high, v_set(EXP_C2))
    return v_fma(r, v_fma(r, high, v_set(EXP_C1)), constant)


cdef struct Exponential:
    # value = power + power * small, rounded once. The two are exact, but for the rounding of small.
    vreal value
    vreal power
    vreal small


cdef inline Exponential expand(Reduced x, Shifts shifts) noexcept nogil:
    """2**((n + theta) / STEPS) * exp(r - theta * ln(2) / STEPS), times the factor of the slice."""
    cdef Exponential y
    y.power = x.power
    y.small = evaluate_steps(x.r, shifts.constant)
    y.value = v_fma(y.power, y.small, y.power)
    return y


cdef inline vreal recover_rounding(Exponential e) noexcept nogil:
    """What the last rounding took away."""
    return v_fma(e.power, e.small, v_sub(e.power, e.value))


cdef inline Exponential mask_tail(Exponential x, Py_ssize_t count) noexcept nogil:
    """Zero in every lane from `count` on."""
    x.value = v_keep_first(x.value, count)
    x.power = v_keep_first(x.power, count)
    return x


cdef inline Exponential exp_shifted(vreal x, Shifts shifts, bint unscaled) noexcept nogil:
    """exp(scale * (x - base)) * 2**(RAISED_BY - K), times the factor of the slice.

    Never less than the smallest normal number.
    """
    return expand(reduce_argument(x, shifts, unscaled), shifts)


cdef inline Shifts build_shifts(vreal top, real scale, vreal base, bint unscaled) noexcept nogil:
    """`unscaled` must be a compile-time constant: is_unscaled, in every lane."""
    cdef Shifts shifts
    cdef Exponential largest
    cdef vreal k = top
    shifts.scale = scale
    shifts.base = base
    if not unscaled:
        k = v_mul(v_sub(top, base), v_set(scale))
    k = v_mul(k, v_set(LOG2_E))
    k = v_sub(v_add(k, v_set(ROUNDER)), v_set(ROUNDER))
    shifts.lowest = v_mul(v_add(k, v_set(LOWEST_LOG2)), v_set(LN2_HI + LN2_LO))
    shifts.rounder = v_sub(v_set(ROUNDER), v_mul(v_set(STEPS), k))
    shifts.constant = v_set(EXP_C0)
    largest = exp_shifted(top, shifts, unscaled)
    shifts.constant = v_sub(v_set(EXP_C0), v_div(recover_rounding(largest), largest.value))
    return shifts


cdef inline Shifts find_shifts(vreal top, real scale) noexcept nogil:
    """The shifts of slices whose largest elements are `top`. Any shift will do where that is not finite."""
    cdef vreal product
    top = v_where_equal(v_sub(top, top), v_set(0), top)
    product = v_mul(top, v_set(scale))
    # The base is top where the product is at least so large, and elsewhere 0.
    return build_shifts(
        top, scale,
        v_sub(top, v_where_greater(v_set(SHIFT_ABOVE), v_max(product, v_sub(v_set(0), product)), top)), False)


cdef inline Shifts lower_shifts(real k) noexcept nogil:
    """Those of exp(x) * 2**(RAISED_BY - k), where x is 0 or less. `k` must be a compile-time constant."""
    cdef Shifts shifts
    shifts.scale = 1
    shifts.base = v_set(0)
    shifts.lowest = v_set((k + LOWEST_LOG2) * (LN2_HI + LN2_LO))
    shifts.rounder = v_set(ROUNDER - STEPS * k)
    shifts.constant = v_set(EXP_C0)
    return shifts


cdef inline Shifts make_unshifted() noexcept nogil:
    """Those of a largest element of 0."""
    return lower_shifts(0)


cdef inline Shifts spread_lane(const Shifts *shifts, Py_ssize_t lane) noexcept nogil:
    """The shift of one slice in all lanes."""
    cdef Shifts one
    one.scale = shifts.scale
    one.base = v_set(v_lane(&shifts.base, lane))
    one.lowest = v_set(v_lane(&shifts.lowest, lane))
    one.rounder = v_set(v_lane(&shifts.rounder, lane))
    one.constant = v_set(v_lane(&shifts.constant, lane))
    return one
