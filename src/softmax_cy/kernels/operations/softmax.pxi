# softmax of a slice: y_i = exp(x_i) / sum_j exp(x_j).
#
# Design:
# 1. Three passes: the largest element, the exponentials and their sum, the quotients. The exponentials are kept in
#    scratch or in `out` itself, beyond the caches too: storing and loading them takes less time than to compute them
#    again. Where `out` cannot hold them (strides, 16 bits, a mask) the third pass does that. All give the same bits.
# 2. The quotient is a product with 1 / sum in two parts (sums.h): no division in the loop, and hardly more error.
# 3. NaN: v_max skips it in the first pass, exp_shifted keeps it in the second, the sum carries it to every quotient.

cdef void write_softmax(
    const Slice *s, Py_ssize_t start, Py_ssize_t end, const char *kept, Units units, const LogSum *sum_, char *scratch
) noexcept nogil:
    """The third pass, over whole blocks. kept: the exponentials of all elements, or NULL."""
    cdef Py_ssize_t count
    cdef const char *block
    cdef char *target
    cdef bint stream
    cdef BlockUnit unit
    cdef Constants constants
    while start < end:
        count = count_block(start, end)
        unit = find_unit_of_block(s, sum_, units, start, scratch)
        constants.r = prepare_block(s, sum_, &unit, start, count, kept, scratch, &block)
        target = find_room(s, start, scratch)
        stream = s.all.stream and target != scratch and kept == NULL
        finish(block, NULL, target, count, &constants, SOFTMAX, stream)
        deliver(s, start, count, scratch, 0)
        start += count


cdef inline void write_no_softmax(const Slice *s, Py_ssize_t start, Py_ssize_t end, char *scratch) noexcept nogil:
    """Of a slice that has none, because of NaN or infinities, or because nothing is asked for."""
    deliver_value(s, start, end, scratch, NAN if keeps_anything(s) else 0, 0)


cdef LogSum sum_one_block(const Slice *s, char *scratch) noexcept nogil:
    """What softmax needs of a slice of one block, whose exponentials are left in scratch."""
    cdef const char *block
    cdef Shifts shifts
    cdef LogSum sum_ = start_log_sum()
    sum_.top = fetch_block_max(s, 0, s.all.length, scratch, &block)
    sum_.unit.block.top = sum_.top
    sum_.over = total_of(0)
    if has_softmax(sum_.top):
        shifts = find_shifts(v_set(sum_.top), s.all.scale)
        sum_.over = sum_.all_ = sum_exponentials(block, scratch, s.all.length, &shifts)
    return sum_


cdef void softmax_slice(const Slice *s, char *scratch) noexcept nogil:
    """A slice of any length and strides, in blocks."""
    cdef Py_ssize_t length = s.all.length
    cdef char *kept = scratch
    cdef Units units = keep_units(length)
    cdef LogSum sum_
    if length <= block_length():
        sum_ = sum_one_block(s, scratch)
    else:
        # What is kept is in the units of the blocks, which must be known, then, too.
        kept = find_room_for_exponentials(s) if units.first != NULL else NULL
        sum_ = find_long_sum(s, kept, units, scratch)
    if has_softmax(sum_.top) and is_number(sum_.over):
        write_softmax(s, 0, length, kept, units, &sum_, scratch)
    else:
        write_no_softmax(s, 0, length, scratch)


cdef struct SoftmaxGroups:
    GroupTerms terms
    reciprocals r


cdef inline void add_up_softmax_group(
    const Slices *slices, const Group *group, Operation operation, void *own
) noexcept nogil:
    cdef SoftmaxGroups *groups = <SoftmaxGroups *> own
    add_group_terms(&groups.terms, slices, group, EXPONENTIALS, True, NULL)
    groups.r = totals_reciprocals(&groups.terms.sums)


cdef inline void finish_softmax_in_group(
    const Slices *slices, const Group *group, Py_ssize_t i, Operation operation, void *own
) noexcept nogil:
    cdef SoftmaxGroups *groups = <SoftmaxGroups *> own
    cdef Slice s
    cdef Constants constants
    if has_softmax(group.tops[i]) and is_number(totals_at(&groups.terms.sums, i)):
        constants.r = reciprocal_in_all_lanes(reciprocal_at(&groups.r, i))
        finish_short(
            find_kept(&groups.terms, slices, group, i), NULL, group.out + i * slices.out_next, slices.length,
            &constants, operation, slices.stream)
    else:
        s = take_slice(slices, group.first + i)
        deliver_value(&s, 0, slices.length, groups.terms.scratch, NAN, 0)


cdef bint softmax_groups(const Slices *slices, char *scratch) noexcept nogil:
    """False: these are none."""
    cdef SoftmaxGroups groups
    if slices.count == 1 or not are_blocks(slices) or not are_contiguous(slices.out_elements):
        return False
    # Scratch is aligned, but one more thing that the first-level cache has to hold: it pays for short slices.
    start_group_terms(&groups.terms, slices, scratch, slices.length < 32 * LANES or slices.stream)
    walk_groups(slices, GROUP_BYTES, SOFTMAX, add_up_softmax_group, finish_softmax_in_group, &groups)
    return True


cdef inline void softmax_panel(
    const Panel *panel, int width, bint whole, Constants *columns, real scale
) noexcept nogil:
    # Slices that do not fill a vector have one loop, not two.
    cdef bint store = whole and are_unscaled(columns, width, scale)
    cdef totals sums
    cdef int v
    for v in range(width):
        if store:
            sums = sum_column_terms(panel, v, whole, columns[v], EXPONENTIALS, True)
        else:
            sums = sum_column(panel, v, whole, &columns[v])
        columns[v].r = totals_reciprocals(&sums)
        columns[v].ordinary = mark_numbers(columns[v].r.hi, columns[v].top)
    if store:
        finish_columns(panel, width, whole, columns, SOFTMAX, True)
    else:
        finish_columns(panel, width, whole, columns, SOFTMAX, False)


cdef bint softmax_long_panel(const Panel *panel, int width, bint whole, Constants *columns, real scale) noexcept nogil:
    """Of slices of several blocks."""
    cdef LogSum[MOST_LANES] sums
    cdef vreal *kept = NULL
    cdef Panel one
    cdef int v
    if whole and panel.out != panel.x:
        # Over the logits, exponentials would be in the way where those are needed once more.
        kept = keep_tops(panel.length)
    for v in range(width):
        one = take_vector(panel, v)
        columns[v].ordinary = sum_long_columns(&one, whole, scale, kept, sums)
        finish_long_columns(&one, whole, kept, sums, columns[v].ordinary, scale)
    return are_ordinary(columns, width, panel.slices)


cdef inline bint suit_one_vector(const Slices *slices) noexcept nogil:
    """A few contiguous slices of at most a vector each."""
    return (
        slices.length <= LANES and slices.count < LANES // 2 and slices.mask == NULL
        and are_contiguous(slices.x_elements) and are_contiguous(slices.out_elements)
    )


cdef inline bint softmax_vector(const char *x, char *out, Py_ssize_t count, real scale) noexcept nogil:
    """A slice of `count` elements that never leaves the registers. False: nothing is written."""
    cdef real top = v_max_across(v_load_first(x, count, -INFINITY))
    cdef vreal elements = v_load_first(x, count, top)
    cdef Exponential e, counted
    cdef Shifts shifts
    cdef total sum_
    if not has_softmax(top):
        return False
    if count == 1:
        top = 1
        memcpy(out, &top, sizeof(real))
        return True
    if scale == 1 and fabs(top) < SHIFT_ABOVE:
        shifts = build_shifts(v_set(top), 1, v_set(0), True)
        e = exp_shifted(elements, shifts, True)
    else:
        shifts = find_shifts(v_set(top), scale)
        e = exp_shifted(elements, shifts, False)
    counted = mask_tail(e, count)
    sum_ = vsum_total(vsum_add(vsum_start(), counted.value, counted.power, counted.small))
    if not is_number(sum_):
        return False
    v_store_first(out, reciprocals_times(reciprocal_in_all_lanes(total_reciprocal(sum_)), e.value), count)
    return True


cdef bint softmax_whole_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    if panel.length > block_length():
        return softmax_long_panel(panel, width, True, columns, scale)
    start_columns(panel, width, True, columns, scale)
    softmax_panel(panel, width, True, columns, scale)
    return are_ordinary(columns, width, panel.slices)


cdef bint softmax_part_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    if panel.length > block_length():
        return softmax_long_panel(panel, 1, False, columns, scale)
    start_columns(panel, 1, False, columns, scale)
    softmax_panel(panel, 1, False, columns, scale)
    return are_ordinary(columns, 1, panel.slices)


cdef void softmax_one(const Slices *slices, Py_ssize_t i, char *scratch) noexcept nogil:
    cdef Slice s = take_slice(slices, i)
    softmax_slice(&s, scratch)


cdef void softmax_slices(const Slices *slices) noexcept nogil:
    cdef Walk walk
    cdef Slice s
    cdef Py_ssize_t i
    if suit_one_vector(slices):
        for i in range(slices.count):
            s = take_slice(slices, i)
            if not softmax_vector(s.x, s.out, slices.length, <real> slices.scale):
                softmax_slice(&s, thread_buffer(KERNEL_BUFFER))
        if slices.stream:
            v_stream_end()
        return
    walk = Walk(
        kernel=softmax_slices, tiles=NULL, longest_tile=SOFTMAX_TILES, one_result=False,
        whole_panel=softmax_whole_panel, part_panel=softmax_part_panel, after_panel=fill_with_nan,
        rows=softmax_groups, slice_=softmax_one)
    walk_slices(slices, &walk)


cdef void softmax_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = take_slice(long_.slices, 0)
    cdef LogSum sum_ = find_long_log_sum(long_)
    write_softmax(
        &s, begin_block(long_, begin), end_block(long_, end), find_room_for_exponentials(&s), take_units(long_), &sum_,
        scratch)
    if s.all.stream:
        v_stream_end()


cdef void no_softmax_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = take_slice(long_.slices, 0)
    write_no_softmax(&s, begin_block(long_, begin), end_block(long_, end), thread_buffer(KERNEL_BUFFER))


cdef Pass next_softmax_pass(LongSlice *long_) noexcept nogil:
    if long_.step == NOTHING:
        long_.step = ADD_EXPONENTIALS
        return kept_exponentials_pass
    if long_.step == ADD_EXPONENTIALS:
        long_.step = HAVE_SUM
        # Nothing can be refused any more: the exponentials may lie over the logits.
        return softmax_pass if join_exponentials(long_) else no_softmax_pass
    return NULL
