"""Array and axis to slices: which addresses belong together, without copying an element.

A call has up to OPERANDS arrays whose axes correspond, but for the one that the operation works along (and what the
result has in its place). `Outer` holds the others: a flat index counts the slices, `run_at` finds where one lies and
how many follow it at one stride. That is all a thread needs to take any part of the work.
"""

import numpy as np

cimport numpy as cnp
from numpy cimport ndarray

cnp.import_array()


cdef int normalize_axis(object axis, int ndim) except -1:
    """The axis counted from the front. A 0-d array counts as one element along one axis."""
    cdef Py_ssize_t index
    try:
        index = axis
    except (TypeError, OverflowError):
        if hasattr(axis, "__index__"):
            raise np.exceptions.AxisError(f"axis {axis} is out of bounds for array of dimension {ndim}") from None
        raise TypeError(f"axis must be an integer, got {axis!r}") from None
    if not -max(ndim, 1) <= index < max(ndim, 1):
        raise np.exceptions.AxisError(index, ndim)
    return <int> (index + max(ndim, 1) if index < 0 else index)


cdef void outer_axes(Outer *outer, ndarray first, ndarray second, int axis) noexcept:
    """All axes of `first` but `axis`, in order, and the first axes of `second` that correspond to them.

    `second` has the same axes with `axis` in its place (a result of the same shape), or the axes without it in front
    (a Jacobian).
    """
    cdef bint in_place_of_axis = second.ndim == first.ndim
    cdef int d, last
    cdef Py_ssize_t length
    cdef Py_ssize_t[OPERANDS] stride
    outer.ndim = 0
    outer.count = 1
    for d in range(first.ndim):
        if d == axis:
            continue
        length = first.shape[d]
        outer.count *= length
        if length == 1:
            continue
        stride[0] = first.strides[d]
        stride[1] = second.strides[d if in_place_of_axis or d < axis else d - 1]
        last = outer.ndim - 1
        if (
            last >= 0
            and outer.strides[0][last] == length * stride[0]
            and outer.strides[1][last] == length * stride[1]
        ):
            outer.shape[last] *= length
        else:
            last = outer.ndim
            outer.ndim += 1
            outer.shape[last] = length
        outer.strides[0][last] = stride[0]
        outer.strides[1][last] = stride[1]
    if outer.ndim == 0:
        outer.ndim = 1
        outer.shape[0] = outer.count
        outer.strides[0][0] = 0
        outer.strides[1][0] = 0


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
        if x.shape[d] > 1 and x.strides[d] != out.strides[d]:
            return True
    return False
