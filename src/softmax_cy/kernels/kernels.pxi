# One kernel module: included by every shim, compiled once for each dtype and variant.
#
# The modules differ in two macros that setup.py sets (SOFTMAX_CY_REAL_BITS, and SOFTMAX_CY_VECTOR_BYTES for the test
# variant) and in compiler flags. Each offers one thing, the capsule `table`.

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, NAN, fabs
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from softmax_cy.kernels.table cimport (
    BlockSum,
    CrossEntropySlices,
    Elements,
    JacobianRows,
    KernelTable,
    LongKernel,
    LongSlice,
    Pass,
    Slices,
    SlicesKernel,
)

include "simd.pxi"
include "operations.pxi"
include "blocks.pxi"
include "exp.pxi"
include "terms.pxi"
include "finish.pxi"
include "softmax.pxi"
include "log.pxi"
include "products.pxi"
include "extreme.pxi"
include "columns.pxi"
include "tiles.pxi"
include "gathered.pxi"
include "jacobian.pxi"
include "cross_entropy.pxi"
include "long.pxi"

cdef KernelTable _table = KernelTable(
    softmax=softmax_slices,
    jacobian=jacobian_rows,
    log_softmax=log_softmax_slices,
    logsumexp=logsumexp_slices,
    softmax_product=softmax_product_slices,
    log_softmax_vjp=log_softmax_vjp_slices,
    log_softmax_jvp=log_softmax_jvp_slices,
    log_jacobian=log_jacobian_rows,
    cross_entropy=cross_entropy_slices,
    long_softmax=LongKernel(block=block_length(), next_pass=next_softmax_pass),
    long_log_softmax=LongKernel(block=block_length(), next_pass=next_log_softmax_pass),
    long_logsumexp=LongKernel(block=block_length(), next_pass=next_logsumexp_pass),
    long_softmax_product=LongKernel(block=TERMS, next_pass=next_softmax_product_pass),
    long_log_softmax_vjp=LongKernel(block=block_length() // 2, next_pass=next_log_softmax_vjp_pass),
    long_log_softmax_jvp=LongKernel(block=TERMS, next_pass=next_log_softmax_jvp_pass),
    long_cross_entropy=LongKernel(block=block_length() // 2, next_pass=next_cross_entropy_pass),
)

table = PyCapsule_New(&_table, "softmax_cy.kernels.table", NULL)
