cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy cimport _table
from softmax_cy.kernels.table cimport KernelTable


# Bytes read and written in one call: more than this, and the end of the result would push its beginning out of the
# cache anyway.
cdef Py_ssize_t STREAM_ABOVE

cdef ndarray convert_other_array(object x, str name)
cdef ndarray view_as_ndarray(ndarray array)
cdef int find_computed_type(ndarray array, str name) except -1
cdef object find_half_dtype(ndarray array)
cdef object convert_to_scalar(ndarray result)
cdef bint is_half(cnp.dtype dtype)
cdef object read_dtype(object dtype)
cdef ndarray broadcast_mask(ndarray mask, ndarray array)
cdef double read_other_number(object number, str name) except? -1
cdef double check_scale(double value, object scale, int computed) except -1


# A call of the usual kind passes through these functions. They are inline for it.

cdef inline ndarray convert_array(object x, str name):
    """Return `x` as an array of any class. This runs code of `x`."""
    return <ndarray> x if type(x) is ndarray else convert_other_array(x, name)


cdef inline double read_number(object number, str name) except? -1:
    """Return a real number. One that is too large becomes infinite. This runs code of `number`."""
    return <double> number if type(number) is float else read_other_number(number, name)


cdef inline ndarray drop_subclass(ndarray array):
    """Return a view of the array without its class, whose methods could do anything.

    The view must not outlive another call of convert_array, whose code could resize the array.
    """
    return array if type(array) is ndarray else view_as_ndarray(array)


cdef inline bint rounds_to_half(ndarray array, int computed) noexcept:
    """Tell whether results for this array, which are computed in this type, are rounded to its 16-bit dtype."""
    return computed == cnp.NPY_FLOAT and cnp.PyArray_TYPE(array) != computed


cdef inline object unwrap_result(ndarray result, object out):
    """Return what the caller gets: `out` if it was given, a scalar if the result has no axes, as NumPy does."""
    if out is not None:
        return out
    return result if result.ndim else convert_to_scalar(result)


cdef inline const KernelTable *choose_table(int computed) noexcept:
    """Return the kernels that compute in this type."""
    return _table.float32_kernels if computed == cnp.NPY_FLOAT else _table.float64_kernels


cdef inline double estimate_time(double nanoseconds, Py_ssize_t elements, int computed) noexcept:
    """Return the nanoseconds that a call takes on one thread, from those of a float32 element."""
    return nanoseconds * elements * (1 if computed == cnp.NPY_FLOAT else 2)
