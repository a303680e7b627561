# softmax of a slice: y_i = exp(x_i) / sum_j exp(x_j).
#
# Design:
# 1. Three passes: the largest element, the exponentials and their sum, the quotients. While a cache holds them the
#    exponentials are kept, in scratch or in `out` itself; beyond that the third pass computes them again, which is
#    faster than storing and loading them (Dukhan and Ablavatski, "The Two-Pass Softmax Algorithm", 2020). All three
#    give the same bits.
# 2. The quotient is a product with 1 / sum in two parts (sums.h): no division in the loop, and hardly more error.
# 3. NaN: v_max skips it in the first pass, exp_shifted keeps it in the second, the sum carries it to every quotient.

cdef enum:
    KEPT_IN_OUT_BYTES = 262144      # what a second-level cache holds beside the input
    GROUP_BYTES = 8192              # leaves room in a first-level cache for the input and the output
    MAX_GROUP = 16                  # slices


# ---- one block ---------------------------------------------------------------------------------------------------

cdef inline real block_max(const char *x, Py_ssize_t count, real top) noexcept nogil:
    """The largest of top and the elements that are not NaN."""
    cdef const real *p = <const real *> x
    cdef vreal a = v_set(top)
    cdef vreal b = a, c = a, d = a
    cdef Py_ssize_t i = 0
    while i + 4 * LANES <= count:
        a = v_max(v_load(p + i), a)
        b = v_max(v_load(p + i + LANES), b)
        c = v_max(v_load(p + i + 2 * LANES), c)
        d = v_max(v_load(p + i + 3 * LANES), d)
        i += 4 * LANES
    while i + LANES <= count:
        a = v_max(v_load(p + i), a)
        i += LANES
    if i < count:
        b = v_max(v_load_first(p + i, count - i, top), b)
    return v_max_across(v_max(v_max(a, b), v_max(c, d)))


cdef inline vsum expand_and_add(Reduced x, Shift shift, real *e, bint keep, vsum s) noexcept nogil:
    cdef Exponential y = expanded(x, shift)
    if keep:
        v_store(e, y.value)
    return vsum_add(s, y.value, y.power, y.small, y.large)


cdef struct Soon:
    # What will be read and written next, element by element: fetched into the first-level cache while the arithmetic
    # of this pass leaves the load ports idle. NULL: nothing.
    const char *x
    char *out


cdef inline vsum exp_sum_loop(
    const char *x, char *e, Py_ssize_t count, Shift shift, bint keep, bint shifted, Soon soon
) noexcept nogil:
    cdef const real *p = <const real *> x
    cdef real *q = <real *> e
    cdef vsum s = vsum_start()
    cdef Reduced a, b, c, d
    cdef Exponential y
    cdef Py_ssize_t i = 0
    cdef int k
    if count >= 4 * LANES:
        # An exponential is one long chain of dependent operations. Four are under way at a time, each in two stages,
        # and the first stage of the next four fills the waits in the second of these.
        a = reduced(v_load(p), shift, shifted)
        b = reduced(v_load(p + LANES), shift, shifted)
        c = reduced(v_load(p + 2 * LANES), shift, shifted)
        d = reduced(v_load(p + 3 * LANES), shift, shifted)
        while i + 8 * LANES <= count:
            if soon.x != NULL:
                for k in range(4):
                    prefetch(<const real *> soon.x + i + k * LANES)
                    prefetch_to_write(<real *> soon.out + i + k * LANES)
            s = expand_and_add(a, shift, q + i, keep, s)
            a = reduced(v_load(p + i + 4 * LANES), shift, shifted)
            s = expand_and_add(b, shift, q + i + LANES, keep, s)
            b = reduced(v_load(p + i + 5 * LANES), shift, shifted)
            s = expand_and_add(c, shift, q + i + 2 * LANES, keep, s)
            c = reduced(v_load(p + i + 6 * LANES), shift, shifted)
            s = expand_and_add(d, shift, q + i + 3 * LANES, keep, s)
            d = reduced(v_load(p + i + 7 * LANES), shift, shifted)
            i += 4 * LANES
        s = expand_and_add(a, shift, q + i, keep, s)
        s = expand_and_add(b, shift, q + i + LANES, keep, s)
        s = expand_and_add(c, shift, q + i + 2 * LANES, keep, s)
        s = expand_and_add(d, shift, q + i + 3 * LANES, keep, s)
        i += 4 * LANES
    while i + LANES <= count:
        s = expand_and_add(reduced(v_load(p + i), shift, shifted), shift, q + i, keep, s)
        i += LANES
    if i < count:
        # base fills the rest: exp(base - base) has nothing that could overflow.
        y = expanded(reduced(v_load_first(p + i, count - i, shift.base), shift, shifted), shift)
        y = first_of(y, count - i)
        if keep:
            v_store_first(q + i, y.value, count - i)
        s = vsum_add(s, y.value, y.power, y.small, y.large)
    return s


cdef inline vsum block_exp_sum(
    const char *x, char *e, Py_ssize_t count, Shift shift, bint keep, Soon soon
) noexcept nogil:
    """The sum of the shifted exponentials of a block, which are written to e (x itself, if need be) if `keep`."""
    if shift.base == 0:
        return exp_sum_loop(x, e, count, shift, keep, False, soon)
    return exp_sum_loop(x, e, count, shift, keep, True, soon)


cdef inline vreal finished(vreal a, Shift shift, reciprocal r, bint kept) noexcept nogil:
    """The quotient, from a kept exponential or from x."""
    return reciprocal_times(r, a if kept else exp_shifted(a, shift).value)


cdef inline void block_finish(
    const char *source, char *out, Py_ssize_t count, Shift shift, reciprocal r, bint kept, bint stream
) noexcept nogil:
    """The quotients, side by side, from what lies side by side at `source` (out itself, if need be)."""
    cdef const real *p = <const real *> source
    cdef real *q = <real *> out
    cdef Py_ssize_t i = elements_to_line(out, count)
    if i:
        v_store_first(q, finished(v_load_first(p, i, 0), shift, r, kept), i)
    if stream and <uintptr_t> (q + i) % CACHE_LINE == 0:
        while i + LANES <= count:
            v_stream(q + i, finished(v_load(p + i), shift, r, kept))
            i += LANES
    while i + LANES <= count:
        v_store(q + i, finished(v_load(p + i), shift, r, kept))
        i += LANES
    if i < count:
        v_store_first(q + i, finished(v_load_first(p + i, count - i, 0), shift, r, kept), count - i)


cdef inline bint has_softmax(real top) noexcept nogil:
    """Not so a slice of nothing but -inf and NaN, or one with +inf."""
    return -INFINITY < top < INFINITY


# ---- slices ------------------------------------------------------------------------------------------------------

cdef struct Group:
    # Slices that go through each pass together.
    const char *x
    char *out
    Py_ssize_t count
    real[MAX_GROUP] tops
    Shift[MAX_GROUP] shifts


cdef inline void start_group(Group *group, const Slices *slices, Py_ssize_t first, Py_ssize_t size) noexcept nogil:
    """The first pass over at most `size` slices from `first` on, of which there may be none left."""
    cdef Py_ssize_t i
    group.x = slices.x + first * slices.x_next
    group.out = slices.out + first * slices.out_next
    group.count = max(0, min(size, slices.count - first))
    for i in range(group.count):
        group.tops[i] = block_max(group.x + i * slices.x_next, slices.length, -INFINITY)
    for i in range(group.count):
        group.shifts[i] = shift_to(group.tops[i] if has_softmax(group.tops[i]) else 0)


cdef void softmax_of_blocks(const Slices *slices, char *scratch) noexcept nogil:
    """Contiguous slices of at most one block, in groups.

    Each pass runs over a whole group, and the first pass over the next group before the last one over this. So the long
    waits of a slice, across the lanes of a maximum or a sum and for a division, are filled with work that does not
    depend on them.
    """
    cdef Py_ssize_t length = slices.length
    cdef Py_ssize_t row = length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t size = max(1, min(MAX_GROUP, GROUP_BYTES // row))
    # Scratch is aligned, but one more thing that the first-level cache has to hold: it pays for short slices.
    cdef bint in_scratch = length < 32 * LANES or slices.stream
    cdef Py_ssize_t first = 0, i
    cdef char *kept
    cdef Group[2] groups
    cdef Group *group = &groups[0]
    cdef Group *after = &groups[1]
    cdef Soon soon
    cdef vsum[MAX_GROUP] sums
    cdef reciprocal[MAX_GROUP] reciprocals
    start_group(group, slices, 0, size)
    while group.count > 0:
        first += group.count
        for i in range(group.count):
            # The next group is read, and this one written, at the same pace.
            soon.x = group.x + (i + group.count) * slices.x_next
            soon.out = group.out + i * slices.out_next
            kept = scratch + i * row if in_scratch else soon.out
            sums[i] = block_exp_sum(group.x + i * slices.x_next, kept, length, group.shifts[i], True, soon)
        for i in range(group.count):
            reciprocals[i] = total_reciprocal(vsum_total(sums[i]))
        start_group(after, slices, first, size)
        for i in range(group.count):
            if has_softmax(group.tops[i]):
                kept = scratch + i * row if in_scratch else group.out + i * slices.out_next
                block_finish(
                    kept, group.out + i * slices.out_next, length,
                    group.shifts[i], reciprocals[i], True, slices.stream,
                )
            else:
                scatter_value(NAN, group.out + i * slices.out_next, slices.out_step, length)
        group, after = after, group


cdef void softmax_gathered(const char *x, char *out, const Slices *slices, char *scratch) noexcept nogil:
    """A strided slice of at most one block."""
    cdef Py_ssize_t length = slices.length
    cdef const char *block = gather(x, slices.x_step, length, scratch)
    cdef real top = block_max(block, length, -INFINITY)
    cdef Soon nothing = Soon(x=NULL, out=NULL)
    cdef Shift shift
    cdef total t
    if not has_softmax(top):
        scatter_value(NAN, out, slices.out_step, length)
        return
    shift = shift_to(top)
    t = vsum_total(block_exp_sum(block, scratch, length, shift, True, nothing))
    block_finish(scratch, scratch, length, shift, total_reciprocal(t), True, False)
    scatter(scratch, out, slices.out_step, length)


cdef void softmax_long(const char *x, char *out, const Slices *slices, char *scratch) noexcept nogil:
    """A slice of more than one block, of any strides."""
    cdef Py_ssize_t length = slices.length, x_step = slices.x_step, out_step = slices.out_step
    cdef Py_ssize_t start, count
    cdef bint keep = (
        contiguous(out_step) and not slices.stream and length * <Py_ssize_t> sizeof(real) <= KEPT_IN_OUT_BYTES)
    cdef const char *block
    cdef char *target
    cdef real top = -INFINITY
    cdef Soon nothing = Soon(x=NULL, out=NULL)
    cdef Shift shift
    cdef total t, block_total
    cdef reciprocal r

    start = 0
    while start < length:
        count = block_at(start, length)
        top = block_max(gather(x + start * x_step, x_step, count, scratch), count, top)
        start += count
    if not has_softmax(top):
        scatter_value(NAN, out, out_step, length)
        return

    shift = shift_to(top)
    start = 0
    while start < length:
        count = block_at(start, length)
        block = gather(x + start * x_step, x_step, count, scratch)
        if keep:
            block_total = vsum_total(block_exp_sum(block, out + start * out_step, count, shift, True, nothing))
        else:
            block_total = vsum_total(block_exp_sum(block, NULL, count, shift, False, nothing))
        t = total_add(t, block_total) if start else block_total
        start += count
    r = total_reciprocal(t)

    start = 0
    while start < length:
        count = block_at(start, length)
        target = out + start * out_step if contiguous(out_step) else scratch
        if keep:
            block_finish(target, target, count, shift, r, True, False)
        else:
            block = gather(x + start * x_step, x_step, count, scratch)
            block_finish(block, target, count, shift, r, False, slices.stream and target != scratch)
        if not contiguous(out_step):
            scatter(scratch, out + start * out_step, out_step, count)
        start += count


cdef void softmax_slices(const Slices *slices) noexcept nogil:
    cdef Scratch memory
    cdef char *scratch = aligned(&memory)
    cdef Py_ssize_t i
    if slices.length <= block_length() and contiguous(slices.x_step) and contiguous(slices.out_step):
        softmax_of_blocks(slices, scratch)
    else:
        for i in range(slices.count):
            if slices.length <= block_length():
                softmax_gathered(slices.x + i * slices.x_next, slices.out + i * slices.out_next, slices, scratch)
            else:
                softmax_long(slices.x + i * slices.x_next, slices.out + i * slices.out_next, slices, scratch)
    if slices.stream:
        v_stream_end()
