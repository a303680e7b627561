# Slices side by side, for an axis that is not the last: each lane of a vector is a slice of its own.
#
# Design:
# 1. A panel is one or a few vectors of neighbouring slices. Each pass walks down its elements, so a cache line is used
#    whole and nothing is transposed.
# 2. The formulas are those of the rows (exp.pxi, softmax.pxi, log.pxi, products.pxi), with the constants of a slice in
#    the lanes of a vector instead of in all of them.
# 3. The same bits: what a row adds into lane i % LANES, a column adds into sum i % LANES, and `signed_totals` joins the
#    sums as `signed_total` joins the lanes, at the ends of the same blocks.
# 4. A slice out of the ordinary (NaN, no finite maximum) disturbs no other lane. Where the row has a way of its own for
#    it, it is done again, by that.

cdef enum:
    PANEL = 4                   # vectors


cdef struct Panel:
    const char *x
    const char *y               # of kernels of two inputs
    char *out
    Py_ssize_t length
    Py_ssize_t x_step
    Py_ssize_t y_step
    Py_ssize_t out_step
    Py_ssize_t lanes            # that hold a slice, where it is one vector
    Py_ssize_t slices           # from the first of the panel on
    const Slices *all


cdef inline bint side_by_side(const Elements *elements, Py_ssize_t next_) noexcept nogil:
    return elements.kind == KIND_REAL and elements.ndim == 1 and next_ == <Py_ssize_t> sizeof(real)


cdef inline bint are_columns(const Slices *slices, bint one_result) noexcept nogil:
    """Whether the slices can be walked in panels; `one_result` a slice, not an element."""
    return (
        slices.count > 1 and slices.keep == NULL
        and side_by_side(slices.x_elements, slices.x_next)
        and slices.out_elements.kind == KIND_REAL and slices.out_next == <Py_ssize_t> sizeof(real)
        and (one_result or slices.out_elements.ndim == 1)
        and (slices.y == NULL or side_by_side(slices.y_elements, slices.y_next))
    )


cdef inline Panel panel_at(const Slices *slices, Py_ssize_t first, bint one_result) noexcept nogil:
    cdef Panel panel
    cdef Py_ssize_t offset = first * <Py_ssize_t> sizeof(real)
    panel.x = slices.x + offset
    panel.out = slices.out + offset
    panel.y = slices.y + offset if slices.y != NULL else NULL
    panel.length = slices.length
    panel.x_step = slices.x_elements.strides[0]
    panel.y_step = slices.y_elements.strides[0] if slices.y != NULL else 0
    panel.out_step = 0 if one_result else slices.out_elements.strides[0]
    panel.slices = slices.count - first
    panel.lanes = min(panel.slices, LANES)
    panel.all = slices
    return panel


cdef inline vreal load_column(const char *source, Py_ssize_t vector, Py_ssize_t lanes, bint whole) noexcept nogil:
    """`whole` is a constant of the caller: every lane holds a slice."""
    cdef const real *p = <const real *> source + vector * LANES
    return v_load(p) if whole else v_load_first(p, lanes, 0)


cdef inline void store_column(char *target, Py_ssize_t vector, vreal a, Py_ssize_t lanes, bint whole) noexcept nogil:
    cdef real *q = <real *> target + vector * LANES
    if whole:
        v_store(q, a)
    else:
        v_store_first(q, a, lanes)


cdef inline void columns_max(const Panel *panel, int width, bint whole, Constants *columns) noexcept nogil:
    """The largest elements that are not NaN."""
    cdef const char *x
    cdef vreal top, other
    cdef Py_ssize_t i
    cdef int v
    for v in range(width):
        top = other = v_set(-INFINITY)
        x = panel.x
        for i in range(panel.length // 2):
            top = v_max(load_column(x, v, panel.lanes, whole), top)
            other = v_max(load_column(x + panel.x_step, v, panel.lanes, whole), other)
            x += 2 * panel.x_step
        if panel.length % 2:
            top = v_max(load_column(x, v, panel.lanes, whole), top)
        columns[v].top = v_max(top, other)


cdef inline vreal is_number_in(vreal a, vreal top) noexcept nogil:
    """1 in lanes where both are finite, and 0 elsewhere."""
    return v_where_equal(v_sub(top, top), v_sub(a, a), v_set(1))


cdef inline bint any_lane_greater(vreal a, real than) noexcept nogil:
    return v_max_across(a) > than


cdef inline bint all_plain(const Constants *columns, int width, real scale) noexcept nogil:
    """is_plain, of every lane."""
    cdef vreal unequal = v_set(0)
    cdef int v
    for v in range(width):
        unequal = v_max(unequal, v_where_unequal(columns[v].shifts.base, v_set(0), v_set(1)))
    return scale == 1 and v_max_across(unequal) == 0


# ---- sums --------------------------------------------------------------------------------------------------------

cdef inline Reduced reduced_at(
    const Panel *panel, int v, Py_ssize_t i, bint whole, Constants c, bint plain
) noexcept nogil:
    return reduced(load_column(panel.x + i * panel.x_step, v, panel.lanes, whole), c.shifts, plain)


cdef inline vsum with_element(
    vsum s, Reduced r, const Panel *panel, int v, Py_ssize_t i, bint whole, Constants c, TermSum which
) noexcept nogil:
    """Adds element i, of which r is reduced_at."""
    cdef Exponential y = expanded(r, c.shifts)
    cdef vreal x = c.top
    if which == BELOW_TOP:
        x = load_column(panel.x + i * panel.x_step, v, panel.lanes, whole)
    s = with_term(s, y, x, c.top, which)
    if which == EXPONENTIALS:
        store_column(panel.out + i * panel.out_step, v, y.value, panel.lanes, whole)
    return s


cdef inline totals column_terms(
    const Panel *panel, int v, bint whole, Constants c, TermSum which, bint plain
) noexcept nogil:
    """The sums of the exponentials in vector v. `whole`, `which` and `plain` are constants of the caller."""
    cdef vsum[MOST_LANES] terms
    cdef Py_ssize_t start = 0, end, used, i, lane
    cdef totals result = totals_start()
    cdef vsum s0, s1, s2, s3
    cdef Reduced r0, r1, r2, r3
    while start < panel.length:
        end = start + block_at(start, panel.length)
        used = min(LANES, end - start)
        # Four exponentials under way at a time, in two stages, as in terms_loop.
        for lane in range(0, used, 4):
            s0 = s1 = s2 = s3 = no_terms(which)
            i = start + lane
            if i + 3 < end:
                r0 = reduced_at(panel, v, i, whole, c, plain)
                r1 = reduced_at(panel, v, i + 1, whole, c, plain)
                r2 = reduced_at(panel, v, i + 2, whole, c, plain)
                r3 = reduced_at(panel, v, i + 3, whole, c, plain)
                while i + LANES + 3 < end:
                    s0 = with_element(s0, r0, panel, v, i, whole, c, which)
                    r0 = reduced_at(panel, v, i + LANES, whole, c, plain)
                    s1 = with_element(s1, r1, panel, v, i + 1, whole, c, which)
                    r1 = reduced_at(panel, v, i + LANES + 1, whole, c, plain)
                    s2 = with_element(s2, r2, panel, v, i + 2, whole, c, which)
                    r2 = reduced_at(panel, v, i + LANES + 2, whole, c, plain)
                    s3 = with_element(s3, r3, panel, v, i + 3, whole, c, which)
                    r3 = reduced_at(panel, v, i + LANES + 3, whole, c, plain)
                    i += LANES
                s0 = with_element(s0, r0, panel, v, i, whole, c, which)
                s1 = with_element(s1, r1, panel, v, i + 1, whole, c, which)
                s2 = with_element(s2, r2, panel, v, i + 2, whole, c, which)
                s3 = with_element(s3, r3, panel, v, i + 3, whole, c, which)
                i += LANES
            if i < end:
                s0 = with_element(s0, reduced_at(panel, v, i, whole, c, plain), panel, v, i, whole, c, which)
            if i + 1 < end:
                s1 = with_element(s1, reduced_at(panel, v, i + 1, whole, c, plain), panel, v, i + 1, whole, c, which)
            if i + 2 < end:
                s2 = with_element(s2, reduced_at(panel, v, i + 2, whole, c, plain), panel, v, i + 2, whole, c, which)
            terms[lane] = s0
            terms[lane + 1] = s1
            terms[lane + 2] = s2
            terms[lane + 3] = s3
        if which != BELOW_TOP:
            for lane in range(used):
                terms[lane] = vsum_without_seed(terms[lane])
        result = totals_add(result, signed_totals(terms, used))
        start = end
    return result


# Functions, not inline ones: the loops are long, and several places use them.

cdef totals whole_terms_alone(const Panel *panel, int v, const Constants *c) noexcept nogil:
    return column_terms(panel, v, True, c[0], EXPONENTIALS_ALONE, False)


cdef totals partial_terms_alone(const Panel *panel, int v, const Constants *c) noexcept nogil:
    return column_terms(panel, v, False, c[0], EXPONENTIALS_ALONE, False)


cdef totals terms_below_top(const Panel *panel, int v, const Constants *c) noexcept nogil:
    return column_terms(panel, v, False, c[0], BELOW_TOP, False)


cdef inline totals terms_alone(const Panel *panel, int v, bint whole, const Constants *c) noexcept nogil:
    if whole:
        return whole_terms_alone(panel, v, c)
    return partial_terms_alone(panel, v, c)


cdef inline vreal column_signed_sum(const Panel *panel, int v, bint whole) noexcept nogil:
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
                s = signed_add(s, load_column(panel.x + i * panel.x_step, v, panel.lanes, whole))
                i += LANES
            terms[lane] = s
        result = totals_add(result, signed_totals(terms, used))
        start = end
    return totals_rounded(&result)


cdef inline Products with_product_at(
    Products s, const Panel *panel, int v, Py_ssize_t i, bint whole, Constants c, Operation operation, bint weigh
) noexcept nogil:
    return with_product(
        s, load_column(panel.x + i * panel.x_step, v, panel.lanes, whole),
        load_column(panel.y + i * panel.y_step, v, panel.lanes, whole), c.centre, c.shifts, operation, weigh)


cdef inline Products column_block_products(
    const Panel *panel, int v, Py_ssize_t start, Py_ssize_t end, bint whole, Constants c, Operation operation,
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
            p0 = with_product_at(p0, panel, v, i, whole, c, operation, weigh)
            p1 = with_product_at(p1, panel, v, i + LANES, whole, c, operation, weigh)
            p2 = with_product_at(p2, panel, v, i + 2 * LANES, whole, c, operation, weigh)
            p3 = with_product_at(p3, panel, v, i + 3 * LANES, whole, c, operation, weigh)
            i += 4 * LANES
        if i < end:
            p0 = with_product_at(p0, panel, v, i, whole, c, operation, weigh)
        if i + LANES < end:
            p1 = with_product_at(p1, panel, v, i + LANES, whole, c, operation, weigh)
        if i + 2 * LANES < end:
            p2 = with_product_at(p2, panel, v, i + 2 * LANES, whole, c, operation, weigh)
        p0 = four_products(p0, p1, p2, p3)
        sums[lane] = p0.sum_
        weights[lane] = p0.weights
        all_.top = v_max(all_.top, p0.top)
    all_.sum_ = lanes_added(sums)
    if weigh:
        all_.weights = lanes_added(weights)
    return all_


cdef inline Products column_means(
    const Panel *panel, int v, bint whole, Constants c, Operation operation, bint weigh
) noexcept nogil:
    """mean_of; sum_ is the ratio for LOG_SOFTMAX_JVP."""
    cdef Py_ssize_t start = 0, end
    cdef Products s, means
    cdef totals sums, weights
    means.top = v_set(-INFINITY)
    while True:
        end = start + terms_at(start, panel.length)
        s = column_block_products(panel, v, start, end, whole, c, operation, weigh)
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


cdef inline vreal column_centre(const Panel *panel, int v, bint whole, vreal top, Operation operation) noexcept nogil:
    """centre_at, where a class has more than half, and elsewhere 0."""
    cdef vreal centre = v_set(-INFINITY)
    cdef Py_ssize_t i
    for i in range(panel.length):
        centre = centre_so_far(
            centre, load_column(panel.x + i * panel.x_step, v, panel.lanes, whole),
            load_column(panel.y + i * panel.y_step, v, panel.lanes, whole), top)
    return v_where_greater(top, v_set(more_than_half(operation)), centre)


# ---- operations --------------------------------------------------------------------------------------------------

cdef inline void columns_finish(
    const Panel *panel, int width, bint whole, const Constants *columns, Operation operation, bint kept
) noexcept nogil:
    """The last pass: a result an element, from what is kept in out, or from x."""
    cdef const char *x = panel.x
    cdef const char *y = panel.y
    cdef char *out = panel.out
    cdef Py_ssize_t step = panel.x_step, i
    cdef vreal a, b = v_set(0)
    cdef int v
    if kept:
        x = panel.out
        step = panel.out_step
    for i in range(panel.length):
        for v in range(width):
            a = load_column(x, v, panel.lanes, whole)
            if is_product(operation):
                b = load_column(y, v, panel.lanes, whole)
            a = result_of(a, b, &columns[v], operation, kept)
            if operation == LOG_SOFTMAX_VJP:
                a = v_one_nan(a)
            store_column(out, v, a, panel.lanes, whole)
        x += step
        y += panel.y_step
        out += panel.out_step


cdef inline void softmax_panel(
    const Panel *panel, int width, bint whole, Constants *columns, real scale
) noexcept nogil:
    # Slices that do not fill a vector have one loop, not two.
    cdef bint keep = whole and all_plain(columns, width, scale)
    cdef totals sums
    cdef int v
    for v in range(width):
        if keep:
            sums = column_terms(panel, v, whole, columns[v], EXPONENTIALS, True)
        else:
            sums = terms_alone(panel, v, whole, &columns[v])
        columns[v].r = totals_reciprocals(&sums)
        columns[v].plain = is_number_in(columns[v].r.hi, columns[v].top)
    if keep:
        columns_finish(panel, width, whole, columns, SOFTMAX, True)
    else:
        columns_finish(panel, width, whole, columns, SOFTMAX, False)


cdef inline totals others_beside(const Panel *panel, int v, const Constants *c, const totals *sums) noexcept nogil:
    """What log_sum calls others, of the slices in vector v, whose sums are known."""
    cdef Exponential largest = exp_shifted(c.top, c.shifts, False)
    cdef totals others = others_of_each(sums, largest), below
    cdef Py_ssize_t lane
    if any_total_below(&others, FEW_OTHERS):
        below = terms_below_top(panel, v, c)
        below = totals_over(&below, largest.value, lost_by(largest))
        for lane in range(LANES):
            if totals_at(&others, lane).hi < FEW_OTHERS:
                totals_set(&others, lane, totals_at(&below, lane))
    return others


cdef inline totals column_others(
    const Panel *panel, int v, bint whole, const Constants *c, bint plain
) noexcept nogil:
    cdef totals sums
    if plain:
        sums = column_terms(panel, v, True, c[0], EXPONENTIALS_ALONE, True)
    else:
        sums = terms_alone(panel, v, whole, c)
    return others_beside(panel, v, c, &sums)


cdef inline void log_panel(
    const Panel *panel, int width, bint whole, Constants *columns, real scale, bint one_result
) noexcept nogil:
    cdef bint plain = whole and all_plain(columns, width, scale)    # a few slices need no loop of their own
    cdef totals logs
    cdef real[MOST_LANES] result
    cdef Py_ssize_t lane
    cdef int v
    for v in range(width):
        logs = column_others(panel, v, whole, &columns[v], plain)
        logs = totals_log1p(&logs)
        columns[v].over = totals_rounded(&logs)
        columns[v].plain = is_number_in(columns[v].over, columns[v].top)
        if one_result:
            for lane in range(panel.lanes):
                result[lane] = product_plus_total(
                    v_lane(&columns[v].top, lane), scale, totals_at(&logs, lane))
            memcpy(panel.out + v * LANES * <Py_ssize_t> sizeof(real), result, panel.lanes * sizeof(real))
    if not one_result:
        columns_finish(panel, width, whole, columns, LOG_SOFTMAX, False)


cdef inline bint product_panel(
    const Panel *panel, int width, bint whole, Constants *columns, Operation operation
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
            sums = column_signed_sum(panel, v, whole)
        else:
            means = column_means(panel, v, whole, columns[v], operation, weigh)
            if weigh:
                plain = where_adds_up(panel.all, means.weights, operation)
            if any_lane_greater(means.top, more_than_half(operation)):
                columns[v].centre = column_centre(panel, v, whole, means.top, operation)
                means = column_means(panel, v, whole, columns[v], operation, True)
                plain = where_adds_up(panel.all, means.weights, operation)
                if not weigh:
                    # In lanes whose centre is 0 it makes no difference what y adds up to.
                    plain = v_max(plain, v_where_equal(columns[v].centre, v_set(0), v_set(1)))
            sums = means.sum_
        columns[v].plain = v_mul(plain, in_range(columns[v].centre, sums))
        set_sums(&columns[v], sums, operation)
        set_scales(&columns[v], <real> panel.all.scale, operation)
    if not are_plain(columns, width, panel.slices):
        return False
    if with_scale(panel.all, operation) != operation:
        columns_finish(panel, width, whole, columns, SCALED_SOFTMAX_PRODUCT, False)
    else:
        columns_finish(panel, width, whole, columns, operation, False)
    return True


cdef bint are_plain(const Constants *columns, int width, Py_ssize_t count) noexcept nogil:
    """Whether `plain` is 1 for the first `count` slices."""
    cdef Py_ssize_t lane
    cdef int v
    for v in range(width):
        if not v_all_equal(columns[v].plain, v_set(1)):
            # Lanes without a slice hold anything.
            for lane in range(min(LANES, count - v * LANES)):
                if v_lane(&columns[v].plain, lane) != 1:
                    return False
    return True


cdef inline bint any_panel(
    const Panel *panel, int width, bint whole, Constants *columns, real scale, Operation operation
) noexcept nogil:
    """Whether all slices are done. `whole` is a constant of the caller."""
    cdef int v
    for v in range(width):
        columns[v].scale = scale
    if not whole and is_product(operation):
        # A few slices: the row's way takes longer, but this would take as much code as whole panels.
        return False
    if operation == SOFTMAX_PRODUCT:
        return product_panel(panel, width, whole, columns, SOFTMAX_PRODUCT)
    if operation == LOG_SOFTMAX_VJP:
        return product_panel(panel, width, whole, columns, LOG_SOFTMAX_VJP)
    if operation == LOG_SOFTMAX_JVP:
        return product_panel(panel, width, whole, columns, LOG_SOFTMAX_JVP)
    columns_max(panel, width, whole, columns)
    for v in range(width):
        columns[v].shifts = shifts_to(columns[v].top, scale)
    if operation == SOFTMAX:
        softmax_panel(panel, width, whole, columns, scale)
    else:
        log_panel(panel, width, whole, columns, scale, operation == LOGSUMEXP)
    return are_plain(columns, width, panel.slices)


cdef bint whole_panel(
    const Panel *panel, int width, Constants *columns, real scale, Operation operation
) noexcept nogil:
    return any_panel(panel, width, True, columns, scale, operation)


cdef bint partial_panel(const Panel *panel, Constants *columns, real scale, Operation operation) noexcept nogil:
    return any_panel(panel, 1, False, columns, scale, operation)


cdef void do_panel(
    const Slices *slices, Py_ssize_t first, int width, bint whole, char *scratch, Operation operation
) noexcept nogil:
    """The slices of `width` vectors, from slice `first` on, and then again those out of the ordinary."""
    cdef Panel panel = panel_at(slices, first, operation == LOGSUMEXP)
    cdef Constants[PANEL] columns
    cdef Slice s
    cdef Py_ssize_t lane
    if (
        whole_panel(&panel, width, columns, slices.scale, operation) if whole
        else partial_panel(&panel, columns, slices.scale, operation)
    ):
        return
    for lane in range(min(panel.slices, width * LANES)):
        if is_product(operation):
            any_product_slice(slices, first + lane, thread_buffer(SPARE_BUFFER), operation)
        elif v_lane(&columns[lane // LANES].plain, lane % LANES) == 0:
            s = slice_at(slices, first + lane)
            if operation == LOGSUMEXP:
                logsumexp_slice(&s, scratch)
            else:
                deliver_value(&s, 0, slices.length, scratch, NAN, 0)


cdef void in_panels(const Slices *slices, char *scratch, Operation operation) noexcept nogil:
    """Slices that are_columns."""
    cdef Py_ssize_t first = 0
    cdef int width
    while slices.count - first >= LANES:
        width = <int> min((slices.count - first) // LANES, <Py_ssize_t> PANEL)
        do_panel(slices, first, width, True, scratch, operation)
        first += width * LANES
    if first < slices.count:
        do_panel(slices, first, 1, False, scratch, operation)
