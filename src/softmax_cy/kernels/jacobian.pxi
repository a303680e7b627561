# The Jacobian of softmax from its outputs: J_ij = dy_i / dx_j = y_i * ((i == j) - y_j).
#
# A rank-one update, -y_i * y_j, and its diagonal: y_i - y_i**2 in one rounding. The work is in the stores.

cdef inline real element(const char *y, Py_ssize_t step, Py_ssize_t i) noexcept nogil:
    cdef real value
    memcpy(&value, y + i * step, sizeof(real))
    return value


cdef inline void scaled_block(const char *y, char *out, Py_ssize_t count, vreal factor, bint stream) noexcept nogil:
    """factor * y for `count` elements side by side."""
    cdef const real *p = <const real *> y
    cdef real *q = <real *> out
    cdef Py_ssize_t i = elements_to_line(out, count)
    if i:
        v_store_first(q, v_mul(factor, v_load_first(p, i, 0)), i)
    if stream and <uintptr_t> (q + i) % CACHE_LINE == 0:
        while i + LANES <= count:
            v_stream(q + i, v_mul(factor, v_load(p + i)))
            i += LANES
    while i + LANES <= count:
        v_store(q + i, v_mul(factor, v_load(p + i)))
        i += LANES
    if i < count:
        v_store_first(q + i, v_mul(factor, v_load_first(p + i, count - i, 0)), count - i)


cdef void jacobian_rows(const JacobianRows *rows) noexcept nogil:
    cdef Scratch memory
    cdef char *scratch = aligned(&memory)
    cdef Py_ssize_t half = BLOCK_BYTES // 2     # of scratch: y here, the row there
    cdef Py_ssize_t start = 0, count, i
    cdef const char *y
    cdef char *out
    cdef real diagonal
    while start < rows.length:
        count = rows.length - start
        if not (contiguous(rows.y_step) and contiguous(rows.out_step)):
            count = min(count, half // <Py_ssize_t> sizeof(real))
        y = gather(rows.y + start * rows.y_step, rows.y_step, count, scratch)
        for i in range(rows.first, rows.last):
            out = rows.out + i * rows.out_next + start * rows.out_step
            if contiguous(rows.out_step):
                scaled_block(y, out, count, v_set(-element(rows.y, rows.y_step, i)), rows.stream)
            else:
                scaled_block(y, scratch + half, count, v_set(-element(rows.y, rows.y_step, i)), False)
                scatter(scratch + half, out, rows.out_step, count)
        start += count
    if rows.stream:
        v_stream_end()
    for i in range(rows.first, rows.last):
        diagonal = element(rows.y, rows.y_step, i)
        diagonal = scalar_fma(-diagonal, diagonal, diagonal)
        memcpy(rows.out + i * (rows.out_next + rows.out_step), &diagonal, sizeof(real))
