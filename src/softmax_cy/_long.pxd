from softmax_cy.kernels.table cimport CrossEntropySlices, LongKernel, Slices

cdef bint is_worth_sharing(Py_ssize_t length, double nanoseconds, int threads) noexcept nogil
cdef bint share_slice(const LongKernel *kernel, const Slices *slices, double nanoseconds, int threads) noexcept nogil
cdef bint share_loss(
    const LongKernel *kernel, const CrossEntropySlices *losses, double nanoseconds, int threads) noexcept nogil
