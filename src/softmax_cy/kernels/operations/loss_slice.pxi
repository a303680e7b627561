# The loss of one slice and its gradient, however they lie: formulas/loss.pxi says what they are.

cdef inline Coefficients gather_coefficients(
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


cdef Sums sum_block_losses(
    const CrossEntropySlices *all, const Slice *s, const char *target, Py_ssize_t start, Py_ssize_t count, LogSum sum_,
    vreal *uncompensated, char *scratch, char *spare,
) noexcept nogil:
    """Of half a block. The loss is added to `uncompensated`, too, without a care for rounding."""
    cdef const real *x = <const real *> fetch(s, start, count, scratch)
    cdef Coefficients c = gather_coefficients(all, target, start, count, scratch + BLOCK_BYTES // 2, spare)
    cdef vsum loss = signed_start(), coefficients = signed_start()
    cdef vreal a, terms
    cdef Py_ssize_t i = 0, lanes
    cdef Sums result
    while i < count:
        lanes = min(count - i, LANES)
        a = take_coefficients(c, i, lanes)
        coefficients = signed_add(coefficients, a)
        terms = find_loss_terms(v_load_first(x + i, lanes, 0), a, sum_)
        loss = signed_add(loss, terms)
        uncompensated[0] = v_add(uncompensated[0], terms)
        i += LANES
    result.loss = signed_total(loss)
    result.coefficients = signed_total(coefficients)
    return result


cdef inline Sums sum_losses(
    const CrossEntropySlices *all, const Slice *s, const char *target, LogSum sum_, char *scratch, char *spare
) noexcept nogil:
    """Of the part of the coefficients that is not an index."""
    cdef Py_ssize_t start = 0, count
    cdef vreal uncompensated = v_set(0)
    cdef Sums result, of_block
    result.loss.hi = result.loss.lo = result.coefficients.hi = result.coefficients.lo = 0
    while start < all.length:
        count = count_half_block(start, all.length)
        of_block = sum_block_losses(all, s, target, start, count, sum_, &uncompensated, scratch, spare)
        result.loss = total_add(result.loss, of_block.loss)
        result.coefficients = total_add(result.coefficients, of_block.coefficients)
        start += count
    if result.loss.hi + result.loss.lo != result.loss.hi + result.loss.lo:
        # An infinite loss has no rounding error to recover: infinity less infinity is NaN.
        result.loss.hi = v_sum_across(uncompensated)
        result.loss.lo = 0
    return result


cdef void write_gradient(
    const CrossEntropySlices *all, const Slice *s, const char *target, Py_ssize_t start, Py_ssize_t end, LogSum sum_,
    Units units, real coefficient_sum, char *scratch, char *spare,
) noexcept nogil:
    """p_c * coefficient_sum less the part of the coefficients that is not an index, times the factor."""
    cdef char *half = scratch + BLOCK_BYTES // 2
    cdef reciprocals r
    cdef Py_ssize_t count, i, lanes
    cdef Coefficients c
    cdef const char *exponentials
    cdef BlockUnit unit = sum_.unit.block
    cdef const real *x
    cdef real *q
    cdef vreal a
    while start < end:
        count = count_half_block(start, end)
        if start % block_length() == 0 or units.first != NULL:
            unit = find_unit_of_block(s, &sum_, units, start // block_length() * block_length(), scratch)
        r = prepare_block(s, &sum_, &unit, start, count, NULL, scratch, &exponentials)
        x = <const real *> exponentials
        c = gather_coefficients(all, target, start, count, half, spare)
        q = <real *> find_room(s, start, scratch)
        i = 0
        while i < count:
            lanes = min(count - i, LANES)
            a = reciprocals_times(r, v_load_first(x + i, lanes, 0))
            a = v_sub(v_mul(a, v_set(coefficient_sum)), take_coefficients(c, i, lanes))
            v_store_first(q + i, v_one_nan(v_mul(a, v_set(<real> all.grad_factor))), lanes)
            i += LANES
        deliver(s, start, count, scratch, 0)
        start += count


cdef inline bint is_plain_index(const CrossEntropySlices *all, real weight) noexcept nogil:
    """Whether the gradient is a multiple of softmax, but for the target."""
    return (
        all.target_elements == NULL and all.smoothing == 0 and is_finite(all.grad_factor) and is_finite(weight))


cdef void write_plain_gradient(
    const CrossEntropySlices *all, const Slice *s, Py_ssize_t start, Py_ssize_t end, LogSum sum_, Units units,
    real coefficient, const char *kept, char *scratch,
) noexcept nogil:
    """gradient, of slices that is_plain_index, over whole blocks. `kept`: all exponentials, or NULL."""
    cdef Py_ssize_t count
    cdef const char *block
    cdef BlockUnit unit
    cdef Constants constants
    constants.coefficient = v_set(coefficient)
    constants.factor = v_set(<real> all.grad_factor)
    while start < end:
        count = count_block(start, end)
        unit = find_unit_of_block(s, &sum_, units, start, scratch)
        constants.r = prepare_block(s, &sum_, &unit, start, count, kept, scratch, &block)
        finish(block, NULL, find_room(s, start, scratch), count, &constants, CROSS_ENTROPY_GRADIENT, False)
        deliver(s, start, count, scratch, 0)
        start += count


cdef inline void put_gradient_at_index(
    const CrossEntropySlices *all, const Slice *s, int64_t index, real x, LogSum sum_, real weight, real of_index
) noexcept nogil:
    cdef real value = find_gradient_at_index(all, x, find_probability_of(x, sum_), sum_, weight, of_index)
    scatter_value(value, s.out, all.grad_elements, index, 1)


cdef enum:
    # Instead of an index.
    IGNORED = -1
    OUT_OF_RANGE = -2


cdef inline int64_t read_index(const CrossEntropySlices *all, Py_ssize_t i) noexcept nogil:
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
    """`index` is read_index the slice, and of no account for probabilities."""
    cdef Slice s = take_slice(logits, i)
    cdef const char *target = all.target + i * all.target_next
    cdef char *loss_at = all.loss + i * all.loss_next
    cdef bint is_index = all.target_elements == NULL
    cdef bint out_of_range = is_index and index == OUT_OF_RANGE
    cdef real weight = 1, of_index = 0, x_index = 0, loss = 0, coefficient_sum = 0
    cdef LogSum sum_
    cdef Sums sums
    cdef Units units = keep_units(all.length)
    cdef bint is_multiple
    cdef char *kept = NULL
    if is_index and index == IGNORED:
        deliver_everywhere(all, &s, 0, loss_at, scratch)
        return
    if is_index and not out_of_range:
        if all.weight != NULL:
            weight = read_element(all.weight, all.weight_elements, index)
        of_index = <real> (1 - all.smoothing) * weight
        x_index = read_element(s.x, all.x_elements, index)
    is_multiple = is_plain_index(all, weight)
    if is_multiple and units.first != NULL:
        kept = find_room_beside_logits(&s)
    if not out_of_range:
        sum_ = find_log_sum(&s, kept, units, scratch)
    if out_of_range or not (has_softmax(sum_.top) and is_number(sum_.over)):
        # Even where nothing is asked of the slice.
        deliver_everywhere(all, &s, NAN, loss_at, scratch)
        return
    if is_index:
        if of_index != 0:
            # x_index - top is exact, or far from 0: then half an ulp of it is half an ulp of the loss.
            loss = round_loss(of_index, x_index - sum_.top, sum_.over)
        coefficient_sum = of_index
    if not is_index or all.smoothing != 0:
        sums = sum_losses(all, &s, target, sum_, scratch, spare)
        loss += <real> (sums.loss.hi + sums.loss.lo)
        coefficient_sum += <real> (sums.coefficients.hi + sums.coefficients.lo)
    write_result(loss, loss_at, all.loss_kind)
    if all.grad != NULL:
        if is_multiple:
            write_plain_gradient(all, &s, 0, all.length, sum_, units, coefficient_sum, kept, scratch)
        else:
            write_gradient(all, &s, target, 0, all.length, sum_, units, coefficient_sum, scratch, spare)
        if is_index:
            put_gradient_at_index(all, &s, index, x_index, sum_, weight, of_index)


cdef inline Slices take_logits(const CrossEntropySlices *all) noexcept nogil:
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
