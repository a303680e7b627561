# Products of logarithms, of contiguous slices whose sums are taken one by one and joined across lanes together.

cdef inline bint suit_product_groups(const Slices *all) noexcept nogil:
    """Contiguous slices of logarithms whose terms are one chain."""
    return all.count > 1 and are_rows(all, False) and all.length <= TERMS


cdef struct ProductGroup:
    # Slices whose sums are taken one by one, and joined across lanes together.
    char *scratch
    Constants constants
    vreal[MOST_LANES] sums
    vreal[MOST_LANES] weights
    vreal[MOST_LANES] tops
    vsum[MOST_LANES] signed
    totals totals
    # a slice a lane
    vreal centre
    vreal sum_
    vreal ordinary


cdef inline void add_weighed_products(
    ProductGroup *own, const Slices *all, Py_ssize_t first, Py_ssize_t i, real centre
) noexcept nogil:
    cdef Products p = sum_block_products(take_pair(all, first + i), all.length, centre, LOG_SOFTMAX_JVP, True)
    own.sums[i] = p.sum_
    own.weights[i] = p.weights
    own.tops[i] = p.top


cdef void add_centred_products(
    ProductGroup *own, const Slices *all, Py_ssize_t first, Py_ssize_t i
) noexcept nogil:
    """The products of a slice with a class that has more than half."""
    cdef real *centre = <real *> &own.centre + i
    cdef real top = v_max_across(own.tops[i])
    cdef Pair pair = take_pair(all, first + i)
    centre[0] = find_centre(all, <const char *> pair.v, <const char *> pair.y, top, own.scratch)
    add_weighed_products(own, all, first, i, centre[0])


cdef inline void add_up_product_group(
    const Slices *all, const Group *group, Operation operation, void *own_
) noexcept nogil:
    """The sums of each slice, as `product_slice` takes them. `operation` must be a compile-time constant."""
    cdef ProductGroup *own = <ProductGroup *> own_
    cdef Shifts shifts = make_unshifted()
    cdef real half = choose_half(operation)
    cdef vreal tops, weights
    cdef Py_ssize_t i
    own.centre = v_set(0)
    own.ordinary = v_set(1)
    if operation == LOG_SOFTMAX_VJP:
        for i in range(group.count):
            own.signed[i] = sum_signed_block(take_pair(all, group.first + i), all.length, shifts, operation)
        totals_set_each(&own.totals, own.signed, group.count)
        own.sum_ = totals_rounded(&own.totals)
    else:
        for i in range(group.count):
            add_weighed_products(own, all, group.first, i, 0)
        tops = v_max_across_each(own.tops, group.count)
        if any_lane_greater(tops, half):
            for i in range(group.count):
                if v_lane(&tops, i) > half:
                    add_centred_products(own, all, group.first, i)
        weights = v_sum_across_each(own.weights, group.count)
        own.ordinary = mark_adding_up(all, weights, operation)
        own.sum_ = v_div(v_sum_across_each(own.sums, group.count), v_max(weights, v_set(1 / RAISE)))
    own.ordinary = v_mul(own.ordinary, mark_in_range(own.centre, own.sum_))


cdef inline void finish_product_in_group(
    const Slices *all, const Group *group, Py_ssize_t i, Operation operation, void *own_
) noexcept nogil:
    cdef ProductGroup *own = <ProductGroup *> own_
    cdef Pair pair = take_pair(all, group.first + i)
    if v_lane(&own.ordinary, i) != 1:
        redo_product(all, group.first + i, own.scratch, operation)
        return
    own.constants.centre = v_set(v_lane(&own.centre, i))
    set_sum(&own.constants, v_lane(&own.sum_, i), operation)
    finish_short(
        <const char *> pair.v, <const char *> pair.y, group.out + i * all.out_next, all.length, &own.constants,
        operation, all.stream)


cdef inline bint product_groups(const Slices *all, char *scratch, Operation operation) noexcept nogil:
    """False: not suit_product_groups.

    `operation` must be a compile-time constant: of logarithms, whose exponentials make the wait long. Slices out of the
    ordinary are recomputed by the row code.
    """
    # Not on the stack: walk_gathered calls these kernels from within themselves.
    cdef ProductGroup *own = <ProductGroup *> thread_buffer(TILE_BUFFER)
    cdef Py_ssize_t i
    if not suit_product_groups(all):
        return False
    own.scratch = scratch
    own.totals = totals_start()
    for i in range(LANES):
        own.sums[i] = own.weights[i] = own.tops[i] = v_set(0)
        own.signed[i] = signed_start()
    set_scales(&own.constants, <real> all.scale, operation)
    walk_groups(all, GROUP_BYTES, operation, add_up_product_group, finish_product_in_group, own)
    return True
