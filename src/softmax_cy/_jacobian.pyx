"""softmax_jacobian and log_softmax_jacobian: the whole matrices, from the outputs."""

from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    STREAM_ABOVE,
    checked_scale,
    cost,
    delivered,
    empty,
    kernels_for,
    native_floats,
    writable,
)
from softmax_cy.kernels.table cimport Elements, JacobianKernel, JacobianRows, KernelTable

cnp.import_array()

# Estimated nanoseconds for a float32 entry on one thread.
cdef double JACOBIAN_COST = 0.08


cdef struct JacobianWork:
    JacobianKernel kernel
    JacobianRows rows       # of the first slice
    Elements y_elements
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


cdef int jacobian_into(
    JacobianKernel kernel, ndarray y, ndarray out, int axis, double scale, int threads
) except -1:
    """y with at least one axis, out with one more; both of one dtype, no overlap."""
    cdef JacobianWork work
    if cnp.PyArray_SIZE(out) == 0:
        return 0
    work.kernel = kernel
    work.rows.scale = scale
    work.rows.y = cnp.PyArray_BYTES(y)
    work.rows.out = cnp.PyArray_BYTES(out)
    work.rows.length = y.shape[axis]
    work.rows.y_elements = &work.y_elements
    _layout.slice_elements(&work.y_elements, y, <uint64_t> 1 << axis)
    work.rows.out_next = out.strides[out.ndim - 2]
    work.rows.out_step = out.strides[out.ndim - 1]
    work.rows.stream = cnp.PyArray_NBYTES(out) > STREAM_ABOVE
    _layout.outer_axes(&work.outer, y, out, None, None, <uint64_t> 1 << axis)
    _threads.run(jacobian_task, &work, work.outer.count * work.rows.length, threads, cost(JACOBIAN_COST, out))
    return 0


cdef object jacobian(bint of_log, object y, str name, object axis, object scale, object out, object num_threads):
    cdef int threads = _threads.requested_threads(num_threads)
    cdef ndarray floats = native_floats(y, name)
    cdef double factor = checked_scale(scale, floats)
    cdef int index = _layout.slice_axis(axis, floats.ndim)
    cdef const KernelTable *kernels = kernels_for(floats)
    cdef JacobianKernel kernel = kernels.log_jacobian if of_log else kernels.jacobian
    cdef cnp.npy_intp[_layout.MAX_NDIM] shape
    cdef int ndim = 0, d
    cdef ndarray target
    if floats.ndim == 0:
        floats = floats.reshape(1)
    if floats.ndim == _layout.MAX_NDIM:
        raise ValueError(f"{name} has {floats.ndim} axes, and the result would have more than NumPy allows")
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
    jacobian_into(kernel, floats, target, index, factor, threads)
    return delivered(target, out, y, floats)


def softmax_jacobian(y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The Jacobian of softmax, from its outputs.

    .. math:: J_{ij} = \frac{\partial y_i}{\partial x_j} = y_i (\delta_{ij} - y_j)

    Parameters
    ----------
    y : array_like, shape (..., n, ...)
        What `softmax` returned. dtypes as for `softmax`.
    axis : int, optional
        The axis that `softmax` was taken along. The last by default.
    scale : float, optional
        Positive and finite: the derivative is with respect to x in softmax(scale * x).
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
        If the dtype of `y` is not a supported one, `axis` or `num_threads` is not an integer, `scale` is not a real
        number, or `out` is not an array of the result's dtype.
    ValueError
        If `scale` is not positive and finite, `out` has another shape or is read-only, or `num_threads` is less than 1.

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
    return jacobian(False, y, "y", axis, scale, out, num_threads)


def log_softmax_jacobian(log_y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The Jacobian of log_softmax, from its outputs.

    .. math:: J_{ij} = \frac{\partial \log y_i}{\partial x_j} = \delta_{ij} - e^{\log y_j}

    Parameters
    ----------
    log_y : array_like, shape (..., n, ...)
        What `log_softmax` returned. dtypes as for `softmax`.
    axis : int, optional
        The axis that `log_softmax` was taken along. The last by default.
    scale : float, optional
        Positive and finite: the derivative is with respect to x in log_softmax(scale * x).
    out : ndarray, shape (..., n, n), dtype of the result, optional
        Where to write the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray, shape (..., n, n)
        `out` if that was given. The axes of `log_y` other than `axis` come first, in their order; then i, then j.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the dtype of `log_y` is not a supported one, `axis` or `num_threads` is not an integer, `scale` is not a real
        number, or `out` is not an array of the result's dtype.
    ValueError
        If `scale` is not positive and finite, `out` has another shape or is read-only, or `num_threads` is less than 1.

    Notes
    -----
    All rows are the same but for the diagonal, where 1 - y_i keeps its digits when log_y_i is next to 0.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import log_softmax_jacobian
    >>> log_softmax_jacobian(np.log([0.25, 0.75])).round(12)
    array([[ 0.75, -0.75],
           [-0.25,  0.25]])
    """
    return jacobian(True, log_y, "log_y", axis, scale, out, num_threads)
