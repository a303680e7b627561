# Contiguous slices of at most a block, in groups: each pass runs over a whole group, and the first pass over the next
# group before the last one over this. So the long waits of a slice, across the lanes of a maximum or a sum, for a
# logarithm or a division, are filled with work that does not depend on them. What a slice needs once is done for a
# slice a lane.
#
# An operation offers two functions to the one loop: for the sums of a group, and for the results of a slice of it. They
# are inline, and as constants they are not called through their addresses: the loop is compiled once an operation.

cdef enum:
    GROUP_BYTES = 8192              # leaves room in a first-level cache for the input and the output


cdef struct Group:
    # Slices that go through each pass together.
    const char *x
    char *out
    Py_ssize_t first
    Py_ssize_t count
    # A slice a lane. Products set neither.
    real[MOST_LANES] tops
    Shifts shifts


# `own` is what the operation keeps from pass to pass.
ctypedef void (*AddUpGroup)(const Slices *slices, const Group *group, Operation operation, void *own) noexcept nogil
ctypedef void (*FinishInGroup)(
    const Slices *slices, const Group *group, Py_ssize_t i, Operation operation, void *own) noexcept nogil


cdef inline void take_group(
    Group *group, const Slices *slices, Py_ssize_t first, Py_ssize_t size, Operation operation
) noexcept nogil:
    """The first pass, which products lack, over at most `size` slices from `first` on. There may be none left."""
    cdef vreal[MOST_LANES] maxima
    cdef vreal tops
    cdef Py_ssize_t i
    group.x = slices.x + first * slices.x_next
    group.out = slices.out + first * slices.out_next
    group.first = first
    group.count = max(0, min(size, slices.count - first))
    if group.count == 0 or is_product(operation):
        return
    for i in range(group.count):
        maxima[i] = find_block_maxima(group.x + i * slices.x_next, slices.length, -INFINITY)
    for i in range(group.count, LANES):
        maxima[i] = v_set(0)
    tops = v_max_across_each(maxima, group.count)
    v_store(group.tops, tops)
    group.shifts = find_shifts(tops, slices.scale)


cdef inline void walk_groups(
    const Slices *slices, Py_ssize_t most_bytes, Operation operation, AddUpGroup add_up, FinishInGroup finish_slice,
    void *own,
) noexcept nogil:
    """Slices of at most a block: as many at a time as have `most_bytes` together, and at most one a lane.

    `operation`, `add_up` and `finish_slice` must be compile-time constants.
    """
    cdef Py_ssize_t size = max(1, min(LANES, most_bytes // (slices.length * <Py_ssize_t> sizeof(real))))
    cdef Group[2] groups
    cdef Group *group = &groups[0]
    cdef Group *after = &groups[1]
    cdef Py_ssize_t i
    take_group(group, slices, 0, size, operation)
    while group.count > 0:
        add_up(slices, group, operation, own)
        take_group(after, slices, group.first + group.count, size, operation)
        for i in range(group.count):
            finish_slice(slices, group, i, operation, own)
        group, after = after, group


cdef struct GroupTerms:
    # What the second pass over a group leaves.
    char *scratch               # of the kernel, also for slices that are done by themselves
    Py_ssize_t scratch_next     # from the exponentials of one slice to those of the next
    bint in_scratch             # where they are kept, if they are; else in the result
    vsum[MOST_LANES] of_slice
    totals sums                 # a slice a lane


cdef inline void start_group_terms(
    GroupTerms *terms, const Slices *slices, char *scratch, bint in_scratch
) noexcept nogil:
    """Lanes without a slice hold what is harmless."""
    cdef Py_ssize_t row = slices.length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t i
    terms.scratch = scratch
    terms.scratch_next = (row + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    terms.in_scratch = in_scratch
    terms.sums = totals_harmless()
    for i in range(LANES):
        terms.of_slice[i] = vsum_harmless()


cdef inline char *find_kept(
    const GroupTerms *terms, const Slices *slices, const Group *group, Py_ssize_t i
) noexcept nogil:
    """Where the exponentials of a slice are kept."""
    return terms.scratch + i * terms.scratch_next if terms.in_scratch else group.out + i * slices.out_next


cdef inline void add_group_terms(
    GroupTerms *terms, const Slices *slices, const Group *group, TermSum which, bint fetch_out, const bint *wanted
) noexcept nogil:
    """The second pass, over all slices or those that are `wanted`. The others get a harmless sum.

    `which` and `fetch_out` must be compile-time constants.
    """
    cdef char *kept = NULL
    cdef const char *x
    cdef Ahead ahead
    cdef Shifts shifts
    cdef Py_ssize_t i
    ahead.out = NULL
    for i in range(group.count):
        if wanted != NULL and not wanted[i]:
            terms.of_slice[i] = vsum_harmless()
            continue
        x = group.x + i * slices.x_next
        # The next group is read, and this one written, at the same pace.
        ahead.x = x + group.count * slices.x_next
        if which == EXPONENTIALS:
            kept = find_kept(terms, slices, group, i)
        if fetch_out:
            # What is written past the caches is not to be fetched into them.
            ahead.out = kept if slices.stream else group.out + i * slices.out_next
        shifts = spread_lane(&group.shifts, i)
        terms.of_slice[i] = vsum_without_seed(add_short_block(x, kept, slices.length, &shifts, which, ahead))
    totals_set_each(&terms.sums, terms.of_slice, group.count)
