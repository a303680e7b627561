# Contiguous slices of at most a block that go through each pass together.

cdef enum:
    GROUP_BYTES = 8192              # leaves room in a first-level cache for the input and the output


cdef struct Group:
    # Slices that go through each pass together.
    const char *x
    char *out
    Py_ssize_t count
    real[MOST_LANES] tops
    Shifts shifts           # a slice a lane


cdef inline void start_group(Group *group, const Slices *slices, Py_ssize_t first, Py_ssize_t size) noexcept nogil:
    """The first pass over at most `size` slices from `first` on, of which there may be none left."""
    cdef vreal[MOST_LANES] maxima
    cdef vreal tops
    cdef Py_ssize_t i
    group.x = slices.x + first * slices.x_next
    group.out = slices.out + first * slices.out_next
    group.count = max(0, min(size, slices.count - first))
    if group.count == 0:
        return
    for i in range(group.count):
        maxima[i] = find_block_maxima(group.x + i * slices.x_next, slices.length, -INFINITY)
    for i in range(group.count, LANES):
        maxima[i] = v_set(0)
    tops = v_max_across_each(maxima, group.count)
    v_store(group.tops, tops)
    group.shifts = find_shifts(tops, slices.scale)
