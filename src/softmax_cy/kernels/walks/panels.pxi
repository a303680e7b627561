# What an operation offers to the walks, and the walk over slices side by side, some vectors of slices at a time.

ctypedef bint (*PanelKernel)(const Panel *panel, int width, Constants *columns, real scale) noexcept nogil
ctypedef bint (*RowsKernel)(const Slices *slices, char *scratch) noexcept nogil
ctypedef void (*SliceKernel)(const Slices *slices, Py_ssize_t i, char *scratch) noexcept nogil


cdef struct Walk:
    SlicesKernel kernel         # the whole operation: for slices that were gathered as rows. NULL: none is
    RowsKernel tiles            # the operation's own, instead of tiles and panels. NULL: it has none. Returns as `rows`
    Py_ssize_t longest_tile     # rows of up to so many elements are turned into columns
    bint one_result             # a slice, not an element
    # Slices side by side, `width` vectors of them or a part of one. False: those whose `ordinary` is 0 are not done.
    PanelKernel whole_panel
    PanelKernel part_panel      # NULL: none of them is done
    SliceKernel after_panel     # does such a slice. Its result is written already, maybe over its input, or nothing is
    RowsKernel rows             # contiguous slices together. False: they do not suit, and nothing is written
    SliceKernel slice_          # one slice, however it lies


cdef void walk_panel(
    const Slices *slices, Py_ssize_t first, int width, bint whole, const Walk *walk
) noexcept nogil:
    """The slices of `width` vectors, from slice `first` on, and then again those out of the ordinary."""
    cdef Panel panel = take_panel(slices, first, walk.one_result)
    cdef PanelKernel kernel = walk.whole_panel if whole else walk.part_panel
    cdef Constants[PANEL] columns
    cdef Py_ssize_t lane
    if kernel != NULL and kernel(&panel, width, columns, slices.scale):
        return
    for lane in range(min(panel.slices, width * LANES)):
        if kernel == NULL or v_lane(&columns[lane // LANES].ordinary, lane % LANES) == 0:
            walk.after_panel(slices, first + lane, thread_buffer(SPARE_BUFFER))


cdef void walk_panels(const Slices *slices, const Walk *walk) noexcept nogil:
    """Slices that are_columns."""
    cdef Py_ssize_t first = 0
    cdef int width
    while slices.count - first >= LANES:
        width = <int> min((slices.count - first) // LANES, <Py_ssize_t> PANEL)
        walk_panel(slices, first, width, True, walk)
        first += width * LANES
    if first < slices.count:
        walk_panel(slices, first, 1, False, walk)


cdef void fill_with_nan(const Slices *slices, Py_ssize_t i, char *scratch) noexcept nogil:
    """What is left to do after a panel: whoever has no finite sum is NaN."""
    cdef Slice s = take_slice(slices, i)
    deliver_value(&s, 0, slices.length, scratch, NAN, 0)
