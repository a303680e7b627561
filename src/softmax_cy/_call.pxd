cimport numpy as cnp
from libc.stdint cimport uint64_t
from numpy cimport ndarray

from softmax_cy.kernels.table cimport KernelTable, LongKernel, SlicesKernel


cdef struct Call:
    # What is read of the arguments of a call, but for the arrays.
    int threads         # at most
    int computed        # the type that results are computed in: NPY_FLOAT or NPY_DOUBLE
    bint half           # results are rounded to the 16-bit dtype of x
    bint keepdims       # the axes of a slice stay, with length one
    double scale
    uint64_t axes       # of a slice


cdef struct Kernels:
    # What computes one operation: on whole slices, and on a slice that several threads share.
    SlicesKernel whole
    const LongKernel *shared    # or NULL


# An operation is known by the function that finds its kernels.
ctypedef Kernels (*FindKernels)(const KernelTable *table) noexcept

# What is left of a call on logits once they are read: make room for the results, and compute them.
ctypedef object (*Finish)(const Call *call, FindKernels find_kernels, ndarray x, ndarray mask, object out)

cdef object call_on_logits(
    Finish finish, FindKernels find_kernels, object x, object axis, object scale, object where, object dtype,
    object keepdims, int results, object out, object num_threads,
)
cdef int read_x(Call *call, ndarray x, str name, object axis) except -1
cdef ndarray round_x(Call *call, ndarray x, object dtype)
cdef ndarray make_result(
    const Call *call, ndarray x, object out, int ndim, const cnp.npy_intp *shape, str name
)
cdef ndarray separate(ndarray operand, ndarray result, bint in_place)
