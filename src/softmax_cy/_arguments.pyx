"""What every function of the face does with its arguments and its result.

Design:
1. Everything is checked before anything is written.
2. A call of the usual kind (an exact ndarray, native floats, no `out`) runs through the C API of NumPy alone: for a
   vector of ten elements the way to the kernel costs more than the kernel.
3. No array is converted here. Kernels read elements of any kind, block by block, and round 16-bit results themselves.
"""

import numpy as np

from softmax_cy import _cpu

from libc.math cimport INFINITY

cimport numpy as cnp
from numpy cimport ndarray

cnp.import_array()

STREAM_ABOVE = _cpu.cache_bytes()


cdef ndarray as_array(object x):
    return x if type(x) is ndarray else np.asarray(x)


cdef int computed_in(ndarray array, str name) except -1:
    """The type that results for this array are computed in: NPY_FLOAT or NPY_DOUBLE."""
    cdef int kind = cnp.PyArray_TYPE(array)
    if kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE:
        return kind
    if cnp.PyTypeNum_ISINTEGER(kind) or cnp.PyTypeNum_ISBOOL(kind):
        return cnp.NPY_DOUBLE
    if is_half(array.dtype):
        return cnp.NPY_FLOAT
    raise TypeError(
        f"{name} has dtype {array.dtype}: expected float16, bfloat16, float32, float64, an integer type or bool")


cdef bint is_half(cnp.dtype dtype):
    """Whether results are computed in float32 and rounded to this dtype."""
    return dtype.kind == c"f" and dtype.itemsize == 2 or dtype.name == "bfloat16"


cdef object half_dtype(ndarray array, int computed):
    """The 16-bit dtype that results for this array are rounded to, or None."""
    if computed == cnp.NPY_DOUBLE or cnp.PyArray_TYPE(array) == computed:
        return None
    return array.dtype.newbyteorder("=")


cdef ndarray array_for(object out, tuple shape, int computed, object half, str name):
    """`out`, found fit for a result, or a new array. `half` is half_dtype."""
    if half is not None:
        dtype = half
    else:
        dtype = np.dtype(np.float32 if computed == cnp.NPY_FLOAT else np.float64)
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, ndarray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, expected {dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, expected {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return out


cdef ndarray empty(int ndim, const cnp.npy_intp *shape, int kind):
    return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *> shape, kind, 0)


cdef ndarray result_array(
    object out, int ndim, const cnp.npy_intp *shape, int computed, object half, str name
):
    """array_for, by the C API alone in the usual case."""
    cdef ndarray array
    if half is None:
        if out is None:
            return empty(ndim, shape, computed)
        if isinstance(out, ndarray):
            array = out
            if (
                cnp.PyArray_TYPE(array) == computed and cnp.PyArray_ISNOTSWAPPED(array)
                and array.ndim == ndim and cnp.PyArray_CompareLists(array.shape, shape, ndim)
                and cnp.PyArray_ISWRITEABLE(array)
            ):
                return array
    return array_for(out, tuple([shape[d] for d in range(ndim)]), computed, half, name)


cdef object checked_dtype(object dtype):
    """What a caller wants the input to be rounded to first, in the machine's byte order, or None."""
    if dtype is None:
        return None
    wanted = np.dtype(dtype).newbyteorder("=")
    if not (is_half(wanted) or wanted in (np.dtype(np.float32), np.dtype(np.float64))):
        raise TypeError(f"dtype is {wanted}: expected float16, bfloat16, float32 or float64")
    return wanted


cdef tuple as_dtype(ndarray array, object wanted):
    """The array, the type to compute in and `half_dtype`, for an array that is rounded to a checked dtype first.

    Kernels round what they read to their own type, so only a 16-bit dtype needs another array.
    """
    if is_half(wanted):
        return array.astype(wanted, copy=False), cnp.NPY_FLOAT, wanted
    return array, cnp.NPY_DOUBLE if wanted == np.float64 else cnp.NPY_FLOAT, None


cdef object mask_like(object where, ndarray array):
    """`where` as a view of the shape of `array`, or None."""
    if where is None:
        return None
    mask = np.asarray(where)
    if mask.dtype != np.bool_:
        raise TypeError(f"where has dtype {mask.dtype}, expected bool")
    try:
        return np.broadcast_to(mask, (<object> array).shape)
    except ValueError:
        raise ValueError(
            f"where has shape {mask.shape}, which does not broadcast to {(<object> array).shape}") from None


cdef double real_number(object number, str name) except? -1:
    """One that is too large is infinite."""
    if type(number) is not float and type(number) is not int:
        # NumPy would make numbers of complex ones, of strings and of arrays.
        array = np.asarray(number)
        if array.ndim or not (array.dtype.kind in "biufO" or is_half(array.dtype)):
            raise TypeError(f"{name} must be a real number, got {number!r}")
    try:
        return number
    except TypeError:
        raise TypeError(f"{name} must be a real number, got {number!r}") from None
    except OverflowError:
        return INFINITY


cdef double checked_scale(object scale, int computed) except -1:
    """The scale as the kernels see it."""
    cdef double value = <double> scale if type(scale) is float else real_number(scale, "scale")
    if computed == cnp.NPY_FLOAT:
        value = <float> value
    if not 0 < value < INFINITY:
        raise ValueError(f"scale must be positive and finite, got {scale!r}")
    return value
