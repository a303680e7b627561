# Estimated nanoseconds for a float32 element on one thread.
cdef double SOFTMAX_COST
