from numpy cimport ndarray

from softmax_cy._call cimport Call, FindKernels

cdef int run_slices(
    const Call *call, FindKernels find_kernels, ndarray x, ndarray y, ndarray mask, ndarray out) except -1
cdef object compute(
    const Call *call, FindKernels find_kernels, ndarray x, ndarray y, ndarray mask, ndarray result, object out,
    bint in_place,
)
