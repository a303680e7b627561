# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Rows one by one, through the table of the C interface and straight into the kernel."""

from cpython.pycapsule cimport PyCapsule_GetPointer

from softmax_cy.kernels.kinds cimport KIND_FLOAT32
from softmax_cy.kernels.table cimport Elements, KernelTable, Slices


cdef extern from "softmax_cy.h":
    ctypedef struct softmax_cy_table:
        int (*softmax_f32)(
            Py_ssize_t rows, Py_ssize_t length,
            const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
            float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
            double scale,
        ) noexcept nogil
    const softmax_cy_table *softmax_cy
    int softmax_cy_import() except -1


softmax_cy_import()


def through_table(const float[:, ::1] x, float[:, ::1] out, Py_ssize_t repeats):
    """Each row a call; the sum of the statuses."""
    cdef Py_ssize_t i, n = x.shape[1]
    cdef int status = 0
    with nogil:
        for _ in range(repeats):
            for i in range(x.shape[0]):
                status |= softmax_cy.softmax_f32(1, n, &x[i, 0], n, 1, &out[i, 0], n, 1, 1.0)
    return status


def in_one_call(const float[:, ::1] x, float[:, ::1] out, Py_ssize_t repeats):
    """All rows a call; the sum of the statuses."""
    cdef Py_ssize_t n = x.shape[1]
    cdef int status = 0
    with nogil:
        for _ in range(repeats):
            status |= softmax_cy.softmax_f32(x.shape[0], n, &x[0, 0], n, 1, &out[0, 0], n, 1, 1.0)
    return status


def kernel_alone(capsule, const float[:, ::1] x, float[:, ::1] out, Py_ssize_t repeats):
    """Each row a call of the kernel, of which only the addresses differ."""
    cdef const KernelTable *kernels = <const KernelTable *> PyCapsule_GetPointer(capsule, "softmax_cy.kernels.table")
    cdef Elements elements
    cdef Slices slices
    cdef Py_ssize_t i
    elements.kind = KIND_FLOAT32
    elements.ndim = 1
    elements.shape[0] = x.shape[1]
    elements.strides[0] = sizeof(float)
    slices.y = slices.mask = NULL
    slices.count = 1
    slices.length = x.shape[1]
    slices.x_next = slices.out_next = x.shape[1] * sizeof(float)
    slices.y_next = slices.mask_next = 0
    slices.x_elements = slices.out_elements = slices.y_elements = slices.mask_elements = &elements
    slices.scale = 1
    slices.stream = False
    with nogil:
        for _ in range(repeats):
            for i in range(x.shape[0]):
                slices.x = <const char *> &x[i, 0]
                slices.out = <char *> &out[i, 0]
                kernels.softmax(&slices)
