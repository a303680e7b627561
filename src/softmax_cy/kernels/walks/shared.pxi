# A slice so long that several threads share it: each pass by itself, over any stretch of its blocks. What a pass finds
# is of one block each and is joined in the order of the blocks, by one thread, between two passes: the bits are those
# of the kernels for whole slices, for any number of threads.
#
# What is rare is refused, and left to those: no finite largest element, NaN, products that leave the range of numbers.

cdef enum Step:
    # What was begun last.
    NOTHING
    ADD_EXPONENTIALS
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


cdef BlockSum join_blocks(const LongSlice *long_) noexcept nogil:
    """Both sums, over all blocks."""
    cdef BlockSum whole = BlockSum(hi=0, lo=0, second_hi=0, second_lo=0, unit=BlockUnit(top=0, k=0, trim=0))
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
        top = max(top, long_.sums[b].unit.top)
    return top


cdef inline Units take_units(const LongSlice *long_) noexcept nogil:
    return Units(first=<const char *> &long_.sums[0].unit, step=sizeof(BlockSum))


cdef void sum_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end, char *kept) noexcept nogil:
    """What each block leaves behind. `kept`: where all exponentials are left, or NULL."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = take_slice(long_.slices, 0)
    cdef Unit unit
    cdef Py_ssize_t b
    for b in range(begin, end):
        summarize_block(&s, begin_block(long_, b), kept, scratch, &long_.sums[b], &unit)


cdef void kept_exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef Slice s = take_slice(long_.slices, 0)
    sum_pass(long_, begin, end, find_room_for_exponentials(&s))


cdef void exponentials_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    sum_pass(long_, begin, end, NULL)


cdef bint join_exponentials(LongSlice *long_) noexcept nogil:
    """Join what the blocks have left. False: no number is the sum, which is rare and left to the other kernels."""
    cdef Joined joined = join_nothing()
    cdef real scale = <real> long_.slices.scale
    cdef Unit unit
    cdef Py_ssize_t b
    for b in range(count_blocks(long_)):
        unit = measure_unit(<real> long_.sums[b].unit.top, scale)
        join_block(&joined, &long_.sums[b], &unit, scale)
    long_.whole.unit = joined.unit.block
    set_block_sums(&long_.whole, joined.others, total_of(0))
    return has_softmax(<real> joined.unit.block.top) and is_number(joined.others)


cdef LogSum find_long_log_sum(const LongSlice *long_) noexcept nogil:
    """What join_exponentials has found."""
    cdef Joined joined
    joined.unit = measure_unit(<real> long_.whole.unit.top, <real> long_.slices.scale)
    joined.others = take_first_sum(&long_.whole)
    return finish_log_sum(&joined)
