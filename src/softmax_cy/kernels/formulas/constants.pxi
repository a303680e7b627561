# What the last pass of an operation needs to know of a slice, one and the same for all its elements.

cdef struct Constants:
    # Of the slices in the lanes of a vector: one and the same where its elements are of one slice. An operation sets
    # what it uses.
    real scale
    real y_scale            # SCALED_SOFTMAX_PRODUCT: set by set_scales
    vreal top
    Shifts shifts
    reciprocals r           # SOFTMAX, CROSS_ENTROPY_GRADIENT
    vreal over              # LOG_SOFTMAX: log sum exp less scale * top
    vreal ordinary          # 1, or 0 where a slice beside others is to be done again, by the row code
    vreal centre            # products
    vreal sum_
    vreal unit              # LOG_SOFTMAX_VJP: what lowers the exponential
    vreal factor            # MULTIPLE, CROSS_ENTROPY_GRADIENT
    vreal coefficient       # CROSS_ENTROPY_GRADIENT


cdef inline bint has_softmax(real top) noexcept nogil:
    """Not so a slice of nothing but -inf and NaN, or one with +inf."""
    return -INFINITY < top < INFINITY


cdef inline bint is_finite(double a) noexcept nogil:
    return a - a == 0


cdef inline bint is_number(total sum_) noexcept nogil:
    """Not so where a slice holds NaN: then every element is the one NaN of sums.h."""
    return sum_.hi == sum_.hi
