from libc.stdint cimport uint64_t
from numpy cimport ndarray

from softmax_cy.kernels.table cimport MAX_NDIM, Elements

cdef enum:
    OPERANDS = 4


cdef struct Outer:
    # The axes that are walked around a slice, outermost first, coalesced where every operand allows it.
    int ndim
    Py_ssize_t count                            # product of shape
    Py_ssize_t[MAX_NDIM] shape
    Py_ssize_t[OPERANDS][MAX_NDIM] strides      # bytes


cdef struct Run:
    # Positions that lie one stride apart.
    Py_ssize_t count
    Py_ssize_t[OPERANDS] offset     # bytes from the operand's first slice
    Py_ssize_t[OPERANDS] stride


cdef object plain_axis(object axis)
cdef object plain_axes(object axis)

# Axes as a set: bit d is axis d.
cdef uint64_t slice_axes(object axis, int ndim) except? 0xFFFFFFFFFFFFFFFF
cdef int slice_axis(object axis, int ndim) except -1
cdef Py_ssize_t slice_length(ndarray array, uint64_t axes) noexcept
cdef int element_kind(ndarray array) noexcept
cdef void slice_elements(Elements *elements, ndarray array, uint64_t axes) noexcept
cdef void outer_axes(
    Outer *outer, ndarray first, ndarray second, ndarray third, ndarray fourth, uint64_t axes
) noexcept
cdef void run_at(const Outer *outer, Py_ssize_t begin, Py_ssize_t end, Run *run) noexcept nogil
cdef bint overlaps_itself(ndarray array) except -1
cdef bint may_overlap(ndarray x, ndarray out) noexcept
cdef bint overlap_partly(ndarray x, ndarray out) noexcept
