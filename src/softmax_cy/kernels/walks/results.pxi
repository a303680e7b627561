# The last pass of every operation: a result an element, from numbers that are one and the same for a whole slice.

cdef inline vreal finish_tail(
    const real *x, const real *y, Py_ssize_t count, const Constants *c, Operation operation
) noexcept nogil:
    cdef vreal second = v_load_first(y, count, 0) if is_product(operation) else v_set(0)
    # Lanes beyond the end hold what takes no detour.
    cdef vreal first = v_load_first(x, count, RAISE if is_quotient(operation) else 0)
    cdef vreal result = finish_element(first, second, c, operation, True)
    return v_one_nan(result) if operation == LOG_SOFTMAX_VJP else result


cdef inline vreal finish_vector(
    const real *x, const real *y, const Constants *c, Operation operation
) noexcept nogil:
    cdef vreal result = finish_element(v_load(x), v_load(y) if is_product(operation) else v_set(0), c, operation, True)
    return v_one_nan(result) if operation == LOG_SOFTMAX_VJP else result


cdef inline two_vectors finish_two_vectors(
    const real *x, const real *y, const Constants *c, Operation operation
) noexcept nogil:
    cdef two_vectors both
    if is_quotient(operation):
        both = reciprocals_times_two(c.r, v_load(x), v_load(x + LANES))
        both.first = finish_quotient(both.first, c, operation)
        both.second = finish_quotient(both.second, c, operation)
    elif operation == LOG_SOFTMAX_VJP:
        # The one product whose sum may be a number where y is not. One question for two vectors costs half.
        both.first = finish_element(v_load(x), v_load(y), c, operation, True)
        both.second = finish_element(v_load(x + LANES), v_load(y + LANES), c, operation, True)
        if v_any_nan(both.first, both.second):
            both.first = v_one_nan(both.first)
            both.second = v_one_nan(both.second)
    else:
        both.first = finish_vector(x, y, c, operation)
        both.second = finish_vector(x + LANES, y + LANES, c, operation)
    return both


cdef inline void finish_elements(
    const char *x_, const char *y_, char *out, Py_ssize_t count, const Constants *constants, Operation operation,
    bint stream,
) noexcept nogil:
    """`operation` must be a compile-time constant."""
    # A copy stays in registers: what `out` holds could be the caller's, for all that the compiler knows.
    cdef Constants copy = constants[0]
    cdef const Constants *c = &copy
    cdef const real *x = <const real *> x_
    cdef const real *y = <const real *> y_
    cdef real *q = <real *> out
    cdef Py_ssize_t last = count - LANES, to_line, i
    cdef two_vectors both, ends
    if last < 0:
        v_store_first(q, finish_tail(x, y, count, c, operation), count)
        return
    # The first and the last vector overlap others, which takes less time than to store parts of a vector. x or y may be
    # out itself: both are computed before anything is stored.
    # With AVX-512 products have twice as many loads that straddle.
    i = to_line = count_to_line(out, count, 8 if is_product(operation) and VECTOR_IS_LINE else 12)
    ends.second = finish_vector(x + last, y + last, c, operation)
    ends.first = finish_vector(x, y, c, operation) if to_line else ends.second
    if stream and <uintptr_t> (q + i) % CACHE_LINE == 0:
        # But a line that has been streamed would have to be fetched for it.
        v_store_first(q, ends.first, i)
        while i + 2 * LANES <= count:
            both = finish_two_vectors(x + i, y + i, c, operation)
            v_stream(q + i, both.first)
            v_stream(q + i + LANES, both.second)
            i += 2 * LANES
        if i + LANES <= count:
            v_stream(q + i, finish_vector(x + i, y + i, c, operation))
            i += LANES
        if i < count:
            v_store_first(q + i, finish_tail(x + i, y + i, count - i, c, operation), count - i)
        return
    while i + 2 * LANES <= count:
        both = finish_two_vectors(x + i, y + i, c, operation)
        v_store(q + i, both.first)
        v_store(q + i + LANES, both.second)
        i += 2 * LANES
    if i + LANES <= count:
        v_store(q + i, finish_vector(x + i, y + i, c, operation))
        i += LANES
    if to_line:
        v_store(q, ends.first)
    if i < count:
        v_store(q + last, ends.second)


cdef void finish(
    const char *x, const char *y, char *out, Py_ssize_t count, const Constants *c, Operation operation, bint stream
) noexcept nogil:
    """For `count` elements side by side, for SOFTMAX from their exponentials; x or y may be out itself.

    y is for products alone. A function, not an inline one: the loops are long, and many places use them.
    """
    if operation == SOFTMAX:
        finish_elements(x, y, out, count, c, SOFTMAX, stream)
    elif operation == LOG_SOFTMAX:
        finish_elements(x, y, out, count, c, LOG_SOFTMAX, stream)
    elif operation == SOFTMAX_PRODUCT:
        finish_elements(x, y, out, count, c, SOFTMAX_PRODUCT, stream)
    elif operation == SCALED_SOFTMAX_PRODUCT:
        finish_elements(x, y, out, count, c, SCALED_SOFTMAX_PRODUCT, stream)
    elif operation == LOG_SOFTMAX_VJP:
        finish_elements(x, y, out, count, c, LOG_SOFTMAX_VJP, stream)
    elif operation == LOG_SOFTMAX_JVP:
        finish_elements(x, y, out, count, c, LOG_SOFTMAX_JVP, stream)
    elif operation == CROSS_ENTROPY_GRADIENT:
        finish_elements(x, y, out, count, c, CROSS_ENTROPY_GRADIENT, stream)
    else:
        finish_elements(x, y, out, count, c, MULTIPLE, stream)


cdef inline void finish_short(
    const char *x, const char *y, char *out, Py_ssize_t count, const Constants *c, Operation operation, bint stream
) noexcept nogil:
    """finish, for slices so short that a call would cost something. Not so without FMA. `operation` is a constant."""
    if HAS_FMA:
        finish_elements(x, y, out, count, c, operation, stream)
    else:
        finish(x, y, out, count, c, operation, stream)
