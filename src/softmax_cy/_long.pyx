"""One slice over several threads: three or four passes, each shared, and what they tell each other.

Where the passes of one thread would keep the exponentials, these compute them again: it pays from two threads on.
"""

from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc

cimport softmax_cy._threads as _threads
from softmax_cy.kernels.table cimport BlockSum, LongKernels, Slices, Stretch, StretchKernel


cdef enum:
    PASSES = 3


cdef struct LongWork:
    StretchKernel kernel
    const Slices *slices
    double top
    BlockSum *sums
    bint below_top


cdef inline Stretch stretch_of(const LongWork *work, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    return Stretch(
        slices=work.slices, begin=begin, end=end, top=work.top, sums=work.sums, below_top=work.below_top)


cdef void stretch_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const LongWork *work = <const LongWork *> context
    cdef Stretch stretch = stretch_of(work, begin, end)
    work.kernel(&stretch)


cdef void largest_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """The largest element of each stretch is left in the first of its sums."""
    cdef const LongWork *work = <const LongWork *> context
    cdef Stretch stretch = stretch_of(work, begin, end)
    work.kernel(&stretch)
    work.sums[begin].hi = stretch.top


cdef inline Py_ssize_t blocks_in(const LongKernels *long_, Py_ssize_t length) noexcept:
    return (length + long_.block - 1) // long_.block


cdef bint pays(const LongKernels *long_, Py_ssize_t length, double nanoseconds, int threads) noexcept:
    """Whether a slice that one thread would take about `nanoseconds` for is worth several."""
    return _threads.worthwhile(threads, blocks_in(long_, length), nanoseconds / PASSES) > 1


cdef bint run_long(const LongKernels *long_, const Slices *slices, double nanoseconds, int threads) noexcept:
    """One slice, of `nanoseconds` for one thread. False: it has no finite largest element, or there is no memory."""
    cdef Py_ssize_t blocks = blocks_in(long_, slices.length), b
    cdef LongWork work = LongWork(kernel=long_.largest, slices=slices, top=-INFINITY, sums=NULL, below_top=False)
    cdef Stretch all_
    cdef bint has_largest
    work.sums = <BlockSum *> malloc(blocks * sizeof(BlockSum))
    if work.sums == NULL:
        return False
    for b in range(blocks):
        work.sums[b].hi = -INFINITY
    _threads.run(largest_task, &work, blocks, threads, nanoseconds / PASSES)
    for b in range(blocks):
        work.top = max(work.top, work.sums[b].hi)
    has_largest = -INFINITY < work.top < INFINITY
    if has_largest:
        work.kernel = long_.terms
        _threads.run(stretch_task, &work, blocks, threads, nanoseconds / PASSES)
        if long_.has_few_others != NULL:
            all_ = stretch_of(&work, 0, blocks)
            if long_.has_few_others(&all_):
                work.kernel = long_.terms_below_top
                work.below_top = True
                _threads.run(stretch_task, &work, blocks, threads, nanoseconds / PASSES)
        work.kernel = long_.finish
        _threads.run(stretch_task, &work, blocks, threads, nanoseconds / PASSES)
    free(work.sums)
    return has_largest
