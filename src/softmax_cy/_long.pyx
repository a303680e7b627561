"""Several threads compute one slice, in passes that share it and tell each other what they found.

One thread by itself would keep the exponentials between its passes. The shared passes of logarithms compute them again,
which pays from two threads on.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

cimport softmax_cy._threads as _threads
from softmax_cy.kernels.table cimport BlockSum, CrossEntropySlices, LongKernel, LongSlice, Pass, Slices


cdef enum:
    PASSES = 3              # as a rule: each takes such a part of the time
    WORTH_SHARING = 4096    # elements


cdef struct PassWork:
    Pass pass_
    const LongSlice *long_


cdef void compute_blocks(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Be a task whose items are the blocks of one slice."""
    cdef const PassWork *work = <const PassWork *> context
    work.pass_(work.long_, begin, end)


cdef bint is_worth_sharing(Py_ssize_t length, double nanoseconds, int threads) noexcept nogil:
    """Tell whether several threads pay for a slice that one thread would compute in about `nanoseconds`."""
    return _threads.limit_to_worthwhile(threads, length // WORTH_SHARING, nanoseconds / PASSES) > 1


cdef bint share_slice(const LongKernel *kernel, const Slices *slices, double nanoseconds, int threads) noexcept nogil:
    """Compute one slice that would take one thread about `nanoseconds`. False leaves it to the kernel for slices."""
    return run_passes(kernel, slices, NULL, slices.length, nanoseconds, threads)


cdef bint share_loss(
    const LongKernel *kernel, const CrossEntropySlices *losses, double nanoseconds, int threads
) noexcept nogil:
    """Do the same for one slice and its loss."""
    return run_passes(kernel, NULL, losses, losses.length, nanoseconds, threads)


cdef bint run_passes(
    const LongKernel *kernel, const Slices *slices, const CrossEntropySlices *losses, Py_ssize_t length,
    double nanoseconds, int threads,
) noexcept nogil:
    """Run one pass after the other until the kernel has no next one. False: nothing is written."""
    cdef LongSlice long_
    cdef PassWork work
    cdef Py_ssize_t blocks
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
        blocks = (length + long_.block - 1) // long_.block
        _threads.share_out(compute_blocks, &work, blocks, threads, nanoseconds / PASSES)
        work.pass_ = kernel.next_pass(&long_)
    free(long_.sums)
    return not long_.refused
