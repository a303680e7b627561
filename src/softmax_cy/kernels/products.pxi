# Products with the Jacobians of softmax and log_softmax, without the Jacobians.
#
# With y = softmax(x) and v any vector:
#
#   softmax        vjp and jvp    y * (v - sum(y * v))                     the Jacobian is symmetric
#   log_softmax    vjp            v - y * sum(v)
#   log_softmax    jvp            v - sum(y * v)
#
# Design:
# 1. One sum, then the results: two passes. Where one class holds nearly everything, v - sum(y * v) cancels there, and
#    with it go all the digits that matter. The sum of y being 1, any constant may be taken off v first: so where a
#    class has more than half, the sum is taken again, over v less v at that class. (Taking it off everywhere would lose
#    three digits out of seven where no class dominates, and no class cancels.)
# 2. sum(y * v) is a plain sum in 4 * LANES chains of few terms each, and of such sums: as good as the products in it.
#    sum(v) is of numbers that may cancel with nothing to show for it, so there each error is recovered by Knuth's
#    TwoSum (sums.h).
# 3. y = exp(log_y) is off by the rounding of log_y times log_y, and off alike where all log_y are: it is a mean that is
#    wanted, sum(y * v) / sum(y).

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


cdef inline Py_ssize_t terms_at(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """How many terms, from `start` on, are added up without a care for rounding, before they join what came before.

    Eight a chain: however alike the roundings of a chain are, they stay below 4 ulp.
    """
    return min(length - start, 32 * LANES)


cdef inline vreal probability(vreal log_y, Shifts shifts) noexcept nogil:
    """exp(log_y); `shifts` is unshifted()."""
    return v_lower(exp_shifted(log_y, shifts, True).value)


cdef inline real more_than_half(Operation operation) noexcept nogil:
    """What y is compared with: the logarithm of a little more, so that one that was rounded is not."""
    return -0.6875 if operation == LOG_SOFTMAX_JVP else 0.5


cdef struct Products:
    vreal sum_          # of y * (v - centre)
    vreal weights       # of y, for LOG_SOFTMAX_JVP
    vreal top           # the largest y


cdef inline Products no_products() noexcept nogil:
    cdef Products s
    s.sum_ = s.weights = v_set(0)
    s.top = v_set(-INFINITY)
    return s


cdef inline Products with_product(
    Products s, vreal v, vreal y, vreal centre, Shifts shifts, Operation operation
) noexcept nogil:
    s.top = v_max(y, s.top)
    if operation == LOG_SOFTMAX_JVP:
        y = probability(y, shifts)
        s.weights = v_add(s.weights, y)
    s.sum_ = v_fma(y, v_sub(v, centre), s.sum_)
    return s


cdef inline Products four_products(Products a, Products b, Products c, Products d) noexcept nogil:
    a.sum_ = v_add(v_add(a.sum_, b.sum_), v_add(c.sum_, d.sum_))
    a.weights = v_add(v_add(a.weights, b.weights), v_add(c.weights, d.weights))
    a.top = v_max(v_max(a.top, b.top), v_max(c.top, d.top))
    return a


cdef inline Products with_last_products(
    Products s, Pair pair, Py_ssize_t i, Py_ssize_t count, real centre, Shifts shifts, Operation operation
) noexcept nogil:
    """With the elements from i on, a vector of them at most."""
    cdef Py_ssize_t lanes = min(count - i, LANES)
    if lanes <= 0:
        return s
    return with_product(
        s, v_load_first(pair.v + i, lanes, centre),
        v_load_first(pair.y + i, lanes, -INFINITY if operation == LOG_SOFTMAX_JVP else 0),
        v_set(centre), shifts, operation)


cdef inline Products block_products(Pair pair, Py_ssize_t count, real centre, Operation operation) noexcept nogil:
    cdef Products a = no_products(), b = a, c = a, d = a
    cdef Shifts shifts = unshifted()
    cdef vreal centres = v_set(centre)
    cdef const real *v = pair.v
    cdef const real *y = pair.y
    cdef Py_ssize_t i = 0
    while i + 4 * LANES <= count:
        a = with_product(a, v_load(v + i), v_load(y + i), centres, shifts, operation)
        b = with_product(b, v_load(v + i + LANES), v_load(y + i + LANES), centres, shifts, operation)
        c = with_product(c, v_load(v + i + 2 * LANES), v_load(y + i + 2 * LANES), centres, shifts, operation)
        d = with_product(d, v_load(v + i + 3 * LANES), v_load(y + i + 3 * LANES), centres, shifts, operation)
        i += 4 * LANES
    if i < count:
        a = with_last_products(a, pair, i, count, centre, shifts, operation)
        b = with_last_products(b, pair, i + LANES, count, centre, shifts, operation)
        c = with_last_products(c, pair, i + 2 * LANES, count, centre, shifts, operation)
        d = with_last_products(d, pair, i + 3 * LANES, count, centre, shifts, operation)
    return four_products(a, b, c, d)


cdef struct Mean:
    real value          # sum(y * (v - centre)), over sum(y) for LOG_SOFTMAX_JVP
    real top


cdef inline Mean mean_of(
    const Slices *all, const char *v, const char *y, real centre, char *scratch, Operation operation
) noexcept nogil:
    cdef Py_ssize_t start = terms_at(0, all.length), count
    cdef Products s = block_products(fetch_pair(all, v, y, 0, start, scratch), start, centre, operation)
    cdef total sum_ = total_of(v_sum_across(s.sum_)), weights = total_of(v_sum_across(s.weights))
    cdef Mean mean
    mean.top = v_max_across(s.top)
    while start < all.length:
        count = terms_at(start, all.length)
        s = block_products(fetch_pair(all, v, y, start, count, scratch), count, centre, operation)
        sum_ = total_add(sum_, total_of(v_sum_across(s.sum_)))
        weights = total_add(weights, total_of(v_sum_across(s.weights)))
        mean.top = max(mean.top, v_max_across(s.top))
        start += count
    mean.value = <real> (sum_.hi + sum_.lo)
    if operation == LOG_SOFTMAX_JVP:
        mean.value = <real> ((sum_.hi + sum_.lo) / (weights.hi + weights.lo))
    mean.value += 0 * mean.value    # an infinite one would leave the other elements infinite, not NaN
    return mean


cdef inline vreal centre_so_far(vreal centre, vreal v, vreal y, vreal top) noexcept nogil:
    """v where y is the largest, and the largest such v where y is no distribution and that is not one place."""
    return v_max(v_select_equal(y, top, v, v_set(-INFINITY)), centre)


cdef real centre_at(const Slices *all, const char *v, const char *y, real top, char *scratch) noexcept nogil:
    """v at the class of y = top."""
    cdef vreal centre = v_set(-INFINITY), tops = v_set(top)
    cdef Py_ssize_t start = 0, count, i
    cdef Pair pair
    while start < all.length:
        count = terms_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        i = 0
        while i + LANES <= count:
            centre = centre_so_far(centre, v_load(pair.v + i), v_load(pair.y + i), tops)
            i += LANES
        if i < count:
            centre = centre_so_far(
                centre, v_load_first(pair.v + i, count - i, -INFINITY), v_load_first(pair.y + i, count - i, top), tops)
        start += count
    return v_max_across(centre)


cdef inline real signed_sum(const Slices *all, const char *v, const char *y, char *scratch) noexcept nogil:
    """sum(v)."""
    cdef Py_ssize_t start = 0, count, i
    cdef Pair pair
    cdef vsum s
    cdef total t
    t.hi = t.lo = 0
    while start < all.length:
        count = half_block_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        s = signed_start()
        i = 0
        while i + LANES <= count:
            s = signed_add(s, v_load(pair.v + i))
            i += LANES
        if i < count:
            s = signed_add(s, v_load_first(pair.v + i, count - i, 0))
        t = total_add(t, signed_total(s))
        start += count
    return <real> (t.hi + t.lo)


cdef inline vreal product_of(vreal v, vreal y, const Constants *c, Operation operation) noexcept nogil:
    if operation == LOG_SOFTMAX_VJP:
        return v_mul(v_set(c.scale), v_fma(probability(y, c.shifts), v_sub(v_set(0), c.sum_), v))
    v = v_mul(v_set(c.scale), v_sub(v_sub(v, c.centre), c.sum_))
    return v if operation == LOG_SOFTMAX_JVP else v_mul(y, v)


cdef inline void product_slice(
    const Slices *all, const char *v, const char *y, char *out, char *scratch, Operation operation
) noexcept nogil:
    cdef real centre = 0
    cdef Constants constants
    cdef Py_ssize_t start = 0, count
    cdef Pair pair
    cdef Mean mean
    cdef char *target
    cdef bint stream
    if operation == LOG_SOFTMAX_VJP:
        constants.sum_ = v_set(signed_sum(all, v, y, scratch))
    else:
        mean = mean_of(all, v, y, centre, scratch, operation)
        if mean.top > more_than_half(operation):
            centre = centre_at(all, v, y, mean.top, scratch)
            mean = mean_of(all, v, y, centre, scratch, operation)
        constants.sum_ = v_set(mean.value)
    constants.scale = <real> all.scale
    constants.shifts = unshifted()
    constants.centre = v_set(centre)
    while start < all.length:
        count = all.length
        if not (contiguous(all.x_elements) and contiguous(all.y_elements) and contiguous(all.out_elements)):
            count = half_block_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        target = scratch
        if contiguous(all.out_elements):
            target = out + start * <Py_ssize_t> sizeof(real)
        stream = all.stream and target != scratch
        finish(<const char *> pair.v, <const char *> pair.y, target, count, &constants, operation, stream)
        if target == scratch:
            scatter(scratch, out, all.out_elements, start, count)
        start += count


cdef inline void product_slices(const Slices *all, Operation operation, SlicesKernel kernel) noexcept nogil:
    """`operation` is what `kernel` does."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t i
    if suit_tiles(all, PRODUCT_TILES, False):
        in_tiles(all, scratch, operation)
    elif are_columns(all, False):
        in_panels(all, scratch, operation)
    elif suit_gathering(all) and not are_rows(all, False):
        as_gathered(all, kernel, False)
    else:
        for i in range(all.count):
            product_slice(
                all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch,
                operation)
    if all.stream:
        v_stream_end()


cdef void softmax_product_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, SOFTMAX_PRODUCT, softmax_product_slices)


cdef void log_softmax_vjp_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, LOG_SOFTMAX_VJP, log_softmax_vjp_slices)


cdef void log_softmax_jvp_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, LOG_SOFTMAX_JVP, log_softmax_jvp_slices)
