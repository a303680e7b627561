# A slice is walked in blocks of BLOCK_BYTES. A block of a slice that is strided, or of which a part is dropped, is
# gathered into scratch (scratch.h), so that no slice is ever copied whole; others are used where they lie.

cdef inline Py_ssize_t block_length() noexcept nogil:
    return BLOCK_BYTES // <Py_ssize_t> sizeof(real)


cdef inline Py_ssize_t count_block(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """Elements in the block that begins with element `start`."""
    return block_length() if length - start > block_length() else length - start


cdef inline Py_ssize_t count_to_line(const char *out, Py_ssize_t count, int vectors) noexcept nogil:
    """How many elements to write first, so that no vector after them straddles two cache lines.

    Such a store costs twice; below some `vectors` the detour costs more. 0 too where no element begins at a line.
    """
    if count < vectors * LANES or <uintptr_t> out % sizeof(real):
        return 0
    return (-<uintptr_t> out % CACHE_LINE) // sizeof(real)


cdef struct Slice:
    const char *x
    char *out
    const char *mask
    const Slices *all


cdef inline Slice take_slice(const Slices *slices, Py_ssize_t i) noexcept nogil:
    cdef Slice s
    s.x = slices.x + i * slices.x_next
    s.out = slices.out + i * slices.out_next if slices.out != NULL else NULL
    s.mask = slices.mask + i * slices.mask_next if slices.mask != NULL else NULL
    s.all = slices
    return s


cdef void drop(const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, real value) noexcept nogil:
    """Put value in the place of what is dropped."""
    cdef char[MOST_IN_BLOCK] mask
    cdef real *p = <real *> scratch
    cdef Py_ssize_t i
    gather_raw(s.mask, s.all.mask_elements, start, count, mask, 1)
    for i in range(count):
        if not mask[i]:
            p[i] = value


cdef inline const char *fetch(const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch) noexcept nogil:
    """Where a block of x lies side by side, what is dropped being -inf: in x itself, or copied to scratch."""
    if s.mask == NULL and are_contiguous(s.all.x_elements):
        return s.x + start * <Py_ssize_t> sizeof(real)
    gather(s.x, s.all.x_elements, start, count, scratch)
    if s.mask != NULL:
        drop(s, start, count, scratch, -INFINITY)
    return scratch


cdef bint keeps_anything(const Slice *s) noexcept nogil:
    cdef char[MOST_IN_BLOCK] mask
    cdef Py_ssize_t start = 0, count
    if s.mask == NULL:
        return True
    while start < s.all.length:
        count = min(s.all.length - start, <Py_ssize_t> MOST_IN_BLOCK)
        gather_raw(s.mask, s.all.mask_elements, start, count, mask, 1)
        if memchr(mask, 1, count) != NULL:
            return True
        start += count
    return False


cdef inline char *find_room(const Slice *s, Py_ssize_t start, char *scratch) noexcept nogil:
    """Where a block of the result is to be written before `deliver`: in out itself, or in scratch."""
    if s.mask == NULL and are_contiguous(s.all.out_elements):
        return s.out + start * <Py_ssize_t> sizeof(real)
    return scratch


cdef inline void deliver(
    const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, real dropped
) noexcept nogil:
    """Bring a block of the result from `find_room` to its place."""
    if s.mask != NULL:
        drop(s, start, count, scratch, dropped)
    elif are_contiguous(s.all.out_elements):
        return
    scatter(scratch, s.out, s.all.out_elements, start, count)


cdef void deliver_value(
    const Slice *s, Py_ssize_t start, Py_ssize_t end, char *scratch, real value, real dropped
) noexcept nogil:
    """Give some elements one value, or `dropped`."""
    cdef Py_ssize_t count
    if s.mask == NULL:
        scatter_value(value, s.out, s.all.out_elements, start, end - start)
        return
    while start < end:
        count = count_block(start, end)
        copy_elements(<const char *> &value, 0, scratch, sizeof(real), count, sizeof(real))
        deliver(s, start, count, scratch, dropped)
        start += count


cdef inline Py_ssize_t count_half_block(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    return min(length - start, block_length() // 2)
