# Short slices that are neither rows nor columns of reals (strided both ways, of another byte order, integers, 16-bit
# floats): brought side by side as rows in scratch, some at a time, so that the kernels for rows can take them together.

cdef enum:
    RESULTS_AT_ONCE = 256


cdef inline bint suit_gathering(const Slices *slices) noexcept nogil:
    """Where at least two fit."""
    return (
        slices.mask == NULL and slices.count > 1
        and slices.length * <Py_ssize_t> sizeof(real) <= BLOCK_BYTES // 4
    )


cdef inline bint without_gaps(const Elements *elements, Py_ssize_t next_, Py_ssize_t length) noexcept nogil:
    """Whether the end of a slice is the beginning of the next."""
    cdef Py_ssize_t size = <Py_ssize_t> kind_size(elements.kind)
    return elements.ndim == 1 and elements.strides[0] == size and next_ == length * size


cdef void gather_slices(
    const char *source, Py_ssize_t next_, const Elements *elements, Py_ssize_t count, Py_ssize_t length, char *rows
) noexcept nogil:
    cdef Elements all
    cdef Py_ssize_t i
    if without_gaps(elements, next_, length):
        all = elements[0]
        all.shape[0] = count * length
        gather(source, &all, 0, count * length, rows)
        return
    for i in range(count):
        gather(source + i * next_, elements, 0, length, rows + i * length * <Py_ssize_t> sizeof(real))


cdef void scatter_slices(
    char *rows, char *target, Py_ssize_t next_, const Elements *elements, Py_ssize_t count, Py_ssize_t length
) noexcept nogil:
    cdef Elements all
    cdef Py_ssize_t i
    if without_gaps(elements, next_, length):
        all = elements[0]
        all.shape[0] = count * length
        scatter(rows, target, &all, 0, count * length)
        return
    for i in range(count):
        scatter(rows + i * length * <Py_ssize_t> sizeof(real), target + i * next_, elements, 0, length)


cdef void walk_gathered(const Slices *slices, SlicesKernel kernel, bint one_result) noexcept nogil:
    """Slices that suit_gathering and are not are_rows, by a kernel that gets rows."""
    cdef bint two_inputs = slices.y != NULL
    cdef Py_ssize_t room = BLOCK_BYTES // 2 if two_inputs else BLOCK_BYTES
    cdef char *x = thread_buffer(GATHERED_BUFFER)
    cdef char *y = x + room
    cdef Py_ssize_t row = slices.length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t most = room // row
    cdef Py_ssize_t first = 0, i
    cdef real[RESULTS_AT_ONCE] results
    cdef Elements elements = describe_reals(slices.length, sizeof(real))
    cdef Slices rows = slices[0]
    rows.x_elements = rows.y_elements = rows.out_elements = &elements
    rows.x_next = rows.y_next = rows.out_next = row
    rows.x = rows.out = x
    rows.y = y if two_inputs else NULL
    rows.stream = False
    if one_result:
        rows.out = <char *> results
        rows.out_next = sizeof(real)
        most = min(most, <Py_ssize_t> RESULTS_AT_ONCE)
    while first < slices.count:
        rows.count = min(slices.count - first, most)
        gather_slices(
            slices.x + first * slices.x_next, slices.x_next, slices.x_elements, rows.count, slices.length, x)
        if two_inputs:
            gather_slices(
                slices.y + first * slices.y_next, slices.y_next, slices.y_elements, rows.count, slices.length, y)
        kernel(&rows)
        if one_result:
            for i in range(rows.count):
                write_result(results[i], slices.out + (first + i) * slices.out_next, slices.out_elements.kind)
        else:
            scatter_slices(
                x, slices.out + first * slices.out_next, slices.out_next, slices.out_elements, rows.count,
                slices.length)
        first += rows.count
