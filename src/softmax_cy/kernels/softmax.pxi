# softmax of a slice: y_i = exp(x_i) / sum_j exp(x_j).
#
# Design:
# 1. Three passes: the largest element, the exponentials and their sum, the quotients. The exponentials are kept in
#    scratch or in `out` itself, beyond the caches too: storing and loading them takes less time than to compute them
#    again. Where `out` cannot hold them (strides, 16 bits, a mask) the third pass does that. All give the same bits.
# 2. The quotient is a product with 1 / sum in two parts (sums.h): no division in the loop, and hardly more error.
# 3. NaN: v_max skips it in the first pass, exp_shifted keeps it in the second, the sum carries it to every quotient.

cdef enum:
    GROUP_BYTES = 8192              # leaves room in a first-level cache for the input and the output


# ---- one block ---------------------------------------------------------------------------------------------------

cdef inline vreal block_maxima(const char *x, Py_ssize_t count, real top) noexcept nogil:
    """The largest of top and the elements that are not NaN, lane by lane."""
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
    return v_max(v_max(a, b), v_max(c, d))


cdef inline real block_max(const char *x, Py_ssize_t count, real top) noexcept nogil:
    return v_max_across(block_maxima(x, count, top))


cdef inline bint are_halves(const Slice *s) noexcept nogil:
    """16-bit floats side by side."""
    cdef const Elements *elements = s.all.x_elements
    return (
        (elements.kind == KIND_FLOAT16 or elements.kind == KIND_BFLOAT16)
        and elements.ndim == 1 and elements.strides[0] == 2 and s.keep == NULL)


cdef inline real fetched_max(
    const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, real top, const char **block
) noexcept nogil:
    """block_max of what `fetch` brings."""
    if are_halves(s):
        block[0] = scratch
        return widen_to_max(s.x + 2 * start, s.all.x_elements.kind, scratch, count, top)
    block[0] = fetch(s, start, count, scratch)
    return block_max(block[0], count, top)


cdef inline real range_max(const Slice *s, Py_ssize_t start, Py_ssize_t end, char *scratch) noexcept nogil:
    """The largest element that is kept and not NaN, or -inf."""
    cdef real top = -INFINITY
    cdef Py_ssize_t count
    cdef const char *block
    while start < end:
        count = block_at(start, end)
        top = fetched_max(s, start, count, scratch, top, &block)
        start += count
    return top


cdef inline real slice_max(const Slice *s, char *scratch) noexcept nogil:
    return range_max(s, 0, s.all.length, scratch)


cdef inline bint has_softmax(real top) noexcept nogil:
    """Not so a slice of nothing but -inf and NaN, or one with +inf."""
    return -INFINITY < top < INFINITY


cdef inline bint is_finite(double a) noexcept nogil:
    return a - a == 0


cdef inline bint is_number(total sum_) noexcept nogil:
    """Not so where a slice holds NaN: then every element is the one NaN of sums.h."""
    return sum_.hi == sum_.hi


# ---- slices ------------------------------------------------------------------------------------------------------

cdef struct Group:
    # Slices that go through each pass together.
    const char *x
    char *out
    Py_ssize_t count
    real[MOST_LANES] tops
    Shifts shifts           # a slice a lane


cdef inline void start_group(Group *group, const Slices *slices, Py_ssize_t first, Py_ssize_t size) noexcept nogil:
    """The first pass over at most `size` slices from `first` on, of which there may be none left."""
    cdef vreal[MOST_LANES] maxima
    cdef vreal tops
    cdef Py_ssize_t i
    group.x = slices.x + first * slices.x_next
    group.out = slices.out + first * slices.out_next
    group.count = max(0, min(size, slices.count - first))
    if group.count == 0:
        return
    for i in range(group.count):
        maxima[i] = block_maxima(group.x + i * slices.x_next, slices.length, -INFINITY)
    for i in range(group.count, LANES):
        maxima[i] = v_set(0)
    tops = v_max_across_each(maxima, group.count)
    v_store(group.tops, tops)
    group.shifts = shifts_to(tops, slices.scale)


cdef void softmax_groups(const Slices *slices, char *scratch) noexcept nogil:
    """Contiguous slices of at most one block, in groups.

    Each pass runs over a whole group, and the first pass over the next group before the last one over this. So the long
    waits of a slice, across the lanes of a maximum or a sum and for a division, are filled with work that does not
    depend on them.
    """
    cdef Py_ssize_t length = slices.length
    cdef Py_ssize_t row = length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t size = max(1, min(LANES, GROUP_BYTES // row))
    cdef Py_ssize_t kept_next = (row + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    # Scratch is aligned, but one more thing that the first-level cache has to hold: it pays for short slices.
    cdef bint in_scratch = length < 32 * LANES or slices.stream
    cdef Py_ssize_t first = 0, i
    cdef char *kept
    cdef Soon soon
    cdef Group[2] groups
    cdef Group *group = &groups[0]
    cdef Group *after = &groups[1]
    cdef Slice s
    cdef vsum[MOST_LANES] sums
    cdef totals all_sums = totals_harmless()
    cdef reciprocals r
    cdef Constants constants
    for i in range(LANES):
        sums[i] = vsum_harmless()
    start_group(group, slices, 0, size)
    while group.count > 0:
        for i in range(group.count):
            # The next group is read, and this one written, at the same pace.
            soon.x = group.x + (i + group.count) * slices.x_next
            kept = scratch + i * kept_next if in_scratch else group.out + i * slices.out_next
            # What is written past the caches is not to be fetched into them.
            soon.out = kept if slices.stream else group.out + i * slices.out_next
            sums[i] = vsum_without_seed(short_exponentials(
                group.x + i * slices.x_next, kept, length, shift_at(&group.shifts, i), EXPONENTIALS, soon))
        totals_set_each(&all_sums, sums, group.count)
        r = totals_reciprocals(&all_sums)
        start_group(after, slices, first + group.count, size)
        for i in range(group.count):
            if has_softmax(group.tops[i]) and is_number(totals_at(&all_sums, i)):
                kept = scratch + i * kept_next if in_scratch else group.out + i * slices.out_next
                constants.r = reciprocal_in_all_lanes(reciprocal_at(&r, i))
                finish_short(
                    kept, NULL, group.out + i * slices.out_next, length, &constants, SOFTMAX, slices.stream)
            else:
                s = slice_at(slices, first + i)
                deliver_value(&s, 0, length, scratch, NAN, 0)
        first += group.count
        group, after = after, group


cdef inline void softmax_results(
    const Slice *s, Py_ssize_t start, Py_ssize_t end, const char *kept, Shift shift, total sum_, char *scratch
) noexcept nogil:
    """The third pass, over whole blocks. kept: the exponentials of all elements, or NULL."""
    cdef Py_ssize_t count
    cdef const char *block
    cdef char *target
    cdef bint stream
    cdef Constants constants
    if not is_number(sum_):
        deliver_value(s, start, end, scratch, NAN, 0)
        return
    constants.r = reciprocal_in_all_lanes(total_reciprocal(sum_))
    while start < end:
        count = block_at(start, end)
        target = room_for(s, start, scratch)
        if kept != NULL:
            block = kept + start * <Py_ssize_t> sizeof(real)
        else:
            block_exponentials(fetch(s, start, count, scratch), scratch, count, shift)
            block = scratch
        stream = s.all.stream and target != scratch and kept == NULL
        finish(block, NULL, target, count, &constants, SOFTMAX, stream)
        deliver(s, start, count, scratch, 0)
        start += count


cdef inline char *room_for_exponentials(const Slice *s) noexcept nogil:
    """`out`, or NULL where it cannot hold them."""
    return s.out if s.keep == NULL and contiguous(s.all.out_elements) else NULL


cdef void softmax_slice(const Slice *s, char *scratch) noexcept nogil:
    """A slice of any length and strides, in blocks."""
    cdef Py_ssize_t length = s.all.length
    cdef Py_ssize_t start, count
    cdef real top
    cdef const char *block = NULL
    cdef char *kept = NULL
    cdef Shift shift
    cdef total t, of_block
    if length <= block_length():
        # One block is brought side by side once.
        kept = scratch
        top = fetched_max(s, 0, length, scratch, -INFINITY, &block)
    else:
        top = slice_max(s, scratch)
    if not has_softmax(top):
        deliver_value(s, 0, length, scratch, NAN if anything_kept(s) else 0, 0)
        return
    shift = shift_to(top, s.all.scale)
    if kept != scratch:
        kept = room_for_exponentials(s)

    t.hi = t.lo = 0
    start = 0
    while start < length:
        count = block_at(start, length)
        if kept != scratch:
            block = fetch(s, start, count, scratch)
        if kept != NULL:
            of_block = block_exponentials(block, kept + start * <Py_ssize_t> sizeof(real), count, shift)
        else:
            of_block = block_exponentials_alone(block, count, shift)
        t = total_add(t, of_block)
        start += count
    softmax_results(s, 0, length, kept, shift, t, scratch)


cdef inline bint suit_one_vector(const Slices *slices) noexcept nogil:
    """A few contiguous slices of at most a vector each."""
    return (
        slices.length <= LANES and slices.count < LANES // 2 and slices.keep == NULL
        and contiguous(slices.x_elements) and contiguous(slices.out_elements)
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
        shifts = shifts_from(v_set(top), 1, v_set(0), True)
        e = exp_shifted(elements, shifts, True)
    else:
        shifts = shifts_to(v_set(top), scale)
        e = exp_shifted(elements, shifts, False)
    counted = first_of(e, count)
    sum_ = vsum_total(vsum_add(vsum_start(), counted.value, counted.power, counted.small))
    if not is_number(sum_):
        return False
    v_store_first(out, reciprocals_times(reciprocal_in_all_lanes(total_reciprocal(sum_)), e.value), count)
    return True


cdef void softmax_slices(const Slices *slices) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s
    cdef Py_ssize_t i
    if suit_one_vector(slices):
        for i in range(slices.count):
            s = slice_at(slices, i)
            if not softmax_vector(s.x, s.out, slices.length, <real> slices.scale):
                softmax_slice(&s, scratch)
    elif suit_tiles(slices, SOFTMAX_TILES, False):
        in_tiles(slices, scratch, SOFTMAX)
    elif slices.count > 1 and are_blocks(slices) and contiguous(slices.out_elements):
        softmax_groups(slices, scratch)
    elif are_columns(slices, False):
        in_panels(slices, scratch, SOFTMAX)
    elif suit_gathering(slices) and not are_rows(slices, False):
        as_gathered(slices, softmax_slices, False)
    else:
        for i in range(slices.count):
            s = slice_at(slices, i)
            softmax_slice(&s, scratch)
    if slices.stream:
        v_stream_end()
