# The elements of a slice, wherever they lie and whatever they are: gathered side by side as reals, and scattered back.

cdef enum:
    MOST_IN_BLOCK = 4096    # elements
    MOST_LANES = 16         # what LANES can be
    CONVERTED_AT_ONCE = 64  # elements


cdef inline bint are_contiguous(const Elements *elements) noexcept nogil:
    """Reals side by side."""
    return elements.kind == KIND_REAL and elements.ndim == 1 and elements.strides[0] == <Py_ssize_t> sizeof(real)


cdef inline Elements describe_reals(Py_ssize_t length, Py_ssize_t stride) noexcept nogil:
    """The elements of a slice in scratch."""
    cdef Elements elements
    elements.kind = KIND_REAL
    elements.ndim = 1
    elements.shape[0] = length
    elements.strides[0] = stride
    return elements


cdef inline Py_ssize_t find_run(const Elements *elements, Py_ssize_t index, Py_ssize_t *offset) noexcept nogil:
    """Where element `index` lies, and how many there are from it to the end of the last axis."""
    cdef int last = elements.ndim - 1, d
    cdef Py_ssize_t position = index, rest = index
    offset[0] = 0
    for d in range(last, 0, -1):
        position = rest % elements.shape[d]
        rest = rest // elements.shape[d]
        offset[0] += position * elements.strides[d]
        if d == last:
            index = position
    offset[0] += rest * elements.strides[0]
    return elements.shape[last] - index


cdef inline void copy_elements(
    const char *source, Py_ssize_t source_step, char *target, Py_ssize_t target_step, Py_ssize_t count, size_t size
) noexcept nogil:
    """`size` must be a compile-time constant: each element is one move."""
    cdef Py_ssize_t i
    if source_step == <Py_ssize_t> size and target_step == <Py_ssize_t> size:
        memcpy(target, source, count * size)
        return
    for i in range(count):
        memcpy(target + i * target_step, source + i * source_step, size)


cdef inline void gather_raw(
    const char *slice_, const Elements *elements, Py_ssize_t start, Py_ssize_t count, char *scratch, size_t size
) noexcept nogil:
    """Copy `count` elements of `size` bytes, from element `start` on, side by side into scratch."""
    cdef Py_ssize_t step = elements.strides[elements.ndim - 1]
    cdef Py_ssize_t done = 0, run, offset
    while done < count:
        run = min(find_run(elements, start + done, &offset), count - done)
        copy_elements(slice_ + offset, step, scratch + done * <Py_ssize_t> size, size, run, size)
        done += run


cdef void gather_converted(
    const char *slice_, const Elements *elements, Py_ssize_t start, Py_ssize_t count, char *scratch
) noexcept nogil:
    """Each element becomes a real."""
    cdef char[8 * CONVERTED_AT_ONCE] raw
    cdef size_t size = kind_size(elements.kind)
    cdef Py_ssize_t done = 0, some
    if elements.ndim == 1 and elements.strides[0] == <Py_ssize_t> size and not elements.kind & KIND_SWAPPED:
        widen(slice_ + start * <Py_ssize_t> size, elements.kind, scratch, count)
        return
    while done < count:
        some = min(count - done, <Py_ssize_t> CONVERTED_AT_ONCE)
        if size == 1:
            gather_raw(slice_, elements, start + done, some, raw, 1)
        elif size == 2:
            gather_raw(slice_, elements, start + done, some, raw, 2)
        elif size == 4:
            gather_raw(slice_, elements, start + done, some, raw, 4)
        else:
            gather_raw(slice_, elements, start + done, some, raw, 8)
        if elements.kind & KIND_SWAPPED:
            swap_bytes(raw, size, some)
        widen(raw, elements.kind, scratch + done * <Py_ssize_t> sizeof(real), some)
        done += some


cdef inline void gather(
    const char *slice_, const Elements *elements, Py_ssize_t start, Py_ssize_t count, char *scratch
) noexcept nogil:
    """Bring `count` elements, from element `start` on, side by side into scratch, as reals."""
    if elements.kind == KIND_REAL:
        gather_raw(slice_, elements, start, count, scratch, sizeof(real))
    else:
        gather_converted(slice_, elements, start, count, scratch)


cdef inline real read_element(const char *slice_, const Elements *elements, Py_ssize_t i) noexcept nogil:
    cdef real value
    if are_contiguous(elements):
        memcpy(&value, slice_ + i * <Py_ssize_t> sizeof(real), sizeof(real))
    else:
        gather(slice_, elements, i, 1, <char *> &value)
    return value


cdef inline void scatter_raw(
    const char *scratch, Py_ssize_t scratch_step, char *slice_, const Elements *elements,
    Py_ssize_t start, Py_ssize_t count, size_t size,
) noexcept nogil:
    cdef Py_ssize_t step = elements.strides[elements.ndim - 1]
    cdef Py_ssize_t done = 0, run, offset
    while done < count:
        run = min(find_run(elements, start + done, &offset), count - done)
        copy_elements(scratch + done * scratch_step, scratch_step, slice_ + offset, step, run, size)
        done += run


cdef inline void scatter(
    char *scratch, char *slice_, const Elements *elements, Py_ssize_t start, Py_ssize_t count
) noexcept nogil:
    """The way back: reals in scratch, which is lost, to elements."""
    if elements.kind == KIND_REAL:
        scatter_raw(scratch, sizeof(real), slice_, elements, start, count, sizeof(real))
    elif elements.ndim == 1 and elements.strides[0] == 2:
        narrow(scratch, elements.kind, slice_ + 2 * start, count)
    else:
        narrow(scratch, elements.kind, scratch, count)
        scatter_raw(scratch, 2, slice_, elements, start, count, 2)


cdef inline void scatter_value(
    real value, char *slice_, const Elements *elements, Py_ssize_t start, Py_ssize_t count
) noexcept nogil:
    """One value everywhere."""
    if elements.kind == KIND_REAL:
        scatter_raw(<char *> &value, 0, slice_, elements, start, count, sizeof(real))
    else:
        narrow(<char *> &value, elements.kind, <char *> &value, 1)
        scatter_raw(<char *> &value, 0, slice_, elements, start, count, 2)


cdef inline void write_result(real value, char *out, int kind) noexcept nogil:
    """The one result of a slice."""
    value = one_nan(value)
    if kind == KIND_REAL:
        memcpy(out, &value, sizeof(real))
    else:
        narrow(<char *> &value, kind, out, 1)
