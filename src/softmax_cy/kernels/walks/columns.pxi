# Slices side by side, for an axis that is not the last: each lane of a vector is a slice of its own.
#
# Design:
# 1. A panel is one or a few vectors of neighbouring slices. Each pass walks down its elements, so a cache line is used
#    whole and nothing is transposed.
# 2. The formulas are those of the rows (the formulas), with the constants of a slice in
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
    bint one_result             # a slice, not an element
    const Slices *all


cdef inline Panel take_panel(const Slices *slices, Py_ssize_t first, bint one_result) noexcept nogil:
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
    panel.one_result = one_result
    panel.all = slices
    return panel


cdef inline vreal load_column(const char *source, Py_ssize_t vector, Py_ssize_t lanes, bint whole) noexcept nogil:
    """`whole` must be a compile-time constant: every lane holds a slice."""
    cdef const real *p = <const real *> source + vector * LANES
    return v_load(p) if whole else v_load_first(p, lanes, 0)


cdef inline void store_column(char *target, Py_ssize_t vector, vreal a, Py_ssize_t lanes, bint whole) noexcept nogil:
    cdef real *q = <real *> target + vector * LANES
    if whole:
        v_store(q, a)
    else:
        v_store_first(q, a, lanes)


cdef inline void find_columns_max(const Panel *panel, int width, bint whole, Constants *columns) noexcept nogil:
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


cdef inline vreal mark_numbers(vreal a, vreal top) noexcept nogil:
    """1 in lanes where both are finite, and 0 elsewhere."""
    return v_where_equal(v_sub(top, top), v_sub(a, a), v_set(1))


cdef inline bint any_lane_greater(vreal a, real than) noexcept nogil:
    return v_max_across(a) > than


cdef inline bint are_unscaled(const Constants *columns, int width, real scale) noexcept nogil:
    """is_unscaled, in every lane."""
    cdef vreal unequal = v_set(0)
    cdef int v
    for v in range(width):
        unequal = v_max(unequal, v_where_unequal(columns[v].shifts.base, v_set(0), v_set(1)))
    return scale == 1 and v_max_across(unequal) == 0


cdef inline Reduced reduce_column(
    const Panel *panel, int v, Py_ssize_t i, bint whole, Constants c, bint unscaled
) noexcept nogil:
    return reduce_argument(load_column(panel.x + i * panel.x_step, v, panel.lanes, whole), c.shifts, unscaled)


cdef inline vsum add_column_term(
    vsum s, Reduced r, const Panel *panel, int v, Py_ssize_t i, bint whole, Constants c, TermSum which
) noexcept nogil:
    """Adds element i, of which r is reduce_column."""
    cdef Exponential y = expand(r, c.shifts)
    cdef vreal x = c.top
    if which == BELOW_TOP:
        x = load_column(panel.x + i * panel.x_step, v, panel.lanes, whole)
    s = add_term(s, y, x, c.top, which)
    if which == EXPONENTIALS:
        store_column(panel.out + i * panel.out_step, v, y.value, panel.lanes, whole)
    return s


cdef inline totals sum_column_terms(
    const Panel *panel, int v, bint whole, Constants c, TermSum which, bint unscaled
) noexcept nogil:
    """The sums of the exponentials in vector v, of a block at most.

    `whole`, `which` and `unscaled` must be compile-time constants.
    """
    cdef vsum[MOST_LANES] terms
    cdef Py_ssize_t end = panel.length, used = min(LANES, panel.length), i, lane
    cdef vsum s0, s1, s2, s3
    cdef Reduced r0, r1, r2, r3
    # Four exponentials under way at a time, in two stages, as in add_terms.
    for lane in range(0, used, 4):
        s0 = s1 = s2 = s3 = start_terms(which)
        i = lane
        if i + 3 < end:
            r0 = reduce_column(panel, v, i, whole, c, unscaled)
            r1 = reduce_column(panel, v, i + 1, whole, c, unscaled)
            r2 = reduce_column(panel, v, i + 2, whole, c, unscaled)
            r3 = reduce_column(panel, v, i + 3, whole, c, unscaled)
            while i + LANES + 3 < end:
                s0 = add_column_term(s0, r0, panel, v, i, whole, c, which)
                r0 = reduce_column(panel, v, i + LANES, whole, c, unscaled)
                s1 = add_column_term(s1, r1, panel, v, i + 1, whole, c, which)
                r1 = reduce_column(panel, v, i + LANES + 1, whole, c, unscaled)
                s2 = add_column_term(s2, r2, panel, v, i + 2, whole, c, which)
                r2 = reduce_column(panel, v, i + LANES + 2, whole, c, unscaled)
                s3 = add_column_term(s3, r3, panel, v, i + 3, whole, c, which)
                r3 = reduce_column(panel, v, i + LANES + 3, whole, c, unscaled)
                i += LANES
            s0 = add_column_term(s0, r0, panel, v, i, whole, c, which)
            s1 = add_column_term(s1, r1, panel, v, i + 1, whole, c, which)
            s2 = add_column_term(s2, r2, panel, v, i + 2, whole, c, which)
            s3 = add_column_term(s3, r3, panel, v, i + 3, whole, c, which)
            i += LANES
        if i < end:
            r0 = reduce_column(panel, v, i, whole, c, unscaled)
            s0 = add_column_term(s0, r0, panel, v, i, whole, c, which)
        if i + 1 < end:
            r1 = reduce_column(panel, v, i + 1, whole, c, unscaled)
            s1 = add_column_term(s1, r1, panel, v, i + 1, whole, c, which)
        if i + 2 < end:
            r2 = reduce_column(panel, v, i + 2, whole, c, unscaled)
            s2 = add_column_term(s2, r2, panel, v, i + 2, whole, c, which)
        terms[lane] = s0
        terms[lane + 1] = s1
        terms[lane + 2] = s2
        terms[lane + 3] = s3
    if which != BELOW_TOP:
        for lane in range(used):
            terms[lane] = vsum_without_seed(terms[lane])
    return signed_totals(terms, used)


# Functions, not inline ones: the loops are long, and several places use them.


cdef totals sum_whole_column(const Panel *panel, int v, const Constants *c) noexcept nogil:
    return sum_column_terms(panel, v, True, c[0], EXPONENTIALS_ALONE, False)


cdef totals sum_unscaled_column(const Panel *panel, int v, const Constants *c) noexcept nogil:
    """Of whole vectors that are_unscaled."""
    return sum_column_terms(panel, v, True, c[0], EXPONENTIALS_ALONE, True)


cdef totals keep_whole_column(const Panel *panel, int v, const Constants *c) noexcept nogil:
    """sum_whole_column, whose exponentials are left in the result."""
    return sum_column_terms(panel, v, True, c[0], EXPONENTIALS, False)


cdef totals sum_part_column(const Panel *panel, int v, const Constants *c) noexcept nogil:
    return sum_column_terms(panel, v, False, c[0], EXPONENTIALS_ALONE, False)


cdef totals sum_column_below_top(const Panel *panel, int v, const Constants *c) noexcept nogil:
    return sum_column_terms(panel, v, False, c[0], BELOW_TOP, False)


cdef inline totals sum_column(const Panel *panel, int v, bint whole, const Constants *c) noexcept nogil:
    if whole:
        return sum_whole_column(panel, v, c)
    return sum_part_column(panel, v, c)


cdef inline void finish_columns(
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
            a = finish_element(a, b, &columns[v], operation, kept)
            if operation == LOG_SOFTMAX_VJP:
                a = v_one_nan(a)
            store_column(out, v, a, panel.lanes, whole)
        x += step
        y += panel.y_step
        out += panel.out_step


cdef bint are_ordinary(const Constants *columns, int width, Py_ssize_t count) noexcept nogil:
    """Whether `ordinary` is 1 for the first `count` slices."""
    cdef Py_ssize_t lane
    cdef int v
    for v in range(width):
        if not v_all_equal(columns[v].ordinary, v_set(1)):
            # Lanes without a slice hold anything.
            for lane in range(min(LANES, count - v * LANES)):
                if v_lane(&columns[v].ordinary, lane) != 1:
                    return False
    return True


cdef inline void start_columns(
    const Panel *panel, int width, bint whole, Constants *columns, real scale
) noexcept nogil:
    """The first pass: the largest elements, and the shifts that follow from them."""
    cdef int v
    find_columns_max(panel, width, whole, columns)
    for v in range(width):
        columns[v].scale = scale
        columns[v].shifts = find_shifts(columns[v].top, scale)
