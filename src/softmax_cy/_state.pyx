"""SoftmaxState: what a part of every slice leaves behind, merged with its neighbours' until the whole is known.

Design:
1. A state is bytes, one row a slice, whose layout kernels/operations/parts.pxi describes. This module checks arguments,
   finds the slices and calls the kernels, slice by slice on one thread: whoever cuts an array has threads of their own.
2. Nothing here depends on where a part lies but its offset, so states can be made, merged and used in any process.
"""

import operator

import numpy as np

cimport cython
cimport numpy as cnp
from libc.math cimport INFINITY
from libc.stdint cimport uintptr_t
from libc.string cimport memset
from numpy cimport ndarray

cimport softmax_cy._layout as _layout
from softmax_cy._arguments cimport (
    broadcast_mask,
    check_scale,
    choose_table,
    convert_array,
    drop_subclass,
    find_computed_type,
    read_dtype,
    read_number,
    unwrap_result,
)
from softmax_cy._call cimport Call, make_result, read_x, round_x, separate
from softmax_cy.kernels.kinds cimport KIND_INT64
from softmax_cy.kernels.table cimport CrossEntropySlices, Elements, KernelTable, Part, PartKernel

cnp.import_array()

# Kernels add the length of a block to places in a slice.
LONGEST = 2**62


cdef struct Walk:
    # What is the same for every slice of a call.
    Part part
    CrossEntropySlices losses
    Elements x_elements, out_elements, mask_elements, weight_elements


cdef ndarray move_last(ndarray array, int axis):
    """Return a view whose last axis is that of the slices, with an axis at least."""
    return np.moveaxis(array, axis, -1)


cdef void walk_slices(
    Walk *walk, PartKernel kernel, ndarray x, ndarray mask, ndarray out, ndarray states, ndarray target, ndarray loss
) except *:
    """Call a kernel for every slice. The slices lie along the last axis of x and mask; all are given or None."""
    cdef cnp.flatiter over_x, over_mask, over_out, over_target, over_loss
    cdef int last = x.ndim - 1 if x is not None else -1
    cdef int axis
    cdef Py_ssize_t i
    if x is not None:
        axis = last
        over_x = cnp.PyArray_IterAllButAxis(x, &axis)
        _layout.describe_elements(&walk.x_elements, x, <unsigned long long> 1 << last)
        walk.part.slices.x_elements = &walk.x_elements
        walk.part.slices.length = x.shape[last]
    if mask is not None:
        axis = last
        over_mask = cnp.PyArray_IterAllButAxis(mask, &axis)
        _layout.describe_elements(&walk.mask_elements, mask, <unsigned long long> 1 << last)
        walk.part.slices.mask_elements = &walk.mask_elements
    if out is not None:
        walk.part.slices.out_elements = &walk.out_elements
        if x is not None:
            axis = last
            over_out = cnp.PyArray_IterAllButAxis(out, &axis)
            _layout.describe_elements(&walk.out_elements, out, <unsigned long long> 1 << last)
        else:
            over_out = cnp.PyArray_IterNew(out)
            _layout.describe_elements(&walk.out_elements, out, 0)
    if target is not None:
        over_target = cnp.PyArray_IterNew(target)
        over_loss = cnp.PyArray_IterNew(loss)
        walk.part.losses = &walk.losses
    walk.part.slices.count = 1
    for i in range(states.shape[0]):
        walk.part.state = cnp.PyArray_BYTES(states) + i * states.shape[1]
        if x is not None:
            walk.part.slices.x = <char *> cnp.PyArray_ITER_DATA(over_x)
            cnp.PyArray_ITER_NEXT(over_x)
        if mask is not None:
            walk.part.slices.mask = <char *> cnp.PyArray_ITER_DATA(over_mask)
            cnp.PyArray_ITER_NEXT(over_mask)
        if out is not None:
            walk.part.slices.out = <char *> cnp.PyArray_ITER_DATA(over_out)
            cnp.PyArray_ITER_NEXT(over_out)
        if target is not None:
            walk.losses.target = <char *> cnp.PyArray_ITER_DATA(over_target)
            walk.losses.loss = <char *> cnp.PyArray_ITER_DATA(over_loss)
            walk.losses.grad = walk.part.slices.out if out is not None else NULL
            cnp.PyArray_ITER_NEXT(over_target)
            cnp.PyArray_ITER_NEXT(over_loss)
        with nogil:
            kernel(&walk.part)


cdef object read_whole_number(object number, str name):
    """Return an int. This runs code of `number`."""
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {number!r}") from None


cdef int check_place(object offset, object count, object length) except -1:
    """See that a part lies within the slices."""
    if not 0 <= offset <= offset + count <= length:
        raise ValueError(
            f"the part holds elements {offset} to {offset + count} of slices of {length}: they must lie within")
    return 0


cdef inline void clear(Walk *walk) noexcept:
    memset(walk, 0, sizeof(Walk))


def softmax_state(x, axis=-1, *, offset=0, length=None, scale=1.0, where=None, dtype=None, exact=True):
    r"""Summarize a part of every slice, so that softmax of the whole can be computed part by part.

    A slice may be too long for one array, or for one machine. Make a state of each part, in any order and process;
    merge them, neighbours with neighbours; and the merged state gives logsumexp of the whole, and softmax, log_softmax
    and cross-entropy of any part. Each result has the bits of the one call on the whole slice, wherever it was cut.

    Parameters
    ----------
    x : array_like, any shape
        The part: elements `offset`, `offset` + 1, ... of every slice. It may be empty along `axis`.
    axis : int, optional
        The axis that is cut. The default is the last.
    offset : int, optional
        Where the part begins in the slices.
    length : int, optional
        The length of the whole slices, the same for all their parts. The default is where this part ends.
    scale : float, optional
        As for `softmax`.
    where : array_like of bool, broadcastable to the shape of `x`, optional
        As for `softmax`.
    dtype : dtype, optional
        As for `softmax`.
    exact : bool, optional
        False makes a state of 128 bytes a slice, whatever its length. The bits of the results then depend on the cuts
        and on the order of the merges. The error bounds are those of the functions: 2 ulp.

    Returns
    -------
    SoftmaxState

    Raises
    ------
    numpy.exceptions.AxisError, TypeError
        These are the same as from `softmax`. `offset` and `length` must be integers too.
    ValueError
        If `x` has no axes, the part does not lie within the slices, `length` is above 2**62, or as from `softmax`.

    Notes
    -----
    For a part P of a slice, the state holds what the sums of the whole are made of: for each block B of fixed borders

    .. math:: m_B = \max_{i \in B} x_i, \qquad s_B = \sum_{i \in B} e^{x_i - m_B}

    and the elements of blocks that P cuts. With ``exact=False`` it holds m and s of P alone, which is the state of
    online softmax [1]_.

    A state holds 128 bytes a slice, 24 bytes for each block of 16 KB (4,096 float32 or 2,048 float64), and the elements
    of the blocks that are cut: fewer than a block at each end of the part. Cut at multiples of a block to avoid these.

    See Also
    --------
    merge_states

    References
    ----------
    .. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv:1805.02867.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import logsumexp, merge_states, softmax, softmax_state
    >>> x = np.arange(5.0)
    >>> left = softmax_state(x[:2], length=5)
    >>> right = softmax_state(x[2:], offset=2, length=5)
    >>> whole = merge_states(left, right)
    >>> whole.logsumexp() == logsumexp(x)
    np.True_
    >>> whole.finish(x[2:], offset=2)
    array([0.08612854, 0.23412166, 0.63640865])
    >>> np.array_equal(whole.finish(x[2:], offset=2), softmax(x)[2:])
    True
    """
    cdef SoftmaxState state = SoftmaxState.__new__(SoftmaxState)
    cdef Walk walk
    cdef Call call
    cdef PartKernel kernel
    cdef ndarray mask = None, array = convert_array(x, "x")
    cdef Py_ssize_t count
    if where is not None:
        mask = convert_array(where, "where")
    axis = _layout.read_axis(axis)
    if dtype is not None:
        dtype = read_dtype(dtype)
    call.scale = read_number(scale, "scale")
    offset = read_whole_number(offset, "offset")
    if length is not None:
        length = read_whole_number(length, "length")
    state.exact = bool(exact)
    array = drop_subclass(array)
    read_x(&call, array, "x", axis)
    if array.ndim == 0:
        raise ValueError("x has no axes: a part of a slice has one at least")
    if mask is not None:
        mask = broadcast_mask(drop_subclass(mask), array)
    if dtype is not None:
        array = round_x(&call, array, dtype)
    state.scale = check_scale(call.scale, scale, call.computed)
    state.axis = _layout.resolve_axis(axis, array.ndim)
    count = array.shape[state.axis]
    if length is None:
        length = offset + count
    check_place(offset, count, length)
    if length > LONGEST:
        raise ValueError(f"length is {length}, expected 2**62 at most")
    state.offset, state.stop, state.length = offset, offset + count, length
    state.masked = mask is not None
    state.computed = call.computed
    if call.half:
        state.dtype = array.dtype.newbyteorder("=")
    else:
        state.dtype = np.dtype(np.float32 if call.computed == cnp.NPY_FLOAT else np.float64)
    state.shape = tuple([array.shape[d] for d in range(array.ndim) if d != state.axis])
    state.make_rows()
    clear(&walk)
    walk.part.offset = state.offset
    walk.part.whole = state.length
    walk.part.exact = state.exact
    walk.part.slices.scale = state.scale
    array = move_last(array, state.axis)
    if mask is not None:
        mask = move_last(mask, state.axis)
    kernel = state.table().state
    walk_slices(&walk, kernel, array, mask, None, state.rows, None, None)
    return state


def merge_states(*states):
    r"""Merge states of neighbouring parts of the same slices into one.

    Parameters
    ----------
    *states : SoftmaxState
        One or more, in any order. Together they must be one stretch of the slices, without gaps and overlaps.

    Returns
    -------
    SoftmaxState
        The arguments stay as they are.

    Raises
    ------
    TypeError
        If an argument is no state.
    ValueError
        If there is none, or two of them do not belong together. The message names both.

    Notes
    -----
    Two sums with shifts m and n become one:

    .. math:: s e^m + t e^n = \bigl(s e^{m - \max(m, n)} + t e^{n - \max(m, n)}\bigr) e^{\max(m, n)}

    Exact states keep the sums of their blocks apart until the whole is known, so that the result does not depend on the
    order of merges. States of ``exact=False`` are added at once, as in [1]_.

    See Also
    --------
    softmax_state

    References
    ----------
    .. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv:1805.02867.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_cy import logsumexp, merge_states, softmax_state
    >>> x = np.linspace(-1, 1, 30_000)
    >>> parts = [softmax_state(x[i : i + 10_000], offset=i, length=30_000) for i in (20_000, 0, 10_000)]
    >>> merge_states(*parts)
    <SoftmaxState of elements 0 to 30000 of 30000, shape (), axis 0, float64, scale 1>
    >>> merge_states(*parts).logsumexp() == logsumexp(x)
    np.True_
    """
    if not states:
        raise ValueError("there is no state to merge")
    for state in states:
        if not isinstance(state, SoftmaxState):
            raise TypeError(f"expected a SoftmaxState, got {type(state).__name__}")
    # In a tree: one after the other would copy the first ones over and over.
    row = sorted(states, key=operator.attrgetter("offset", "stop"))
    while len(row) > 1:
        left_over = [row.pop()] if len(row) % 2 else []
        row = [merge_two(first, second) for first, second in zip(row[::2], row[1::2])] + left_over
    return row[0]


cdef SoftmaxState merge_two(SoftmaxState first, SoftmaxState second):
    """Merge two states, of which the second follows the first."""
    cdef SoftmaxState state = SoftmaxState.__new__(SoftmaxState)
    cdef Walk walk
    cdef Py_ssize_t i
    for name in ("dtype", "length", "scale", "axis", "shape", "exact"):
        if getattr(first, name) != getattr(second, name):
            raise ValueError(
                f"states of different {name} do not belong together: {getattr(first, name)} of {first!r} and "
                f"{getattr(second, name)} of {second!r}")
    if first.stop != second.offset:
        what = "overlap" if first.stop > second.offset else "have a gap between them"
        raise ValueError(f"states of neighbours are needed, but these {what}: {first!r} and {second!r}")
    state.copy_description(first)
    state.stop = second.stop
    state.masked = first.masked or second.masked
    state.make_rows()
    clear(&walk)
    for i in range(state.rows.shape[0]):
        walk.part.state = cnp.PyArray_BYTES(state.rows) + i * state.rows.shape[1]
        walk.part.first = cnp.PyArray_BYTES(first.rows) + i * first.rows.shape[1]
        walk.part.second = cnp.PyArray_BYTES(second.rows) + i * second.rows.shape[1]
        state.table().merged_state(&walk.part)
    return state


def restore_state(rows, description):
    """Return the state that these bytes are of: the inverse of pickling one."""
    cdef SoftmaxState state = SoftmaxState.__new__(SoftmaxState)
    (state.offset, state.stop, state.length, state.axis, state.shape, state.scale, state.dtype, state.exact,
     state.masked, state.computed) = description
    state.make_rows()
    if rows.shape != (<object> state.rows).shape or rows.dtype != np.uint8:
        raise ValueError("these bytes are no SoftmaxState of this version")
    state.rows = np.ascontiguousarray(rows)
    # Bytes that travelled outside of the pickle may begin anywhere, and kernels read doubles.
    if <uintptr_t> cnp.PyArray_DATA(state.rows) % sizeof(double):
        state.rows = state.rows.copy()
    return state


@cython.final
cdef class SoftmaxState:
    """What a part of every slice leaves behind: made by `softmax_state`, merged by `merge_states`.

    Only a state of the whole slices has results. Those of a part need the part once more. States can be pickled. They
    are equal if they are of the same part and have the same bytes.

    Attributes
    ----------
    offset, stop : int
        The part is elements `offset` to `stop` - 1 of every slice.
    length : int
        The length of the whole slices.
    axis : int
        The axis of the slices.
    shape : tuple of int
        The shape of `x` without this axis.
    scale : float
        What the elements are multiplied by.
    dtype : dtype
        That of the results.
    exact : bool
        Whether results have the bits of one call on the whole.
    masked : bool
        Whether a mask was given for any of it.
    is_complete : bool
        Whether the part is the whole.
    nbytes : int
        The size of the state.

    Examples
    --------
    >>> import pickle
    >>> from softmax_cy import softmax, softmax_state
    >>> state = softmax_state([1.0, 2.0, 3.0])
    >>> state.is_complete
    True
    >>> pickle.loads(pickle.dumps(state)) == state
    True
    >>> state.finish([2.0, 3.0], offset=1)
    array([0.24472847, 0.66524096])
    """

    cdef readonly Py_ssize_t offset, stop, length
    cdef readonly int axis
    cdef readonly tuple shape
    cdef readonly double scale
    cdef readonly object dtype
    cdef readonly bint exact, masked
    cdef int computed
    cdef ndarray rows               # bytes, one row a slice

    def __init__(self):
        raise TypeError("call softmax_state to make a state")

    cdef const KernelTable *table(self) noexcept:
        return choose_table(self.computed)

    cdef int make_rows(self) except -1:
        """Make room for the states."""
        cdef Py_ssize_t size
        self.table().state_size(self.exact, self.offset, self.stop, self.length, &size)
        self.rows = np.zeros((int(np.prod(self.shape, dtype=np.intp)), size), np.uint8)
        return 0

    cdef int copy_description(self, SoftmaxState other) except -1:
        self.offset, self.stop, self.length = other.offset, other.stop, other.length
        self.axis, self.shape, self.scale = other.axis, other.shape, other.scale
        self.dtype, self.exact, self.masked, self.computed = other.dtype, other.exact, other.masked, other.computed
        return 0

    @property
    def is_complete(self):
        return self.offset == 0 and self.stop == self.length

    @property
    def nbytes(self):
        return self.rows.nbytes

    def merge(self, *others):
        """Merge this state with its neighbours: `merge_states`."""
        return merge_states(self, *others)

    def __repr__(self):
        inexact = "" if self.exact else ", exact=False"
        return (
            f"<SoftmaxState of elements {self.offset} to {self.stop} of {self.length}, shape {self.shape}, axis "
            f"{self.axis}, {self.dtype}, scale {self.scale:g}{inexact}>")

    def _describe(self):
        return (
            self.offset, self.stop, self.length, self.axis, self.shape, self.scale, self.dtype, self.exact,
            self.masked, self.computed)

    def __eq__(self, other):
        if not isinstance(other, SoftmaxState):
            return NotImplemented
        return self._describe() == other._describe() and self.rows.tobytes() == (<SoftmaxState> other).rows.tobytes()

    __hash__ = None

    def __reduce__(self):
        return restore_state, (self.rows, self._describe())

    def __sizeof__(self):
        return object.__sizeof__(self) + self.rows.nbytes

    cdef int check_complete(self) except -1:
        if not self.is_complete:
            raise ValueError(f"merge the states of all parts first: this is {self!r}")
        return 0

    cdef ndarray read_part(self, Call *call, ndarray x, object offset):
        """Return a part as an array of the type that the state is of. Its place is an int already."""
        cdef ndarray array = drop_subclass(x)
        self.check_complete()
        read_x(call, array, "x", self.axis if array.ndim > self.axis else -1)
        call.half = self.dtype.itemsize == 2
        call.computed = self.computed
        call.scale = self.scale
        if call.half and array.dtype != self.dtype:
            array = round_x(call, array, self.dtype)
        shape = (<object> array).shape
        if array.ndim != len(self.shape) + 1 or shape[:self.axis] + shape[self.axis + 1:] != self.shape:
            raise ValueError(
                f"x has shape {shape}, expected {self.shape} with one more axis at {self.axis}")
        check_place(offset, array.shape[self.axis], self.length)
        return array

    cdef object write_part(self, PartKernel kernel, object x, object offset, object where, object out):
        """Compute a result of the shape of a part."""
        cdef Walk walk
        cdef Call call
        cdef ndarray mask = None, result, array, target
        array = convert_array(x, "x")
        if where is not None:
            mask = convert_array(where, "where")
        offset = read_whole_number(offset, "offset")
        # From here on no code of the caller runs.
        array = self.read_part(&call, array, offset)
        if mask is not None:
            mask = broadcast_mask(drop_subclass(mask), array)
        result = make_result(&call, array, out, array.ndim, array.shape, "out")
        if out is not None:
            array = separate(array, result, True)
            if mask is not None:
                mask = separate(mask, result, False)
        clear(&walk)
        walk.part.offset = offset
        walk.part.whole = self.length
        walk.part.slices.scale = self.scale
        if cnp.PyArray_SIZE(array) > 0:
            array = move_last(array, self.axis)
            if mask is not None:
                mask = move_last(mask, self.axis)
            target = move_last(result, self.axis)
            walk_slices(&walk, kernel, array, mask, target, self.rows, None, None)
        return unwrap_result(result, out)

    def logsumexp(self, *, keepdims=False):
        """Return logsumexp of every whole slice: shape `shape`, dtype `dtype`.

        Parameters
        ----------
        keepdims : bool, optional
            Whether the axis of the slices stays, with length one.

        Raises
        ------
        ValueError
            If parts are missing.
        """
        cdef Walk walk
        cdef PartKernel kernel
        self.check_complete()
        result = np.empty(self.shape, self.dtype)
        if self.length == 0:
            result.fill(-INFINITY)
        elif result.size > 0:
            clear(&walk)
            kernel = self.table().logsumexp_of_state
            walk_slices(&walk, kernel, None, None, result, self.rows, None, None)
        if keepdims:
            return np.expand_dims(result, self.axis)
        return unwrap_result(result, None)

    def finish(self, x, offset, *, where=None, out=None):
        """Return softmax of a part of the slices.

        Parameters
        ----------
        x : array_like
            The part, as it was given to `softmax_state`. It may be cut in another way.
        offset : int
            Where this part begins.
        where : array_like of bool, optional
            As it was given to `softmax_state`, of the elements of this part.
        out : ndarray, same shape as `x`, dtype `dtype`, optional
            The result is written here. It may be `x` itself.

        Returns
        -------
        ndarray, same shape as `x`

        Raises
        ------
        TypeError, ValueError
            If parts are missing, `x` does not fit into the slices, or as from `softmax`.
        """
        return self.write_part(self.table().softmax_of_part, x, offset, where, out)

    def finish_log(self, x, offset, *, where=None, out=None):
        """Return log_softmax of a part of the slices: the arguments are those of `finish`."""
        return self.write_part(self.table().log_softmax_of_part, x, offset, where, out)

    def cross_entropy(self, x, target, offset, *, weight=None, ignore_index=None):
        """Return the losses of the slices whose target lies in a part, and 0 for the others.

        The sum over all parts is `cross_entropy(x, target, reduction="none")` of the whole.

        Parameters
        ----------
        x : array_like
            The part, as it was given to `softmax_state`.
        target : array_like of int, shape `shape`
            The class of each slice, counted from the beginning of the slice.
        offset : int
            Where this part begins.
        weight : array_like, shape (length,), optional
            One weight a class, of all classes.
        ignore_index : int, optional
            Slices with this target do not count: their losses and gradients are 0.

        Returns
        -------
        ndarray, shape `shape`
            A slice without a softmax is NaN in every part.

        Raises
        ------
        TypeError, ValueError
            If parts are missing, the state has a scale or a mask, a target is out of range, or an argument does not
            fit.
        """
        return self.find_losses(x, target, offset, weight, ignore_index, None)

    def cross_entropy_and_grad(self, x, target, offset, *, weight=None, ignore_index=None, grad_scale=1.0):
        """Return the losses as `cross_entropy` does, and their gradient with respect to the part.

        Parameters
        ----------
        x, target, offset, weight, ignore_index
            These are the same as for `cross_entropy`.
        grad_scale : float, optional
            The gradient is multiplied by this: 1 / slices makes it that of the mean.

        Returns
        -------
        loss : ndarray, shape `shape`
            What `cross_entropy` returns.
        grad : ndarray, same shape as `x`
            The gradient of the sum of the losses of all parts.

        Raises
        ------
        TypeError, ValueError
            These are the same as from `cross_entropy`.
        """
        return self.find_losses(x, target, offset, weight, ignore_index, read_number(grad_scale, "grad_scale"))

    cdef object find_losses(
        self, object x, object target, object offset, object weight, object ignore_index, object grad_scale
    ):
        """Return losses, and gradients where there is a factor for them."""
        cdef Walk walk
        cdef Call call
        cdef PartKernel kernel
        cdef ndarray array, indices, weights = None, grad = None, moved = None, loss
        array = convert_array(x, "x")
        indices = convert_array(target, "target")
        if weight is not None:
            weights = convert_array(weight, "weight")
        offset = read_whole_number(offset, "offset")
        if ignore_index is not None:
            ignore_index = read_whole_number(ignore_index, "ignore_index")
        # From here on no code of the caller runs.
        if self.scale != 1:
            raise ValueError(f"a loss has no scale, but this is {self!r}")
        if self.masked:
            raise ValueError(f"a loss has no mask, but one was given for {self!r}")
        array = self.read_part(&call, array, offset)
        clear(&walk)
        indices = self.read_indices(drop_subclass(indices), ignore_index)
        walk.losses.index_kind = KIND_INT64
        walk.losses.any_ignored = True
        walk.losses.ignored = -1
        walk.losses.length = self.length
        walk.losses.grad_factor = 1 if grad_scale is None else grad_scale
        if weights is not None:
            weights = drop_subclass(weights)
            find_computed_type(weights, "weight")
            if (<object> weights).shape != (self.length,):
                raise ValueError(f"weight has shape {(<object> weights).shape}, expected {(self.length,)}")
            _layout.describe_elements(&walk.weight_elements, weights, 1)
            walk.losses.weight = cnp.PyArray_BYTES(weights)
            walk.losses.weight_elements = &walk.weight_elements
        loss = np.empty(self.shape, self.dtype)
        walk.losses.loss_kind = _layout.find_kind(loss)
        if grad_scale is not None:
            grad = make_result(&call, array, None, array.ndim, array.shape, "grad")
        walk.part.offset = offset
        walk.part.whole = self.length
        walk.part.slices.scale = 1
        array = move_last(array, self.axis)
        if grad is not None:
            moved = move_last(grad, self.axis)
        kernel = self.table().loss_of_part
        walk_slices(&walk, kernel, array, None, moved, self.rows, indices, loss)
        result = unwrap_result(loss, None)
        return result if grad_scale is None else (result, grad)

    cdef ndarray read_indices(self, ndarray target, object ignore_index):
        """Return the classes as a new array of int64, with -1 where a slice does not count."""
        if target.dtype.kind not in "iu":
            raise TypeError(f"target has dtype {target.dtype}, expected an integer type")
        if (<object> target).shape != self.shape:
            raise ValueError(f"target has shape {(<object> target).shape}, expected {self.shape}")
        ignored = np.zeros(self.shape, bool)
        if ignore_index is not None:
            limits = np.iinfo(target.dtype)
            if limits.min <= ignore_index <= limits.max:
                ignored = np.equal(target, target.dtype.type(ignore_index))
        wrong = ((target < 0) | (target >= self.length)) & ~ignored
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            at = f"[{', '.join(map(str, place))}]" if place else ""
            raise ValueError(f"target{at} is {target[place]}, expected 0 <= target < {self.length}")
        return np.asarray(np.where(ignored, -1, target.astype(np.int64)))
