# What can be done to slices with the same walks: compile-time constants that inline functions are given.

cdef enum Operation:
    # Of kernels.
    SOFTMAX
    LOG_SOFTMAX
    LOGSUMEXP
    SOFTMAX_PRODUCT
    LOG_SOFTMAX_VJP
    LOG_SOFTMAX_JVP
    # Of the last pass alone.
    SCALED_SOFTMAX_PRODUCT  # with a scale other than 1
    MULTIPLE                # of y: a row of a Jacobian
    CROSS_ENTROPY_GRADIENT


cdef inline bint is_product(Operation operation) noexcept nogil:
    """Whether there are two inputs."""
    return (
        operation == SOFTMAX_PRODUCT or operation == SCALED_SOFTMAX_PRODUCT
        or operation == LOG_SOFTMAX_VJP or operation == LOG_SOFTMAX_JVP)


cdef inline bint is_quotient(Operation operation) noexcept nogil:
    """Whether a result is an exponential over the sum of all, or a multiple of that."""
    return operation == SOFTMAX or operation == CROSS_ENTROPY_GRADIENT
