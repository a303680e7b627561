# A slice so long that several threads share it: each pass by itself, over any stretch of its blocks. What a pass finds
# is of one block each and is joined in the order of the blocks, by one thread, between two passes: the bits are those
# of the kernels for whole slices, for any number of threads.
#
# What is rare is refused, and left to those: no finite largest element, NaN, products that leave the range of numbers.

cdef enum Step:
    # What was begun last.
    NOTHING
    FIND_LARGEST
    ADD_EXPONENTIALS
    ADD_BELOW_TOP
    HAVE_SUM                # and all passes after it but those of losses
    ADD_PRODUCTS
    FIND_CENTRE
    ADD_WEIGHED_PRODUCTS
    ADD_LOSSES
    WRITE_GRADIENT


cdef inline Py_ssize_t first_element(const LongSlice *long_, Py_ssize_t block) noexcept nogil:
    return block * long_.block


cdef inline Py_ssize_t last_element(const LongSlice *long_, Py_ssize_t end) noexcept nogil:
    return min(first_element(long_, end), long_.slices.length)


cdef inline Py_ssize_t number_of_blocks(const LongSlice *long_) noexcept nogil:
    return (long_.slices.length + long_.block - 1) // long_.block


cdef inline Pass refuse(LongSlice *long_) noexcept nogil:
    long_.refused = True
    return NULL


cdef inline total first_sum(const BlockSum *sum_) noexcept nogil:
    cdef total t
    t.hi = sum_.hi
    t.lo = sum_.lo
    return t


cdef inline total second_sum(const BlockSum *sum_) noexcept nogil:
    cdef total t
    t.hi = sum_.second_hi
    t.lo = sum_.second_lo
    return t


cdef inline void set_sums_of(BlockSum *sum_, total first, total second) noexcept nogil:
    sum_.hi = first.hi
    sum_.lo = first.lo
    sum_.second_hi = second.hi
    sum_.second_lo = second.lo


cdef BlockSum sums_of_blocks(const LongSlice *long_) noexcept nogil:
    """Both sums, over all blocks."""
    cdef BlockSum whole = BlockSum(hi=0, lo=0, second_hi=0, second_lo=0, top=0)
    cdef Py_ssize_t b
    for b in range(number_of_blocks(long_)):
        set_sums_of(
            &whole, total_add(first_sum(&whole), first_sum(&long_.sums[b])),
            total_add(second_sum(&whole), second_sum(&long_.sums[b])))
    return whole


cdef double largest_of_blocks(const LongSlice *long_) noexcept nogil:
    cdef double top = -INFINITY
    cdef Py_ssize_t b
    for b in range(number_of_blocks(long_)):
        top = max(top, long_.sums[b].top)
    return top


# ---- exponentials ------------------------------------------------------------------------------------------------

cdef void largest_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(long_.slices, 0)
    cdef Py_ssize_t b
    for b in range(begin, end):
        long_.sums[b].top = range_max(&s, first_element(long_, b), last_element(long_, b + 1), scratch)


cdef bint find_top(LongSlice *long_) noexcept nogil:
    """Whether there is a finite largest element."""
    long_.whole.top = largest_of_blocks(long_)
    return has_softmax(<real> long_.whole.top)


cdef void terms_pass(
    const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end, TermSum which, char *kept
) noexcept nogil:
    """`kept`: where all exponentials are left, or NULL."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(long_.slices, 0)
    cdef real top = <real> long_.whole.top
    cdef Shift shift = shift_to(top, s.all.scale)
    cdef Py_ssize_t b, start, count
    cdef const char *x
    cdef total sum_
    for b in range(begin, end):
        start = first_element(long_, b)
        count = last_element(long_, b + 1) - start
        x = fetch(&s, start, count, scratch)
        if kept != NULL:
            sum_ = block_exponentials(x, kept + start * <Py_ssize_t> sizeof(real), count, shift)
        else:
            sum_ = block_sum(x, count, shift, top, which)
        set_sums_of(&long_.sums[b], sum_, total_of(0))


cdef void kept_exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = slice_at(long_.slices, 0)
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, room_for_exponentials(&s))


cdef void exponentials_beside_logits_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = slice_at(long_.slices, 0)
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, room_beside_logits(&s))


cdef void exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, NULL)


cdef void below_top_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    terms_pass(long_, begin, end, BELOW_TOP, NULL)


# ---- softmax -----------------------------------------------------------------------------------------------------

cdef void softmax_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(long_.slices, 0)
    cdef Shift shift = shift_to(<real> long_.whole.top, s.all.scale)
    softmax_results(
        &s, first_element(long_, begin), last_element(long_, end), room_for_exponentials(&s), shift,
        first_sum(&long_.whole), scratch)
    if s.all.stream:
        v_stream_end()


cdef Pass next_softmax_pass(LongSlice *long_) noexcept nogil:
    cdef BlockSum whole
    if long_.step == NOTHING:
        long_.step = FIND_LARGEST
        return largest_pass
    if long_.step == FIND_LARGEST:
        long_.step = ADD_EXPONENTIALS
        return kept_exponentials_pass if find_top(long_) else refuse(long_)
    if long_.step == ADD_EXPONENTIALS:
        long_.step = HAVE_SUM
        whole = sums_of_blocks(long_)
        set_sums_of(&long_.whole, first_sum(&whole), total_of(0))
        return softmax_pass
    return NULL


# ---- logarithms --------------------------------------------------------------------------------------------------

cdef LogSum long_log_sum(const LongSlice *long_) noexcept nogil:
    """As log_sum. The first sum is of all exponentials, the second of all below the largest, if that was taken."""
    cdef real top = <real> long_.whole.top
    cdef Exponential largest = largest_exponential(top, shift_to(top, long_.slices.scale))
    cdef LogSum sum_
    sum_.top = top
    sum_.all_ = first_sum(&long_.whole)
    if long_.below_top:
        sum_.others = total_over(second_sum(&long_.whole), exact_value(largest))
    else:
        sum_.others = others_of(sum_.all_, largest)
    sum_.over = total_log1p(sum_.others)
    return sum_


cdef Pass next_pass_of_logarithms(LongSlice *long_) noexcept nogil:
    """Up to HAVE_SUM: then long_log_sum is known, and there is none."""
    cdef BlockSum whole
    if long_.step == NOTHING:
        long_.step = FIND_LARGEST
        return largest_pass
    if long_.step == FIND_LARGEST:
        long_.step = ADD_EXPONENTIALS
        if not find_top(long_):
            return refuse(long_)
        if long_.plain_index:
            return exponentials_beside_logits_pass
        return exponentials_pass
    whole = sums_of_blocks(long_)
    if long_.step == ADD_EXPONENTIALS:
        set_sums_of(&long_.whole, first_sum(&whole), total_of(0))
        if long_log_sum(long_).others.hi < FEW_OTHERS:
            long_.step = ADD_BELOW_TOP
            return below_top_pass
    else:
        long_.below_top = True
        set_sums_of(&long_.whole, first_sum(&long_.whole), first_sum(&whole))
    long_.step = HAVE_SUM
    return NULL


cdef void log_softmax_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(long_.slices, 0)
    cdef LogSum sum_ = long_log_sum(long_)
    log_results(&s, first_element(long_, begin), last_element(long_, end), &sum_, scratch)
    if s.all.stream:
        v_stream_end()


cdef Pass next_log_softmax_pass(LongSlice *long_) noexcept nogil:
    cdef Pass pass_
    if long_.step == HAVE_SUM:
        return NULL
    pass_ = next_pass_of_logarithms(long_)
    return log_softmax_pass if long_.step == HAVE_SUM else pass_


cdef Pass next_logsumexp_pass(LongSlice *long_) noexcept nogil:
    cdef Pass pass_ = next_pass_of_logarithms(long_)
    cdef LogSum sum_
    if long_.step == HAVE_SUM:
        sum_ = long_log_sum(long_)
        write_log_sum(long_.slices, long_.slices.out, &sum_)
    return pass_


# ---- products ----------------------------------------------------------------------------------------------------

cdef inline void put_products(const LongSlice *long_, Py_ssize_t b, Mean mean) noexcept nogil:
    set_sums_of(&long_.sums[b], mean.sum_, mean.weights)
    long_.sums[b].top = mean.top


cdef void softmax_products_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Py_ssize_t b
    for b in range(begin, end):
        put_products(long_, b, some_weighed_products(
            all, all.x, all.y, first_element(long_, b), <real> long_.centre, scratch))


cdef void log_softmax_products_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Py_ssize_t b
    for b in range(begin, end):
        put_products(long_, b, some_products_of_logarithms(
            all, all.x, all.y, first_element(long_, b), <real> long_.centre, scratch))


cdef void centre_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Py_ssize_t b
    for b in range(begin, end):
        long_.sums[b].top = centre_between(
            all, all.x, all.y, first_element(long_, b), last_element(long_, b + 1), <real> long_.whole.top, scratch)


cdef void vector_sum_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """As signed_sum for LOG_SOFTMAX_VJP."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef const Slices *all = long_.slices
    cdef Shifts shifts = unshifted()
    cdef Py_ssize_t b, start, count
    cdef Pair pair
    for b in range(begin, end):
        start = first_element(long_, b)
        count = half_block_at(start, all.length)
        pair = fetch_pair(all, all.x, all.y, start, count, scratch)
        set_sums_of(
            &long_.sums[b], signed_total(block_signed_sum(pair, count, shifts, LOG_SOFTMAX_VJP)), total_of(0))


cdef inline void product_pass(
    const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end, Operation operation
) noexcept nogil:
    cdef const Slices *all = long_.slices
    product_results(
        all, all.x, all.y, all.out, first_element(long_, begin), last_element(long_, end), <real> long_.centre,
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
    cdef BlockSum whole = sums_of_blocks(long_)
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
    """`operation` is a constant of the caller."""
    if long_.step == NOTHING:
        long_.step = ADD_PRODUCTS
        return products
    if long_.step == FIND_CENTRE:
        long_.step = ADD_WEIGHED_PRODUCTS
        long_.centre = largest_of_blocks(long_)
        return products
    if long_.step == HAVE_SUM:
        return NULL
    if long_.step == ADD_PRODUCTS:
        long_.whole.top = largest_of_blocks(long_)
        if long_.whole.top > more_than_half(operation):
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
        whole = sums_of_blocks(long_)
        long_.whole.hi = <real> (whole.hi + whole.lo)
        return log_softmax_vjp_pass if fabs(long_.whole.hi) < EXTREME else refuse(long_)
    return NULL


# ---- losses ------------------------------------------------------------------------------------------------------

cdef void loss_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """As sums_of."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef char *spare = thread_buffer(TILE_BUFFER)
    cdef const CrossEntropySlices *all = long_.losses
    cdef Slice s = slice_at(long_.slices, 0)
    cdef LogSum sum_ = long_log_sum(long_)
    cdef vreal plain = v_set(0)
    cdef Py_ssize_t b, start
    cdef Sums sums
    for b in range(begin, end):
        start = first_element(long_, b)
        sums = block_loss(
            all, &s, all.target, start, half_block_at(start, all.length), sum_, &plain, scratch, spare)
        set_sums_of(&long_.sums[b], sums.loss, sums.coefficients)


cdef void gradient_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const CrossEntropySlices *all = long_.losses
    cdef Slice s = slice_at(long_.slices, 0)
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t start = first_element(long_, begin), stop = last_element(long_, end)
    cdef real coefficient_sum = <real> long_.coefficient_sum
    cdef LogSum sum_ = long_log_sum(long_)
    if long_.plain_index:
        plain_gradient(all, &s, start, stop, sum_, coefficient_sum, room_beside_logits(&s), scratch)
    else:
        gradient(all, &s, all.target, start, stop, sum_, coefficient_sum, scratch, thread_buffer(TILE_BUFFER))


cdef inline real of_index_of(const LongSlice *long_) noexcept nogil:
    """The part of the coefficients that is an index."""
    return <real> (1 - long_.losses.smoothing) * <real> long_.weight


cdef inline bint begin_loss(LongSlice *long_) noexcept nogil:
    """Read the target, once. False: it is none."""
    cdef const CrossEntropySlices *all = long_.losses
    long_.logits = logits_of(all)
    long_.slices = &long_.logits
    long_.weight = 1
    if all.target_elements == NULL:
        long_.index = index_of(all, 0)
        if long_.index < 0:
            return False
        if all.weight != NULL:
            long_.weight = real_element(all.weight, all.weight_elements, long_.index)
        long_.x_index = real_element(all.x, all.x_elements, long_.index)
    long_.plain_index = is_plain_index(all, <real> long_.weight)
    return True


cdef Pass deliver_loss(LongSlice *long_) noexcept nogil:
    long_.step = WRITE_GRADIENT
    write_result(<real> long_.loss, long_.losses.loss, long_.losses.loss_kind)
    if long_.losses.grad == NULL:
        return NULL
    return gradient_pass


cdef Pass begin_losses(LongSlice *long_) noexcept nogil:
    """With the logarithm: the loss of an index."""
    cdef const CrossEntropySlices *all = long_.losses
    cdef LogSum sum_ = long_log_sum(long_)
    cdef real of_index
    if not is_number(sum_.over):
        return refuse(long_)
    if all.target_elements == NULL:
        of_index = of_index_of(long_)
        if of_index != 0:
            long_.loss = rounded_sum(of_index, <real> long_.x_index - sum_.top, sum_.over)
        long_.coefficient_sum = of_index
    if not long_.plain_index:
        long_.block = block_length() // 2
    if all.target_elements == NULL and all.smoothing == 0:
        return deliver_loss(long_)
    long_.step = ADD_LOSSES
    return loss_pass


cdef Pass next_cross_entropy_pass(LongSlice *long_) noexcept nogil:
    cdef const CrossEntropySlices *all = long_.losses
    cdef BlockSum whole
    cdef Pass pass_
    cdef Slice s
    if long_.step == NOTHING:
        long_.block = block_length()
        if not begin_loss(long_):
            return refuse(long_)
    if long_.step < HAVE_SUM:
        pass_ = next_pass_of_logarithms(long_)
        return begin_losses(long_) if long_.step == HAVE_SUM else pass_
    if long_.step == ADD_LOSSES:
        whole = sums_of_blocks(long_)
        if whole.hi + whole.lo != whole.hi + whole.lo:
            return refuse(long_)
        long_.loss = <real> long_.loss + <real> (whole.hi + whole.lo)
        long_.coefficient_sum = <real> long_.coefficient_sum + <real> (whole.second_hi + whole.second_lo)
        return deliver_loss(long_)
    if all.target_elements == NULL:
        s = slice_at(long_.slices, 0)
        put_gradient_at_index(
            all, &s, long_.index, <real> long_.x_index, long_log_sum(long_), <real> long_.weight, of_index_of(long_))
    return NULL
