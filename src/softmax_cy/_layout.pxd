from numpy cimport ndarray

cdef enum:
    MAX_NDIM = 64
    OPERANDS = 2


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


cdef int normalize_axis(object axis, int ndim) except -1
cdef void outer_axes(Outer *outer, ndarray first, ndarray second, int axis) noexcept
cdef void run_at(const Outer *outer, Py_ssize_t begin, Py_ssize_t end, Run *run) noexcept nogil
cdef bint may_overlap(ndarray x, ndarray out) noexcept
cdef bint overlap_partly(ndarray x, ndarray out) noexcept
