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
    MOST_LANES = 16


cdef struct Panel:
    const char *x
    const char *y               # of kernels of two inputs
    char *out
    Py_ssize_t length
    Py_ssize_t x_step
    Py_ssize_t y_step
    Py_ssize_t out_step
    Py_ssize_t lanes            # that hold a slice, where it is one vector


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
    panel.lanes = min(slices.count - first, LANES)
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


cdef struct Column:
    # The constants of the slices in one vector.
    vreal top
    Shifts shifts
    reciprocals r           # softmax
    vreal over              # log_softmax: log sum exp less scale * top
    vreal centre            # products
    vreal sum_


cdef inline void columns_max(const Panel *panel, int width, bint whole, Column *columns) noexcept nogil:
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


cdef inline bint all_plain(const Column *columns, int width) noexcept nogil:
    cdef vreal unequal = v_set(0)
    cdef int v
    for v in range(width):
        unequal = v_max(unequal, v_where_unequal(columns[v].shifts.base, v_set(0), v_set(1)))
    return columns[0].shifts.scale == 1 and v_max_across(unequal) == 0


# ---- sums --------------------------------------------------------------------------------------------------------

cdef enum ColumnSum:
    EXPONENTIALS            # and they are kept in out
    EXPONENTIALS_ALONE
    EXPONENTIALS_BELOW_TOP  # and how many are not below
    PRODUCT_TERMS


cdef inline void columns_sum(
    const Panel *panel, int width, bint whole, const Column *columns, ColumnSum which, Product product, bint plain,
    totals *sums, totals *ties,
) noexcept nogil:
    """`whole`, `which`, `product` and `plain` are constants of the caller."""
    cdef vsum[MOST_LANES * PANEL] terms
    cdef vreal[PANEL] equal
    cdef vsum *s
    cdef const char *x = panel.x
    cdef const char *y = panel.y
    cdef char *e = panel.out
    cdef bint seeded = which == EXPONENTIALS or which == EXPONENTIALS_ALONE
    cdef Py_ssize_t start = 0, count, i, l
    cdef Exponential a
    cdef Rest rest
    cdef vreal one
    cdef int v
    for v in range(width):
        sums[v] = totals_start()
        if which == EXPONENTIALS_BELOW_TOP:
            ties[v] = totals_start()
    while start < panel.length:
        count = half_block_at(start, panel.length) if which == PRODUCT_TERMS else block_at(start, panel.length)
        for i in range(width * LANES):
            terms[i] = vsum_start() if seeded else signed_start()
        for v in range(width):
            equal[v] = v_set(0)
        for i in range(count):
            s = terms + i % LANES
            for v in range(width):
                one = load_column(x, v, panel.lanes, whole)
                if which == PRODUCT_TERMS:
                    s[v * LANES] = signed_add(s[v * LANES], summand(
                        one, load_column(y, v, panel.lanes, whole), columns[v].centre, columns[v].shifts, product))
                elif which == EXPONENTIALS_BELOW_TOP:
                    rest.sum = s[v * LANES]
                    rest.ties = equal[v]
                    rest = rest_with(rest, one, columns[v].shifts, columns[v].top, plain)
                    s[v * LANES] = rest.sum
                    equal[v] = rest.ties
                else:
                    a = exp_shifted(one, columns[v].shifts, plain)
                    if which == EXPONENTIALS:
                        store_column(e, v, a.value, panel.lanes, whole)
                    s[v * LANES] = vsum_add(s[v * LANES], a.value, a.power, a.small, a.large)
            x += panel.x_step
            y += panel.y_step
            e += panel.out_step
        for v in range(width):
            if seeded:
                for l in range(LANES):
                    terms[v * LANES + l] = vsum_without_seed(terms[v * LANES + l])
            sums[v] = totals_add(sums[v], signed_totals(terms + v * LANES))
            if which == EXPONENTIALS_BELOW_TOP:
                ties[v] = totals_add(ties[v], totals_of(equal[v]))
        start += count


# ---- operations --------------------------------------------------------------------------------------------------

cdef enum ColumnOperation:
    SOFTMAX_COLUMNS
    LOG_SOFTMAX_COLUMNS
    LOGSUMEXP_COLUMNS
    PRODUCT_COLUMNS


cdef inline vreal column_result(
    vreal x, vreal y, const Column *c, real scale, ColumnOperation operation, Product product, bint kept
) noexcept nogil:
    if operation == SOFTMAX_COLUMNS:
        return finished(x, c.shifts, c.r, kept)
    if operation == LOG_SOFTMAX_COLUMNS:
        return log_quotient(x, c.top, c.over, scale)
    return product_of(x, y, c.centre, c.sum_, scale, c.shifts, product)


cdef inline void columns_finish(
    const Panel *panel, int width, bint whole, const Column *columns, real scale, ColumnOperation operation,
    Product product, bint kept,
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
            if operation == PRODUCT_COLUMNS:
                b = load_column(y, v, panel.lanes, whole)
            a = column_result(a, b, &columns[v], scale, operation, product, kept)
            store_column(out, v, a, panel.lanes, whole)
        x += step
        y += panel.y_step
        out += panel.out_step


cdef inline void softmax_panel(
    const Slices *slices, const Panel *panel, int width, bint whole, Column *columns
) noexcept nogil:
    cdef bint keep = panel.length * width * LANES * <Py_ssize_t> sizeof(real) <= KEPT_IN_OUT_BYTES
    cdef totals[PANEL] sums
    cdef int v
    if not all_plain(columns, width):
        columns_sum(panel, width, whole, columns, EXPONENTIALS_ALONE, SOFTMAX_PRODUCT, False, sums, NULL)
        keep = False
    elif keep:
        columns_sum(panel, width, whole, columns, EXPONENTIALS, SOFTMAX_PRODUCT, True, sums, NULL)
    else:
        columns_sum(panel, width, whole, columns, EXPONENTIALS_ALONE, SOFTMAX_PRODUCT, True, sums, NULL)
    for v in range(width):
        columns[v].r = totals_reciprocals(&sums[v])
    if keep:
        columns_finish(panel, width, whole, columns, slices.scale, SOFTMAX_COLUMNS, SOFTMAX_PRODUCT, True)
    else:
        columns_finish(panel, width, whole, columns, slices.scale, SOFTMAX_COLUMNS, SOFTMAX_PRODUCT, False)


cdef inline void log_panel(
    const Slices *slices, const Panel *panel, int width, bint whole, Column *columns, bint log_softmax_
) noexcept nogil:
    cdef totals[PANEL] sums, ties
    cdef vreal[PANEL] largest
    cdef real[MOST_LANES] result
    cdef LogSum sum_
    cdef Py_ssize_t l
    cdef real top
    cdef int v
    if all_plain(columns, width):
        columns_sum(panel, width, whole, columns, EXPONENTIALS_BELOW_TOP, SOFTMAX_PRODUCT, True, sums, ties)
    else:
        columns_sum(panel, width, whole, columns, EXPONENTIALS_BELOW_TOP, SOFTMAX_PRODUCT, False, sums, ties)
    for v in range(width):
        largest[v] = exp_shifted(columns[v].top, columns[v].shifts, False).value
        for l in range(panel.lanes):
            top = v_lane(&columns[v].top, l)
            result[l] = 0
            if has_softmax(top):
                sum_ = log_sum_of(top, totals_at(&ties[v], l).hi, totals_at(&sums[v], l), v_lane(&largest[v], l))
                if log_softmax_:
                    result[l] = <real> (sum_.over.hi + sum_.over.lo)
                else:
                    result[l] = product_plus_total(top, <real> slices.scale, sum_.over)
        if log_softmax_:
            columns[v].over = v_load_first(result, panel.lanes, 0)
        else:
            memcpy(panel.out + v * LANES * <Py_ssize_t> sizeof(real), result, panel.lanes * sizeof(real))
    if log_softmax_:
        columns_finish(panel, width, whole, columns, slices.scale, LOG_SOFTMAX_COLUMNS, SOFTMAX_PRODUCT, False)


cdef inline void product_panel(
    const Slices *slices, const Panel *panel, int width, bint whole, Column *columns, Product product
) noexcept nogil:
    cdef totals[PANEL] sums
    cdef int v
    for v in range(width):
        columns[v].shifts = unshifted()
        columns[v].centre = v_set(0)
    if product != LOG_SOFTMAX_VJP:
        columns_sum(panel, width, whole, columns, PRODUCT_TERMS, product, True, sums, NULL)
        for v in range(width):
            columns[v].centre = totals_rounded(&sums[v])
    columns_sum(panel, width, whole, columns, PRODUCT_TERMS, product, True, sums, NULL)
    for v in range(width):
        columns[v].sum_ = totals_rounded(&sums[v])
    columns_finish(panel, width, whole, columns, slices.scale, PRODUCT_COLUMNS, product, False)


cdef inline void do_panel(
    const Slices *slices, Py_ssize_t first, int width, bint whole, char *scratch, ColumnOperation operation,
    Product product,
) noexcept nogil:
    cdef Panel panel = panel_at(slices, first, operation == LOGSUMEXP_COLUMNS)
    cdef Column[PANEL] columns
    cdef Slice s
    cdef Py_ssize_t l
    cdef int v
    if operation == PRODUCT_COLUMNS:
        product_panel(slices, &panel, width, whole, columns, product)
        return
    columns_max(&panel, width, whole, columns)
    for v in range(width):
        columns[v].shifts = shifts_to(columns[v].top, slices.scale)
    if operation == SOFTMAX_COLUMNS:
        softmax_panel(slices, &panel, width, whole, columns)
    else:
        log_panel(slices, &panel, width, whole, columns, operation == LOG_SOFTMAX_COLUMNS)
    for v in range(width):
        for l in range(panel.lanes):
            if not has_softmax(v_lane(&columns[v].top, l)):
                s = slice_at(slices, first + v * LANES + l)
                if operation == LOGSUMEXP_COLUMNS:
                    logsumexp_slice(&s, scratch)
                else:
                    deliver_value(&s, scratch, NAN, 0)


cdef inline void all_columns(
    const Slices *slices, char *scratch, ColumnOperation operation, Product product
) noexcept nogil:
    cdef Py_ssize_t first = 0
    cdef int width
    while slices.count - first >= LANES:
        width = <int> min((slices.count - first) // LANES, <Py_ssize_t> PANEL)
        do_panel(slices, first, width, True, scratch, operation, product)
        first += width * LANES
    if first < slices.count:
        do_panel(slices, first, 1, False, scratch, operation, product)


cdef void softmax_columns(const Slices *slices, char *scratch) noexcept nogil:
    all_columns(slices, scratch, SOFTMAX_COLUMNS, SOFTMAX_PRODUCT)


cdef void log_softmax_columns(const Slices *slices, char *scratch) noexcept nogil:
    all_columns(slices, scratch, LOG_SOFTMAX_COLUMNS, SOFTMAX_PRODUCT)


cdef void logsumexp_columns(const Slices *slices, char *scratch) noexcept nogil:
    all_columns(slices, scratch, LOGSUMEXP_COLUMNS, SOFTMAX_PRODUCT)
