from softmax_cy.kernels.table cimport LongKernels, Slices, SlicesKernel

cdef void run_long(
    SlicesKernel kernel, const LongKernels *long_, const Slices *slices, double nanoseconds, int threads) noexcept
