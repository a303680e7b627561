# log_softmax, y_i = x_i - log sum_j exp(x_j), and that logarithm by itself (x being scale * x throughout).
#
# Design:
# 1. Both come from the sum *without* its largest term: log sum exp(x) = max + log(m + rest), where m terms are as large
#    as max and rest is the sum of the others over exp(max). Where one class holds nearly everything, rest is tiny, and
#    log(1 + rest) keeps all its digits. With the largest term inside, they would be rounded away.
# 2. log_softmax is (x - max) - log(m + rest). Both parts have the same sign, so nothing cancels: half an ulp each, and
#    half for the difference.
# 3. The logarithm of a sum is taken once a slice, in pairs of doubles (sums.h), so libm has no part in the bits.

cdef struct LogSum:
    # log sum exp = scale * top + over
    real top
    total over
    total others        # the sum of the exponentials below the largest, in units of the largest
    double ties         # how many are as large


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


cdef inline double largest_exponential(real top, Shift shift) noexcept nogil:
    """What the largest element contributes to the sum: exact, by the choice of the shift."""
    return v_first(exp_shifted(v_set(top), in_all_lanes(shift), False).value)


cdef inline LogSum log_sum_from(total others, double ties, real top, real scale) noexcept nogil:
    """`others` as they were raised."""
    cdef LogSum sum_
    sum_.top = top
    sum_.ties = ties
    sum_.others = total_over(others, largest_exponential(top, shift_to(top, scale)))
    sum_.over = total_log(ties, sum_.others)
    return sum_


cdef LogSum log_sum(const Slice *s, real top, char *scratch) noexcept nogil:
    """Of a slice that has_softmax."""
    cdef Shift shift = shift_to(top, s.all.scale)
    cdef double ties = 0
    cdef Py_ssize_t start = 0, count
    cdef const char *block
    cdef total t
    cdef Terms terms
    t.hi = t.lo = 0
    while start < s.all.length:
        count = block_at(start, s.all.length)
        block = fetch(s, start, count, scratch)
        terms = block_below_top(block, count, shift, top)
        t = total_add(t, signed_total(terms.sum_))
        ties += v_sum_across(terms.ties)
        start += count
    return log_sum_from(t, ties, top, s.all.scale)


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
        deliver_value(s, scratch, NAN, -INFINITY)
        return
    sum_ = log_sum(s, top, scratch)
    log_results(s, 0, s.all.length, &sum_, scratch)


cdef inline void write_log_sum(const Slices *slices, char *out, const LogSum *sum_) noexcept nogil:
    write_result(product_plus_total(sum_.top, <real> slices.scale, sum_.over), out, slices.out_elements.kind)


cdef void logsumexp_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef real top = slice_max(s, scratch)
    cdef real result = top * <real> s.all.scale
    cdef LogSum sum_
    if has_softmax(top):
        sum_ = log_sum(s, top, scratch)
        write_log_sum(s.all, s.out, &sum_)
        return
    if has_nan(s, scratch):
        result = NAN
    write_result(result, s.out, s.all.out_elements.kind)


cdef inline void put_terms(Terms terms, Py_ssize_t lane, totals *sums, totals *ties) noexcept nogil:
    """What block_below_top gives for a slice, into the lane of that slice."""
    cdef total count
    count.hi = v_sum_across(terms.ties)
    count.lo = 0
    totals_set(sums, lane, signed_total(terms.sum_))
    totals_set(ties, lane, count)


cdef void log_groups(const Slices *slices, char *scratch, bint one_result) noexcept nogil:
    """Contiguous slices of at most one block, in groups: one logarithm, a slice a lane, for all of a group."""
    cdef Py_ssize_t length = slices.length
    cdef Py_ssize_t size = max(1, min(LANES, BLOCK_BYTES // (length * <Py_ssize_t> sizeof(real))))
    cdef Py_ssize_t first = 0, count, i
    cdef real scale = <real> slices.scale
    cdef const char *x
    cdef char *out
    cdef real[MOST_LANES] tops
    cdef Shifts shifts
    cdef totals sums = totals_start(), ties = totals_start()
    cdef Terms terms
    cdef total some
    cdef Slice s
    cdef Constants constants
    while first < slices.count:
        count = min(size, slices.count - first)
        x = slices.x + first * slices.x_next
        for i in range(LANES):
            tops[i] = block_max(x + i * slices.x_next, length, -INFINITY) if i < count else 0
        shifts = shifts_to(v_load(tops), scale)
        for i in range(count):
            terms = block_below_top(x + i * slices.x_next, length, shift_at(&shifts, i), tops[i])
            put_terms(terms, i, &sums, &ties)
        sums = totals_over(&sums, exp_shifted(v_load(tops), shifts, False).value)
        sums = totals_log(&ties, &sums)
        for i in range(count):
            out = slices.out + (first + i) * slices.out_next
            some = totals_at(&sums, i)
            if not has_softmax(tops[i]):
                s = slice_at(slices, first + i)
                if one_result:
                    logsumexp_slice(&s, scratch)
                else:
                    log_softmax_slice(&s, scratch)
            elif one_result:
                write_result(product_plus_total(tops[i], scale, some), out, slices.out_elements.kind)
            else:
                constants = log_constants(tops[i], some, scale)
                finish(x + i * slices.x_next, NULL, out, length, &constants, LOG_SOFTMAX, slices.stream)
        first += count


cdef void log_softmax_slices(const Slices *slices) noexcept nogil:
    cdef Scratch memory
    cdef Slice s
    cdef Py_ssize_t i
    if suit_tiles(slices, LOG_TILES, False):
        in_tiles(slices, aligned(&memory), LOG_SOFTMAX)
    elif are_columns(slices, False):
        in_panels(slices, aligned(&memory), LOG_SOFTMAX)
    elif slices.count > 1 and are_blocks(slices) and contiguous(slices.out_elements):
        log_groups(slices, aligned(&memory), False)
    elif suit_gathering(slices) and not are_rows(slices, False):
        as_gathered(slices, aligned(&memory), log_softmax_slices, False)
    else:
        for i in range(slices.count):
            s = slice_at(slices, i)
            log_softmax_slice(&s, aligned(&memory))
    if slices.stream:
        v_stream_end()


cdef void logsumexp_slices(const Slices *slices) noexcept nogil:
    cdef Scratch memory
    cdef Slice s
    cdef Py_ssize_t i
    if suit_tiles(slices, LOG_TILES, True):
        in_tiles(slices, aligned(&memory), LOGSUMEXP)
    elif are_columns(slices, True):
        in_panels(slices, aligned(&memory), LOGSUMEXP)
    elif slices.count > 1 and are_blocks(slices):
        log_groups(slices, aligned(&memory), True)
    elif suit_gathering(slices) and not are_rows(slices, True):
        as_gathered(slices, aligned(&memory), logsumexp_slices, True)
    else:
        for i in range(slices.count):
            s = slice_at(slices, i)
            logsumexp_slice(&s, aligned(&memory))
