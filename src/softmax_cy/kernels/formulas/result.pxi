# An element of a result: the last step of every operation.

cdef inline vreal of_quotient(vreal quotient, const Constants *c, Operation operation) noexcept nogil:
    if operation == CROSS_ENTROPY_GRADIENT:
        return v_mul(v_mul(quotient, c.coefficient), c.factor)
    return quotient


cdef inline vreal result_of(vreal x, vreal y, const Constants *c, Operation operation, bint kept) noexcept nogil:
    """`operation` and `kept`, which says that x is the exponential already, are constants of the caller."""
    if is_quotient(operation):
        x = reciprocals_times(c.r, x if kept else exp_shifted(x, c.shifts, False).value)
        return of_quotient(x, c, operation)
    if operation == LOG_SOFTMAX:
        return log_quotient(x, c.top, c.over, c.scale)
    if operation == MULTIPLE:
        return v_mul(c.factor, x)
    return product_of(x, y, c, operation)
