"""softmax_jacobian, log_softmax_jacobian and softmax_and_jacobian: the whole matrices."""

import numpy as np

from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    STREAM_ABOVE,
    any_array,
    as_dtype,
    checked_dtype,
    checked_scale,
    computed_in,
    cost,
    empty,
    half_dtype,
    kernels_for,
    mask_like,
    plain,
    real_number,
    result_array,
    returned,
)
from softmax_cy._forward cimport SOFTMAX_COST
from softmax_cy._slices cimport run_slices
from softmax_cy.kernels.table cimport Elements, JacobianKernel, JacobianRows, KernelTable

cnp.import_array()

# Estimated nanoseconds for a float32 entry on one thread.
cdef double JACOBIAN_COST = 0.08


cdef struct JacobianWork:
    JacobianKernel kernel
    JacobianRows rows       # of the first slice
    Elements y_elements
    Elements out_elements
    Elements x_elements
    Elements keep_elements
    _layout.Outer outer


cdef void jacobian_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Items are the rows of all matrices, so that one large matrix can be shared out too."""
    cdef const JacobianWork *work = <const JacobianWork *> context
    cdef JacobianRows rows = work.rows
    cdef Py_ssize_t n = work.rows.length
    cdef Py_ssize_t matrix = begin // n, last = (end + n - 1) // n, i
    cdef _layout.Run run
    while matrix < last:
        _layout.run_at(&work.outer, matrix, last, &run)
        for i in range(run.count):
            rows.y = work.rows.y + run.offset[0] + i * run.stride[0]
            rows.out = work.rows.out + run.offset[1] + i * run.stride[1]
            if rows.x != NULL:
                rows.x = work.rows.x + run.offset[2] + i * run.stride[2]
            if rows.keep != NULL:
                rows.keep = work.rows.keep + run.offset[3] + i * run.stride[3]
            rows.first = max(0, begin - matrix * n)
            rows.last = min(n, end - matrix * n)
            work.kernel(&rows)
            matrix += 1


cdef int jacobian_into(
    JacobianKernel kernel, ndarray y, ndarray out, ndarray x, ndarray keep, int axis, double scale, int computed,
    int threads,
) except -1:
    """y with at least one axis, out with one more; x and keep with the shape of y, or None. No overlap with out."""
    cdef JacobianWork work
    cdef uint64_t axes = <uint64_t> 1 << axis
    if cnp.PyArray_SIZE(out) == 0:
        return 0
    work.kernel = kernel
    work.rows.scale = scale
    work.rows.y = cnp.PyArray_BYTES(y)
    work.rows.out = cnp.PyArray_BYTES(out)
    work.rows.x = NULL if x is None else cnp.PyArray_BYTES(x)
    work.rows.keep = NULL if keep is None else cnp.PyArray_BYTES(keep)
    work.rows.length = y.shape[axis]
    work.rows.y_elements = &work.y_elements
    work.rows.out_elements = &work.out_elements
    work.rows.x_elements = &work.x_elements
    work.rows.keep_elements = &work.keep_elements
    _layout.slice_elements(&work.y_elements, y, axes)
    _layout.slice_elements(&work.out_elements, out, <uint64_t> 1 << (out.ndim - 1))
    if x is not None:
        _layout.slice_elements(&work.x_elements, x, axes)
    if keep is not None:
        _layout.slice_elements(&work.keep_elements, keep, axes)
    work.rows.out_next = out.strides[out.ndim - 2]
    work.rows.stream = cnp.PyArray_NBYTES(out) > STREAM_ABOVE
    _layout.outer_axes(&work.outer, y, out, x, keep, axes)
    _threads.run(
        jacobian_task, &work, work.outer.count * work.rows.length, threads,
        cost(JACOBIAN_COST, cnp.PyArray_SIZE(out), computed))
    return 0


cdef ndarray matrices(object out, str out_name, ndarray y, int axis, int computed, object half, str name):
    """`out`, or a new array, for the Jacobian of each slice."""
    cdef cnp.npy_intp[_layout.MAX_NDIM] shape
    cdef int ndim = 0, d
    if y.ndim == _layout.MAX_NDIM:
        raise ValueError(f"{name} has {y.ndim} axes, and the result would have more than NumPy allows")
    for d in range(y.ndim):
        if d != axis:
            shape[ndim] = y.shape[d]
            ndim += 1
    shape[ndim] = shape[ndim + 1] = y.shape[axis] if y.ndim else 1
    return result_array(out, max(y.ndim, 1) + 1, shape, computed, half, out_name)


cdef object jacobian(bint of_log, object y, str name, object axis, object scale, object out, object num_threads):
    cdef int threads = _threads.requested_threads(num_threads)
    cdef object given = any_array(y, name)
    cdef object plain_axis = _layout.plain_axis(axis)
    cdef double factor = <double> scale if type(scale) is float else real_number(scale, "scale")
    cdef ndarray outputs = plain(given)
    cdef int computed = computed_in(outputs, name)
    cdef int index = _layout.slice_axis(plain_axis, outputs.ndim)
    cdef const KernelTable *kernels = kernels_for(computed)
    cdef JacobianKernel kernel = kernels.log_jacobian if of_log else kernels.jacobian
    cdef object half = half_dtype(outputs, computed)
    cdef ndarray result = matrices(out, "out", outputs, index, computed, half, name)
    factor = checked_scale(factor, scale, computed)
    if outputs.ndim == 0:
        outputs = outputs.reshape(1)
    if out is not None and _layout.may_overlap(outputs, result):
        outputs = outputs.copy()
    jacobian_into(kernel, outputs, result, None, None, index, factor, computed, threads)
    return returned(result, out)


cdef bint have_common_element(ndarray a, ndarray b):
    """Also true where that would be too hard to find out."""
    try:
        return np.shares_memory(a, b, max_work=1000)
    except np.exceptions.TooHardError:
        return True


cdef object described(object out):
    return f"a tuple of {len(out)}" if isinstance(out, tuple) else type(out).__name__


cdef object pair_of(object out):
    """`out` of a function with two results."""
    if out is None:
        return None, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(f"out must be a tuple of two arrays, got {described(out)}")
    return tuple(out)


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
        If `scale` is not positive and finite, `out` has another shape, is read-only or has elements that overlap, or
        `num_threads` is less than 1.

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
        If `scale` is not positive and finite, `out` has another shape, is read-only or has elements that overlap, or
        `num_threads` is less than 1.

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


def softmax_and_jacobian(x, axis=-1, *, scale=1.0, where=None, dtype=None, out=None, num_threads=None):
    r"""Softmax and its Jacobian, from the logits.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}, \quad
        J_{ij} = \frac{\partial y_i}{\partial x_j} = y_i (\delta_{ij} - y_j)

    Parameters
    ----------
    x, scale, where, dtype, num_threads
        As for `softmax`. The derivative is with respect to x in softmax(scale * x).
    axis : int, optional
        The axis along which the results add up to one. The last by default.
    out : tuple of two ndarrays, optional
        Where to write the results; either may be None. The first may be `x` itself.

    Returns
    -------
    y : ndarray, same shape as `x`
        What `softmax` returns.
    jacobian : ndarray, shape (..., n, n)
        What `softmax_jacobian` returns for `y`, but with 1 - y_i from the other classes on the diagonal.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        As `softmax` and `softmax_jacobian`; and if `out` is not a tuple of two, or the two overlap.

    Notes
    -----
    Where one class is nearly certain, its entry on the diagonal is tiny, and from `y` alone nothing of it is left: the
    digits of 1 - y_i are not in y_i. Here they come from the sum of the other exponentials.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import softmax_and_jacobian, softmax_jacobian
    >>> y, jacobian = softmax_and_jacobian(np.array([40.0, 0.0]))
    >>> jacobian
    array([[ 4.24835426e-18, -4.24835426e-18],
           [-4.24835426e-18,  4.24835426e-18]])
    >>> softmax_jacobian(y)
    array([[ 0.00000000e+00, -4.24835426e-18],
           [-4.24835426e-18,  4.24835426e-18]])
    """
    cdef int threads = _threads.requested_threads(num_threads)
    cdef object given = any_array(x, "x")
    cdef object keep = None if where is None else any_array(where, "where")
    cdef object plain_axis = _layout.plain_axis(axis)
    cdef object wanted = None if dtype is None else checked_dtype(dtype)
    cdef double factor = <double> scale if type(scale) is float else real_number(scale, "scale")
    cdef tuple outs = pair_of(out)
    cdef ndarray array = plain(given)
    cdef int computed = computed_in(array, "x")
    cdef object half = half_dtype(array, computed)
    cdef int index = _layout.slice_axis(plain_axis, array.ndim)
    cdef uint64_t axes = <uint64_t> 1 << index
    cdef ndarray mask = None if keep is None else mask_like(plain(keep), array)
    cdef const KernelTable *kernels
    cdef ndarray y, exact_y, result
    if wanted is not None:
        array, computed, half = as_dtype(array, wanted)
    factor = checked_scale(factor, scale, computed)
    kernels = kernels_for(computed)
    y_out, jacobian_out = outs
    y = result_array(y_out, array.ndim, cnp.PyArray_DIMS(array), computed, half, "out[0]")
    result = matrices(jacobian_out, "out[1]", array, index, computed, half, "x")
    if out is not None:
        if have_common_element(y, result):
            raise ValueError("out[0] and out[1] overlap")
        # The logits are still needed once y is written, unless that is by way of another array.
        if half is None and _layout.may_overlap(array, y) or _layout.may_overlap(array, result):
            array = array.copy()
        if mask is not None and (half is None and _layout.may_overlap(mask, y) or _layout.may_overlap(mask, result)):
            mask = mask.copy()
    # 16-bit results are rounded once: the matrix does not follow from the rounded y.
    shape = (<object> array).shape
    exact_y = y if half is None else empty(array.ndim, cnp.PyArray_DIMS(array), computed)
    run_slices(kernels.softmax, SOFTMAX_COST, array, exact_y, axes, factor, None, mask, computed, threads, NULL)
    if array.ndim == 0:
        array = array.reshape(1)
        exact_y = exact_y.reshape(1)
        mask = None if mask is None else mask.reshape(1)
    jacobian_into(kernels.jacobian, exact_y, result, array, mask, index, factor, computed, threads)
    if half is not None:
        with np.errstate(all="ignore"):
            y[...] = exact_y.reshape(shape)
    return returned(y, y_out), returned(result, jacobian_out)
