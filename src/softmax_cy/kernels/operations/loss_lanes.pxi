# The losses of many slices and their gradients at the targets, a slice a lane: of contiguous slices in groups, and of
# short slices or slices side by side as columns in scratch.

cdef inline bint are_usual(const CrossEntropySlices *all) noexcept nogil:
    """Contiguous slices of at most one block against class indices without smoothing."""
    return (
        all.target_elements == NULL and all.smoothing == 0 and is_finite(all.grad_factor)
        and all.length <= block_length()
        and are_contiguous(all.x_elements) and (all.grad == NULL or are_contiguous(all.grad_elements))
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
            targets.weight[lane] = read_element(all.weight, all.weight_elements, index)
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


cdef struct LossGroups:
    const CrossEntropySlices *all
    GroupTerms terms
    Targets targets
    totals overs
    reciprocals r


cdef inline void add_up_loss_group(
    const Slices *logits, const Group *group, Operation operation, void *own
) noexcept nogil:
    cdef LossGroups *groups = <LossGroups *> own
    cdef const CrossEntropySlices *all = groups.all
    cdef Targets *targets = &groups.targets
    cdef vreal tops = v_load(group.tops)
    cdef totals others
    cdef int64_t index
    cdef Py_ssize_t i
    for i in range(group.count):
        index = read_index(all, group.first + i)
        set_target(targets, i, all, index, group.tops[i], group.x + i * logits.x_next, sizeof(real))
        if not targets.usual[i]:
            cross_entropy_slice(all, logits, group.first + i, index, groups.terms.scratch, thread_buffer(TILE_BUFFER))
    # Sums of other slices are harmless, and so large that nobody looks for their others.
    add_group_terms(&groups.terms, logits, group, EXPONENTIALS, False, targets.usual)
    for i in range(group.count):
        if targets.usual[i]:
            memcpy(
                &targets.exponential[i],
                find_kept(&groups.terms, logits, group, i) + targets.index[i] * <Py_ssize_t> sizeof(real),
                sizeof(real))
    others = find_group_others(
        &groups.terms.sums, group.x, logits.x_next, group.count, logits.length, &group.shifts, tops)
    groups.overs = totals_log1p(&others)
    groups.r = totals_reciprocals(&groups.terms.sums)
    finish_targets(targets, all, tops, groups.r, &others, &groups.overs)


cdef inline void finish_loss_in_group(
    const Slices *logits, const Group *group, Py_ssize_t i, Operation operation, void *own
) noexcept nogil:
    cdef LossGroups *groups = <LossGroups *> own
    cdef const CrossEntropySlices *all = groups.all
    cdef const Targets *targets = &groups.targets
    cdef char *loss = all.loss + (group.first + i) * all.loss_next
    cdef char *grad
    cdef Slice s
    cdef Constants constants
    if not targets.usual[i]:
        return
    if not is_number(totals_at(&groups.overs, i)):
        s = take_slice(logits, group.first + i)
        deliver_everywhere(all, &s, NAN, loss, groups.terms.scratch)
        return
    write_result(targets.loss[i], loss, all.loss_kind)
    if all.grad != NULL:
        grad = group.out + i * logits.out_next
        constants.factor = v_set(<real> all.grad_factor)
        constants.r = reciprocal_in_all_lanes(reciprocal_at(&groups.r, i))
        constants.coefficient = v_set(targets.weight[i])
        finish_short(
            find_kept(&groups.terms, logits, group, i), NULL, grad, logits.length, &constants, operation, False)
        memcpy(grad + targets.index[i] * <Py_ssize_t> sizeof(real), &targets.gradient[i], sizeof(real))


cdef void loss_groups(const CrossEntropySlices *all, const Slices *logits, char *scratch) noexcept nogil:
    """Slices that are_usual."""
    cdef LossGroups groups
    cdef Py_ssize_t i
    groups.all = all
    for i in range(LANES):
        set_target(&groups.targets, i, all, IGNORED, 0, NULL, 0)    # lanes without a slice
    # The gradient may be the logits, which find_group_others may have to read again. Without a gradient nobody reads
    # what is kept.
    start_group_terms(
        &groups.terms, logits, scratch, all.length < 32 * LANES or all.grad == all.x or all.grad == NULL)
    walk_groups(logits, GROUP_BYTES, CROSS_ENTROPY_GRADIENT, add_up_loss_group, finish_loss_in_group, &groups)


cdef enum:
    CROSS_ENTROPY_TILES = 24    # up to where that is faster than rows as they lie, in elements


cdef inline bint suit_loss_tiles(const CrossEntropySlices *all, bint of_rows) noexcept nogil:
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
    cdef Elements elements = describe_reals(all.length, panel.x_step)
    cdef Slices logits
    alone.x = panel.x + lane * <Py_ssize_t> sizeof(real)
    alone.grad = panel.out + lane * <Py_ssize_t> sizeof(real) if all.grad != NULL else NULL
    alone.x_elements = alone.grad_elements = &elements
    alone.target = all.target + (first + lane) * all.target_next
    alone.loss = all.loss + (first + lane) * all.loss_next
    logits = take_logits(&alone)
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
    find_columns_max(panel, 1, True, &c)
    c.shifts = find_shifts(c.top, 1)
    sums = sum_column_terms(panel, 0, True, c, EXPONENTIALS, False)
    others = find_others_beside(panel, 0, &c, &sums)
    overs = totals_log1p(&others)
    c.r = totals_reciprocals(&sums)
    for lane in range(LANES):
        x = panel.x + lane * <Py_ssize_t> sizeof(real)
        e = panel.out + lane * <Py_ssize_t> sizeof(real)
        index = read_index(all, first + lane) if lane < panel.lanes else IGNORED
        set_target(&targets, lane, all, index, v_lane(&c.top, lane), x, panel.x_step)
        if targets.usual[lane]:
            memcpy(&targets.exponential[lane], e + targets.index[lane] * panel.out_step, sizeof(real))
    finish_targets(&targets, all, c.top, c.r, &others, &overs)
    c.factor = v_set(<real> all.grad_factor)
    c.coefficient = v_load(targets.weight)
    if all.grad != NULL:
        finish_columns(panel, 1, True, &c, CROSS_ENTROPY_GRADIENT, True)
    for lane in range(panel.lanes):
        if not (targets.usual[lane] and is_number(totals_at(&overs, lane))):
            cross_entropy_lane(all, panel, first, lane, targets.index[lane], scratch, spare)
            continue
        write_result(targets.loss[lane], all.loss + (first + lane) * all.loss_next, all.loss_kind)
        if all.grad != NULL:
            e = panel.out + lane * <Py_ssize_t> sizeof(real)
            memcpy(e + targets.index[lane] * panel.out_step, &targets.gradient[lane], sizeof(real))


cdef void walk_loss_tiles(
    const CrossEntropySlices *all, bint of_rows, char *scratch, char *spare
) noexcept nogil:
    """Slices that suit_loss_tiles, a vector of them at a time."""
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
