"""cross_entropy and cross_entropy_and_grad: losses from the logits and the targets, with no array between.

Design:
1. Everything is checked, each index too, before anything is written. A kernel checks an index once more as it uses it,
   because another thread may write the target meanwhile.
2. Losses that are not asked for one by one are added as they come, a chunk of slices at a time. The chunks depend on
   the shape alone, so the sum does not depend on the threads.
3. A batch that lies in several places (softmax_cy.dask) has the same sum: compute_part leaves the losses of a part
   unreduced and unrounded, and add_losses adds those of the whole batch in the same chunks.
"""

import operator

import numpy as np

from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cimport cython
cimport numpy as cnp
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
cimport softmax_cy._threads as _threads
from softmax_cy._arguments cimport (
    choose_table,
    convert_array,
    drop_subclass,
    estimate_time,
    find_computed_type,
    read_number,
    unwrap_result,
)
from softmax_cy._call cimport Call, make_result, read_x, separate
from softmax_cy._long cimport is_worth_sharing, share_loss
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


class TargetOutOfRange(ValueError):
    """The index of a slice is no class. softmax_cy.torch tells it from other errors of value by this type."""


cdef struct CrossEntropyWork:
    CrossEntropyKernel kernel
    const LongKernel *shared        # NULL: each slice is computed by one thread
    int threads                     # that share a slice
    double nanoseconds              # that a slice takes one thread
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
    # Neumaier's sum: what rounding takes from it is added by itself.
    double sum_
    double lost


cdef inline void add(Sum *total, double term) noexcept nogil:
    """Add a term to a sum."""
    cdef double sum_ = total.sum_ + term
    if sum_ - sum_ == 0:
        # Where the sum is infinite or NaN, so is the result, and nothing is lost.
        if fabs(total.sum_) >= fabs(term):
            total.lost += (total.sum_ - sum_) + term
        else:
            total.lost += (term - sum_) + total.sum_
    total.sum_ = sum_


cdef inline Py_ssize_t count_in_chunk(Py_ssize_t length) noexcept nogil:
    """Return how many slices of this length make a chunk."""
    return max(1, min(<Py_ssize_t> MOST_IN_CHUNK, CHUNK_LENGTH // max(1, length)))


cdef inline double add_chunk(const char *losses, Py_ssize_t count, bint single) noexcept nogil:
    """Return the sum of the losses of one chunk."""
    cdef Py_ssize_t i
    cdef Sum total
    total.sum_ = total.lost = 0
    for i in range(count):
        add(&total, (<const float *> losses)[i] if single else (<const double *> losses)[i])
    return total.sum_ + total.lost


cdef void compute_losses(const CrossEntropyWork *work, Py_ssize_t begin, Py_ssize_t end, char *losses) noexcept nogil:
    """Compute the slices of a range. If `losses` is NULL, their losses go where the caller wants them."""
    cdef CrossEntropySlices slices = work.slices
    cdef Py_ssize_t first = begin
    cdef _layout.Series series
    while begin < end:
        _layout.find_series(&work.outer, begin, end, &series)
        slices.x = work.slices.x + series.offset[0]
        slices.target = work.slices.target + series.offset[1]
        slices.x_next = series.stride[0]
        slices.target_next = series.stride[1]
        if losses != NULL:
            slices.loss_next = sizeof(float) if work.single else sizeof(double)
            slices.loss = losses + (begin - first) * slices.loss_next
        else:
            slices.loss = work.slices.loss + series.offset[2]
            slices.loss_next = series.stride[2]
        if slices.grad != NULL:
            slices.grad = work.slices.grad + series.offset[3]
            slices.grad_next = series.stride[3]
        slices.count = series.count
        if work.shared != NULL:
            # Slices that threads share are computed one by one.
            slices.count = 1
            if not share_loss(work.shared, &slices, work.nanoseconds, work.threads):
                work.kernel(&slices)
        else:
            work.kernel(&slices)
        begin += slices.count


cdef void compute_chunks(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Be a task whose items are chunks of slices."""
    cdef const CrossEntropyWork *work = <const CrossEntropyWork *> context
    cdef double[MOST_IN_CHUNK] losses
    cdef Py_ssize_t chunk, first, count
    for chunk in range(begin, end):
        first = chunk * work.in_chunk
        count = min(work.in_chunk, work.outer.count - first)
        if work.one_by_one:
            compute_losses(work, first, first + count, NULL)
            continue
        compute_losses(work, first, first + count, <char *> losses)
        work.sums[chunk] = add_chunk(<char *> losses, count, work.single)


cdef inline double read_weight(const CrossEntropyWork *work, Py_ssize_t class_) noexcept nogil:
    """Return the weight of a class as the kernel sees it."""
    cdef double weight = real_at(
        work.slices.weight + class_ * work.weight_elements.strides[0], work.weight_elements.kind)
    return <float> weight if work.single else weight


cdef double add_weights(const CrossEntropyWork *work) noexcept nogil:
    """Return the sum of the weights of all classes."""
    cdef Sum total
    cdef Py_ssize_t class_
    if work.slices.weight == NULL:
        return work.slices.length
    total.sum_ = total.lost = 0
    for class_ in range(work.slices.length):
        add(&total, read_weight(work, class_))
    return total.sum_ + total.lost


cdef struct Count:
    Py_ssize_t wrong        # the first slice whose index is out of range, or -1
    int64_t index           # of that slice
    Sum weight              # of all targets that are not ignored


cdef Count check_indices(const CrossEntropyWork *work) noexcept nogil:
    """Look at the index of each slice, up to the first that is out of range, and add their weights."""
    cdef const CrossEntropySlices *slices = &work.slices
    cdef Py_ssize_t begin = 0, i
    cdef _layout.Series series
    cdef int64_t index
    cdef Count count
    count.wrong = -1
    count.index = 0
    count.weight.sum_ = count.weight.lost = 0
    while begin < work.outer.count:
        _layout.find_series(&work.outer, begin, work.outer.count, &series)
        for i in range(series.count):
            index = integer_at(slices.target + series.offset[1] + i * series.stride[1], slices.index_kind)
            if slices.any_ignored and index == slices.ignored:
                continue
            if not 0 <= index < slices.length:
                count.wrong = begin + i
                count.index = index
                return count
            add(&count.weight, 1 if slices.weight == NULL else read_weight(work, index))
        begin += series.count
    return count


@cython.final
cdef class Problem:
    """The arguments of one call, checked."""

    cdef Call call
    cdef ndarray x, target          # with an axis at least
    cdef ndarray weight             # one number a class, or None
    cdef tuple shape, batch         # of the logits as given, and without the axis of the classes
    cdef bint of_indices, any_ignored
    cdef int64_t ignored            # as integer_at reads it
    cdef double smoothing
    cdef str reduction
    cdef object out                 # without its class
    cdef bint of_part               # of a batch: the losses are not reduced, and have the type of the computation
    cdef double part_factor         # what the gradient of a part is multiplied by

    cdef int read_target(self) except -1:
        """Look at the target: whether it holds indices or probabilities, and its shape."""
        cdef ndarray target = drop_subclass(self.target)
        self.target = target
        self.of_indices = target.dtype.kind in "iu"
        if not self.of_indices:
            if target.dtype.kind == "b":
                raise TypeError("target has dtype bool: expected an integer or floating type")
            find_computed_type(target, "target")
        if (<object> target).shape != (self.batch if self.of_indices else self.shape):
            raise ValueError(
                f"target has shape {(<object> target).shape} and dtype {target.dtype}, expected integers of shape "
                f"{self.batch} for class indices or floats of shape {self.shape} for probabilities")
        return 0

    cdef int read_weight(self) except -1:
        """Look at the weights of the classes."""
        self.weight = drop_subclass(self.weight)
        find_computed_type(self.weight, "weight")
        expected = (self.count_classes(),)
        if (<object> self.weight).shape != expected:
            raise ValueError(f"weight has shape {(<object> self.weight).shape}, expected {expected}")
        return 0

    cdef int read_ignored(self, object ignored) except -1:
        """Look at the index that is ignored."""
        if not self.of_indices:
            raise ValueError("ignore_index applies to class indices, and target holds probabilities")
        least = 0 if self.is_of_uint64() else -2**63
        self.any_ignored = least <= ignored < least + 2**64
        self.ignored = <int64_t> <uint64_t> (ignored % 2**64)
        return 0

    cdef Py_ssize_t count_classes(self) noexcept:
        """Return the length of a slice."""
        return _layout.measure_slice(self.x, self.call.axes)

    cdef bint is_of_uint64(self) noexcept:
        """Tell whether a negative number from integer_at is an index too large for an int64."""
        return _layout.find_kind(self.target) & ~KIND_SWAPPED == KIND_UINT64

    cdef ndarray make_array(self, tuple shape, object out):
        """Return `out`, or a new array, for a result of this shape."""
        cdef cnp.npy_intp[_layout.MAX_NDIM] lengths
        for d, length in enumerate(shape):
            lengths[d] = length
        return make_result(&self.call, self.x, out, <int> len(shape), lengths, "out")

    cdef void describe(self, CrossEntropyWork *work):
        """Fill in all of the work but where the results go."""
        work.kernel = choose_table(self.call.computed).cross_entropy
        work.single = self.call.computed == cnp.NPY_FLOAT
        work.one_by_one = self.reduction == "none"
        work.slices.x = cnp.PyArray_BYTES(self.x)
        work.slices.target = cnp.PyArray_BYTES(self.target)
        work.slices.weight = NULL if self.weight is None else cnp.PyArray_BYTES(self.weight)
        work.slices.loss = work.slices.grad = NULL
        work.slices.length = self.count_classes()
        work.slices.x_elements = &work.x_elements
        work.slices.weight_elements = &work.weight_elements
        work.slices.target_elements = NULL if self.of_indices else &work.target_elements
        work.slices.index_kind = _layout.find_kind(self.target)
        work.slices.grad_elements = &work.grad_elements
        work.slices.smoothing = self.smoothing
        work.slices.grad_factor = 1
        work.slices.any_ignored = self.any_ignored
        work.slices.ignored = self.ignored
        _layout.describe_elements(&work.x_elements, self.x, self.call.axes)
        if not self.of_indices:
            _layout.describe_elements(&work.target_elements, self.target, self.call.axes)
        if self.weight is not None:
            _layout.describe_elements(&work.weight_elements, self.weight, 1)
        work.slices.weight_sum = add_weights(work)
        _layout.describe_outer(&work.outer, self.x, self.target, None, None, self.call.axes)

    cdef object make_index_error(self, Py_ssize_t slice_, int64_t index):
        """Return the error that names this index of this slice."""
        position = np.unravel_index(slice_, self.batch) if self.batch else ()
        at = f"[{', '.join(map(str, position))}]" if position else ""
        cdef object true_index = index
        if self.is_of_uint64():
            true_index = <uint64_t> index
        return TargetOutOfRange(f"target{at} is {true_index}, expected 0 <= target < {self.count_classes()}")

    cdef int separate_operands(self, ndarray result) except -1:
        """Copy each operand that would change, while it is still needed, as the result is written."""
        self.x = separate(self.x, result, True)
        self.target = separate(self.target, result, not self.of_indices)
        if self.weight is not None:
            self.weight = separate(self.weight, result, False)
        return 0


cdef Problem read_problem(
    object x, object target, object axis, object weight, object ignore_index, object label_smoothing, object reduction,
    object out, object num_threads,
):
    """Return the arguments of a call, converted and then checked."""
    cdef Problem problem = Problem.__new__(Problem)
    problem.x = convert_array(x, "x")
    problem.target = convert_array(target, "target")
    if weight is not None:
        problem.weight = convert_array(weight, "weight")
    axis = _layout.read_axis(axis)
    ignored = None if ignore_index is None else read_index(ignore_index)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    problem.reduction = REDUCTIONS[REDUCTIONS.index(reduction)]
    problem.smoothing = read_smoothing(label_smoothing)
    problem.call.threads = _threads.read_threads(num_threads)
    # From here on no code of the caller runs.
    problem.out = drop_subclass(<ndarray> out) if isinstance(out, ndarray) else out
    problem.x = drop_subclass(problem.x)
    read_x(&problem.call, problem.x, "x", axis)
    problem.shape = (<object> problem.x).shape
    problem.batch = tuple([
        problem.shape[d] for d in range(problem.x.ndim) if not _layout.has_axis(problem.call.axes, d)])
    problem.read_target()
    if problem.x.ndim == 0:
        problem.x = problem.x.reshape(1)
        if not problem.of_indices:
            problem.target = problem.target.reshape(1)
    if problem.weight is not None:
        problem.read_weight()
    if ignored is not None:
        problem.read_ignored(ignored)
    return problem


cdef object read_index(object ignore_index):
    """Return the index that is ignored as an int. This runs code of `ignore_index`."""
    try:
        return operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer or None, got {ignore_index!r}") from None


cdef double read_smoothing(object label_smoothing) except -1:
    """Return the smoothing as a number between 0 and 1. This runs code of `label_smoothing`."""
    cdef double value = read_number(label_smoothing, "label_smoothing")
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")
    return value


cdef object compute_problem(bint with_grad, Problem problem, object out):
    """Return the loss, or the loss and the gradient, which `out` is for then."""
    cdef CrossEntropyWork work
    cdef Call call = problem.call
    cdef ndarray grads = None, grads_ = None, losses, losses_, sums
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
            raise problem.make_index_error(count.wrong, count.index)
        divisor = count.weight.sum_ + count.weight.lost
    if with_grad:
        grads = problem.make_array(problem.shape, problem.out)
        grads_ = grads if grads.ndim else grads.reshape(1)
    if problem.of_part:
        losses = np.empty(problem.batch, np.float32 if work.single else np.float64)
    else:
        losses = problem.make_array(problem.batch if work.one_by_one else (), None if with_grad else problem.out)

    if out is not None:
        problem.separate_operands(grads_ if with_grad else losses)
        problem.describe(&work)
    if with_grad:
        work.slices.grad = cnp.PyArray_BYTES(grads_)
        _layout.describe_elements(&work.grad_elements, grads_, call.axes)
    if problem.reduction == "mean":
        work.slices.grad_factor = 1 / divisor if divisor != 0 else NAN
    elif problem.of_part:
        work.slices.grad_factor = problem.part_factor
    losses_ = None
    work.slices.loss_kind = KIND_FLOAT32 if work.single else KIND_FLOAT64
    if work.one_by_one:
        losses_ = losses
        work.slices.loss = cnp.PyArray_BYTES(losses)
        work.slices.loss_kind = _layout.find_kind(losses)
    _layout.describe_outer(&work.outer, problem.x, problem.target, losses_, grads_, call.axes)

    if work.slices.length == 0:
        # Nothing can be lost: the losses are 0, and there is no gradient.
        work.outer.count = 0
        if work.one_by_one:
            losses.fill(0)
    work.in_chunk = count_in_chunk(work.slices.length)
    chunks = (work.outer.count + work.in_chunk - 1) // work.in_chunk
    work.sums = few_sums
    if chunks > FEW_CHUNKS and not work.one_by_one:
        sums = np.empty(chunks, np.float64)
        work.sums = <double *> cnp.PyArray_DATA(sums)
    nanoseconds = estimate_time(CROSS_ENTROPY_COST, cnp.PyArray_SIZE(problem.x), call.computed)
    work.shared = NULL
    work.threads = call.threads
    work.nanoseconds = nanoseconds / max(1, work.outer.count)
    if work.outer.count < work.threads and is_worth_sharing(work.slices.length, work.nanoseconds, work.threads):
        work.shared = &choose_table(call.computed).long_cross_entropy
        with nogil:
            compute_chunks(&work, 0, chunks)
    else:
        _threads.run(compute_chunks, &work, chunks, call.threads, nanoseconds)
    if not work.one_by_one:
        total.sum_ = total.lost = 0
        for chunk in range(chunks):
            add(&total, work.sums[chunk])
        put(losses, (total.sum_ + total.lost) * work.slices.grad_factor)
    if with_grad:
        return unwrap_result(losses, None), unwrap_result(grads, out)
    return unwrap_result(losses, out)


cdef int put(ndarray result, double value) except -1:
    """Write a value into a 0-d result, rounded to the computed type first. Too large a value becomes an infinity."""
    cdef float single_value = <float> value
    if cnp.PyArray_TYPE(result) == cnp.NPY_DOUBLE:
        memcpy(cnp.PyArray_DATA(result), &value, sizeof(double))
    elif cnp.PyArray_TYPE(result) == cnp.NPY_FLOAT:
        memcpy(cnp.PyArray_DATA(result), &single_value, sizeof(float))
    else:
        with np.errstate(over="ignore"):
            result[...] = np.float32(single_value)
    return 0


def compute_part(bint with_grad, x, target, axis, weight, ignore_index, label_smoothing, double factor):
    """Return the losses of a part of a batch in the type of the computation, and the gradient times `factor`, or None.

    softmax_cy.dask calls this: a sum over the batch is rounded once, and its mean divides by what no part knows.
    """
    problem = read_problem(x, target, axis, weight, ignore_index, label_smoothing, "none", None, 1)
    problem.of_part = True
    problem.part_factor = factor
    result = compute_problem(with_grad, problem, None)
    return result if with_grad else (result, None)


def add_losses(losses, Py_ssize_t length, double factor, dtype):
    """Return the sum of all losses of a batch times `factor`, with the bits of the whole batch in one call.

    The losses are in C order and of the type of the computation. The slices have this length.
    """
    cdef ndarray flat = np.ascontiguousarray(losses, None if losses.dtype == np.float32 else np.float64).reshape(-1)
    cdef ndarray result = np.empty((), dtype)
    cdef bint single = cnp.PyArray_TYPE(flat) == cnp.NPY_FLOAT
    cdef const char *data = cnp.PyArray_BYTES(flat)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(flat), in_chunk = count_in_chunk(length), first = 0
    cdef Py_ssize_t itemsize = sizeof(float) if single else sizeof(double)
    cdef Sum total
    total.sum_ = total.lost = 0
    with nogil:
        while first < size:
            add(&total, add_chunk(data + first * itemsize, min(in_chunk, size - first), single))
            first += in_chunk
    put(result, (total.sum_ + total.lost) * factor)
    return result[()]


def add_target_weights(dtype, target, Py_ssize_t length, weight, ignore_index):
    """Return the sum of the weights of all targets of a batch, by which the mean divides. Logits have this dtype."""
    cdef CrossEntropyWork work
    cdef Count count
    x = np.broadcast_to(np.zeros((), dtype), (*np.shape(target), length))
    problem = read_problem(x, target, -1, weight, ignore_index, 0.0, "none", None, 1)
    problem.describe(&work)
    count = check_indices(&work)
    if count.wrong >= 0:
        raise problem.make_index_error(count.wrong, count.index)
    return count.weight.sum_ + count.weight.lost


def cross_entropy(
    x, target, axis=-1, *, weight=None, ignore_index=None, label_smoothing=0.0, reduction="mean", out=None,
    num_threads=None,
):
    r"""Cross-entropy of logits against class indices or probabilities.

    .. math:: \ell = -\sum_c w_c q_c \log y_c, \quad y = \mathrm{softmax}(x)

    Parameters
    ----------
    x : array_like, shape (..., n, ...)
        The logits. The dtype may be any of those of `softmax`.
    target : array_like
        Either class indices, of any integer dtype and the shape of `x` without `axis`: q is 1 there and 0 elsewhere.
        Or the probabilities q themselves, of a floating dtype and the shape of `x`.
    axis : int, optional
        The axis of the classes. The default is the last one.
    weight : array_like, shape (n,), optional
        The weight w of each class. By default all weights are 1.
    ignore_index : int, optional
        Slices with this target index have no loss and do not count in the mean. It need not be a class.
    label_smoothing : float, optional
        A number between 0 and 1. It replaces q by (1 - label_smoothing) * q + label_smoothing / n.
    reduction : {"mean", "sum", "none"}, optional
        What is returned of the losses of all slices. The mean divides by the sum of the targets' weights where the
        target holds indices, and by the number of slices where it holds probabilities.
    out : ndarray, shape and dtype of the result, optional
        The result is written here. The array is 0-d for a mean or a sum.
    num_threads : int, optional
        The call uses at most this many threads. It must be at least 1; the default is what `get_num_threads` returns.

    Returns
    -------
    ndarray or scalar
        This is `out` if that was given. Otherwise it is a NumPy scalar, or for "none" an array of the shape of `x`
        without `axis`, if that has an axis. The dtype is that of a floating `x`, and otherwise float64.

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
    -inf, gives NaN. The mean over no slices, or over weights that add up to 0, is NaN. So is its gradient where a slice
    counts.

    If another thread writes the target during the call, losses and gradients may belong to old or to new indices, and
    the mean may be over the weights of either. An index that is out of range by then gives NaN for its slice.

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
    problem = read_problem(x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads)
    return compute_problem(False, problem, out)


def cross_entropy_and_grad(
    x, target, axis=-1, *, weight=None, ignore_index=None, label_smoothing=0.0, reduction="mean", out=None,
    num_threads=None,
):
    r"""Cross-entropy and its gradient in the logits, in one call.

    .. math:: \frac{\partial \ell}{\partial x_c} = y_c \sum_k w_k q_k - w_c q_c, \quad y = \mathrm{softmax}(x)

    Parameters
    ----------
    x, target, axis, weight, ignore_index, label_smoothing, reduction, num_threads
        These are the same as for `cross_entropy`.
    out : ndarray, same shape as `x`, dtype of the result, optional
        The gradient is written here. It may be `x` itself.

    Returns
    -------
    loss : ndarray or scalar
        What `cross_entropy` returns without `out`.
    grad : ndarray, same shape as `x`
        The gradient of the loss, or for "none" that of the sum of the losses. This is `out` if that was given.

    Raises
    ------
    numpy.exceptions.AxisError, TypeError, ValueError
        These are the same as from `cross_entropy`.

    Notes
    -----
    At the target of a slice that is nearly certain y - 1 keeps its digits, because it is formed from the other classes.

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
    problem = read_problem(x, target, axis, weight, ignore_index, label_smoothing, reduction, out, num_threads)
    return compute_problem(True, problem, out)
