# One kernel module: included by every shim, compiled once for each dtype and variant.
#
# The modules differ in two macros that setup.py sets (SOFTMAX_CY_REAL_BITS, and SOFTMAX_CY_VECTOR_BYTES for the test
# variant) and in compiler flags. Each offers one thing, the capsule `table`.

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, NAN
from libc.string cimport memcpy

from softmax_cy.kernels.table cimport JacobianRows, KernelTable, Slices

include "simd.pxi"
include "blocks.pxi"
include "exp.pxi"
include "softmax.pxi"
include "jacobian.pxi"

cdef KernelTable _table = KernelTable(softmax=softmax_slices, jacobian=jacobian_rows)

table = PyCapsule_New(&_table, "softmax_cy.kernels.table", NULL)
