from libc.stdint cimport uint64_t
from numpy cimport ndarray

from softmax_cy.kernels.table cimport LongKernel, SlicesKernel


cdef int run_slices(
    SlicesKernel kernel, double nanoseconds, ndarray x, ndarray out, uint64_t axes, double scale,
    ndarray y, ndarray keep, int computed, int threads, const LongKernel *long_,
) except -1
