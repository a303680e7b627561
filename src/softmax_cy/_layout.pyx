"""Arrays and axes become slices: this module finds which addresses belong together, and copies no element.

A call has up to OPERANDS arrays whose axes correspond. The axes that the operation works along make a slice: `Elements`
says how the elements of a slice lie. `Outer` holds the remaining axes. A flat index counts the slices: `find_series`
finds where a slice lies, and how many slices follow it at one stride. That is all a thread needs to take any part of
the work.
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


# The default. The interpreter has only one integer -1, so comparing identities recognises most calls.
cdef object LAST = -1


cdef object read_axis(object axis):
    """Return an axis as an int. This runs code of `axis`."""
    if type(axis) is int:
        return axis
    try:
        if not isinstance(axis, bool):
            return operator.index(axis)
    except TypeError:
        pass
    raise TypeError(f"axis must be an integer, got {axis!r}")


cdef object read_axes(object axis):
    """Return what resolve_axes takes: an int, a tuple of ints or None. This runs code of `axis`."""
    if axis is None or type(axis) is int:
        return axis
    try:
        return tuple([read_axis(one) for one in axis]) if isinstance(axis, tuple) else read_axis(axis)
    except TypeError:
        raise TypeError(f"axis must be an integer, a tuple of integers or None, got {axis!r}") from None


cdef int resolve_axis(object axis, int ndim) except -1:
    """Return an axis from read_axis, counted from the front. A 0-d array counts as one element along one axis."""
    cdef Py_ssize_t index
    try:
        index = axis
    except OverflowError:
        raise np.exceptions.AxisError(f"axis {axis} is out of bounds for array of dimension {ndim}") from None
    if not -max(ndim, 1) <= index < max(ndim, 1):
        raise np.exceptions.AxisError(index, ndim)
    return <int> (index + max(ndim, 1) if index < 0 else index)


cdef uint64_t resolve_axes(object axis, int ndim) except? 0xFFFFFFFFFFFFFFFF:
    """Return the set of axes that make a slice, for an axis from read_axis or axes from read_axes."""
    cdef uint64_t axes = 0, bit
    if axis is LAST and ndim > 0:
        return <uint64_t> 1 << (ndim - 1)
    if axis is None:
        return (<uint64_t> 1 << (max(ndim, 1) - 1) << 1) - 1
    if not isinstance(axis, tuple):
        return <uint64_t> 1 << resolve_axis(axis, ndim)
    for one in axis:
        bit = <uint64_t> 1 << resolve_axis(one, ndim)
        if axes & bit:
            raise ValueError(f"duplicate axis in {axis}")
        axes |= bit
    return axes


cdef Py_ssize_t measure_slice(ndarray array, uint64_t axes) noexcept:
    """Return the number of elements of a slice."""
    cdef Py_ssize_t length = 1
    cdef int d
    for d in range(array.ndim):
        if has_axis(axes, d):
            length *= array.shape[d]
    return length


cdef int find_kind(ndarray array) noexcept:
    """Return the kind of the elements of an array whose dtype is known to be supported."""
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


cdef void describe_elements(Elements *elements, ndarray array, uint64_t axes) noexcept:
    """Say what the elements of a slice are, and how they lie."""
    cdef int d, last = -1
    cdef Py_ssize_t length
    elements.kind = find_kind(array)
    for d in range(array.ndim):
        length = array.shape[d]
        if not has_axis(axes, d) or length == 1:
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


cdef inline Py_ssize_t find_outer_stride(ndarray array, int ndim, int d, int rank) noexcept:
    """Return the stride of axis d, which is number `rank` of the axes outside the slices."""
    return 0 if array is None else array.strides[d if array.ndim == ndim else rank]


cdef void describe_outer(
    Outer *outer, ndarray first, ndarray second, ndarray third, ndarray fourth, uint64_t axes
) noexcept:
    """Collect the axes of `first` outside a slice, in order, and the corresponding axes of the other operands.

    An operand with as many axes as `first` has them in the same places. In any other operand (one with one element a
    slice, or a Jacobian) the axes outside the slices come first. The last two operands may be None.
    """
    cdef int d, operand, rank = 0, last
    cdef bint merge
    cdef Py_ssize_t length
    cdef Py_ssize_t[OPERANDS] stride
    outer.ndim = 0
    outer.count = 1
    for d in range(first.ndim):
        if has_axis(axes, d):
            continue
        length = first.shape[d]
        rank += 1
        outer.count *= length
        if length == 1:
            continue
        stride[0] = first.strides[d]
        stride[1] = find_outer_stride(second, first.ndim, d, rank - 1)
        stride[2] = find_outer_stride(third, first.ndim, d, rank - 1)
        stride[3] = find_outer_stride(fourth, first.ndim, d, rank - 1)
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


cdef void find_series(const Outer *outer, Py_ssize_t begin, Py_ssize_t end, Series *series) noexcept nogil:
    """Find the series that slice `begin` starts. It ends before slice `end` at the latest."""
    cdef int last = outer.ndim - 1
    cdef int d, operand
    cdef Py_ssize_t rest = begin, position
    for operand in range(OPERANDS):
        series.offset[operand] = 0
        series.stride[operand] = outer.strides[operand][last]
    series.count = end - begin
    for d in range(last, -1, -1):
        if d == 0:
            position = rest
        else:
            position = rest % outer.shape[d]
            rest = rest // outer.shape[d]
        for operand in range(OPERANDS):
            series.offset[operand] += position * outer.strides[operand][d]
        if d == last and series.count > outer.shape[d] - position:
            series.count = outer.shape[d] - position


cdef bint overlaps_itself(ndarray array) except -1:
    """Tell whether two elements of the array have a byte in common."""
    cdef Py_ssize_t[MAX_NDIM] lengths, strides
    cdef Py_ssize_t itemsize = cnp.PyArray_ITEMSIZE(array), extent = itemsize, stride
    cdef int ndim = 0, d, place
    cdef bint nested = True
    if cnp.PyArray_IS_C_CONTIGUOUS(array) or cnp.PyArray_IS_F_CONTIGUOUS(array):
        return False
    # Sort the axes by their strides: a larger one may step over all that the smaller ones reach.
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
    # Such arrays are so rare that the shortest code will do: it lists the offsets of all elements.
    offsets = np.zeros(1, np.intp)
    for d in range(ndim):
        offsets = np.add.outer(offsets, strides[d] * np.arange(lengths[d])).ravel()
    offsets.sort()
    return bool((np.diff(offsets) < itemsize).any())


cdef void find_bounds(ndarray array, char **begin, char **end) noexcept:
    """Find the addresses that the elements of an array lie between."""
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
    """Tell whether the memory from first to last element of one array meets that of the other."""
    cdef char *x_begin
    cdef char *x_end
    cdef char *out_begin
    cdef char *out_end
    find_bounds(x, &x_begin, &x_end)
    find_bounds(out, &out_begin, &out_end)
    return x_begin < out_end and out_begin < x_end


cdef bint overlap_partly(ndarray x, ndarray out) noexcept:
    """Tell whether the two overlap without being the same elements at the same strides.

    Only then can writing an element of `out` change an element of `x` that has not been read yet.
    """
    cdef int d
    if not may_overlap(x, out):
        return False
    if x.data != out.data:
        return True
    for d in range(x.ndim):
        if x.ndim != out.ndim or (x.shape[d] > 1 and x.strides[d] != out.strides[d]):
            return True
    return False
