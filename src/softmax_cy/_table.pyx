"""The kernels in use: one table a dtype, filled by _dispatch, read by everything that calls a kernel."""

from cpython.pycapsule cimport PyCapsule_GetPointer

from softmax_cy.kernels.table cimport KernelTable


def bind(float32_capsule, float64_capsule):
    """Put the tables of one variant in use."""
    global float32_kernels, float64_kernels
    float32_kernels = <const KernelTable *> PyCapsule_GetPointer(float32_capsule, "softmax_cy.kernels.table")
    float64_kernels = <const KernelTable *> PyCapsule_GetPointer(float64_capsule, "softmax_cy.kernels.table")
