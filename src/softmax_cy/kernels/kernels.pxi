# One kernel module: included by every shim, compiled once for each dtype and variant.
#
# The modules differ in two macros that setup.py sets (SOFTMAX_CY_REAL_BITS, and SOFTMAX_CY_VECTOR_BYTES for the test
# variant) and in compiler flags. Each offers one thing, the capsule `table`.
#
# Four layers, each of which uses those before it, and within a layer the files before it:
#
#   vector/        the vector type, sums and conversions, as C headers
#   formulas/      what is computed of a vector or a number, wherever it came from
#   walks/         how slices of any layout are gone over, whatever is computed
#   operations/    the kernels: their formulas on these walks

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

include "vector/vector.pxi"

include "formulas/operation.pxi"
include "formulas/exponential.pxi"
include "formulas/constants.pxi"
include "formulas/logarithm.pxi"
include "formulas/product.pxi"
include "formulas/result.pxi"
include "formulas/diagonal.pxi"
include "formulas/loss.pxi"

include "walks/elements.pxi"
include "walks/blocks.pxi"
include "walks/layouts.pxi"
include "walks/largest.pxi"
include "walks/exponentials.pxi"
include "walks/results.pxi"
include "walks/groups.pxi"
include "walks/columns.pxi"
include "walks/panels.pxi"
include "walks/tiles.pxi"
include "walks/gathered.pxi"
include "walks/choose.pxi"
include "walks/shared.pxi"

include "operations/softmax.pxi"
include "operations/logarithms.pxi"
include "operations/product_sums.pxi"
include "operations/extreme.pxi"
include "operations/product_rows.pxi"
include "operations/product_groups.pxi"
include "operations/product_columns.pxi"
include "operations/products.pxi"
include "operations/jacobian.pxi"
include "operations/loss_slice.pxi"
include "operations/loss_lanes.pxi"
include "operations/cross_entropy.pxi"

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
