# What a block, or a slice, leaves behind: its largest element, and the sum of its exponentials.

cdef struct Units:
    # Those of the blocks of a slice; `first` is NULL where nobody has written them down.
    const char *first
    Py_ssize_t step


cdef inline Units keep_no_units() noexcept nogil:
    return Units(first=NULL, step=0)


cdef inline Units keep_units(Py_ssize_t length) noexcept nogil:
    """In a buffer of this thread, unless they are too many."""
    if length > BLOCK_BYTES // <Py_ssize_t> sizeof(BlockUnit) * block_length():
        return keep_no_units()
    return Units(first=thread_buffer(UNITS_BUFFER), step=sizeof(BlockUnit))


cdef inline BlockUnit *find_place(Units units, Py_ssize_t start) noexcept nogil:
    return <BlockUnit *> (units.first + start // block_length() * units.step)


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
    const char *x, char *kept, Py_ssize_t count, real top, real scale, BlockSum *block, Unit *unit
) noexcept nogil:
    """What a block whose largest element is `top` leaves behind. `kept` is not x: where its exponentials are left."""
    cdef real number = replace_infinite(top)
    cdef Shifts shifts = find_shifts(v_set(number), scale)
    cdef Exponential largest = compute_largest(number, shifts)
    cdef total others = subtract_largest(sum_exponentials(x, kept, count, &shifts), largest)
    unit[0] = read_unit(&shifts, v_set(top), largest, 0)
    block.unit = unit.block
    if not has_softmax(top):
        others = total_of(NAN if has_nan(x, count) else 0)
    elif others.hi < FEW_OTHERS * unit.largest.hi:
        others = sum_below_top(x, count, &shifts, top)
    set_block_sums(block, others, total_of(0))


cdef void summarize_block(
    const Slice *s, Py_ssize_t start, char *kept, char *scratch, BlockSum *block, Unit *unit
) noexcept nogil:
    """Of the block that begins with element `start`. `kept`: where all exponentials of the slice are left, or NULL."""
    cdef Py_ssize_t count = count_block(start, s.all.length)
    cdef const char *x
    cdef real top = fetch_block_max(s, start, count, scratch, &x)
    if kept != NULL:
        kept += start * <Py_ssize_t> sizeof(real)
        if kept == x:
            # x may be needed once more.
            memcpy(scratch, x, count * sizeof(real))
            x = scratch
    summarize_elements(x, kept, count, top, <real> s.all.scale, block, unit)


cdef LogSum find_long_sum(const Slice *s, char *kept, Units units, char *scratch) noexcept nogil:
    """find_log_sum of a slice of several blocks, whose units are written down where there is room for them."""
    cdef Joined joined = join_nothing()
    cdef BlockSum block
    cdef Unit unit
    cdef Py_ssize_t start = 0
    while start < s.all.length:
        summarize_block(s, start, kept, scratch, &block, &unit)
        if units.first != NULL:
            find_place(units, start)[0] = block.unit
        join_block(&joined, &block, &unit, <real> s.all.scale)
        start += block_length()
    return finish_log_sum(&joined)


cdef LogSum find_log_sum(const Slice *s, char *kept, Units units, char *scratch) noexcept nogil:
    """`over` is NaN where an element is. `kept`, which is not x: where all exponentials are left, or NULL."""
    cdef Shifts shifts
    cdef Exponential largest
    cdef LogSum sum_ = start_log_sum()
    cdef const char *x
    cdef Py_ssize_t length = s.all.length
    if length > block_length():
        return find_long_sum(s, kept, units, scratch)
    sum_.top = fetch_block_max(s, 0, length, scratch, &x)
    if not has_softmax(sum_.top):
        sum_.over = total_of(NAN if has_nan(x, length) else 0)
        return sum_
    shifts = find_shifts(v_set(sum_.top), s.all.scale)
    largest = compute_largest(sum_.top, shifts)
    sum_.unit.block.top = sum_.top
    sum_.all_ = sum_exponentials(x, kept, length, &shifts)
    sum_.others = find_others(sum_.all_, largest)
    if sum_.others.hi < FEW_OTHERS:
        sum_.others = total_over(sum_below_top(x, length, &shifts, sum_.top), read_exactly(largest))
    sum_.over = total_log1p(sum_.others)
    return sum_


cdef BlockUnit find_unit_of_block(
    const Slice *s, const LogSum *sum_, Units units, Py_ssize_t start, char *scratch
) noexcept nogil:
    """The unit of the block that begins with element `start`."""
    if s.all.length <= block_length():
        return sum_.unit.block
    if units.first != NULL:
        return find_place(units, start)[0]
    return measure_unit(
        find_range_max(s, start, start + count_block(start, s.all.length), scratch), <real> s.all.scale).block


cdef void lower_elements(char *elements, Py_ssize_t count, int steps) noexcept nogil:
    """Divide numbers by RAISE so many times."""
    cdef real *p = <real *> elements
    cdef Py_ssize_t i, step
    for step in range(steps if steps < MOST_STEPS else MOST_STEPS):
        for i in range(count):
            p[i] *= 1 / RAISE


cdef reciprocals prepare_block(
    const Slice *s, const LogSum *sum_, const BlockUnit *unit, Py_ssize_t start, Py_ssize_t count, const char *kept,
    char *scratch, const char **block,
) noexcept nogil:
    """The exponentials of (a part of) a block with this unit, and one over the sum of all in it.

    `kept`: the exponentials of all elements, or NULL.
    """
    cdef lowered_total all_ = convert_sum_back(sum_.all_, &sum_.unit, unit, <real> s.all.scale)
    cdef Shifts shifts
    if kept != NULL:
        block[0] = kept + start * <Py_ssize_t> sizeof(real)
    else:
        shifts = find_shifts(v_set(replace_infinite(<real> unit.top)), s.all.scale)
        sum_exponentials(fetch(s, start, count, scratch), scratch, count, &shifts)
        block[0] = scratch
    if all_.steps > 0:
        lower_elements(<char *> block[0], count, all_.steps)
    return reciprocal_in_all_lanes(total_reciprocal(all_.sum))
