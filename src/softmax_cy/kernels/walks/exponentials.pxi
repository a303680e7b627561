# The second pass: the exponentials of a slice, and their sum.

cdef enum TermSum:
    EXPONENTIALS            # which are written down, too
    EXPONENTIALS_ALONE
    BELOW_TOP               # without that of the largest element: logarithm.pxi


cdef inline vsum start_terms(TermSum which) noexcept nogil:
    # Terms that are small beside SEED would all be lost to it.
    return signed_start() if which == BELOW_TOP else vsum_start()


cdef inline vsum add_term(vsum terms, Exponential e, vreal x, vreal top, TermSum which) noexcept nogil:
    if which == BELOW_TOP:
        e.value = v_where_unequal(x, top, e.value)
        e.power = v_where_unequal(x, top, e.power)
        return signed_add_product(terms, e.value, e.power, e.small)
    return vsum_add(terms, e.value, e.power, e.small)


cdef inline Reduced reduce_term(vreal x, vreal floor, Shifts shifts, TermSum which, bint unscaled) noexcept nogil:
    """Begin an exponential. Below the top there is one loop for all scales: -inf must be no factor, or 0 gives NaN."""
    return reduce_argument(v_max(floor, x) if which == BELOW_TOP else x, shifts, unscaled)


cdef inline vsum expand_and_add(
    vsum terms, Reduced r, const real *x, Shifts shifts, vreal top, real *e, TermSum which
) noexcept nogil:
    cdef Exponential y = expand(r, shifts)
    terms = add_term(terms, y, v_load(x), top, which)
    if which == EXPONENTIALS:
        v_store(e, y.value)     # maybe over x
    return terms


cdef struct Ahead:
    # What will be read and written next, element by element: fetched into the first-level cache while the arithmetic
    # of this pass leaves the load ports idle. NULL: nothing.
    const char *x
    char *out


cdef inline vsum add_terms(
    const char *x, char *e, Py_ssize_t count, const Shifts *shifts_, real top_, TermSum which, bint unscaled,
    Ahead ahead,
) noexcept nogil:
    """`which` and `unscaled` must be compile-time constants."""
    cdef const real *p = <const real *> x
    cdef real *q = <real *> e
    cdef Shifts shifts = shifts_[0]
    cdef vreal top = v_set(top_), rest
    cdef vreal floor = shifts.lowest if is_unscaled(&shifts) else v_set(-INFINITY)
    cdef vsum s = start_terms(which)
    cdef Reduced a, b, c, d
    cdef Exponential y
    cdef Py_ssize_t i = 0
    cdef int k
    if count >= 4 * LANES:
        # An exponential is one long chain of dependent operations. Four are under way at a time, each in two stages,
        # and the first stage of the next four fills the waits in the second of these.
        a = reduce_term(v_load(p), floor, shifts, which, unscaled)
        b = reduce_term(v_load(p + LANES), floor, shifts, which, unscaled)
        c = reduce_term(v_load(p + 2 * LANES), floor, shifts, which, unscaled)
        d = reduce_term(v_load(p + 3 * LANES), floor, shifts, which, unscaled)
        while i + 8 * LANES <= count:
            for k in range(4):
                prefetch(<const real *> ahead.x + i + k * LANES)
                if ahead.out != NULL:
                    prefetch_to_write(<real *> ahead.out + i + k * LANES)
            s = expand_and_add(s, a, p + i, shifts, top, q + i, which)
            a = reduce_term(v_load(p + i + 4 * LANES), floor, shifts, which, unscaled)
            s = expand_and_add(s, b, p + i + LANES, shifts, top, q + i + LANES, which)
            b = reduce_term(v_load(p + i + 5 * LANES), floor, shifts, which, unscaled)
            s = expand_and_add(s, c, p + i + 2 * LANES, shifts, top, q + i + 2 * LANES, which)
            c = reduce_term(v_load(p + i + 6 * LANES), floor, shifts, which, unscaled)
            s = expand_and_add(s, d, p + i + 3 * LANES, shifts, top, q + i + 3 * LANES, which)
            d = reduce_term(v_load(p + i + 7 * LANES), floor, shifts, which, unscaled)
            i += 4 * LANES
        s = expand_and_add(s, a, p + i, shifts, top, q + i, which)
        s = expand_and_add(s, b, p + i + LANES, shifts, top, q + i + LANES, which)
        s = expand_and_add(s, c, p + i + 2 * LANES, shifts, top, q + i + 2 * LANES, which)
        s = expand_and_add(s, d, p + i + 3 * LANES, shifts, top, q + i + 3 * LANES, which)
        i += 4 * LANES
    while i + LANES <= count:
        a = reduce_term(v_load(p + i), floor, shifts, which, unscaled)
        s = expand_and_add(s, a, p + i, shifts, top, q + i, which)
        i += LANES
    if i < count:
        # base fills the rest: exp(base - base) has nothing that could overflow.
        rest = v_load_first(p + i, count - i, v_first(shifts.base))
        y = mask_tail(expand(reduce_term(rest, floor, shifts, which, unscaled), shifts), count - i)
        if which == EXPONENTIALS:
            v_store_first(q + i, y.value, count - i)
        s = add_term(s, y, rest, top, which)
    return s


cdef inline vsum add_block(
    const char *x, char *e, Py_ssize_t count, const Shifts *shifts, real top, TermSum which, Ahead ahead
) noexcept nogil:
    """`which` must be a compile-time constant."""
    if is_unscaled(shifts):
        return add_terms(x, e, count, shifts, top, which, True, ahead)
    return add_terms(x, e, count, shifts, top, which, False, ahead)


# Functions, not inline ones: the loops are long, and several places use them.

cdef vsum add_exponentials(
    const char *x, char *e, Py_ssize_t count, const Shifts *shifts, Ahead ahead
) noexcept nogil:
    """The terms of a block. `e`: where the exponentials are left, maybe x itself, or NULL."""
    if e != NULL:
        return add_block(x, e, count, shifts, 0, EXPONENTIALS, ahead)
    return add_block(x, NULL, count, shifts, 0, EXPONENTIALS_ALONE, ahead)


cdef inline vsum add_short_block(
    const char *x, char *e, Py_ssize_t count, const Shifts *shifts, TermSum which, Ahead ahead
) noexcept nogil:
    """The terms of a block that may be short. `which` must be a compile-time constant: e is NULL or not.

    A call would cost a fifth of a short slice. Not so without FMA, where the loop takes longer and far more room.
    """
    if HAS_FMA:
        return add_block(x, e, count, shifts, 0, which, ahead)
    return add_exponentials(x, e, count, shifts, ahead)


cdef inline Ahead look_ahead(const char *x, Py_ssize_t count) noexcept nogil:
    """The next block, or the next slice, as often as not."""
    return Ahead(x=x + count * <Py_ssize_t> sizeof(real), out=NULL)


cdef total sum_exponentials(const char *x, char *e, Py_ssize_t count, const Shifts *shifts) noexcept nogil:
    """The sum of a block. `e` as in add_exponentials."""
    return vsum_total(add_exponentials(x, e, count, shifts, look_ahead(x, count)))


cdef total sum_below_top(const char *x, Py_ssize_t count, const Shifts *shifts, real top) noexcept nogil:
    """The sum of a block without the largest exponential."""
    # Rare, and so not worth a loop of its own for what is unscaled.
    return signed_total(add_terms(x, NULL, count, shifts, top, BELOW_TOP, False, look_ahead(x, count)))


cdef inline char *find_room_for_exponentials(const Slice *s) noexcept nogil:
    """`out`, or NULL where it cannot hold them."""
    return s.out if s.mask == NULL and are_contiguous(s.all.out_elements) else NULL


cdef inline char *find_room_beside_logits(const Slice *s) noexcept nogil:
    """The gradient, where it can hold the exponentials while the logits may be needed again; else NULL."""
    return find_room_for_exponentials(s) if s.out != NULL and s.out != s.x else NULL
