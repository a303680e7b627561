# Products of logarithms, of contiguous slices whose sums are taken one by one and joined across lanes together.

cdef inline bint suit_product_groups(const Slices *all) noexcept nogil:
    """Contiguous slices of logarithms whose terms are one chain."""
    return all.count > 1 and are_rows(all, False) and all.length <= TERMS


cdef struct ProductGroup:
    # Slices whose sums are taken one by one, and joined across lanes together.
    const Slices *all
    Py_ssize_t first
    Py_ssize_t count
    vreal[MOST_LANES] sums
    vreal[MOST_LANES] weights
    vreal[MOST_LANES] tops
    vsum[MOST_LANES] signed
    totals totals
    # a slice a lane
    vreal centre
    vreal sum_
    vreal ordinary


cdef inline Pair take_group_pair(const ProductGroup *group, Py_ssize_t i) noexcept nogil:
    return take_pair(group.all, group.first + i)


cdef inline void add_weighed_products(ProductGroup *group, Py_ssize_t i, real centre) noexcept nogil:
    cdef Products p = sum_block_products(take_group_pair(group, i), group.all.length, centre, LOG_SOFTMAX_JVP, True)
    group.sums[i] = p.sum_
    group.weights[i] = p.weights
    group.tops[i] = p.top


cdef void add_centred_products(ProductGroup *group, Py_ssize_t i, char *scratch) noexcept nogil:
    """The products of a slice with a class that has more than half."""
    cdef real *centre = <real *> &group.centre + i
    cdef real top = v_max_across(group.tops[i])
    cdef Pair pair = take_group_pair(group, i)
    centre[0] = find_centre(group.all, <const char *> pair.v, <const char *> pair.y, top, scratch)
    add_weighed_products(group, i, centre[0])


cdef inline void add_up_group(ProductGroup *group, char *scratch, Operation operation) noexcept nogil:
    """The sums of each slice, as `product_slice` takes them. `operation` must be a compile-time constant."""
    cdef Shifts shifts = make_unshifted()
    cdef real half = choose_half(operation)
    cdef vreal tops, weights
    cdef Py_ssize_t i
    group.centre = v_set(0)
    group.ordinary = v_set(1)
    if operation == LOG_SOFTMAX_VJP:
        for i in range(group.count):
            group.signed[i] = sum_signed_block(take_group_pair(group, i), group.all.length, shifts, operation)
        totals_set_each(&group.totals, group.signed, group.count)
        group.sum_ = totals_rounded(&group.totals)
    else:
        for i in range(group.count):
            add_weighed_products(group, i, 0)
        tops = v_max_across_each(group.tops, group.count)
        if any_lane_greater(tops, half):
            for i in range(group.count):
                if v_lane(&tops, i) > half:
                    add_centred_products(group, i, scratch)
        weights = v_sum_across_each(group.weights, group.count)
        group.ordinary = mark_adding_up(group.all, weights, operation)
        group.sum_ = v_div(v_sum_across_each(group.sums, group.count), v_max(weights, v_set(1 / RAISE)))
    group.ordinary = v_mul(group.ordinary, mark_in_range(group.centre, group.sum_))


cdef inline bint product_groups(const Slices *all, char *scratch, Operation operation) noexcept nogil:
    """False: not suit_product_groups. What a slice needs once is done for a slice a lane, and nobody waits for it.

    `operation` must be a compile-time constant: of logarithms, whose exponentials make the wait long. Slices out of the
    ordinary are recomputed by the row code.
    """
    cdef Py_ssize_t row = all.length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t size = max(1, min(LANES, GROUP_BYTES // row)), i
    cdef Constants constants
    # Not on the stack: walk_gathered calls these kernels from within themselves.
    cdef ProductGroup *group = <ProductGroup *> thread_buffer(TILE_BUFFER)
    cdef Pair pair
    cdef char *out
    if not suit_product_groups(all):
        return False
    group.all = all
    group.first = 0
    group.totals = totals_start()
    for i in range(LANES):
        group.sums[i] = group.weights[i] = group.tops[i] = v_set(0)
        group.signed[i] = signed_start()
    set_scales(&constants, <real> all.scale, operation)
    while group.first < all.count:
        group.count = min(size, all.count - group.first)
        add_up_group(group, scratch, operation)
        for i in range(group.count):
            if v_lane(&group.ordinary, i) != 1:
                redo_product(all, group.first + i, scratch, operation)
                continue
            constants.centre = v_set(v_lane(&group.centre, i))
            set_sum(&constants, v_lane(&group.sum_, i), operation)
            pair = take_group_pair(group, i)
            out = all.out + (group.first + i) * all.out_next
            finish_short(
                <const char *> pair.v, <const char *> pair.y, out, all.length, &constants, operation, all.stream)
        group.first += group.count
    return True
