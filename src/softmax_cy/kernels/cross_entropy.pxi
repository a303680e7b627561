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


cdef inline Sums sums_of(
    const CrossEntropySlices *all, const Slice *s, const char *target, LogSum sum_, char *scratch, char *spare
) noexcept nogil:
    """Of the part of the coefficients that is not an index."""
    cdef char *half = scratch + BLOCK_BYTES // 2
    cdef Py_ssize_t start = 0, count, i, lanes
    cdef Coefficients c
    cdef const real *x
    cdef vsum loss, coefficients
    cdef vreal a, terms, plain = v_set(0)
    cdef Sums result
    result.loss.hi = result.loss.lo = result.coefficients.hi = result.coefficients.lo = 0
    while start < all.length:
        count = half_block_at(start, all.length)
        x = <const real *> fetch(s, start, count, scratch)
        c = block_coefficients(all, target, start, count, half, spare)
        loss = signed_start()
        coefficients = signed_start()
        i = 0
        while i < count:
            lanes = min(count - i, LANES)
            a = coefficients_at(c, i, lanes)
            coefficients = signed_add(coefficients, a)
            terms = loss_terms(v_load_first(x + i, lanes, 0), a, sum_)
            loss = signed_add(loss, terms)
            plain = v_add(plain, terms)
            i += LANES
        result.loss = total_add(result.loss, signed_total(loss))
        result.coefficients = total_add(result.coefficients, signed_total(coefficients))
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


cdef inline void gradient(
    const CrossEntropySlices *all, const Slice *s, const char *target, LogSum sum_, real coefficient_sum,
    char *scratch, char *spare,
) noexcept nogil:
    """p_c * coefficient_sum less the part of the coefficients that is not an index, times the factor."""
    cdef char *half = scratch + BLOCK_BYTES // 2
    cdef Shift shift = shift_to(sum_.top, 1)
    cdef reciprocals r = reciprocals_of(sum_)
    cdef Py_ssize_t start = 0, count, i, lanes
    cdef Coefficients c
    cdef const real *x
    cdef real *q
    cdef vreal a
    while start < all.length:
        count = half_block_at(start, all.length)
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
    cdef real weight = 1, of_index = 0, x_index = 0, loss = 0, coefficient_sum = 0, value
    cdef LogSum sum_
    cdef Sums sums
    cdef real top
    cdef double p
    if is_index and index == IGNORED:
        deliver_everywhere(all, &s, 0, loss_at, scratch)
        return
    if is_index and not out_of_range:
        if all.weight != NULL:
            weight = real_element(all.weight, all.weight_elements, index)
        of_index = <real> (1 - all.smoothing) * weight
        x_index = real_element(s.x, all.x_elements, index)
    top = slice_max(&s, scratch)
    sum_.over = total_of(NAN)
    if has_softmax(top) and not out_of_range:
        sum_ = log_sum(&s, top, scratch)
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
        gradient(all, &s, target, sum_, coefficient_sum, scratch, spare)
        if is_index:
            p = probability_of(x_index, sum_)
            value = gradient_at_index(all, x_index, p, sum_, weight, of_index)
            scatter_value(value, s.out, all.grad_elements, index, 1)


cdef inline bint are_usual(const CrossEntropySlices *all) noexcept nogil:
    """Contiguous slices of at most one block against class indices without smoothing."""
    return (
        all.target_elements == NULL and all.smoothing == 0 and is_finite(all.grad_factor)
        and all.length <= block_length()
        and contiguous(all.x_elements) and (all.grad == NULL or contiguous(all.grad_elements))
    )


cdef struct Target:
    # Of one slice.
    bint usual              # the index is one, the logits have a softmax, the weight is finite
    int64_t index
    real x
    real weight


cdef void cross_entropy_groups(
    const CrossEntropySlices *all, const Slices *logits, char *scratch, char *spare
) noexcept nogil:
    """Slices that are_usual, in groups: one logarithm, a slice a lane, for all of a group."""
    cdef Py_ssize_t length = all.length
    cdef Py_ssize_t row = length * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t size = max(1, min(LANES, GROUP_BYTES // row))
    cdef Py_ssize_t first = 0, count, i
    # The gradient may be the logits, which group_others may have to read again; without one nobody reads what is kept.
    cdef bint in_scratch = all.length < 32 * LANES or all.grad == all.x or all.grad == NULL
    cdef const char *x
    cdef char *grad
    cdef char *kept = NULL
    cdef Target[MOST_LANES] targets
    cdef Target target
    cdef real[MOST_LANES] tops
    cdef Shifts shifts
    cdef Shift shift
    cdef vsum[MOST_LANES] terms
    cdef totals sums = totals_harmless(), others, overs
    cdef Soon soon
    cdef reciprocals rs
    cdef LogSum sum_
    cdef Slice s
    cdef reciprocal r
    cdef real loss, exponential
    cdef double p
    cdef Constants constants
    constants.factor = v_set(<real> all.grad_factor)
    while first < all.count:
        count = min(size, all.count - first)
        for i in range(LANES):
            tops[i] = 0
            if i < count:
                x = all.x + (first + i) * all.x_next
                target.index = index_of(all, first + i)
                tops[i] = block_max(x, length, -INFINITY)
                target.usual = target.index >= 0 and has_softmax(tops[i])
                if target.usual:
                    target.x = real_element(x, all.x_elements, target.index)
                    target.weight = 1
                    if all.weight != NULL:
                        target.weight = real_element(all.weight, all.weight_elements, target.index)
                        target.usual = is_finite(target.weight)
                if not target.usual:
                    cross_entropy_slice(all, logits, first + i, target.index, scratch, spare)
                targets[i] = target
        shifts = shifts_to(v_load(tops), 1)
        for i in range(count):
            if not targets[i].usual:
                continue
            x = all.x + (first + i) * all.x_next
            shift = shift_at(&shifts, i)
            soon = what_follows(x, length)
            kept = scratch + i * row if in_scratch else all.grad + (first + i) * all.grad_next
            terms[i] = short_exponentials(x, kept, length, shift, EXPONENTIALS, soon)
        for i in range(count):
            # What is harmless, and so large that nobody looks for its others.
            totals_set(&sums, i, vsum_total(terms[i]) if targets[i].usual else total_of(4 * RAISE))
        others = group_others(&sums, all.x + first * all.x_next, all.x_next, count, length, &shifts, v_load(tops))
        overs = totals_log1p(&others)
        rs = totals_reciprocals(&sums)
        for i in range(count):
            if not targets[i].usual:
                continue
            target = targets[i]
            sum_.top = tops[i]
            sum_.others = totals_at(&others, i)
            sum_.over = totals_at(&overs, i)
            if not is_number(sum_.over):
                s = slice_at(logits, first + i)
                deliver_everywhere(all, &s, NAN, all.loss + (first + i) * all.loss_next, scratch)
                continue
            loss = 0
            if target.weight != 0:
                loss = rounded_sum(target.weight, target.x - sum_.top, sum_.over)
            write_result(loss, all.loss + (first + i) * all.loss_next, all.loss_kind)
            if all.grad != NULL:
                grad = all.grad + (first + i) * all.grad_next
                r = reciprocal_at(&rs, i)
                kept = scratch + i * row if in_scratch else grad
                exponential = real_element(kept, all.grad_elements, target.index)
                p = v_first(reciprocals_times(reciprocal_in_all_lanes(r), v_set(exponential)))
                constants.r = reciprocal_in_all_lanes(r)
                constants.coefficient = v_set(target.weight)
                finish(kept, NULL, grad, length, &constants, CROSS_ENTROPY_GRADIENT, False)
                scatter_value(
                    gradient_at_index(all, target.x, p, sum_, target.weight, target.weight), grad, all.grad_elements,
                    target.index, 1)
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
    cdef int64_t[MOST_LANES] indices
    cdef real[MOST_LANES] x, e, weight, losses
    cdef totals sums, others, overs
    cdef vreal at_target
    cdef bint usual
    cdef Py_ssize_t lane, offset
    cdef Constants c
    columns_max(panel, 1, True, &c)
    c.shifts = shifts_to(c.top, 1)
    if all_plain(&c, 1, 1):
        sums = column_terms(panel, 0, True, c, EXPONENTIALS, True)
    else:
        sums = column_terms(panel, 0, True, c, EXPONENTIALS, False)
    others = others_beside(panel, 0, &c, &sums)
    overs = totals_log1p(&others)
    c.r = totals_reciprocals(&sums)
    c.factor = v_set(<real> all.grad_factor)
    for lane in range(LANES):
        indices[lane] = index_of(all, first + lane) if lane < panel.lanes else 0
        weight[lane] = 1
        offset = max(0, indices[lane]) * panel.x_step + lane * <Py_ssize_t> sizeof(real)
        memcpy(&x[lane], panel.x + offset, sizeof(real))
        memcpy(&e[lane], panel.out + offset, sizeof(real))
        if all.weight != NULL and indices[lane] >= 0:
            weight[lane] = real_element(all.weight, all.weight_elements, indices[lane])
    at_target = v_load(x)
    c.coefficient = v_load(weight)
    v_store(losses, totals_minus(&overs, v_sub(at_target, c.top)))
    if all.grad != NULL:
        columns_finish(panel, 1, True, &c, CROSS_ENTROPY_GRADIENT, True)
        at_target = totals_missing(
            &others, reciprocals_times(c.r, v_load(e)), v_where_equal(at_target, c.top, v_set(1)), c.coefficient,
            all.grad_factor)
    for lane in range(panel.lanes):
        usual = indices[lane] >= 0 and has_softmax(v_lane(&c.top, lane)) and is_finite(weight[lane])
        if not (usual and is_number(totals_at(&overs, lane))):
            cross_entropy_lane(all, panel, first, lane, indices[lane], scratch, spare)
            continue
        write_result(
            weight[lane] * losses[lane] if weight[lane] != 0 else 0, all.loss + (first + lane) * all.loss_next,
            all.loss_kind)
        if all.grad != NULL:
            memcpy(
                panel.out + indices[lane] * panel.out_step + lane * <Py_ssize_t> sizeof(real),
                <const real *> &at_target + lane, sizeof(real))


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
