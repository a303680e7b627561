# Products whose sums leave the range of numbers, or come near it: cotangents next to the largest number, or infinite.
#
# The formulas are those of product.pxi, over v lowered by RAISE, so that no sum overflows. Where v is infinite the sum
# is, and each element is what the formula makes of it: infinite, or NaN for 0 times infinity or infinity less infinity.
# Rare: what counts here is that it is short.

cdef enum ExtremeSum:
    LOWERED_PRODUCTS        # y * (v - centre), v and centre lowered
    LOWERED_VECTOR          # v lowered


cdef real add_extreme(
    const Slices *all, const char *v, const char *y, real centre, char *scratch, Operation operation, ExtremeSum which
) noexcept nogil:
    """A sum over the slice, lowered by RAISE. `centre` is lowered already."""
    cdef Shifts shifts = make_unshifted()
    cdef vreal terms, weights, uncompensated = v_set(0)
    cdef Py_ssize_t start = 0, count, i, lanes
    cdef Pair pair
    cdef vsum s
    cdef total t = total_of(0)
    while start < all.length:
        count = count_half_block(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        s = signed_start()
        i = 0
        while i < count:
            lanes = min(count - i, LANES)
            terms = v_sub(v_lower(v_load_first(pair.v + i, lanes, 0)), v_set(centre))
            if which == LOWERED_PRODUCTS:
                weights = v_load_first(pair.y + i, lanes, 0)
                if operation == LOG_SOFTMAX_JVP:
                    weights = find_probability(weights, shifts)
                terms = v_mul(weights, terms)
            terms = v_keep_first(terms, lanes)
            s = signed_add(s, terms)
            uncompensated = v_add(uncompensated, terms)
            i += LANES
        t = total_add(t, signed_total(s))
        start += count
    if t.hi + t.lo != t.hi + t.lo:
        # An infinite sum has no rounding error to recover: infinity less infinity is NaN.
        return v_sum_across(uncompensated)
    return <real> (t.hi + t.lo)


cdef real find_largest_output(const Slices *all, const char *v, const char *y, char *scratch) noexcept nogil:
    """The largest y that is not NaN."""
    cdef vreal top = v_set(-INFINITY)
    cdef Py_ssize_t start = 0, count, i
    cdef Pair pair
    while start < all.length:
        count = count_half_block(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        i = 0
        while i < count:
            top = v_max(v_load_first(pair.y + i, min(count - i, LANES), -INFINITY), top)
            i += LANES
        start += count
    return v_max_across(top)


cdef inline vreal finish_extreme(
    vreal v, vreal y, vreal centre, vreal sum_, real scale, Operation operation
) noexcept nogil:
    """`centre` and `sum_` are lowered by RAISE."""
    cdef Shifts shifts = lower_shifts(HIGH_SHIFT)
    cdef vreal p
    if operation == LOG_SOFTMAX_VJP:
        p = exp_shifted(y, shifts, True).value
        p = v_sub(p, v_where_greater(shifts.lowest, y, p))      # exactly 0 where it cannot be told from 0
        # Half of everything: without fma the product may overflow where the difference does not.
        sum_ = v_mul(sum_, v_set(0.5 * RAISE / RAISE_HIGH))
        v = v_fma(p, v_sub(v_set(0), sum_), v_mul(v_set(0.5), v))
        v = v_mul(v_set(scale), v_mul(v_set(2), v))
    else:
        v = v_sub(v_sub(v_lower(v), centre), sum_)
        y = v_set(RAISE) if operation == LOG_SOFTMAX_JVP else v_mul(y, v_set(RAISE))
        # A large scale last: before, it may overflow where the result does not.
        v = v_mul(v_set(scale), v_mul(y, v)) if scale > 1 else v_mul(y, v_mul(v_set(scale), v))
    return v_one_nan(v)


cdef void extreme_product_slice(
    const Slices *all, const char *v, const char *y, char *out, char *scratch, Operation operation
) noexcept nogil:
    cdef Py_ssize_t start = 0, count, i, lanes
    cdef real centre = 0, missing = 0, sum_, top
    cdef real *q = <real *> scratch
    cdef Pair pair
    cdef vreal result
    if operation == LOG_SOFTMAX_VJP:
        sum_ = add_extreme(all, v, y, 0, scratch, operation, LOWERED_VECTOR)
    else:
        sum_ = add_extreme(all, v, y, 0, scratch, operation, LOWERED_PRODUCTS)
        if sum_ - sum_ == 0:
            missing = sum_signed(all, v, y, scratch, operation)
            top = find_largest_output(all, v, y, scratch)
            if top > choose_half(operation):
                centre = v_first(v_lower(v_set(find_centre(all, v, y, top, scratch))))
                sum_ = add_extreme(all, v, y, centre, scratch, operation, LOWERED_PRODUCTS)
            if not adds_up(all, 1 - missing, operation):
                sum_ = scalar_fma(-centre, missing, sum_)
            elif operation == LOG_SOFTMAX_JVP:
                sum_ = sum_ / (1 - missing)
    while start < all.length:
        count = count_half_block(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        i = 0
        while i < count:
            lanes = min(count - i, LANES)
            result = finish_extreme(
                v_load_first(pair.v + i, lanes, 0), v_load_first(pair.y + i, lanes, 0), v_set(centre), v_set(sum_),
                <real> all.scale, operation)
            v_store_first(q + i, result, lanes)
            i += LANES
        scatter(scratch, out, all.out_elements, start, count)
        start += count
