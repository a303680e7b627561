# Products of slices side by side, a slice a lane.

cdef inline vreal column_signed_sum(const Panel *panel, int v) noexcept nogil:
    """signed_sum, of v."""
    cdef vsum[MOST_LANES] terms
    cdef Py_ssize_t start = 0, end, used, i, lane
    cdef totals result = totals_start()
    cdef vsum s
    while start < panel.length:
        end = start + half_block_at(start, panel.length)
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


cdef inline Products with_product_at(
    Products s, const Panel *panel, int v, Py_ssize_t i, Constants c, Operation operation, bint weigh
) noexcept nogil:
    return with_product(
        s, load_column(panel.x + i * panel.x_step, v, panel.lanes, True),
        load_column(panel.y + i * panel.y_step, v, panel.lanes, True), c.centre, c.shifts, operation, weigh)


cdef inline Products column_block_products(
    const Panel *panel, int v, Py_ssize_t start, Py_ssize_t end, Constants c, Operation operation,
    bint weigh,
) noexcept nogil:
    """block_products, of which `top` is of all lanes already, and the sums are across them."""
    cdef vreal[MOST_LANES] sums, weights
    cdef Py_ssize_t i, lane
    cdef Products p0, p1, p2, p3, all_ = no_products()
    for lane in range(LANES):
        p0 = p1 = p2 = p3 = no_products()
        i = start + lane
        while i + 3 * LANES < end:
            p0 = with_product_at(p0, panel, v, i, c, operation, weigh)
            p1 = with_product_at(p1, panel, v, i + LANES, c, operation, weigh)
            p2 = with_product_at(p2, panel, v, i + 2 * LANES, c, operation, weigh)
            p3 = with_product_at(p3, panel, v, i + 3 * LANES, c, operation, weigh)
            i += 4 * LANES
        if i < end:
            p0 = with_product_at(p0, panel, v, i, c, operation, weigh)
        if i + LANES < end:
            p1 = with_product_at(p1, panel, v, i + LANES, c, operation, weigh)
        if i + 2 * LANES < end:
            p2 = with_product_at(p2, panel, v, i + 2 * LANES, c, operation, weigh)
        p0 = four_products(p0, p1, p2, p3)
        sums[lane] = p0.sum_
        weights[lane] = p0.weights
        all_.top = v_max(all_.top, p0.top)
    all_.sum_ = lanes_added(sums)
    if weigh:
        all_.weights = lanes_added(weights)
    return all_


cdef inline Products column_means(
    const Panel *panel, int v, Constants c, Operation operation, bint weigh
) noexcept nogil:
    """mean_of; sum_ is the ratio for LOG_SOFTMAX_JVP."""
    cdef Py_ssize_t start = 0, end
    cdef Products s, means
    cdef totals sums, weights
    means.top = v_set(-INFINITY)
    while True:
        end = start + terms_at(start, panel.length)
        s = column_block_products(panel, v, start, end, c, operation, weigh)
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


cdef inline vreal column_centre(const Panel *panel, int v, vreal top, Operation operation) noexcept nogil:
    """centre_at, where a class has more than half, and elsewhere 0."""
    cdef vreal centre = v_set(-INFINITY)
    cdef Py_ssize_t i
    for i in range(panel.length):
        centre = centre_so_far(
            centre, load_column(panel.x + i * panel.x_step, v, panel.lanes, True),
            load_column(panel.y + i * panel.y_step, v, panel.lanes, True), top)
    return v_where_greater(top, v_set(more_than_half(operation)), centre)


cdef inline bint product_panel(
    const Panel *panel, int width, Constants *columns, Operation operation
) noexcept nogil:
    """Whether the slices are plain ones. If not, nothing is written."""
    cdef bint weigh = operation == LOG_SOFTMAX_JVP
    cdef vreal sums, plain
    cdef Products means
    cdef int v
    for v in range(width):
        columns[v].shifts = unshifted()
        columns[v].centre = v_set(0)
        plain = v_set(1)
        if operation == LOG_SOFTMAX_VJP:
            sums = column_signed_sum(panel, v)
        else:
            means = column_means(panel, v, columns[v], operation, weigh)
            if weigh:
                plain = where_adds_up(panel.all, means.weights, operation)
            if any_lane_greater(means.top, more_than_half(operation)):
                columns[v].centre = column_centre(panel, v, means.top, operation)
                means = column_means(panel, v, columns[v], operation, True)
                plain = where_adds_up(panel.all, means.weights, operation)
                if not weigh:
                    # In lanes whose centre is 0 it makes no difference what y adds up to.
                    plain = v_max(plain, v_where_equal(columns[v].centre, v_set(0), v_set(1)))
            sums = means.sum_
        columns[v].plain = v_mul(plain, in_range(columns[v].centre, sums))
        set_sums(&columns[v], sums, operation)
        set_scales(&columns[v], <real> panel.all.scale, operation)
    if not are_plain(columns, width, panel.slices):
        for v in range(width):
            columns[v].plain = v_set(0)
        return False
    if with_scale(panel.all, operation) != operation:
        columns_finish(panel, width, True, columns, SCALED_SOFTMAX_PRODUCT, False)
    else:
        columns_finish(panel, width, True, columns, operation, False)
    return True
