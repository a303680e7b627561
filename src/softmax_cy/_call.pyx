"""The path of every call: convert its arguments, read them, make room for the result, run a kernel.

`call_on_logits` is that path for what starts from the logits. The other families take the same steps in the same order.
`_arguments.pyx` says why they come in this order.
"""

import numpy as np

cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy._arguments cimport (
    broadcast_mask,
    check_scale,
    convert_array,
    drop_subclass,
    find_computed_type,
    find_half_dtype,
    is_half,
    read_dtype,
    read_number,
    rounds_to_half,
)
from softmax_cy._layout cimport may_overlap, overlap_partly, overlaps_itself, read_axes, read_axis, resolve_axes
from softmax_cy._threads cimport read_threads

cnp.import_array()


cdef object call_on_logits(
    Finish finish, FindKernels find_kernels, object x, object axis, object scale, object where, object dtype,
    object keepdims, int results, object out, object num_threads,
):
    """Convert the arguments, read all but `out`, and leave the rest of the call to `finish`.

    A function with two results takes one axis alone, and two arrays for `out`.
    """
    cdef Call call
    cdef ndarray array, mask = None
    call.threads = read_threads(num_threads)
    array = convert_array(x, "x")
    if where is not None:
        mask = convert_array(where, "where")
    axis = read_axes(axis) if results == 1 else read_axis(axis)
    if dtype is not None:
        dtype = read_dtype(dtype)
    call.scale = read_number(scale, "scale")
    call.keepdims = keepdims
    if results == 2:
        out = read_pair(out)
    # From here on no code of the caller runs.
    array = drop_subclass(array)
    read_x(&call, array, "x", axis)
    if mask is not None:
        mask = broadcast_mask(drop_subclass(mask), array)
    if dtype is not None:
        array = round_x(&call, array, dtype)
    call.scale = check_scale(call.scale, scale, call.computed)
    return finish(&call, find_kernels, array, mask, out)


cdef object read_pair(object out):
    """Return the two parts of the `out` of a function with two results. This runs code of `out`."""
    if out is None:
        return None, None
    if not isinstance(out, tuple) or len(out) != 2:
        given = f"a tuple of {len(out)}" if isinstance(out, tuple) else type(out).__name__
        raise TypeError(f"out must be a tuple of two arrays, got {given}")
    return tuple(out)


cdef int read_x(Call *call, ndarray x, str name, object axis) except -1:
    """Look at x: choose the type to compute in, and find the axes of a slice."""
    call.computed = find_computed_type(x, name)
    call.half = rounds_to_half(x, call.computed)
    call.axes = resolve_axes(axis, x.ndim)
    return 0


cdef ndarray round_x(Call *call, ndarray x, object dtype):
    """Return x, rounded to the dtype that the caller wants.

    Kernels round what they read to their own type, so only a 16-bit dtype needs another array.
    """
    call.half = is_half(dtype)
    call.computed = cnp.NPY_DOUBLE if dtype == np.float64 else cnp.NPY_FLOAT
    if not call.half:
        return x
    # Kernels do not warn either, and a warning could run anything.
    with np.errstate(all="ignore"):
        return x.astype(dtype, copy=False)


cdef ndarray make_result(
    const Call *call, ndarray x, object out, int ndim, const cnp.npy_intp *shape, str name
):
    """Return a new array for a result, or `out` without its class, once it is known to be fit for one."""
    cdef ndarray array
    if out is None:
        if not call.half:
            return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *> shape, call.computed, 0)
        return np.empty(list_lengths(ndim, shape), find_half_dtype(x))
    if not isinstance(out, ndarray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
    array = drop_subclass(<ndarray> out)
    if call.half or cnp.PyArray_TYPE(array) != call.computed or not cnp.PyArray_ISNOTSWAPPED(array):
        if call.half:
            dtype = find_half_dtype(x)
        else:
            dtype = np.dtype(np.float32 if call.computed == cnp.NPY_FLOAT else np.float64)
        if array.dtype != dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, expected {dtype}")
    if array.ndim != ndim or not cnp.PyArray_CompareLists(array.shape, shape, ndim):
        raise ValueError(f"{name} has shape {(<object> array).shape}, expected {list_lengths(ndim, shape)}")
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} is read-only")
    if overlaps_itself(array):
        raise ValueError(f"{name} has elements that overlap, and only one of the results could be in them")
    return array


cdef ndarray separate(ndarray operand, ndarray result, bint in_place):
    """Return an operand, or a copy of it if it would change, while it is still needed, as the result is written.

    An operation that works in place needs no copy where the result takes the very places of the operand.
    """
    if overlap_partly(operand, result) if in_place else may_overlap(operand, result):
        return operand.copy()
    return operand


cdef tuple list_lengths(int ndim, const cnp.npy_intp *shape):
    """Return a shape as Python has it."""
    return tuple([shape[d] for d in range(ndim)])
