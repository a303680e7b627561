# Cross-entropy of logits x against a target, and its gradient.
#
# Every target comes down to a coefficient a class: w_c * q_c with the probability q_c, smoothed to
# (1 - e) * q_c + e / n; an index is a probability of 1. Then
#
#   loss = sum_c coefficient_c * (log sum exp x - x_c)
#   grad_c = p_c * sum(coefficients) - coefficient_c
#
# Design:
# 1. log sum exp x - x_c is (over - (x_c - top)), as in logarithm.pxi: two parts of one sign.
# 2. At the target, p_c - 1 would cancel where the class is nearly certain; the sum of the other exponentials, which
#    find_log_sum has, gives it with all its digits.
# 3. A coefficient of 0 leaves its class out, whatever the logit: 0 * inf is 0 here.
# 4. An index is read once and checked here, though callers have checked it: another thread may write the target since.
#    A slice whose index is out of range by then is NaN.

cdef inline vreal find_loss_terms(vreal x, vreal coefficient, LogSum sum_) noexcept nogil:
    cdef real over = <real> (sum_.over.hi + sum_.over.lo)
    cdef vreal minus_log_p = v_sub(v_set(over), v_sub(x, v_set(sum_.top)))
    return v_where_unequal(coefficient, v_set(0), v_mul(coefficient, minus_log_p))


cdef struct Coefficients:
    # Side by side.
    const real *weight      # NULL: all 1
    const real *target      # probabilities; NULL: of the uniform part alone
    real of_target          # 1 - smoothing
    real uniform            # smoothing / n


cdef inline vreal take_coefficients(Coefficients c, Py_ssize_t i, Py_ssize_t count) noexcept nogil:
    """`count` of them from i on, zero in the rest of the lanes."""
    cdef vreal a = v_set(c.uniform)
    if c.target != NULL:
        a = v_fma(v_load_first(c.target + i, count, 0), v_set(c.of_target), a)
    if c.weight != NULL:
        a = v_mul(a, v_load_first(c.weight + i, count, 0))
    return v_keep_first(a, count)


cdef struct Sums:
    # Over the classes of one slice.
    total loss
    total coefficients


cdef inline reciprocals find_reciprocals(LogSum sum_) noexcept nogil:
    """One over the sum of all exponentials, as find_shifts(top) raises them."""
    return reciprocal_in_all_lanes(total_reciprocal(sum_.all_))


cdef inline real find_probability_of(real x, LogSum sum_) noexcept nogil:
    cdef Shifts shifts = find_shifts(v_set(sum_.top), 1)
    return v_first(reciprocals_times(find_reciprocals(sum_), exp_shifted(v_set(x), shifts, False).value))


cdef inline real find_gradient_at_index(
    const CrossEntropySlices *all, real x, double p, LogSum sum_, real weight, real of_index
) noexcept nogil:
    """of_index * (p - 1) + uniform * (p * sum(weight) - weight)."""
    cdef double others = sum_.others.hi + sum_.others.lo
    cdef double whole = 1 + others
    cdef double uniform = all.smoothing / all.length
    cdef double rest
    if x == sum_.top:
        p = 1 / whole
        rest = others / whole
    else:
        rest = 1 - p    # p is far from 1: nothing is lost
    p = uniform * (p * all.weight_sum - weight) if uniform != 0 else 0
    return one_nan(<real> (all.grad_factor * (p - of_index * rest)))


cdef inline real round_loss(double a, real b, total t) noexcept nogil:
    """a * (t - b), for the loss of one class."""
    return <real> a * product_plus_total(-1, b, t)
