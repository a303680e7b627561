"""Array and axes to slices: which addresses belong together, without copying an element.

A call has up to OPERANDS arrays whose axes correspond. Those that the operation works along make a slice: `Elements`
says how its elements lie. `Outer` holds the others: a flat index counts the slices, `run_at` finds where one lies and
how many follow it at one stride. That is all a thread needs to take any part of the work.
"""

import operator

import numpy as np

cimport numpy as cnp
from numpy cimport ndarray

from softmax_cy.kernels.kinds cimport (
    KIND_BFLOAT16,
    KIND_BOOL,
    KIND_FLOAT16,
    KIND_FLOAT32,
    KIND_FLOAT64,
    KIND_INT8,
    KIND_INT16,
    KIND_INT32,
    KIND_INT64,
    KIND_SWAPPED,
    KIND_UINT8,
    KIND_UINT16,
    KIND_UINT32,
    KIND_UINT64,
)

cnp.import_array()


# The default: the interpreter has one such integer, so most calls can be told by it.
cdef object LAST = -1


cdef object plain_axis(object axis):
    """An axis as an int. This runs code of `axis`."""
    if type(axis) is int:
        return axis
    try:
        if not isinstance(axis, bool):
            return operator.index(axis)
    except TypeError:
        pass
    raise TypeError(f"axis must be an integer, got {axis!r}")


cdef object plain_axes(object axis):
    """What slice_axes takes, of ints alone. This runs code of `axis`."""
    if axis is None or type(axis) is int:
        return axis
    try:
        return tuple([plain_axis(one) for one in axis]) if isinstance(axis, tuple) else plain_axis(axis)
    except TypeError:
        raise TypeError(f"axis must be an integer, a tuple of integers or None, got {axis!r}") from None


cdef int slice_axis(object axis, int ndim) except -1:
    """One axis, counted from the front. A 0-d array counts as one element along one axis."""
    cdef Py_ssize_t index
    axis = plain_axis(axis)
    try:
        index = axis
    except OverflowError:
        raise np.exceptions.AxisError(f"axis {axis} is out of bounds for array of dimension {ndim}") from None
    if not -max(ndim, 1) <= index < max(ndim, 1):
        raise np.exceptions.AxisError(index, ndim)
    return <int> (index + max(ndim, 1) if index < 0 else index)


cdef uint64_t slice_axes(object axis, int ndim) except? 0xFFFFFFFFFFFFFFFF:
    """The axes that make a slice: an int's, a tuple's, or all of them for None, as from plain_axes."""
    cdef uint64_t axes = 0, bit
    if axis is LAST and ndim > 0:
        return <uint64_t> 1 << (ndim - 1)
    if axis is None:
        return (<uint64_t> 1 << (max(ndim, 1) - 1) << 1) - 1
    if not isinstance(axis, tuple):
        return <uint64_t> 1 << slice_axis(axis, ndim)
    for one in axis:
        bit = <uint64_t> 1 << slice_axis(one, ndim)
        if axes & bit:
            raise ValueError(f"duplicate axis in {axis}")
        axes |= bit
    return axes


cdef inline bint belongs(uint64_t axes, int d) noexcept nogil:
    return axes >> d & 1


cdef Py_ssize_t slice_length(ndarray array, uint64_t axes) noexcept:
    cdef Py_ssize_t length = 1
    cdef int d
    for d in range(array.ndim):
        if belongs(axes, d):
            length *= array.shape[d]
    return length


cdef int element_kind(ndarray array) noexcept:
    """Of an array whose dtype was found to be a supported one."""
    cdef int type_ = cnp.PyArray_TYPE(array)
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int kind
    if type_ == cnp.NPY_FLOAT:
        kind = KIND_FLOAT32
    elif type_ == cnp.NPY_DOUBLE:
        kind = KIND_FLOAT64
    elif type_ == cnp.NPY_FLOAT16:
        kind = KIND_FLOAT16
    elif type_ == cnp.NPY_BOOL:
        kind = KIND_BOOL
    elif not cnp.PyTypeNum_ISINTEGER(type_):
        kind = KIND_BFLOAT16
    elif cnp.PyTypeNum_ISUNSIGNED(type_):
        kind = KIND_UINT8 if size == 1 else KIND_UINT16 if size == 2 else KIND_UINT32 if size == 4 else KIND_UINT64
    else:
        kind = KIND_INT8 if size == 1 else KIND_INT16 if size == 2 else KIND_INT32 if size == 4 else KIND_INT64
    return kind if cnp.PyArray_ISNOTSWAPPED(array) else kind + KIND_SWAPPED


cdef void slice_elements(Elements *elements, ndarray array, uint64_t axes) noexcept:
    """What the elements of a slice are, and how they lie."""
    cdef int d, last = -1
    cdef Py_ssize_t length
    elements.kind = element_kind(array)
    for d in range(array.ndim):
        length = array.shape[d]
        if not belongs(axes, d) or length == 1:
            continue
        if last >= 0 and elements.strides[last] == length * array.strides[d]:
            elements.shape[last] *= length
        else:
            last += 1
            elements.shape[last] = length
        elements.strides[last] = array.strides[d]
    if last < 0:
        last = 0
        elements.shape[0] = 1
        elements.strides[0] = cnp.PyArray_ITEMSIZE(array)
    elements.ndim = last + 1


cdef inline Py_ssize_t outer_stride(ndarray array, int ndim, int d, int rank) noexcept:
    """Of axis d, which is number `rank` of those that are not a slice's."""
    return 0 if array is None else array.strides[d if array.ndim == ndim else rank]


cdef void outer_axes(
    Outer *outer, ndarray first, ndarray second, ndarray third, ndarray fourth, uint64_t axes
) noexcept:
    """All axes of `first` but those of a slice, in order, and the axes of the others that correspond to them.

    An operand with as many axes as `first` has them in the same places. Another has those without the slice's in front:
    what has one element a slice, or a Jacobian. The last two may be None.
    """
    cdef int d, operand, rank = 0, last
    cdef bint merge
    cdef Py_ssize_t length
    cdef Py_ssize_t[OPERANDS] stride
    outer.ndim = 0
    outer.count = 1
    for d in range(first.ndim):
        if belongs(axes, d):
            continue
        length = first.shape[d]
        rank += 1
        outer.count *= length
        if length == 1:
            continue
        stride[0] = first.strides[d]
        stride[1] = outer_stride(second, first.ndim, d, rank - 1)
        stride[2] = outer_stride(third, first.ndim, d, rank - 1)
        stride[3] = outer_stride(fourth, first.ndim, d, rank - 1)
        last = outer.ndim - 1
        merge = last >= 0
        for operand in range(OPERANDS):
            merge = merge and outer.strides[operand][last] == length * stride[operand]
        if merge:
            outer.shape[last] *= length
        else:
            last = outer.ndim
            outer.ndim += 1
            outer.shape[last] = length
        for operand in range(OPERANDS):
            outer.strides[operand][last] = stride[operand]
    if outer.ndim == 0:
        outer.ndim = 1
        outer.shape[0] = outer.count
        for operand in range(OPERANDS):
            outer.strides[operand][0] = 0


cdef void run_at(const Outer *outer, Py_ssize_t begin, Py_ssize_t end, Run *run) noexcept nogil:
    """The run that slice `begin` starts, at most up to slice `end`."""
    cdef int last = outer.ndim - 1
    cdef int d, operand
    cdef Py_ssize_t rest = begin, position
    for operand in range(OPERANDS):
        run.offset[operand] = 0
        run.stride[operand] = outer.strides[operand][last]
    run.count = end - begin
    for d in range(last, -1, -1):
        if d == 0:
            position = rest
        else:
            position = rest % outer.shape[d]
            rest = rest // outer.shape[d]
        for operand in range(OPERANDS):
            run.offset[operand] += position * outer.strides[operand][d]
        if d == last and run.count > outer.shape[d] - position:
            run.count = outer.shape[d] - position


cdef bint overlaps_itself(ndarray array) except -1:
    """Whether two elements have a byte in common."""
    cdef Py_ssize_t[MAX_NDIM] lengths, strides
    cdef Py_ssize_t itemsize = cnp.PyArray_ITEMSIZE(array), extent = itemsize, stride
    cdef int ndim = 0, d, place
    cdef bint nested = True
    if cnp.PyArray_IS_C_CONTIGUOUS(array) or cnp.PyArray_IS_F_CONTIGUOUS(array):
        return False
    # The axes, those of the smallest steps first.
    for d in range(array.ndim):
        if array.shape[d] == 1:
            continue
        stride = array.strides[d] if array.strides[d] >= 0 else -array.strides[d]
        place = ndim
        while place > 0 and strides[place - 1] > stride:
            strides[place], lengths[place] = strides[place - 1], lengths[place - 1]
            place -= 1
        strides[place], lengths[place] = stride, array.shape[d]
        ndim += 1
    for d in range(ndim):
        if strides[d] < itemsize or d > 0 and strides[d] == strides[d - 1]:
            return True
        nested = nested and strides[d] >= extent
        extent += (lengths[d] - 1) * strides[d]
    if nested:
        return False
    if extent < cnp.PyArray_NBYTES(array):
        return True
    # Nobody has such an array, and a list of all its elements is the shortest way to an answer.
    offsets = np.zeros(1, np.intp)
    for d in range(ndim):
        offsets = np.add.outer(offsets, strides[d] * np.arange(lengths[d])).ravel()
    offsets.sort()
    return bool((np.diff(offsets) < itemsize).any())


cdef void bounds(ndarray array, char **begin, char **end) noexcept:
    """The addresses that an array's elements lie between."""
    cdef int d
    begin[0] = end[0] = cnp.PyArray_BYTES(array)
    for d in range(array.ndim):
        if array.shape[d] == 0:
            end[0] = begin[0]
            return
        if array.strides[d] < 0:
            begin[0] += (array.shape[d] - 1) * array.strides[d]
        else:
            end[0] += (array.shape[d] - 1) * array.strides[d]
    end[0] += cnp.PyArray_ITEMSIZE(array)


cdef bint may_overlap(ndarray x, ndarray out) noexcept:
    """Whether the two lie in the same stretch of memory."""
    cdef char *x_begin
    cdef char *x_end
    cdef char *out_begin
    cdef char *out_end
    bounds(x, &x_begin, &x_end)
    bounds(out, &out_begin, &out_end)
    return x_begin < out_end and out_begin < x_end


cdef bint overlap_partly(ndarray x, ndarray out) noexcept:
    """Whether writing to `out` could change an element of `x` that is still to be read."""
    cdef int d
    if not may_overlap(x, out):
        return False
    if x.data != out.data:
        return True
    for d in range(x.ndim):
        if x.ndim != out.ndim or (x.shape[d] > 1 and x.strides[d] != out.strides[d]):
            return True
    return False
