# Products with the Jacobians of softmax and log_softmax, without the Jacobians.
#
# With y = softmax(x) and v any vector:
#
#   softmax        vjp and jvp    y * (v - sum(y * v))                     the Jacobian is symmetric
#   log_softmax    vjp            v - y * sum(v)
#   log_softmax    jvp            v - sum(y * v)
#
# Design:
# 1. One sum, then the results: two passes. Where one class holds nearly everything, v - sum(y * v) cancels there, and
#    with it go all the digits that matter. The sum of y being 1, any constant may be taken off v first: so where a
#    class has more than half, the sum is taken again, over v less v at that class. (Taking it off everywhere would lose
#    three digits out of seven where no class dominates, and no class cancels.)
# 2. sum(y * v) is a plain sum in 4 * LANES chains of few terms each, and of such sums: as good as the products in it.
#    sum(v) is of numbers that may cancel with nothing to show for it, so there each error is recovered by Knuth's
#    TwoSum (sums.h).
# 3. y = exp(log_y) is off by the rounding of log_y times log_y, and off alike where all log_y are: it is a mean that is
#    wanted, sum(y * v) / sum(y).
# 4. Points 1 and 3 hold where y adds up to 1, but for what its roundings can do. Elsewhere (an attention sink, a masked
#    y) the formulas count as they stand: what taking c off v leaves out of them is c * (1 - sum(y)).
# 5. exp(log_y) may be too small for a number where its product with a large sum(v) is not. It is kept raised there, and
#    the sum lowered.
# 6. Sums that leave the range of numbers, or nearly, are extreme.pxi's. Nobody else pays for them.
# 7. A scale above 1 multiplies y, and one below 1 multiplies v - sum(y * v), before the two are multiplied: nothing is
#    too large or too small for a number that the result is not.

cdef inline vreal find_probability(vreal log_y, Shifts shifts) noexcept nogil:
    """exp(log_y); `shifts` is make_unshifted()."""
    return v_lower(exp_shifted(log_y, shifts, True).value)


cdef inline real choose_half(Operation operation) noexcept nogil:
    """What y is compared with: the logarithm of a little more, so that one that was rounded is not."""
    return -0.6875 if operation == LOG_SOFTMAX_JVP else 0.5


cdef struct Products:
    vreal sum_          # of y * (v - centre)
    vreal weights       # of y, if they are weighed
    vreal top           # the largest y


cdef inline Products start_products() noexcept nogil:
    cdef Products s
    s.sum_ = s.weights = v_set(0)
    s.top = v_set(-INFINITY)
    return s


cdef inline Products add_product(
    Products s, vreal v, vreal y, vreal centre, Shifts shifts, Operation operation, bint weigh
) noexcept nogil:
    """`operation` and `weigh` must be compile-time constants."""
    s.top = v_max(y, s.top)
    if operation == LOG_SOFTMAX_JVP:
        y = find_probability(y, shifts)
    if weigh:
        s.weights = v_add(s.weights, y)
    s.sum_ = v_fma(y, v_sub(v, centre), s.sum_)
    return s


cdef inline Products join_products(Products a, Products b, Products c, Products d) noexcept nogil:
    a.sum_ = v_add(v_add(a.sum_, b.sum_), v_add(c.sum_, d.sum_))
    a.weights = v_add(v_add(a.weights, b.weights), v_add(c.weights, d.weights))
    a.top = v_max(v_max(a.top, b.top), v_max(c.top, d.top))
    return a


cdef inline vreal update_centre(vreal centre, vreal v, vreal y, vreal top) noexcept nogil:
    """v where y is the largest, and the largest such v where y is no distribution and that is not one place."""
    return v_max(v_select_equal(y, top, v, v_set(-INFINITY)), centre)


cdef inline vreal choose_signed_term(vreal v, vreal y, Shifts shifts, Operation operation) noexcept nogil:
    """`operation` must be a compile-time constant."""
    if operation == LOG_SOFTMAX_VJP:
        return v
    return find_probability(y, shifts) if operation == LOG_SOFTMAX_JVP else y


cdef inline double find_roundoff(int kind) noexcept nogil:
    """What rounding to this kind takes from a number, at most, in proportion to it."""
    cdef double of_real = 1.0 / (1 << 24) if SOFTMAX_CY_REAL_BITS == 32 else 0.5 / (<int64_t> 1 << 52)
    kind &= ~KIND_SWAPPED
    if kind == KIND_FLOAT16:
        return 1.0 / (1 << 11)
    if kind == KIND_BFLOAT16:
        return 1.0 / (1 << 8)
    return 1.0 / (1 << 24) if kind == KIND_FLOAT32 else of_real


cdef inline real bound_usual_rounding() noexcept nogil:
    """A part of bound_rounding that is known without a look at the slice: most sums are nearer to 1."""
    return <real> (28 * find_roundoff(KIND_REAL))


cdef inline real bound_rounding(const Slices *all, Operation operation) noexcept nogil:
    """How far from 1 a sum of all y may be, as it is summed here, for roundings alone.

    A y of softmax is off by two units of its last place, four roundoffs, or if it has 16 bits, by little more than one.
    Those of log_y count in proportion to log_y: in all as much as the entropy, which is the logarithm of the length or
    less. The rest is for the sum.
    """
    cdef double each = find_roundoff(all.y_kind)
    cdef double smallest = 0
    if kind_size(all.y_kind) == 2:
        each *= 1.25
        if (all.y_kind & ~KIND_SWAPPED) == KIND_FLOAT16:
            smallest = 1.0 / (1 << 25)      # of a subnormal number
    else:
        each *= 4
    if operation == LOG_SOFTMAX_JVP:
        return <real> (each * (1 + 0.7 * (64 - leading_zeros(all.length))) + bound_usual_rounding())
    return <real> (each + smallest * all.length + bound_usual_rounding())


cdef inline vreal take_magnitude(vreal a) noexcept nogil:
    """NaN is NaN."""
    return v_max(a, v_sub(v_set(0), a))


cdef inline bint adds_up(const Slices *all, double weights, Operation operation) noexcept nogil:
    """Whether the sum of y is 1 but for rounding."""
    cdef double off = fabs(weights - 1)
    return off < bound_usual_rounding() or off < bound_rounding(all, operation)


cdef inline vreal mark_near(vreal weights, real rounding) noexcept nogil:
    return v_where_greater(v_set(rounding), take_magnitude(v_sub(weights, v_set(1))), v_set(1))


cdef inline vreal mark_adding_up(const Slices *all, vreal weights, Operation operation) noexcept nogil:
    """adds_up for a slice a lane: 1 or 0."""
    cdef vreal near = mark_near(weights, bound_usual_rounding())
    return near if v_all_equal(near, v_set(1)) else mark_near(weights, bound_rounding(all, operation))


cdef inline vreal mark_in_range(vreal centre, vreal sum_) noexcept nogil:
    """1 where v - centre - sum_ is a number whatever v is, and 0 elsewhere."""
    return v_where_greater(v_set(EXTREME), v_add(take_magnitude(centre), take_magnitude(sum_)), v_set(1))


cdef inline void set_scales(Constants *c, real scale, Operation operation) noexcept nogil:
    c.scale = scale
    c.y_scale = 1
    if operation == SOFTMAX_PRODUCT and scale > 1:
        c.scale = 1
        c.y_scale = scale


cdef inline void set_sum(Constants *c, real sum_, Operation operation) noexcept nogil:
    """What `finish_product` needs of the sum of a slice."""
    c.sum_ = v_set(sum_)
    if operation == LOG_SOFTMAX_VJP:
        # The exponential is raised by RAISE_HIGH. Where the sum is large, that is lowered by as much, else the former.
        c.shifts = lower_shifts(HIGH_SHIFT)
        if fabs(sum_) > 1:
            c.unit = v_set(1)
            c.sum_ = v_set(sum_ * (1 / RAISE_HIGH))
        else:
            c.unit = v_set(1 / RAISE_HIGH)


cdef inline void set_sums(Constants *c, vreal sums, Operation operation) noexcept nogil:
    """set_sum for a slice a lane."""
    cdef vreal large
    c.sum_ = sums
    if operation == LOG_SOFTMAX_VJP:
        c.shifts = lower_shifts(HIGH_SHIFT)
        large = v_where_greater(take_magnitude(sums), v_set(1), v_set(1))
        c.unit = v_max(large, v_set(1 / RAISE_HIGH))
        c.sum_ = v_mul(sums, v_max(v_sub(v_set(1), large), v_set(1 / RAISE_HIGH)))


cdef inline vreal finish_product(vreal v, vreal y, const Constants *c, Operation operation) noexcept nogil:
    if operation == LOG_SOFTMAX_VJP:
        y = v_mul(exp_shifted(y, c.shifts, True).value, c.unit)
        return v_mul(v_set(c.scale), v_fma(y, v_sub(v_set(0), c.sum_), v))
    v = v_sub(v_sub(v, c.centre), c.sum_)
    if operation == SOFTMAX_PRODUCT:
        return v_mul(y, v)
    v = v_mul(v_set(c.scale), v)
    return v if operation == LOG_SOFTMAX_JVP else v_mul(v_mul(y, v_set(c.y_scale)), v)


cdef inline Operation choose_scaled(const Slices *all, Operation operation) noexcept nogil:
    """Products without a scale need less."""
    return SCALED_SOFTMAX_PRODUCT if operation == SOFTMAX_PRODUCT and all.scale != 1 else operation
