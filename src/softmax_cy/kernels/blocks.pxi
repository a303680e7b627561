# A slice is walked in blocks of BLOCK_BYTES. A block of a strided slice is gathered into scratch on the stack, so that
# no slice is ever copied whole; a contiguous one is used where it lies.

cdef enum:
    BLOCK_BYTES = 16384     # part of the meaning of a sum: sums.h, point b. Fits a first-level cache twice.
    CACHE_LINE = 64


cdef struct Scratch:
    char[BLOCK_BYTES + CACHE_LINE] bytes


cdef inline char *aligned(Scratch *scratch) noexcept nogil:
    """The first address in scratch from which no vector straddles two cache lines."""
    return scratch.bytes + (-<uintptr_t> scratch.bytes % CACHE_LINE)


cdef inline Py_ssize_t block_length() noexcept nogil:
    return BLOCK_BYTES // <Py_ssize_t> sizeof(real)


cdef inline Py_ssize_t block_at(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """Elements in the block that begins with element `start`."""
    return block_length() if length - start > block_length() else length - start


cdef inline bint contiguous(Py_ssize_t step) noexcept nogil:
    return step == <Py_ssize_t> sizeof(real)


cdef inline const char *gather(const char *x, Py_ssize_t step, Py_ssize_t count, char *scratch) noexcept nogil:
    """Where `count` elements lie side by side: at x, or copied to scratch."""
    cdef Py_ssize_t i
    if contiguous(step):
        return x
    for i in range(count):
        memcpy(scratch + i * sizeof(real), x + i * step, sizeof(real))
    return scratch


cdef inline void scatter(const char *scratch, char *out, Py_ssize_t step, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        memcpy(out + i * step, scratch + i * sizeof(real), sizeof(real))


cdef inline void scatter_value(real value, char *out, Py_ssize_t step, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        memcpy(out + i * step, &value, sizeof(real))


cdef inline Py_ssize_t elements_to_line(const char *out, Py_ssize_t count) noexcept nogil:
    """How many elements to write first, so that no vector after them straddles two cache lines.

    Such a store costs twice; below some vectors the detour costs more. 0 too where no element begins at a line.
    """
    if count < 8 * LANES or <uintptr_t> out % sizeof(real):
        return 0
    return (-<uintptr_t> out % CACHE_LINE) // sizeof(real)
