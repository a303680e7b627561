# A slice so long that several threads share it: each pass by itself, over a stretch of its blocks. Sums are of one
# block each and are added in their order: the bits are those of softmax.pxi and log.pxi for any number of threads.

cdef inline Py_ssize_t first_element(Py_ssize_t block) noexcept nogil:
    return block * block_length()


cdef inline Py_ssize_t last_element(const Stretch *stretch) noexcept nogil:
    return min(first_element(stretch.end), stretch.slices.length)


cdef void stretch_largest(Stretch *stretch) noexcept nogil:
    cdef Scratch memory
    cdef Slice s = slice_at(stretch.slices, 0)
    stretch.top = range_max(&s, first_element(stretch.begin), last_element(stretch), aligned(&memory))


cdef inline void stretch_terms(Stretch *stretch, TermSum which) noexcept nogil:
    cdef Scratch memory
    cdef char *scratch = aligned(&memory)
    cdef Slice s = slice_at(stretch.slices, 0)
    cdef real top = <real> stretch.top
    cdef Shift shift = shift_to(top, s.all.scale)
    cdef Py_ssize_t b, start, count
    cdef const char *block
    cdef Terms terms
    cdef total sum_
    for b in range(stretch.begin, stretch.end):
        start = first_element(b)
        count = block_at(start, s.all.length)
        block = fetch(&s, start, count, scratch)
        if which == BELOW_TOP:
            terms = block_below_top(block, count, shift, top)
            sum_ = signed_total(terms.sum_)
        else:
            terms = block_exponentials_alone(block, count, shift)
            sum_ = vsum_total(terms.sum_)
        stretch.sums[b] = BlockSum(hi=sum_.hi, lo=sum_.lo, ties=v_sum_across(terms.ties))


cdef void stretch_exponentials(Stretch *stretch) noexcept nogil:
    stretch_terms(stretch, EXPONENTIALS_ALONE)


cdef void stretch_below_top(Stretch *stretch) noexcept nogil:
    stretch_terms(stretch, BELOW_TOP)


cdef inline BlockSum slice_sum(const Stretch *stretch) noexcept nogil:
    cdef Py_ssize_t b
    cdef BlockSum all_
    cdef total t, of_block
    t.hi = t.lo = all_.ties = 0
    for b in range(blocks_in(stretch.slices.length)):
        of_block.hi = stretch.sums[b].hi
        of_block.lo = stretch.sums[b].lo
        t = total_add(t, of_block)
        all_.ties += stretch.sums[b].ties
    all_.hi = t.hi
    all_.lo = t.lo
    return all_


cdef inline LogSum slice_log_sum(const Stretch *stretch) noexcept nogil:
    cdef BlockSum all_ = slice_sum(stretch)
    cdef total others
    others.hi = all_.hi
    others.lo = all_.lo
    return log_sum_from(others, all_.ties, <real> stretch.top, stretch.slices.scale)


cdef void stretch_softmax(Stretch *stretch) noexcept nogil:
    cdef Scratch memory
    cdef Slice s = slice_at(stretch.slices, 0)
    cdef Shift shift = shift_to(<real> stretch.top, s.all.scale)
    cdef BlockSum all_ = slice_sum(stretch)
    cdef total t
    t.hi = all_.hi
    t.lo = all_.lo
    softmax_results(
        &s, first_element(stretch.begin), last_element(stretch), NULL, shift, total_reciprocal(t), aligned(&memory))
    if s.all.stream:
        v_stream_end()


cdef void stretch_log_softmax(Stretch *stretch) noexcept nogil:
    cdef Scratch memory
    cdef Slice s = slice_at(stretch.slices, 0)
    cdef LogSum sum_ = slice_log_sum(stretch)
    log_results(&s, first_element(stretch.begin), last_element(stretch), &sum_, aligned(&memory))
    if s.all.stream:
        v_stream_end()


cdef void stretch_logsumexp(Stretch *stretch) noexcept nogil:
    cdef LogSum sum_
    if stretch.begin == 0:
        sum_ = slice_log_sum(stretch)
        write_log_sum(stretch.slices, stretch.slices.out, &sum_)
