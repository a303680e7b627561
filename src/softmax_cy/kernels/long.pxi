# A slice so long that several threads share it: each pass by itself, over a stretch of its blocks. Sums are of one
# block each and are added in their order: the bits are those of softmax.pxi and log.pxi for any number of threads.

cdef inline Py_ssize_t first_element(Py_ssize_t block) noexcept nogil:
    return block * block_length()


cdef inline Py_ssize_t last_element(const Stretch *stretch) noexcept nogil:
    return min(first_element(stretch.end), stretch.slices.length)


cdef void stretch_largest(Stretch *stretch) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(stretch.slices, 0)
    stretch.top = range_max(&s, first_element(stretch.begin), last_element(stretch), scratch)


cdef inline void stretch_terms(const Stretch *stretch, TermSum which, bint keep) noexcept nogil:
    """`keep`: exponentials stay in `out`, if it can hold them. `which` and `keep` are constants of the caller."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(stretch.slices, 0)
    cdef char *kept = room_for_exponentials(&s) if keep else NULL
    cdef real top = <real> stretch.top
    cdef Shift shift = shift_to(top, s.all.scale)
    cdef Py_ssize_t b, start, count
    cdef const char *x
    cdef total sum_
    for b in range(stretch.begin, stretch.end):
        start = first_element(b)
        count = block_at(start, s.all.length)
        x = fetch(&s, start, count, scratch)
        if kept != NULL:
            sum_ = block_exponentials(x, kept + start * <Py_ssize_t> sizeof(real), count, shift)
        else:
            sum_ = block_sum(x, count, shift, top, which)
        stretch.sums[b] = BlockSum(hi=sum_.hi, lo=sum_.lo)


cdef void stretch_kept_exponentials(Stretch *stretch) noexcept nogil:
    stretch_terms(stretch, EXPONENTIALS_ALONE, True)


cdef void stretch_exponentials(Stretch *stretch) noexcept nogil:
    stretch_terms(stretch, EXPONENTIALS_ALONE, False)


cdef void stretch_below_top(Stretch *stretch) noexcept nogil:
    stretch_terms(stretch, BELOW_TOP, False)


cdef inline total sum_of_blocks(const Stretch *stretch) noexcept nogil:
    cdef Py_ssize_t b
    cdef total t, of_block
    t.hi = t.lo = 0
    for b in range(blocks_in(stretch.slices.length)):
        of_block.hi = stretch.sums[b].hi
        of_block.lo = stretch.sums[b].lo
        t = total_add(t, of_block)
    return t


cdef inline total others_of_blocks(const Stretch *stretch) noexcept nogil:
    cdef real top = <real> stretch.top
    cdef Exponential largest = largest_exponential(top, shift_to(top, stretch.slices.scale))
    cdef total t = sum_of_blocks(stretch)
    return total_over(t, exact_value(largest)) if stretch.below_top else others_of(t, largest)


cdef bint stretch_has_few_others(const Stretch *stretch) noexcept nogil:
    return others_of_blocks(stretch).hi < FEW_OTHERS


cdef inline LogSum log_sum_of_blocks(const Stretch *stretch) noexcept nogil:
    cdef LogSum sum_
    sum_.top = <real> stretch.top
    sum_.others = others_of_blocks(stretch)
    sum_.over = total_log1p(sum_.others)
    return sum_


cdef void stretch_softmax(Stretch *stretch) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(stretch.slices, 0)
    cdef Shift shift = shift_to(<real> stretch.top, s.all.scale)
    softmax_results(
        &s, first_element(stretch.begin), last_element(stretch), room_for_exponentials(&s), shift,
        sum_of_blocks(stretch), scratch)
    if s.all.stream:
        v_stream_end()


cdef void stretch_log_softmax(Stretch *stretch) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = slice_at(stretch.slices, 0)
    cdef LogSum sum_ = log_sum_of_blocks(stretch)
    log_results(&s, first_element(stretch.begin), last_element(stretch), &sum_, scratch)
    if s.all.stream:
        v_stream_end()


cdef void stretch_logsumexp(Stretch *stretch) noexcept nogil:
    cdef LogSum sum_
    if stretch.begin == 0:
        sum_ = log_sum_of_blocks(stretch)
        write_log_sum(stretch.slices, stretch.slices.out, &sum_)
