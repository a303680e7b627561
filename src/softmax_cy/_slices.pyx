"""Arrays to kernels: where layout, threads and a kernel that works on slices meet.

An operation is a `Task`: a context that outlives it and a C function that works on a range of slices. Layout and
threads do not know what the operation is.
"""

from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport STREAM_ABOVE, cost
from softmax_cy._long cimport pays, run_long
from softmax_cy.kernels.table cimport Elements, LongKernel, Slices, SlicesKernel

cnp.import_array()


cdef struct SliceWork:
    SlicesKernel kernel
    Slices slices           # of the first slice
    _layout.Outer outer
    Elements[_layout.OPERANDS] elements


cdef inline void move_to(Slices *slices, const SliceWork *work, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Make of a copy of work.slices as many, from `begin` on, as lie one stride apart."""
    cdef _layout.Run run
    _layout.run_at(&work.outer, begin, end, &run)
    slices.x = work.slices.x + run.offset[0]
    slices.out = work.slices.out + run.offset[1]
    slices.x_next = run.stride[0]
    slices.out_next = run.stride[1]
    # Of these two at most one is there.
    if slices.keep != NULL:
        slices.keep = work.slices.keep + run.offset[2]
        slices.keep_next = run.stride[2]
    elif slices.y != NULL:
        slices.y = work.slices.y + run.offset[2]
        slices.y_next = run.stride[2]
    slices.count = run.count


cdef void slice_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const SliceWork *work = <const SliceWork *> context
    cdef Slices slices = work.slices
    while begin < end:
        move_to(&slices, work, begin, end)
        work.kernel(&slices)
        begin += slices.count


cdef void run_long_slices(
    const SliceWork *work, const LongKernel *long_, double nanoseconds, int threads
) noexcept nogil:
    """Slices, each of `nanoseconds`, that are fewer than the threads."""
    cdef Slices slices = work.slices
    cdef Py_ssize_t i
    for i in range(work.outer.count):
        move_to(&slices, work, i, i + 1)
        if not run_long(long_, &slices, nanoseconds, threads):
            work.kernel(&slices)


cdef int run_slices(
    SlicesKernel kernel, double nanoseconds, ndarray x, ndarray out, uint64_t axes, double scale,
    ndarray y, ndarray keep, int computed, int threads, const LongKernel *long_,
) except -1:
    """`computed` is the kernel's type. y and keep may be None, and one of them is.

    y and keep with the shape of x; out too, or without the axes of a slice. No partial overlap.
    """
    cdef SliceWork work
    cdef double each
    cdef ndarray other = y if y is not None else keep
    if cnp.PyArray_SIZE(x) == 0:
        return 0
    if x.ndim == 0:
        x = x.reshape(1)
        out = out.reshape(1)
        other = None if other is None else other.reshape(1)
    work.kernel = kernel
    work.slices.x = cnp.PyArray_BYTES(x)
    work.slices.out = cnp.PyArray_BYTES(out)
    work.slices.y = cnp.PyArray_BYTES(y) if y is not None else NULL
    work.slices.keep = cnp.PyArray_BYTES(keep) if keep is not None else NULL
    work.slices.length = _layout.slice_length(x, axes)
    work.slices.x_elements = &work.elements[0]
    work.slices.out_elements = &work.elements[1]
    work.slices.y_elements = work.slices.keep_elements = &work.elements[2]
    work.slices.scale = scale
    work.slices.stream = (
        x.data != out.data and (y is None or y.data != out.data)
        and cnp.PyArray_NBYTES(x) + cnp.PyArray_NBYTES(out) > STREAM_ABOVE)
    _layout.slice_elements(&work.elements[0], x, axes)
    _layout.slice_elements(&work.elements[1], out, axes if out.ndim == x.ndim else 0)
    work.slices.y_kind = 0
    if other is not None:
        _layout.slice_elements(&work.elements[2], other, axes)
        work.slices.y_kind = work.elements[2].kind
    _layout.outer_axes(&work.outer, x, out, other, None, axes)
    nanoseconds = cost(nanoseconds, cnp.PyArray_SIZE(x), computed)
    each = nanoseconds / work.outer.count
    if work.outer.count < threads and pays(work.slices.length, each, threads):
        with nogil:
            run_long_slices(&work, long_, each, threads)
    else:
        _threads.run(slice_task, &work, work.outer.count, threads, nanoseconds)
    return 0
