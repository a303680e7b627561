# From operands to a kernel: one function for each type of kernel in kernels/table.pxd. It checks everything, tells by a
# status what is wrong, and only then fills in the geometry that the kernel is given and calls it.

from libc.math cimport INFINITY
from libc.stdint cimport int64_t

from softmax_cy._arguments cimport STREAM_ABOVE
from softmax_cy.kernels.kinds cimport KIND_FLOAT32, KIND_FLOAT64, KIND_INT64
from softmax_cy.kernels.table cimport (
    CrossEntropyKernel,
    CrossEntropySlices,
    Elements,
    JacobianKernel,
    JacobianRows,
    Slices,
    SlicesKernel,
)


cdef inline double round_to_size(double number, Py_ssize_t size) noexcept nogil:
    """Rounds a number to what elements of this size can be, as the kernels do."""
    return <float> number if size == sizeof(float) else number


cdef inline void set_elements(Elements *elements, const Operand *operand, int d, Py_ssize_t size) noexcept nogil:
    """Says what the elements along axis d are and how they lie."""
    elements.kind = KIND_FLOAT32 if size == sizeof(float) else KIND_FLOAT64
    elements.ndim = 1
    elements.shape[0] = operand.counts[d]
    elements.strides[0] = operand.strides[d]


cdef inline bint is_larger_than_caches(Py_ssize_t elements, Py_ssize_t size) noexcept nogil:
    """Tells whether so many elements are."""
    return elements > STREAM_ABOVE // size


cdef void fill_column(const Operand *out, Py_ssize_t size, double value) noexcept nogil:
    """Writes one number into each row."""
    cdef Py_ssize_t i
    for i in range(out.counts[0]):
        if size == sizeof(float):
            (<float *> (out.data + i * out.strides[0]))[0] = <float> value
        else:
            (<double *> (out.data + i * out.strides[0]))[0] = value


cdef inline int call_slices_kernel(
    SlicesKernel kernel, Operand x, Operand y, Operand out, double scale, Py_ssize_t size
) noexcept nogil:
    """Writes a result of the shape of x, or of one element a row, from x or from x and y."""
    cdef Slices slices
    cdef Elements x_elements, y_elements, out_elements
    cdef bint elementwise = out.ndim == 2
    cdef int status = check_sizes(&x)
    if status != SOFTMAX_CY_OK:
        return status
    if (
        out.counts[0] != x.counts[0] or elementwise and out.counts[1] != x.counts[1]
        or y.ndim and (y.counts[0] != x.counts[0] or y.counts[1] != x.counts[1])
    ):
        return SOFTMAX_CY_SHAPE_MISMATCH
    scale = round_to_size(scale, size)
    if not 0 < scale < INFINITY:
        return SOFTMAX_CY_BAD_SCALE
    if x.counts[0] == 0 or x.counts[1] == 0 and elementwise:
        return SOFTMAX_CY_OK
    if x.counts[1] == 0:
        status = check_output(&out, size)
        if status == SOFTMAX_CY_OK:
            fill_column(&out, size, -INFINITY)
        return status
    status = check_all(&x, &y, &out, size, elementwise)
    if status != SOFTMAX_CY_OK:
        return status
    slices.x = x.data
    slices.out = out.data
    slices.y = NULL
    slices.mask = NULL
    slices.count = x.counts[0]
    slices.length = x.counts[1]
    slices.x_next = x.strides[0]
    slices.out_next = out.strides[0]
    slices.y_next = slices.mask_next = 0
    slices.x_elements = &x_elements
    slices.out_elements = &out_elements
    slices.y_elements = slices.mask_elements = &y_elements
    set_elements(&x_elements, &x, 1, size)
    if elementwise:
        set_elements(&out_elements, &out, 1, size)
    else:
        out_elements.kind = x_elements.kind
    if y.ndim:
        slices.y = y.data
        slices.y_next = y.strides[0]
        set_elements(&y_elements, &y, 1, size)
        slices.y_kind = y_elements.kind
    slices.scale = scale
    slices.stream = (
        x.data != out.data and y.data != out.data and is_larger_than_caches(2 * x.counts[0] * x.counts[1], size))
    kernel(&slices)
    return SOFTMAX_CY_OK


cdef inline int call_jacobian_kernel(
    JacobianKernel kernel, Operand y, Operand out, double scale, Py_ssize_t size
) noexcept nogil:
    """Writes the Jacobian of each row of y."""
    cdef JacobianRows rows
    cdef Elements y_elements, out_elements
    cdef Py_ssize_t i, length = y.counts[1]
    cdef int status = check_sizes(&y)
    if status != SOFTMAX_CY_OK:
        return status
    if out.counts[0] != y.counts[0] or out.counts[1] != length or out.counts[2] != length:
        return SOFTMAX_CY_SHAPE_MISMATCH
    scale = round_to_size(scale, size)
    if not 0 < scale < INFINITY:
        return SOFTMAX_CY_BAD_SCALE
    if y.counts[0] == 0 or length == 0:
        return SOFTMAX_CY_OK
    status = check_output(&out, size)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&y, size, &out, size, False)
    if status != SOFTMAX_CY_OK:
        return status
    rows.length = length
    rows.first = 0
    rows.last = length
    rows.y_elements = &y_elements
    rows.out_elements = &out_elements
    rows.out_next = out.strides[1]
    rows.scale = scale
    rows.stream = is_larger_than_caches(y.counts[0] * length * length, size)
    rows.x = rows.mask = NULL
    rows.x_elements = rows.mask_elements = NULL
    set_elements(&y_elements, &y, 1, size)
    set_elements(&out_elements, &out, 2, size)
    for i in range(y.counts[0]):
        rows.y = y.data + i * y.strides[0]
        rows.out = out.data + i * out.strides[0]
        kernel(&rows)
    return SOFTMAX_CY_OK


cdef inline int call_cross_entropy_kernel(
    CrossEntropyKernel kernel, Operand x, Operand target, Operand loss, Operand grad, double grad_scale,
    Py_ssize_t size
) noexcept nogil:
    """Writes the loss of each row and, unless grad has no data, its gradient."""
    cdef CrossEntropySlices slices
    cdef Elements x_elements, grad_elements
    cdef Py_ssize_t rows = x.counts[0], length = x.counts[1], i
    cdef int64_t index
    cdef int status = check_sizes(&x)
    if status != SOFTMAX_CY_OK:
        return status
    if (
        target.counts[0] != rows or loss.counts[0] != rows
        or grad.data != NULL and (grad.counts[0] != rows or grad.counts[1] != length)
    ):
        return SOFTMAX_CY_SHAPE_MISMATCH
    # It is not rounded beyond this check, or the gradient of a mean would have other bits than in Python.
    if not -INFINITY < round_to_size(grad_scale, size) < INFINITY:
        return SOFTMAX_CY_BAD_SCALE
    if rows == 0:
        return SOFTMAX_CY_OK
    if length == 0:
        return SOFTMAX_CY_BAD_TARGET
    status = check_output(&loss, size)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&x, size, &loss, size, False)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&target, sizeof(int64_t), &loss, size, False)
    if grad.data != NULL:
        if status == SOFTMAX_CY_OK:
            status = check_output(&grad, size)
        if status == SOFTMAX_CY_OK:
            status = check_beside(&x, size, &grad, size, True)
        if status == SOFTMAX_CY_OK:
            status = check_beside(&target, sizeof(int64_t), &grad, size, False)
        if status == SOFTMAX_CY_OK:
            status = check_beside(&loss, size, &grad, size, False)
    if status != SOFTMAX_CY_OK:
        return status
    for i in range(rows):
        index = (<const int64_t *> (target.data + i * target.strides[0]))[0]
        if not 0 <= index < length:
            return SOFTMAX_CY_BAD_TARGET
    slices.x = x.data
    slices.target = target.data
    slices.weight = NULL
    slices.loss = loss.data
    slices.loss_kind = KIND_FLOAT32 if size == sizeof(float) else KIND_FLOAT64
    slices.grad = grad.data
    slices.count = rows
    slices.length = length
    slices.x_next = x.strides[0]
    slices.target_next = target.strides[0]
    slices.loss_next = loss.strides[0]
    slices.x_elements = &x_elements
    slices.target_elements = NULL
    slices.index_kind = KIND_INT64
    slices.weight_elements = NULL
    slices.grad_elements = &grad_elements
    slices.smoothing = 0
    slices.weight_sum = length
    slices.grad_factor = grad_scale
    slices.any_ignored = False
    slices.ignored = 0
    set_elements(&x_elements, &x, 1, size)
    slices.grad_next = 0
    if grad.data != NULL:
        slices.grad_next = grad.strides[0]
        set_elements(&grad_elements, &grad, 1, size)
    kernel(&slices)
    return SOFTMAX_CY_OK
