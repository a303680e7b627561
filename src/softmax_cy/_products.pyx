"""softmax_vjp and its three sisters: products with a Jacobian that is never formed."""

import numpy as np

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._finders as _finders
from softmax_cy._arguments cimport (
    check_scale,
    convert_array,
    drop_subclass,
    find_computed_type,
    find_half_dtype,
    read_number,
    rounds_to_half,
)
from softmax_cy._call cimport Call, FindKernels, make_result
from softmax_cy._layout cimport read_axes, resolve_axes
from softmax_cy._slices cimport compute
from softmax_cy._threads cimport read_threads

cnp.import_array()


cdef object multiply(
    FindKernels find_kernels, object v, str v_name, object y, str y_name, object axis, object scale, object out,
    object num_threads,
):
    """Call an operation that multiplies the vector v by a Jacobian that follows from y."""
    cdef Call call
    cdef ndarray vector, outputs, result
    cdef int of_outputs
    call.threads = read_threads(num_threads)
    vector = convert_array(v, v_name)
    outputs = convert_array(y, y_name)
    axis = read_axes(axis)
    call.scale = read_number(scale, "scale")
    # From here on no code of the caller runs.
    vector = drop_subclass(vector)
    outputs = drop_subclass(outputs)
    call.half = False
    call.computed = find_computed_type(vector, v_name)
    of_outputs = find_computed_type(outputs, y_name)
    if call.computed != of_outputs:
        call.computed = cnp.NPY_DOUBLE
    elif rounds_to_half(vector, of_outputs) and rounds_to_half(outputs, of_outputs):
        call.half = find_half_dtype(vector) == find_half_dtype(outputs)
    call.scale = check_scale(call.scale, scale, call.computed)
    if vector.ndim != outputs.ndim or not cnp.PyArray_CompareLists(vector.shape, outputs.shape, vector.ndim):
        shape = find_common_shape((<object> vector).shape, (<object> outputs).shape)
        if shape is None:
            raise ValueError(
                f"{v_name} of shape {(<object> vector).shape} and {y_name} of shape {(<object> outputs).shape} do not "
                "broadcast")
        vector, outputs = np.broadcast_to(vector, shape), np.broadcast_to(outputs, shape)
    call.axes = resolve_axes(axis, vector.ndim)
    result = make_result(&call, vector, out, vector.ndim, vector.shape, "out")
    return compute(&call, find_kernels, vector, outputs, None, result, out, True)


cdef object find_common_shape(tuple a, tuple b):
    """Return the shape that both broadcast to, or None. NumPy's own function stops at 32 axes."""
    cdef Py_ssize_t ndim = max(len(a), len(b))
    shape = []
    for m, n in zip((1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b):
        if m != n and m != 1 and n != 1:
            return None
        shape.append(n if m == 1 else m)
    return tuple(shape)


def softmax_vjp(grad, y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The gradient in the logits, from the gradient in the outputs of softmax (vector-Jacobian product).

    .. math:: \mathrm{dx}_j = \sum_i g_i \frac{\partial y_i}{\partial x_j} = y_j \Bigl(g_j - \sum_i g_i y_i\Bigr)

    Parameters
    ----------
    grad : array_like
        The gradient of something in the outputs of softmax.
    y : array_like
        What `softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in softmax(scale * x). The scale must be positive and finite.
    out : ndarray, shape and dtype of the result, optional
        The result is written here. It may be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray
        This is `out` if that was given, and otherwise a NumPy scalar if there are no axes. Its shape is the one that
        the inputs broadcast to. Its dtype is theirs, or the wider one if they differ.

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
    Where one class holds nearly everything, the part that would cancel is taken off before the sum is formed. So the
    result keeps its digits there. Where y does not add up to 1, as with an attention sink, the formula holds as it
    stands. 0 times infinity gives NaN, and so does infinity less infinity, element by element.

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
    return multiply(_finders.find_softmax_vjp_kernels, grad, "grad", y, "y", axis, scale, out, num_threads)


def softmax_jvp(tangent, y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The direction in which the outputs of softmax move as the logits move (Jacobian-vector product).

    .. math:: \mathrm{dy}_i = \sum_j \frac{\partial y_i}{\partial x_j} t_j = y_i \Bigl(t_i - \sum_j y_j t_j\Bigr)

    Parameters
    ----------
    tangent : array_like
        A direction in the logits.
    y : array_like
        What `softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in softmax(scale * x). The scale must be positive and finite.
    out : ndarray, shape and dtype of the result, optional
        The result is written here. It may be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray
        This is `out` if that was given, and otherwise a NumPy scalar if there are no axes. Its shape is the one that
        the inputs broadcast to. Its dtype is theirs, or the wider one if they differ.

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
    Where one class holds nearly everything, the part that would cancel is taken off before the sum is formed. So the
    result keeps its digits there. Where y does not add up to 1, as with an attention sink, the formula holds as it
    stands. 0 times infinity gives NaN, and so does infinity less infinity, element by element.

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
    return multiply(_finders.find_softmax_jvp_kernels, tangent, "tangent", y, "y", axis, scale, out, num_threads)


def log_softmax_vjp(grad, log_y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The gradient in the logits, from the gradient in the outputs of log_softmax (vector-Jacobian product).

    .. math:: \mathrm{dx}_j = g_j - e^{\log y_j} \sum_i g_i

    Parameters
    ----------
    grad : array_like
        The gradient of something in the outputs of log_softmax.
    log_y : array_like
        What `log_softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in log_softmax(scale * x). The scale must be positive and finite.
    out : ndarray, shape and dtype of the result, optional
        The result is written here. It may be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray
        This is `out` if that was given, and otherwise a NumPy scalar if there are no axes. Its shape is the one that
        the inputs broadcast to. Its dtype is theirs, or the wider one if they differ.

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
    The sum of the gradient keeps its rounding errors. A probability too small for a number counts where that sum is
    large. 0 times infinity gives NaN, and so does infinity less infinity, element by element.

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
    return multiply(
        _finders.find_log_softmax_vjp_kernels, grad, "grad", log_y, "log_y", axis, scale, out, num_threads)


def log_softmax_jvp(tangent, log_y, axis=-1, *, scale=1.0, out=None, num_threads=None):
    r"""The direction in which the outputs of log_softmax move as the logits move (Jacobian-vector product).

    .. math:: \mathrm{d}(\log y)_i = t_i - \sum_j e^{\log y_j} t_j

    Parameters
    ----------
    tangent : array_like
        A direction in the logits.
    log_y : array_like
        What `log_softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in log_softmax(scale * x). The scale must be positive and finite.
    out : ndarray, shape and dtype of the result, optional
        The result is written here. It may be one of the inputs, if that has the shape of the result.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray
        This is `out` if that was given, and otherwise a NumPy scalar if there are no axes. Its shape is the one that
        the inputs broadcast to. Its dtype is theirs, or the wider one if they differ.

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
    Where one class holds nearly everything, the part that would cancel is taken off before the sum is formed. So the
    result keeps its digits there. Where e^log_y does not add up to 1, the formula holds as it stands. 0 times infinity
    gives NaN, and so does infinity less infinity, element by element.

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
    return multiply(
        _finders.find_log_softmax_jvp_kernels, tangent, "tangent", log_y, "log_y", axis, scale, out, num_threads)
