cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy cimport _table
from softmax_cy.kernels.table cimport KernelTable


# Bytes read and written in one call: more than this, and the end of the result would push its beginning out of the
# cache anyway.
cdef Py_ssize_t STREAM_ABOVE

cdef ndarray native_floats(object x, str name)
cdef double checked_scale(object scale, ndarray floats) except -1
cdef object result_dtype(object x, ndarray floats)
cdef int check_out(object out, tuple shape, object dtype) except -1
cdef ndarray writable(object out, int ndim, const cnp.npy_intp *shape, object x, ndarray floats)
cdef object delivered(ndarray result, object out, object x, ndarray floats)
cdef ndarray empty(int ndim, const cnp.npy_intp *shape, int kind)
cdef bint is_half(cnp.dtype dtype)


cdef inline const KernelTable *kernels_for(ndarray array) noexcept:
    return _table.float32_kernels if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT else _table.float64_kernels


cdef inline double cost(double nanoseconds, ndarray array) noexcept:
    """Of an array, from that of a float32 element."""
    return nanoseconds * cnp.PyArray_SIZE(array) * (cnp.PyArray_ITEMSIZE(array) // 4)
