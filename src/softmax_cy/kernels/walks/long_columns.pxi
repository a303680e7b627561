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


cdef inline vreal *keep_tops(Py_ssize_t length) noexcept nogil:
    """Where the largest elements of all blocks of a vector of slices are written down, or NULL: they are too many."""
    if length > BLOCK_BYTES // <Py_ssize_t> sizeof(vreal) * block_length():
        return NULL
    return <vreal *> thread_buffer(UNITS_BUFFER)


cdef totals sum_block_column(const Panel *block, bint whole, const Constants *c, bint kept, real scale) noexcept nogil:
    if kept:
        return keep_whole_column(block, 0, c)
    if whole and are_unscaled(c, 1, scale):
        return sum_unscaled_column(block, 0, c)
    return sum_column(block, 0, whole, c)


cdef void sum_block_of_columns(
    const Panel *block, bint whole, const Constants *c, bint kept, real scale, Joined *joined
) noexcept nogil:
    """Join what a block of each slice leaves behind: summarize_elements."""
    cdef Exponential largest = exp_shifted(c.top, c.shifts, False)
    cdef vreal none = v_set(0)
    cdef totals sums = sum_block_column(block, whole, c, kept, scale)
    cdef totals others = totals_of_pairs(v_sub(none, largest.value), v_sub(none, recover_rounding(largest))), below
    cdef bint have_below = False
    cdef Py_ssize_t lane
    cdef total of_lane
    cdef BlockSum sum_
    cdef Unit unit
    others = totals_add(sums, others)
    for lane in range(block.lanes):
        of_lane = totals_at(&others, lane)
        unit = read_unit(&c.shifts, c.top, largest, lane)
        if not has_softmax(<real> unit.block.top):
            of_lane = total_of(0 if is_number(totals_at(&sums, lane)) else NAN)
        elif of_lane.hi < FEW_OTHERS * unit.largest.hi:
            if not have_below:
                below = sum_column_below_top(block, 0, c)
                have_below = True
            of_lane = totals_at(&below, lane)
        sum_.unit = unit.block
        set_block_sums(&sum_, of_lane, total_of(0))
        join_block(&joined[lane], &sum_, &unit, scale)


cdef vreal sum_long_columns(const Panel *panel, bint whole, real scale, vreal *kept, LogSum *sums) noexcept nogil:
    """What find_long_sum finds, of each slice of a vector: 1 in the lanes of those that have a finite sum, else 0.

    `kept` are the largest elements of the blocks, whose exponentials are left in the result; or it is NULL.
    """
    cdef Joined[MOST_LANES] joined
    cdef real[MOST_LANES] ordinary
    cdef Panel block
    cdef Constants c
    cdef Py_ssize_t start = 0, lane
    for lane in range(LANES):
        joined[lane] = join_nothing()
        ordinary[lane] = 1
    while start < panel.length:
        block = take_block(panel, start)
        find_columns_max(&block, 1, whole, &c)
        c.shifts = find_shifts(c.top, scale)
        if kept != NULL:
            v_store(kept + start // block_length(), c.top)
        sum_block_of_columns(&block, whole, &c, kept != NULL, scale, joined)
        start += block.length
    for lane in range(panel.lanes):
        sums[lane] = finish_log_sum(&joined[lane])
        ordinary[lane] = has_softmax(sums[lane].top) and is_number(sums[lane].over)
    return v_load(ordinary)


cdef void lower_columns(const Panel *block, const Constants *c, vreal factor, bint kept) noexcept nogil:
    """Leave the exponentials of a block in the result, times a power of two each slice."""
    cdef const char *x = block.x
    cdef Py_ssize_t step = block.out_step if kept else block.x_step
    cdef vreal e
    cdef Py_ssize_t i
    if kept:
        x = block.out
    for i in range(block.length):
        e = load_column(x + i * step, 0, block.lanes, False)
        if not kept:
            e = exp_shifted(e, c.shifts, False).value
        store_column(block.out + i * block.out_step, 0, v_mul(e, factor), block.lanes, False)


cdef void finish_long_columns(
    const Panel *panel, bint whole, const vreal *kept, const LogSum *sums, vreal ordinary, real scale
) noexcept nogil:
    """The last pass of softmax over the slices of a vector."""
    cdef Panel block
    cdef Constants c
    cdef Exponential largest
    cdef totals all_ = totals_harmless()
    cdef lowered_total of_lane
    cdef real[MOST_LANES] factors
    cdef Unit unit
    cdef Py_ssize_t start = 0, lane
    cdef bint kept_or_lowered
    cdef int step
    while start < panel.length:
        block = take_block(panel, start)
        if kept != NULL:
            c.top = v_load(kept + start // block_length())
        else:
            find_columns_max(&block, 1, whole, &c)
        c.shifts = find_shifts(c.top, scale)
        largest = exp_shifted(c.top, c.shifts, False)
        kept_or_lowered = kept != NULL
        for lane in range(LANES):
            factors[lane] = 1
        for lane in range(panel.lanes):
            if v_lane(&ordinary, lane) == 0:
                continue
            unit = read_unit(&c.shifts, c.top, largest, lane)
            of_lane = convert_sum_back(sums[lane].all_, &sums[lane].unit, &unit.block, scale)
            totals_set(&all_, lane, of_lane.sum)
            for step in range(of_lane.steps):
                factors[lane] *= 1 / RAISE
        if v_any_less(v_load(factors), v_load(factors), 1):
            lower_columns(&block, &c, v_load(factors), kept_or_lowered)
            kept_or_lowered = True
        c.r = totals_reciprocals(&all_)
        if kept_or_lowered:
            finish_columns(&block, 1, whole, &c, SOFTMAX, True)
        else:
            finish_columns(&block, 1, whole, &c, SOFTMAX, False)
        start += block.length
