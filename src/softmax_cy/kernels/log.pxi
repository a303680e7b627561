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


cdef struct Rest:
    vsum sum        # of the exponentials below the largest
    vreal ties      # how many are as large, a lane


cdef inline Rest rest_with(Rest rest, vreal x, Shifts shifts, vreal top, bint plain) noexcept nogil:
    cdef Exponential y = exp_shifted(x, shifts, plain)
    y.value = v_where_unequal(x, top, y.value)
    y.power = v_where_unequal(x, top, y.power)
    y.large = v_where_unequal(x, top, y.large)
    rest.sum = signed_add_product(rest.sum, y.value, y.power, y.small, y.large)
    rest.ties = v_add(rest.ties, v_sub(v_set(1), v_where_unequal(x, top, v_set(1))))
    return rest


cdef inline Rest rest_loop(const char *x, Py_ssize_t count, Shift shift, real top, bint plain) noexcept nogil:
    cdef const real *p = <const real *> x
    cdef Shifts shifts = in_all_lanes(shift)
    cdef vreal tops = v_set(top)
    cdef Rest rest
    cdef Py_ssize_t i = 0
    rest.sum = signed_start()
    rest.ties = v_set(0)
    while i + LANES <= count:
        rest = rest_with(rest, v_load(p + i), shifts, tops, plain)
        i += LANES
    if i < count:
        # max fills the rest of the lanes: those count as ties, and are taken off again.
        rest = rest_with(rest, v_load_first(p + i, count - i, top), shifts, tops, plain)
        rest.ties = v_sub(rest.ties, v_drop_first(v_set(1), count - i))
    return rest


cdef inline double largest_exponential(real top, Shift shift) noexcept nogil:
    """What the largest element contributes to the sum: exact, by the choice of the shift."""
    return v_first(exp_shifted(v_set(top), in_all_lanes(shift), False).value)


cdef inline LogSum log_sum_of(real top, double ties, total below, double largest) noexcept nogil:
    """From the sum of the exponentials below the largest, which is in the same units."""
    cdef LogSum sum_
    sum_.top = top
    sum_.ties = ties
    sum_.others = total_over(below, largest)
    sum_.over = total_log(ties, sum_.others)
    return sum_


cdef LogSum log_sum(const Slice *s, real top, char *scratch) noexcept nogil:
    """Of a slice that has_softmax."""
    cdef Shift shift = shift_to(top, s.all.scale)
    cdef double largest = largest_exponential(top, shift)
    cdef double ties = 0
    cdef Py_ssize_t start = 0, count
    cdef const char *block
    cdef total t, of_block
    cdef Rest rest
    t.hi = t.lo = 0
    while start < s.all.length:
        count = block_at(start, s.all.length)
        block = fetch(s, start, count, scratch)
        if is_plain(shift):
            rest = rest_loop(block, count, shift, top, True)
        else:
            rest = rest_loop(block, count, shift, top, False)
        of_block = signed_total(rest.sum)
        t = total_add(t, of_block)
        ties += v_sum_across(rest.ties)
        start += count
    return log_sum_of(top, ties, t, largest)


cdef inline vreal log_quotient(vreal x, vreal top, vreal over, real scale) noexcept nogil:
    return v_fma(v_set(scale), v_sub(x, top), v_sub(v_set(0), over))


cdef inline void log_block(
    const char *source, char *out, Py_ssize_t count, LogSum sum_, real scale, bint stream
) noexcept nogil:
    """log_softmax, side by side, of what lies side by side at `source` (out itself, if need be)."""
    cdef const real *p = <const real *> source
    cdef real *q = <real *> out
    cdef vreal top = v_set(sum_.top), over = v_set(<real> (sum_.over.hi + sum_.over.lo))
    cdef Py_ssize_t i = elements_to_line(out, count)
    if i:
        v_store_first(q, log_quotient(v_load_first(p, i, 0), top, over, scale), i)
    if stream and <uintptr_t> (q + i) % CACHE_LINE == 0:
        while i + LANES <= count:
            v_stream(q + i, log_quotient(v_load(p + i), top, over, scale))
            i += LANES
    while i + LANES <= count:
        v_store(q + i, log_quotient(v_load(p + i), top, over, scale))
        i += LANES
    if i < count:
        v_store_first(q + i, log_quotient(v_load_first(p + i, count - i, 0), top, over, scale), count - i)


cdef void log_softmax_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef real top = slice_max(s, scratch)
    cdef Py_ssize_t start = 0, count
    cdef const char *block
    cdef char *target
    cdef bint stream
    cdef LogSum sum_
    if not has_softmax(top):
        deliver_value(s, scratch, NAN, -INFINITY)
        return
    sum_ = log_sum(s, top, scratch)
    while start < s.all.length:
        count = block_at(start, s.all.length)
        block = fetch(s, start, count, scratch)
        target = room_for(s, start, scratch)
        stream = s.all.stream and target != scratch
        log_block(block, target, count, sum_, <real> s.all.scale, stream)
        deliver(s, start, count, scratch, -INFINITY)
        start += count


cdef void logsumexp_slice(const Slice *s, char *scratch) noexcept nogil:
    cdef real top = slice_max(s, scratch)
    cdef real result = top * <real> s.all.scale
    cdef LogSum sum_
    if has_softmax(top):
        sum_ = log_sum(s, top, scratch)
        result = product_plus_total(sum_.top, <real> s.all.scale, sum_.over)
    elif has_nan(s, scratch):
        result = NAN
    write_result(result, s.out, s.all.out_elements.kind)


cdef void log_softmax_slices(const Slices *slices) noexcept nogil:
    cdef Scratch memory
    cdef Slice s
    cdef Py_ssize_t i
    if are_columns(slices, False):
        log_softmax_columns(slices, aligned(&memory))
        return
    for i in range(slices.count):
        s = slice_at(slices, i)
        log_softmax_slice(&s, aligned(&memory))
    if slices.stream:
        v_stream_end()


cdef void logsumexp_slices(const Slices *slices) noexcept nogil:
    cdef Scratch memory
    cdef Slice s
    cdef Py_ssize_t i
    if are_columns(slices, True):
        logsumexp_columns(slices, aligned(&memory))
        return
    for i in range(slices.count):
        s = slice_at(slices, i)
        logsumexp_slice(&s, aligned(&memory))
