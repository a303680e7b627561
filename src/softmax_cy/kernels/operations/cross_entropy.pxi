# The kernel of cross-entropy, and the passes over a slice that threads share.

include "loss_slice.pxi"
include "loss_lanes.pxi"

cdef struct LossSlices:
    Slices logits       # comes first: the walks are given its address, and know nothing else
    const CrossEntropySlices *all


cdef bint cross_entropy_tiles(const Slices *logits, char *scratch) noexcept nogil:
    """False: these do not fit a tile."""
    cdef const CrossEntropySlices *all = (<const LossSlices *> logits).all
    cdef bint of_rows = suit_loss_tiles(all, True)
    if not (of_rows or suit_loss_tiles(all, False)):
        return False
    walk_loss_tiles(all, of_rows, scratch, thread_buffer(TILE_BUFFER))
    return True


cdef bint cross_entropy_groups(const Slices *logits, char *scratch) noexcept nogil:
    """False: these are none."""
    cdef const CrossEntropySlices *all = (<const LossSlices *> logits).all
    if not are_usual(all):
        return False
    loss_groups(all, logits, scratch)
    return True


cdef void cross_entropy_one(const Slices *logits, Py_ssize_t i, char *scratch) noexcept nogil:
    cdef const CrossEntropySlices *all = (<const LossSlices *> logits).all
    cdef int64_t index = read_index(all, i) if all.target_elements == NULL else 0
    cross_entropy_slice(all, logits, i, index, scratch, thread_buffer(TILE_BUFFER))


cdef void cross_entropy_slices(const CrossEntropySlices *all) noexcept nogil:
    cdef LossSlices slices = LossSlices(logits=take_logits(all), all=all)
    # Panels and gathered rows have no place for a target.
    cdef Walk walk = Walk(
        kernel=NULL, tiles=cross_entropy_tiles, longest_tile=0, one_result=False, whole_panel=NULL, part_panel=NULL,
        after_panel=NULL, rows=cross_entropy_groups, slice_=cross_entropy_one)
    walk_slices(&slices.logits, &walk)


cdef void loss_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """As sum_losses."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef char *spare = thread_buffer(TILE_BUFFER)
    cdef const CrossEntropySlices *all = long_.losses
    cdef Slice s = take_slice(long_.slices, 0)
    cdef LogSum sum_ = find_long_log_sum(long_)
    cdef vreal uncompensated = v_set(0)
    cdef Py_ssize_t b, start
    cdef Sums sums
    for b in range(begin, end):
        start = begin_block(long_, b)
        sums = sum_block_losses(
            all, &s, all.target, start, count_half_block(start, all.length), sum_, &uncompensated, scratch, spare)
        set_block_sums(&long_.sums[b], sums.loss, sums.coefficients)


cdef void gradient_pass(const LongSlice *long_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const CrossEntropySlices *all = long_.losses
    cdef Slice s = take_slice(long_.slices, 0)
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t start = begin_block(long_, begin), stop = end_block(long_, end)
    cdef real coefficient_sum = <real> long_.coefficient_sum
    cdef LogSum sum_ = find_long_log_sum(long_)
    if long_.plain_index:
        write_plain_gradient(
            all, &s, start, stop, sum_, take_units(long_), coefficient_sum, find_room_beside_logits(&s), scratch)
    else:
        write_gradient(
            all, &s, all.target, start, stop, sum_, take_units(long_), coefficient_sum, scratch,
            thread_buffer(TILE_BUFFER))


cdef inline real find_index_coefficient(const LongSlice *long_) noexcept nogil:
    """The part of the coefficients that is an index."""
    return <real> (1 - long_.losses.smoothing) * <real> long_.weight


cdef inline bint begin_loss(LongSlice *long_) noexcept nogil:
    """Read the target, once. False: it is none."""
    cdef const CrossEntropySlices *all = long_.losses
    long_.logits = take_logits(all)
    long_.slices = &long_.logits
    long_.weight = 1
    if all.target_elements == NULL:
        long_.index = read_index(all, 0)
        if long_.index < 0:
            return False
        if all.weight != NULL:
            long_.weight = read_element(all.weight, all.weight_elements, long_.index)
        long_.x_index = read_element(all.x, all.x_elements, long_.index)
    long_.plain_index = is_plain_index(all, <real> long_.weight)
    return True


cdef Pass deliver_loss(LongSlice *long_) noexcept nogil:
    long_.step = WRITE_GRADIENT
    write_result(<real> long_.loss, long_.losses.loss, long_.losses.loss_kind)
    if long_.losses.grad == NULL:
        return NULL
    return gradient_pass


cdef Pass begin_losses(LongSlice *long_) noexcept nogil:
    """With the logarithm: the loss of an index."""
    cdef const CrossEntropySlices *all = long_.losses
    cdef LogSum sum_ = find_long_log_sum(long_)
    cdef real of_index
    if not is_number(sum_.over):
        return refuse(long_)
    if all.target_elements == NULL:
        of_index = find_index_coefficient(long_)
        if of_index != 0:
            long_.loss = round_loss(of_index, <real> long_.x_index - sum_.top, sum_.over)
        long_.coefficient_sum = of_index
    if not long_.plain_index:
        long_.block = block_length() // 2
    if all.target_elements == NULL and all.smoothing == 0:
        return deliver_loss(long_)
    long_.step = ADD_LOSSES
    return loss_pass


cdef Pass next_cross_entropy_pass(LongSlice *long_) noexcept nogil:
    cdef const CrossEntropySlices *all = long_.losses
    cdef BlockSum whole
    cdef Pass pass_
    cdef Slice s
    if long_.step == NOTHING:
        long_.block = block_length()
        if not begin_loss(long_):
            return refuse(long_)
    if long_.step < HAVE_SUM:
        pass_ = choose_logarithm_pass(long_)
        return begin_losses(long_) if long_.step == HAVE_SUM else pass_
    if long_.step == ADD_LOSSES:
        whole = join_blocks(long_)
        if whole.hi + whole.lo != whole.hi + whole.lo:
            return refuse(long_)
        long_.loss = <real> long_.loss + <real> (whole.hi + whole.lo)
        long_.coefficient_sum = <real> long_.coefficient_sum + <real> (whole.second_hi + whole.second_lo)
        return deliver_loss(long_)
    if all.target_elements == NULL:
        s = take_slice(long_.slices, 0)
        put_gradient_at_index(
            all, &s, long_.index, <real> long_.x_index, find_long_log_sum(long_), <real> long_.weight,
            find_index_coefficient(long_))
    return NULL
