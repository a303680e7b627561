"""The family for callers without Python: from Cython, C, C++, cffi, ctypes and numba.

Design:
1. Plain functions over the table of kernels: no object, no allocation but the kernels' thread-local scratch, no lock,
   nothing that is written after import. A thread that Python has never seen may call them.
2. Everything is checked before anything is written, and a status tells what was wrong. Where the face would copy
   an array that overlaps the result, a function here refuses it.
3. What is a row in a caller's memory is an axis of an `Operand`; strides count bytes from there on.
4. Nothing here starts a thread. Callers have threads of their own.
"""

import enum

from cpython.pycapsule cimport PyCapsule_New
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memset

from softmax_cy._version import __version__

from softmax_cy cimport _table
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


class Status(enum.IntEnum):
    """What the functions return: the numbers of ``softmax_cy.h``."""

    OK = SOFTMAX_CY_OK
    NULL_POINTER = SOFTMAX_CY_NULL_POINTER
    NEGATIVE_SIZE = SOFTMAX_CY_NEGATIVE_SIZE
    BAD_SCALE = SOFTMAX_CY_BAD_SCALE
    BAD_STRIDE = SOFTMAX_CY_BAD_STRIDE
    OVERLAP = SOFTMAX_CY_OVERLAP
    BAD_TARGET = SOFTMAX_CY_BAD_TARGET
    SHAPE_MISMATCH = SOFTMAX_CY_SHAPE_MISMATCH


# ---- operands ----------------------------------------------------------------------------------------------------

cdef enum:
    MOST_AXES = 3
    MOST_TERMS = 2 * MOST_AXES
    MOST_STEPS = 1000       # of a search for a common element: a tenth of a millisecond


cdef struct Operand:
    char *data
    int ndim
    bint fits                           # in memory, as far as its strides in bytes are numbers at all
    Py_ssize_t[MOST_AXES] counts        # rows first
    Py_ssize_t[MOST_AXES] strides       # bytes


cdef extern from * nogil:
    bint multiply_overflows "__builtin_mul_overflow" (Py_ssize_t a, Py_ssize_t b, Py_ssize_t *product)
    bint add_overflows "__builtin_add_overflow" (Py_ssize_t a, Py_ssize_t b, Py_ssize_t *sum_)
    bint subtract_overflows "__builtin_sub_overflow" (Py_ssize_t a, Py_ssize_t b, Py_ssize_t *difference)


cdef inline Operand none() noexcept nogil:
    cdef Operand operand
    memset(&operand, 0, sizeof(Operand))
    operand.fits = True
    return operand


cdef inline void add_axis(Operand *operand, Py_ssize_t count, Py_ssize_t stride, Py_ssize_t size) noexcept nogil:
    """An axis whose stride counts elements of this size."""
    cdef int d = operand.ndim
    operand.counts[d] = count
    if multiply_overflows(stride, size, &operand.strides[d]):
        operand.fits = False
    operand.ndim = d + 1


cdef inline Operand column(const void *data, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t size) noexcept nogil:
    """One element a row."""
    cdef Operand operand = none()
    operand.data = <char *> data
    add_axis(&operand, rows, stride, size)
    return operand


cdef inline Operand matrix(
    const void *data, Py_ssize_t rows, Py_ssize_t length, Py_ssize_t row_stride, Py_ssize_t stride, Py_ssize_t size
) noexcept nogil:
    cdef Operand operand = column(data, rows, row_stride, size)
    add_axis(&operand, length, stride, size)
    return operand


cdef inline Operand matrices(
    const void *data, Py_ssize_t rows, Py_ssize_t length, Py_ssize_t matrix_stride, Py_ssize_t row_stride,
    Py_ssize_t stride, Py_ssize_t size
) noexcept nogil:
    """A matrix a row."""
    cdef Operand operand = matrix(data, rows, length, matrix_stride, row_stride, size)
    add_axis(&operand, length, stride, size)
    return operand


cdef inline Operand view(const void *data, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides) noexcept nogil:
    cdef Operand operand = none()
    cdef int d
    operand.data = <char *> data
    operand.ndim = ndim
    for d in range(ndim):
        operand.counts[d] = shape[d]
        operand.strides[d] = strides[d]
    return operand


# ---- where operands lie ------------------------------------------------------------------------------------------

cdef inline bint stretch(
    const Operand *operand, Py_ssize_t size, Py_ssize_t *begin, Py_ssize_t *end
) noexcept nogil:
    """The addresses that its elements lie between; False if there are no such addresses."""
    cdef Py_ssize_t span
    cdef int d
    cdef bint fits = operand.fits
    begin[0] = <Py_ssize_t> operand.data
    end[0] = begin[0] + size
    for d in range(operand.ndim):
        fits &= not multiply_overflows(operand.counts[d] - 1, operand.strides[d], &span)
        fits &= operand.strides[d] >= -PY_SSIZE_T_MAX
        if span < 0:
            fits &= not add_overflows(begin[0], span, begin)
        else:
            fits &= not add_overflows(end[0], span, end)
    return fits and not subtract_overflows(end[0], begin[0], &span)


cdef inline bint is_nested(const Operand *operand, Py_ssize_t size) noexcept nogil:
    """Whether no two elements overlap, the last axis being the innermost one."""
    cdef Py_ssize_t extent = size, stride
    cdef int d
    for d in range(operand.ndim - 1, -1, -1):
        if operand.counts[d] > 1:
            stride = operand.strides[d] if operand.strides[d] >= 0 else -operand.strides[d]
            if stride < extent:
                return False
            extent += (operand.counts[d] - 1) * stride
    return True


cdef bint is_nested_in_some_order(const Operand *operand, Py_ssize_t size) noexcept nogil:
    """is_nested for the axes in the order of their strides."""
    cdef Operand sorted_ = operand[0]
    cdef Py_ssize_t count, stride
    cdef int d, e
    for d in range(1, sorted_.ndim):
        for e in range(d, 0, -1):
            if abs_(sorted_.strides[e]) > abs_(sorted_.strides[e - 1]) or sorted_.counts[e] == 1:
                count, stride = sorted_.counts[e], sorted_.strides[e]
                sorted_.counts[e], sorted_.strides[e] = sorted_.counts[e - 1], sorted_.strides[e - 1]
                sorted_.counts[e - 1], sorted_.strides[e - 1] = count, stride
    return is_nested(&sorted_, size)


cdef inline Py_ssize_t abs_(Py_ssize_t a) noexcept nogil:
    return a if a >= 0 else -a


cdef inline bint same_elements(const Operand *a, const Operand *b) noexcept nogil:
    """Whether two operands of one shape are one."""
    cdef int d
    if a.data != b.data or a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.counts[d] > 1 and a.strides[d] != b.strides[d]:
            return False
    return True


cdef struct Sums:
    # Of some multiples of each stride, from none to `most`. Strides are positive and each is smaller than the last one.
    int terms
    Py_ssize_t[MOST_TERMS] strides
    Py_ssize_t[MOST_TERMS] most
    Py_ssize_t[MOST_TERMS + 1] largest      # of the sums from each term on
    int steps                               # that a search may still take


cdef bint add_terms(Sums *sums, const Operand *operand) noexcept nogil:
    """One for each axis; False if a sum is no number."""
    cdef Py_ssize_t stride
    cdef int d, k, later
    for d in range(operand.ndim):
        stride = abs_(operand.strides[d])
        if stride == 0 or operand.counts[d] == 1:
            continue
        k = 0
        while k < sums.terms and sums.strides[k] > stride:
            k += 1
        if k == sums.terms or sums.strides[k] != stride:
            for later in range(sums.terms, k, -1):
                sums.strides[later] = sums.strides[later - 1]
                sums.most[later] = sums.most[later - 1]
            sums.terms += 1
            sums.strides[k] = stride
            sums.most[k] = 0
        if add_overflows(sums.most[k], operand.counts[d] - 1, &sums.most[k]):
            return False
    return True


cdef inline Py_ssize_t greatest_common_divisor(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef bint has_sum_between(Sums *sums, int k, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Whether one of the sums from term k on is not below low and not above high. True if that takes too long."""
    cdef Py_ssize_t period = 0, times, stride, least = 0
    cdef int m
    if high < 0 or low > sums.largest[k]:
        return False
    if low <= 0 or high >= sums.largest[k]:
        return True
    # The terms from k to m add up to a multiple of their common divisor, the others to no more than their largest sum.
    for m in range(k, sums.terms):
        period = greatest_common_divisor(sums.strides[m], period)
        if high - high % period < low - sums.largest[m + 1]:
            return False
    sums.steps -= 1
    if sums.steps < 0:
        return True
    stride = sums.strides[k]
    if low > sums.largest[k + 1]:
        least = 1 + (low - sums.largest[k + 1] - 1) // stride
    for times in range(least, min(sums.most[k], high // stride) + 1):
        if has_sum_between(sums, k + 1, low - times * stride, high - times * stride):
            return True
    return False


cdef bint have_bytes_in_common(
    const Operand *a, Py_ssize_t a_size, const Operand *b, Py_ssize_t b_size
) noexcept nogil:
    """Whether an element of one overlaps an element of the other. True if that takes too long to find out."""
    # Counted from the first element of a and back from the last one of b, they lie at sums of multiples of strides.
    cdef Sums sums
    cdef Py_ssize_t a_begin, a_end, b_begin, b_end, distance, largest
    cdef int k
    memset(&sums, 0, sizeof(Sums))
    sums.steps = MOST_STEPS
    stretch(a, a_size, &a_begin, &a_end)
    stretch(b, b_size, &b_begin, &b_end)
    if not add_terms(&sums, a) or not add_terms(&sums, b) or subtract_overflows(b_end, a_begin, &distance):
        return True
    for k in range(sums.terms - 1, -1, -1):
        if (
            multiply_overflows(sums.most[k], sums.strides[k], &largest)
            or add_overflows(largest, sums.largest[k + 1], &sums.largest[k])
        ):
            return True
    return has_sum_between(&sums, 0, distance - a_size - b_size + 1, distance - 1)


cdef inline int check_output(const Operand *out, Py_ssize_t size) noexcept nogil:
    """An output with elements."""
    cdef Py_ssize_t begin, end
    if out.data == NULL:
        return SOFTMAX_CY_NULL_POINTER
    if not stretch(out, size, &begin, &end):
        return SOFTMAX_CY_BAD_STRIDE
    if not is_nested(out, size) and not is_nested_in_some_order(out, size):
        return SOFTMAX_CY_OVERLAP
    return SOFTMAX_CY_OK


cdef inline int check_beside(
    const Operand *x, Py_ssize_t x_size, const Operand *out, Py_ssize_t size, bint in_place
) noexcept nogil:
    """Something with elements beside an output that check_output has passed. `in_place`: it may be that output."""
    cdef Py_ssize_t x_begin, x_end, begin, end
    if x.data == NULL:
        return SOFTMAX_CY_NULL_POINTER
    if not stretch(x, x_size, &x_begin, &x_end):
        return SOFTMAX_CY_BAD_STRIDE
    stretch(out, size, &begin, &end)
    if x_end <= begin or end <= x_begin or in_place and same_elements(x, out):
        return SOFTMAX_CY_OK
    return SOFTMAX_CY_OVERLAP if have_bytes_in_common(x, x_size, out, size) else SOFTMAX_CY_OK


cdef inline bint is_plain_row(const Operand *operand, Py_ssize_t size) noexcept nogil:
    """One row side by side, no longer than that its size in bytes is a number."""
    return (
        operand.data != NULL and operand.counts[0] == 1
        and (operand.ndim == 1 or operand.strides[1] == size and operand.counts[1] <= PY_SSIZE_T_MAX // 16)
    )


cdef inline bint plain_rows_apart(
    const Operand *x, const Operand *out, Py_ssize_t size, bint in_place
) noexcept nogil:
    """check_beside for two plain rows of the same elements."""
    cdef const char *x_end = x.data + x.counts[1] * size
    cdef const char *out_end = out.data + (size if out.ndim == 1 else out.counts[1] * size)
    return x_end <= out.data or out_end <= x.data or in_place and x.data == out.data


cdef inline int check_all(
    const Operand *x, const Operand *y, const Operand *out, Py_ssize_t size, bint in_place
) noexcept nogil:
    """An output and what is read for it, y only if that has axes."""
    cdef int status
    # One row a call: what follows would take as long as the kernel.
    if (
        is_plain_row(out, size) and is_plain_row(x, size) and plain_rows_apart(x, out, size, in_place)
        and (y.ndim == 0 or is_plain_row(y, size) and plain_rows_apart(y, out, size, in_place))
    ):
        return SOFTMAX_CY_OK
    status = check_output(out, size)
    if status == SOFTMAX_CY_OK:
        status = check_beside(x, size, out, size, in_place)
    if status == SOFTMAX_CY_OK and y.ndim:
        status = check_beside(y, size, out, size, in_place)
    return status


# ---- operations --------------------------------------------------------------------------------------------------

cdef inline int check_sizes(const Operand *x) noexcept nogil:
    return SOFTMAX_CY_NEGATIVE_SIZE if x.counts[0] < 0 or x.counts[1] < 0 else SOFTMAX_CY_OK


cdef inline double rounded(double number, Py_ssize_t size) noexcept nogil:
    """As the kernels see it."""
    return <float> number if size == sizeof(float) else number


cdef inline void set_elements(Elements *elements, const Operand *operand, int d, Py_ssize_t size) noexcept nogil:
    """Along axis d."""
    elements.kind = KIND_FLOAT32 if size == sizeof(float) else KIND_FLOAT64
    elements.ndim = 1
    elements.shape[0] = operand.counts[d]
    elements.strides[0] = operand.strides[d]


cdef inline bint larger_than_caches(Py_ssize_t elements, Py_ssize_t size) noexcept nogil:
    return elements > STREAM_ABOVE // size


cdef void fill_column(const Operand *out, Py_ssize_t size, double value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(out.counts[0]):
        if size == sizeof(float):
            (<float *> (out.data + i * out.strides[0]))[0] = <float> value
        else:
            (<double *> (out.data + i * out.strides[0]))[0] = value


cdef inline int rows_into(
    SlicesKernel kernel, Operand x, Operand y, Operand out, double scale, Py_ssize_t size
) noexcept nogil:
    """A kernel of one input, or of two; its result has the shape of x, or one element a row."""
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
    scale = rounded(scale, size)
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
    slices.keep = NULL
    slices.count = x.counts[0]
    slices.length = x.counts[1]
    slices.x_next = x.strides[0]
    slices.out_next = out.strides[0]
    slices.y_next = slices.keep_next = 0
    slices.x_elements = &x_elements
    slices.out_elements = &out_elements
    slices.y_elements = slices.keep_elements = &y_elements
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
        x.data != out.data and y.data != out.data and larger_than_caches(2 * x.counts[0] * x.counts[1], size))
    kernel(&slices)
    return SOFTMAX_CY_OK


cdef inline int jacobians(JacobianKernel kernel, Operand y, Operand out, double scale, Py_ssize_t size) noexcept nogil:
    cdef JacobianRows rows
    cdef Elements y_elements, out_elements
    cdef Py_ssize_t i, length = y.counts[1]
    cdef int status = check_sizes(&y)
    if status != SOFTMAX_CY_OK:
        return status
    if out.counts[0] != y.counts[0] or out.counts[1] != length or out.counts[2] != length:
        return SOFTMAX_CY_SHAPE_MISMATCH
    scale = rounded(scale, size)
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
    rows.stream = larger_than_caches(y.counts[0] * length * length, size)
    rows.x = rows.keep = NULL
    rows.x_elements = rows.keep_elements = NULL
    set_elements(&y_elements, &y, 1, size)
    set_elements(&out_elements, &out, 2, size)
    for i in range(y.counts[0]):
        rows.y = y.data + i * y.strides[0]
        rows.out = out.data + i * out.strides[0]
        kernel(&rows)
    return SOFTMAX_CY_OK


cdef inline int cross_entropies(
    CrossEntropyKernel kernel, Operand x, Operand target, Operand loss, Operand grad, double grad_scale,
    Py_ssize_t size
) noexcept nogil:
    """No gradient where grad has no data."""
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
    grad_scale = rounded(grad_scale, size)
    if not -INFINITY < grad_scale < INFINITY:
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


# ---- pointers ----------------------------------------------------------------------------------------------------

cdef int softmax_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.softmax,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(float)),
        none(),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int softmax_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.softmax,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(double)),
        none(),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int log_softmax_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.log_softmax,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(float)),
        none(),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int log_softmax_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.log_softmax,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(double)),
        none(),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int logsumexp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    float *out, Py_ssize_t out_row_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.logsumexp,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(float)),
        none(),
        column(out, rows, out_row_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int logsumexp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    double *out, Py_ssize_t out_row_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.logsumexp,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(double)),
        none(),
        column(out, rows, out_row_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int softmax_vjp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const float *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.softmax_product,
        matrix(grad, rows, length, grad_row_stride, grad_stride, sizeof(float)),
        matrix(y, rows, length, y_row_stride, y_stride, sizeof(float)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int softmax_vjp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const double *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.softmax_product,
        matrix(grad, rows, length, grad_row_stride, grad_stride, sizeof(double)),
        matrix(y, rows, length, y_row_stride, y_stride, sizeof(double)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int softmax_jvp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const float *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.softmax_product,
        matrix(tangent, rows, length, tangent_row_stride, tangent_stride, sizeof(float)),
        matrix(y, rows, length, y_row_stride, y_stride, sizeof(float)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int softmax_jvp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const double *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.softmax_product,
        matrix(tangent, rows, length, tangent_row_stride, tangent_stride, sizeof(double)),
        matrix(y, rows, length, y_row_stride, y_stride, sizeof(double)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int log_softmax_vjp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const float *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.log_softmax_vjp,
        matrix(grad, rows, length, grad_row_stride, grad_stride, sizeof(float)),
        matrix(log_y, rows, length, log_y_row_stride, log_y_stride, sizeof(float)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int log_softmax_vjp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const double *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.log_softmax_vjp,
        matrix(grad, rows, length, grad_row_stride, grad_stride, sizeof(double)),
        matrix(log_y, rows, length, log_y_row_stride, log_y_stride, sizeof(double)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int log_softmax_jvp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const float *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.log_softmax_jvp,
        matrix(tangent, rows, length, tangent_row_stride, tangent_stride, sizeof(float)),
        matrix(log_y, rows, length, log_y_row_stride, log_y_stride, sizeof(float)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int log_softmax_jvp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const double *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.log_softmax_jvp,
        matrix(tangent, rows, length, tangent_row_stride, tangent_stride, sizeof(double)),
        matrix(log_y, rows, length, log_y_row_stride, log_y_stride, sizeof(double)),
        matrix(out, rows, length, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int softmax_jacobian_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    float *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return jacobians(
        _table.float32_kernels.jacobian,
        matrix(y, rows, length, y_row_stride, y_stride, sizeof(float)),
        matrices(out, rows, length, out_matrix_stride, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int softmax_jacobian_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    double *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return jacobians(
        _table.float64_kernels.jacobian,
        matrix(y, rows, length, y_row_stride, y_stride, sizeof(double)),
        matrices(out, rows, length, out_matrix_stride, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int log_softmax_jacobian_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    float *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return jacobians(
        _table.float32_kernels.log_jacobian,
        matrix(log_y, rows, length, log_y_row_stride, log_y_stride, sizeof(float)),
        matrices(out, rows, length, out_matrix_stride, out_row_stride, out_stride, sizeof(float)),
        scale,
        sizeof(float),
    )


cdef int log_softmax_jacobian_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    double *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil:
    return jacobians(
        _table.float64_kernels.log_jacobian,
        matrix(log_y, rows, length, log_y_row_stride, log_y_stride, sizeof(double)),
        matrices(out, rows, length, out_matrix_stride, out_row_stride, out_stride, sizeof(double)),
        scale,
        sizeof(double),
    )


cdef int cross_entropy_and_grad_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    const int64_t *target, Py_ssize_t target_stride,
    float *loss, Py_ssize_t loss_stride,
    float *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    double grad_scale,
) noexcept nogil:
    return cross_entropies(
        _table.float32_kernels.cross_entropy,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(float)),
        column(target, rows, target_stride, sizeof(int64_t)),
        column(loss, rows, loss_stride, sizeof(float)),
        matrix(grad, rows, length, grad_row_stride, grad_stride, sizeof(float)),
        grad_scale,
        sizeof(float),
    )


cdef int cross_entropy_and_grad_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    const int64_t *target, Py_ssize_t target_stride,
    double *loss, Py_ssize_t loss_stride,
    double *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    double grad_scale,
) noexcept nogil:
    return cross_entropies(
        _table.float64_kernels.cross_entropy,
        matrix(x, rows, length, x_row_stride, x_stride, sizeof(double)),
        column(target, rows, target_stride, sizeof(int64_t)),
        column(loss, rows, loss_stride, sizeof(double)),
        matrix(grad, rows, length, grad_row_stride, grad_stride, sizeof(double)),
        grad_scale,
        sizeof(double),
    )


# ---- typed memoryviews -------------------------------------------------------------------------------------------


cdef int softmax_view_f32(const float[:, :] x, float[:, :] out, double scale) noexcept nogil:
    return rows_into(
        _table.float32_kernels.softmax,
        view(&x[0, 0], 2, x.shape, x.strides),
        none(),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int softmax_view_f64(const double[:, :] x, double[:, :] out, double scale) noexcept nogil:
    return rows_into(
        _table.float64_kernels.softmax,
        view(&x[0, 0], 2, x.shape, x.strides),
        none(),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int log_softmax_view_f32(const float[:, :] x, float[:, :] out, double scale) noexcept nogil:
    return rows_into(
        _table.float32_kernels.log_softmax,
        view(&x[0, 0], 2, x.shape, x.strides),
        none(),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int log_softmax_view_f64(const double[:, :] x, double[:, :] out, double scale) noexcept nogil:
    return rows_into(
        _table.float64_kernels.log_softmax,
        view(&x[0, 0], 2, x.shape, x.strides),
        none(),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int logsumexp_view_f32(const float[:, :] x, float[:] out, double scale) noexcept nogil:
    return rows_into(
        _table.float32_kernels.logsumexp,
        view(&x[0, 0], 2, x.shape, x.strides),
        none(),
        view(&out[0], 1, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int logsumexp_view_f64(const double[:, :] x, double[:] out, double scale) noexcept nogil:
    return rows_into(
        _table.float64_kernels.logsumexp,
        view(&x[0, 0], 2, x.shape, x.strides),
        none(),
        view(&out[0], 1, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int softmax_vjp_view_f32(
    const float[:, :] grad, const float[:, :] y, float[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.softmax_product,
        view(&grad[0, 0], 2, grad.shape, grad.strides),
        view(&y[0, 0], 2, y.shape, y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int softmax_vjp_view_f64(
    const double[:, :] grad, const double[:, :] y, double[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.softmax_product,
        view(&grad[0, 0], 2, grad.shape, grad.strides),
        view(&y[0, 0], 2, y.shape, y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int softmax_jvp_view_f32(
    const float[:, :] tangent, const float[:, :] y, float[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.softmax_product,
        view(&tangent[0, 0], 2, tangent.shape, tangent.strides),
        view(&y[0, 0], 2, y.shape, y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int softmax_jvp_view_f64(
    const double[:, :] tangent, const double[:, :] y, double[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.softmax_product,
        view(&tangent[0, 0], 2, tangent.shape, tangent.strides),
        view(&y[0, 0], 2, y.shape, y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int log_softmax_vjp_view_f32(
    const float[:, :] grad, const float[:, :] log_y, float[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.log_softmax_vjp,
        view(&grad[0, 0], 2, grad.shape, grad.strides),
        view(&log_y[0, 0], 2, log_y.shape, log_y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int log_softmax_vjp_view_f64(
    const double[:, :] grad, const double[:, :] log_y, double[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.log_softmax_vjp,
        view(&grad[0, 0], 2, grad.shape, grad.strides),
        view(&log_y[0, 0], 2, log_y.shape, log_y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int log_softmax_jvp_view_f32(
    const float[:, :] tangent, const float[:, :] log_y, float[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float32_kernels.log_softmax_jvp,
        view(&tangent[0, 0], 2, tangent.shape, tangent.strides),
        view(&log_y[0, 0], 2, log_y.shape, log_y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int log_softmax_jvp_view_f64(
    const double[:, :] tangent, const double[:, :] log_y, double[:, :] out, double scale,
) noexcept nogil:
    return rows_into(
        _table.float64_kernels.log_softmax_jvp,
        view(&tangent[0, 0], 2, tangent.shape, tangent.strides),
        view(&log_y[0, 0], 2, log_y.shape, log_y.strides),
        view(&out[0, 0], 2, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int softmax_jacobian_view_f32(const float[:, :] y, float[:, :, :] out, double scale) noexcept nogil:
    return jacobians(
        _table.float32_kernels.jacobian,
        view(&y[0, 0], 2, y.shape, y.strides),
        view(&out[0, 0, 0], 3, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int softmax_jacobian_view_f64(const double[:, :] y, double[:, :, :] out, double scale) noexcept nogil:
    return jacobians(
        _table.float64_kernels.jacobian,
        view(&y[0, 0], 2, y.shape, y.strides),
        view(&out[0, 0, 0], 3, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int log_softmax_jacobian_view_f32(const float[:, :] log_y, float[:, :, :] out, double scale) noexcept nogil:
    return jacobians(
        _table.float32_kernels.log_jacobian,
        view(&log_y[0, 0], 2, log_y.shape, log_y.strides),
        view(&out[0, 0, 0], 3, out.shape, out.strides),
        scale,
        sizeof(float),
    )


cdef int log_softmax_jacobian_view_f64(const double[:, :] log_y, double[:, :, :] out, double scale) noexcept nogil:
    return jacobians(
        _table.float64_kernels.log_jacobian,
        view(&log_y[0, 0], 2, log_y.shape, log_y.strides),
        view(&out[0, 0, 0], 3, out.shape, out.strides),
        scale,
        sizeof(double),
    )


cdef int cross_entropy_and_grad_view_f32(
    const float[:, :] x, const int64_t[:] target, float[:] loss, float[:, :] grad, double grad_scale,
) noexcept nogil:
    return cross_entropies(
        _table.float32_kernels.cross_entropy,
        view(&x[0, 0], 2, x.shape, x.strides),
        view(&target[0], 1, target.shape, target.strides),
        view(&loss[0], 1, loss.shape, loss.strides),
        view(&grad[0, 0], 2, grad.shape, grad.strides),
        grad_scale,
        sizeof(float),
    )


cdef int cross_entropy_and_grad_view_f64(
    const double[:, :] x, const int64_t[:] target, double[:] loss, double[:, :] grad, double grad_scale,
) noexcept nogil:
    return cross_entropies(
        _table.float64_kernels.cross_entropy,
        view(&x[0, 0], 2, x.shape, x.strides),
        view(&target[0], 1, target.shape, target.strides),
        view(&loss[0], 1, loss.shape, loss.strides),
        view(&grad[0, 0], 2, grad.shape, grad.strides),
        grad_scale,
        sizeof(double),
    )


# ---- for C and C++ -----------------------------------------------------------------------------------------------

ctypedef int (*Elementwise_f32)(
    Py_ssize_t, Py_ssize_t,
    const float *, Py_ssize_t, Py_ssize_t,
    float *, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Elementwise_f64)(
    Py_ssize_t, Py_ssize_t,
    const double *, Py_ssize_t, Py_ssize_t,
    double *, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Reduction_f32)(
    Py_ssize_t, Py_ssize_t,
    const float *, Py_ssize_t, Py_ssize_t,
    float *, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Reduction_f64)(
    Py_ssize_t, Py_ssize_t,
    const double *, Py_ssize_t, Py_ssize_t,
    double *, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Product_f32)(
    Py_ssize_t, Py_ssize_t,
    const float *, Py_ssize_t, Py_ssize_t,
    const float *, Py_ssize_t, Py_ssize_t,
    float *, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Product_f64)(
    Py_ssize_t, Py_ssize_t,
    const double *, Py_ssize_t, Py_ssize_t,
    const double *, Py_ssize_t, Py_ssize_t,
    double *, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Jacobian_f32)(
    Py_ssize_t, Py_ssize_t,
    const float *, Py_ssize_t, Py_ssize_t,
    float *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*Jacobian_f64)(
    Py_ssize_t, Py_ssize_t,
    const double *, Py_ssize_t, Py_ssize_t,
    double *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*CrossEntropy_f32)(
    Py_ssize_t, Py_ssize_t,
    const float *, Py_ssize_t, Py_ssize_t,
    const int64_t *, Py_ssize_t,
    float *, Py_ssize_t,
    float *, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil
ctypedef int (*CrossEntropy_f64)(
    Py_ssize_t, Py_ssize_t,
    const double *, Py_ssize_t, Py_ssize_t,
    const int64_t *, Py_ssize_t,
    double *, Py_ssize_t,
    double *, Py_ssize_t, Py_ssize_t,
    double,
) noexcept nogil


cdef extern from "softmax_cy.h":
    int SOFTMAX_CY_ABI_VERSION
    const char *SOFTMAX_CY_CAPSULE
    ctypedef struct softmax_cy_table:
        int abi_version
        size_t struct_size
        const char *library_version
        Elementwise_f32 softmax_f32
        Elementwise_f64 softmax_f64
        Elementwise_f32 log_softmax_f32
        Elementwise_f64 log_softmax_f64
        Reduction_f32 logsumexp_f32
        Reduction_f64 logsumexp_f64
        Product_f32 softmax_vjp_f32
        Product_f64 softmax_vjp_f64
        Product_f32 softmax_jvp_f32
        Product_f64 softmax_jvp_f64
        Product_f32 log_softmax_vjp_f32
        Product_f64 log_softmax_vjp_f64
        Product_f32 log_softmax_jvp_f32
        Product_f64 log_softmax_jvp_f64
        Jacobian_f32 softmax_jacobian_f32
        Jacobian_f64 softmax_jacobian_f64
        Jacobian_f32 log_softmax_jacobian_f32
        Jacobian_f64 log_softmax_jacobian_f64
        CrossEntropy_f32 cross_entropy_and_grad_f32
        CrossEntropy_f64 cross_entropy_and_grad_f64


cdef bytes version = __version__.encode()
cdef softmax_cy_table table

table.abi_version = SOFTMAX_CY_ABI_VERSION
table.struct_size = sizeof(softmax_cy_table)
table.library_version = version
table.softmax_f32 = softmax_f32
table.softmax_f64 = softmax_f64
table.log_softmax_f32 = log_softmax_f32
table.log_softmax_f64 = log_softmax_f64
table.logsumexp_f32 = logsumexp_f32
table.logsumexp_f64 = logsumexp_f64
table.softmax_vjp_f32 = softmax_vjp_f32
table.softmax_vjp_f64 = softmax_vjp_f64
table.softmax_jvp_f32 = softmax_jvp_f32
table.softmax_jvp_f64 = softmax_jvp_f64
table.log_softmax_vjp_f32 = log_softmax_vjp_f32
table.log_softmax_vjp_f64 = log_softmax_vjp_f64
table.log_softmax_jvp_f32 = log_softmax_jvp_f32
table.log_softmax_jvp_f64 = log_softmax_jvp_f64
table.softmax_jacobian_f32 = softmax_jacobian_f32
table.softmax_jacobian_f64 = softmax_jacobian_f64
table.log_softmax_jacobian_f32 = log_softmax_jacobian_f32
table.log_softmax_jacobian_f64 = log_softmax_jacobian_f64
table.cross_entropy_and_grad_f32 = cross_entropy_and_grad_f32
table.cross_entropy_and_grad_f64 = cross_entropy_and_grad_f64

_C_API = PyCapsule_New(&table, SOFTMAX_CY_CAPSULE, NULL)
