"""One slice over several threads: passes that share it, and what they tell each other.

Where the passes of one thread would keep the exponentials, those of logarithms compute them again: it pays from two
threads on.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

cimport softmax_cy._threads as _threads
from softmax_cy.kernels.table cimport BlockSum, CrossEntropySlices, LongKernel, LongSlice, Pass, Slices


cdef enum:
    PASSES = 3              # as a rule: a pass takes such a part of the time
    WORTH_SHARING = 4096    # elements


cdef struct PassWork:
    Pass pass_
    const LongSlice *long_


cdef void pass_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const PassWork *work = <const PassWork *> context
    work.pass_(work.long_, begin, end)


cdef bint pays(Py_ssize_t length, double nanoseconds, int threads) noexcept nogil:
    """Whether a slice that one thread would take about `nanoseconds` for is worth several."""
    return _threads.worthwhile(threads, length // WORTH_SHARING, nanoseconds / PASSES) > 1


cdef bint run_long(const LongKernel *kernel, const Slices *slices, double nanoseconds, int threads) noexcept nogil:
    """One slice, of `nanoseconds` for one thread. False: it is left to the kernel for slices."""
    return run_passes(kernel, slices, NULL, slices.length, nanoseconds, threads)


cdef bint run_long_loss(
    const LongKernel *kernel, const CrossEntropySlices *losses, double nanoseconds, int threads
) noexcept nogil:
    """The same with a loss."""
    return run_passes(kernel, NULL, losses, losses.length, nanoseconds, threads)


cdef bint run_passes(
    const LongKernel *kernel, const Slices *slices, const CrossEntropySlices *losses, Py_ssize_t length,
    double nanoseconds, int threads,
) noexcept nogil:
    cdef LongSlice long_
    cdef PassWork work
    memset(&long_, 0, sizeof(LongSlice))
    long_.slices = slices
    long_.losses = losses
    long_.block = kernel.block
    long_.sums = <BlockSum *> malloc((length // kernel.block + 1) * sizeof(BlockSum))
    if long_.sums == NULL:
        return False
    work.long_ = &long_
    work.pass_ = kernel.next_pass(&long_)
    while work.pass_ != NULL:
        _threads.share_out(pass_task, &work, (length + long_.block - 1) // long_.block, threads, nanoseconds / PASSES)
        work.pass_ = kernel.next_pass(&long_)
    free(long_.sums)
    return not long_.refused
