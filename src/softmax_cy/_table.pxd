from softmax_cy.kernels.table cimport KernelTable

cdef const KernelTable *float32_kernels
cdef const KernelTable *float64_kernels
