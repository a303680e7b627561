"""cross_entropy and cross_entropy_and_grad: from the logits and the targets, with no array between.

Design:
1. Everything is checked, each index too, before anything is written. A kernel checks the indices once more as it uses
   them: another thread may write the target meanwhile.
2. Losses that are not asked for one by one are added as they come, a chunk of slices at a time. The chunks depend on
   the shape alone, so the sum does not depend on the threads.
3. What an argument runs of its own while it is converted (`__array__`, `__index__`) may resize any array. So all are
   converted before the first shape is looked at.
"""

import operator

import numpy as np

from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    any_array,
    array_for,
    computed_in,
    cost,
    half_dtype,
    kernels_for,
    plain,
    real_number,
    returned,
)
from softmax_cy._long cimport pays, run_long_loss
from softmax_cy.kernels.kinds cimport KIND_FLOAT32, KIND_FLOAT64, KIND_SWAPPED, KIND_UINT64, integer_at, real_at
from softmax_cy.kernels.table cimport CrossEntropyKernel, CrossEntropySlices, Elements, LongKernel

cnp.import_array()

# Estimated nanoseconds for a float32 logit on one thread.
cdef double CROSS_ENTROPY_COST = 0.6

cdef enum:
    MOST_IN_CHUNK = 1024    # slices
    CHUNK_LENGTH = 16384    # elements
    FEW_CHUNKS = 64


cdef tuple REDUCTIONS = ("mean", "sum", "none")


cdef struct CrossEntropyWork:
    CrossEntropyKernel kernel
    const LongKernel *long_         # NULL: no slice is shared
    int threads                     # that share each slice
    double nanoseconds              # of each slice
    CrossEntropySlices slices       # of the first slice
    _layout.Outer outer
    Elements x_elements
    Elements target_elements
    Elements weight_elements
    Elements grad_elements
    bint one_by_one                 # the losses are results
    bint single                     # the kernel's reals are float
    Py_ssize_t in_chunk
    double *sums                    # one a chunk


cdef struct Sum:
    # Neumaier's: what rounding takes from the sum is added by itself.
    double sum_
    double lost


cdef inline void add(Sum *total, double term) noexcept nogil:
    cdef double sum_ = total.sum_ + term
    if sum_ - sum_ == 0:
        # Where it is infinite or NaN, so is the result.
        if fabs(total.sum_) >= fabs(term):
            total.lost += (total.sum_ - sum_) + term
        else:
            total.lost += (term - sum_) + total.sum_
    total.sum_ = sum_


cdef void losses_into(const CrossEntropyWork *work, Py_ssize_t begin, Py_ssize_t end, char *losses) noexcept nogil:
    """The slices of a range. Their losses side by side, or where the caller wants them if `losses` is NULL."""
    cdef CrossEntropySlices slices = work.slices
    cdef Py_ssize_t first = begin
    cdef _layout.Run run
    while begin < end:
        _layout.run_at(&work.outer, begin, end, &run)
        slices.x = work.slices.x + run.offset[0]
        slices.target = work.slices.target + run.offset[1]
        slices.x_next = run.stride[0]
        slices.target_next = run.stride[1]
        if losses != NULL:
            slices.loss_next = sizeof(float) if work.single else sizeof(double)
            slices.loss = losses + (begin - first) * slices.loss_next
        else:
            slices.loss = work.slices.loss + run.offset[2]
            slices.loss_next = run.stride[2]
        if slices.grad != NULL:
            slices.grad = work.slices.grad + run.offset[3]
            slices.grad_next = run.stride[3]
        slices.count = run.count
        if work.long_ != NULL:
            # One by one, whatever the strides.
            slices.count = 1
            if not run_long_loss(work.long_, &slices, work.nanoseconds, work.threads):
                work.kernel(&slices)
        else:
            work.kernel(&slices)
        begin += slices.count


cdef void cross_entropy_task(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Items are chunks."""
    cdef const CrossEntropyWork *work = <const CrossEntropyWork *> context
    cdef double[MOST_IN_CHUNK] losses
    cdef Py_ssize_t chunk, first, count, i
    cdef Sum total
    for chunk in range(begin, end):
        first = chunk * work.in_chunk
        count = min(work.in_chunk, work.outer.count - first)
        if work.one_by_one:
            losses_into(work, first, first + count, NULL)
            continue
        losses_into(work, first, first + count, <char *> losses)
        total.sum_ = total.lost = 0
        for i in range(count):
            add(&total, (<float *> losses)[i] if work.single else losses[i])
        work.sums[chunk] = total.sum_ + total.lost


cdef inline double weight_at(const CrossEntropyWork *work, Py_ssize_t class_) noexcept nogil:
    """As the kernel sees it."""
    cdef double weight = real_at(
        work.slices.weight + class_ * work.weight_elements.strides[0], work.weight_elements.kind)
    return <float> weight if work.single else weight


cdef double sum_of_weights(const CrossEntropyWork *work) noexcept nogil:
    cdef Sum total
    cdef Py_ssize_t class_
    if work.slices.weight == NULL:
        return work.slices.length
    total.sum_ = total.lost = 0
    for class_ in range(work.slices.length):
        add(&total, weight_at(work, class_))
    return total.sum_ + total.lost


cdef struct Count:
    Py_ssize_t wrong        # the first slice whose index is out of range, or -1
    int64_t index           # of it
    Sum weight              # of the targets that are not ignored


cdef Count check_indices(const CrossEntropyWork *work) noexcept nogil:
    cdef const CrossEntropySlices *slices = &work.slices
    cdef Py_ssize_t begin = 0, i
    cdef _layout.Run run
    cdef int64_t index
    cdef Count count
    count.wrong = -1
    count.weight.sum_ = count.weight.lost = 0
    while begin < work.outer.count:
        _layout.run_at(&work.outer, begin, work.outer.count, &run)
        for i in range(run.count):
            index = integer_at(slices.target + run.offset[1] + i * run.stride[1], slices.index_kind)
            if slices.any_ignored and index == slices.ignored:
                continue
            if not 0 <= index < slices.length:
                count.wrong = begin + i
                count.index = index
                return count
            add(&count.weight, 1 if slices.weight == NULL else weight_at(work, index))
        begin += run.count
    return count


cdef class Problem:
    """The arguments, checked."""
    cdef ndarray logits, labels     # with at least one axis
    cdef ndarray weights            # one a class, or None
    cdef tuple shape, batch         # of the logits as given, and without the axis of the classes
    cdef object half                # half_dtype
    cdef int computed, index, threads
    cdef uint64_t axes
    cdef bint of_indices, any_ignored
    cdef int64_t ignored            # integer_at of it
    cdef double smoothing
    cdef str reduction
    cdef object out                 # as given
    cdef object out_array           # not of a subclass

    def __init__(self, x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads):
        x = any_array(x, "x")
        target = any_array(target, "target")
        weight = None if weight is None else any_array(weight, "weight")
        axis = _layout.plain_axis(axis)
        ignored = converted_index(ignore_index)
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = REDUCTIONS[REDUCTIONS.index(reduction)]
        self.smoothing = checked_smoothing(label_smoothing)
        self.threads = _threads.requested_threads(num_threads)
        # From here on no code of the caller runs.
        self.logits = plain(x)
        self.labels = plain(target)
        self.out = out
        self.out_array = plain(out) if isinstance(out, ndarray) else out
        self.computed = computed_in(self.logits, "x")
        self.half = half_dtype(self.logits, self.computed)
        self.index = _layout.slice_axis(axis, self.logits.ndim)
        self.axes = <uint64_t> 1 << self.index
        self.shape = (<object> self.logits).shape
        self.batch = self.shape[:self.index] + self.shape[self.index + 1:]
        self.of_indices = self.labels.dtype.kind in "iu"
        if not self.of_indices:
            if self.labels.dtype.kind == "b":
                raise TypeError("target has dtype bool: expected an integer or floating type")
            computed_in(self.labels, "target")
        expected = self.batch if self.of_indices else self.shape
        if (<object> self.labels).shape != expected:
            raise ValueError(
                f"target has shape {(<object> self.labels).shape} and dtype {self.labels.dtype}, expected integers of "
                f"shape {self.batch} for class indices or floats of shape {self.shape} for probabilities")
        if self.logits.ndim == 0:
            self.logits = self.logits.reshape(1)
            self.labels = self.labels if self.of_indices else self.labels.reshape(1)
        if weight is not None:
            self.weights = checked_weights(weight, self.logits.shape[self.index])
        if ignored is not None:
            if not self.of_indices:
                raise ValueError("ignore_index applies to class indices, and target holds probabilities")
            least = 0 if self.of_uint64() else -2**63
            self.any_ignored = least <= ignored < least + 2**64
            self.ignored = <int64_t> <uint64_t> (ignored % 2**64)

    cdef bint of_uint64(self) noexcept:
        """Whether a negative integer_at is that of an index too large for an int64."""
        return _layout.element_kind(self.labels) & ~KIND_SWAPPED == KIND_UINT64

    cdef ndarray array(self, tuple shape, bint is_out):
        """For a result of this shape, which `out` is for or not."""
        half = self.half
        return array_for(self.out_array if is_out else None, shape, self.computed, half, "out")

    cdef void describe(self, CrossEntropyWork *work):
        """All of the work but where the results go."""
        work.kernel = kernels_for(self.computed).cross_entropy
        work.single = self.computed == cnp.NPY_FLOAT
        work.one_by_one = self.reduction == "none"
        work.slices.x = cnp.PyArray_BYTES(self.logits)
        work.slices.target = cnp.PyArray_BYTES(self.labels)
        work.slices.weight = NULL if self.weights is None else cnp.PyArray_BYTES(self.weights)
        work.slices.loss = work.slices.grad = NULL
        work.slices.length = self.logits.shape[self.index]
        work.slices.x_elements = &work.x_elements
        work.slices.weight_elements = &work.weight_elements
        work.slices.target_elements = NULL if self.of_indices else &work.target_elements
        work.slices.index_kind = _layout.element_kind(self.labels)
        work.slices.grad_elements = &work.grad_elements
        work.slices.smoothing = self.smoothing
        work.slices.grad_factor = 1
        work.slices.any_ignored = self.any_ignored
        work.slices.ignored = self.ignored
        _layout.slice_elements(&work.x_elements, self.logits, self.axes)
        if not self.of_indices:
            _layout.slice_elements(&work.target_elements, self.labels, self.axes)
        if self.weights is not None:
            _layout.slice_elements(&work.weight_elements, self.weights, 1)
        work.slices.weight_sum = sum_of_weights(work)
        _layout.outer_axes(&work.outer, self.logits, self.labels, None, None, self.axes)

    cdef object index_error(self, Py_ssize_t slice_, int64_t index):
        """For this index of this slice."""
        position = np.unravel_index(slice_, self.batch) if self.batch else ()
        at = f"[{', '.join(map(str, position))}]" if position else ""
        cdef object true_index = index
        if self.of_uint64():
            true_index = <uint64_t> index
        return ValueError(f"target{at} is {true_index}, expected 0 <= target < {self.logits.shape[self.index]}")

    cdef bint separate_from(self, ndarray result) except -1:
        """Copy what writing to the result would destroy; whether there was anything."""
        cdef bint any_copied = False
        if _layout.overlap_partly(self.logits, result):
            self.logits = self.logits.copy()
            any_copied = True
        if _layout.may_overlap(self.labels, result) if self.of_indices else _layout.overlap_partly(self.labels, result):
            self.labels = self.labels.copy()
            any_copied = True
        if self.weights is not None and _layout.may_overlap(self.weights, result):
            self.weights = self.weights.copy()
            any_copied = True
        return any_copied


cdef object cross_entropies(bint with_grad, Problem problem):
    """The loss, or the loss and the gradient."""
    cdef CrossEntropyWork work
    cdef ndarray grads = None, grads_ = None, losses, sums
    cdef double[FEW_CHUNKS] few_sums
    cdef Py_ssize_t chunks
    cdef Sum total
    cdef Count count
    cdef double divisor, nanoseconds
    problem.describe(&work)
    divisor = work.outer.count
    if problem.of_indices:
        count = check_indices(&work)
        if count.wrong >= 0:
            raise problem.index_error(count.wrong, count.index)
        divisor = count.weight.sum_ + count.weight.lost
    if with_grad:
        grads = problem.array(problem.shape, True)
        grads_ = grads if grads.ndim else grads.reshape(1)
    losses = problem.array(problem.batch if work.one_by_one else (), not with_grad)

    if problem.separate_from(grads_ if with_grad else losses):
        problem.describe(&work)
    if with_grad:
        work.slices.grad = cnp.PyArray_BYTES(grads_)
        _layout.slice_elements(&work.grad_elements, grads_, problem.axes)
    if problem.reduction == "mean":
        work.slices.grad_factor = 1 / divisor if divisor != 0 else NAN
    if work.one_by_one:
        work.slices.loss = cnp.PyArray_BYTES(losses)
        work.slices.loss_kind = _layout.element_kind(losses)
    else:
        work.slices.loss_kind = KIND_FLOAT32 if work.single else KIND_FLOAT64
    _layout.outer_axes(
        &work.outer, problem.logits, problem.labels, losses if work.one_by_one else None, grads_, problem.axes)

    if work.slices.length == 0:
        # Nothing to lose: the losses are 0, and there is no gradient.
        work.outer.count = 0
        if work.one_by_one:
            losses.fill(0)
    work.in_chunk = max(1, min(<Py_ssize_t> MOST_IN_CHUNK, CHUNK_LENGTH // max(1, work.slices.length)))
    chunks = (work.outer.count + work.in_chunk - 1) // work.in_chunk
    work.sums = few_sums
    if chunks > FEW_CHUNKS and not work.one_by_one:
        sums = np.empty(chunks, np.float64)
        work.sums = <double *> cnp.PyArray_DATA(sums)
    nanoseconds = cost(CROSS_ENTROPY_COST, cnp.PyArray_SIZE(problem.logits), problem.computed)
    work.long_ = NULL
    work.threads = problem.threads
    work.nanoseconds = nanoseconds / max(1, work.outer.count)
    if work.outer.count < work.threads and pays(work.slices.length, work.nanoseconds, work.threads):
        work.long_ = &kernels_for(problem.computed).long_cross_entropy
        with nogil:
            cross_entropy_task(&work, 0, chunks)
    else:
        _threads.run(cross_entropy_task, &work, chunks, problem.threads, nanoseconds)
    if not work.one_by_one:
        total.sum_ = total.lost = 0
        for chunk in range(chunks):
            add(&total, work.sums[chunk])
        put(losses, (total.sum_ + total.lost) * work.slices.grad_factor)
    if with_grad:
        return returned(losses, None), returned(grads, problem.out)
    return returned(losses, problem.out)


cdef int put(ndarray result, double value) except -1:
    """The value in a 0-d result, by way of the computed type; too large a value is an infinity."""
    cdef float single_value = <float> value
    if cnp.PyArray_TYPE(result) == cnp.NPY_DOUBLE:
        memcpy(cnp.PyArray_DATA(result), &value, sizeof(double))
    elif cnp.PyArray_TYPE(result) == cnp.NPY_FLOAT:
        memcpy(cnp.PyArray_DATA(result), &single_value, sizeof(float))
    else:
        with np.errstate(over="ignore"):
            result[...] = np.float32(single_value)
    return 0


cdef object converted_index(object ignore_index):
    if ignore_index is None:
        return None
    try:
        return operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer or None, got {ignore_index!r}") from None


cdef ndarray checked_weights(object weight, Py_ssize_t classes):
    cdef ndarray weights = plain(weight)
    computed_in(weights, "weight")
    if (<object> weights).shape != (classes,):
        raise ValueError(f"weight has shape {(<object> weights).shape}, expected {(classes,)}")
    return weights


cdef double checked_smoothing(object label_smoothing) except -1:
    cdef double value = real_number(label_smoothing, "label_smoothing")
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")
    return value


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
        Where to write the result; 0-d for a mean or a sum.
    num_threads : int, optional
        At most so many threads, at least 1. By default what `get_num_threads` returns.

    Returns
    -------
    ndarray or scalar
        `out` if that was given. Otherwise a NumPy scalar, or for "none" an array of the shape of `x` without `axis`, if
        that has an axis. The dtype is that of `x` for a floating `x`, otherwise float64.

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
    -inf, gives NaN. The mean over no slices, or over weights that add up to 0, is NaN, and so is its gradient where a
    slice counts.

    If another thread writes the target during the call, losses and gradients may be of old or of new indices, and the
    mean may be over the weights of either. An index that is out of range by then gives NaN for its slice.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import cross_entropy
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 2.0]]), [0, 0]).round(8)
    np.float64(1.12692801)
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 2.0]]), [0, 0], reduction="none")
    array([0.12692801, 2.12692801])
    """
    return cross_entropies(
        False, Problem(x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads))


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
    loss : ndarray or scalar
        As `cross_entropy` returns it without `out`.
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
    >>> loss.round(8), grad
    (np.float64(0.69314718), array([[ 0.5, -0.5]]))
    """
    return cross_entropies(
        True, Problem(x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads))
