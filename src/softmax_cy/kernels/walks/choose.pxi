# The ladder: which walk goes over slices as they lie. All walks give the same bits.

cdef inline void walk_slices(const Slices *slices, const Walk *walk) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t i
    if suit_tiles(slices, walk.longest_tile, walk.one_result):
        walk_tiles(slices, scratch, walk)
    elif are_columns(slices, walk.one_result):
        walk_panels(slices, walk)
    elif not walk.rows(slices, scratch):
        if suit_gathering(slices) and not are_rows(slices, walk.one_result):
            walk_gathered(slices, walk.kernel, walk.one_result)
        else:
            for i in range(slices.count):
                walk.slice_(slices, i, scratch)
    if slices.stream:
        v_stream_end()
