cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy cimport _table
from softmax_cy.kernels.table cimport KernelTable


# Bytes read and written in one call: more than this, and the end of the result would push its beginning out of the
# cache anyway.
cdef Py_ssize_t STREAM_ABOVE

cdef object converted(object x, str name)
cdef ndarray without_class(object array)
cdef int computed_in(ndarray array, str name) except -1
cdef bint is_half(cnp.dtype dtype)
cdef object half_dtype(ndarray array, int computed)
cdef ndarray array_for(object out, tuple shape, int computed, object half, str name)
cdef ndarray empty(int ndim, const cnp.npy_intp *shape, int kind)
cdef ndarray result_array(
    object out, int ndim, const cnp.npy_intp *shape, int computed, object half, str name
)
cdef object scalar_of(ndarray result)
cdef object checked_dtype(object dtype)
cdef tuple as_dtype(ndarray array, object wanted)
cdef object mask_like(ndarray mask, ndarray array)
cdef double real_number(object number, str name) except? -1
cdef double checked_scale(double value, object scale, int computed) except -1


# A call of the usual kind passes through these: they are inline for it.

cdef inline object any_array(object x, str name):
    """`x` as an array of any class. This runs code of `x`."""
    return x if type(x) is ndarray else converted(x, name)


cdef inline ndarray plain(object array):
    """The array without its class, whose methods could be anything. Another call of any_array could make it stale."""
    return <ndarray> array if type(array) is ndarray else without_class(array)


cdef inline object returned(ndarray result, object out):
    """What the caller gets for a result_array: `out`, or a scalar where the result has no axes, as from NumPy."""
    if out is not None:
        return out
    return result if result.ndim else scalar_of(result)


cdef inline const KernelTable *kernels_for(int computed) noexcept:
    return _table.float32_kernels if computed == cnp.NPY_FLOAT else _table.float64_kernels


cdef inline double cost(double nanoseconds, Py_ssize_t elements, int computed) noexcept:
    """Of a call, from that of a float32 element."""
    return nanoseconds * elements * (1 if computed == cnp.NPY_FLOAT else 2)
