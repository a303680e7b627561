"""One slice over several threads: three passes, each shared, and what they tell each other.

Where the passes of one thread would keep the exponentials, these compute them again: it pays from two threads on.
"""

from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc

cimport softmax_cy._threads as _threads
from softmax_cy.kernels.table cimport BlockSum, LongKernels, Slices, SlicesKernel, Stretch, StretchKernel


cdef enum:
    PASSES = 3


cdef struct LongWork:
    SlicesKernel whole
    StretchKernel kernel
    const Slices *slices
    double top
    BlockSum *sums


cdef void stretch_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const LongWork *work = <const LongWork *> context
    cdef Stretch stretch = Stretch(slices=work.slices, begin=begin, end=end, top=work.top, sums=work.sums)
    work.kernel(&stretch)


cdef void largest_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """The largest element of each stretch is left in the first of its sums."""
    cdef const LongWork *work = <const LongWork *> context
    cdef Stretch stretch = Stretch(slices=work.slices, begin=begin, end=end, top=0, sums=NULL)
    work.kernel(&stretch)
    work.sums[begin].hi = stretch.top


cdef void whole_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const LongWork *work = <const LongWork *> context
    work.whole(work.slices)


cdef void run_long(
    SlicesKernel kernel, const LongKernels *long_, const Slices *slices, double nanoseconds, int threads
) noexcept:
    """What `kernel` does to one slice, in about `nanoseconds`."""
    cdef Py_ssize_t blocks = (slices.length + long_.block - 1) // long_.block, b
    cdef LongWork work = LongWork(
        whole=kernel, kernel=long_.largest, slices=slices, top=-INFINITY, sums=NULL)
    threads = _threads.worthwhile(threads, blocks, nanoseconds / PASSES)
    if threads > 1:
        work.sums = <BlockSum *> malloc(blocks * sizeof(BlockSum))
    if work.sums != NULL:
        for b in range(blocks):
            work.sums[b].hi = -INFINITY
        _threads.run(largest_task, &work, blocks, threads, nanoseconds / PASSES)
        for b in range(blocks):
            work.top = max(work.top, work.sums[b].hi)
    if -INFINITY < work.top < INFINITY:
        work.kernel = long_.terms
        _threads.run(stretch_task, &work, blocks, threads, nanoseconds / PASSES)
        work.kernel = long_.finish
        _threads.run(stretch_task, &work, blocks, threads, nanoseconds / PASSES)
    else:
        _threads.run(whole_task, &work, 1, 1, nanoseconds)
    free(work.sums)
