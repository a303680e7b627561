"""The softmax family on Dask arrays, with the bits of one call on the whole array in memory.

>>> import dask.array as da
>>> import numpy as np
>>> import softmax_cy.dask
>>> x = da.from_array(np.array([[1.0, 2.0, 3.0]]), chunks=(1, 2))
>>> y = softmax_cy.dask.softmax(x)
>>> y
dask.array<softmax, shape=(1, 3), dtype=float64, chunksize=(1, 2), chunktype=numpy.ndarray>
>>> y.compute()
array([[0.09003057, 0.24472847, 0.66524096]])

The functions have the arguments of those in `softmax_cy`, without `out` and `num_threads`: a kernel uses one thread,
because Dask has its own. Nothing is computed before Dask is asked to. docs/scale.md says which function costs what.

Design:
1. Where the slices lie within chunks, each chunk is a call by itself.
2. Where one axis of the slices is cut, each chunk leaves a `SoftmaxState`. A tree merges the states of a slice, and
   each chunk is finished with the whole state. Of several axes the first that is longer than one may be cut; the
   others are made one chunk first.
3. What has no state of a part is made one chunk along the slices first: products, and losses with probabilities or
   with label smoothing.
4. Arguments are checked when the graph is built, by a call of the function in memory on arrays of one element that
   have the dtypes of the chunks. The values of targets are checked in the tasks.
"""

from __future__ import annotations

from typing import Any

try:
    import dask.array as da
except ImportError:
    raise ImportError('softmax_cy.dask needs Dask: pip install "softmax_cy[dask]"') from None

from softmax_cy.dask._forward import compute_forward
from softmax_cy.dask._losses import compute_loss
from softmax_cy.dask._products import compute_product

__all__ = [
    "cross_entropy",
    "cross_entropy_and_grad",
    "log_softmax",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "softmax",
    "softmax_jvp",
    "softmax_vjp",
]


def softmax(
    x: Any,
    axis: Any = -1,
    *,
    scale: Any = 1.0,
    where: Any = None,
    dtype: Any = None,
    low_memory: bool = False,
    split_every: int | None = None,
) -> da.Array:
    r"""Softmax of Dask arrays, in chunks of any sizes.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Parameters
    ----------
    x : dask.array.Array or array_like, any shape
        The logits, in blocks that are NumPy arrays. The dtype may be any of those of `softmax_cy.softmax`.
    axis : int, tuple of int or None, optional
        The results add up to one along these axes, taken together. The default is the last axis; None means all axes.
        The sizes of the chunks along them must be known.
    scale : float, optional
        The result is softmax(scale * x). The scale must be positive and finite.
    where : array_like of bool, broadcastable to the shape of `x`, optional
        True keeps an element, False drops it from its slice. The mask may be a Dask array in chunks of any sizes.
    dtype : dtype, optional
        `x` is converted to this dtype first: float16, bfloat16, float32 or float64.
    low_memory : bool, optional
        This matters only where slices lie in several chunks. Such chunks are needed twice. False keeps each chunk in
        memory from the first time to the second. True computes all chunks again once the sums are there: `x` is read
        or computed twice, and no chunk waits.
    split_every : int, optional
        A task merges at most this many states of parts of a slice. The default is that of Dask's reductions.

    Returns
    -------
    dask.array.Array, same shape as `x`
        The dtype is that of a floating `x`, and otherwise float64. The chunks are those of `x`, unless several axes of
        a slice are cut.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the blocks of an array are not NumPy arrays, a dtype is not a supported one, `axis` or `split_every` is not
        an integer, or `scale` is not a real number.
    ValueError
        If the chunk sizes along the slices are unknown, an axis is given twice, `scale` is not positive and finite,
        `where` does not broadcast, or `split_every` is less than 2.

    Notes
    -----
    The result has the bits of `softmax_cy.softmax` on the whole array, whatever the chunks are, and in whatever order
    they arrive.

    If the slices have several axes, the first of them that is longer than one may be cut. Along the others each slice
    is brought into one chunk first (`rechunk`). The first axis is then cut more finely, so that the chunks stay as
    large as they are, if they can.

    References
    ----------
    .. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867, 2018.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import softmax
    >>> softmax(da.zeros(8, chunks=3)).compute()
    array([0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125])
    """
    return compute_forward("softmax", x, axis, where, split_every, low_memory, scale=scale, dtype=dtype)


def log_softmax(
    x: Any,
    axis: Any = -1,
    *,
    scale: Any = 1.0,
    where: Any = None,
    dtype: Any = None,
    low_memory: bool = False,
    split_every: int | None = None,
) -> da.Array:
    r"""The logarithm of softmax of Dask arrays, with the digits that taking the logarithm afterwards would lose.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Parameters
    ----------
    x, axis, scale, where, dtype, low_memory, split_every
        These are the same as for `softmax`.

    Returns
    -------
    dask.array.Array, same shape as `x`
        The dtype is that of a floating `x`, and otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `softmax`.

    Notes
    -----
    The result has the bits of `softmax_cy.log_softmax` on the whole array. What the notes of `softmax` say of chunks
    holds here, too.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA
       Journal of Numerical Analysis 41, 2021.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import log_softmax
    >>> log_softmax(da.zeros(2, chunks=1)).compute()
    array([-0.69314718, -0.69314718])
    """
    return compute_forward("log_softmax", x, axis, where, split_every, low_memory, scale=scale, dtype=dtype)


def logsumexp(
    x: Any,
    axis: Any = -1,
    *,
    scale: Any = 1.0,
    where: Any = None,
    keepdims: bool = False,
    dtype: Any = None,
    split_every: int | None = None,
) -> da.Array:
    r"""The logarithm of a sum of exponentials of Dask arrays.

    .. math:: \log \sum_j e^{x_j}

    Parameters
    ----------
    x, axis, scale, where, dtype, split_every
        These are the same as for `softmax`.
    keepdims : bool, optional
        True keeps the axes that were summed over, with length one.

    Returns
    -------
    dask.array.Array, shape of `x` without the axes summed over
        The dtype is that of a floating `x`, and otherwise float64.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `softmax`.

    Notes
    -----
    The result has the bits of `softmax_cy.logsumexp` on the whole array. Each chunk is read once, and only the small
    states of the chunks stay in memory.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA
       Journal of Numerical Analysis 41, 2021.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import logsumexp
    >>> logsumexp(da.zeros((2, 2), chunks=1)).compute()
    array([0.69314718, 0.69314718])
    """
    return compute_forward("logsumexp", x, axis, where, split_every, scale=scale, keepdims=keepdims, dtype=dtype)


def softmax_vjp(grad: Any, y: Any, axis: Any = -1, *, scale: Any = 1.0) -> da.Array:
    r"""The gradient in the logits, from the gradient in the outputs of softmax (vector-Jacobian product).

    .. math:: \mathrm{dx}_j = y_j \left(g_j - \sum_i g_i y_i\right)

    Parameters
    ----------
    grad : dask.array.Array or array_like
        The gradient of something in the outputs of softmax.
    y : dask.array.Array or array_like
        What `softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`,
        and their chunks may differ.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in softmax(scale * x). The scale must be positive and finite.

    Returns
    -------
    dask.array.Array, the shape that the inputs broadcast to
        The dtype is theirs, or the wider one if they differ. There is one chunk along `axis`.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the blocks of an array are not NumPy arrays, a dtype is not a supported one, `axis` is not an integer, or
        `scale` is not a real number.
    ValueError
        If the inputs do not broadcast, the chunk sizes along `axis` are unknown, an axis is given twice, or `scale` is
        not positive and finite.

    Notes
    -----
    The result has the bits of `softmax_cy.softmax_vjp` on the whole arrays. Inputs that are cut along `axis` are
    brought into one chunk along it first (`rechunk`). A task then holds whole slices of both inputs and of the result:
    make the chunks along the other axes small enough for that.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import softmax, softmax_vjp
    >>> y = softmax(da.zeros(2, chunks=1))
    >>> softmax_vjp(da.arange(2, chunks=2), y).compute()
    array([-0.25,  0.25])
    """
    return compute_product("softmax_vjp", grad, "grad", y, "y", axis, scale)


def softmax_jvp(tangent: Any, y: Any, axis: Any = -1, *, scale: Any = 1.0) -> da.Array:
    r"""The direction in which the outputs of softmax move (Jacobian-vector product), of Dask arrays.

    .. math:: \mathrm{dy}_i = y_i \left(t_i - \sum_j t_j y_j\right)

    Parameters
    ----------
    tangent : dask.array.Array or array_like
        A direction in the logits.
    y : dask.array.Array or array_like
        What `softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`,
        and their chunks may differ.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in softmax(scale * x). The scale must be positive and finite.

    Returns
    -------
    dask.array.Array, the shape that the inputs broadcast to
        The dtype is theirs, or the wider one if they differ. There is one chunk along `axis`.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the blocks of an array are not NumPy arrays, a dtype is not a supported one, `axis` is not an integer, or
        `scale` is not a real number.
    ValueError
        If the inputs do not broadcast, the chunk sizes along `axis` are unknown, an axis is given twice, or `scale` is
        not positive and finite.

    Notes
    -----
    The result has the bits of `softmax_cy.softmax_jvp` on the whole arrays. Inputs that are cut along `axis` are
    brought into one chunk along it first (`rechunk`). A task then holds whole slices of both inputs and of the result:
    make the chunks along the other axes small enough for that.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import softmax, softmax_jvp
    >>> y = softmax(da.zeros(2, chunks=1))
    >>> softmax_jvp(da.arange(2, chunks=2), y).compute()
    array([-0.25,  0.25])
    """
    return compute_product("softmax_jvp", tangent, "tangent", y, "y", axis, scale)


def log_softmax_vjp(grad: Any, log_y: Any, axis: Any = -1, *, scale: Any = 1.0) -> da.Array:
    r"""The gradient in the logits, from the gradient in the outputs of log_softmax (vector-Jacobian product).

    .. math:: \mathrm{dx}_j = g_j - e^{\log y_j} \sum_i g_i

    Parameters
    ----------
    grad : dask.array.Array or array_like
        The gradient of something in the outputs of log_softmax.
    log_y : dask.array.Array or array_like
        What `log_softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`,
        and their chunks may differ.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in log_softmax(scale * x). The scale must be positive and finite.

    Returns
    -------
    dask.array.Array, the shape that the inputs broadcast to
        The dtype is theirs, or the wider one if they differ. There is one chunk along `axis`.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the blocks of an array are not NumPy arrays, a dtype is not a supported one, `axis` is not an integer, or
        `scale` is not a real number.
    ValueError
        If the inputs do not broadcast, the chunk sizes along `axis` are unknown, an axis is given twice, or `scale` is
        not positive and finite.

    Notes
    -----
    The result has the bits of `softmax_cy.log_softmax_vjp` on the whole arrays. Inputs that are cut along `axis` are
    brought into one chunk along it first (`rechunk`). A task then holds whole slices of both inputs and of the result:
    make the chunks along the other axes small enough for that.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import log_softmax, log_softmax_vjp
    >>> log_y = log_softmax(da.zeros(2, chunks=1))
    >>> log_softmax_vjp(da.arange(2, chunks=2), log_y).compute()
    array([-0.5,  0.5])
    """
    return compute_product("log_softmax_vjp", grad, "grad", log_y, "log_y", axis, scale)


def log_softmax_jvp(tangent: Any, log_y: Any, axis: Any = -1, *, scale: Any = 1.0) -> da.Array:
    r"""The direction in which the outputs of log_softmax move (Jacobian-vector product), of Dask arrays.

    .. math:: \mathrm{d}(\log y)_i = t_i - \sum_j e^{\log y_j} t_j

    Parameters
    ----------
    tangent : dask.array.Array or array_like
        A direction in the logits.
    log_y : dask.array.Array or array_like
        What `log_softmax` returned. Both inputs broadcast against each other. Their dtypes may be those of `softmax`,
        and their chunks may differ.
    axis : int, tuple of int or None, optional
        The axes that the function was taken along. The default is the last axis; None means all axes.
    scale : float, optional
        The derivative is with respect to x in log_softmax(scale * x). The scale must be positive and finite.

    Returns
    -------
    dask.array.Array, the shape that the inputs broadcast to
        The dtype is theirs, or the wider one if they differ. There is one chunk along `axis`.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the blocks of an array are not NumPy arrays, a dtype is not a supported one, `axis` is not an integer, or
        `scale` is not a real number.
    ValueError
        If the inputs do not broadcast, the chunk sizes along `axis` are unknown, an axis is given twice, or `scale` is
        not positive and finite.

    Notes
    -----
    The result has the bits of `softmax_cy.log_softmax_jvp` on the whole arrays. Inputs that are cut along `axis` are
    brought into one chunk along it first (`rechunk`). A task then holds whole slices of both inputs and of the result:
    make the chunks along the other axes small enough for that.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import log_softmax, log_softmax_jvp
    >>> log_y = log_softmax(da.zeros(2, chunks=1))
    >>> log_softmax_jvp(da.arange(2, chunks=2), log_y).compute()
    array([-0.5,  0.5])
    """
    return compute_product("log_softmax_jvp", tangent, "tangent", log_y, "log_y", axis, scale)


def cross_entropy(
    x: Any,
    target: Any,
    axis: Any = -1,
    *,
    weight: Any = None,
    ignore_index: Any = None,
    label_smoothing: Any = 0.0,
    reduction: str = "mean",
    low_memory: bool = False,
    split_every: int | None = None,
) -> da.Array:
    r"""Cross-entropy of logits in Dask arrays against class indices or probabilities.

    .. math:: \ell = -\sum_c w_c q_c \log y_c, \quad y = \mathrm{softmax}(x)

    Parameters
    ----------
    x : dask.array.Array or array_like, shape (..., n, ...)
        The logits, in blocks that are NumPy arrays.
    target : dask.array.Array or array_like
        Either class indices, of any integer dtype and the shape of `x` without `axis`, or probabilities, of a floating
        dtype and the shape of `x`. The chunks may be of any sizes.
    axis : int, optional
        The axis of the classes. The default is the last one.
    weight : dask.array.Array or array_like, shape (n,), optional
        The weight w of each class. By default all weights are 1.
    ignore_index : int, optional
        Slices with this target index have no loss and do not count in the mean. It need not be a class.
    label_smoothing : float, optional
        A number between 0 and 1. It replaces q by (1 - label_smoothing) * q + label_smoothing / n.
    reduction : {"mean", "sum", "none"}, optional
        What is returned of the losses of all slices.
    low_memory : bool, optional
        True computes `x` twice where slices with weights lie in several chunks, as for `softmax`. Without weights `x`
        is computed once, and no chunk waits, whatever this says.
    split_every : int, optional
        A task merges at most this many states of parts of a slice. The default is that of Dask's reductions.

    Returns
    -------
    dask.array.Array
        It has no axes, or for "none" those of `x` without `axis`. The dtype is that of a floating `x`, and otherwise
        float64.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If the blocks of an array are not NumPy arrays, a dtype is not a supported one, or a number is of the wrong
        kind.
    ValueError
        If the chunk sizes along `axis` are unknown, a shape does not fit, `label_smoothing` is not between 0 and 1,
        `reduction` is unknown, `ignore_index` is given with probabilities, or `split_every` is less than 2. If an
        index is out of range, its task raises the error, which names the chunk.

    Notes
    -----
    The result has the bits of `softmax_cy.cross_entropy` on the whole arrays. For a mean or a sum one task gathers the
    losses of all slices, because their order in the sum is fixed. For a mean with weights or with `ignore_index` one
    task gathers all targets, too.

    With probabilities or with label smoothing, logits that are cut along `axis` are brought into one chunk along it
    first (`rechunk`): a task then holds whole slices.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (label smoothing).

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_cy.dask import cross_entropy
    >>> cross_entropy(da.zeros((2, 2), chunks=1), [0, 1], reduction="none").compute()
    array([0.69314718, 0.69314718])
    """
    return compute_loss(
        False, x, target, axis, weight, ignore_index, label_smoothing, reduction, low_memory, split_every
    )


def cross_entropy_and_grad(
    x: Any,
    target: Any,
    axis: Any = -1,
    *,
    weight: Any = None,
    ignore_index: Any = None,
    label_smoothing: Any = 0.0,
    reduction: str = "mean",
    low_memory: bool = False,
    split_every: int | None = None,
) -> tuple[da.Array, da.Array]:
    r"""Cross-entropy and its gradient in the logits, of Dask arrays.

    .. math:: \frac{\partial \ell}{\partial x_c} = y_c \sum_k w_k q_k - w_c q_c, \quad y = \mathrm{softmax}(x)

    Parameters
    ----------
    x, target, axis, weight, ignore_index, label_smoothing, reduction, split_every
        These are the same as for `cross_entropy`.
    low_memory : bool, optional
        True computes `x` twice where slices lie in several chunks, as for `softmax`.

    Returns
    -------
    loss : dask.array.Array
        What `cross_entropy` returns.
    grad : dask.array.Array, same shape as `x`
        The gradient of the loss, or for "none" that of the sum of the losses. Compute both in one call of
        `dask.compute`: they share their work.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `cross_entropy`.

    Notes
    -----
    The results have the bits of `softmax_cy.cross_entropy_and_grad` on the whole arrays. What the notes of
    `cross_entropy` say of chunks holds here, too.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import dask
    >>> import dask.array as da
    >>> from softmax_cy.dask import cross_entropy_and_grad
    >>> loss, grad = dask.compute(*cross_entropy_and_grad(da.zeros((1, 2), chunks=1), [1]))
    >>> grad
    array([[ 0.5, -0.5]])
    """
    loss, grad = compute_loss(
        True, x, target, axis, weight, ignore_index, label_smoothing, reduction, low_memory, split_every
    )
    return loss, grad
