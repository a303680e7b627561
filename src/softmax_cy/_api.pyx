"""The Python face: check the arguments, allocate the result, hand both to the layers below.

Design:
1. Everything is checked before anything is written.
2. A call of the usual kind (an exact ndarray, native floats, no `out`) runs through the C API of NumPy alone: for a
   vector of ten elements the way to the kernel costs more than the kernel.
3. Each operation is a `Task`: a context that outlives it and a C function that works on a range of items. Threads and
   layout do not know what the operation is.
"""

import numpy as np

from softmax_cy import _cpu

cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy cimport _layout, _table, _threads
from softmax_cy.kernels.table cimport JacobianRows, KernelTable, Slices

cnp.import_array()

# Estimated nanoseconds for an element of the result on one thread, float32; float64 costs twice as much.
cdef double SOFTMAX_COST = 0.3
cdef double JACOBIAN_COST = 0.08

# Bytes read and written in one call: more than this, and the end of the result would push its beginning out of the
# cache anyway.
cdef Py_ssize_t STREAM_ABOVE = _cpu.cache_bytes()


# ---- arguments ---------------------------------------------------------------------------------------------------

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


cdef ndarray writable(object out, int ndim, const cnp.npy_intp *shape, object x, ndarray floats):
    """Where the kernel may write what is meant for `out`: `out`, or an array that `delivered` rounds into it."""
    cdef ndarray array
    if not isinstance(out, ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    array = out
    if (
        floats is not x
        or cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(floats)
        or not cnp.PyArray_ISNOTSWAPPED(array)
    ):
        dtype = result_dtype(x, floats)
        if array.dtype != dtype:
            raise TypeError(f"out has dtype {array.dtype}, expected {dtype}")
    if array.ndim != ndim or not cnp.PyArray_CompareLists(array.shape, shape, ndim):
        raise ValueError(f"out has shape {(<object> array).shape}, expected {tuple([shape[d] for d in range(ndim)])}")
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError("out is read-only")
    if cnp.PyArray_TYPE(array) == cnp.PyArray_TYPE(floats):
        return array
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


cdef inline ndarray empty(int ndim, const cnp.npy_intp *shape, int kind):
    return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *> shape, kind, 0)


cdef inline const KernelTable *kernels_for(ndarray array) noexcept:
    return _table.float32_kernels if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT else _table.float64_kernels


cdef inline double cost(double nanoseconds, ndarray result) noexcept:
    return nanoseconds * cnp.PyArray_SIZE(result) * (cnp.PyArray_ITEMSIZE(result) // 4)


# ---- softmax -----------------------------------------------------------------------------------------------------

cdef struct SliceWork:
    void (*kernel)(const Slices *slices) noexcept nogil
    Slices slices           # of the first slice
    _layout.Outer outer


cdef void slice_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const SliceWork *work = <const SliceWork *> context
    cdef Slices slices = work.slices
    cdef _layout.Run run
    while begin < end:
        _layout.run_at(&work.outer, begin, end, &run)
        slices.x = work.slices.x + run.offset[0]
        slices.out = work.slices.out + run.offset[1]
        slices.x_next = run.stride[0]
        slices.out_next = run.stride[1]
        slices.count = run.count
        work.kernel(&slices)
        begin += run.count


cdef int softmax_into(ndarray x, ndarray out, int axis, object num_threads) except -1:
    """Both of one dtype and shape; no partial overlap."""
    cdef SliceWork work
    cdef int threads = _threads.requested_threads(num_threads)
    if x.ndim == 0:
        return softmax_into(x.reshape(1), out.reshape(1), 0, num_threads)
    if cnp.PyArray_SIZE(x) == 0:
        return 0
    work.kernel = kernels_for(x).softmax
    work.slices.x = cnp.PyArray_BYTES(x)
    work.slices.out = cnp.PyArray_BYTES(out)
    work.slices.length = x.shape[axis]
    work.slices.x_step = x.strides[axis]
    work.slices.out_step = out.strides[axis]
    work.slices.stream = x.data != out.data and 2 * cnp.PyArray_NBYTES(out) > STREAM_ABOVE
    _layout.outer_axes(&work.outer, x, out, axis)
    _threads.run(slice_task, &work, work.outer.count, threads, cost(SOFTMAX_COST, out))
    return 0


def softmax(x, axis=-1, *, out=None, num_threads=None):
    r"""Softmax along an axis: positive numbers that add up to one.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Parameters
    ----------
    x : array_like, shape (..., n, ...)
        Logits. float32 and float64 are computed in their own precision; float16 and bfloat16 in float32; integers and
        booleans are converted to float64. Any strides, alignment and byte order.
    axis : int, optional
        The axis along which the results add up to one. The last by default.
    out : ndarray, same shape as `x`, dtype of the result, optional
        Where to write the result. May be `x` itself.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns. Small inputs use one thread
        whatever this says; the result never depends on it.

    Returns
    -------
    ndarray, same shape as `x`
        `out` if that was given. The dtype is that of `x` for a floating `x`, otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the dtype of `x` is not a supported one, `axis` or `num_threads` is not an integer, or `out` is not an array
        of the result's dtype.
    ValueError
        If `out` has another shape or is read-only, or `num_threads` is less than 1.

    Notes
    -----
    An element -inf gives exactly 0. A slice that holds NaN or +inf, or nothing but -inf, gives NaN throughout. An empty
    slice gives an empty result.

    The maximum is not subtracted first, as in the usual "safe softmax", but taken into account in the exponent: see
    docs/design.md.

    References
    ----------
    .. [1] J. S. Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs, with Relationships
       to Statistical Pattern Recognition", Neurocomputing, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import softmax
    >>> softmax(np.array([1.0, 2.0, 3.0]))
    array([0.09003057, 0.24472847, 0.66524096])
    >>> softmax(np.array([[0.0, 0.0], [1e4, -1e4]], dtype=np.float32))
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """
    cdef ndarray floats = native_floats(x, "x")
    cdef int index = _layout.normalize_axis(axis, floats.ndim)
    cdef ndarray target
    if out is None:
        target = empty(floats.ndim, cnp.PyArray_DIMS(floats), cnp.PyArray_TYPE(floats))
    else:
        target = writable(out, floats.ndim, cnp.PyArray_DIMS(floats), x, floats)
        if _layout.overlap_partly(floats, target):
            floats = floats.copy()
    softmax_into(floats, target, index, num_threads)
    return delivered(target, out, x, floats)


# ---- Jacobian ----------------------------------------------------------------------------------------------------

cdef struct JacobianWork:
    void (*kernel)(const JacobianRows *rows) noexcept nogil
    JacobianRows rows       # of the first slice
    _layout.Outer outer


cdef void jacobian_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Items are the rows of all matrices, so that one large matrix can be shared out too."""
    cdef const JacobianWork *work = <const JacobianWork *> context
    cdef JacobianRows rows = work.rows
    cdef Py_ssize_t n = work.rows.length
    cdef Py_ssize_t matrix
    cdef _layout.Run run
    while begin < end:
        matrix = begin // n
        _layout.run_at(&work.outer, matrix, matrix + 1, &run)
        rows.y = work.rows.y + run.offset[0]
        rows.out = work.rows.out + run.offset[1]
        rows.first = begin - matrix * n
        rows.last = min(n, end - matrix * n)
        work.kernel(&rows)
        begin += rows.last - rows.first


cdef int jacobian_into(ndarray y, ndarray out, int axis, object num_threads) except -1:
    """y with at least one axis, out with one more; both of one dtype, no overlap."""
    cdef JacobianWork work
    cdef int threads = _threads.requested_threads(num_threads)
    if cnp.PyArray_SIZE(out) == 0:
        return 0
    work.kernel = kernels_for(y).jacobian
    work.rows.y = cnp.PyArray_BYTES(y)
    work.rows.out = cnp.PyArray_BYTES(out)
    work.rows.length = y.shape[axis]
    work.rows.y_step = y.strides[axis]
    work.rows.out_next = out.strides[out.ndim - 2]
    work.rows.out_step = out.strides[out.ndim - 1]
    work.rows.stream = cnp.PyArray_NBYTES(out) > STREAM_ABOVE
    _layout.outer_axes(&work.outer, y, out, axis)
    _threads.run(jacobian_task, &work, work.outer.count * work.rows.length, threads, cost(JACOBIAN_COST, out))
    return 0


def softmax_jacobian(y, axis=-1, *, out=None, num_threads=None):
    r"""The Jacobian of softmax, from its outputs.

    .. math:: J_{ij} = \frac{\partial y_i}{\partial x_j} = y_i (\delta_{ij} - y_j)

    Parameters
    ----------
    y : array_like, shape (..., n, ...)
        What `softmax` returned. dtypes as for `softmax`.
    axis : int, optional
        The axis that `softmax` was taken along. The last by default.
    out : ndarray, shape (..., n, n), dtype of the result, optional
        Where to write the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray, shape (..., n, n)
        `out` if that was given. The axes of `y` other than `axis` come first, in their order; then i, then j.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the dtype of `y` is not a supported one, `axis` or `num_threads` is not an integer, or `out` is not an array
        of the result's dtype.
    ValueError
        If `out` has another shape or is read-only, or `num_threads` is less than 1.

    Notes
    -----
    Off the diagonal each entry is correctly rounded from `y`; on it, :math:`y_i - y_i^2` is rounded once. The matrix is
    symmetric, and its rows add up to zero but for rounding.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import softmax_jacobian
    >>> softmax_jacobian(np.array([0.25, 0.75]))
    array([[ 0.1875, -0.1875],
           [-0.1875,  0.1875]])
    """
    cdef ndarray floats = native_floats(y, "y")
    cdef int index = _layout.normalize_axis(axis, floats.ndim)
    cdef cnp.npy_intp[_layout.MAX_NDIM] shape
    cdef int ndim = 0, d
    cdef ndarray target
    if floats.ndim == 0:
        floats = floats.reshape(1)
    if floats.ndim == _layout.MAX_NDIM:
        raise ValueError(f"y has {floats.ndim} axes, and the result would have more than NumPy allows")
    for d in range(floats.ndim):
        if d != index:
            shape[ndim] = floats.shape[d]
            ndim += 1
    shape[ndim] = shape[ndim + 1] = floats.shape[index]
    ndim += 2
    if out is None:
        target = empty(ndim, shape, cnp.PyArray_TYPE(floats))
    else:
        target = writable(out, ndim, shape, y, floats)
        if _layout.may_overlap(floats, target):
            floats = floats.copy()
    jacobian_into(floats, target, index, num_threads)
    return delivered(target, out, y, floats)
