# The second pass: the exponentials of a slice, and their sum.

cdef enum TermSum:
    EXPONENTIALS            # which are written down, too
    EXPONENTIALS_ALONE
    BELOW_TOP               # without that of the largest element: logarithm.pxi


cdef inline vsum no_terms(TermSum which) noexcept nogil:
    # Terms that are small beside SEED would all be lost to it.
    return signed_start() if which == BELOW_TOP else vsum_start()


cdef inline vsum with_term(vsum terms, Exponential e, vreal x, vreal top, TermSum which) noexcept nogil:
    if which == BELOW_TOP:
        e.value = v_where_unequal(x, top, e.value)
        e.power = v_where_unequal(x, top, e.power)
        return signed_add_product(terms, e.value, e.power, e.small)
    return vsum_add(terms, e.value, e.power, e.small)


cdef inline vsum expand_and_add(
    vsum terms, Reduced r, const real *x, Shifts shifts, vreal top, real *e, TermSum which
) noexcept nogil:
    cdef Exponential y = expanded(r, shifts)
    terms = with_term(terms, y, v_load(x), top, which)
    if which == EXPONENTIALS:
        v_store(e, y.value)     # maybe over x
    return terms


cdef struct Soon:
    # What will be read and written next, element by element: fetched into the first-level cache while the arithmetic
    # of this pass leaves the load ports idle. NULL: nothing.
    const char *x
    char *out


cdef inline vsum terms_loop(
    const char *x, char *e, Py_ssize_t count, Shift shift, real top_, TermSum which, bint plain, Soon soon
) noexcept nogil:
    """`which` and `plain` are constants of the caller."""
    cdef const real *p = <const real *> x
    cdef real *q = <real *> e
    cdef Shifts shifts = in_all_lanes(shift)
    cdef vreal top = v_set(top_), rest
    cdef vsum s = no_terms(which)
    cdef Reduced a, b, c, d
    cdef Exponential y
    cdef Py_ssize_t i = 0
    cdef int k
    if count >= 4 * LANES:
        # An exponential is one long chain of dependent operations. Four are under way at a time, each in two stages,
        # and the first stage of the next four fills the waits in the second of these.
        a = reduced(v_load(p), shifts, plain)
        b = reduced(v_load(p + LANES), shifts, plain)
        c = reduced(v_load(p + 2 * LANES), shifts, plain)
        d = reduced(v_load(p + 3 * LANES), shifts, plain)
        while i + 8 * LANES <= count:
            for k in range(4):
                prefetch(<const real *> soon.x + i + k * LANES)
                if soon.out != NULL:
                    prefetch_to_write(<real *> soon.out + i + k * LANES)
            s = expand_and_add(s, a, p + i, shifts, top, q + i, which)
            a = reduced(v_load(p + i + 4 * LANES), shifts, plain)
            s = expand_and_add(s, b, p + i + LANES, shifts, top, q + i + LANES, which)
            b = reduced(v_load(p + i + 5 * LANES), shifts, plain)
            s = expand_and_add(s, c, p + i + 2 * LANES, shifts, top, q + i + 2 * LANES, which)
            c = reduced(v_load(p + i + 6 * LANES), shifts, plain)
            s = expand_and_add(s, d, p + i + 3 * LANES, shifts, top, q + i + 3 * LANES, which)
            d = reduced(v_load(p + i + 7 * LANES), shifts, plain)
            i += 4 * LANES
        s = expand_and_add(s, a, p + i, shifts, top, q + i, which)
        s = expand_and_add(s, b, p + i + LANES, shifts, top, q + i + LANES, which)
        s = expand_and_add(s, c, p + i + 2 * LANES, shifts, top, q + i + 2 * LANES, which)
        s = expand_and_add(s, d, p + i + 3 * LANES, shifts, top, q + i + 3 * LANES, which)
        i += 4 * LANES
    while i + LANES <= count:
        s = expand_and_add(s, reduced(v_load(p + i), shifts, plain), p + i, shifts, top, q + i, which)
        i += LANES
    if i < count:
        # base fills the rest: exp(base - base) has nothing that could overflow.
        rest = v_load_first(p + i, count - i, shift.base)
        y = first_of(expanded(reduced(rest, shifts, plain), shifts), count - i)
        if which == EXPONENTIALS:
            v_store_first(q + i, y.value, count - i)
        s = with_term(s, y, rest, top, which)
    return s


cdef inline vsum any_block(
    const char *x, char *e, Py_ssize_t count, Shift shift, real top, TermSum which, Soon soon
) noexcept nogil:
    if is_plain(shift):
        return terms_loop(x, e, count, shift, top, which, True, soon)
    return terms_loop(x, e, count, shift, top, which, False, soon)


cdef inline Soon what_follows(const char *x, Py_ssize_t count) noexcept nogil:
    """The next block, or the next slice, as often as not."""
    return Soon(x=x + count * <Py_ssize_t> sizeof(real), out=NULL)


# Functions, not inline ones: the loops are long, and several places use them.


cdef vsum called_exponentials(const char *x, char *e, Py_ssize_t count, Shift shift, Soon soon) noexcept nogil:
    return any_block(x, e, count, shift, 0, EXPONENTIALS, soon)


cdef vsum called_exponentials_alone(const char *x, Py_ssize_t count, Shift shift, Soon soon) noexcept nogil:
    return any_block(x, NULL, count, shift, 0, EXPONENTIALS_ALONE, soon)


cdef inline vsum short_exponentials(
    const char *x, char *e, Py_ssize_t count, Shift shift, TermSum which, Soon soon
) noexcept nogil:
    """The terms of a block that may be short. `which` is a constant of the caller.

    A call would cost a fifth of a short slice. Not so without FMA, where the loop takes longer and far more room.
    """
    if HAS_FMA:
        return any_block(x, e, count, shift, 0, which, soon)
    if which == EXPONENTIALS:
        return called_exponentials(x, e, count, shift, soon)
    return called_exponentials_alone(x, count, shift, soon)


cdef total block_exponentials(const char *x, char *e, Py_ssize_t count, Shift shift) noexcept nogil:
    """The sum of a block, whose exponentials are written to e (x itself, if need be)."""
    return vsum_total(called_exponentials(x, e, count, shift, what_follows(x, count)))


cdef total block_exponentials_alone(const char *x, Py_ssize_t count, Shift shift) noexcept nogil:
    return vsum_total(called_exponentials_alone(x, count, shift, what_follows(x, count)))


cdef total block_below_top(const char *x, Py_ssize_t count, Shift shift, real top) noexcept nogil:
    cdef Soon soon = what_follows(x, count)
    return signed_total(any_block(x, NULL, count, shift, top, BELOW_TOP, soon))


cdef inline total block_sum(const char *x, Py_ssize_t count, Shift shift, real top, TermSum which) noexcept nogil:
    """`which` is a constant of the caller: not EXPONENTIALS, which are written down."""
    if which == BELOW_TOP:
        return block_below_top(x, count, shift, top)
    return block_exponentials_alone(x, count, shift)


cdef inline char *room_for_exponentials(const Slice *s) noexcept nogil:
    """`out`, or NULL where it cannot hold them."""
    return s.out if s.keep == NULL and contiguous(s.all.out_elements) else NULL


cdef inline char *room_beside_logits(const Slice *s) noexcept nogil:
    """The gradient, where it can hold the exponentials while the logits may be needed again; else NULL."""
    return room_for_exponentials(s) if s.out != NULL and s.out != s.x else NULL
