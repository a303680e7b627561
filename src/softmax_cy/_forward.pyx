"""softmax, log_softmax and logsumexp: the functions that start from the logits."""

from libc.math cimport INFINITY

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._finders as _finders
from softmax_cy._call cimport Call, FindKernels, call_on_logits, make_result
from softmax_cy._layout cimport MAX_NDIM, has_axis
from softmax_cy._slices cimport compute

cnp.import_array()


cdef object map_slices(const Call *call, FindKernels find_kernels, ndarray x, ndarray mask, object out):
    """Finish a call whose result has the shape of x."""
    result = make_result(call, x, out, x.ndim, x.shape, "out")
    return compute(call, find_kernels, x, None, mask, result, out, True)


cdef object reduce_slices(const Call *call, FindKernels find_kernels, ndarray x, ndarray mask, object out):
    """Finish a call whose result has one element a slice: -inf for an empty one."""
    cdef cnp.npy_intp[MAX_NDIM] shape
    cdef int ndim = 0, d
    cdef ndarray result
    for d in range(x.ndim):
        if not has_axis(call.axes, d):
            shape[ndim] = x.shape[d]
        elif call.keepdims:
            shape[ndim] = 1
        else:
            continue
        ndim += 1
    result = make_result(call, x, out, ndim, shape, "out")
    if cnp.PyArray_SIZE(x) == 0:
        result.fill(-INFINITY)
    return compute(call, find_kernels, x, None, mask, result, out, False)


def softmax(x, axis=-1, *, scale=1.0, where=None, dtype=None, out=None, num_threads=None):
    r"""Softmax along one or more axes: positive numbers that add up to one.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Parameters
    ----------
    x : array_like, any shape
        The logits. float32 and float64 are computed in their own precision, float16 and bfloat16 in float32. Integers
        and booleans are converted to float64. Strides, alignment and byte order may be any.
    axis : int, tuple of int or None, optional
        The results add up to one along these axes, taken together. The default is the last axis; None means all axes.
    scale : float, optional
        The result is softmax(scale * x). The scale must be positive and finite. It is rounded to the precision of the
        computation; the product is not rounded at all.
    where : array_like of bool, broadcastable to the shape of `x`, optional
        True keeps an element, False drops it from its slice. What is dropped may hold anything, even NaN. A mask that
        is written into `x` as -inf does the same, except in a slice of which nothing is kept: there -inf gives NaN, as
        in torch, SciPy and JAX, and `where` gives zeros.
    dtype : dtype, optional
        `x` is converted to this dtype first: float16, bfloat16, float32 or float64. A number that is too large for it
        becomes an infinity, without a warning.
    out : ndarray, same shape as `x`, dtype of the result, optional
        The result is written here. It may be `x` itself.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.
        Small inputs use one thread whatever this says. The result never depends on it.

    Returns
    -------
    ndarray, same shape as `x`
        This is `out` if that was given, and otherwise a NumPy scalar if there are no axes. The dtype is that of a
        floating `x`, and otherwise float64.

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

    The usual "safe softmax" subtracts the maximum first. This one takes it into account in the exponent instead:
    docs/design.md tells how.

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

    There are two ways to mask everything:

    >>> softmax(np.array([-np.inf, -np.inf]))
    array([nan, nan])
    >>> softmax(np.array([1.0, 2.0]), where=False)
    array([0., 0.])
    """
    return call_on_logits(
        map_slices, _finders.find_softmax_kernels, x, axis, scale, where, dtype, False, 1, out, num_threads)


def log_softmax(x, axis=-1, *, scale=1.0, where=None, dtype=None, out=None, num_threads=None):
    r"""The logarithm of softmax, with the digits that taking the logarithm afterwards would lose.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Parameters
    ----------
    x, axis, scale, where, dtype, out, num_threads
        These are the same as for `softmax`. In a slice of which nothing is kept `where` gives -inf. A mask that is
        written into `x` as -inf gives NaN there, as in torch, SciPy and JAX.

    Returns
    -------
    ndarray, same shape as `x`
        This is `out` if that was given, and otherwise a NumPy scalar if there are no axes. The dtype is that of a
        floating `x`, and otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `softmax`.

    Notes
    -----
    An element that is -inf or dropped gives -inf. A slice that holds NaN or +inf, or nothing but -inf, gives NaN where
    it is kept; a slice of which nothing is kept gives -inf.

    The largest term is taken off the sum and put back by log1p. So the logarithm of a probability next to 1 keeps all
    its digits.

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
    return call_on_logits(
        map_slices, _finders.find_log_softmax_kernels, x, axis, scale, where, dtype, False, 1, out, num_threads)


def logsumexp(x, axis=-1, *, scale=1.0, where=None, keepdims=False, dtype=None, out=None, num_threads=None):
    r"""The logarithm of a sum of exponentials.

    .. math:: \log \sum_j e^{x_j}

    Parameters
    ----------
    x, axis, scale, where, dtype, num_threads
        These are the same as for `softmax`.
    keepdims : bool, optional
        True keeps the axes that were summed over, with length one.
    out : ndarray, shape of the result, dtype of the result, optional
        The result is written here.

    Returns
    -------
    ndarray, shape of `x` without the axes summed over
        This is `out` if that was given, and otherwise a NumPy scalar if no axes are left. The dtype is that of a
        floating `x`, and otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `softmax`.

    Notes
    -----
    Nothing to sum, or nothing but -inf, gives -inf. +inf gives +inf. NaN gives NaN, whatever else there is.

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
    return call_on_logits(
        reduce_slices, _finders.find_logsumexp_kernels, x, axis, scale, where, dtype, keepdims, 1, out, num_threads)
