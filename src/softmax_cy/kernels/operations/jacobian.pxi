# The Jacobians of softmax and log_softmax from their outputs: formulas/diagonal.pxi says what they are.
#
# The digits of 1 - y_i are not in y_i where that is next to 1; where the logits are at hand, they come from the sum of
# the others. Only one class can have more than half, so at most one row a matrix asks for that.
#
# The work is in the stores.

cdef inline void compute_exponentials(const char *log_y, char *y, Py_ssize_t count) noexcept nogil:
    """exp of at most half a block, side by side; y may be log_y."""
    cdef const real *p = <const real *> log_y
    cdef real *q = <real *> y
    cdef Shifts shifts = make_unshifted()
    cdef Py_ssize_t i = 0
    while i + LANES <= count:
        v_store(q + i, find_probability(v_load(p + i), shifts))
        i += LANES
    if i < count:
        v_store_first(q + i, find_probability(v_load_first(p + i, count - i, 0), shifts), count - i)


cdef real find_complement(const JacobianRows *rows, char *scratch) noexcept nogil:
    """1 - y for the class that has more than half, from the sum of the others."""
    cdef Slices all
    cdef Slice s
    cdef LogSum sum_
    memset(&all, 0, sizeof(Slices))
    all.x = rows.x
    all.mask = rows.mask
    all.length = rows.length
    all.x_elements = rows.x_elements
    all.mask_elements = rows.mask_elements
    all.scale = rows.scale
    s = take_slice(&all, 0)
    sum_ = find_log_sum(&s, NULL, keep_no_units(), scratch)
    return <real> ((sum_.others.hi + sum_.others.lo) / (1 + (sum_.others.hi + sum_.others.lo)))


cdef real find_diagonal_element(const JacobianRows *rows, Py_ssize_t i, bint of_log, char *scratch) noexcept nogil:
    cdef real scale = <real> rows.scale, y_i = read_element(rows.y, rows.y_elements, i)
    if rows.x != NULL and y_i > 0.5:
        return one_nan(scale * (y_i * find_complement(rows, scratch)))
    return one_nan(find_diagonal(y_i, scale, of_log))


cdef void write_diagonal(const JacobianRows *rows, bint of_log, char *scratch) noexcept nogil:
    cdef real diagonal
    cdef Py_ssize_t i
    for i in range(rows.first, rows.last):
        diagonal = find_diagonal_element(rows, i, of_log, scratch)
        if are_contiguous(rows.out_elements):
            memcpy(rows.out + i * (rows.out_next + <Py_ssize_t> sizeof(real)), &diagonal, sizeof(real))
        else:
            scatter_value(diagonal, rows.out + i * rows.out_next, rows.out_elements, i, 1)


cdef inline bint are_adjacent(const JacobianRows *rows) noexcept nogil:
    """Whether a row begins where the one before ends."""
    return are_contiguous(rows.out_elements) and rows.out_next == rows.length * <Py_ssize_t> sizeof(real)


cdef void stream_rows(const JacobianRows *rows, const char *y_, bint of_log) noexcept nogil:
    """Rows that are adjacent and of numbers alone, of at least a vector, in whole lines.

    A line that two rows share is streamed once, when the second is there, and the diagonal along with its row: to write
    into a line that has been streamed would fetch it again. `y_`: what the rows are multiples of, maybe in the buffer
    for kernels, which the diagonal must therefore not use.
    """
    cdef const real *y = <const real *> y_
    cdef real *line = <real *> thread_buffer(TILE_BUFFER)   # what is held of a line, and room for one more
    cdef char *scratch = thread_buffer(SPARE_BUFFER)
    cdef real *row = <real *> (rows.out + rows.first * rows.out_next)
    cdef Py_ssize_t held = <Py_ssize_t> (<uintptr_t> row % CACHE_LINE // sizeof(real)), i, k
    cdef real diagonal
    cdef vreal factor, a
    for i in range(rows.first, rows.last):
        factor = v_set(find_factor(
            read_element(rows.y, rows.y_elements, i), <real> rows.scale, of_log))
        diagonal = find_diagonal_element(rows, i, of_log, scratch)
        k = 0
        if held:
            k = LANES - held
            v_store(line + held, v_mul(factor, v_load(y)))
            if i < k:
                line[held + i] = diagonal
            if i == rows.first:
                # The beginning of this line is somebody else's.
                v_store_first(row, v_load(line + held), k)
            else:
                v_stream(row - held, v_load(line))
        while k + LANES <= rows.length:
            a = v_mul(factor, v_load(y + k))
            if k <= i < k + LANES:
                v_store(line, a)
                line[i - k] = diagonal
                a = v_load(line)
            v_stream(row + k, a)
            k += LANES
        held = rows.length - k
        if held:
            v_store(line, v_mul(factor, v_load_first(y + k, held, 0)))
            if i >= k:
                line[i - k] = diagonal
        row += rows.length
    if held:
        v_store_first(row - held, v_load(line), held)
    v_stream_end()


cdef inline void write_rows(const JacobianRows *rows, bint of_log) noexcept nogil:
    """`of_log` must be a compile-time constant: y is log_softmax."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t half = BLOCK_BYTES // 2     # of scratch: y here, the row there
    cdef bint y_in_place = are_contiguous(rows.y_elements) and not of_log
    cdef bint out_contiguous = are_contiguous(rows.out_elements)
    cdef bint suits_lines = (
        rows.stream and are_adjacent(rows) and rows.length >= LANES and <uintptr_t> rows.out % sizeof(real) == 0)
    cdef bint finite
    cdef real scale = <real> rows.scale, y_i, factor, later
    cdef Py_ssize_t start = 0, count, i
    cdef const char *y
    cdef char *out
    cdef Constants constants
    while start < rows.length:
        count = rows.length - start
        if not (y_in_place and out_contiguous):
            count = min(count, half // <Py_ssize_t> sizeof(real))
        y = rows.y + start * <Py_ssize_t> sizeof(real)
        if not y_in_place:
            gather(rows.y, rows.y_elements, start, count, scratch)
            y = scratch
        if of_log:
            compute_exponentials(scratch, scratch, count)
        finite = all_finite(y, count, scale)
        if finite and suits_lines and count == rows.length:
            stream_rows(rows, y, of_log)
            return
        for i in range(rows.first, rows.last):
            y_i = read_element(rows.y, rows.y_elements, i)
            later = find_later_factor(y_i, scale, of_log)
            factor = find_factor(y_i, scale if later == 1 else 1, of_log)
            constants.factor = v_set(factor)
            out = rows.out + i * rows.out_next
            if out_contiguous:
                finish(
                    y, NULL, out + start * <Py_ssize_t> sizeof(real), count, &constants, MULTIPLE, rows.stream)
                if not (finite and is_finite(factor) and later == 1):
                    complete(out + start * <Py_ssize_t> sizeof(real), count, later)
            else:
                finish(y, NULL, scratch + half, count, &constants, MULTIPLE, False)
                if not (finite and is_finite(factor) and later == 1):
                    complete(scratch + half, count, later)
                scatter(scratch + half, out, rows.out_elements, start, count)
        start += count
    if rows.stream:
        v_stream_end()
    write_diagonal(rows, of_log, scratch)


cdef inline bint all_finite(const char *y, Py_ssize_t count, real scale) noexcept nogil:
    """Whether scale * y is, everywhere: then no product of these is NaN."""
    cdef const real *p = <const real *> y
    cdef vreal zeros = v_set(0), a
    cdef Py_ssize_t i = 0
    while i < count:
        a = v_mul(v_set(scale), v_load_first(p + i, min(count - i, LANES), 0))
        zeros = v_add(zeros, v_sub(a, a))
        i += LANES
    return not v_any_nan(zeros, zeros)


cdef void complete(char *out, Py_ssize_t count, real factor) noexcept nogil:
    """Multiply by factor, and give every NaN the bits that NaN has in results."""
    cdef real *q = <real *> out
    cdef Py_ssize_t i = 0, lanes
    while i < count:
        lanes = min(count - i, LANES)
        v_store_first(q + i, v_one_nan(v_mul(v_set(factor), v_load_first(q + i, lanes, 0))), lanes)
        i += LANES


cdef enum:
    SHORT_ROW = 8       # vectors


cdef inline bint are_short_and_plain(const JacobianRows *rows) noexcept nogil:
    """Where the beginning of the next row is the end of this one, aligned stores do not pay, and no product is NaN."""
    return (
        are_contiguous(rows.y_elements) and are_adjacent(rows) and rows.length < SHORT_ROW * LANES
        and not rows.stream and rows.x == NULL
        and all_finite(rows.y, rows.length, <real> rows.scale)
    )


cdef void write_careful_diagonal(const real *y, Py_ssize_t length, real scale, real *diagonal) noexcept nogil:
    """A function, not an inline one: it is rare, and its caller has other things to do."""
    cdef Py_ssize_t i
    for i in range(length):
        diagonal[i] = find_diagonal(y[i], scale, False)


cdef inline bint write_short_diagonal(
    const real *y, Py_ssize_t length, vreal rest, real scale, real *diagonal
) noexcept nogil:
    """find_diagonal, all along it, unless a square is infinite. `rest`: what of y is not a whole vector."""
    cdef vreal a, product, finite = v_set(0)
    cdef Py_ssize_t i = 0
    while i < length:
        a = v_load(y + i) if i + LANES <= length else rest
        product = v_fma(v_sub(v_set(0), a), a, a)
        finite = v_add(finite, v_sub(product, product))
        v_store(diagonal + i, v_mul(v_set(scale), product))
        i += LANES
    return not v_any_nan(finite, finite)


cdef inline void write_short_rows(const JacobianRows *rows) noexcept nogil:
    """Whole vectors at a time: what one writes beyond its row, the next rows write over."""
    cdef const real *y = <const real *> rows.y
    cdef real *row = <real *> (rows.out + rows.first * rows.out_next)
    cdef real *end = <real *> (rows.out + rows.last * rows.out_next)
    cdef Py_ssize_t length = rows.length, whole = length - length % LANES, i, k
    cdef vreal rest = v_load_first(y + whole, length - whole, 0), factor, last
    cdef real[SHORT_ROW * MOST_LANES] diagonal
    cdef real y_i
    for i in range(rows.first, rows.last):
        memcpy(&y_i, y + i, sizeof(real))
        factor = v_set(find_factor(y_i, <real> rows.scale, False))
        k = 0
        while k < whole:
            v_store(row + k, v_mul(factor, v_load(y + k)))
            k += LANES
        if k < length:
            last = v_mul(factor, rest)
            if row + k + LANES <= end:
                v_store(row + k, last)
            else:
                v_store_first(row + k, last, length - k)
        row += length
    # With AVX2 vectors save nothing here, and without FMA they round twice.
    if VECTOR_IS_LINE and HAS_FMA:
        if not write_short_diagonal(y, length, rest, <real> rows.scale, diagonal):
            write_careful_diagonal(y, length, <real> rows.scale, diagonal)
        for i in range(rows.first, rows.last):
            memcpy(rows.out + i * (rows.out_next + <Py_ssize_t> sizeof(real)), diagonal + i, sizeof(real))
        return
    for i in range(rows.first, rows.last):
        memcpy(&y_i, y + i, sizeof(real))
        y_i = find_diagonal(y_i, <real> rows.scale, False)
        memcpy(rows.out + i * (rows.out_next + <Py_ssize_t> sizeof(real)), &y_i, sizeof(real))


cdef void jacobian_rows(const JacobianRows *rows) noexcept nogil:
    if are_short_and_plain(rows):
        write_short_rows(rows)
    else:
        write_rows(rows, False)


cdef void log_jacobian_rows(const JacobianRows *rows) noexcept nogil:
    write_rows(rows, True)
