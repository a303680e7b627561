# Products of slices one by one: of any slice, and of contiguous ones by softmax.

cdef inline void product_slice(
    const Slices *all, const char *v, const char *y, char *out, char *scratch, Operation operation
) noexcept nogil:
    """`operation` must be a compile-time constant."""
    cdef bint weigh = operation == LOG_SOFTMAX_JVP
    cdef real centre = 0, sum_
    cdef double weights
    cdef Mean mean
    if operation == LOG_SOFTMAX_VJP:
        sum_ = sum_signed(all, v, y, scratch, operation)
    else:
        mean = sum_products(all, v, y, centre, scratch, operation, True)
        if mean.top > choose_half(operation):
            weigh = True
            centre = find_centre(all, v, y, mean.top, scratch)
            mean = sum_products(all, v, y, centre, scratch, operation, True)
        weights = mean.weights.hi + mean.weights.lo
        sum_ = <real> (mean.sum_.hi + mean.sum_.lo)
        if weigh and not adds_up(all, <real> weights, operation):
            if centre != 0:
                sum_ = scalar_fma(-centre, sum_signed(all, v, y, scratch, operation), sum_)
        elif operation == LOG_SOFTMAX_JVP:
            sum_ = <real> ((mean.sum_.hi + mean.sum_.lo) / weights)
    if not fabs(centre) + fabs(sum_) < EXTREME:
        extreme_product_slice(all, v, y, out, scratch, operation)
        return
    write_products(all, v, y, out, 0, all.length, centre, sum_, scratch, operation)


# Functions, not inline ones: two places use them.


cdef void softmax_product_slice(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    product_slice(
        all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch, SOFTMAX_PRODUCT)


cdef void log_softmax_vjp_slice(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    product_slice(
        all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch, LOG_SOFTMAX_VJP)


cdef void log_softmax_jvp_slice(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    product_slice(
        all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch, LOG_SOFTMAX_JVP)


cdef inline void redo_product(
    const Slices *all, Py_ssize_t i, char *scratch, Operation operation
) noexcept nogil:
    """The row code, for slice i."""
    if operation == SOFTMAX_PRODUCT:
        softmax_product_slice(all, i, scratch)
    elif operation == LOG_SOFTMAX_VJP:
        log_softmax_vjp_slice(all, i, scratch)
    else:
        log_softmax_jvp_slice(all, i, scratch)


cdef inline Pair take_pair(const Slices *all, Py_ssize_t i) noexcept nogil:
    """Both inputs of slice i, which is contiguous."""
    cdef Pair pair
    pair.v = <const real *> (all.x + i * all.x_next)
    pair.y = <const real *> (all.y + i * all.y_next)
    return pair


cdef Mean sum_long_row(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    """By the number of a slice: of two pointers in a struct gcc would make a vector, and the loop would wait for it."""
    cdef Pair row = take_pair(all, i)
    return sum_products(all, <const char *> row.v, <const char *> row.y, 0, scratch, SOFTMAX_PRODUCT, False)


cdef bint write_centred_product(const Slices *all, Py_ssize_t i, real top, char *scratch) noexcept nogil:
    """write_softmax_product where a class has more than half."""
    cdef Pair row = take_pair(all, i)
    cdef const char *v = <const char *> row.v
    cdef const char *y = <const char *> row.y
    cdef real centre = find_centre(all, v, y, top, scratch), sum_, weights
    cdef Products products
    cdef Mean mean
    cdef Constants constants
    if all.length <= TERMS:
        products = sum_block_products(row, all.length, centre, SOFTMAX_PRODUCT, True)
        sum_ = v_sum_across(products.sum_)
        weights = v_sum_across(products.weights)
    else:
        mean = sum_products(all, v, y, centre, scratch, SOFTMAX_PRODUCT, True)
        sum_ = <real> (mean.sum_.hi + mean.sum_.lo)
        weights = <real> (mean.weights.hi + mean.weights.lo)
    if not (adds_up(all, weights, SOFTMAX_PRODUCT) and fabs(centre) + fabs(sum_) < EXTREME):
        return False
    constants.centre = v_set(centre)
    set_sum(&constants, sum_, SOFTMAX_PRODUCT)
    set_scales(&constants, <real> all.scale, SOFTMAX_PRODUCT)
    finish(v, y, all.out + i * all.out_next, all.length, &constants, choose_scaled(all, SOFTMAX_PRODUCT), all.stream)
    return True


cdef inline bint write_softmax_product(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    """The products of a contiguous slice. False: it is out of the ordinary, and nothing is written.

    The results wait for the sum, and the next slice for nothing. So on the way of most there are no totals, no structs
    in memory, and no calls.
    """
    cdef Pair row = take_pair(all, i)
    cdef const char *v = <const char *> row.v
    cdef const char *y = <const char *> row.y
    cdef char *out = all.out + i * all.out_next
    cdef real half = choose_half(SOFTMAX_PRODUCT), sum_
    cdef Products products
    cdef Mean mean
    cdef Constants constants, scaled
    if all.length <= TERMS:
        products = sum_block_products(row, all.length, 0, SOFTMAX_PRODUCT, False)
        sum_ = v_sum_across(products.sum_)
        if any_lane_greater(products.top, half):
            return write_centred_product(all, i, v_max_across(products.top), scratch)
    else:
        mean = sum_long_row(all, i, scratch)
        sum_ = <real> (mean.sum_.hi + mean.sum_.lo)
        if mean.top > half:
            return write_centred_product(all, i, mean.top, scratch)
    if not fabs(sum_) < EXTREME:
        return False
    if all.scale == 1:
        constants.centre = v_set(0)
        set_sum(&constants, sum_, SOFTMAX_PRODUCT)
        finish_short(v, y, out, all.length, &constants, SOFTMAX_PRODUCT, all.stream)
    else:
        scaled.centre = v_set(0)
        set_sum(&scaled, sum_, SOFTMAX_PRODUCT)
        set_scales(&scaled, <real> all.scale, SOFTMAX_PRODUCT)
        finish_short(v, y, out, all.length, &scaled, SCALED_SOFTMAX_PRODUCT, all.stream)
    return True
