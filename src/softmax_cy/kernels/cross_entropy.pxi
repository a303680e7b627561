# Cross-entropy of logits x against a target, and its gradient.
#
# Every target comes down to a coefficient a class: w_c * q_c with the probability q_c, smoothed to
# (1 - e) * q_c + e / n; an index is a probability of 1. Then
#
#   loss = sum_c coefficient_c * (log sum exp x - x_c)
#   grad_c = p_c * sum(coefficients) - coefficient_c
#
# Design:
# 1. log sum exp x - x_c is (over - (x_c - top)), as in log.pxi: two parts of one sign.
# 2. At the target, p_c - 1 would cancel where the class is nearly certain; the sum of the other exponentials, which
#    log_sum has, gives it with all its digits.
# 3. A coefficient of 0 leaves its class out, whatever the logit: 0 * inf is 0 here.
# 4. An index is read once and checked here, though callers have checked it: another thread may write the target since.
#    A slice whose index is out of range by then is NaN.

cdef inline vreal loss_terms(vreal x, vreal coefficient, LogSum sum_) noexcept nogil:
    cdef real over = <real> (sum_.over.hi + sum_.over.lo)
    cdef vreal minus_log_p = v_sub(v_set(over), v_sub(x, v_set(sum_.top)))
    return v_where_unequal(coefficient, v_set(0), v_mul(coefficient, minus_log_p))


cdef struct Coefficients:
    # Side by side.
    const real *weight      # NULL: all 1
    const real *target      # probabilities; NULL: of the uniform part alone
    real of_target          # 1 - smoothing
    real uniform            # smoothing / n


cdef inline vreal coefficients_at(Coefficients c, Py_ssize_t i, Py_ssize_t count) noexcept nogil:
    """`count` of them from i on, zero in the rest of the lanes."""
    cdef vreal a = v_set(c.uniform)
    if c.target != NULL:
        a = v_fma(v_load_first(c.target + i, count, 0), v_set(c.of_target), a)
    if c.weight != NULL:
        a = v_mul(a, v_load_first(c.weight + i, count, 0))
    return v_keep_first(a, count)


cdef struct Sums:
    # Over the classes of one slice.
    total loss
    total coefficients


cdef inline Coefficients block_coefficients(
    const CrossEntropySlices *all, const char *target, Py_ssize_t start, Py_ssize_t count, char *scratch, char *spare
) noexcept nogil:
    """scratch and spare hold half a block each."""
    cdef Coefficients c
    c.of_target = <real> (1 - all.smoothing)
    c.uniform = <real> (all.smoothing / all.length)
    c.weight = NULL
    c.target = NULL
    if all.weight != NULL and (all.target_elements != NULL or c.uniform != 0):
        gather(all.weight, all.weight_elements, start, count, spare)
        c.weight = <const real *> spare
    if all.target_elements != NULL:
        gather(target, all.target_elements, start, count, scratch)
        c.target = <const real *> scratch
    return c


cdef Sums block_loss(
    const CrossEntropySlices *all, const Slice *s, const char *target, Py_ssize_t start, Py_ssize_t count, LogSum sum_,
    vreal *plain, char *scratch, char *spare,
) noexcept nogil:
    """Of half a block. The loss is added to `plain`, too, without a care for rounding."""
    cdef const real *x = <const real *> fetch(s, start, count, scratch)
    cdef Coefficients c = block_coefficients(all, target, start, count, scratch + BLOCK_BYTES // 2, spare)
    cdef vsum loss = signed_start(), coefficients = signed_start()
    cdef vreal a, terms
    cdef Py_ssize_t i = 0, lanes
    cdef Sums result
    while i < count:
        lanes = min(count - i, LANES)
        a = coefficients_at(c, i, lanes)
        coefficients = signed_add(coefficients, a)
        terms = loss_terms(v_load_first(x + i, lanes, 0), a, sum_)
        loss = signed_add(loss, terms)
        plain[0] = v_add(plain[0], terms)
        i += LANES
    result.loss = signed_total(loss)
    result.coefficients = signed_total(coefficients)
    return result


cdef inline Sums sums_of(
    const CrossEntropySlices *all, const Slice *s, const char *target, LogSum sum_, char *scratch, char *spare
) noexcept nogil:
    """Of the part of the coefficients that is not an index."""
    cdef Py_ssize_t start = 0, count
    cdef vreal plain = v_set(0)
    cdef Sums result, of_block
    result.loss.hi = result.loss.lo = result.coefficients.hi = result.coefficients.lo = 0
    while start < all.length:
        count = half_block_at(start, all.length)
        of_block = block_loss(all, s, target, start, count, sum_, &plain, scratch, spare)
        result.loss = total_add(result.loss, of_block.loss)
        result.coefficients = total_add(result.coefficients, of_block.coefficients)
        start += count
    if result.loss.hi + result.loss.lo != result.loss.hi + result.loss.lo:
        # An infinite loss has no rounding error to recover: infinity less infinity is NaN.
        result.loss.hi = v_sum_across(plain)
        result.loss.lo = 0
    return result


cdef inline reciprocals reciprocals_of(LogSum sum_) noexcept nogil:
    """One over the sum of all exponentials, as shift_to(top) raises them."""
    return reciprocal_in_all_lanes(total_reciprocal(sum_.all_))


cdef inline real probability_of(real x, LogSum sum_) noexcept nogil:
    cdef Shifts shifts = shifts_to(v_set(sum_.top), 1)
    return v_first(reciprocals_times(reciprocals_of(sum_), exp_shifted(v_set(x), shifts, False).value))


cdef void gradient(
    const CrossEntropySlices *all, const Slice *s, const char *target, Py_ssize_t start, Py_ssize_t end, LogSum sum_,
    real coefficient_sum, char *scratch, char *spare,
) noexcept nogil:
    """p_c * coefficient_sum less the part of the coefficients that is not an index, times the factor."""
    cdef char *half = scratch + BLOCK_BYTES // 2
    cdef Shift shift = shift_to(sum_.top, 1)
    cdef reciprocals r = reciprocals_of(sum_)
    cdef Py_ssize_t count, i, lanes
    cdef Coefficients c
    cdef const real *x
    cdef real *q
    cdef vreal a
    while start < end:
        count = half_block_at(start, end)
        block_exponentials(fetch(s, start, count, scratch), scratch, count, shift)
        x = <const real *> scratch
        c = block_coefficients(all, target, start, count, half, spare)
        q = <real *> room_for(s, start, scratch)
        i = 0
        while i < count:
            lanes = min(count - i, LANES)
            a = reciprocals_times(r, v_load_first(x + i, lanes, 0))
            a = v_sub(v_mul(a, v_set(coefficient_sum)), coefficients_at(c, i, lanes))
            v_store_first(q + i, v_one_nan(v_mul(a, v_set(<real> all.grad_factor))), lanes)
            i += LANES
        deliver(s, start, count, scratch, 0)
        start += count


cdef inline bint is_plain_index(const CrossEntropySlices *all, real weight) noexcept nogil:
    """Whether the gradient is a multiple of softmax, but for the target."""
    return (
        all.target_elements == NULL and all.smoothing == 0 and is_finite(all.grad_factor) and is_finite(weight))


cdef inline char *room_beside_logits(const Slice *s) noexcept nogil:
    """The gradient, where it can hold the exponentials while the logits may be needed again; else NULL."""
    return room_for_exponentials(s) if s.out != NULL and s.out != s.x else NULL


cdef void plain_gradient(
    const CrossEntropySlices *all, const Slice *s, Py_ssize_t start, Py_ssize_t end, LogSum sum_, real coefficient,
    const char *kept, char *scratch,
) noexcept nogil:
    """gradient, of slices that is_plain_index, over whole blocks. `kept`: all exponentials, or NULL."""
    cdef Shift shift = shift_to(sum_.top, 1)
    cdef Py_ssize_t count
    cdef const char *block
    cdef Constants constants
    constants.r = reciprocals_of(sum_)
    constants.coefficient = v_set(coefficient)
    constants.factor = v_set(<real> all.grad_factor)
    while start < end:
        count = block_at(start, end)
        block = scratch
        if kept != NULL:
            block = kept + start * <Py_ssize_t> sizeof(real)
        else:
            block_exponentials(fetch(s, start, count, scratch), scratch, count, shift)
        finish(block, NULL, room_for(s, start, scratch), count, &constants, CROSS_ENTROPY_GRADIENT, False)
        deliver(s, start, count, scratch, 0)
        start += count


cdef inline real gradient_at_index(
    const CrossEntropySlices *all, real x, double p, LogSum sum_, real weight, real of_index
) noexcept nogil:
    """of_index * (p - 1) + uniform * (p * sum(weight) - weight)."""
    cdef double others = sum_.others.hi + sum_.others.lo
    cdef double whole = 1 + others
    cdef double uniform = all.smoothing / all.length
    cdef double rest
    if x == sum_.top:
        p = 1 / whole
        rest = others / whole
    else:
        rest = 1 - p    # p is far from 1: nothing is lost
    p = uniform * (p * all.weight_sum - weight) if uniform != 0 else 0
    return one_nan(<real> (all.grad_factor * (p - of_index * rest)))


cdef inline void put_gradient_at_index(
    const CrossEntropySlices *all, const Slice *s, int64_t index, real x, LogSum sum_, real weight, real of_index
) noexcept nogil:
    cdef real value = gradient_at_index(all, x, probability_of(x, sum_), sum_, weight, of_index)
    scatter_value(value, s.out, all.grad_elements, index, 1)


cdef inline real rounded_sum(double a, real b, total t) noexcept nogil:
    """a * (t - b), for the loss of one class."""
    return <real> a * product_plus_total(-1, b, t)


cdef enum:
    # Instead of an index.
    IGNORED = -1
    OUT_OF_RANGE = -2


cdef inline int64_t index_of(const CrossEntropySlices *all, Py_ssize_t i) noexcept nogil:
    """The class that is the target of slice i, or why there is none."""
    cdef int64_t index = integer_at(all.target + i * all.target_next, all.index_kind)
    if all.any_ignored and index == all.ignored:
        return IGNORED
    return index if <uint64_t> index < <uint64_t> all.length else OUT_OF_RANGE


cdef void deliver_everywhere(
    const CrossEntropySlices *all, const Slice *s, real value, char *loss_at, char *scratch
) noexcept nogil:
    """The loss and its whole gradient are one value: 0 or NaN."""
    write_result(value, loss_at, all.loss_kind)
    if all.grad != NULL:
        deliver_value(s, 0, all.length, scratch, value, 0)


cdef void cross_entropy_slice(
    const CrossEntropySlices *all, const Slices *logits, Py_ssize_t i, int64_t index, char *scratch, char *spare
) noexcept nogil:
    """`index` is index_of the slice, and of no account for probabilities."""
    cdef Slice s = slice_at(logits, i)
    cdef const char *target = all.target + i * all.target_next
    cdef char *loss_at = all.loss + i * all.loss_next
    cdef bint is_index = all.target_elements == NULL
    cdef bint out_of_range = is_index and index == OUT_OF_RANGE
    cdef real weight = 1, of_index = 0, x_index = 0, loss = 0, coefficient_sum = 0
    cdef LogSum sum_
    cdef Sums sums
    cdef real top
    cdef bint plain
    cdef char *kept = NULL
    if is_index and index == IGNORED:
        deliver_everywhere(all, &s, 0, loss_at, scratch)
        return
    if is_index and not out_of_range:
        if all.weight != NULL:
            weight = real_element(all.weight, all.weight_elements, index)
        of_index = <real> (1 - all.smoothing) * weight
        x_index = real_element(s.x, all.x_elements, index)
    plain = is_plain_index(all, weight)
    if plain:
        kept = room_beside_logits(&s)
    top = slice_max(&s, scratch)
    sum_.over = total_of(NAN)
    if has_softmax(top) and not out_of_range:
        sum_ = log_sum(&s, top, kept, scratch)
    if not is_number(sum_.over):
        # Even where nothing is asked of the slice.
        deliver_everywhere(all, &s, NAN, loss_at, scratch)
        return
    if is_index:
        if of_index != 0:
            # x_index - top is exact, or far from 0: then half an ulp of it is half an ulp of the loss.
            loss = rounded_sum(of_index, x_index - top, sum_.over)
        coefficient_sum = of_index
    if not is_index or all.smoothing != 0:
        sums = sums_of(all, &s, target, sum_, scratch, spare)
        loss += <real> (sums.loss.hi + sums.loss.lo)
        coefficient_sum += <real> (sums.coefficients.hi + sums.coefficients.lo)
    write_result(loss, loss_at, all.loss_kind)
    if all.grad != NULL:
        if plain:
            plain_gradient(all, &s, 0, all.length, sum_, coefficient_sum, kept, scratch)
        else:
            gradient(all, &s, target, 0, all.length, sum_, coefficient_sum, scratch, spare)
        if is_index:
            put_gradient_at_index(all, &s, index, x_index, sum_, weight, of_index)


cdef inline bint are_usual(const CrossEntropySlices *all) noexcept nogil:
    """Contiguous slices of at most one block against class indices without smoothing."""
    return (
        all.target_elements == NULL and all.smoothing == 0 and is_finite(all.grad_factor)
        and all.length <= block_length()
        and contiguous(all.x_elements) and (all.grad == NULL or contiguous(all.grad_elements))
    )


cdef struct Targets:
    # Of the slices in the lanes of a vector.
    int64_t[MOST_LANES] index
    bint[MOST_LANES] usual          # the index is one, the logits have a softmax, the weight is finite
    real[MOST_LANES] x              # at the index
    real[MOST_LANES] exponential
    real[MOST_LANES] weight
    real[MOST_LANES] loss
    real[MOST_LANES] gradient       # at the index


cdef inline void set_target(
    Targets *targets, Py_ssize_t lane, const CrossEntropySlices *all, int64_t index, real top, const char *x,
    Py_ssize_t x_step,
) noexcept nogil:
    targets.index[lane] = index
    targets.usual[lane] = index >= 0 and has_softmax(top)
    targets.x[lane] = top
    targets.exponential[lane] = RAISE
    targets.weight[lane] = 1
    if targets.usual[lane]:
        memcpy(&targets.x[lane], x + index * x_step, sizeof(real))
        if all.weight != NULL:
            targets.weight[lane] = real_element(all.weight, all.weight_elements, index)
            targets.usual[lane] = is_finite(targets.weight[lane])


cdef inline void finish_targets(
    Targets *targets, const CrossEntropySlices *all, vreal top, reciprocals r, const totals *others,
    const totals *overs,
) noexcept nogil:
    """The losses, and the gradients at the targets."""
    cdef vreal x = v_load(targets.x), weight = v_load(targets.weight)
    # x - top is exact, or far from 0: then half an ulp of it is half an ulp of the loss.
    cdef vreal loss = v_mul(weight, totals_minus(overs, v_sub(x, top)))
    v_store(targets.loss, v_where_unequal(weight, v_set(0), loss))
    if all.grad != NULL:
        v_store(targets.gradient, totals_missing(
            others, reciprocals_times(r, v_load(targets.exponential)), v_where_equal(x, top, v_set(1)), weight,
            all.grad_factor))


cdef void cross_entropy_groups(
    const CrossEntropySlices *all, const Slices *logits, char *scratch, char *spare
) noexcept nogil:
    """Slices that are_usual, in groups: what a slice needs once is done for a slice a lane."""
    cdef Py_ssize_t length = all.length
    cdef Py_ssize_t row = length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t size = max(1, min(LANES, GROUP_BYTES // row))
    cdef Py_ssize_t first = 0, count, i
    # The gradient may be the logits, which group_others may have to read again; without one nobody reads what is kept.
    cdef bint in_scratch = all.length < 32 * LANES or all.grad == all.x or all.grad == NULL
    cdef const char *x
    cdef char *grad
    cdef char *kept = NULL
    cdef Targets targets
    cdef int64_t index
    cdef vreal[MOST_LANES] maxima
    cdef vreal tops
    cdef Shifts shifts
    cdef vsum[MOST_LANES] terms
    cdef totals sums = totals_harmless(), others, overs
    cdef Soon soon
    cdef reciprocals r
    cdef Slice s
    cdef Constants constants
    constants.factor = v_set(<real> all.grad_factor)
    soon.out = NULL
    for i in range(LANES):
        maxima[i] = v_set(0)
        terms[i] = vsum_harmless()
        set_target(&targets, i, all, IGNORED, 0, NULL, 0)    # lanes without a slice
    while first < all.count:
        count = min(size, all.count - first)
        for i in range(count):
            maxima[i] = block_maxima(all.x + (first + i) * all.x_next, length, -INFINITY)
        tops = v_max_across_each(maxima, count)
        for i in range(count):
            x = all.x + (first + i) * all.x_next
            index = index_of(all, first + i)
            set_target(&targets, i, all, index, v_lane(&tops, i), x, sizeof(real))
            if not targets.usual[i]:
                cross_entropy_slice(all, logits, first + i, index, scratch, spare)
        shifts = shifts_to(tops, 1)
        for i in range(count):
            # What is harmless, and so large that nobody looks for its others.
            terms[i] = vsum_harmless()
            if not targets.usual[i]:
                continue
            x = all.x + (first + i) * all.x_next
            soon.x = x + count * all.x_next     # in the next group
            kept = scratch + i * row if in_scratch else all.grad + (first + i) * all.grad_next
            terms[i] = vsum_without_seed(
                short_exponentials(x, kept, length, shift_at(&shifts, i), EXPONENTIALS, soon))
            memcpy(
                &targets.exponential[i], kept + targets.index[i] * <Py_ssize_t> sizeof(real), sizeof(real))
        totals_set_each(&sums, terms, count)
        others = group_others(&sums, all.x + first * all.x_next, all.x_next, count, length, &shifts, tops)
        overs = totals_log1p(&others)
        r = totals_reciprocals(&sums)
        finish_targets(&targets, all, tops, r, &others, &overs)
        for i in range(count):
            if not targets.usual[i]:
                continue
            if not is_number(totals_at(&overs, i)):
                s = slice_at(logits, first + i)
                deliver_everywhere(all, &s, NAN, all.loss + (first + i) * all.loss_next, scratch)
                continue
            write_result(targets.loss[i], all.loss + (first + i) * all.loss_next, all.loss_kind)
            if all.grad != NULL:
                grad = all.grad + (first + i) * all.grad_next
                kept = scratch + i * row if in_scratch else grad
                constants.r = reciprocal_in_all_lanes(reciprocal_at(&r, i))
                constants.coefficient = v_set(targets.weight[i])
                finish_short(kept, NULL, grad, length, &constants, CROSS_ENTROPY_GRADIENT, False)
                memcpy(grad + targets.index[i] * <Py_ssize_t> sizeof(real), &targets.gradient[i], sizeof(real))
        first += count


cdef inline Slices logits_of(const CrossEntropySlices *all) noexcept nogil:
    """The logits, and the gradient as a result."""
    cdef Slices slices
    memset(&slices, 0, sizeof(Slices))
    slices.x = all.x
    slices.out = all.grad
    slices.count = all.count
    slices.length = all.length
    slices.x_next = all.x_next
    slices.out_next = all.grad_next
    slices.x_elements = all.x_elements
    slices.out_elements = all.grad_elements
    slices.scale = 1
    return slices


# ---- a slice a lane ----------------------------------------------------------------------------------------------

cdef enum:
    CROSS_ENTROPY_TILES = 24    # up to where that is faster than rows as they lie, in elements


cdef inline bint suit_cross_entropy_tiles(const CrossEntropySlices *all, bint of_rows) noexcept nogil:
    """Slices that fit a tile, against class indices without smoothing: short rows, or slices side by side."""
    if (
        all.target_elements != NULL or all.smoothing != 0 or not is_finite(all.grad_factor)
        or all.length * LANES * <Py_ssize_t> sizeof(real) > BLOCK_BYTES
    ):
        return False
    if of_rows:
        return are_usual(all) and all.length <= CROSS_ENTROPY_TILES and all.count >= LANES // 2
    return (
        all.count > 1 and side_by_side(all.x_elements, all.x_next)
        and (all.grad == NULL or side_by_side(all.grad_elements, all.grad_next))
    )


cdef void cross_entropy_lane(
    const CrossEntropySlices *all, const Panel *panel, Py_ssize_t first, Py_ssize_t lane, int64_t index, char *scratch,
    char *spare,
) noexcept nogil:
    """A slice out of the ordinary, within the tile."""
    cdef CrossEntropySlices alone = all[0]
    cdef Elements elements = reals(all.length, panel.x_step)
    cdef Slices logits
    alone.x = panel.x + lane * <Py_ssize_t> sizeof(real)
    alone.grad = panel.out + lane * <Py_ssize_t> sizeof(real) if all.grad != NULL else NULL
    alone.x_elements = alone.grad_elements = &elements
    alone.target = all.target + (first + lane) * all.target_next
    alone.loss = all.loss + (first + lane) * all.loss_next
    logits = logits_of(&alone)
    cross_entropy_slice(&alone, &logits, 0, index, scratch, spare)


cdef inline void cross_entropy_panel(
    const CrossEntropySlices *all, const Panel *panel, Py_ssize_t first, char *scratch, char *spare
) noexcept nogil:
    """The slices from `first` on, in the lanes of a tile. The gradient is left in panel.out."""
    cdef Targets targets
    cdef totals sums, others, overs
    cdef const char *x
    cdef char *e
    cdef int64_t index
    cdef Py_ssize_t lane
    cdef Constants c
    columns_max(panel, 1, True, &c)
    c.shifts = shifts_to(c.top, 1)
    sums = column_terms(panel, 0, True, c, EXPONENTIALS, False)
    others = others_beside(panel, 0, &c, &sums)
    overs = totals_log1p(&others)
    c.r = totals_reciprocals(&sums)
    for lane in range(LANES):
        x = panel.x + lane * <Py_ssize_t> sizeof(real)
        e = panel.out + lane * <Py_ssize_t> sizeof(real)
        index = index_of(all, first + lane) if lane < panel.lanes else IGNORED
        set_target(&targets, lane, all, index, v_lane(&c.top, lane), x, panel.x_step)
        if targets.usual[lane]:
            memcpy(&targets.exponential[lane], e + targets.index[lane] * panel.out_step, sizeof(real))
    finish_targets(&targets, all, c.top, c.r, &others, &overs)
    c.factor = v_set(<real> all.grad_factor)
    c.coefficient = v_load(targets.weight)
    if all.grad != NULL:
        columns_finish(panel, 1, True, &c, CROSS_ENTROPY_GRADIENT, True)
    for lane in range(panel.lanes):
        if not (targets.usual[lane] and is_number(totals_at(&overs, lane))):
            cross_entropy_lane(all, panel, first, lane, targets.index[lane], scratch, spare)
            continue
        write_result(targets.loss[lane], all.loss + (first + lane) * all.loss_next, all.loss_kind)
        if all.grad != NULL:
            e = panel.out + lane * <Py_ssize_t> sizeof(real)
            memcpy(e + targets.index[lane] * panel.out_step, &targets.gradient[lane], sizeof(real))


cdef void cross_entropy_tiles(
    const CrossEntropySlices *all, bint of_rows, char *scratch, char *spare
) noexcept nogil:
    """Slices that suit_cross_entropy_tiles, a vector of them at a time."""
    cdef char *x = thread_buffer(GATHERED_BUFFER)
    cdef char *e = thread_buffer(SPARE_BUFFER)
    cdef Py_ssize_t step = LANES * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t first = 0, size
    cdef Panel panel
    panel.x = x
    panel.y = NULL
    panel.out = e
    panel.length = all.length
    panel.x_step = panel.out_step = step
    panel.y_step = 0
    panel.all = NULL
    memset(x, 0, all.length * step)
    while first < all.count:
        panel.slices = panel.lanes = min(all.count - first, LANES)
        size = panel.lanes * <Py_ssize_t> sizeof(real)
        if of_rows:
            columns_from_rows(all.x + first * all.x_next, all.x_next, panel.lanes, all.length, x, step)
        else:
            copy_columns(all.x + first * all.x_next, all.x_elements.strides[0], x, step, all.length, size)
        cross_entropy_panel(all, &panel, first, scratch, spare)
        if all.grad != NULL and of_rows:
            rows_from_columns(e, step, panel.lanes, all.length, all.grad + first * all.grad_next, all.grad_next)
        elif all.grad != NULL:
            copy_columns(e, step, all.grad + first * all.grad_next, all.grad_elements.strides[0], all.length, size)
        first += panel.lanes


cdef void cross_entropy_slices(const CrossEntropySlices *all) noexcept nogil:
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef char *spare = thread_buffer(TILE_BUFFER)
    cdef Slices logits = logits_of(all)
    cdef int64_t index
    cdef Py_ssize_t i
    if suit_cross_entropy_tiles(all, True):
        cross_entropy_tiles(all, True, scratch, spare)
    elif are_usual(all):
        cross_entropy_groups(all, &logits, scratch, spare)
    elif suit_cross_entropy_tiles(all, False):
        cross_entropy_tiles(all, False, scratch, spare)
    else:
        for i in range(all.count):
            index = index_of(all, i) if all.target_elements == NULL else 0
            cross_entropy_slice(all, &logits, i, index, scratch, spare)
