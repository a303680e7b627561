# What an element of an array can be.

from libc.stdint cimport int64_t

cdef extern from "kinds.h" nogil:
    enum:
        KIND_BOOL
        KIND_INT8
        KIND_INT16
        KIND_INT32
        KIND_INT64
        KIND_UINT8
        KIND_UINT16
        KIND_UINT32
        KIND_UINT64
        KIND_FLOAT16
        KIND_BFLOAT16
        KIND_FLOAT32
        KIND_FLOAT64
        KIND_SWAPPED

    size_t kind_size(int kind)
    void swap_bytes(char *elements, size_t size, Py_ssize_t count)
    int64_t integer_at(const char *element, int kind)
    double real_at(const char *element, int kind)
