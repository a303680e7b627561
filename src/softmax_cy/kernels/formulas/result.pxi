# An element of a result: the last step of every operation.

cdef inline vreal finish_quotient(vreal quotient, const Constants *c, Operation operation) noexcept nogil:
    if operation == CROSS_ENTROPY_GRADIENT:
        return v_mul(v_mul(quotient, c.coefficient), c.factor)
    return quotient


cdef inline vreal finish_element(vreal x, vreal y, const Constants *c, Operation operation, bint kept) noexcept nogil:
    """`operation` and `kept`, which says that x is the exponential already, must be compile-time constants."""
    if is_quotient(operation):
        x = reciprocals_times(c.r, x if kept else exp_shifted(x, c.shifts, False).value)
        return finish_quotient(x, c, operation)
    if operation == LOG_SOFTMAX:
        return finish_logarithm(x, c.top, c.over, c.scale)
    if operation == MULTIPLE:
        return v_mul(c.factor, x)
    return finish_product(x, y, c, operation)
