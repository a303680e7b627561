"""softmax_jacobian, log_softmax_jacobian and softmax_and_jacobian: the whole matrices."""

import numpy as np

from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._finders as _finders
cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    STREAM_ABOVE,
    check_scale,
    choose_table,
    convert_array,
    drop_subclass,
    estimate_time,
    read_number,
    unwrap_result,
)
from softmax_cy._call cimport Call, FindKernels, call_on_logits, make_result, read_x, separate
from softmax_cy._slices cimport run_slices
from softmax_cy.kernels.table cimport Elements, JacobianKernel, JacobianRows, KernelTable

cnp.import_array()

# Estimated nanoseconds for a float32 entry on one thread.
cdef double JACOBIAN_COST = 0.08


# An operation is known by the function that finds its kernel.
ctypedef JacobianKernel (*FindKernel)(const KernelTable *table) noexcept


cdef struct JacobianWork:
    JacobianKernel kernel
    JacobianRows rows       # of the first slice
    Elements y_elements
    Elements out_elements
    Elements x_elements
    Elements mask_elements
    _layout.Outer outer


cdef void compute_rows(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Be a task whose items are the rows of all matrices, so that threads can share one large matrix too."""
    cdef const JacobianWork *work = <const JacobianWork *> context
    cdef JacobianRows rows = work.rows
    cdef Py_ssize_t n = work.rows.length
    cdef Py_ssize_t matrix = begin // n, last = (end + n - 1) // n, i
    cdef _layout.Series series
    while matrix < last:
        _layout.find_series(&work.outer, matrix, last, &series)
        for i in range(series.count):
            rows.y = work.rows.y + series.offset[0] + i * series.stride[0]
            rows.out = work.rows.out + series.offset[1] + i * series.stride[1]
            if rows.x != NULL:
                rows.x = work.rows.x + series.offset[2] + i * series.stride[2]
            if rows.mask != NULL:
                rows.mask = work.rows.mask + series.offset[3] + i * series.stride[3]
            rows.first = max(0, begin - matrix * n)
            rows.last = min(n, end - matrix * n)
            work.kernel(&rows)
            matrix += 1


cdef int run_jacobian(
    const Call *call, FindKernel find_kernel, ndarray y, ndarray x, ndarray mask, ndarray out
) except -1:
    """Compute the Jacobian of each slice of y, which has an axis at least; `out` has one more.

    x is None, or it holds the logits that y was computed from. No operand may overlap `out`.
    """
    cdef JacobianWork work
    if cnp.PyArray_SIZE(out) == 0:
        return 0
    work.kernel = find_kernel(choose_table(call.computed))
    work.rows.scale = call.scale
    work.rows.y = cnp.PyArray_BYTES(y)
    work.rows.out = cnp.PyArray_BYTES(out)
    work.rows.x = NULL if x is None else cnp.PyArray_BYTES(x)
    work.rows.mask = NULL if mask is None else cnp.PyArray_BYTES(mask)
    work.rows.length = _layout.measure_slice(y, call.axes)
    work.rows.y_elements = &work.y_elements
    work.rows.out_elements = &work.out_elements
    work.rows.x_elements = &work.x_elements
    work.rows.mask_elements = &work.mask_elements
    _layout.describe_elements(&work.y_elements, y, call.axes)
    _layout.describe_elements(&work.out_elements, out, <uint64_t> 1 << (out.ndim - 1))
    if x is not None:
        _layout.describe_elements(&work.x_elements, x, call.axes)
    if mask is not None:
        _layout.describe_elements(&work.mask_elements, mask, call.axes)
    work.rows.out_next = out.strides[out.ndim - 2]
    work.rows.stream = cnp.PyArray_NBYTES(out) > STREAM_ABOVE
    _layout.describe_outer(&work.outer, y, out, x, mask, call.axes)
    _threads.run(
        compute_rows, &work, work.outer.count * work.rows.length, call.threads,
        estimate_time(JACOBIAN_COST, cnp.PyArray_SIZE(out), call.computed))
    return 0


cdef ndarray make_matrices(const Call *call, ndarray x, str x_name, object out, str out_name):
    """Return `out`, or a new array, for the Jacobian of each slice of x."""
    cdef cnp.npy_intp[_layout.MAX_NDIM] shape
    cdef int ndim = 0, d
    if x.ndim == _layout.MAX_NDIM:
        raise ValueError(f"{x_name} has {x.ndim} axes, and the result would have more than NumPy allows")
    for d in range(x.ndim):
        if not _layout.has_axis(call.axes, d):
            shape[ndim] = x.shape[d]
            ndim += 1
    shape[ndim] = shape[ndim + 1] = _layout.measure_slice(x, call.axes)
    return make_result(call, x, out, ndim + 2, shape, out_name)


cdef object make_jacobians(
    FindKernel find_kernel, object y, str name, object axis, object scale, object out, object num_threads
):
    """Call an operation that makes matrices of the outputs y."""
    cdef Call call
    cdef ndarray outputs, result
    call.threads = _threads.read_threads(num_threads)
    outputs = convert_array(y, name)
    axis = _layout.read_axis(axis)
    call.scale = read_number(scale, "scale")
    # From here on no code of the caller runs.
    outputs = drop_subclass(outputs)
    read_x(&call, outputs, name, axis)
    result = make_matrices(&call, outputs, name, out, "out")
    call.scale = check_scale(call.scale, scale, call.computed)
    if out is not None:
        outputs = separate(outputs, result, False)
    if outputs.ndim == 0:
        outputs = outputs.reshape(1)
    run_jacobian(&call, find_kernel, outputs, None, None, result)
    return unwrap_result(result, out)


cdef object make_softmax_and_jacobian(
    const Call *call, FindKernels find_kernels, ndarray x, ndarray mask, object outs
):
    """Finish a call with two results: softmax, and its Jacobian."""
    cdef ndarray y, exact_y, matrices
    y_out, matrices_out = outs
    y = make_result(call, x, y_out, x.ndim, x.shape, "out[0]")
    matrices = make_matrices(call, x, "x", matrices_out, "out[1]")
    if y_out is not None or matrices_out is not None:
        if have_common_element(y, matrices):
            raise ValueError("out[0] and out[1] overlap")
        # The logits are still needed once y is written, unless that is by way of another array.
        for result in (matrices,) if call.half else (y, matrices):
            x = separate(x, result, False)
            mask = None if mask is None else separate(mask, result, False)
    # 16-bit results are rounded once: the matrix does not follow from the rounded y.
    exact_y = cnp.PyArray_EMPTY(y.ndim, y.shape, call.computed, 0) if call.half else y
    run_slices(call, find_kernels, x, None, mask, exact_y)
    if y.ndim == 0:
        x = x.reshape(1)
        mask = None if mask is None else mask.reshape(1)
    run_jacobian(
        call, _finders.find_softmax_and_jacobian_kernel, exact_y if y.ndim else exact_y.reshape(1), x, mask, matrices)
    if call.half:
        with np.errstate(all="ignore"):
            y[...] = exact_y
    return unwrap_result(y, y_out), unwrap_result(matrices, matrices_out)


cdef bint have_common_element(ndarray a, ndarray b):
    """Tell whether two arrays have an element in common. True also where that would be too hard to find out."""
    try:
        return np.shares_memory(a, b, max_work=1000)
    except np.exceptions.TooHardError:
        return True


def softmax_jacobian(y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The Jacobian of softmax, from its outputs.

    .. math:: J_{ij} = \frac{\partial y_i}{\partial x_j} = y_i (\delta_{ij} - y_j)

    Parameters
    ----------
    y : array_like, shape (..., n, ...)
        What `softmax` returned. The dtype may be any of those of `softmax`.
    axis : int, optional
        The axis that `softmax` was taken along. The default is the last one.
    scale : float, optional
        The derivative is with respect to x in softmax(scale * x). The scale must be positive and finite.
    out : ndarray, shape (..., n, n), dtype of the result, optional
        The result is written here.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray, shape (..., n, n)
        This is `out` if that was given. The axes of `y` other than `axis` come first, in their order. Then comes i,
        then j.

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
    Off the diagonal each entry is correctly rounded from `y`. On the diagonal :math:`y_i - y_i^2` is rounded once. The
    matrix is symmetric, and its rows add up to zero but for rounding.

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
    return make_jacobians(_finders.find_softmax_jacobian_kernel, y, "y", axis, scale, out, num_threads)


def log_softmax_jacobian(log_y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The Jacobian of log_softmax, from its outputs.

    .. math:: J_{ij} = \frac{\partial \log y_i}{\partial x_j} = \delta_{ij} - e^{\log y_j}

    Parameters
    ----------
    log_y : array_like, shape (..., n, ...)
        What `log_softmax` returned. The dtype may be any of those of `softmax`.
    axis : int, optional
        The axis that `log_softmax` was taken along. The default is the last one.
    scale : float, optional
        The derivative is with respect to x in log_softmax(scale * x). The scale must be positive and finite.
    out : ndarray, shape (..., n, n), dtype of the result, optional
        The result is written here.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray, shape (..., n, n)
        This is `out` if that was given. The axes of `log_y` other than `axis` come first, in their order. Then comes i,
        then j.

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
    All rows are the same but for the diagonal. There 1 - y_i keeps its digits when log_y_i is next to 0.

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
    return make_jacobians(_finders.find_log_softmax_jacobian_kernel, log_y, "log_y", axis, scale, out, num_threads)


def softmax_and_jacobian(x, axis=-1, *, scale=1.0, where=None, dtype=None, out=None, num_threads=None):
    r"""Softmax and its Jacobian, from the logits.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}, \quad
        J_{ij} = \frac{\partial y_i}{\partial x_j} = y_i (\delta_{ij} - y_j)

    Parameters
    ----------
    x, scale, where, dtype, num_threads
        These are the same as for `softmax`. The derivative is with respect to x in softmax(scale * x).
    axis : int, optional
        The axis along which the results add up to one. The default is the last one.
    out : tuple of two ndarrays, optional
        The results are written here. Either may be None. The first may be `x` itself.

    Returns
    -------
    y : ndarray, same shape as `x`
        What `softmax` returns.
    jacobian : ndarray, shape (..., n, n)
        What `softmax_jacobian` returns for `y`, except that 1 - y_i on the diagonal comes from the other classes.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `softmax` and `softmax_jacobian`. They also come if `out` is not a tuple of two
        arrays, or if the two overlap.

    Notes
    -----
    Where one class is nearly certain, its entry on the diagonal is tiny, and nothing of it can be had from `y` alone:
    the digits of 1 - y_i are not in y_i. Here they come from the sum of the other exponentials.

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
    return call_on_logits(
        make_softmax_and_jacobian, _finders.find_softmax_kernels, x, axis, scale, where, dtype, False, 2, out,
        num_threads,
    )
