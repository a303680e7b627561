# The first pass: the largest element of a slice.

cdef inline vreal find_block_maxima(const char *x, Py_ssize_t count, real top) noexcept nogil:
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


cdef inline real find_block_max(const char *x, Py_ssize_t count, real top) noexcept nogil:
    return v_max_across(find_block_maxima(x, count, top))


cdef inline bint are_halves(const Slice *s) noexcept nogil:
    """16-bit floats side by side."""
    cdef const Elements *elements = s.all.x_elements
    return (
        (elements.kind == KIND_FLOAT16 or elements.kind == KIND_BFLOAT16)
        and elements.ndim == 1 and elements.strides[0] == 2 and s.mask == NULL)


cdef inline real fetch_max(
    const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, real top, const char **block
) noexcept nogil:
    """find_block_max of what `fetch` brings."""
    if are_halves(s):
        block[0] = scratch
        return widen_to_max(s.x + 2 * start, s.all.x_elements.kind, scratch, count, top)
    block[0] = fetch(s, start, count, scratch)
    return find_block_max(block[0], count, top)


cdef real fetch_block_max(
    const Slice *s, Py_ssize_t start, Py_ssize_t count, char *scratch, const char **block
) noexcept nogil:
    """fetch_max by itself, as a called function."""
    return fetch_max(s, start, count, scratch, -INFINITY, block)


cdef real find_range_max(const Slice *s, Py_ssize_t start, Py_ssize_t end, char *scratch) noexcept nogil:
    """The largest element that is kept and not NaN, or -inf."""
    cdef real top = -INFINITY
    cdef Py_ssize_t count
    cdef const char *block
    while start < end:
        count = count_block(start, end)
        top = max(top, fetch_block_max(s, start, count, scratch, &block))
        start += count
    return top
