# The state of a part of a slice, how neighbours are merged, and results of a part once the whole is known.
#
# Design:
# 1. A state is one stretch of memory that knows what it is of: a header (table.pxd), and what the blocks of the part
#    leave behind (formulas/joined.pxi). Whoever holds it may copy it, send it or write it to a file.
# 2. Blocks begin where they begin in the whole slice. The elements of a block that the part holds only a piece of are
#    kept as they are, fewer than a block at each end, until a merge completes the block. So the bits of the whole do
#    not depend on the cuts.
# 3. The state of a whole slice holds the joined sum too, so results of many parts do not join the blocks once more. It
#    holds nothing else of a slice of one block.
# 4. Not exact: a header alone. The blocks begin where the part begins, and a merge joins two sums as it joins blocks.

cdef struct StateBlock:
    double top
    double hi
    double lo


cdef struct StateLayout:
    Py_ssize_t head         # elements before the first block that begins in the part and is complete, or all
    Py_ssize_t first        # that block
    Py_ssize_t blocks       # how many
    Py_ssize_t tail         # elements after them


cdef inline bint is_whole(const StateHeader *header) noexcept nogil:
    return header.offset == 0 and header.stop == header.whole


cdef inline StateLayout lay_state_out(const StateHeader *header) noexcept nogil:
    cdef StateLayout layout
    cdef Py_ssize_t end
    cdef Py_ssize_t block = block_length()
    layout.head = layout.blocks = layout.tail = 0
    layout.first = (header.offset + block - 1) // block
    end = (header.stop + (block - 1 if header.stop == header.whole else 0)) // block
    if not header.exact or header.offset == header.stop or (is_whole(header) and header.whole <= block):
        return layout
    if end <= layout.first:
        layout.head = header.stop - header.offset
        return layout
    layout.head = layout.first * block - header.offset
    layout.blocks = end - layout.first
    layout.tail = max(0, header.stop - end * block)
    return layout


cdef inline Py_ssize_t measure_raw(Py_ssize_t count) noexcept nogil:
    """The bytes that so many elements take, in whole doubles."""
    return (count * <Py_ssize_t> sizeof(real) + 7) // 8 * 8


cdef inline StateBlock *find_blocks(char *state, const StateLayout *layout) noexcept nogil:
    return <StateBlock *> (state + sizeof(StateHeader) + measure_raw(layout.head))


cdef inline char *find_tail(char *state, const StateLayout *layout) noexcept nogil:
    return <char *> (find_blocks(state, layout) + layout.blocks)


cdef void measure_state(
    bint exact, Py_ssize_t offset, Py_ssize_t stop, Py_ssize_t whole, Py_ssize_t *size
) noexcept nogil:
    """The bytes of a state."""
    cdef StateHeader header
    cdef StateLayout layout
    memset(&header, 0, sizeof(StateHeader))
    header.exact = exact
    header.offset = offset
    header.stop = stop
    header.whole = whole
    layout = lay_state_out(&header)
    size[0] = (
        <Py_ssize_t> sizeof(StateHeader) + measure_raw(layout.head)
        + layout.blocks * <Py_ssize_t> sizeof(StateBlock) + measure_raw(layout.tail))


cdef inline void write_sum(StateHeader *header, const LogSum *sum_) noexcept nogil:
    header.top = sum_.top
    header.all_hi = sum_.all_.hi
    header.all_lo = sum_.all_.lo
    header.others_hi = sum_.others.hi
    header.others_lo = sum_.others.lo
    header.over_hi = sum_.over.hi
    header.over_lo = sum_.over.lo


cdef LogSum read_sum(const StateHeader *header) noexcept nogil:
    cdef LogSum sum_ = start_log_sum()
    sum_.top = <real> header.top
    sum_.all_.hi = header.all_hi
    sum_.all_.lo = header.all_lo
    sum_.others.hi = header.others_hi
    sum_.others.lo = header.others_lo
    sum_.over.hi = header.over_hi
    sum_.over.lo = header.over_lo
    sum_.unit.block.top = sum_.top
    if has_softmax(sum_.top):
        sum_.unit = measure_unit(sum_.top, <real> header.scale)
    return sum_


cdef void write_joined(StateHeader *header, const Joined *joined) noexcept nogil:
    cdef LogSum sum_
    header.top = joined.unit.block.top
    header.joined_hi = joined.others.hi
    header.joined_lo = joined.others.lo
    if is_whole(header):
        sum_ = finish_log_sum(joined)
        write_sum(header, &sum_)


cdef void join_state_block(Joined *joined, double top, double hi, double lo, real scale) noexcept nogil:
    cdef Unit unit = measure_unit(<real> top, scale)
    cdef BlockSum sum_
    cdef total others
    others.hi = hi
    others.lo = lo
    sum_.unit = unit.block
    set_block_sums(&sum_, others, total_of(0))
    join_block(joined, &sum_, &unit, scale)


cdef void join_state(char *state, const StateLayout *layout) noexcept nogil:
    """Write the sum of a whole slice into its header."""
    cdef StateHeader *header = <StateHeader *> state
    cdef const StateBlock *blocks = find_blocks(state, layout)
    cdef Joined joined = join_nothing()
    cdef Py_ssize_t b
    for b in range(layout.blocks):
        join_state_block(&joined, blocks[b].top, blocks[b].hi, blocks[b].lo, <real> header.scale)
    write_joined(header, &joined)


cdef inline void write_block(StateBlock *block, const BlockSum *sum_) noexcept nogil:
    block.top = sum_.unit.top
    block.hi = sum_.hi
    block.lo = sum_.lo


cdef void copy_elements_of_part(const Slice *s, Py_ssize_t start, Py_ssize_t end, char *target) noexcept nogil:
    """Reals, as `fetch` brings them."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Py_ssize_t count
    while start < end:
        count = count_block(start, end)
        memcpy(target, fetch(s, start, count, scratch), count * sizeof(real))
        target += count * <Py_ssize_t> sizeof(real)
        start += count


cdef void make_state(const Part *part) noexcept nogil:
    """The state of a part."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef StateHeader *header = <StateHeader *> part.state
    cdef Slice s = take_slice(&part.slices, 0)
    cdef Py_ssize_t count = s.all.length, start, b, size
    cdef real scale = <real> s.all.scale
    cdef const char *x
    cdef real top
    cdef StateLayout layout
    cdef Joined joined = join_nothing()
    cdef BlockSum sum_
    cdef Unit unit
    cdef LogSum whole
    memset(header, 0, sizeof(StateHeader))
    header.bits = SOFTMAX_CY_REAL_BITS
    header.exact = part.exact
    header.offset = part.offset
    header.stop = part.offset + count
    header.whole = part.whole
    header.scale = scale
    header.any_kept = count > 0 and keeps_anything(&s)
    header.top = -INFINITY
    layout = lay_state_out(header)
    if header.exact and is_whole(header) and count <= block_length():
        if count > 0:
            whole = find_log_sum(&s, NULL, keep_no_units(), scratch)
            write_sum(header, &whole)
        return
    if not header.exact:
        start = 0
        while start < count:
            summarize_block(&s, start, NULL, scratch, &sum_, &unit)
            join_block(&joined, &sum_, &unit, scale)
            start += block_length()
        write_joined(header, &joined)
        return
    copy_elements_of_part(&s, 0, layout.head, part.state + sizeof(StateHeader))
    for b in range(layout.blocks):
        start = layout.head + b * block_length()
        size = count_block(start, count)
        top = fetch_block_max(&s, start, size, scratch, &x)
        summarize_elements(x, NULL, size, top, scale, &sum_, &unit)
        write_block(find_blocks(part.state, &layout) + b, &sum_)
    copy_elements_of_part(&s, count - layout.tail, count, find_tail(part.state, &layout))
    if is_whole(header):
        join_state(part.state, &layout)


cdef void copy_kept_elements(const char *state, Py_ssize_t start, Py_ssize_t end, char *target) noexcept nogil:
    """Those of elements start to end of the slice that a state has kept, to their places in target."""
    cdef const StateHeader *header = <const StateHeader *> state
    cdef StateLayout layout = lay_state_out(header)
    cdef const char *source = state + sizeof(StateHeader)
    cdef Py_ssize_t begin = header.offset, stop = header.offset + layout.head
    cdef int i
    for i in range(2):
        if max(start, begin) < min(end, stop):
            memcpy(
                target + (max(start, begin) - start) * <Py_ssize_t> sizeof(real),
                source + (max(start, begin) - begin) * <Py_ssize_t> sizeof(real),
                (min(end, stop) - max(start, begin)) * sizeof(real))
        source = find_tail(<char *> state, &layout)
        begin = header.stop - layout.tail
        stop = header.stop


cdef bint copy_block(const char *state, Py_ssize_t b, StateBlock *target) noexcept nogil:
    """What block b has left behind, if the state holds it."""
    cdef StateLayout layout = lay_state_out(<const StateHeader *> state)
    if not 0 <= b - layout.first < layout.blocks:
        return False
    target[0] = find_blocks(<char *> state, &layout)[b - layout.first]
    return True


cdef void merge_into_block(const Part *part, Py_ssize_t start, Py_ssize_t end, StateBlock *target) noexcept nogil:
    """Of a block of which each of two neighbours has kept some elements."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef BlockSum sum_
    cdef Unit unit
    copy_kept_elements(part.first, start, end, scratch)
    copy_kept_elements(part.second, start, end, scratch)
    summarize_elements(
        scratch, NULL, end - start, find_block_max(scratch, end - start, -INFINITY),
        <real> (<const StateHeader *> part.first).scale, &sum_, &unit)
    write_block(target, &sum_)


cdef void merge_into_one_block(const Part *part, StateHeader *header) noexcept nogil:
    """Of a whole slice of one block."""
    cdef char *elements = thread_buffer(TILE_BUFFER)
    cdef Elements described = describe_reals(header.whole, sizeof(real))
    cdef Slices slices
    cdef Slice s
    cdef LogSum sum_
    memset(&slices, 0, sizeof(Slices))
    copy_kept_elements(part.first, 0, header.whole, elements)
    copy_kept_elements(part.second, 0, header.whole, elements)
    slices.x = elements
    slices.x_elements = &described
    slices.length = header.whole
    slices.scale = header.scale
    s = take_slice(&slices, 0)
    sum_ = find_log_sum(&s, NULL, keep_no_units(), thread_buffer(KERNEL_BUFFER))
    write_sum(header, &sum_)


cdef inline void copy_state(char *target, const char *state) noexcept nogil:
    cdef const StateHeader *header = <const StateHeader *> state
    cdef Py_ssize_t size
    measure_state(header.exact, header.offset, header.stop, header.whole, &size)
    memcpy(target, state, size)


cdef void merge_states(const Part *part) noexcept nogil:
    """The state of two neighbours together."""
    cdef const StateHeader *first = <const StateHeader *> part.first
    cdef const StateHeader *second = <const StateHeader *> part.second
    cdef StateHeader *header = <StateHeader *> part.state
    cdef StateLayout layout
    cdef Joined joined = join_nothing()
    cdef StateBlock *blocks
    cdef Py_ssize_t b, start
    if first.offset == first.stop or second.offset == second.stop:
        # The other says all.
        copy_state(part.state, part.second if first.offset == first.stop else part.first)
        header.any_kept = first.any_kept or second.any_kept
        return
    header[0] = first[0]
    header.stop = second.stop
    header.any_kept = first.any_kept or second.any_kept
    layout = lay_state_out(header)
    if not header.exact:
        join_state_block(&joined, first.top, first.joined_hi, first.joined_lo, <real> header.scale)
        join_state_block(&joined, second.top, second.joined_hi, second.joined_lo, <real> header.scale)
        write_joined(header, &joined)
        return
    if is_whole(header) and header.whole <= block_length():
        merge_into_one_block(part, header)
        return
    copy_kept_elements(
        part.first, header.offset, header.offset + layout.head, part.state + sizeof(StateHeader))
    copy_kept_elements(
        part.second, header.offset, header.offset + layout.head, part.state + sizeof(StateHeader))
    blocks = find_blocks(part.state, &layout)
    for b in range(layout.blocks):
        start = (layout.first + b) * block_length()
        if not (
            copy_block(part.first, layout.first + b, blocks + b)
            or copy_block(part.second, layout.first + b, blocks + b)
        ):
            merge_into_block(part, start, start + count_block(start, header.whole), blocks + b)
    copy_kept_elements(part.first, header.stop - layout.tail, header.stop, find_tail(part.state, &layout))
    copy_kept_elements(part.second, header.stop - layout.tail, header.stop, find_tail(part.state, &layout))
    if is_whole(header):
        join_state(part.state, &layout)


cdef void write_state_logsumexp(const Part *part) noexcept nogil:
    cdef const StateHeader *header = <const StateHeader *> part.state
    cdef LogSum sum_ = read_sum(header)
    cdef real scale = <real> header.scale
    cdef real result = sum_.top * scale if is_number(sum_.over) else NAN
    if has_softmax(sum_.top):
        result = product_plus_total(sum_.top, scale, sum_.over)
    write_result(result, part.slices.out, part.slices.out_elements.kind)


cdef inline BlockUnit find_unit_in_state(
    char *state, const StateLayout *layout, const LogSum *sum_, Py_ssize_t b
) noexcept nogil:
    """The unit that the exponentials of block b have in the whole slice."""
    if layout.blocks == 0:
        return sum_.unit.block
    return measure_unit(
        <real> find_blocks(state, layout)[b].top, <real> (<const StateHeader *> state).scale).block


cdef inline void use_one_nan(char *elements, Py_ssize_t count) noexcept nogil:
    cdef real *p = <real *> elements
    cdef Py_ssize_t i
    for i in range(count):
        p[i] = one_nan(p[i])


cdef void write_quotients(
    const Part *part, const Slice *s, const LogSum *sum_, Constants *constants, Operation operation, bint finite
) noexcept nogil:
    """The last pass of softmax or its multiples over a part of a slice. Not `finite`: multiples may be NaN."""
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef StateLayout layout = lay_state_out(<const StateHeader *> part.state)
    cdef Py_ssize_t start = 0, b, count
    cdef BlockUnit unit
    cdef const char *block
    while start < s.all.length:
        b = (part.offset + start) // block_length()
        count = min(s.all.length - start, (b + 1) * block_length() - part.offset - start)
        unit = find_unit_in_state(part.state, &layout, sum_, b)
        constants.r = prepare_block(s, sum_, &unit, start, count, NULL, scratch, &block)
        finish(block, NULL, find_room(s, start, scratch), count, constants, operation, False)
        if not finite:
            use_one_nan(find_room(s, start, scratch), count)
        deliver(s, start, count, scratch, 0)
        start += count


cdef void write_state_softmax(const Part *part) noexcept nogil:
    cdef const StateHeader *header = <const StateHeader *> part.state
    cdef LogSum sum_ = read_sum(header)
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef real nothing = NAN if header.any_kept else 0
    cdef Slice s = take_slice(&part.slices, 0)
    cdef Constants constants
    if has_softmax(sum_.top) and is_number(sum_.over):
        write_quotients(part, &s, &sum_, &constants, SOFTMAX, True)
    else:
        deliver_value(&s, 0, s.all.length, scratch, nothing, 0)


cdef void write_state_log_softmax(const Part *part) noexcept nogil:
    cdef LogSum sum_ = read_sum(<const StateHeader *> part.state)
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef Slice s = take_slice(&part.slices, 0)
    if has_softmax(sum_.top) and is_number(sum_.over):
        write_log_softmax(&s, 0, s.all.length, &sum_, scratch)
    else:
        deliver_value(&s, 0, s.all.length, scratch, NAN, -INFINITY)


cdef void write_state_loss(const Part *part) noexcept nogil:
    """The loss where the target lies in the part, else 0, and the gradient of the part: cross_entropy_slice."""
    cdef const CrossEntropySlices *all = part.losses
    cdef char *scratch = thread_buffer(KERNEL_BUFFER)
    cdef LogSum sum_ = read_sum(<const StateHeader *> part.state)
    cdef Slice s = take_slice(&part.slices, 0)
    cdef int64_t index = read_index(all, 0)
    cdef Py_ssize_t place = <Py_ssize_t> index - part.offset, start = 0
    cdef bint inside = index >= 0 and 0 <= place < s.all.length, finite
    cdef real weight = 1, x_index = 0, loss = 0
    cdef Constants constants
    if index == IGNORED or index == OUT_OF_RANGE or not (has_softmax(sum_.top) and is_number(sum_.over)):
        loss = 0 if index == IGNORED else NAN
        write_result(loss, all.loss, all.loss_kind)
        if all.grad != NULL:
            deliver_value(&s, 0, s.all.length, scratch, loss, 0)
        return
    if all.weight != NULL:
        weight = read_element(all.weight, all.weight_elements, index)
    if inside:
        x_index = read_element(s.x, s.all.x_elements, place)
        if weight != 0:
            loss = round_loss(weight, x_index - sum_.top, sum_.over)
    write_result(loss, all.loss, all.loss_kind)
    if all.grad == NULL:
        return
    constants.coefficient = v_set(weight)
    constants.factor = v_set(<real> all.grad_factor)
    finite = is_finite(weight) and is_finite(all.grad_factor)
    write_quotients(part, &s, &sum_, &constants, CROSS_ENTROPY_GRADIENT, finite)
    if inside:
        scatter_value(
            find_gradient_at_index(all, x_index, find_probability_of(x_index, sum_), sum_, weight, weight),
            s.out, s.all.out_elements, place, 1)
