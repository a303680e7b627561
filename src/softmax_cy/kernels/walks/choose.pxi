# The ladder: which walk goes over slices as they lie. All walks give the same bits.

cdef inline bint walk_lanes(const Slices *slices, char *scratch, const Walk *walk) noexcept nogil:
    """A slice a lane, in tiles or panels. False: these slices suit neither."""
    if walk.tiles != NULL:
        return walk.tiles(slices, scratch)
    if suit_tiles(slices, walk.longest_tile, walk.one_result):
        walk_tiles(slices, scratch, walk)
        return True
    if are_columns(slices, walk.one_result):
        walk_panels(slices, walk)
        return True
    return False


cdef inline void walk_slices(const Slices *slices, const Walk *walk) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t i
    if not (walk_lanes(slices, scratch, walk) or walk.rows(slices, scratch)):
        if walk.kernel != NULL and suit_gathering(slices) and not are_rows(slices, walk.one_result):
            walk_gathered(slices, walk.kernel, walk.one_result)
        else:
            for i in range(slices.count):
                walk.slice_(slices, i, scratch)
    if slices.stream:
        v_stream_end()
