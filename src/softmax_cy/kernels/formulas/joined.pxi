# Slices of several blocks: how what their blocks leave behind is joined.
#
# Design:
# 1. Each block has a shift of its own, from its own largest element. So one reading of a block finds all that is needed
#    of it, and a part of a slice can be summed by itself, before the largest element of the whole is known.
# 2. A block leaves its largest element, and the sum of its exponentials without that element: never a difference of
#    numbers that are nearly equal. Sums are joined in the order of the blocks, in units of the largest so far.
# 3. Two shifts differ by a power of two and by the factors next to 1 that make the largest exponentials representable.
#    So the sum of one block in the unit of another is exact, but for the difference of these factors, which is added to
#    its second part. Only where a base is subtracted (exponential.pxi, 3) the factor is an exponential.
# 4. Results of a block are its own exponentials over the sum of all in its own unit. Where that is so large that its
#    reciprocal would be no normal number, both are lowered by RAISE.

cdef enum:
    MOST_STEPS = 4          # of lowering: nothing is left after so many


cdef inline total take_first_sum(const BlockSum *sum_) noexcept nogil:
    cdef total t
    t.hi = sum_.hi
    t.lo = sum_.lo
    return t


cdef inline total take_second_sum(const BlockSum *sum_) noexcept nogil:
    cdef total t
    t.hi = sum_.second_hi
    t.lo = sum_.second_lo
    return t


cdef inline void set_block_sums(BlockSum *sum_, total first, total second) noexcept nogil:
    sum_.hi = first.hi
    sum_.lo = first.lo
    sum_.second_hi = second.hi
    sum_.second_lo = second.lo


cdef struct Unit:
    # What the exponentials of a block are multiples of.
    real top            # its largest element, which says all; what follows is only computed from it
    bint is_based
    double k            # the power of two taken off, K of exponential.pxi
    double trim         # the factor next to 1, less 1
    total largest       # the exponential of top


cdef inline Exponential compute_largest(real top, Shifts shifts) noexcept nogil:
    return exp_shifted(v_set(top), shifts, False)


cdef inline double read_exactly(Exponential e) noexcept nogil:
    """In the first lane: what float32 has lost fits a double."""
    return <double> v_first(e.value) + v_first(recover_rounding(e))


cdef inline Unit measure_unit(real top, const Shifts *shifts) noexcept nogil:
    cdef Exponential largest = compute_largest(top, shifts[0])
    cdef Unit unit
    unit.top = top
    unit.is_based = v_first(shifts.base) != 0
    unit.k = (<double> ROUNDER - <double> v_first(shifts.rounder)) / STEPS
    unit.trim = <double> v_first(shifts.constant) - <double> EXP_C0
    unit.largest.hi = v_first(largest.value)
    unit.largest.lo = v_first(recover_rounding(largest))
    return unit


cdef total find_based_factor(const Unit *small, const Unit *large, real scale) noexcept nogil:
    """A number in the unit of `small` times this is RAISE times the number in that of `large`, for large.top > small.top.

    exp(scale * (small.top - large.top)), raised, over the same in both units.
    """
    cdef vreal base = v_set(large.top)
    cdef Exponential e = exp_shifted(v_set(small.top), build_shifts(base, scale, base, False), False)
    cdef total factor
    factor.hi = v_first(e.value)
    factor.lo = v_first(recover_rounding(e))
    return total_over_total(total_times(factor, large.largest), small.largest)


cdef total convert_sum(total sum_, const Unit *small, const Unit *large, real scale) noexcept nogil:
    """What `sum_`, in the unit of `small`, is in that of `large`, whose largest element is no smaller."""
    cdef total factor
    if small.top == large.top:
        return sum_
    if not (small.is_based or large.is_based):
        return total_scaled(sum_, small.k - large.k, large.trim - small.trim)
    factor = find_based_factor(small, large, scale)
    # In two steps, so that nothing overflows.
    sum_ = total_scaled(sum_, -0.5 * RAISED_BY, 0)
    factor = total_scaled(factor, -0.5 * RAISED_BY, 0)
    return total_times(sum_, factor)


cdef lowered_total convert_sum_back(total sum_, const Unit *large, const Unit *small, real scale) noexcept nogil:
    """What `sum_`, in the unit of `large`, is in that of `small`: lowered, because it may be huge."""
    cdef lowered_total result
    cdef total factor
    if not (small.is_based or large.is_based):
        # The trims are tiny, and so their effect the same first or last.
        sum_ = total_scaled(sum_, 0, small.trim - large.trim)
        return total_lowered(sum_, large.k - small.k)
    factor = find_based_factor(small, large, scale)
    if factor.hi < 1e-270:
        # Every result of this block is 0.
        result.sum = sum_
        result.steps = MOST_STEPS
        return result
    return total_lowered(total_over_total(total_scaled(sum_, -RAISED_BY, 0), factor), 2 * RAISED_BY)


cdef struct Joined:
    # The blocks of a slice so far.
    Unit unit           # of the block with the largest element; unit.top is all that counts where that is infinite
    total others        # of all but one of the largest, in that unit; NaN where any element is


cdef inline Joined join_nothing() noexcept nogil:
    cdef Joined joined
    joined.unit.top = -INFINITY
    joined.others = total_of(0)
    return joined


cdef void join_block(Joined *joined, const BlockSum *block, real scale) noexcept nogil:
    cdef real top = <real> block.top
    cdef total others = take_first_sum(block)
    cdef Unit unit
    cdef Shifts shifts
    if not has_softmax(top) or joined.unit.top == INFINITY:
        # Nothing but NaN can come of what is left.
        joined.others = total_add(joined.others, others)
        joined.unit.top = max(joined.unit.top, top)
        return
    shifts = find_shifts(v_set(top), scale)
    unit = measure_unit(top, &shifts)
    if joined.unit.top == -INFINITY:
        joined.others = total_add(joined.others, others)
        joined.unit = unit
    elif top > joined.unit.top:
        joined.others = total_add(joined.unit.largest, joined.others)
        joined.others = total_add(convert_sum(joined.others, &joined.unit, &unit, scale), others)
        joined.unit = unit
    else:
        others = total_add(unit.largest, others)
        joined.others = total_add(joined.others, convert_sum(others, &unit, &joined.unit, scale))


cdef inline total take_all(const Joined *joined) noexcept nogil:
    """The sum of all exponentials."""
    return total_add(joined.unit.largest, joined.others)
