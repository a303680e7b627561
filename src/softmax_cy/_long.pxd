from softmax_cy.kernels.table cimport LongKernels, Slices

cdef bint pays(const LongKernels *long_, Py_ssize_t length, double nanoseconds, int threads) noexcept
cdef bint run_long(const LongKernels *long_, const Slices *slices, double nanoseconds, int threads) noexcept
