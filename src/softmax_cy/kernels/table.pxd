# What a kernel module offers, and the geometry that it is given. Layers above know a kernel by these types alone.
#
# Addresses are bytes and strides count bytes: data need not be aligned, and one table type serves both dtypes.

ctypedef struct Slices:
    # `count` slices of `length` elements, read at x and written at out. out may be x itself (same strides), and may not
    # overlap it otherwise.
    const char *x           # IN
    char *out               # OUT
    Py_ssize_t count
    Py_ssize_t length
    Py_ssize_t x_next       # from one slice to the next
    Py_ssize_t out_next
    Py_ssize_t x_step       # from one element to the next
    Py_ssize_t out_step
    bint stream             # the result is larger than the caches: write past them


ctypedef struct JacobianRows:
    # Rows `first` to `last` of the Jacobian of one slice y. out must not overlap y.
    const char *y           # IN
    char *out               # OUT, row 0
    Py_ssize_t length
    Py_ssize_t first
    Py_ssize_t last
    Py_ssize_t y_step
    Py_ssize_t out_next     # from one row to the next
    Py_ssize_t out_step
    bint stream


ctypedef struct KernelTable:
    void (*softmax)(const Slices *slices) noexcept nogil
    void (*jacobian)(const JacobianRows *rows) noexcept nogil
