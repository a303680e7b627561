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
    LongKernels,
    Slices,
    SlicesKernel,
    Stretch,
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
include "long.pxi"
include "jacobian.pxi"
include "cross_entropy.pxi"

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
    long_softmax=LongKernels(
        block=block_length(), largest=stretch_largest, terms=stretch_kept_exponentials, has_few_others=NULL,
        terms_below_top=NULL, finish=stretch_softmax),
    long_log_softmax=LongKernels(
        block=block_length(), largest=stretch_largest, terms=stretch_exponentials,
        has_few_others=stretch_has_few_others, terms_below_top=stretch_below_top, finish=stretch_log_softmax),
    long_logsumexp=LongKernels(
        block=block_length(), largest=stretch_largest, terms=stretch_exponentials,
        has_few_others=stretch_has_few_others, terms_below_top=stretch_below_top, finish=stretch_logsumexp),
)

table = PyCapsule_New(&_table, "softmax_cy.kernels.table", NULL)
