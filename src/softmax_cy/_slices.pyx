"""Arrays to kernels: where layout, threads and a kernel that works on slices meet.

An operation is a `Task`: a context that outlives it and a C function that works on a range of slices. Layout and
threads do not know what the operation is.
"""

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport STREAM_ABOVE, choose_table, estimate_time, unwrap_result
from softmax_cy._call cimport Call, FindKernels, Kernels, separate
from softmax_cy._long cimport is_worth_sharing, share_slice
from softmax_cy.kernels.table cimport Elements, Slices

cnp.import_array()

# Estimated nanoseconds for a float32 element on one thread.
cdef double SLICES_COST = 0.3


cdef struct SliceWork:
    Kernels kernels
    Slices slices           # of the first slice
    _layout.Outer outer
    Elements[_layout.OPERANDS] elements     # of x, out and the third operand


cdef inline void move_to(Slices *slices, const SliceWork *work, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Make of a copy of work.slices as many slices, from `begin` on, as lie one stride apart."""
    cdef _layout.Series series
    _layout.find_series(&work.outer, begin, end, &series)
    slices.x = work.slices.x + series.offset[0]
    slices.out = work.slices.out + series.offset[1]
    slices.x_next = series.stride[0]
    slices.out_next = series.stride[1]
    # There is at most one of these two: it is the third operand.
    if slices.mask != NULL:
        slices.mask = work.slices.mask + series.offset[2]
        slices.mask_next = series.stride[2]
    elif slices.y != NULL:
        slices.y = work.slices.y + series.offset[2]
        slices.y_next = series.stride[2]
    slices.count = series.count


cdef void compute_slices(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Be a task whose items are slices."""
    cdef const SliceWork *work = <const SliceWork *> context
    cdef Slices slices = work.slices
    while begin < end:
        move_to(&slices, work, begin, end)
        work.kernels.whole(&slices)
        begin += slices.count


cdef void share_each_slice(const SliceWork *work, double nanoseconds, int threads) noexcept nogil:
    """Compute slices that are fewer than the threads. Each takes one thread about `nanoseconds`."""
    cdef Slices slices = work.slices
    cdef Py_ssize_t i
    for i in range(work.outer.count):
        move_to(&slices, work, i, i + 1)
        if not share_slice(work.kernels.shared, &slices, nanoseconds, threads):
            work.kernels.whole(&slices)


cdef int run_slices(
    const Call *call, FindKernels find_kernels, ndarray x, ndarray y, ndarray mask, ndarray out
) except -1:
    """Compute the slices of x. y and mask have its shape or are None, and at least one of them is None.

    `out` has the shape of x, or that without the axes of a slice. It must not overlap an operand partly.
    """
    cdef SliceWork work
    cdef double nanoseconds, each
    cdef ndarray third = y if y is not None else mask
    if cnp.PyArray_SIZE(x) == 0:
        return 0
    if x.ndim == 0:
        x = x.reshape(1)
        out = out.reshape(1)
        third = None if third is None else third.reshape(1)
    work.kernels = find_kernels(choose_table(call.computed))
    work.slices.x = cnp.PyArray_BYTES(x)
    work.slices.out = cnp.PyArray_BYTES(out)
    work.slices.y = NULL if y is None else cnp.PyArray_BYTES(y)
    work.slices.mask = NULL if mask is None else cnp.PyArray_BYTES(mask)
    work.slices.length = _layout.measure_slice(x, call.axes)
    work.slices.x_elements = &work.elements[0]
    work.slices.out_elements = &work.elements[1]
    work.slices.y_elements = work.slices.mask_elements = &work.elements[2]
    work.slices.scale = call.scale
    work.slices.stream = (
        x.data != out.data and (y is None or y.data != out.data)
        and cnp.PyArray_NBYTES(x) + cnp.PyArray_NBYTES(out) > STREAM_ABOVE)
    _layout.describe_elements(&work.elements[0], x, call.axes)
    _layout.describe_elements(&work.elements[1], out, call.axes if out.ndim == x.ndim else 0)
    work.slices.y_kind = 0
    if third is not None:
        _layout.describe_elements(&work.elements[2], third, call.axes)
        work.slices.y_kind = work.elements[2].kind
    _layout.describe_outer(&work.outer, x, out, third, None, call.axes)
    nanoseconds = estimate_time(SLICES_COST, cnp.PyArray_SIZE(x), call.computed)
    if work.outer.count == 1 and nanoseconds < _threads.RELEASE_GIL_ABOVE:
        # What follows would do the same, and a vector of ten elements would take a twentieth more time.
        work.slices.count = 1
        work.slices.x_next = work.slices.out_next = work.slices.y_next = work.slices.mask_next = 0
        work.kernels.whole(&work.slices)
        return 0
    each = nanoseconds / work.outer.count
    if (
        work.kernels.shared != NULL and work.outer.count < call.threads
        and is_worth_sharing(work.slices.length, each, call.threads)
    ):
        with nogil:
            share_each_slice(&work, each, call.threads)
    else:
        _threads.run(compute_slices, &work, work.outer.count, call.threads, nanoseconds)
    return 0


cdef object compute(
    const Call *call, FindKernels find_kernels, ndarray x, ndarray y, ndarray mask, ndarray result, object out,
    bint in_place,
):
    """Compute the slices of a call whose result is made, and return what the caller gets."""
    if out is not None:
        x = separate(x, result, in_place)
        if y is not None:
            y = separate(y, result, in_place)
        if mask is not None:
            mask = separate(mask, result, False)
    run_slices(call, find_kernels, x, y, mask, result)
    return unwrap_result(result, out)
