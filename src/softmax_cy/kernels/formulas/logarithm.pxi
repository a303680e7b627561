# log_softmax, y_i = x_i - log sum_j exp(x_j), and that logarithm by itself (x being scale * x throughout).
#
# Design:
# 1. log sum exp(x) = max + log(1 + others): the sum of all exponentials but the largest, over that one. It is what is
#    left of the sum of all once the largest is taken off as it was added, rounding and all. Where one class holds
#    nearly everything few digits would be left: below FEW_OTHERS they are added by themselves, in a second go. In a
#    slice of several blocks this is done for each block (joined.pxi).
# 2. log_softmax is (x - max) - log(1 + others). Both parts have the same sign, so nothing cancels: half an ulp each,
#    and half for the difference.
# 3. The logarithm of a sum is taken once a slice, in pairs of doubles (sums.h), so libm has no part in the bits.

cdef struct LogSum:
    # log sum exp = scale * top + over
    real top
    total over
    total all_          # the sum of the exponentials, as they were raised
    total others        # of all but one of the largest, in units of it
    Unit unit           # of all_; of a slice of one block its top alone


cdef inline LogSum start_log_sum() noexcept nogil:
    cdef LogSum sum_
    memset(&sum_, 0, sizeof(LogSum))
    return sum_


cdef inline total subtract_largest(total all_, Exponential largest) noexcept nogil:
    cdef total minus_largest
    minus_largest.hi = -v_first(largest.value)
    minus_largest.lo = -v_first(recover_rounding(largest))
    return total_add(all_, minus_largest)


cdef inline total find_others(total all_, Exponential largest) noexcept nogil:
    return total_over(subtract_largest(all_, largest), read_exactly(largest))


cdef inline totals find_others_of_each(const totals *sums, Exponential largest) noexcept nogil:
    """find_others, a slice a lane."""
    cdef vreal none = v_set(0)
    cdef totals others = totals_of_pairs(v_sub(none, largest.value), v_sub(none, recover_rounding(largest)))
    others = totals_add(sums[0], others)
    return totals_over(&others, largest.value, recover_rounding(largest))


cdef inline vreal finish_logarithm(vreal x, vreal top, vreal over, real scale) noexcept nogil:
    """scale * (x - top) - over.

    The difference may be too large for a number until it is scaled; half of it is not.
    """
    cdef real half = 0.5 if scale < 1 else 1
    x = v_sub(v_mul(x, v_set(half)), v_mul(top, v_set(half)))
    return v_fma(v_set(scale / half), x, v_sub(v_set(0), over))


cdef inline Constants make_log_constants(real top, total over, real scale) noexcept nogil:
    cdef Constants c
    c.scale = scale
    c.top = v_set(top)
    c.over = v_set(<real> (over.hi + over.lo))
    return c


cdef LogSum finish_log_sum(const Joined *joined) noexcept nogil:
    """Of a slice of several blocks. `over` is NaN where an element is."""
    cdef LogSum sum_ = start_log_sum()
    sum_.top = <real> joined.unit.block.top
    sum_.over = joined.others
    if has_softmax(sum_.top):
        sum_.unit = joined.unit
        sum_.all_ = total_add(joined.unit.largest, joined.others)
        sum_.others = total_over(joined.others, joined.unit.largest.hi + joined.unit.largest.lo)
        sum_.over = total_log1p(sum_.others)
    return sum_
