# The operands of the C interface: what a caller's pointer or memoryview points at, and where that lies in memory.
#
# Design:
# 1. What is a row in a caller's memory is an axis of an `Operand`. Callers count strides in elements or, in a
#    memoryview, in bytes; an operand counts bytes.
# 2. A stride may be any number. Sums and products of sizes and strides are checked for overflow, and nothing is read
#    before all of them fit.
# 3. Two operands may interleave, as the fields of an array of structs do, as long as they have no byte in common. Few
#    layouts need a search for that, and a search that takes too long counts as one that found something.
# 4. This is an include and no module, so that all of it is compiled into the functions of the interface: with one row a
#    call the checks would otherwise take as long as the kernel. In a .pxd no function could call itself.

from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.string cimport memset


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


# ---- operands ----------------------------------------------------------------------------------------------------

cdef inline Operand make_none() noexcept nogil:
    """Makes an operand without axes, for an input that a kernel does not have."""
    cdef Operand operand
    memset(&operand, 0, sizeof(Operand))
    operand.fits = True
    return operand


cdef inline void add_axis(Operand *operand, Py_ssize_t count, Py_ssize_t stride, Py_ssize_t size) noexcept nogil:
    """Adds an axis whose stride counts elements of this size."""
    cdef int d = operand.ndim
    operand.counts[d] = count
    if multiply_overflows(stride, size, &operand.strides[d]):
        operand.fits = False
    operand.ndim = d + 1


cdef inline Operand make_column(const void *data, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t size) noexcept nogil:
    """Makes an operand of one element a row."""
    cdef Operand operand = make_none()
    operand.data = <char *> data
    add_axis(&operand, rows, stride, size)
    return operand


cdef inline Operand make_matrix(
    const void *data, Py_ssize_t rows, Py_ssize_t length, Py_ssize_t row_stride, Py_ssize_t stride, Py_ssize_t size
) noexcept nogil:
    """Makes an operand of rows."""
    cdef Operand operand = make_column(data, rows, row_stride, size)
    add_axis(&operand, length, stride, size)
    return operand


cdef inline Operand make_matrices(
    const void *data, Py_ssize_t rows, Py_ssize_t length, Py_ssize_t matrix_stride, Py_ssize_t row_stride,
    Py_ssize_t stride, Py_ssize_t size
) noexcept nogil:
    """Makes an operand of a square matrix a row."""
    cdef Operand operand = make_matrix(data, rows, length, matrix_stride, row_stride, size)
    add_axis(&operand, length, stride, size)
    return operand


cdef inline Operand make_view(
    const void *data, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides
) noexcept nogil:
    """Makes an operand of what a memoryview shows."""
    cdef Operand operand = make_none()
    cdef int d
    operand.data = <char *> data
    operand.ndim = ndim
    for d in range(ndim):
        operand.counts[d] = shape[d]
        operand.strides[d] = strides[d]
    return operand


# ---- where operands lie ------------------------------------------------------------------------------------------

cdef inline Py_ssize_t abs_(Py_ssize_t a) noexcept nogil:
    return a if a >= 0 else -a


cdef inline bint find_stretch(
    const Operand *operand, Py_ssize_t size, Py_ssize_t *begin, Py_ssize_t *end
) noexcept nogil:
    """Finds the addresses that its elements lie between. False: there are no such addresses."""
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
    """Tells whether no two elements overlap, if the last axis is the innermost one."""
    cdef Py_ssize_t extent = size, stride
    cdef int d
    for d in range(operand.ndim - 1, -1, -1):
        if operand.counts[d] > 1:
            # abs_() would be the same, but gcc makes every function longer with it: this is in all of them.
            stride = operand.strides[d] if operand.strides[d] >= 0 else -operand.strides[d]
            if stride < extent:
                return False
            extent += (operand.counts[d] - 1) * stride
    return True


cdef bint is_nested_in_some_order(const Operand *operand, Py_ssize_t size) noexcept nogil:
    """Tells what is_nested tells for the axes in the order of their strides."""
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


cdef inline bint have_same_elements(const Operand *a, const Operand *b) noexcept nogil:
    """Tells whether two operands of one shape are one."""
    cdef int d
    if a.data != b.data or a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.counts[d] > 1 and a.strides[d] != b.strides[d]:
            return False
    return True


# ---- the search for a common element -----------------------------------------------------------------------------

cdef struct Sums:
    # Of some multiples of each stride, from none to `most`. Strides are positive and each is smaller than the last one.
    int terms
    Py_ssize_t[MOST_TERMS] strides
    Py_ssize_t[MOST_TERMS] most
    Py_ssize_t[MOST_TERMS + 1] largest      # of the sums from each term on
    int steps                               # that a search may still take


cdef bint add_terms(Sums *sums, const Operand *operand) noexcept nogil:
    """Adds a term for each axis. False: a sum is no number."""
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


cdef inline Py_ssize_t find_common_divisor(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """Finds the greatest one, by Euclid's algorithm."""
    while b:
        a, b = b, a % b
    return a


cdef bint has_sum_between(Sums *sums, int k, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Tells whether a sum from term k on is at least low and at most high. True, too, if that takes too long."""
    cdef Py_ssize_t period = 0, times, stride, least = 0
    cdef int m
    if high < 0 or low > sums.largest[k]:
        return False
    if low <= 0 or high >= sums.largest[k]:
        return True
    # The terms from k to m add up to a multiple of their common divisor, the others to no more than their largest sum.
    for m in range(k, sums.terms):
        period = find_common_divisor(sums.strides[m], period)
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
    """Tells whether an element of one overlaps an element of the other. True, too, if that takes too long."""
    # Counted from the first element of a and back from the last one of b, they lie at sums of multiples of strides.
    cdef Sums sums
    cdef Py_ssize_t a_begin, a_end, b_begin, b_end, distance, largest
    cdef int k
    memset(&sums, 0, sizeof(Sums))
    sums.steps = MOST_STEPS
    find_stretch(a, a_size, &a_begin, &a_end)
    find_stretch(b, b_size, &b_begin, &b_end)
    if not add_terms(&sums, a) or not add_terms(&sums, b) or subtract_overflows(b_end, a_begin, &distance):
        return True
    for k in range(sums.terms - 1, -1, -1):
        if (
            multiply_overflows(sums.most[k], sums.strides[k], &largest)
            or add_overflows(largest, sums.largest[k + 1], &sums.largest[k])
        ):
            return True
    return has_sum_between(&sums, 0, distance - a_size - b_size + 1, distance - 1)


# ---- checks ------------------------------------------------------------------------------------------------------

cdef inline int check_sizes(const Operand *x) noexcept nogil:
    """Checks a matrix."""
    return SOFTMAX_CY_NEGATIVE_SIZE if x.counts[0] < 0 or x.counts[1] < 0 else SOFTMAX_CY_OK


cdef inline int check_output(const Operand *out, Py_ssize_t size) noexcept nogil:
    """Checks an output with elements."""
    cdef Py_ssize_t begin, end
    if out.data == NULL:
        return SOFTMAX_CY_NULL_POINTER
    if not find_stretch(out, size, &begin, &end):
        return SOFTMAX_CY_BAD_STRIDE
    if not is_nested(out, size) and not is_nested_in_some_order(out, size):
        return SOFTMAX_CY_OVERLAP
    return SOFTMAX_CY_OK


cdef inline int check_beside(
    const Operand *x, Py_ssize_t x_size, const Operand *out, Py_ssize_t size, bint in_place
) noexcept nogil:
    """Checks an operand with elements beside an output that check_output has passed. `in_place`: both may be one."""
    cdef Py_ssize_t x_begin, x_end, begin, end
    if x.data == NULL:
        return SOFTMAX_CY_NULL_POINTER
    if not find_stretch(x, x_size, &x_begin, &x_end):
        return SOFTMAX_CY_BAD_STRIDE
    find_stretch(out, size, &begin, &end)
    if x_end <= begin or end <= x_begin or in_place and have_same_elements(x, out):
        return SOFTMAX_CY_OK
    return SOFTMAX_CY_OVERLAP if have_bytes_in_common(x, x_size, out, size) else SOFTMAX_CY_OK


cdef inline bint is_plain_row(const Operand *operand, Py_ssize_t size) noexcept nogil:
    """Tells whether it is one row side by side, no longer than that its size in bytes is a number."""
    return (
        operand.data != NULL and operand.counts[0] == 1
        and (operand.ndim == 1 or operand.strides[1] == size and operand.counts[1] <= PY_SSIZE_T_MAX // 16)
    )


cdef inline bint are_plain_rows_apart(
    const Operand *x, const Operand *out, Py_ssize_t size, bint in_place
) noexcept nogil:
    """Tells what check_beside tells, for two plain rows of the same elements."""
    cdef const char *x_end = x.data + x.counts[1] * size
    cdef const char *out_end = out.data + (size if out.ndim == 1 else out.counts[1] * size)
    return x_end <= out.data or out_end <= x.data or in_place and x.data == out.data


cdef inline int check_all(
    const Operand *x, const Operand *y, const Operand *out, Py_ssize_t size, bint in_place
) noexcept nogil:
    """Checks an output and what is read for it, y only if that has axes."""
    cdef int status
    # One row a call: what follows would take as long as the kernel.
    if (
        is_plain_row(out, size) and is_plain_row(x, size) and are_plain_rows_apart(x, out, size, in_place)
        and (y.ndim == 0 or is_plain_row(y, size) and are_plain_rows_apart(y, out, size, in_place))
    ):
        return SOFTMAX_CY_OK
    status = check_output(out, size)
    if status == SOFTMAX_CY_OK:
        status = check_beside(x, size, out, size, in_place)
    if status == SOFTMAX_CY_OK and y.ndim:
        status = check_beside(y, size, out, size, in_place)
    return status
