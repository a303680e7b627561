# What a block, or a slice, leaves behind: its largest element, and the sum of its exponentials.

cdef enum:
    MOST_TOPS = BLOCK_BYTES // 8    # that a thread has room for


cdef struct Tops:
    # The largest elements of the blocks of a slice, as doubles; `first` is NULL where nobody has written them down.
    const char *first
    Py_ssize_t step


cdef inline Tops keep_no_tops() noexcept nogil:
    return Tops(first=NULL, step=0)


cdef inline Tops keep_tops(Py_ssize_t length) noexcept nogil:
    """In a buffer of this thread, unless they are too many."""
    if length > MOST_TOPS * block_length():
        return keep_no_tops()
    return Tops(first=thread_buffer(TOPS_BUFFER), step=sizeof(double))


cdef bint has_nan(const char *x, Py_ssize_t count) noexcept nogil:
    cdef const real *p = <const real *> x
    cdef vreal found = v_set(0), a
    cdef Py_ssize_t i = 0
    while i < count:
        a = v_load_first(p + i, min(count - i, LANES), 0)
        found = v_max(found, v_where_unequal(a, a, v_set(1)))
        i += LANES
    return v_max_across(found) > 0


cdef void summarize_elements(
    const char *x, char *kept, Py_ssize_t count, real top, const Shifts *shifts, BlockSum *block
) noexcept nogil:
    """The sum of a block whose largest element and shift these are. `kept` is not x: where its exponentials are left."""
    cdef total all_ = sum_exponentials(x, kept, count, shifts)
    cdef Exponential largest
    cdef total others
    block.top = top
    block.second_hi = block.second_lo = 0
    if not has_softmax(top):
        block.hi = NAN if has_nan(x, count) else 0
        block.lo = 0
        return
    largest = compute_largest(top, shifts[0])
    others = subtract_largest(all_, largest)
    if others.hi < FEW_OTHERS * v_first(largest.value):
        others = sum_below_top(x, count, shifts, top)
    block.hi = others.hi
    block.lo = others.lo


cdef void summarize_block(
    const Slice *s, Py_ssize_t start, char *kept, char *scratch, BlockSum *block
) noexcept nogil:
    """Of the block that begins with element `start`. `kept`: where all exponentials of the slice are left, or NULL."""
    cdef Py_ssize_t count = count_block(start, s.all.length)
    cdef const char *x
    cdef real top = fetch_max(s, start, count, scratch, -INFINITY, &x)
    cdef Shifts shifts = find_shifts(v_set(top), s.all.scale)
    if kept != NULL:
        kept += start * <Py_ssize_t> sizeof(real)
        if kept == x:
            # x may be needed once more.
            memcpy(scratch, x, count * sizeof(real))
            x = scratch
    summarize_elements(x, kept, count, top, &shifts, block)


cdef LogSum find_long_sum(const Slice *s, char *kept, Tops tops, char *scratch) noexcept nogil:
    """find_log_sum of a slice of several blocks, whose largest elements are written down where there is room for them."""
    cdef Joined joined = join_nothing()
    cdef BlockSum block
    cdef Py_ssize_t start = 0
    while start < s.all.length:
        summarize_block(s, start, kept, scratch, &block)
        if tops.first != NULL:
            (<double *> (tops.first + start // block_length() * tops.step))[0] = block.top
        join_block(&joined, &block, <real> s.all.scale)
        start += block_length()
    return finish_log_sum(&joined)


cdef LogSum find_log_sum(const Slice *s, char *kept, Tops tops, char *scratch) noexcept nogil:
    """`over` is NaN where an element is. `kept`, which is not x: where all exponentials are left, or NULL."""
    cdef Shifts shifts
    cdef BlockSum block
    cdef Exponential largest
    cdef LogSum sum_
    cdef const char *x
    cdef Py_ssize_t length = s.all.length
    if length > block_length():
        return find_long_sum(s, kept, tops, scratch)
    sum_.top = fetch_max(s, 0, length, scratch, -INFINITY, &x)
    if not has_softmax(sum_.top):
        sum_.over = total_of(NAN if has_nan(x, length) else 0)
        return sum_
    shifts = find_shifts(v_set(sum_.top), s.all.scale)
    largest = compute_largest(sum_.top, shifts)
    sum_.all_ = sum_exponentials(x, kept, length, &shifts)
    sum_.others = find_others(sum_.all_, largest)
    if sum_.others.hi < FEW_OTHERS:
        sum_.others = total_over(sum_below_top(x, length, &shifts, sum_.top), read_exactly(largest))
    sum_.over = total_log1p(sum_.others)
    return sum_


cdef inline real find_top_of_block(
    const Slice *s, const LogSum *sum_, Tops tops, Py_ssize_t start, char *scratch
) noexcept nogil:
    """The largest element of the block that begins with element `start`."""
    if s.all.length <= block_length():
        return sum_.top
    if tops.first != NULL:
        return <real> (<const double *> (tops.first + start // block_length() * tops.step))[0]
    return find_range_max(s, start, start + count_block(start, s.all.length), scratch)


cdef inline void lower_elements(char *elements, Py_ssize_t count, int steps) noexcept nogil:
    """Divide numbers by RAISE so many times."""
    cdef real *p = <real *> elements
    cdef Py_ssize_t i, step
    for step in range(steps if steps < MOST_STEPS else MOST_STEPS):
        for i in range(count):
            p[i] *= 1 / RAISE


cdef inline reciprocals prepare_block(
    const Slice *s, const LogSum *sum_, real top, Py_ssize_t start, Py_ssize_t count, const char *kept, char *scratch,
    const char **block,
) noexcept nogil:
    """The exponentials of (a part of) a block whose largest element is top, and one over the sum of all in their unit.

    `kept`: the exponentials of all elements, or NULL.
    """
    cdef Shifts shifts = find_shifts(v_set(top), s.all.scale)
    cdef lowered_total all_ = find_sum_for_block(sum_, top, &shifts, <real> s.all.scale)
    if kept != NULL:
        block[0] = kept + start * <Py_ssize_t> sizeof(real)
    else:
        sum_exponentials(fetch(s, start, count, scratch), scratch, count, &shifts)
        block[0] = scratch
    if all_.steps > 0:
        lower_elements(<char *> block[0], count, all_.steps)
    return reciprocal_in_all_lanes(total_reciprocal(all_.sum))
