# Products with the Jacobians of softmax and log_softmax, without the Jacobians.
#
# With y = softmax(x) and v any vector:
#
#   softmax        vjp and jvp    y * (v - sum(y * v))                     the Jacobian is symmetric
#   log_softmax    vjp            v - y * sum(v)
#   log_softmax    jvp            v - sum(y * v)
#
# Design:
# 1. Where one class holds nearly everything, v - sum(y * v) cancels there, and with it all the digits that matter. The
#    sum of y being 1, any constant may be taken off v first. With c = sum(y * v), roughly, d = v - c and what follows,
#    d - sum(y * d), the second sum makes good what the first one lost; and c is never larger than the terms are. (v at
#    the largest y, the obvious constant, is: where no class dominates that loses three digits out of seven.)
# 2. The sums are of numbers of both signs, so each error is recovered by Knuth's TwoSum (sums.h).

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
    if not contiguous(all.x_elements):
        gather(v, all.x_elements, start, count, scratch)
        pair.v = <const real *> scratch
    if not contiguous(all.y_elements):
        gather(y, all.y_elements, start, count, half)
        pair.y = <const real *> half
    return pair


cdef inline Py_ssize_t half_block_at(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    return min(length - start, block_length() // 2)


cdef inline vreal probability(vreal log_y, Shifts shifts) noexcept nogil:
    """exp(log_y); `shifts` is unshifted()."""
    return v_lower(exp_shifted(log_y, shifts, True).value)


cdef inline vreal summand(vreal v, vreal y, vreal centre, Shifts shifts, Operation operation) noexcept nogil:
    if operation == LOG_SOFTMAX_VJP:
        return v
    if operation == LOG_SOFTMAX_JVP:
        y = probability(y, shifts)
    return v_mul(y, v_sub(v, centre))


cdef inline vreal product_of(
    vreal v, vreal y, vreal centre, vreal sum_, real scale, Shifts shifts, Operation operation
) noexcept nogil:
    if operation == LOG_SOFTMAX_VJP:
        return v_mul(v_set(scale), v_fma(probability(y, shifts), v_sub(v_set(0), sum_), v))
    v = v_mul(v_set(scale), v_sub(v_sub(v, centre), sum_))
    return v if operation == LOG_SOFTMAX_JVP else v_mul(y, v)


cdef inline vreal with_rough_term(vreal s, vreal v, vreal y, Shifts shifts, Operation operation) noexcept nogil:
    if operation == LOG_SOFTMAX_JVP:
        y = probability(y, shifts)
    return v_fma(y, v, s)


cdef inline vreal with_rough_rest(
    vreal s, Pair pair, Py_ssize_t i, Py_ssize_t count, Shifts shifts, Operation operation
) noexcept nogil:
    """With the elements from i on, a vector of them at most."""
    cdef Py_ssize_t lanes = min(count - i, LANES)
    if lanes <= 0:
        return s
    return with_rough_term(
        s, v_load_first(pair.v + i, lanes, 0), v_load_first(pair.y + i, lanes, 0), shifts, operation)


cdef inline real rough_sum(
    const Slices *all, const char *v, const char *y, char *scratch, Operation operation
) noexcept nogil:
    """sum(y * v) without a care for its rounding: four sums a lane, in turn."""
    cdef vreal a = v_set(0), b = a, c = a, d = a
    cdef Shifts shifts = unshifted()
    cdef Py_ssize_t start = 0, count, i
    cdef Pair pair
    while start < all.length:
        count = half_block_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        i = 0
        while i + 4 * LANES <= count:
            a = with_rough_term(a, v_load(pair.v + i), v_load(pair.y + i), shifts, operation)
            b = with_rough_term(b, v_load(pair.v + i + LANES), v_load(pair.y + i + LANES), shifts, operation)
            c = with_rough_term(c, v_load(pair.v + i + 2 * LANES), v_load(pair.y + i + 2 * LANES), shifts, operation)
            d = with_rough_term(d, v_load(pair.v + i + 3 * LANES), v_load(pair.y + i + 3 * LANES), shifts, operation)
            i += 4 * LANES
        # Only at the end of the slice.
        a = with_rough_rest(a, pair, i, count, shifts, operation)
        b = with_rough_rest(b, pair, i + LANES, count, shifts, operation)
        c = with_rough_rest(c, pair, i + 2 * LANES, count, shifts, operation)
        d = with_rough_rest(d, pair, i + 3 * LANES, count, shifts, operation)
        start += count
    return v_sum_across(v_add(v_add(a, b), v_add(c, d)))


cdef inline real sum_of_terms(
    const Slices *all, const char *v, const char *y, real centre, char *scratch, Operation operation
) noexcept nogil:
    cdef Py_ssize_t start = 0, count, i
    cdef Pair pair
    cdef vsum s
    cdef vreal a
    cdef vreal centres = v_set(centre)
    cdef Shifts shifts = unshifted()
    cdef total t
    t.hi = t.lo = 0
    while start < all.length:
        count = half_block_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        s = signed_start()
        i = 0
        while i + LANES <= count:
            s = signed_add(s, summand(v_load(pair.v + i), v_load(pair.y + i), centres, shifts, operation))
            i += LANES
        if i < count:
            a = summand(
                v_load_first(pair.v + i, count - i, centre), v_load_first(pair.y + i, count - i, 0),
                centres, shifts, operation)
            s = signed_add(s, v_keep_first(a, count - i))
        t = total_add(t, signed_total(s))
        start += count
    return <real> (t.hi + t.lo)


cdef inline void product_slice(
    const Slices *all, const char *v, const char *y, char *out, char *scratch, Operation operation
) noexcept nogil:
    cdef real scale = <real> all.scale, centre = 0, sum_
    cdef vreal centres, sums
    cdef Shifts shifts = unshifted()
    cdef Py_ssize_t start = 0, count, i
    cdef Pair pair
    cdef real *q
    if operation != LOG_SOFTMAX_VJP:
        centre = rough_sum(all, v, y, scratch, operation)
    sum_ = sum_of_terms(all, v, y, centre, scratch, operation)
    centres = v_set(centre)
    sums = v_set(sum_)
    while start < all.length:
        count = half_block_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        q = <real *> (out + start * <Py_ssize_t> sizeof(real))
        if not contiguous(all.out_elements):
            q = <real *> scratch
        i = 0
        while i + LANES <= count:
            v_store(q + i, product_of(
                v_load(pair.v + i), v_load(pair.y + i), centres, sums, scale, shifts, operation))
            i += LANES
        if i < count:
            v_store_first(q + i, product_of(
                v_load_first(pair.v + i, count - i, 0), v_load_first(pair.y + i, count - i, 0),
                centres, sums, scale, shifts, operation), count - i)
        if not contiguous(all.out_elements):
            scatter(scratch, out, all.out_elements, start, count)
        start += count


cdef inline void product_slices(const Slices *all, Operation operation, SlicesKernel kernel) noexcept nogil:
    """`operation` is what `kernel` does."""
    cdef Scratch memory
    cdef Py_ssize_t i
    if suit_tiles(all, PRODUCT_TILES, False):
        in_tiles(all, aligned(&memory), operation)
    elif are_columns(all, False):
        in_panels(all, aligned(&memory), operation)
    elif suit_gathering(all) and not are_rows(all, False):
        as_gathered(all, kernel, False)
    else:
        for i in range(all.count):
            product_slice(
                all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, aligned(&memory),
                operation)


cdef void softmax_product_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, SOFTMAX_PRODUCT, softmax_product_slices)


cdef void log_softmax_vjp_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, LOG_SOFTMAX_VJP, log_softmax_vjp_slices)


cdef void log_softmax_jvp_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, LOG_SOFTMAX_JVP, log_softmax_jvp_slices)
