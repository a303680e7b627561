# A slice is walked in blocks of BLOCK_BYTES. A block of a slice that is strided, or of which a part is dropped, is
# gathered into scratch (scratch.h), so that no slice is ever copied whole; others are used where they lie.

cdef enum:
    MOST_IN_BLOCK = 4096    # elements
    MOST_LANES = 16         # what LANES can be
    CONVERTED_AT_ONCE = 64  # elements


cdef inline Py_ssize_t block_length() noexcept nogil:
    return BLOCK_BYTES // <Py_ssize_t> sizeof(real)


cdef inline Py_ssize_t block_at(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """Elements in the block that begins with element `start`."""
    return block_length() if length - start > block_length() else length - start


cdef inline Py_ssize_t elements_to_line(const char *out, Py_ssize_t count, int vectors) noexcept nogil:
    """How many elements to write first, so that no vector after them straddles two cache lines.

    Such a store costs twice; below some `vectors` the detour costs more. 0 too where no element begins at a line.
    """
    if count < vectors * LANES or <uintptr_t> out % sizeof(real):
        return 0
    return (-<uintptr_t> out % CACHE_LINE) // sizeof(real)


# ---- strided elements --------------------------------------------------------------------------------------------

cdef inline bint contiguous(const Elements *elements) noexcept nogil:
    """Reals side by side."""
    return elements.kind == KIND_REAL and elements.ndim == 1 and elements.strides[0] == <Py_ssize_t> sizeof(real)


cdef inline Elements reals(Py_ssize_t length, Py_ssize_t stride) noexcept nogil:
    """The elements of a slice in scratch."""
    cdef Elements elements
    elements.kind = KIND_REAL
    elements.ndim = 1
    elements.shape[0] = length
    elements.strides[0] = stride
    return elements


cdef inline Py_ssize_t run_at(const Elements *elements, Py_ssize_t index, Py_ssize_t *offset) noexcept nogil:
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
    """`size` is a constant of the caller: each element is one move."""
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
        run = min(run_at(elements, start + done, &offset), count - done)
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


cdef inline real real_element(const char *slice_, const Elements *elements, Py_ssize_t i) noexcept nogil:
    cdef real value
    if contiguous(elements):
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
        run = min(run_at(elements, start + done, &offset), count - done)
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


# ---- one slice ---------------------------------------------------------------------------------------------------

cdef struct Slice:
    const char *x
    char *out
    const char *keep
    const Slices *all


cdef inline Slice slice_at(const Slices *slices, Py_ssize_t i) noexcept nogil:
    cdef Slice s
    s.x = slices.x + i * slices.x_next
    s.out = slices.out + i * slices.out_next if slices.out != NULL else NULL
    s.keep = slices.keep + i * slices.keep_next if slices.keep != NULL else NULL
    s.all = slices
    return s


cdef inline const char *fetch(const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch) noexcept nogil:
    """Where a block of x lies side by side, what is dropped being -inf: in x itself, or copied to scratch."""
    if s.keep == NULL and contiguous(s.all.x_elements):
        return s.x + start * <Py_ssize_t> sizeof(real)
    gather(s.x, s.all.x_elements, start, count, scratch)
    if s.keep != NULL:
        drop(s, start, count, scratch, -INFINITY)
    return scratch


cdef void drop(const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, real value) noexcept nogil:
    """Put value in the place of what is dropped."""
    cdef char[MOST_IN_BLOCK] keep
    cdef real *p = <real *> scratch
    cdef Py_ssize_t i
    gather_raw(s.keep, s.all.keep_elements, start, count, keep, 1)
    for i in range(count):
        if not keep[i]:
            p[i] = value


cdef bint anything_kept(const Slice *s) noexcept nogil:
    cdef char[MOST_IN_BLOCK] keep
    cdef Py_ssize_t start = 0, count
    if s.keep == NULL:
        return True
    while start < s.all.length:
        count = min(s.all.length - start, <Py_ssize_t> MOST_IN_BLOCK)
        gather_raw(s.keep, s.all.keep_elements, start, count, keep, 1)
        if memchr(keep, 1, count) != NULL:
            return True
        start += count
    return False


cdef inline char *room_for(const Slice *s, Py_ssize_t start, char *scratch) noexcept nogil:
    """Where a block of the result is to be written before `deliver`: in out itself, or in scratch."""
    if s.keep == NULL and contiguous(s.all.out_elements):
        return s.out + start * <Py_ssize_t> sizeof(real)
    return scratch


cdef inline void deliver(
    const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, real dropped
) noexcept nogil:
    """Bring a block of the result from `room_for` to its place."""
    if s.keep != NULL:
        drop(s, start, count, scratch, dropped)
    elif contiguous(s.all.out_elements):
        return
    scatter(scratch, s.out, s.all.out_elements, start, count)


cdef void deliver_value(
    const Slice *s, Py_ssize_t start, Py_ssize_t end, char *scratch, real value, real dropped
) noexcept nogil:
    """Give some elements one value, or `dropped`."""
    cdef Py_ssize_t count
    if s.keep == NULL:
        scatter_value(value, s.out, s.all.out_elements, start, end - start)
        return
    while start < end:
        count = block_at(start, end)
        copy_elements(<const char *> &value, 0, scratch, sizeof(real), count, sizeof(real))
        deliver(s, start, count, scratch, dropped)
        start += count


cdef inline bint are_blocks(const Slices *slices) noexcept nogil:
    """Contiguous slices of at most one block."""
    return slices.keep == NULL and slices.length <= block_length() and contiguous(slices.x_elements)
