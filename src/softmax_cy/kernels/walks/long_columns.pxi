# Slices side by side of several blocks: each block of them is a panel.

cdef inline Panel take_vector(const Panel *panel, int v) noexcept nogil:
    """The slices in vector v alone."""
    cdef Panel one = panel[0]
    cdef Py_ssize_t offset = v * LANES * <Py_ssize_t> sizeof(real)
    one.x += offset
    one.out += offset
    one.slices -= v * LANES
    return one


cdef inline Panel take_block(const Panel *panel, Py_ssize_t start) noexcept nogil:
    """The block that begins with element `start`."""
    cdef Panel block = panel[0]
    block.x += start * panel.x_step
    block.out += start * panel.out_step
    block.length = count_block(start, panel.length)
    return block


cdef inline void start_block_of_columns(const Panel *block, bint whole, Constants *c, real scale) noexcept nogil:
    find_columns_max(block, 1, whole, c)
    c.shifts = find_shifts(c.top, scale)


cdef totals sum_others_of_columns(const Panel *block, bint whole, const Constants *c) noexcept nogil:
    """What summarize_elements leaves of each slice of a vector."""
    cdef Exponential largest = exp_shifted(c.top, c.shifts, False)
    cdef vreal none = v_set(0)
    cdef totals sums = sum_column(block, 0, whole, c), below
    cdef totals others = totals_of_pairs(v_sub(none, largest.value), v_sub(none, recover_rounding(largest)))
    cdef Py_ssize_t lane
    cdef bint any_few = False
    others = totals_add(sums, others)
    for lane in range(block.lanes):
        any_few |= totals_at(&others, lane).hi < FEW_OTHERS * v_lane(&largest.value, lane)
    if any_few:
        below = sum_column_below_top(block, 0, c)
        for lane in range(block.lanes):
            if totals_at(&others, lane).hi < FEW_OTHERS * v_lane(&largest.value, lane):
                totals_set(&others, lane, totals_at(&below, lane))
    return others


cdef bint sum_long_columns(const Panel *panel, bint whole, real scale, LogSum *sums) noexcept nogil:
    """What find_long_sum finds, of each slice of a vector. False where one has a block without a finite sum, or so small
    that its exponentials must be lowered: the row code knows how."""
    cdef Joined[MOST_LANES] joined
    cdef BlockSum[MOST_LANES] smallest
    cdef BlockSum of_lane
    cdef totals others
    cdef Panel block
    cdef Constants c
    cdef Shifts shifts
    cdef Py_ssize_t start = 0, lane
    of_lane.second_hi = of_lane.second_lo = 0
    for lane in range(panel.lanes):
        joined[lane] = join_nothing()
        smallest[lane].top = INFINITY
    while start < panel.length:
        block = take_block(panel, start)
        start_block_of_columns(&block, whole, &c, scale)
        others = sum_others_of_columns(&block, whole, &c)
        for lane in range(panel.lanes):
            of_lane.top = v_lane(&c.top, lane)
            of_lane.hi = totals_at(&others, lane).hi
            of_lane.lo = totals_at(&others, lane).lo
            if not has_softmax(<real> of_lane.top):
                return False
            join_block(&joined[lane], &of_lane, scale)
            smallest[lane].top = min(smallest[lane].top, of_lane.top)
        start += block.length
    for lane in range(panel.lanes):
        sums[lane] = finish_log_sum(&joined[lane])
        shifts = find_shifts(v_set(<real> smallest[lane].top), scale)
        if not is_number(sums[lane].over):
            return False
        if find_sum_for_block(&sums[lane], <real> smallest[lane].top, &shifts, scale).steps > 0:
            return False
    return True


cdef void finish_long_columns(
    const Panel *panel, bint whole, const LogSum *sums, real scale, Operation operation
) noexcept nogil:
    """The last pass over the slices of a vector, for quotients."""
    cdef Panel block
    cdef Constants c
    cdef totals all_ = totals_harmless()
    cdef Shifts shifts
    cdef Py_ssize_t start = 0, lane
    while start < panel.length:
        block = take_block(panel, start)
        start_block_of_columns(&block, whole, &c, scale)
        for lane in range(panel.lanes):
            shifts = spread_lane(&c.shifts, lane)
            totals_set(&all_, lane, find_sum_for_block(&sums[lane], v_lane(&c.top, lane), &shifts, scale).sum)
        c.r = totals_reciprocals(&all_)
        finish_columns(&block, 1, whole, &c, operation, False)
        start += block.length
