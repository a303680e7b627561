# Products with the Jacobians of softmax and log_softmax, without the Jacobians.
#
# With y = softmax(x) and v any vector:
#
#   softmax        vjp and jvp    y * (v - sum(y * v))                     the Jacobian is symmetric
#   log_softmax    vjp            v - y * sum(v)
#   log_softmax    jvp            v - sum(y * v)
#
# Design:
# 1. One sum, then the results: two passes. Where one class holds nearly everything, v - sum(y * v) cancels there, and
#    with it go all the digits that matter. The sum of y being 1, any constant may be taken off v first: so where a
#    class has more than half, the sum is taken again, over v less v at that class. (Taking it off everywhere would lose
#    three digits out of seven where no class dominates, and no class cancels.)
# 2. sum(y * v) is a plain sum in 4 * LANES chains of few terms each, and of such sums: as good as the products in it.
#    sum(v) is of numbers that may cancel with nothing to show for it, so there each error is recovered by Knuth's
#    TwoSum (sums.h).
# 3. y = exp(log_y) is off by the rounding of log_y times log_y, and off alike where all log_y are: it is a mean that is
#    wanted, sum(y * v) / sum(y).
# 4. Points 1 and 3 hold where y adds up to 1, but for what its roundings can do. Elsewhere (an attention sink, a masked
#    y) the formulas count as they stand: what taking c off v leaves out of them is c * (1 - sum(y)).
# 5. exp(log_y) may be too small for a number where its product with a large sum(v) is not. It is kept raised there, and
#    the sum lowered.
# 6. Sums that leave the range of numbers, or nearly, are extreme.pxi's. Nobody else pays for them.
# 7. A scale above 1 multiplies y, and one below 1 multiplies v - sum(y * v), before the two are multiplied: nothing is
#    too large or too small for a number that the result is not.

cdef struct Pair:
    # A block of both inputs, side by side.
    const real *v
    const real *y


cdef inline Pair fetch_pair(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, Py_ssize_t count, char *scratch
) noexcept nogil:
    """`count` is at most half a block."""
    cdef Py_ssize_t bytes_ = start * <Py_ssize_t> sizeof(real)
    cdef char *half = scratch + BLOCK_BYTES // 2
    cdef Pair pair
    pair.v = <const real *> (v + bytes_)
    pair.y = <const real *> (y + bytes_)
    if not contiguous(all.x_elements):
        gather(v, all.x_elements, start, count, scratch)
        pair.v = <const real *> scratch
    if not contiguous(all.y_elements):
        gather(y, all.y_elements, start, count, half)
        pair.y = <const real *> half
    return pair


cdef inline Py_ssize_t half_block_at(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    return min(length - start, block_length() // 2)


cdef enum:
    # So many are added up without a care for rounding, before they join what came before: eight a chain. However alike
    # the roundings of a chain are, they stay below 4 ulp.
    TERMS = 32 * LANES


cdef inline Py_ssize_t terms_at(Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """How many of them there are from `start` on."""
    return min(length - start, TERMS)


cdef inline vreal probability(vreal log_y, Shifts shifts) noexcept nogil:
    """exp(log_y); `shifts` is unshifted()."""
    return v_lower(exp_shifted(log_y, shifts, True).value)


cdef inline real more_than_half(Operation operation) noexcept nogil:
    """What y is compared with: the logarithm of a little more, so that one that was rounded is not."""
    return -0.6875 if operation == LOG_SOFTMAX_JVP else 0.5


cdef struct Products:
    vreal sum_          # of y * (v - centre)
    vreal weights       # of y, if they are weighed
    vreal top           # the largest y


cdef inline Products no_products() noexcept nogil:
    cdef Products s
    s.sum_ = s.weights = v_set(0)
    s.top = v_set(-INFINITY)
    return s


cdef inline Products with_product(
    Products s, vreal v, vreal y, vreal centre, Shifts shifts, Operation operation, bint weigh
) noexcept nogil:
    """`operation` and `weigh` are constants of the caller."""
    s.top = v_max(y, s.top)
    if operation == LOG_SOFTMAX_JVP:
        y = probability(y, shifts)
    if weigh:
        s.weights = v_add(s.weights, y)
    s.sum_ = v_fma(y, v_sub(v, centre), s.sum_)
    return s


cdef inline Products four_products(Products a, Products b, Products c, Products d) noexcept nogil:
    a.sum_ = v_add(v_add(a.sum_, b.sum_), v_add(c.sum_, d.sum_))
    a.weights = v_add(v_add(a.weights, b.weights), v_add(c.weights, d.weights))
    a.top = v_max(v_max(a.top, b.top), v_max(c.top, d.top))
    return a


cdef inline Products with_last_products(
    Products s, Pair pair, Py_ssize_t i, Py_ssize_t count, real centre, Shifts shifts, Operation operation, bint weigh
) noexcept nogil:
    """With the elements from i on, a vector of them at most."""
    cdef Py_ssize_t lanes = min(count - i, LANES)
    if lanes <= 0:
        return s
    if not weigh and lanes == LANES:
        return with_product(s, v_load(pair.v + i), v_load(pair.y + i), v_set(centre), shifts, operation, weigh)
    return with_product(
        s, v_load_first(pair.v + i, lanes, centre),
        v_load_first(pair.y + i, lanes, -INFINITY if operation == LOG_SOFTMAX_JVP else 0),
        v_set(centre), shifts, operation, weigh)


cdef inline Products block_products(
    Pair pair, Py_ssize_t count, real centre, Operation operation, bint weigh
) noexcept nogil:
    cdef Products a = no_products(), b = a, c = a, d = a
    cdef Shifts shifts = unshifted()
    cdef vreal centres = v_set(centre)
    cdef const real *v = pair.v
    cdef const real *y = pair.y
    cdef Py_ssize_t i = 0
    while i + 4 * LANES <= count:
        # One largest y goes round: four of them would not leave enough registers to AVX2.
        a.top = d.top
        a = with_product(a, v_load(v + i), v_load(y + i), centres, shifts, operation, weigh)
        b.top = a.top
        b = with_product(b, v_load(v + i + LANES), v_load(y + i + LANES), centres, shifts, operation, weigh)
        c.top = b.top
        c = with_product(c, v_load(v + i + 2 * LANES), v_load(y + i + 2 * LANES), centres, shifts, operation, weigh)
        d.top = c.top
        d = with_product(d, v_load(v + i + 3 * LANES), v_load(y + i + 3 * LANES), centres, shifts, operation, weigh)
        i += 4 * LANES
    a.top = b.top = c.top = d.top
    if i < count:
        a = with_last_products(a, pair, i, count, centre, shifts, operation, weigh)
        b = with_last_products(b, pair, i + LANES, count, centre, shifts, operation, weigh)
        c = with_last_products(c, pair, i + 2 * LANES, count, centre, shifts, operation, weigh)
        d = with_last_products(d, pair, i + 3 * LANES, count, centre, shifts, operation, weigh)
    return four_products(a, b, c, d)


cdef struct Mean:
    total sum_          # of y * (v - centre)
    total weights       # of y, if they are weighed
    real top


cdef inline Mean some_products(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, real centre, char *scratch, Operation operation,
    bint weigh,
) noexcept nogil:
    """Of as many terms as need no care."""
    cdef Py_ssize_t count = terms_at(start, all.length)
    cdef Products s = block_products(
        fetch_pair(all, v, y, start, count, scratch), count, centre, operation, weigh)
    cdef Mean mean
    mean.sum_ = total_of(v_sum_across(s.sum_))
    mean.weights = total_of(v_sum_across(s.weights))
    mean.top = v_max_across(s.top)
    return mean


# Functions, not inline ones: for slices out of the ordinary, and for those that threads share.

cdef Mean some_weighed_products(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, real centre, char *scratch
) noexcept nogil:
    return some_products(all, v, y, start, centre, scratch, SOFTMAX_PRODUCT, True)


cdef Mean some_products_of_logarithms(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, real centre, char *scratch
) noexcept nogil:
    return some_products(all, v, y, start, centre, scratch, LOG_SOFTMAX_JVP, True)


cdef inline Mean mean_of(
    const Slices *all, const char *v, const char *y, real centre, char *scratch, Operation operation, bint weigh
) noexcept nogil:
    """`operation` and `weigh` are constants of the caller: LOG_SOFTMAX_JVP is weighed."""
    cdef Py_ssize_t start = 0
    cdef Mean mean, more
    while True:
        if operation == LOG_SOFTMAX_JVP:
            more = some_products_of_logarithms(all, v, y, start, centre, scratch)
        elif weigh:
            more = some_weighed_products(all, v, y, start, centre, scratch)
        else:
            more = some_products(all, v, y, start, centre, scratch, operation, False)
        # Most slices are over now: they pay for no addition.
        mean.sum_ = total_add(mean.sum_, more.sum_) if start else more.sum_
        mean.weights = total_add(mean.weights, more.weights) if start else more.weights
        mean.top = max(mean.top, more.top) if start else more.top
        start += TERMS
        if start >= all.length:
            return mean


cdef inline vreal centre_so_far(vreal centre, vreal v, vreal y, vreal top) noexcept nogil:
    """v where y is the largest, and the largest such v where y is no distribution and that is not one place."""
    return v_max(v_select_equal(y, top, v, v_set(-INFINITY)), centre)


cdef real centre_between(
    const Slices *all, const char *v, const char *y, Py_ssize_t start, Py_ssize_t end, real top, char *scratch
) noexcept nogil:
    """v at the class of y = top, of the elements from `start` to `end`."""
    cdef vreal centre = v_set(-INFINITY), tops = v_set(top)
    cdef Py_ssize_t count, i
    cdef Pair pair
    while start < end:
        count = terms_at(start, end)
        pair = fetch_pair(all, v, y, start, count, scratch)
        i = 0
        while i + LANES <= count:
            centre = centre_so_far(centre, v_load(pair.v + i), v_load(pair.y + i), tops)
            i += LANES
        if i < count:
            centre = centre_so_far(
                centre, v_load_first(pair.v + i, count - i, -INFINITY), v_load_first(pair.y + i, count - i, top), tops)
        start += count
    return v_max_across(centre)


cdef inline real centre_at(const Slices *all, const char *v, const char *y, real top, char *scratch) noexcept nogil:
    return centre_between(all, v, y, 0, all.length, top, scratch)


cdef inline vreal signed_term(vreal v, vreal y, Shifts shifts, Operation operation) noexcept nogil:
    """`operation` is a constant of the caller."""
    if operation == LOG_SOFTMAX_VJP:
        return v
    return probability(y, shifts) if operation == LOG_SOFTMAX_JVP else y


cdef inline vsum block_signed_sum(Pair pair, Py_ssize_t count, Shifts shifts, Operation operation) noexcept nogil:
    """`operation` is a constant of the caller."""
    cdef Py_ssize_t i = 0
    cdef vsum s = signed_start()
    cdef vreal term
    while i + LANES <= count:
        s = signed_add(s, signed_term(v_load(pair.v + i), v_load(pair.y + i), shifts, operation))
        i += LANES
    if i < count:
        term = signed_term(
            v_load_first(pair.v + i, count - i, 0), v_load_first(pair.y + i, count - i, 0), shifts, operation)
        s = signed_add(s, v_keep_first(term, count - i))
    return s


cdef inline real signed_sum(
    const Slices *all, const char *v, const char *y, char *scratch, Operation operation
) noexcept nogil:
    """sum(v) for LOG_SOFTMAX_VJP, else 1 - sum(y)."""
    cdef Py_ssize_t start = 0, count
    cdef Shifts shifts = unshifted()
    cdef Pair pair
    cdef vsum s
    cdef total t = total_of(0 if operation == LOG_SOFTMAX_VJP else -1)
    while start < all.length:
        count = half_block_at(start, all.length)
        pair = fetch_pair(all, v, y, start, count, scratch)
        s = block_signed_sum(pair, count, shifts, operation)
        t = total_add(t, signed_total(s))
        start += count
    return <real> (t.hi + t.lo) if operation == LOG_SOFTMAX_VJP else -<real> (t.hi + t.lo)


# ---- y that adds up to 1, and that does not ----------------------------------------------------------------------

cdef inline double roundoff(int kind) noexcept nogil:
    """What rounding to this kind takes from a number, at most, in proportion to it."""
    cdef double of_real = 1.0 / (1 << 24) if SOFTMAX_CY_REAL_BITS == 32 else 0.5 / (<int64_t> 1 << 52)
    kind &= ~KIND_SWAPPED
    if kind == KIND_FLOAT16:
        return 1.0 / (1 << 11)
    if kind == KIND_BFLOAT16:
        return 1.0 / (1 << 8)
    return 1.0 / (1 << 24) if kind == KIND_FLOAT32 else of_real


cdef inline real usual_rounding() noexcept nogil:
    """A part of rounding_of_sum that is known without a look at the slice: most sums are nearer to 1."""
    return <real> (28 * roundoff(KIND_REAL))


cdef inline real rounding_of_sum(const Slices *all, Operation operation) noexcept nogil:
    """How far from 1 a sum of all y may be, as it is summed here, for roundings alone.

    A y of softmax is off by two units of its last place, four roundoffs, or if it has 16 bits, by little more than one.
    Those of log_y count in proportion to log_y: in all as much as the entropy, which is the logarithm of the length or
    less. The rest is for the sum.
    """
    cdef double each = roundoff(all.y_kind)
    cdef double smallest = 0
    if kind_size(all.y_kind) == 2:
        each *= 1.25
        if (all.y_kind & ~KIND_SWAPPED) == KIND_FLOAT16:
            smallest = 1.0 / (1 << 25)      # of a subnormal number
    else:
        each *= 4
    if operation == LOG_SOFTMAX_JVP:
        return <real> (each * (1 + 0.7 * (64 - leading_zeros(all.length))) + usual_rounding())
    return <real> (each + smallest * all.length + usual_rounding())


cdef inline vreal magnitude(vreal a) noexcept nogil:
    """NaN is NaN."""
    return v_max(a, v_sub(v_set(0), a))


cdef inline bint adds_up(const Slices *all, double weights, Operation operation) noexcept nogil:
    """Whether the sum of y is 1 but for rounding."""
    cdef double off = fabs(weights - 1)
    return off < usual_rounding() or off < rounding_of_sum(all, operation)


cdef inline vreal where_near(vreal weights, real rounding) noexcept nogil:
    return v_where_greater(v_set(rounding), magnitude(v_sub(weights, v_set(1))), v_set(1))


cdef inline vreal where_adds_up(const Slices *all, vreal weights, Operation operation) noexcept nogil:
    """adds_up for a slice a lane: 1 or 0."""
    cdef vreal near = where_near(weights, usual_rounding())
    return near if v_all_equal(near, v_set(1)) else where_near(weights, rounding_of_sum(all, operation))


cdef inline vreal in_range(vreal centre, vreal sum_) noexcept nogil:
    """1 where v - centre - sum_ is a number whatever v is, and 0 elsewhere."""
    return v_where_greater(v_set(EXTREME), v_add(magnitude(centre), magnitude(sum_)), v_set(1))


# ---- results -----------------------------------------------------------------------------------------------------

cdef inline void set_scales(Constants *c, real scale, Operation operation) noexcept nogil:
    c.scale = scale
    c.y_scale = 1
    if operation == SOFTMAX_PRODUCT and scale > 1:
        c.scale = 1
        c.y_scale = scale


cdef inline void set_sum(Constants *c, real sum_, Operation operation) noexcept nogil:
    """What `product_of` needs of the sum of a slice."""
    c.sum_ = v_set(sum_)
    if operation == LOG_SOFTMAX_VJP:
        # The exponential is raised by RAISE_HIGH. Where the sum is large, that is lowered by as much, else the former.
        c.shifts = lowered_by(HIGH_SHIFT)
        if fabs(sum_) > 1:
            c.unit = v_set(1)
            c.sum_ = v_set(sum_ * (1 / RAISE_HIGH))
        else:
            c.unit = v_set(1 / RAISE_HIGH)


cdef inline void set_sums(Constants *c, vreal sums, Operation operation) noexcept nogil:
    """set_sum for a slice a lane."""
    cdef vreal large
    c.sum_ = sums
    if operation == LOG_SOFTMAX_VJP:
        c.shifts = lowered_by(HIGH_SHIFT)
        large = v_where_greater(magnitude(sums), v_set(1), v_set(1))
        c.unit = v_max(large, v_set(1 / RAISE_HIGH))
        c.sum_ = v_mul(sums, v_max(v_sub(v_set(1), large), v_set(1 / RAISE_HIGH)))


cdef inline vreal product_of(vreal v, vreal y, const Constants *c, Operation operation) noexcept nogil:
    if operation == LOG_SOFTMAX_VJP:
        y = v_mul(exp_shifted(y, c.shifts, True).value, c.unit)
        return v_mul(v_set(c.scale), v_fma(y, v_sub(v_set(0), c.sum_), v))
    v = v_sub(v_sub(v, c.centre), c.sum_)
    if operation == SOFTMAX_PRODUCT:
        return v_mul(y, v)
    v = v_mul(v_set(c.scale), v)
    return v if operation == LOG_SOFTMAX_JVP else v_mul(v_mul(y, v_set(c.y_scale)), v)


cdef inline Operation with_scale(const Slices *all, Operation operation) noexcept nogil:
    """Products without a scale need less."""
    return SCALED_SOFTMAX_PRODUCT if operation == SOFTMAX_PRODUCT and all.scale != 1 else operation


cdef inline void product_results(
    const Slices *all, const char *v, const char *y, char *out, Py_ssize_t start, Py_ssize_t end, real centre,
    real sum_, char *scratch, Operation operation,
) noexcept nogil:
    """The last pass, from `start` to `end`. `operation` is a constant of the caller."""
    cdef bint in_place = contiguous(all.x_elements) and contiguous(all.y_elements) and contiguous(all.out_elements)
    cdef Constants constants
    cdef Py_ssize_t count
    cdef Pair pair
    cdef char *target
    cdef bint stream
    set_sum(&constants, sum_, operation)
    set_scales(&constants, <real> all.scale, operation)
    constants.centre = v_set(centre)
    while start < end:
        count = end - start if in_place else half_block_at(start, end)
        pair = fetch_pair(all, v, y, start, count, scratch)
        target = scratch
        if contiguous(all.out_elements):
            target = out + start * <Py_ssize_t> sizeof(real)
        stream = all.stream and target != scratch
        finish(
            <const char *> pair.v, <const char *> pair.y, target, count, &constants, with_scale(all, operation), stream)
        if target == scratch:
            scatter(scratch, out, all.out_elements, start, count)
        start += count


cdef inline void product_slice(
    const Slices *all, const char *v, const char *y, char *out, char *scratch, Operation operation
) noexcept nogil:
    """`operation` is a constant of the caller."""
    cdef bint weigh = operation == LOG_SOFTMAX_JVP
    cdef real centre = 0, sum_
    cdef double weights
    cdef Mean mean
    if operation == LOG_SOFTMAX_VJP:
        sum_ = signed_sum(all, v, y, scratch, operation)
    else:
        mean = mean_of(all, v, y, centre, scratch, operation, True)
        if mean.top > more_than_half(operation):
            weigh = True
            centre = centre_at(all, v, y, mean.top, scratch)
            mean = mean_of(all, v, y, centre, scratch, operation, True)
        weights = mean.weights.hi + mean.weights.lo
        sum_ = <real> (mean.sum_.hi + mean.sum_.lo)
        if weigh and not adds_up(all, <real> weights, operation):
            if centre != 0:
                sum_ = scalar_fma(-centre, signed_sum(all, v, y, scratch, operation), sum_)
        elif operation == LOG_SOFTMAX_JVP:
            sum_ = <real> ((mean.sum_.hi + mean.sum_.lo) / weights)
    if not fabs(centre) + fabs(sum_) < EXTREME:
        extreme_product_slice(all, v, y, out, scratch, operation)
        return
    product_results(all, v, y, out, 0, all.length, centre, sum_, scratch, operation)


# Functions, not inline ones: two places use them.

cdef void softmax_product_slice(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    product_slice(
        all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch, SOFTMAX_PRODUCT)


cdef void log_softmax_vjp_slice(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    product_slice(
        all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch, LOG_SOFTMAX_VJP)


cdef void log_softmax_jvp_slice(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    product_slice(
        all, all.x + i * all.x_next, all.y + i * all.y_next, all.out + i * all.out_next, scratch, LOG_SOFTMAX_JVP)


cdef inline void any_product_slice(
    const Slices *all, Py_ssize_t i, char *scratch, Operation operation
) noexcept nogil:
    """The row's way with slice i."""
    if operation == SOFTMAX_PRODUCT:
        softmax_product_slice(all, i, scratch)
    elif operation == LOG_SOFTMAX_VJP:
        log_softmax_vjp_slice(all, i, scratch)
    else:
        log_softmax_jvp_slice(all, i, scratch)


# ---- rows: softmax -----------------------------------------------------------------------------------------------

cdef inline Pair pair_at(const Slices *all, Py_ssize_t i) noexcept nogil:
    """Both inputs of slice i, which is contiguous."""
    cdef Pair pair
    pair.v = <const real *> (all.x + i * all.x_next)
    pair.y = <const real *> (all.y + i * all.y_next)
    return pair


cdef Mean products_of_long_row(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    """By the number of a slice: of two pointers in a struct gcc would make a vector, and the loop would wait for it."""
    cdef Pair row = pair_at(all, i)
    return mean_of(all, <const char *> row.v, <const char *> row.y, 0, scratch, SOFTMAX_PRODUCT, False)


cdef bint centred_softmax_product(const Slices *all, Py_ssize_t i, real top, char *scratch) noexcept nogil:
    """softmax_product_row where a class has more than half."""
    cdef Pair row = pair_at(all, i)
    cdef const char *v = <const char *> row.v
    cdef const char *y = <const char *> row.y
    cdef real centre = centre_at(all, v, y, top, scratch), sum_, weights
    cdef Products products
    cdef Mean mean
    cdef Constants constants
    if all.length <= TERMS:
        products = block_products(row, all.length, centre, SOFTMAX_PRODUCT, True)
        sum_ = v_sum_across(products.sum_)
        weights = v_sum_across(products.weights)
    else:
        mean = mean_of(all, v, y, centre, scratch, SOFTMAX_PRODUCT, True)
        sum_ = <real> (mean.sum_.hi + mean.sum_.lo)
        weights = <real> (mean.weights.hi + mean.weights.lo)
    if not (adds_up(all, weights, SOFTMAX_PRODUCT) and fabs(centre) + fabs(sum_) < EXTREME):
        return False
    constants.centre = v_set(centre)
    set_sum(&constants, sum_, SOFTMAX_PRODUCT)
    set_scales(&constants, <real> all.scale, SOFTMAX_PRODUCT)
    finish(v, y, all.out + i * all.out_next, all.length, &constants, with_scale(all, SOFTMAX_PRODUCT), all.stream)
    return True


cdef inline bint softmax_product_row(const Slices *all, Py_ssize_t i, char *scratch) noexcept nogil:
    """The products of a contiguous slice. False: it is out of the ordinary, and nothing is written.

    The results wait for the sum, and the next slice for nothing. So on the way of most there are no totals, no structs
    in memory, and no calls.
    """
    cdef Pair row = pair_at(all, i)
    cdef const char *v = <const char *> row.v
    cdef const char *y = <const char *> row.y
    cdef char *out = all.out + i * all.out_next
    cdef real half = more_than_half(SOFTMAX_PRODUCT), sum_
    cdef Products products
    cdef Mean mean
    cdef Constants constants, scaled
    if all.length <= TERMS:
        products = block_products(row, all.length, 0, SOFTMAX_PRODUCT, False)
        sum_ = v_sum_across(products.sum_)
        if any_lane_greater(products.top, half):
            return centred_softmax_product(all, i, v_max_across(products.top), scratch)
    else:
        mean = products_of_long_row(all, i, scratch)
        sum_ = <real> (mean.sum_.hi + mean.sum_.lo)
        if mean.top > half:
            return centred_softmax_product(all, i, mean.top, scratch)
    if not fabs(sum_) < EXTREME:
        return False
    if all.scale == 1:
        constants.centre = v_set(0)
        set_sum(&constants, sum_, SOFTMAX_PRODUCT)
        finish_short(v, y, out, all.length, &constants, SOFTMAX_PRODUCT, all.stream)
    else:
        scaled.centre = v_set(0)
        set_sum(&scaled, sum_, SOFTMAX_PRODUCT)
        set_scales(&scaled, <real> all.scale, SOFTMAX_PRODUCT)
        finish_short(v, y, out, all.length, &scaled, SCALED_SOFTMAX_PRODUCT, all.stream)
    return True


cdef inline void softmax_product_rows(const Slices *all, char *scratch) noexcept nogil:
    """Contiguous slices, one by one."""
    cdef Py_ssize_t i
    for i in range(all.count):
        if not softmax_product_row(all, i, scratch):
            softmax_product_slice(all, i, scratch)


# ---- groups of rows: logarithms ----------------------------------------------------------------------------------

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
    vreal plain


cdef inline Pair pair_of_group(const ProductGroup *group, Py_ssize_t i) noexcept nogil:
    return pair_at(group.all, group.first + i)


cdef inline void add_weighed_products(ProductGroup *group, Py_ssize_t i, real centre) noexcept nogil:
    cdef Products p = block_products(pair_of_group(group, i), group.all.length, centre, LOG_SOFTMAX_JVP, True)
    group.sums[i] = p.sum_
    group.weights[i] = p.weights
    group.tops[i] = p.top


cdef void add_centred_products(ProductGroup *group, Py_ssize_t i, char *scratch) noexcept nogil:
    """The products of a slice with a class that has more than half."""
    cdef real *centre = <real *> &group.centre + i
    cdef real top = v_max_across(group.tops[i])
    cdef Pair pair = pair_of_group(group, i)
    centre[0] = centre_at(group.all, <const char *> pair.v, <const char *> pair.y, top, scratch)
    add_weighed_products(group, i, centre[0])


cdef inline void add_up_group(ProductGroup *group, char *scratch, Operation operation) noexcept nogil:
    """The sums of each slice, as `product_slice` takes them. `operation` is a constant of the caller."""
    cdef Shifts shifts = unshifted()
    cdef real half = more_than_half(operation)
    cdef vreal tops, weights
    cdef Py_ssize_t i
    group.centre = v_set(0)
    group.plain = v_set(1)
    if operation == LOG_SOFTMAX_VJP:
        for i in range(group.count):
            group.signed[i] = block_signed_sum(pair_of_group(group, i), group.all.length, shifts, operation)
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
        group.plain = where_adds_up(group.all, weights, operation)
        group.sum_ = v_div(v_sum_across_each(group.sums, group.count), v_max(weights, v_set(1 / RAISE)))
    group.plain = v_mul(group.plain, in_range(group.centre, group.sum_))


cdef inline void product_groups(const Slices *all, char *scratch, Operation operation) noexcept nogil:
    """Slices that suit_product_groups: what a slice needs once is done for a slice a lane, and nobody waits for it.

    `operation` is a constant of the caller: of logarithms, whose exponentials make the wait long. Slices out of the
    ordinary are done by the row's way.
    """
    cdef Py_ssize_t row = all.length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t size = max(1, min(LANES, GROUP_BYTES // row)), i
    cdef Constants constants
    # Not on the stack: as_gathered calls these kernels from within themselves.
    cdef ProductGroup *group = <ProductGroup *> thread_buffer(TILE_BUFFER)
    cdef Pair pair
    cdef char *out
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
            if v_lane(&group.plain, i) != 1:
                any_product_slice(all, group.first + i, scratch, operation)
                continue
            constants.centre = v_set(v_lane(&group.centre, i))
            set_sum(&constants, v_lane(&group.sum_, i), operation)
            pair = pair_of_group(group, i)
            out = all.out + (group.first + i) * all.out_next
            finish_short(
                <const char *> pair.v, <const char *> pair.y, out, all.length, &constants, operation, all.stream)
        group.first += group.count


cdef inline void product_slices(const Slices *all, Operation operation, SlicesKernel kernel) noexcept nogil:
    """`operation` is what `kernel` does."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t i
    if suit_tiles(all, PRODUCT_TILES, False):
        in_tiles(all, scratch, operation)
    elif are_columns(all, False):
        in_panels(all, scratch, operation)
    elif operation == SOFTMAX_PRODUCT and are_rows(all, False):
        softmax_product_rows(all, scratch)
    elif operation != SOFTMAX_PRODUCT and suit_product_groups(all):
        product_groups(all, scratch, operation)
    elif suit_gathering(all) and not are_rows(all, False):
        as_gathered(all, kernel, False)
    else:
        for i in range(all.count):
            any_product_slice(all, i, scratch, operation)
    if all.stream:
        v_stream_end()


cdef void softmax_product_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, SOFTMAX_PRODUCT, softmax_product_slices)


cdef void log_softmax_vjp_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, LOG_SOFTMAX_VJP, log_softmax_vjp_slices)


cdef void log_softmax_jvp_slices(const Slices *slices) noexcept nogil:
    product_slices(slices, LOG_SOFTMAX_JVP, log_softmax_jvp_slices)
