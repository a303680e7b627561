"""What every function of the face does with its arguments and its result.

Design:
1. Everything is checked before anything is written.
2. A call of the usual kind (an exact ndarray, native floats, no `out`) runs through the C API of NumPy alone: for a
   vector of ten elements the way to the kernel costs more than the kernel.
3. 16-bit floats are computed in float32: `native_floats` widens them, `delivered` rounds the result, once.
"""

import numpy as np

from softmax_cy import _cpu

from libc.math cimport INFINITY

cimport numpy as cnp
from numpy cimport ndarray

cnp.import_array()

STREAM_ABOVE = _cpu.cache_bytes()


cdef ndarray native_floats(object x, str name):
    """x as an ndarray of native float32 or float64: itself if it is one already."""
    cdef ndarray array
    cdef int kind
    if type(x) is ndarray:
        array = x
    else:
        array = np.asarray(x)
    kind = cnp.PyArray_TYPE(array)
    if kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE:
        if cnp.PyArray_ISNOTSWAPPED(array):
            return array
        return array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if is_half(array.dtype):
        return array.astype(np.float32)
    raise TypeError(
        f"{name} has dtype {array.dtype}: expected float16, bfloat16, float32, float64, an integer type or bool")


cdef bint is_half(cnp.dtype dtype):
    """Whether results are computed in float32 and rounded to this dtype."""
    return dtype.kind == c"f" and dtype.itemsize == 2 or dtype.name == "bfloat16"


cdef object result_dtype(object x, ndarray floats):
    """What the caller gets: the dtype of `floats`, unless x had 16-bit floats."""
    dtype = getattr(x, "dtype", None)
    if isinstance(dtype, np.dtype) and is_half(dtype):
        return dtype.newbyteorder("=")
    return floats.dtype


cdef int check_out(object out, tuple shape, object dtype) except -1:
    if not isinstance(out, ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out has dtype {out.dtype}, expected {dtype}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return 0


cdef ndarray writable(object out, int ndim, const cnp.npy_intp *shape, object x, ndarray floats):
    """Where the kernel may write what is meant for `out`: `out`, or an array that `delivered` rounds into it."""
    cdef ndarray array
    # The usual case by the C API alone; anything else is looked at closely.
    if isinstance(out, ndarray) and floats is x:
        array = out
        if (
            cnp.PyArray_TYPE(array) == cnp.PyArray_TYPE(floats) and cnp.PyArray_ISNOTSWAPPED(array)
            and array.ndim == ndim and cnp.PyArray_CompareLists(array.shape, shape, ndim)
            and cnp.PyArray_ISWRITEABLE(array)
        ):
            return array
    check_out(out, tuple([shape[d] for d in range(ndim)]), result_dtype(x, floats))
    if cnp.PyArray_TYPE(out) == cnp.PyArray_TYPE(floats):
        return out
    return empty(ndim, shape, cnp.PyArray_TYPE(floats))


cdef object delivered(ndarray result, object out, object x, ndarray floats):
    """The result as the caller asked for it."""
    if out is None and floats is x:
        return result
    if out is None:
        dtype = result_dtype(x, result)
        return result if dtype == result.dtype else result.astype(dtype)
    if out is not result:
        out[...] = result
    return out


cdef ndarray empty(int ndim, const cnp.npy_intp *shape, int kind):
    return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *> shape, kind, 0)


cdef double checked_scale(object scale, ndarray floats) except -1:
    """The scale as the kernels of `floats` see it."""
    cdef double value
    try:
        value = scale
    except TypeError:
        raise TypeError(f"scale must be a real number, got {scale!r}") from None
    except OverflowError:
        value = INFINITY
    if cnp.PyArray_TYPE(floats) == cnp.NPY_FLOAT:
        value = <float> value
    if not 0 < value < INFINITY:
        raise ValueError(f"scale must be positive and finite, got {scale!r}")
    return value
