"""Each argument by itself: how it is converted, and what is wrong with it. `_call.pyx` says in which order.

Design:
1. Everything is checked before anything is written.
2. Arguments are converted first, which may run any code of theirs. Only then are arrays looked at, by their C struct.
   From then on no code of theirs is run, because it could change what has been checked.
3. A call of the usual kind (an exact ndarray, native floats, no `out`) uses the C API of NumPy alone: for a vector of
   ten elements the way to the kernel costs more than the kernel.
4. No array is converted here. Kernels read elements of any kind, block by block, and round 16-bit results themselves.
"""

import numpy as np

from softmax_cy import _cpu

from libc.math cimport INFINITY

cimport numpy as cnp
from numpy cimport ndarray

cnp.import_array()

STREAM_ABOVE = _cpu.cache_bytes()


cdef ndarray convert_other_array(object x, str name):
    """Do the work of convert_array for all but an exact ndarray."""
    refuse_what_is_elsewhere(x, name)
    array = np.asanyarray(x)
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array: give {name}.filled(value), or {name}.data with where=~{name}.mask")
    return array


cdef object refuse_what_is_elsewhere(object x, str name):
    """Refuse what NumPy would compute or fetch in silence. The name of its class tells: nothing is imported."""
    cdef str library = str(getattr(type(x), "__module__", "")).partition(".")[0]
    cdef str kind = f"{library}.{type(x).__name__}"
    if library == "cupy":
        raise TypeError(f"{name} is a {kind}, in the memory of a GPU: call cupy.asnumpy({name}) first")
    # An xarray.DataArray has the method too, and returns None for what lies in memory.
    if hasattr(type(x), "__dask_graph__") and x.__dask_graph__() is not None:
        raise TypeError(
            f"{name} is a lazy {kind}, all of which would be computed and held in memory: call {name}.compute() first, "
            "or map the function over its blocks (map_blocks), along an axis with one block")


cdef ndarray view_as_ndarray(ndarray array):
    """Do the work of drop_subclass for all but an exact ndarray."""
    return ndarray.view(array, ndarray)


cdef int find_computed_type(ndarray array, str name) except -1:
    """Return the type that results for this array are computed in: NPY_FLOAT or NPY_DOUBLE."""
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
    """Tell whether results of this dtype are computed in float32 and rounded."""
    return dtype.kind == c"f" and dtype.itemsize == 2 or dtype.name == "bfloat16"


cdef object find_half_dtype(ndarray array):
    """Return the 16-bit dtype of this array in the machine's byte order: that of results."""
    return array.dtype.newbyteorder("=")


cdef object convert_to_scalar(ndarray result):
    """Return the element of a 0-d array as a NumPy scalar."""
    return cnp.PyArray_ToScalar(cnp.PyArray_DATA(result), result)


cdef object read_dtype(object dtype):
    """Return the dtype that the caller wants x to be rounded to, in the machine's byte order."""
    wanted = np.dtype(dtype).newbyteorder("=")
    if not (is_half(wanted) or wanted in (np.dtype(np.float32), np.dtype(np.float64))):
        raise TypeError(f"dtype is {wanted}: expected float16, bfloat16, float32 or float64")
    return wanted


cdef ndarray broadcast_mask(ndarray mask, ndarray array):
    """Return a view of the mask with the shape of the array."""
    if not cnp.PyTypeNum_ISBOOL(cnp.PyArray_TYPE(mask)):
        raise TypeError(f"where has dtype {mask.dtype}, expected bool")
    if mask.ndim == array.ndim and cnp.PyArray_CompareLists(mask.shape, array.shape, mask.ndim):
        return mask
    try:
        return np.broadcast_to(mask, (<object> array).shape)
    except ValueError:
        raise ValueError(
            f"where has shape {(<object> mask).shape}, which does not broadcast to {(<object> array).shape}") from None


cdef double read_other_number(object number, str name) except? -1:
    """Do the work of read_number for all but an exact float."""
    if type(number) is not int:
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


cdef double check_scale(double value, object scale, int computed) except -1:
    """Return `value`, the number that `scale` is, as the kernels see it."""
    if computed == cnp.NPY_FLOAT:
        value = <float> value
    if 0 < value < INFINITY:
        return value
    if (value == 0 or value == INFINITY) and scale > 0 and scale != value:
        name = "float32" if computed == cnp.NPY_FLOAT else "float64"
        raise ValueError(f"scale must be positive and finite, got {scale!r}, which {name} rounds to {value:g}")
    raise ValueError(f"scale must be positive and finite, got {scale!r}")
