# Short slices, as columns in scratch, a tile at a time: rows are turned into columns, columns are copied, so that their
# elements no longer compete for the same lines of the cache.
#
# A vector that holds elements of one slice is a bad fit for a short one: its last part is empty, and the maximum and
# the sum across its lanes, the quotient's reciprocal and a logarithm are waited for, or taken, once a slice. With a
# slice a lane all of that is done for a vector of slices at once, and the bits are those of a row (columns.pxi).

cdef enum:
    # Up to where that is faster than taking rows as they lie, in elements.
    SOFTMAX_TILES = 32
    LOG_TILES = 32
    PRODUCT_TILES = 16


cdef inline bint suit_tiles(const Slices *slices, Py_ssize_t longest_row, bint one_result) noexcept nogil:
    """Columns as long as fits, and rows as long as it pays."""
    if slices.length * LANES * <Py_ssize_t> sizeof(real) > BLOCK_BYTES:
        return False
    if slices.length <= longest_row and are_rows(slices, one_result):
        return slices.count >= LANES // 2
    return slices.count >= LANES and slices.length > 1 and are_columns(slices, one_result)


cdef inline void copy_columns(
    const char *source, Py_ssize_t source_step, char *target, Py_ssize_t target_step, Py_ssize_t length, Py_ssize_t size
) noexcept nogil:
    """`size` bytes an element of the slices."""
    cdef Py_ssize_t i
    if size == PANEL * LANES * <Py_ssize_t> sizeof(real):
        for i in range(length):
            memcpy(target + i * target_step, source + i * source_step, PANEL * LANES * sizeof(real))
    elif size == LANES * <Py_ssize_t> sizeof(real):
        for i in range(length):
            memcpy(target + i * target_step, source + i * source_step, LANES * sizeof(real))
    else:
        for i in range(length):
            memcpy(target + i * target_step, source + i * source_step, size)


cdef inline void fill_tile(
    const char *source, Py_ssize_t next_, const Elements *elements, const Slices *tile, char *target, bint of_rows
) noexcept nogil:
    """Lanes without a slice get some numbers."""
    cdef Py_ssize_t step = tile.x_elements.strides[0], first = 0
    if not of_rows:
        if tile.count * <Py_ssize_t> sizeof(real) < step:
            memset(target, 0, tile.length * step)
        copy_columns(source, elements.strides[0], target, step, tile.length, tile.count * <Py_ssize_t> sizeof(real))
        return
    while first < tile.count:
        columns_from_rows(
            source + first * next_, next_, min(tile.count - first, LANES), tile.length,
            target + first * <Py_ssize_t> sizeof(real), step)
        first += LANES


cdef inline void empty_tile(
    const Slices *tile, char *target, Py_ssize_t next_, const Elements *elements, bint of_rows
) noexcept nogil:
    cdef Py_ssize_t step = tile.x_elements.strides[0], first = 0
    if not of_rows:
        copy_columns(tile.x, step, target, elements.strides[0], tile.length, tile.count * <Py_ssize_t> sizeof(real))
        return
    while first < tile.count:
        rows_from_columns(
            tile.x + first * <Py_ssize_t> sizeof(real), step, min(tile.count - first, LANES), tile.length,
            target + first * next_, next_)
        first += LANES


cdef void walk_tiles(const Slices *slices, char *scratch, const Walk *walk) noexcept nogil:
    """Slices that suit_tiles."""
    cdef char *x = thread_buffer(TILE_BUFFER)
    cdef char *y = scratch      # which walk_panel leaves alone
    cdef real[PANEL * MOST_LANES] results
    cdef bint one_result = walk.one_result
    cdef bint of_rows = are_rows(slices, one_result)
    cdef Py_ssize_t first = 0, length = slices.length, i
    cdef Py_ssize_t widest = min(<Py_ssize_t> PANEL, BLOCK_BYTES // (length * LANES * <Py_ssize_t> sizeof(real)))
    cdef Slices tile = slices[0]
    cdef Elements elements
    cdef int width
    tile.x = x
    tile.x_next = tile.y_next = tile.out_next = sizeof(real)
    tile.x_elements = tile.y_elements = tile.out_elements = &elements
    tile.out = <char *> results if one_result else x
    tile.y = y if slices.y != NULL else NULL
    while first < slices.count:
        width = <int> min((slices.count - first + LANES - 1) // LANES, widest)
        tile.count = min(slices.count - first, width * LANES)
        elements = describe_reals(length, width * LANES * <Py_ssize_t> sizeof(real))
        fill_tile(slices.x + first * slices.x_next, slices.x_next, slices.x_elements, &tile, x, of_rows)
        if slices.y != NULL:
            fill_tile(slices.y + first * slices.y_next, slices.y_next, slices.y_elements, &tile, y, of_rows)
        walk_panel(&tile, 0, width, True, walk)
        if one_result:
            for i in range(tile.count):
                memcpy(slices.out + (first + i) * slices.out_next, &results[i], sizeof(real))
        else:
            empty_tile(&tile, slices.out + first * slices.out_next, slices.out_next, slices.out_elements, of_rows)
        first += tile.count
