# Products with the Jacobians of softmax and log_softmax: what the operations offer to the walks.

include "product_sums.pxi"
include "extreme.pxi"
include "product_rows.pxi"
include "product_groups.pxi"
include "product_columns.pxi"

cdef bint softmax_product_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    return product_panel(panel, width, columns, SOFTMAX_PRODUCT)


cdef bint log_softmax_vjp_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    return product_panel(panel, width, columns, LOG_SOFTMAX_VJP)


cdef bint log_softmax_jvp_panel(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil:
    return product_panel(panel, width, columns, LOG_SOFTMAX_JVP)


cdef bint softmax_product_rows(const Slices *slices, char *scratch) noexcept nogil:
    """Contiguous slices, one by one. False: these are none."""
    cdef Py_ssize_t i
    if not are_rows(slices, False):
        return False
    for i in range(slices.count):
        if not write_softmax_product(slices, i, scratch):
            softmax_product_slice(slices, i, scratch)
    return True


cdef bint log_softmax_vjp_rows(const Slices *slices, char *scratch) noexcept nogil:
    return product_groups(slices, scratch, LOG_SOFTMAX_VJP)


cdef bint log_softmax_jvp_rows(const Slices *slices, char *scratch) noexcept nogil:
    return product_groups(slices, scratch, LOG_SOFTMAX_JVP)


cdef void softmax_product_slices(const Slices *slices) noexcept nogil:
    # A few slices side by side have no panel of their own: the row code takes longer, but a panel would take as much
    # code as whole ones.
    cdef Walk walk = Walk(
        kernel=softmax_product_slices, tiles=NULL, longest_tile=PRODUCT_TILES, one_result=False,
        whole_panel=softmax_product_panel, part_panel=NULL, after_panel=softmax_product_slice,
        rows=softmax_product_rows, slice_=softmax_product_slice)
    walk_slices(slices, &walk)


cdef void log_softmax_vjp_slices(const Slices *slices) noexcept nogil:
    cdef Walk walk = Walk(
        kernel=log_softmax_vjp_slices, tiles=NULL, longest_tile=PRODUCT_TILES, one_result=False,
        whole_panel=log_softmax_vjp_panel, part_panel=NULL, after_panel=log_softmax_vjp_slice,
        rows=log_softmax_vjp_rows, slice_=log_softmax_vjp_slice)
    walk_slices(slices, &walk)


cdef void log_softmax_jvp_slices(const Slices *slices) noexcept nogil:
    cdef Walk walk = Walk(
        kernel=log_softmax_jvp_slices, tiles=NULL, longest_tile=PRODUCT_TILES, one_result=False,
        whole_panel=log_softmax_jvp_panel, part_panel=NULL, after_panel=log_softmax_jvp_slice,
        rows=log_softmax_jvp_rows, slice_=log_softmax_jvp_slice)
    walk_slices(slices, &walk)


cdef inline void put_products(const LongSlice *long_, Py_ssize_t b, Mean mean) noexcept nogil:
    set_block_sums(&long_.sums[b], mean.sum_, mean.weights)
    long_.sums[b].unit.top = mean.top


cdef void softmax_products_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Py_ssize_t b
    for b in range(begin, end):
        put_products(long_, b, sum_weighed_products(
            all, all.x, all.y, begin_block(long_, b), <real> long_.centre, scratch))


cdef void log_softmax_products_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Py_ssize_t b
    for b in range(begin, end):
        put_products(long_, b, sum_log_products(
            all, all.x, all.y, begin_block(long_, b), <real> long_.centre, scratch))


cdef void centre_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Py_ssize_t b
    for b in range(begin, end):
        long_.sums[b].unit.top = find_centre_between(
            all, all.x, all.y, begin_block(long_, b), end_block(long_, b + 1), <real> long_.whole.unit.top, scratch)


cdef void vector_sum_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """As sum_signed for LOG_SOFTMAX_VJP."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Shifts shifts = make_unshifted()
    cdef Py_ssize_t b, start, count
    cdef Pair pair
    for b in range(begin, end):
        start = begin_block(long_, b)
        count = count_half_block(start, all.length)
        pair = fetch_pair(all, all.x, all.y, start, count, scratch)
        set_block_sums(
            &long_.sums[b], signed_total(sum_signed_block(pair, count, shifts, LOG_SOFTMAX_VJP)), total_of(0))


cdef inline void product_pass(
    const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end, Operation operation
) noexcept nogil:
    cdef const Slices *all = long_.slices
    write_products(
        all, all.x, all.y, all.out, begin_block(long_, begin), end_block(long_, end), <real> long_.centre,
        <real> long_.whole.hi, thread_buffer(KERNEL_BUFFER), operation)
    if all.stream:
        v_stream_end()


cdef void softmax_product_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    product_pass(long_, begin, end, SOFTMAX_PRODUCT)


cdef void log_softmax_vjp_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    product_pass(long_, begin, end, LOG_SOFTMAX_VJP)


cdef void log_softmax_jvp_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    product_pass(long_, begin, end, LOG_SOFTMAX_JVP)


cdef inline bint settle_product(LongSlice *long_, bint weighed, Operation operation) noexcept nogil:
    """Leave the sum to take off in `whole.hi`, as product_slice does. False: that is for product_slice alone."""
    cdef BlockSum whole = join_blocks(long_)
    cdef double weights = whole.second_hi + whole.second_lo
    long_.whole.hi = <real> (whole.hi + whole.lo)
    if weighed:
        if not adds_up(long_.slices, <real> weights, operation):
            if long_.centre != 0:
                return False
        elif operation == LOG_SOFTMAX_JVP:
            long_.whole.hi = <real> ((whole.hi + whole.lo) / weights)
    return fabs(<real> long_.centre) + fabs(<real> long_.whole.hi) < EXTREME


cdef inline Pass next_product_pass(
    LongSlice *long_, Operation operation, Pass products, Pass finish_
) noexcept nogil:
    """`operation` must be a compile-time constant."""
    if long_.step == NOTHING:
        long_.step = ADD_PRODUCTS
        return products
    if long_.step == FIND_CENTRE:
        long_.step = ADD_WEIGHED_PRODUCTS
        long_.centre = find_largest_of_blocks(long_)
        return products
    if long_.step == HAVE_SUM:
        return NULL
    if long_.step == ADD_PRODUCTS:
        long_.whole.unit.top = find_largest_of_blocks(long_)
        if long_.whole.unit.top > choose_half(operation):
            long_.step = FIND_CENTRE
            return centre_pass
    if not settle_product(long_, long_.step == ADD_WEIGHED_PRODUCTS or operation == LOG_SOFTMAX_JVP, operation):
        return refuse(long_)
    long_.step = HAVE_SUM
    return finish_


cdef Pass next_softmax_product_pass(LongSlice *long_) noexcept nogil:
    return next_product_pass(long_, SOFTMAX_PRODUCT, softmax_products_pass, softmax_product_pass)


cdef Pass next_log_softmax_jvp_pass(LongSlice *long_) noexcept nogil:
    return next_product_pass(long_, LOG_SOFTMAX_JVP, log_softmax_products_pass, log_softmax_jvp_pass)


cdef Pass next_log_softmax_vjp_pass(LongSlice *long_) noexcept nogil:
    cdef BlockSum whole
    if long_.step == NOTHING:
        long_.step = ADD_PRODUCTS
        return vector_sum_pass
    if long_.step == ADD_PRODUCTS:
        long_.step = HAVE_SUM
        whole = join_blocks(long_)
        long_.whole.hi = <real> (whole.hi + whole.lo)
        return log_softmax_vjp_pass if fabs(long_.whole.hi) < EXTREME else refuse(long_)
    return NULL
