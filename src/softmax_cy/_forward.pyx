"""softmax, log_softmax and logsumexp: what starts from the logits."""

from libc.math cimport INFINITY
from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    any_array,
    as_dtype,
    checked_dtype,
    checked_scale,
    computed_in,
    half_dtype,
    kernels_for,
    mask_like,
    plain,
    real_number,
    result_array,
    returned,
)
from softmax_cy._slices cimport run_slices
from softmax_cy.kernels.table cimport KernelTable, LongKernel, SlicesKernel

cnp.import_array()

SOFTMAX_COST = 0.3


cdef enum Operation:
    SOFTMAX
    LOG_SOFTMAX


cdef object elementwise(
    Operation operation, object x, object axis, object scale, object where, object dtype, object out, object num_threads
):
    """An operation whose result has the shape of x."""
    cdef int threads = _threads.requested_threads(num_threads)
    cdef object given = any_array(x, "x")
    cdef object keep = None if where is None else any_array(where, "where")
    cdef object plain_axes = _layout.plain_axes(axis)
    cdef object wanted = None if dtype is None else checked_dtype(dtype)
    cdef double factor = <double> scale if type(scale) is float else real_number(scale, "scale")
    cdef ndarray array = plain(given)
    cdef int computed = computed_in(array, "x")
    cdef object half = half_dtype(array, computed)
    cdef uint64_t axes = _layout.slice_axes(plain_axes, array.ndim)
    cdef ndarray mask = None if keep is None else mask_like(plain(keep), array)
    cdef const KernelTable *kernels
    cdef const LongKernel *long_
    cdef SlicesKernel kernel
    cdef ndarray result
    if wanted is not None:
        array, computed, half = as_dtype(array, wanted)
    factor = checked_scale(factor, scale, computed)
    kernels = kernels_for(computed)
    result = result_array(out, array.ndim, cnp.PyArray_DIMS(array), computed, half, "out")
    if out is not None:
        if _layout.overlap_partly(array, result):
            array = array.copy()
        if mask is not None and _layout.may_overlap(mask, result):
            mask = mask.copy()
    if operation == SOFTMAX:
        kernel = kernels.softmax
        long_ = &kernels.long_softmax
    else:
        kernel = kernels.log_softmax
        long_ = &kernels.long_log_softmax
    run_slices(kernel, SOFTMAX_COST, array, result, axes, factor, None, mask, computed, threads, long_)
    return returned(result, out)


def softmax(x, axis=-1, *, scale=1.0, where=None, dtype=None, out=None, num_threads=None):
    r"""Softmax along one or more axes: positive numbers that add up to one.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Parameters
    ----------
    x : array_like, any shape
        Logits. float32 and float64 are computed in their own precision; float16 and bfloat16 in float32; integers and
        booleans are converted to float64. Any strides, alignment and byte order.
    axis : int, tuple of int or None, optional
        The axes along which the results add up to one, taken together: the last by default, all of them for None.
    scale : float, optional
        Positive and finite: the result is softmax(scale * x), scale being rounded to the precision of the computation,
        and the product not at all.
    where : array_like of bool, broadcastable to the shape of `x`, optional
        True keeps an element, False drops it from its slice. What is dropped may hold anything, NaN included. A mask
        that is written into `x` as -inf does the same, but for a slice of which nothing is kept: there -inf alone gives
        NaN, as in torch, SciPy and JAX, and `where` gives zeros.
    dtype : dtype, optional
        float16, bfloat16, float32 or float64: what `x` is converted to first. What is too large for it becomes an
        infinity, without a warning.
    out : ndarray, same shape as `x`, dtype of the result, optional
        Where to write the result. May be `x` itself.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns. Small inputs use one thread
        whatever this says; the result never depends on it.

    Returns
    -------
    ndarray, same shape as `x`
        `out` if that was given, otherwise a NumPy scalar if there are no axes. The dtype is that of `x` for a floating
        `x`, otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the dtype of `x`, `where` or the result is not a supported one, `axis` or `num_threads` is not an integer,
        `scale` is not a real number, or `out` is not an array of the result's dtype.
    ValueError
        If an axis is given twice, `scale` is not positive and finite, `where` does not broadcast, `out` has another
        shape, is read-only or has elements that overlap, or `num_threads` is less than 1.

    Notes
    -----
    An element that is -inf or dropped gives exactly 0. A slice that holds NaN or +inf, or nothing but -inf, gives NaN
    where it is kept; a slice of which nothing is kept gives zeros. An empty slice gives an empty result.

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
    >>> softmax(np.array([1.0, np.nan, 1.0]), where=[True, False, True])
    array([0.5, 0. , 0.5])

    Two ways to mask everything:

    >>> softmax(np.array([-np.inf, -np.inf]))
    array([nan, nan])
    >>> softmax(np.array([1.0, 2.0]), where=False)
    array([0., 0.])
    """
    return elementwise(SOFTMAX, x, axis, scale, where, dtype, out, num_threads)


def log_softmax(x, axis=-1, *, scale=1.0, where=None, dtype=None, out=None, num_threads=None):
    r"""The logarithm of softmax, without the digits that taking it afterwards would lose.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Parameters
    ----------
    x, axis, scale, where, dtype, out, num_threads
        As for `softmax`. In a slice of which nothing is kept `where` gives -inf; a mask that is written into `x` as
        -inf gives NaN there, as in torch, SciPy and JAX.

    Returns
    -------
    ndarray, same shape as `x`
        `out` if that was given, otherwise a NumPy scalar if there are no axes. The dtype is that of `x` for a floating
        `x`, otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        As `softmax`.

    Notes
    -----
    An element that is -inf or dropped gives -inf. A slice that holds NaN or +inf, or nothing but -inf, gives NaN where
    it is kept; a slice of which nothing is kept gives -inf.

    The largest term is taken off the sum and put back by log1p, so the logarithm of a probability next to 1 keeps
    all its digits.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA
       Journal of Numerical Analysis 41, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import log_softmax
    >>> log_softmax(np.array([20.0, 0.0, 0.0, 0.0]))
    array([-6.18346085e-09, -2.00000000e+01, -2.00000000e+01, -2.00000000e+01])
    """
    return elementwise(LOG_SOFTMAX, x, axis, scale, where, dtype, out, num_threads)


def logsumexp(x, axis=-1, *, scale=1.0, where=None, keepdims=False, dtype=None, out=None, num_threads=None):
    r"""The logarithm of a sum of exponentials.

    .. math:: \log \sum_j e^{x_j}

    Parameters
    ----------
    x, axis, scale, where, dtype, num_threads
        As for `softmax`.
    keepdims : bool, optional
        Keep the axes that were summed over, with length one.
    out : ndarray, shape of the result, dtype of the result, optional
        Where to write the result.

    Returns
    -------
    ndarray, shape of `x` without the axes summed over
        `out` if that was given, otherwise a NumPy scalar if no axes are left. The dtype is that of `x` for a floating
        `x`, otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        As `softmax`.

    Notes
    -----
    Nothing to sum, or nothing but -inf, gives -inf; +inf gives +inf; NaN gives NaN, whatever else there is.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA
       Journal of Numerical Analysis 41, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import logsumexp
    >>> logsumexp(np.array([[0.0, 0.0], [1000.0, 1000.0]]))
    array([6.93147181e-01, 1.00069315e+03])
    """
    cdef int threads = _threads.requested_threads(num_threads)
    cdef object given = any_array(x, "x")
    cdef object keep = None if where is None else any_array(where, "where")
    cdef object plain_axes = _layout.plain_axes(axis)
    cdef object wanted = None if dtype is None else checked_dtype(dtype)
    cdef double factor = <double> scale if type(scale) is float else real_number(scale, "scale")
    cdef bint keep_axes = keepdims
    cdef ndarray array = plain(given)
    cdef int computed = computed_in(array, "x")
    cdef object half = half_dtype(array, computed)
    cdef uint64_t axes = _layout.slice_axes(plain_axes, array.ndim)
    cdef ndarray mask = None if keep is None else mask_like(plain(keep), array)
    cdef cnp.npy_intp[_layout.MAX_NDIM] shape
    cdef int ndim = 0, d
    cdef const KernelTable *kernels
    cdef ndarray result
    if wanted is not None:
        array, computed, half = as_dtype(array, wanted)
    factor = checked_scale(factor, scale, computed)
    for d in range(array.ndim):
        if not axes >> d & 1:
            shape[ndim] = array.shape[d]
        elif keep_axes:
            shape[ndim] = 1
        else:
            continue
        ndim += 1
    result = result_array(out, ndim, shape, computed, half, "out")
    if out is not None:
        if _layout.may_overlap(array, result):
            array = array.copy()
        if mask is not None and _layout.may_overlap(mask, result):
            mask = mask.copy()
    if cnp.PyArray_SIZE(array) == 0:
        result.fill(-INFINITY)
    kernels = kernels_for(computed)
    run_slices(
        kernels.logsumexp, SOFTMAX_COST, array, result, axes, factor, None, mask, computed, threads,
        &kernels.long_logsumexp)
    return returned(result, out)
