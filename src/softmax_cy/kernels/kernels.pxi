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

# Here and not where it is used: Cython looks for packages from the folder of the file that asks, and only this one is
# a package.
from softmax_cy.kernels.kinds cimport (
    KIND_BFLOAT16,
    KIND_FLOAT16,
    KIND_FLOAT32,
    KIND_SWAPPED,
    integer_at,
    kind_size,
    swap_bytes,
)
from softmax_cy.kernels.table cimport (
    BlockSum,
    BlockUnit,
    CrossEntropySlices,
    Elements,
    JacobianRows,
    KernelTable,
    LongKernel,
    LongSlice,
    Part,
    Pass,
    Slices,
    SlicesKernel,
    StateHeader,
)

include "vector/vector.pxi"

include "formulas/operation.pxi"
include "formulas/exponential.pxi"
include "formulas/constants.pxi"
include "formulas/joined.pxi"
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
include "walks/summaries.pxi"
include "walks/results.pxi"
include "walks/groups.pxi"
include "walks/columns.pxi"
include "walks/long_columns.pxi"
include "walks/panels.pxi"
include "walks/tiles.pxi"
include "walks/gathered.pxi"
include "walks/choose.pxi"
include "walks/shared.pxi"

include "operations.pxi"
