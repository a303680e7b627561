"""cross_entropy and cross_entropy_and_grad: from the logits and the targets, with no array between."""

import operator

import numpy as np

from libc.math cimport INFINITY
from libc.stdint cimport uint64_t

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport check_out, cost, kernels_for, native_floats, result_dtype
from softmax_cy.kernels.table cimport CrossEntropyKernel, CrossEntropySlices, Elements

cnp.import_array()

# Estimated nanoseconds for a float32 logit on one thread.
cdef double CROSS_ENTROPY_COST = 0.6


cdef struct CrossEntropyWork:
    CrossEntropyKernel kernel
    CrossEntropySlices slices       # of the first slice
    _layout.Outer outer
    Elements x_elements
    Elements target_elements
    Elements grad_elements


cdef void cross_entropy_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const CrossEntropyWork *work = <const CrossEntropyWork *> context
    cdef CrossEntropySlices slices = work.slices
    cdef _layout.Run run
    while begin < end:
        _layout.run_at(&work.outer, begin, end, &run)
        slices.x = work.slices.x + run.offset[0]
        slices.target = work.slices.target + run.offset[1]
        slices.loss = work.slices.loss + run.offset[2]
        slices.x_next = run.stride[0]
        slices.target_next = run.stride[1]
        slices.loss_next = run.stride[2]
        if slices.grad != NULL:
            slices.grad = work.slices.grad + run.offset[3]
            slices.grad_next = run.stride[3]
        slices.count = run.count
        work.kernel(&slices)
        begin += run.count


cdef object checked_indices(ndarray target, Py_ssize_t classes, object ignore_index):
    """The target as int64 in the machine's byte order; every index in range, or ignored."""
    indices = target.astype(np.int64, copy=False)
    wrong = (indices < 0) | (indices >= classes)
    if target.dtype == np.uint64:
        wrong |= target >= classes
    if ignore_index is not None:
        wrong &= (<object> target) != ignore_index
    if wrong.any():
        position = np.unravel_index(wrong.argmax(), wrong.shape) if wrong.ndim else ()
        at = f"[{', '.join(map(str, position))}]" if wrong.ndim else ""
        raise ValueError(f"target{at} is {(<object> target)[position]}, expected 0 <= target < {classes}")
    return indices


cdef object cross_entropies(
    bint with_grad, object x, object target, object axis, object weight, object ignore_index, object label_smoothing,
    object reduction, object out, object num_threads,
):
    """The loss, or the loss and the gradient."""
    cdef CrossEntropyWork work
    cdef int threads = _threads.requested_threads(num_threads)
    cdef ndarray floats = native_floats(x, "x")
    cdef int index = _layout.slice_axis(axis, floats.ndim)
    cdef object dtype = result_dtype(x, floats)
    cdef object labels = np.asarray(target)
    cdef object weights = None
    cdef double factor = 1, sum_of_losses
    cdef bint of_indices = labels.dtype.kind in "iu"
    cdef uint64_t axes = <uint64_t> 1 << index
    cdef ndarray losses, grads = None, result
    shape = (<object> floats).shape
    if floats.ndim == 0:
        floats = floats.reshape(1)
    classes = floats.shape[index]
    batch = shape[:index] + shape[index + 1:]
    if not of_indices and labels.dtype.kind == "b":
        raise TypeError("target has dtype bool: expected an integer or floating type")
    if not of_indices:
        labels = native_floats(labels, "target").astype(floats.dtype, copy=False)
    if labels.shape != (batch if of_indices else shape):
        raise ValueError(
            f"target has shape {labels.shape}, expected {batch} for class indices or {shape} for probabilities")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    smoothing = checked_smoothing(label_smoothing)
    if weight is not None:
        weights = np.ascontiguousarray(native_floats(weight, "weight"), dtype=floats.dtype)
        if np.shape(weight) != (classes,):
            raise ValueError(f"weight has shape {np.shape(weight)}, expected {(classes,)}")
    if ignore_index is not None:
        if not of_indices:
            raise ValueError("ignore_index applies to class indices, and target holds probabilities")
        ignore_index = checked_ignore_index(ignore_index)
    if of_indices:
        labels = checked_indices(labels, classes, ignore_index)
    if out is not None:
        loss_shape = batch if reduction == "none" else ()
        check_out(out, shape if with_grad else loss_shape, dtype)

    losses = np.empty(batch, floats.dtype)
    if reduction == "mean":
        factor = 1 / (count_of(labels, weights, ignore_index) if of_indices else <double> cnp.PyArray_SIZE(losses))
    if with_grad:
        grads = out if out is not None and out.dtype == floats.dtype else np.empty(shape, floats.dtype)
        if floats.ndim != grads.ndim:
            grads = grads.reshape(1)
        if _layout.overlap_partly(floats, grads):
            floats = floats.copy()
        if _layout.may_overlap(labels, grads):
            labels = labels.copy()
        if weights is not None and _layout.may_overlap(weights, grads):
            weights = weights.copy()
    if classes == 0:
        losses.fill(0)
    elif cnp.PyArray_SIZE(floats) > 0:
        work.kernel = kernels_for(floats).cross_entropy
        work.slices.x = cnp.PyArray_BYTES(floats)
        work.slices.target = cnp.PyArray_BYTES(labels)
        work.slices.weight = NULL if weights is None else cnp.PyArray_BYTES(weights)
        work.slices.loss = cnp.PyArray_BYTES(losses)
        work.slices.grad = NULL if grads is None else cnp.PyArray_BYTES(grads)
        work.slices.length = classes
        work.slices.x_elements = &work.x_elements
        work.slices.target_elements = NULL if of_indices else &work.target_elements
        work.slices.grad_elements = &work.grad_elements
        work.slices.smoothing = smoothing
        work.slices.weight_sum = classes if weights is None else weights.sum(dtype=np.float64)
        work.slices.grad_factor = factor
        work.slices.any_ignored = ignore_index is not None
        work.slices.ignored = 0 if ignore_index is None else ignore_index
        _layout.slice_elements(&work.x_elements, floats, axes)
        if not of_indices:
            _layout.slice_elements(&work.target_elements, labels, axes)
        _layout.slice_elements(&work.grad_elements, floats if grads is None else grads, axes)
        _layout.outer_axes(&work.outer, floats, labels, losses, grads, axes)
        _threads.run(cross_entropy_task, &work, work.outer.count, threads, cost(CROSS_ENTROPY_COST, floats))

    result = losses
    if reduction != "none":
        # One number a slice was written, and they are added in one order whatever the threads.
        sum_of_losses = losses.sum(dtype=np.float64)
        result = np.asarray(sum_of_losses * factor, floats.dtype)
    loss = into(result, dtype, None if with_grad else out)
    if not with_grad:
        return loss
    if grads.ndim != len(shape):
        grads = grads.reshape(shape)
    return loss, into(grads, dtype, out)


cdef double count_of(object indices, object weights, object ignore_index) except *:
    """What the mean divides by: the weights of the targets that are not ignored."""
    kept = np.ones(indices.shape, bool) if ignore_index is None else indices != ignore_index
    if weights is None:
        return kept.sum()
    return np.where(kept, weights[np.where(kept, indices, 0)], 0).sum(dtype=np.float64)


cdef object into(object result, object dtype, object out):
    """The result in its final dtype, in `out` if there is one."""
    if out is None:
        return result.astype(dtype, copy=False)
    if not np.may_share_memory(out, result):
        out[...] = result
    return out


cdef double checked_smoothing(object label_smoothing) except -1:
    cdef double value
    try:
        value = label_smoothing
    except TypeError:
        raise TypeError(f"label_smoothing must be a real number, got {label_smoothing!r}") from None
    except OverflowError:
        value = INFINITY
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")
    return value


cdef object checked_ignore_index(object ignore_index):
    """As an int64, or None if no index could be that."""
    try:
        index = operator.index(ignore_index)
        return index if -2**63 <= index < 2**63 else None
    except TypeError:
        raise TypeError(f"ignore_index must be an integer or None, got {ignore_index!r}") from None


def cross_entropy(
    x, target, axis=-1, *, weight=None, ignore_index=None, label_smoothing=0.0, reduction="mean", out=None,
    num_threads=None,
):
    r"""Cross-entropy of logits against class indices or probabilities.

    .. math:: \ell = -\sum_c w_c q_c \log y_c, \quad y = \mathrm{softmax}(x)

    Parameters
    ----------
    x : array_like, shape (..., n, ...)
        Logits. dtypes as for `softmax`.
    target : array_like
        Class indices, of any integer dtype and the shape of `x` without `axis`: q is 1 there and 0 elsewhere. Or the
        probabilities q themselves, floating and of the shape of `x`.
    axis : int, optional
        The axis of the classes. The last by default.
    weight : array_like, shape (n,), optional
        The weight w of each class. All 1 by default.
    ignore_index : int, optional
        Slices with this target index have no loss and do not count in the mean. It need not be a class.
    label_smoothing : float, optional
        Between 0 and 1: q is replaced by (1 - label_smoothing) * q + label_smoothing / n.
    reduction : {"mean", "sum", "none"}, optional
        What is returned of the losses of all slices. The mean divides by the sum of the targets' weights for indices,
        by the number of slices for probabilities.
    out : ndarray, shape and dtype of the result, optional
        Where to write the result.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray
        0-d, or for "none" of the shape of `x` without `axis`. The dtype is that of `x` for a floating `x`, otherwise
        float64.

    Raises
    ------
    numpy.exceptions.AxisError
        If `axis` is out of range.
    TypeError
        If a dtype is not a supported one, a number is of the wrong kind, or `out` is not an array of the result's
        dtype.
    ValueError
        If an index is out of range (the message names its position and value), a shape does not fit, `label_smoothing`
        is not between 0 and 1, `reduction` is unknown, `ignore_index` is given with probabilities, `out` is read-only,
        or `num_threads` is less than 1.

    Notes
    -----
    A class with w_c q_c = 0 does not count, whatever its logit. NaN or +inf among the logits of a slice, or nothing but
    -inf, gives NaN. The mean over no slices is NaN.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import cross_entropy
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 2.0]]), [0, 0])
    array(1.12692801)
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 2.0]]), [0, 0], reduction="none")
    array([0.12692801, 2.12692801])
    """
    return cross_entropies(
        False, x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads)


def cross_entropy_and_grad(
    x, target, axis=-1, *, weight=None, ignore_index=None, label_smoothing=0.0, reduction="mean", out=None,
    num_threads=None,
):
    r"""Cross-entropy and its gradient in the logits, in one call.

    .. math:: \frac{\partial \ell}{\partial x_c} = y_c \sum_k w_k q_k - w_c q_c, \quad y = \mathrm{softmax}(x)

    Parameters
    ----------
    x, target, axis, weight, ignore_index, label_smoothing, reduction, num_threads
        As for `cross_entropy`.
    out : ndarray, same shape as `x`, dtype of the result, optional
        Where to write the gradient. May be `x` itself.

    Returns
    -------
    loss : ndarray
        As `cross_entropy` returns it.
    grad : ndarray, same shape as `x`
        The gradient of the loss; for "none", of the sum of the losses. `out` if that was given.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        As `cross_entropy`.

    Notes
    -----
    At the target of a slice that is nearly certain, y - 1 keeps its digits: it is formed from the other classes.

    References
    ----------
    .. [1] I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import cross_entropy_and_grad
    >>> loss, grad = cross_entropy_and_grad(np.array([[0.0, 0.0]]), [1])
    >>> loss, grad
    (array(0.69314718), array([[ 0.5, -0.5]]))
    """
    return cross_entropies(
        True, x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads)
