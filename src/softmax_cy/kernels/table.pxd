# What a kernel module offers, and the geometry that it is given. Layers above know a kernel by these types alone.
#
# Addresses are bytes and strides count bytes: data need not be aligned, and one table type serves both dtypes. Inputs
# may be of any kind and are rounded to the kernel's reals; a result is of reals, or of 16-bit floats where those are
# float.

from libc.stdint cimport int64_t


cdef enum:
    MAX_NDIM = 64


ctypedef struct Elements:
    # What the elements of a slice are and how they lie, from its first, in the order of their index: axes outermost
    # first, at least one, and only one wherever one stride will do.
    int kind                # kinds.pxd
    int ndim
    Py_ssize_t[MAX_NDIM] shape
    Py_ssize_t[MAX_NDIM] strides


ctypedef struct Slices:
    # `count` slices of `length` elements, at least one, read at x and written at out. out may be x or y itself (same
    # strides), and may not overlap them otherwise. A kernel with one result a slice writes that at out, and of
    # out_elements looks at the kind alone.
    const char *x           # IN
    char *out               # OUT
    const char *y           # IN, for kernels of two inputs
    const char *keep        # IN, for the others: one byte an element, 0 drops it; NULL keeps all
    Py_ssize_t count
    Py_ssize_t length
    Py_ssize_t x_next       # from one slice to the next
    Py_ssize_t out_next
    Py_ssize_t y_next
    Py_ssize_t keep_next
    const Elements *x_elements
    const Elements *out_elements
    const Elements *y_elements
    const Elements *keep_elements
    double scale            # positive: x is multiplied by this first, or a derivative is of a function of scale * x
    bint stream             # the result is larger than the caches: write past them
    int y_kind              # of y as the caller has it: how far its roundings go


ctypedef struct JacobianRows:
    # Rows `first` to `last` of the Jacobian of one slice y. out must not overlap y.
    const char *y           # IN: softmax, or log_softmax
    char *out               # OUT, row 0
    Py_ssize_t length
    Py_ssize_t first
    Py_ssize_t last
    const Elements *y_elements
    const Elements *out_elements    # of a row; one axis
    Py_ssize_t out_next             # from one row to the next
    double scale                    # of the function of scale * x
    bint stream
    const char *x                   # IN: what y is softmax of, for the true 1 - y on the diagonal; NULL: from y alone
    const char *keep                # IN: as in Slices, for x
    const Elements *x_elements
    const Elements *keep_elements


ctypedef struct CrossEntropySlices:
    # One loss for each of `count` slices, and its gradient where grad is not NULL. grad may be x itself.
    const char *x                       # IN
    const char *target                  # IN: an integer a slice, or probabilities
    const char *weight                  # IN: one a class; NULL: all 1
    char *loss                          # OUT
    int loss_kind                       # of reals, or of 16-bit floats where those are float
    char *grad                          # OUT
    Py_ssize_t count
    Py_ssize_t length
    Py_ssize_t x_next
    Py_ssize_t target_next
    Py_ssize_t loss_next
    Py_ssize_t grad_next
    const Elements *x_elements
    const Elements *target_elements     # NULL: the target is an index
    int index_kind                      # of the target then
    const Elements *weight_elements
    const Elements *grad_elements
    double smoothing
    double weight_sum                   # of all classes
    double grad_factor                  # the gradient is multiplied by this
    bint any_ignored
    int64_t ignored                     # the index of slices that do not count


ctypedef struct BlockSum:
    # What a pass finds in one block.
    double hi               # a sum
    double lo
    double second_hi        # another
    double second_lo
    double top              # the largest


ctypedef struct LongSlice:
    # One slice that several threads share, and what its passes tell each other.
    const Slices *slices                # IN: the one slice, or
    const CrossEntropySlices *losses    # IN: the one slice and its loss
    BlockSum *sums          # OUT of passes: one a block
    Py_ssize_t block        # elements: the blocks of the pass
    bint refused            # OUT: the slice is left to the kernel for whole slices; nothing is written
    # Of the kernel's own:
    int step
    Slices logits
    BlockSum whole          # of all blocks
    bint below_top          # the sum is without the largest exponential
    double centre
    int64_t index           # of the target, for a loss
    double x_index
    bint plain_index
    double weight
    double loss
    double coefficient_sum


ctypedef void (*Pass)(const LongSlice *slice_, Py_ssize_t begin, Py_ssize_t end) noexcept nogil
ctypedef Pass (*NextPass)(LongSlice *slice_) noexcept nogil


ctypedef struct LongKernel:
    # What a kernel does to one slice, to the bit, in passes over any stretches of its blocks. `next_pass` makes of what
    # the last pass left what the next one needs, and tells which that is: NULL when all is done, or if it refuses.
    Py_ssize_t block        # elements: the smallest of any pass
    NextPass next_pass


ctypedef void (*CrossEntropyKernel)(const CrossEntropySlices *slices) noexcept nogil
ctypedef void (*SlicesKernel)(const Slices *slices) noexcept nogil
ctypedef void (*JacobianKernel)(const JacobianRows *rows) noexcept nogil


ctypedef struct KernelTable:
    SlicesKernel softmax
    JacobianKernel jacobian
    SlicesKernel log_softmax
    SlicesKernel logsumexp
    SlicesKernel softmax_product        # of the Jacobian of softmax, which is symmetric: y is softmax, x any vector
    SlicesKernel log_softmax_vjp        # y is log_softmax, x the gradient
    SlicesKernel log_softmax_jvp        # y is log_softmax, x the tangent
    JacobianKernel log_jacobian
    CrossEntropyKernel cross_entropy
    LongKernel long_softmax
    LongKernel long_log_softmax
    LongKernel long_logsumexp
    LongKernel long_softmax_product
    LongKernel long_log_softmax_vjp
    LongKernel long_log_softmax_jvp
    LongKernel long_cross_entropy
