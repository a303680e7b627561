from libc.stdint cimport uint64_t
from numpy cimport ndarray

from softmax_cy.kernels.table cimport MAX_NDIM, Elements

cdef enum:
    OPERANDS = 4


cdef struct Outer:
    # The axes outside the slices, outermost first, merged where every operand allows it.
    int ndim
    Py_ssize_t count                            # product of shape
    Py_ssize_t[MAX_NDIM] shape
    Py_ssize_t[OPERANDS][MAX_NDIM] strides      # bytes


cdef struct Series:
    # Slices that lie one stride apart.
    Py_ssize_t count
    Py_ssize_t[OPERANDS] offset     # bytes from the operand's first slice
    Py_ssize_t[OPERANDS] stride


cdef object read_axis(object axis)
cdef object read_axes(object axis)

# A set of axes is a number: bit d is axis d.
cdef inline bint has_axis(uint64_t axes, int d) noexcept nogil:
    """Tell whether axis d is in the set."""
    return axes >> d & 1


cdef uint64_t resolve_axes(object axis, int ndim) except? 0xFFFFFFFFFFFFFFFF
cdef int resolve_axis(object axis, int ndim) except -1
cdef Py_ssize_t measure_slice(ndarray array, uint64_t axes) noexcept
cdef int find_kind(ndarray array) noexcept
cdef void describe_elements(Elements *elements, ndarray array, uint64_t axes) noexcept
cdef void describe_outer(
    Outer *outer, ndarray first, ndarray second, ndarray third, ndarray fourth, uint64_t axes
) noexcept
cdef void find_series(const Outer *outer, Py_ssize_t begin, Py_ssize_t end, Series *series) noexcept nogil
cdef bint overlaps_itself(ndarray array) except -1
cdef bint may_overlap(ndarray x, ndarray out) noexcept
cdef bint overlap_partly(ndarray x, ndarray out) noexcept
