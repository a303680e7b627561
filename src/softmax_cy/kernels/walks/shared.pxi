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


cdef inline Py_ssize_t begin_block(const LongSlice *long_, Py_ssize_t block) noexcept nogil:
    return block * long_.block


cdef inline Py_ssize_t end_block(const LongSlice *long_, Py_ssize_t end) noexcept nogil:
    return min(begin_block(long_, end), long_.slices.length)


cdef inline Py_ssize_t count_blocks(const LongSlice *long_) noexcept nogil:
    return (long_.slices.length + long_.block - 1) // long_.block


cdef inline Pass refuse(LongSlice *long_) noexcept nogil:
    long_.refused = True
    return NULL


cdef inline total take_first_sum(const BlockSum *sum_) noexcept nogil:
    cdef total t
    t.hi = sum_.hi
    t.lo = sum_.lo
    return t


cdef inline total take_second_sum(const BlockSum *sum_) noexcept nogil:
    cdef total t
    t.hi = sum_.second_hi
    t.lo = sum_.second_lo
    return t


cdef inline void set_block_sums(BlockSum *sum_, total first, total second) noexcept nogil:
    sum_.hi = first.hi
    sum_.lo = first.lo
    sum_.second_hi = second.hi
    sum_.second_lo = second.lo


cdef BlockSum join_blocks(const LongSlice *long_) noexcept nogil:
    """Both sums, over all blocks."""
    cdef BlockSum whole = BlockSum(hi=0, lo=0, second_hi=0, second_lo=0, top=0)
    cdef Py_ssize_t b
    for b in range(count_blocks(long_)):
        set_block_sums(
            &whole, total_add(take_first_sum(&whole), take_first_sum(&long_.sums[b])),
            total_add(take_second_sum(&whole), take_second_sum(&long_.sums[b])))
    return whole


cdef double find_largest_of_blocks(const LongSlice *long_) noexcept nogil:
    cdef double top = -INFINITY
    cdef Py_ssize_t b
    for b in range(count_blocks(long_)):
        top = max(top, long_.sums[b].top)
    return top


cdef void largest_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = take_slice(long_.slices, 0)
    cdef Py_ssize_t b
    for b in range(begin, end):
        long_.sums[b].top = find_range_max(&s, begin_block(long_, b), end_block(long_, b + 1), scratch)


cdef bint find_top(LongSlice *long_) noexcept nogil:
    """Whether there is a finite largest element."""
    long_.whole.top = find_largest_of_blocks(long_)
    return has_softmax(<real> long_.whole.top)


cdef void terms_pass(
    const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end, TermSum which, char *kept
) noexcept nogil:
    """`kept`: where all exponentials are left, or NULL."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = take_slice(long_.slices, 0)
    cdef real top = <real> long_.whole.top
    cdef Shifts shifts = find_shifts(v_set(top), s.all.scale)
    cdef Py_ssize_t b, start, count
    cdef const char *x
    cdef total sum_
    for b in range(begin, end):
        start = begin_block(long_, b)
        count = end_block(long_, b + 1) - start
        x = fetch(&s, start, count, scratch)
        if which == BELOW_TOP:
            sum_ = sum_below_top(x, count, &shifts, top)
        else:
            sum_ = sum_exponentials(
                x, kept + start * <Py_ssize_t> sizeof(real) if kept != NULL else NULL, count, &shifts)
        set_block_sums(&long_.sums[b], sum_, total_of(0))


cdef void kept_exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = take_slice(long_.slices, 0)
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, find_room_for_exponentials(&s))


cdef void exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, NULL)


cdef void below_top_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    terms_pass(long_, begin, end, BELOW_TOP, NULL)
