from softmax_cy._call cimport Kernels
from softmax_cy.kernels.table cimport KernelTable

cdef Kernels find_softmax_kernels(const KernelTable *table) noexcept
