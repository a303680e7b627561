# log_softmax and logsumexp: formulas/logarithm.pxi says how.

cdef void write_log_softmax(
    const Slice *s, Py_ssize_t start, Py_ssize_t end, const LogSum *sum_, char *scratch
) noexcept nogil:
    """The last pass, over whole blocks."""
    cdef Py_ssize_t count
    cdef const char *block
    cdef char *target
    cdef bint stream
    cdef Constants constants = make_log_constants(sum_.top, sum_.over, <real> s.all.scale)
    while start < end:
        count = count_block(start, end)
        block = fetch(s, start, count, scratch)
        target = find_room(s, start, scratch)
        stream = s.all.stream and target != scratch
        finish(block, NULL, target, count, &constants, LOG_SOFTMAX, stream)
        deliver(s, start, count, scratch, -INFINITY)
        start += count


cdef void log_softmax_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef LogSum sum_ = find_log_sum(s, NULL, keep_no_units(), scratch)
    if has_softmax(sum_.top) and is_number(sum_.over):
        write_log_softmax(s, 0, s.all.length, &sum_, scratch)
    else:
        deliver_value(s, 0, s.all.length, scratch, NAN, -INFINITY)


cdef inline void write_log_sum(const Slices *slices, char *out, const LogSum *sum_) noexcept nogil:
    write_result(product_plus_total(sum_.top, <real> slices.scale, sum_.over), out, slices.out_elements.kind)


cdef void logsumexp_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef LogSum sum_ = find_log_sum(s, NULL, keep_no_units(), scratch)
    if has_softmax(sum_.top):
        write_log_sum(s.all, s.out, &sum_)
    else:
        write_result(
            sum_.top * <real> s.all.scale if is_number(sum_.over) else NAN, s.out, s.all.out_elements.kind)


cdef inline totals find_group_others(
    const totals *sums, const char *x, Py_ssize_t next_, Py_ssize_t count, Py_ssize_t length, const Shifts *shifts,
    vreal tops,
) noexcept nogil:
    """What find_log_sum calls others, of `count` slices of a block each."""
    cdef Exponential largest = exp_shifted(tops, shifts[0], False)
    cdef totals others = find_others_of_each(sums, largest)
    cdef vreal lost = recover_rounding(largest)
    cdef Py_ssize_t i
    cdef total below
    cdef Shifts one
    for i in range(count):
        if totals_at(&others, i).hi < FEW_OTHERS:
            one = spread_lane(shifts, i)
            below = sum_below_top(x + i * next_, length, &one, v_lane(&tops, i))
            totals_set(
                &others, i, total_over(below, <double> v_lane(&largest.value, i) + v_lane(&lost, i)))
    return others


cdef struct LogGroups:
    bint one_result
    GroupTerms terms
    totals overs


cdef inline void add_up_log_group(
    const Slices *slices, const Group *group, Operation operation, void *own
) noexcept nogil:
    cdef LogGroups *groups = <LogGroups *> own
    cdef totals others
    add_group_terms(&groups.terms, slices, group, EXPONENTIALS_ALONE, False, NULL)
    others = find_group_others(
        &groups.terms.sums, group.x, slices.x_next, group.count, slices.length, &group.shifts, v_load(group.tops))
    groups.overs = totals_log1p(&others)


cdef inline void finish_log_in_group(
    const Slices *slices, const Group *group, Py_ssize_t i, Operation operation, void *own
) noexcept nogil:
    cdef LogGroups *groups = <LogGroups *> own
    cdef char *out = group.out + i * slices.out_next
    cdef total over = totals_at(&groups.overs, i)
    cdef real scale = <real> slices.scale
    cdef Slice s
    cdef Constants constants
    if not (has_softmax(group.tops[i]) and is_number(over)):
        s = take_slice(slices, group.first + i)
        if groups.one_result:
            logsumexp_slice(&s, groups.terms.scratch)
        else:
            log_softmax_slice(&s, groups.terms.scratch)
    elif groups.one_result:
        write_result(product_plus_total(group.tops[i], scale, over), out, slices.out_elements.kind)
    else:
        constants = make_log_constants(group.tops[i], over, scale)
        finish_short(group.x + i * slices.x_next, NULL, out, slices.length, &constants, operation, slices.stream)


cdef void log_groups(const Slices *slices, char *scratch, bint one_result) noexcept nogil:
    cdef LogGroups groups
    groups.one_result = one_result
    start_group_terms(&groups.terms, slices, scratch, False)
    walk_groups(slices, BLOCK_BYTES, LOG_SOFTMAX, add_up_log_group, finish_log_in_group, &groups)


cdef totals find_others_beside(const Panel *panel, int v, const Constants *c, const totals *sums) noexcept nogil:
    """What find_log_sum calls others, of the slices in vector v, whose sums are known."""
    cdef Exponential largest = exp_shifted(c.top, c.shifts, False)
    cdef totals others = find_others_of_each(sums, largest), below
    cdef Py_ssize_t lane
    if any_total_below(&others, FEW_OTHERS):
        below = sum_column_below_top(panel, v, c)
        below = totals_over(&below, largest.value, recover_rounding(largest))
        for lane in range(LANES):
            if totals_at(&others, lane).hi < FEW_OTHERS:
                totals_set(&others, lane, totals_at(&below, lane))
    return others


cdef inline totals find_column_others(
    const Panel *panel, int v, bint whole, const Constants *c, bint unscaled
) noexcept nogil:
    cdef totals sums
    if unscaled:
        sums = sum_unscaled_column(panel, v, c)
    else:
        sums = sum_column(panel, v, whole, c)
    return find_others_beside(panel, v, c, &sums)


cdef inline void log_panel(
    const Panel *panel, int width, bint whole, Constants *columns, real scale
) noexcept nogil:
    cdef bint unscaled = whole and are_unscaled(columns, width, scale)    # a few slices need no loop of their own
    cdef totals logs
    cdef real[MOST_LANES] result
    cdef Py_ssize_t lane
    cdef int v
    for v in range(width):
        logs = find_column_others(panel, v, whole, &columns[v], unscaled)
        logs = totals_log1p(&logs)
        columns[v].over = totals_rounded(&logs)
        columns[v].ordinary = mark_numbers(columns[v].over, columns[v].top)
        if panel.one_result:
            for lane in range(panel.lanes):
                result[lane] = product_plus_total(
                    v_lane(&columns[v].top, lane), scale, totals_at(&logs, lane))
            memcpy(panel.out + v * LANES * <Py_ssize_t> sizeof(real), result, panel.lanes * sizeof(real))
    if not panel.one_result:
        finish_columns(panel, width, whole, columns, LOG_SOFTMAX, False)


cdef bint log_long_panel(const Panel *panel, int width, bint whole, Constants *columns, real scale) noexcept nogil:
    """Of slices of several blocks."""
    cdef LogSum[MOST_LANES] sums
    cdef totals logs = totals_start()
    cdef real[MOST_LANES] tops
    cdef Panel one
    cdef Py_ssize_t lane
    cdef int v
    for lane in range(LANES):
        tops[lane] = 0
    for v in range(width):
        one = take_vector(panel, v)
        columns[v].ordinary = sum_long_columns(&one, whole, scale, NULL, sums)
        for lane in range(panel.lanes):
            if v_lane(&columns[v].ordinary, lane) == 0:
                continue
            if panel.one_result:
                write_result(
                    product_plus_total(sums[lane].top, scale, sums[lane].over),
                    one.out + lane * <Py_ssize_t> sizeof(real), KIND_REAL)
            totals_set(&logs, lane, sums[lane].over)
            tops[lane] = sums[lane].top
        if not panel.one_result:
            columns[v].scale = scale
            columns[v].top = v_load(tops)
            columns[v].over = totals_rounded(&logs)
            finish_columns(&one, 1, whole, &columns[v], LOG_SOFTMAX, False)
    return are_ordinary(columns, width, panel.slices)


cdef bint log_whole_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    if panel.length > block_length():
        return log_long_panel(panel, width, True, columns, scale)
    start_columns(panel, width, True, columns, scale)
    log_panel(panel, width, True, columns, scale)
    return are_ordinary(columns, width, panel.slices)


cdef bint log_part_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    if panel.length > block_length():
        return log_long_panel(panel, 1, False, columns, scale)
    start_columns(panel, 1, False, columns, scale)
    log_panel(panel, 1, False, columns, scale)
    return are_ordinary(columns, 1, panel.slices)


cdef void log_softmax_one(const Slices *slices, Py_ssize_t i, char *scratch) noexcept nogil:
    cdef Slice s = take_slice(slices, i)
    log_softmax_slice(&s, scratch)


cdef void logsumexp_one(const Slices *slices, Py_ssize_t i, char *scratch) noexcept nogil:
    cdef Slice s = take_slice(slices, i)
    logsumexp_slice(&s, scratch)


cdef bint log_softmax_groups(const Slices *slices, char *scratch) noexcept nogil:
    """False: these are none."""
    if slices.count == 1 or not are_blocks(slices) or not are_contiguous(slices.out_elements):
        return False
    log_groups(slices, scratch, False)
    return True


cdef bint logsumexp_groups(const Slices *slices, char *scratch) noexcept nogil:
    """False: these are none."""
    if slices.count == 1 or not are_blocks(slices):
        return False
    log_groups(slices, scratch, True)
    return True


cdef void log_softmax_slices(const Slices *slices) noexcept nogil:
    cdef Walk walk = Walk(
        kernel=log_softmax_slices, tiles=NULL, longest_tile=LOG_TILES, one_result=False, whole_panel=log_whole_panel,
        part_panel=log_part_panel, after_panel=fill_with_nan, rows=log_softmax_groups,
        slice_=log_softmax_one)
    walk_slices(slices, &walk)


cdef void logsumexp_slices(const Slices *slices) noexcept nogil:
    cdef Walk walk = Walk(
        kernel=logsumexp_slices, tiles=NULL, longest_tile=LOG_TILES, one_result=True, whole_panel=log_whole_panel,
        part_panel=log_part_panel, after_panel=logsumexp_one, rows=logsumexp_groups, slice_=logsumexp_one)
    walk_slices(slices, &walk)


cdef void exponentials_beside_logits_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = take_slice(long_.slices, 0)
    sum_pass(long_, begin, end, find_room_beside_logits(&s))


cdef Pass choose_logarithm_pass(LongSlice *long_) noexcept nogil:
    """Up to HAVE_SUM: then find_long_log_sum is known, and there is none."""
    if long_.step == NOTHING:
        long_.step = ADD_EXPONENTIALS
        return exponentials_beside_logits_pass if long_.plain_index else exponentials_pass
    if not join_exponentials(long_):
        return refuse(long_)
    long_.step = HAVE_SUM
    return NULL


cdef void log_softmax_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = take_slice(long_.slices, 0)
    cdef LogSum sum_ = find_long_log_sum(long_)
    write_log_softmax(&s, begin_block(long_, begin), end_block(long_, end), &sum_, scratch)
    if s.all.stream:
        v_stream_end()


cdef Pass next_log_softmax_pass(LongSlice *long_) noexcept nogil:
    cdef Pass pass_
    if long_.step == HAVE_SUM:
        return NULL
    pass_ = choose_logarithm_pass(long_)
    return log_softmax_pass if long_.step == HAVE_SUM else pass_


cdef Pass next_logsumexp_pass(LongSlice *long_) noexcept nogil:
    cdef Pass pass_ = choose_logarithm_pass(long_)
    cdef LogSum sum_
    if long_.step == HAVE_SUM:
        sum_ = find_long_log_sum(long_)
        write_log_sum(long_.slices, long_.slices.out, &sum_)
    return pass_
