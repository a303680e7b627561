# Products of slices side by side, a slice a lane.

cdef inline vreal sum_signed_column(const Panel *panel, int v) noexcept nogil:
    """sum_signed, of v."""
    cdef vsum[MOST_LANES] terms
    cdef Py_ssize_t start = 0, end, used, i, lane
    cdef totals result = totals_start()
    cdef vsum s
    while start < panel.length:
        end = start + count_half_block(start, panel.length)
        used = min(LANES, end - start)
        for lane in range(used):
            s = signed_start()
            i = start + lane
            while i < end:
                s = signed_add(s, load_column(panel.x + i * panel.x_step, v, panel.lanes, True))
                i += LANES
            terms[lane] = s
        result = totals_add(result, signed_totals(terms, used))
        start = end
    return totals_rounded(&result)


cdef inline Products add_column_product(
    Products s, const Panel *panel, int v, Py_ssize_t i, Constants c, Operation operation, bint weigh
) noexcept nogil:
    return add_product(
        s, load_column(panel.x + i * panel.x_step, v, panel.lanes, True),
        load_column(panel.y + i * panel.y_step, v, panel.lanes, True), c.centre, c.shifts, operation, weigh)


cdef inline Products sum_column_block(
    const Panel *panel, int v, Py_ssize_t start, Py_ssize_t end, Constants c, Operation operation,
    bint weigh,
) noexcept nogil:
    """sum_block_products, of which `top` is of all lanes already, and the sums are across them."""
    cdef vreal[MOST_LANES] sums, weights
    cdef Py_ssize_t i, lane
    cdef Products p0, p1, p2, p3, all_ = start_products()
    for lane in range(LANES):
        p0 = p1 = p2 = p3 = start_products()
        i = start + lane
        while i + 3 * LANES < end:
            p0 = add_column_product(p0, panel, v, i, c, operation, weigh)
            p1 = add_column_product(p1, panel, v, i + LANES, c, operation, weigh)
            p2 = add_column_product(p2, panel, v, i + 2 * LANES, c, operation, weigh)
            p3 = add_column_product(p3, panel, v, i + 3 * LANES, c, operation, weigh)
            i += 4 * LANES
        if i < end:
            p0 = add_column_product(p0, panel, v, i, c, operation, weigh)
        if i + LANES < end:
            p1 = add_column_product(p1, panel, v, i + LANES, c, operation, weigh)
        if i + 2 * LANES < end:
            p2 = add_column_product(p2, panel, v, i + 2 * LANES, c, operation, weigh)
        p0 = join_products(p0, p1, p2, p3)
        sums[lane] = p0.sum_
        weights[lane] = p0.weights
        all_.top = v_max(all_.top, p0.top)
    all_.sum_ = add_lanes(sums)
    if weigh:
        all_.weights = add_lanes(weights)
    return all_


cdef inline Products sum_column_products(
    const Panel *panel, int v, Constants c, Operation operation, bint weigh
) noexcept nogil:
    """sum_products; sum_ is the ratio for LOG_SOFTMAX_JVP."""
    cdef Py_ssize_t start = 0, end
    cdef Products s, means
    cdef totals sums, weights
    means.top = v_set(-INFINITY)
    while True:
        end = start + count_terms(start, panel.length)
        s = sum_column_block(panel, v, start, end, c, operation, weigh)
        s.top = means.top = v_max(means.top, s.top)
        if end == panel.length and start == 0:
            if operation == LOG_SOFTMAX_JVP:
                s.sum_ = v_div(s.sum_, v_max(s.weights, v_set(1 / RAISE)))
            return s
        totals_join(&sums, s.sum_, start == 0)
        totals_join(&weights, s.weights, start == 0)
        start = end
        if start == panel.length:
            break
    means.sum_ = totals_quotient(&sums, &weights) if operation == LOG_SOFTMAX_JVP else totals_rounded(&sums)
    means.weights = totals_rounded(&weights)
    return means


cdef inline vreal find_column_centre(const Panel *panel, int v, vreal top, Operation operation) noexcept nogil:
    """find_centre, where a class has more than half, and elsewhere 0."""
    cdef vreal centre = v_set(-INFINITY)
    cdef Py_ssize_t i
    for i in range(panel.length):
        centre = update_centre(
            centre, load_column(panel.x + i * panel.x_step, v, panel.lanes, True),
            load_column(panel.y + i * panel.y_step, v, panel.lanes, True), top)
    return v_where_greater(top, v_set(choose_half(operation)), centre)


cdef inline bint product_panel(
    const Panel *panel, int width, Constants *columns, Operation operation
) noexcept nogil:
    """Whether the slices are ordinary ones. If not, nothing is written."""
    cdef bint weigh = operation == LOG_SOFTMAX_JVP
    cdef vreal sums, ordinary
    cdef Products means
    cdef int v
    for v in range(width):
        columns[v].shifts = make_unshifted()
        columns[v].centre = v_set(0)
        ordinary = v_set(1)
        if operation == LOG_SOFTMAX_VJP:
            sums = sum_signed_column(panel, v)
        else:
            means = sum_column_products(panel, v, columns[v], operation, weigh)
            if weigh:
                ordinary = mark_adding_up(panel.all, means.weights, operation)
            if any_lane_greater(means.top, choose_half(operation)):
                columns[v].centre = find_column_centre(panel, v, means.top, operation)
                means = sum_column_products(panel, v, columns[v], operation, True)
                ordinary = mark_adding_up(panel.all, means.weights, operation)
                if not weigh:
                    # In lanes whose centre is 0 it makes no difference what y adds up to.
                    ordinary = v_max(ordinary, v_where_equal(columns[v].centre, v_set(0), v_set(1)))
            sums = means.sum_
        columns[v].ordinary = v_mul(ordinary, mark_in_range(columns[v].centre, sums))
        set_sums(&columns[v], sums, operation)
        set_scales(&columns[v], <real> panel.all.scale, operation)
    if not are_ordinary(columns, width, panel.slices):
        for v in range(width):
            columns[v].ordinary = v_set(0)
        return False
    if choose_scaled(panel.all, operation) != operation:
        finish_columns(panel, width, True, columns, SCALED_SOFTMAX_PRODUCT, False)
    else:
        finish_columns(panel, width, True, columns, operation, False)
    return True
