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
    # Its largest element says all. The rest is computed from it: K of exponential.pxi, or INFINITY where a base is
    # subtracted, and the factor next to 1, less 1.
    BlockUnit block
    total largest       # the exponential of the largest element


cdef inline Exponential compute_largest(real top, Shifts shifts) noexcept nogil:
    return exp_shifted(v_set(top), shifts, False)


cdef inline double read_exactly(Exponential e) noexcept nogil:
    """In the first lane: what float32 has lost fits a double."""
    return <double> v_first(e.value) + v_first(recover_rounding(e))


cdef inline Unit read_unit(const Shifts *shifts, vreal tops, Exponential largest, Py_ssize_t lane) noexcept nogil:
    """Of the slice in a lane, of whose block these are the shift, the largest element and the exponential of that."""
    cdef vreal lost = recover_rounding(largest)
    cdef Unit unit
    unit.block.top = v_lane(&tops, lane)
    unit.block.k = (<double> ROUNDER - <double> v_lane(&shifts.rounder, lane)) / STEPS
    unit.block.trim = <double> v_lane(&shifts.constant, lane) - <double> EXP_C0
    if v_lane(&shifts.base, lane) != 0:
        unit.block.k = INFINITY
    unit.largest.hi = v_lane(&largest.value, lane)
    unit.largest.lo = v_lane(&lost, lane)
    return unit


cdef inline real replace_infinite(real top) noexcept nogil:
    """A number to find a shift from. Where no element is a number any will do, and this one raises no exception."""
    return top if has_softmax(top) else 0


cdef Unit measure_unit(real top, real scale) noexcept nogil:
    cdef real number = replace_infinite(top)
    cdef Shifts shifts = find_shifts(v_set(number), scale)
    cdef Unit unit = read_unit(&shifts, v_set(number), compute_largest(number, shifts), 0)
    unit.block.top = top
    return unit


cdef inline bint are_powers_apart(const BlockUnit *a, const BlockUnit *b) noexcept nogil:
    """Whether no base is subtracted in either."""
    return a.k < INFINITY and b.k < INFINITY


cdef total find_based_factor(const Unit *small, const Unit *large, real scale) noexcept nogil:
    """A number in the unit of `small` times this is RAISE times the number in that of `large`, which has a larger top.

    exp(scale * (smaller top - larger top)), raised, over the same in both units.
    """
    cdef vreal base = v_set(<real> large.block.top)
    cdef Exponential e = exp_shifted(v_set(<real> small.block.top), build_shifts(base, scale, base, False), False)
    cdef total factor
    factor.hi = v_first(e.value)
    factor.lo = v_first(recover_rounding(e))
    return total_over_total(total_times(factor, large.largest), small.largest)


cdef total convert_sum(total sum_, const Unit *small, const Unit *large, real scale) noexcept nogil:
    """What `sum_`, in the unit of `small`, is in that of `large`, whose top is no smaller."""
    cdef total factor
    if small.block.top == large.block.top:
        return sum_
    if are_powers_apart(&small.block, &large.block):
        return total_scaled(sum_, small.block.k - large.block.k, large.block.trim - small.block.trim)
    factor = find_based_factor(small, large, scale)
    # In two steps, so that nothing overflows.
    sum_ = total_scaled(sum_, -0.5 * RAISED_BY, 0)
    factor = total_scaled(factor, -0.5 * RAISED_BY, 0)
    return total_times(sum_, factor)


cdef lowered_total convert_sum_back(
    total sum_, const Unit *large, const BlockUnit *small, real scale
) noexcept nogil:
    """What `sum_`, in the unit of `large`, is in that of `small`: lowered, because it may be huge."""
    cdef lowered_total result
    cdef total factor
    cdef Unit unit
    result.sum = sum_
    result.steps = 0
    if small.top == large.block.top or not has_softmax(<real> small.top):
        return result
    if are_powers_apart(small, &large.block):
        sum_ = total_scaled(sum_, 0, small.trim - large.block.trim)
        return total_lowered(sum_, large.block.k - small.k)
    unit = measure_unit(<real> small.top, scale)
    factor = find_based_factor(&unit, large, scale)
    if factor.hi < 1e-270:
        # Every result of this block is 0.
        result.steps = MOST_STEPS
        return result
    return total_lowered(total_over_total(total_scaled(sum_, -RAISED_BY, 0), factor), 2 * RAISED_BY)


cdef struct Joined:
    # The blocks of a slice so far.
    Unit unit           # of the block with the largest element, which is all that counts where that is infinite
    total others        # of all but one of the largest, in that unit; NaN where any element is


cdef inline Joined join_nothing() noexcept nogil:
    cdef Joined joined
    memset(&joined, 0, sizeof(Joined))
    joined.unit.block.top = -INFINITY
    return joined


cdef void join_block(Joined *joined, const BlockSum *block, const Unit *unit, real scale) noexcept nogil:
    """`unit` is that of the block, if it has one."""
    cdef total others = take_first_sum(block)
    if not has_softmax(<real> block.unit.top) or joined.unit.block.top == INFINITY:
        # Nothing but NaN can come of what is left.
        joined.others = total_add(joined.others, others)
        joined.unit.block.top = max(joined.unit.block.top, block.unit.top)
    elif joined.unit.block.top == -INFINITY:
        joined.others = total_add(joined.others, others)
        joined.unit = unit[0]
    elif block.unit.top > joined.unit.block.top:
        joined.others = total_add(joined.unit.largest, joined.others)
        joined.others = total_add(convert_sum(joined.others, &joined.unit, unit, scale), others)
        joined.unit = unit[0]
    else:
        others = total_add(unit.largest, others)
        joined.others = total_add(joined.others, convert_sum(others, unit, &joined.unit, scale))
