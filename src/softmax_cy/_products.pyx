"""softmax_vjp and its three sisters: products with a Jacobian that is never formed."""

import numpy as np

from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    any_array,
    checked_scale,
    computed_in,
    half_dtype,
    kernels_for,
    plain,
    real_number,
    result_array,
    returned,
)
from softmax_cy._slices cimport run_slices
from softmax_cy.kernels.table cimport KernelTable, LongKernel, SlicesKernel

cnp.import_array()

# Estimated nanoseconds for a float32 element on one thread.
cdef double PRODUCT_COST = 0.3


cdef enum Product:
    SOFTMAX_VJP
    SOFTMAX_JVP
    LOG_SOFTMAX_VJP
    LOG_SOFTMAX_JVP


cdef object product(
    Product which, object v, str v_name, object y, str y_name, object axis, object scale, object out,
    object num_threads,
):
    """A product of the vector v with a Jacobian that follows from y."""
    cdef int threads = _threads.requested_threads(num_threads)
    cdef object given_v = any_array(v, v_name)
    cdef object given_y = any_array(y, y_name)
    cdef object plain_axes = _layout.plain_axes(axis)
    cdef double factor = <double> scale if type(scale) is float else real_number(scale, "scale")
    cdef ndarray vector = plain(given_v)
    cdef ndarray outputs = plain(given_y)
    cdef int computed = computed_in(vector, v_name)
    cdef int of_outputs = computed_in(outputs, y_name)
    cdef object half = None
    cdef uint64_t axes
    cdef ndarray result
    cdef const KernelTable *kernels
    cdef const LongKernel *long_
    cdef SlicesKernel kernel
    if computed != of_outputs:
        computed = cnp.NPY_DOUBLE
    elif computed == cnp.NPY_FLOAT and half_dtype(vector, computed) == half_dtype(outputs, computed):
        half = half_dtype(vector, computed)
    factor = checked_scale(factor, scale, computed)
    if vector.ndim != outputs.ndim or not cnp.PyArray_CompareLists(vector.shape, outputs.shape, vector.ndim):
        shape = broadcast_shape((<object> vector).shape, (<object> outputs).shape)
        if shape is None:
            raise ValueError(
                f"{v_name} of shape {(<object> vector).shape} and {y_name} of shape {(<object> outputs).shape} do not "
                "broadcast")
        vector, outputs = np.broadcast_to(vector, shape), np.broadcast_to(outputs, shape)
    axes = _layout.slice_axes(plain_axes, vector.ndim)
    result = result_array(out, vector.ndim, vector.shape, computed, half, "out")
    if out is not None:
        if _layout.overlap_partly(vector, result):
            vector = vector.copy()
        if _layout.overlap_partly(outputs, result):
            outputs = outputs.copy()
    kernels = kernels_for(computed)
    if which == LOG_SOFTMAX_VJP:
        kernel = kernels.log_softmax_vjp
        long_ = &kernels.long_log_softmax_vjp
    elif which == LOG_SOFTMAX_JVP:
        kernel = kernels.log_softmax_jvp
        long_ = &kernels.long_log_softmax_jvp
    else:
        # The Jacobian of softmax is symmetric.
        kernel = kernels.softmax_product
        long_ = &kernels.long_softmax_product
    run_slices(kernel, PRODUCT_COST, vector, result, axes, factor, outputs, None, computed, threads, long_)
    return returned(result, out)


cdef object broadcast_shape(tuple a, tuple b):
    """The common shape, or None. NumPy's own function stops at 32 axes."""
    cdef Py_ssize_t ndim = max(len(a), len(b))
    shape = []
    for m, n in zip((1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b):
        if m != n and m != 1 and n != 1:
            return None
        shape.append(n if m == 1 else m)
    return tuple(shape)


def softmax_vjp(grad, y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The gradient in the logits, from that in the outputs of softmax (vector-Jacobian product).

    .. math:: \mathrm{dx}_j = \sum_i g_i \frac{\partial y_i}{\partial x_j} = y_j \Bigl(g_j - \sum_i g_i y_i\Bigr)

    Parameters
    ----------
    grad : array_like
        The gradient of something in the outputs of softmax.
    y : array_like
        What `softmax` returned. Both inputs broadcast against each other; dtypes as for `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The last by default, all of them for None.
    scale : float, optional
        Positive and finite: the derivative is with respect to x in softmax(scale * x).
    out : ndarray, shape and dtype of the result, optional
        Where to write the result. May be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray
        `out` if that was given, otherwise a NumPy scalar if there are no axes. The shape that the inputs broadcast to;
        their dtype, the wider if they differ.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If a dtype is not a supported one, `axis` or `num_threads` is not an integer, `scale` is not a real number, or
        `out` is not an array of the result's dtype.
    ValueError
        If the inputs do not broadcast, an axis is given twice, `scale` is not positive and finite, `out` has another
        shape, is read-only or has elements that overlap, or `num_threads` is less than 1.

    Notes
    -----
    The part that would cancel, where one class holds nearly everything, is taken off before the sum is formed: the
    result keeps its digits there. Where y does not add up to 1, as that of an attention sink, the formula counts as it
    stands. NaN comes of 0 times infinity and of infinity less infinity, element by element.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> import softmax_cy
    >>> y = softmax_cy.softmax(np.array([0.0, 0.0]))
    >>> softmax_cy.softmax_vjp(np.array([1.0, 0.0]), y)
    array([ 0.25, -0.25])
    """
    return product(SOFTMAX_VJP, grad, "grad", y, "y", axis, scale, out, num_threads)


def softmax_jvp(tangent, y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""How the outputs of softmax move as the logits do (Jacobian-vector product).

    .. math:: \mathrm{dy}_i = \sum_j \frac{\partial y_i}{\partial x_j} t_j = y_i \Bigl(t_i - \sum_j y_j t_j\Bigr)

    Parameters
    ----------
    tangent : array_like
        A direction in the logits.
    y : array_like
        What `softmax` returned. Both inputs broadcast against each other; dtypes as for `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The last by default, all of them for None.
    scale : float, optional
        Positive and finite: the derivative is with respect to x in softmax(scale * x).
    out : ndarray, shape and dtype of the result, optional
        Where to write the result. May be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray
        `out` if that was given, otherwise a NumPy scalar if there are no axes. The shape that the inputs broadcast to;
        their dtype, the wider if they differ.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If a dtype is not a supported one, `axis` or `num_threads` is not an integer, `scale` is not a real number, or
        `out` is not an array of the result's dtype.
    ValueError
        If the inputs do not broadcast, an axis is given twice, `scale` is not positive and finite, `out` has another
        shape, is read-only or has elements that overlap, or `num_threads` is less than 1.

    Notes
    -----
    The part that would cancel, where one class holds nearly everything, is taken off before the sum is formed: the
    result keeps its digits there. Where y does not add up to 1, as that of an attention sink, the formula counts as it
    stands. NaN comes of 0 times infinity and of infinity less infinity, element by element.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> import softmax_cy
    >>> y = softmax_cy.softmax(np.array([0.0, 0.0]))
    >>> softmax_cy.softmax_jvp(np.array([1.0, 0.0]), y)
    array([ 0.25, -0.25])
    """
    return product(SOFTMAX_JVP, tangent, "tangent", y, "y", axis, scale, out, num_threads)


def log_softmax_vjp(grad, log_y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The gradient in the logits, from that in the outputs of log_softmax (vector-Jacobian product).

    .. math:: \mathrm{dx}_j = g_j - e^{\log y_j} \sum_i g_i

    Parameters
    ----------
    grad : array_like
        The gradient of something in the outputs of log_softmax.
    log_y : array_like
        What `log_softmax` returned. Both inputs broadcast against each other; dtypes as for `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The last by default, all of them for None.
    scale : float, optional
        Positive and finite: the derivative is with respect to x in log_softmax(scale * x).
    out : ndarray, shape and dtype of the result, optional
        Where to write the result. May be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray
        `out` if that was given, otherwise a NumPy scalar if there are no axes. The shape that the inputs broadcast to;
        their dtype, the wider if they differ.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If a dtype is not a supported one, `axis` or `num_threads` is not an integer, `scale` is not a real number, or
        `out` is not an array of the result's dtype.
    ValueError
        If the inputs do not broadcast, an axis is given twice, `scale` is not positive and finite, `out` has another
        shape, is read-only or has elements that overlap, or `num_threads` is less than 1.

    Notes
    -----
    The sum of the gradient is formed with its rounding errors kept. A probability too small for a number counts where
    that sum is large. NaN comes of 0 times infinity and of infinity less infinity, element by element.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> import softmax_cy
    >>> log_y = softmax_cy.log_softmax(np.array([0.0, 0.0]))
    >>> softmax_cy.log_softmax_vjp(np.array([1.0, 0.0]), log_y)
    array([ 0.5, -0.5])
    """
    return product(LOG_SOFTMAX_VJP, grad, "grad", log_y, "log_y", axis, scale, out, num_threads)


def log_softmax_jvp(tangent, log_y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""How the outputs of log_softmax move as the logits do (Jacobian-vector product).

    .. math:: \mathrm{d}(\log y)_i = t_i - \sum_j e^{\log y_j} t_j

    Parameters
    ----------
    tangent : array_like
        A direction in the logits.
    log_y : array_like
        What `log_softmax` returned. Both inputs broadcast against each other; dtypes as for `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The last by default, all of them for None.
    scale : float, optional
        Positive and finite: the derivative is with respect to x in log_softmax(scale * x).
    out : ndarray, shape and dtype of the result, optional
        Where to write the result. May be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray
        `out` if that was given, otherwise a NumPy scalar if there are no axes. The shape that the inputs broadcast to;
        their dtype, the wider if they differ.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If a dtype is not a supported one, `axis` or `num_threads` is not an integer, `scale` is not a real number, or
        `out` is not an array of the result's dtype.
    ValueError
        If the inputs do not broadcast, an axis is given twice, `scale` is not positive and finite, `out` has another
        shape, is read-only or has elements that overlap, or `num_threads` is less than 1.

    Notes
    -----
    The part that would cancel, where one class holds nearly everything, is taken off before the sum is formed: the
    result keeps its digits there. Where e^log_y does not add up to 1, the formula counts as it stands. NaN comes of 0
    times infinity and of infinity less infinity, element by element.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> import softmax_cy
    >>> log_y = softmax_cy.log_softmax(np.array([0.0, 0.0]))
    >>> softmax_cy.log_softmax_jvp(np.array([1.0, 0.0]), log_y)
    array([ 0.5, -0.5])
    """
    return product(LOG_SOFTMAX_JVP, tangent, "tangent", log_y, "log_y", axis, scale, out, num_threads)
