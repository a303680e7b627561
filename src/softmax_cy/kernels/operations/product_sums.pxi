# The sums of products over a slice: formulas/product.pxi says which.

cdef struct Pair:
    # A block of both inputs, side by side.
    const real *v
    const real *y


cdef inline Pair fetch_pair(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, Py_ssize_t count, char *scratch
) noexcept nogil:
    """`count` is at most half a block."""
    cdef Py_ssize_t bytes_ = start * <Py_ssize_t> sizeof(real)
    cdef char *half = scratch + BLOCK_BYTES // 2
    cdef Pair pair
    pair.v = <const real *> (v + bytes_)
    pair.y = <const real *> (y + bytes_)
    if not are_contiguous(all.x_elements):
        gather(v, all.x_elements, start, count, scratch)
        pair.v = <const real *> scratch
    if not are_contiguous(all.y_elements):
        gather(y, all.y_elements, start, count, half)
        pair.y = <const real *> half
    return pair


cdef enum:
    # So many are added up without a care for rounding, before they join what came before: eight a chain. However alike
    # the roundings of a chain are, they stay below 4 ulp.
    TERMS = 32 * LANES


cdef inline Py_ssize_t count_terms(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """How many of them there are from `start` on."""
    return min(length - start, TERMS)


cdef inline Products add_last_products(
    Products s, Pair pair, Py_ssize_t i, Py_ssize_t count, real centre, Shifts shifts, Operation operation, bint weigh
) noexcept nogil:
    """With the elements from i on, a vector of them at most."""
    cdef Py_ssize_t lanes = min(count - i, LANES)
    if lanes <= 0:
        return s
    if not weigh and lanes == LANES:
        return add_product(s, v_load(pair.v + i), v_load(pair.y + i), v_set(centre), shifts, operation, weigh)
    return add_product(
        s, v_load_first(pair.v + i, lanes, centre),
        v_load_first(pair.y + i, lanes, -INFINITY if operation == LOG_SOFTMAX_JVP else 0),
        v_set(centre), shifts, operation, weigh)


cdef inline Products sum_block_products(
    Pair pair, Py_ssize_t count, real centre, Operation operation, bint weigh
) noexcept nogil:
    cdef Products a = start_products(), b = a, c = a, d = a
    cdef Shifts shifts = make_unshifted()
    cdef vreal centres = v_set(centre)
    cdef const real *v = pair.v
    cdef const real *y = pair.y
    cdef Py_ssize_t i = 0
    while i + 4 * LANES <= count:
        # One largest y goes round: four of them would not leave enough registers to AVX2.
        a.top = d.top
        a = add_product(a, v_load(v + i), v_load(y + i), centres, shifts, operation, weigh)
        b.top = a.top
        b = add_product(b, v_load(v + i + LANES), v_load(y + i + LANES), centres, shifts, operation, weigh)
        c.top = b.top
        c = add_product(c, v_load(v + i + 2 * LANES), v_load(y + i + 2 * LANES), centres, shifts, operation, weigh)
        d.top = c.top
        d = add_product(d, v_load(v + i + 3 * LANES), v_load(y + i + 3 * LANES), centres, shifts, operation, weigh)
        i += 4 * LANES
    a.top = b.top = c.top = d.top
    if i < count:
        a = add_last_products(a, pair, i, count, centre, shifts, operation, weigh)
        b = add_last_products(b, pair, i + LANES, count, centre, shifts, operation, weigh)
        c = add_last_products(c, pair, i + 2 * LANES, count, centre, shifts, operation, weigh)
        d = add_last_products(d, pair, i + 3 * LANES, count, centre, shifts, operation, weigh)
    return join_products(a, b, c, d)


cdef struct Mean:
    total sum_          # of y * (v - centre)
    total weights       # of y, if they are weighed
    real top


cdef inline Mean sum_some_products(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, real centre, char *scratch, Operation operation,
    bint weigh,
) noexcept nogil:
    """Of as many terms as need no care."""
    cdef Py_ssize_t count = count_terms(start, all.length)
    cdef Products s = sum_block_products(
        fetch_pair(all, v, y, start, count, scratch), count, centre, operation, weigh)
    cdef Mean mean
    mean.sum_ = total_of(v_sum_across(s.sum_))
    mean.weights = total_of(v_sum_across(s.weights))
    mean.top = v_max_across(s.top)
    return mean


# Functions, not inline ones: for slices out of the ordinary, and for those that threads share.


cdef Mean sum_weighed_products(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, real centre, char *scratch
) noexcept nogil:
    return sum_some_products(all, v, y, start, centre, scratch, SOFTMAX_PRODUCT, True)


cdef Mean sum_log_products(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, real centre, char *scratch
) noexcept nogil:
    return sum_some_products(all, v, y, start, centre, scratch, LOG_SOFTMAX_JVP, True)


cdef inline Mean sum_products(
    const Slices *all, const char *v, const char *y, real centre, char *scratch, Operation operation, bint weigh
) noexcept nogil:
    """`operation` and `weigh` must be compile-time constants: LOG_SOFTMAX_JVP is weighed."""
    cdef Py_ssize_t start = 0
    cdef Mean mean, more
    while True:
        if operation == LOG_SOFTMAX_JVP:
            more = sum_log_products(all, v, y, start, centre, scratch)
        elif weigh:
            more = sum_weighed_products(all, v, y, start, centre, scratch)
        else:
            more = sum_some_products(all, v, y, start, centre, scratch, operation, False)
        # Most slices are over now: they pay for no addition.
        mean.sum_ = total_add(mean.sum_, more.sum_) if start else more.sum_
        mean.weights = total_add(mean.weights, more.weights) if start else more.weights
        mean.top = max(mean.top, more.top) if start else more.top
        start += TERMS
        if start >= all.length:
            return mean


cdef real find_centre_between(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, Py_ssize_t end, real top, char *scratch
) noexcept nogil:
    """v at the class of y = top, of the elements from `start` to `end`."""
    cdef vreal centre = v_set(-INFINITY), tops = v_set(top)
    cdef Py_ssize_t count, i
    cdef Pair pair
    while start < end:
        count = count_terms(start, end)
        pair = fetch_pair(all, v, y, start, count, scratch)
        i = 0
        while i + LANES <= count:
            centre = update_centre(centre, v_load(pair.v + i), v_load(pair.y + i), tops)
            i += LANES
        if i < count:
            centre = update_centre(
                centre, v_load_first(pair.v + i, count - i, -INFINITY), v_load_first(pair.y + i, count - i, top), tops)
        start += count
    return v_max_across(centre)


cdef inline real find_centre(const Slices *all, const char *v, const char *y, real top, char *scratch) noexcept nogil:
    return find_centre_between(all, v, y, 0, all.length, top, scratch)


cdef inline vsum sum_signed_block(Pair pair, Py_ssize_t count, Shifts shifts, Operation operation) noexcept nogil:
    """`operation` must be a compile-time constant."""
    cdef Py_ssize_t i = 0
    cdef vsum s = signed_start()
    cdef vreal term
    while i + LANES <= count:
        s = signed_add(s, choose_signed_term(v_load(pair.v + i), v_load(pair.y + i), shifts, operation))
        i += LANES
    if i < count:
        term = choose_signed_term(
            v_load_first(pair.v + i, count - i, 0), v_load_first(pair.y + i, count - i, 0), shifts, operation)
        s = signed_add(s, v_keep_first(term, count - i))
    return s


cdef inline real sum_signed(
    const Slices *all, const char *v, const char *y, char *scratch, Operation operation
) noexcept nogil:
    """sum(v) for LOG_SOFTMAX_VJP, else 1 - sum(y)."""
    cdef Py_ssize_t start = 0, count
    cdef Shifts shifts = make_unshifted()
    cdef Pair pair
    cdef vsum s
    cdef total t = total_of(0 if operation == LOG_SOFTMAX_VJP else -1)
    while start < all.length:
        count = count_half_block(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        s = sum_signed_block(pair, count, shifts, operation)
        t = total_add(t, signed_total(s))
        start += count
    return <real> (t.hi + t.lo) if operation == LOG_SOFTMAX_VJP else -<real> (t.hi + t.lo)


cdef inline void write_products(
    const Slices *all, const char *v, const char *y, char *out, Py_ssize_t start, Py_ssize_t end, real centre,
    real sum_, char *scratch, Operation operation,
) noexcept nogil:
    """The last pass, from `start` to `end`. `operation` must be a compile-time constant."""
    cdef bint in_place = (
        are_contiguous(all.x_elements) and are_contiguous(all.y_elements) and are_contiguous(all.out_elements))
    cdef Constants constants
    cdef Py_ssize_t count
    cdef Pair pair
    cdef char *target
    cdef bint stream
    set_sum(&constants, sum_, operation)
    set_scales(&constants, <real> all.scale, operation)
    constants.centre = v_set(centre)
    while start < end:
        count = end - start if in_place else count_half_block(start, end)
        pair = fetch_pair(all, v, y, start, count, scratch)
        target = scratch
        if are_contiguous(all.out_elements):
            target = out + start * <Py_ssize_t> sizeof(real)
        stream = all.stream and target != scratch
        finish(
            <const char *> pair.v, <const char *> pair.y, target, count, &constants,
            choose_scaled(all, operation), stream)
        if target == scratch:
            scatter(scratch, out, all.out_elements, start, count)
        start += count
