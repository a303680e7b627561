# log_softmax, y_i = x_i - log sum_j exp(x_j), and that logarithm by itself (x being scale * x throughout).
#
# Design:
# 1. log sum exp(x) = max + log(1 + others): the sum of all exponentials but the largest, over that one. It is what is
#    left of the sum of all once the largest is taken off as it was added, rounding and all. Where one class holds
#    nearly everything few digits would be left: below FEW_OTHERS they are added by themselves, in a second go.
# 2. log_softmax is (x - max) - log(1 + others). Both parts have the same sign, so nothing cancels: half an ulp each,
#    and half for the difference.
# 3. The logarithm of a sum is taken once a slice, in pairs of doubles (sums.h), so libm has no part in the bits.

cdef struct LogSum:
    # log sum exp = scale * top + over
    real top
    total over
    total all_          # the sum of the exponentials, as they were raised
    total others        # of all but one of the largest, in units of it


cdef bint has_nan(const Slice *s, char *scratch) noexcept nogil:
    cdef vreal found = v_set(0), a
    cdef const real *p
    cdef Py_ssize_t start = 0, count, i
    while start < s.all.length:
        count = block_at(start, s.all.length)
        p = <const real *> fetch(s, start, count, scratch)
        i = 0
        while i < count:
            a = v_load_first(p + i, min(count - i, LANES), 0)
            found = v_max(found, v_where_unequal(a, a, v_set(1)))
            i += LANES
        start += count
    return v_max_across(found) > 0


cdef inline Exponential largest_exponential(real top, Shift shift) noexcept nogil:
    return exp_shifted(v_set(top), in_all_lanes(shift), False)


cdef inline double exact_value(Exponential e) noexcept nogil:
    """In the first lane: what float32 has lost fits a double."""
    return <double> v_first(e.value) + v_first(lost_by(e))


cdef inline total others_of(total all_, Exponential largest) noexcept nogil:
    cdef total minus_largest
    minus_largest.hi = -v_first(largest.value)
    minus_largest.lo = -v_first(lost_by(largest))
    return total_over(total_add(all_, minus_largest), exact_value(largest))


cdef total slice_sum(
    const Slice *s, Shift shift, real top, TermSum which, char *kept, char *scratch
) noexcept nogil:
    """`kept`: where all exponentials are left, or NULL."""
    cdef Py_ssize_t start = 0, count
    cdef const char *block
    cdef total t, of_block
    t.hi = t.lo = 0
    while start < s.all.length:
        count = block_at(start, s.all.length)
        block = fetch(s, start, count, scratch)
        if kept != NULL:
            of_block = block_exponentials(block, kept + start * <Py_ssize_t> sizeof(real), count, shift)
        else:
            of_block = block_sum(block, count, shift, top, which)
        t = total_add(t, of_block)
        start += count
    return t


cdef LogSum log_sum(const Slice *s, real top, char *kept, char *scratch) noexcept nogil:
    """Of a slice that has_softmax. `kept`, which is not x: where all exponentials are left, or NULL."""
    cdef Shift shift = shift_to(top, s.all.scale)
    cdef Exponential largest = largest_exponential(top, shift)
    cdef LogSum sum_
    sum_.top = top
    sum_.all_ = slice_sum(s, shift, top, EXPONENTIALS_ALONE, kept, scratch)
    sum_.others = others_of(sum_.all_, largest)
    if sum_.others.hi < FEW_OTHERS:
        sum_.others = total_over(slice_sum(s, shift, top, BELOW_TOP, NULL, scratch), exact_value(largest))
    sum_.over = total_log1p(sum_.others)
    return sum_


cdef inline vreal log_quotient(vreal x, vreal top, vreal over, real scale) noexcept nogil:
    """scale * (x - top) - over.

    The difference may be too large for a number until it is scaled; half of it is not.
    """
    cdef real half = 0.5 if scale < 1 else 1
    x = v_sub(v_mul(x, v_set(half)), v_mul(top, v_set(half)))
    return v_fma(v_set(scale / half), x, v_sub(v_set(0), over))


cdef inline Constants log_constants(real top, total over, real scale) noexcept nogil:
    cdef Constants c
    c.scale = scale
    c.top = v_set(top)
    c.over = v_set(<real> (over.hi + over.lo))
    return c


cdef inline void log_results(
    const Slice *s, Py_ssize_t start, Py_ssize_t end, const LogSum *sum_, char *scratch
) noexcept nogil:
    """The last pass, over whole blocks."""
    cdef Py_ssize_t count
    cdef const char *block
    cdef char *target
    cdef bint stream
    cdef Constants constants = log_constants(sum_.top, sum_.over, <real> s.all.scale)
    if not is_number(sum_.over):
        deliver_value(s, start, end, scratch, NAN, -INFINITY)
        return
    while start < end:
        count = block_at(start, end)
        block = fetch(s, start, count, scratch)
        target = room_for(s, start, scratch)
        stream = s.all.stream and target != scratch
        finish(block, NULL, target, count, &constants, LOG_SOFTMAX, stream)
        deliver(s, start, count, scratch, -INFINITY)
        start += count


cdef void log_softmax_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef real top = slice_max(s, scratch)
    cdef LogSum sum_
    if not has_softmax(top):
        deliver_value(s, 0, s.all.length, scratch, NAN, -INFINITY)
        return
    sum_ = log_sum(s, top, NULL, scratch)
    log_results(s, 0, s.all.length, &sum_, scratch)


cdef inline void write_log_sum(const Slices *slices, char *out, const LogSum *sum_) noexcept nogil:
    write_result(product_plus_total(sum_.top, <real> slices.scale, sum_.over), out, slices.out_elements.kind)


cdef void logsumexp_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef real top = slice_max(s, scratch)
    cdef real result = top * <real> s.all.scale
    cdef LogSum sum_
    if has_softmax(top):
        sum_ = log_sum(s, top, NULL, scratch)
        write_log_sum(s.all, s.out, &sum_)
        return
    if has_nan(s, scratch):
        result = NAN
    write_result(result, s.out, s.all.out_elements.kind)


cdef inline totals others_of_each(const totals *sums, Exponential largest) noexcept nogil:
    """others_of, a slice a lane."""
    cdef vreal none = v_set(0)
    cdef totals others = totals_of_pairs(v_sub(none, largest.value), v_sub(none, lost_by(largest)))
    others = totals_add(sums[0], others)
    return totals_over(&others, largest.value, lost_by(largest))


cdef inline totals group_others(
    const totals *sums, const char *x, Py_ssize_t next_, Py_ssize_t count, Py_ssize_t length, const Shifts *shifts,
    vreal tops,
) noexcept nogil:
    """What log_sum calls others, of `count` slices of a block each."""
    cdef Exponential largest = exp_shifted(tops, shifts[0], False)
    cdef totals others = others_of_each(sums, largest)
    cdef vreal lost = lost_by(largest)
    cdef Py_ssize_t i
    cdef total below
    for i in range(count):
        if totals_at(&others, i).hi < FEW_OTHERS:
            below = block_below_top(x + i * next_, length, shift_at(shifts, i), v_lane(&tops, i))
            totals_set(
                &others, i, total_over(below, <double> v_lane(&largest.value, i) + v_lane(&lost, i)))
    return others


cdef void log_groups(const Slices *slices, char *scratch, bint one_result) noexcept nogil:
    """Contiguous slices of at most one block, in groups: one logarithm, a slice a lane, for all of a group."""
    cdef Py_ssize_t length = slices.length
    cdef Py_ssize_t size = max(1, min(LANES, BLOCK_BYTES // (length * <Py_ssize_t> sizeof(real))))
    cdef Py_ssize_t first = 0, i
    cdef real scale = <real> slices.scale
    cdef const char *x
    cdef char *out
    cdef Group group
    cdef vsum[MOST_LANES] terms
    cdef totals sums = totals_harmless(), logs
    cdef total some
    cdef Soon soon
    cdef Slice s
    cdef Constants constants
    soon.out = NULL
    for i in range(LANES):
        terms[i] = vsum_harmless()
    start_group(&group, slices, 0, size)
    while group.count > 0:
        for i in range(group.count):
            x = group.x + i * slices.x_next
            soon.x = x + group.count * slices.x_next    # in the next group
            terms[i] = vsum_without_seed(
                short_exponentials(x, NULL, length, shift_at(&group.shifts, i), EXPONENTIALS_ALONE, soon))
        totals_set_each(&sums, terms, group.count)
        logs = group_others(&sums, group.x, slices.x_next, group.count, length, &group.shifts, v_load(group.tops))
        logs = totals_log1p(&logs)
        for i in range(group.count):
            out = group.out + i * slices.out_next
            some = totals_at(&logs, i)
            if not (has_softmax(group.tops[i]) and is_number(some)):
                s = slice_at(slices, first + i)
                if one_result:
                    logsumexp_slice(&s, scratch)
                else:
                    log_softmax_slice(&s, scratch)
            elif one_result:
                write_result(product_plus_total(group.tops[i], scale, some), out, slices.out_elements.kind)
            else:
                constants = log_constants(group.tops[i], some, scale)
                finish_short(
                    group.x + i * slices.x_next, NULL, out, length, &constants, LOG_SOFTMAX, slices.stream)
        first += group.count
        start_group(&group, slices, first, size)


cdef void log_softmax_slices(const Slices *slices) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s
    cdef Py_ssize_t i
    if suit_tiles(slices, LOG_TILES, False):
        in_tiles(slices, scratch, LOG_SOFTMAX)
    elif are_columns(slices, False):
        in_panels(slices, scratch, LOG_SOFTMAX)
    elif slices.count > 1 and are_blocks(slices) and contiguous(slices.out_elements):
        log_groups(slices, scratch, False)
    elif suit_gathering(slices) and not are_rows(slices, False):
        as_gathered(slices, log_softmax_slices, False)
    else:
        for i in range(slices.count):
            s = slice_at(slices, i)
            log_softmax_slice(&s, scratch)
    if slices.stream:
        v_stream_end()


cdef void logsumexp_slices(const Slices *slices) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s
    cdef Py_ssize_t i
    if suit_tiles(slices, LOG_TILES, True):
        in_tiles(slices, scratch, LOGSUMEXP)
    elif are_columns(slices, True):
        in_panels(slices, scratch, LOGSUMEXP)
    elif slices.count > 1 and are_blocks(slices):
        log_groups(slices, scratch, True)
    elif suit_gathering(slices) and not are_rows(slices, True):
        as_gathered(slices, logsumexp_slices, True)
    else:
        for i in range(slices.count):
            s = slice_at(slices, i)
            logsumexp_slice(&s, scratch)
