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
    cdef Shifts shifts = shifts_to(v_set(top), s.all.scale)
    cdef Py_ssize_t b, start, count
    cdef const char *x
    cdef total sum_
    for b in range(begin, end):
        start = first_element(long_, b)
        count = last_element(long_, b + 1) - start
        x = fetch(&s, start, count, scratch)
        if which == BELOW_TOP:
            sum_ = sum_below_top(x, count, &shifts, top)
        else:
            sum_ = sum_exponentials(
                x, kept + start * <Py_ssize_t> sizeof(real) if kept != NULL else NULL, count, &shifts)
        set_sums_of(&long_.sums[b], sum_, total_of(0))


cdef void kept_exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = slice_at(long_.slices, 0)
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, room_for_exponentials(&s))


cdef void exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    terms_pass(long_, begin, end, EXPONENTIALS_ALONE, NULL)


cdef void below_top_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    terms_pass(long_, begin, end, BELOW_TOP, NULL)
