"""What every function of the face does with its arguments and its result.

Design:
1. Everything is checked before anything is written.
2. Arguments are converted first, which may run any code of theirs. Only then are arrays looked at, by their C struct,
   and from then on no code of theirs is run: it could change what has been checked.
3. A call of the usual kind (an exact ndarray, native floats, no `out`) runs through the C API of NumPy alone: for a
   vector of ten elements the way to the kernel costs more than the kernel.
4. No array is converted here. Kernels read elements of any kind, block by block, and round 16-bit results themselves.
"""

import numpy as np

from softmax_cy import _cpu

from libc.math cimport INFINITY

cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy._layout cimport overlaps_itself
from softmax_cy.kernels.table cimport MAX_NDIM

cnp.import_array()

STREAM_ABOVE = _cpu.cache_bytes()


cdef object converted(object x, str name):
    """What any_array makes of anything but an ndarray."""
    refuse_what_is_elsewhere(x, name)
    array = np.asanyarray(x)
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array: give {name}.filled(value), or {name}.data with where=~{name}.mask")
    return array


cdef object refuse_what_is_elsewhere(object x, str name):
    """Raise for what NumPy would compute or fetch in silence. It is told by its looks: nothing is imported."""
    cdef str library = str(getattr(type(x), "__module__", "")).partition(".")[0]
    cdef str kind = f"{library}.{type(x).__name__}"
    if library == "cupy":
        raise TypeError(f"{name} is a {kind}, in the memory of a GPU: call cupy.asnumpy({name}) first")
    # An xarray.DataArray has the method too, and None for what lies in memory.
    if hasattr(type(x), "__dask_graph__") and x.__dask_graph__() is not None:
        raise TypeError(
            f"{name} is a lazy {kind}, all of which would be computed and held in memory: call {name}.compute() first, "
            "or map the function over its blocks (map_blocks), along an axis with one block")


cdef ndarray without_class(object array):
    return ndarray.view(array, ndarray)


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
    cdef cnp.npy_intp[MAX_NDIM] lengths
    cdef int d
    for d in range(len(shape)):
        lengths[d] = shape[d]
    cdef ndarray result = result_array(out, <int> len(shape), lengths, computed, half, name)
    return result if out is None else out


cdef ndarray empty(int ndim, const cnp.npy_intp *shape, int kind):
    return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *> shape, kind, 0)


cdef ndarray result_array(
    object out, int ndim, const cnp.npy_intp *shape, int computed, object half, str name
):
    """A new array, or `out` without its class, found fit for a result. `half` is half_dtype."""
    cdef ndarray array
    if out is None:
        return empty(ndim, shape, computed) if half is None else np.empty(as_tuple(ndim, shape), half)
    if not isinstance(out, ndarray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
    array = plain(out)
    if half is not None or cnp.PyArray_TYPE(array) != computed or not cnp.PyArray_ISNOTSWAPPED(array):
        dtype = half if half is not None else np.dtype(np.float32 if computed == cnp.NPY_FLOAT else np.float64)
        if array.dtype != dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, expected {dtype}")
    if array.ndim != ndim or not cnp.PyArray_CompareLists(array.shape, shape, ndim):
        raise ValueError(f"{name} has shape {(<object> array).shape}, expected {as_tuple(ndim, shape)}")
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} is read-only")
    if overlaps_itself(array):
        raise ValueError(f"{name} has elements that overlap, and only one of the results could be in them")
    return array


cdef object scalar_of(ndarray result):
    return cnp.PyArray_ToScalar(cnp.PyArray_DATA(result), result)


cdef tuple as_tuple(int ndim, const cnp.npy_intp *shape):
    return tuple([shape[d] for d in range(ndim)])


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
        # Kernels do not warn either, and a warning could run anything.
        with np.errstate(all="ignore"):
            return array.astype(wanted, copy=False), cnp.NPY_FLOAT, wanted
    return array, cnp.NPY_DOUBLE if wanted == np.float64 else cnp.NPY_FLOAT, None


cdef object mask_like(ndarray mask, ndarray array):
    """A mask as a view of the shape of `array`, or None."""
    if mask is None:
        return None
    if mask.dtype != np.bool_:
        raise TypeError(f"where has dtype {mask.dtype}, expected bool")
    try:
        return np.broadcast_to(mask, (<object> array).shape)
    except ValueError:
        raise ValueError(
            f"where has shape {(<object> mask).shape}, which does not broadcast to {(<object> array).shape}") from None


cdef double real_number(object number, str name) except? -1:
    """One that is too large is infinite. This runs code of `number`."""
    if type(number) is float:
        return number
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


cdef double checked_scale(double value, object scale, int computed) except -1:
    """The scale, of which `value` is the number, as the kernels see it."""
    if computed == cnp.NPY_FLOAT:
        value = <float> value
    if 0 < value < INFINITY:
        return value
    if (value == 0 or value == INFINITY) and scale > 0 and scale != value:
        name = "float32" if computed == cnp.NPY_FLOAT else "float64"
        raise ValueError(f"scale must be positive and finite, got {scale!r}, which {name} rounds to {value:g}")
    raise ValueError(f"scale must be positive and finite, got {scale!r}")
