ctypedef void (*Task)(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil

cdef enum:
    RELEASE_GIL_ABOVE = 2000    # nanoseconds of work

cdef int read_threads(object num_threads) except -1
cdef int limit_to_worthwhile(int threads, Py_ssize_t items, double nanoseconds) noexcept nogil
cdef void run(Task task, const void *context, Py_ssize_t items, int threads, double nanoseconds) noexcept
cdef void share_out(
    Task task, const void *context, Py_ssize_t items, int threads, double nanoseconds) noexcept nogil
