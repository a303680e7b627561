from softmax_cy.kernels.table cimport CrossEntropySlices, LongKernel, Slices

cdef bint pays(Py_ssize_t length, double nanoseconds, int threads) noexcept nogil
cdef bint run_long(const LongKernel *kernel, const Slices *slices, double nanoseconds, int threads) noexcept nogil
cdef bint run_long_loss(
    const LongKernel *kernel, const CrossEntropySlices *losses, double nanoseconds, int threads) noexcept nogil
