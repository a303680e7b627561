# How slices lie in memory, which decides by what walk an operation goes over them.

cdef inline bint are_blocks(const Slices *slices) noexcept nogil:
    """Contiguous slices of at most one block."""
    return slices.mask == NULL and slices.length <= block_length() and are_contiguous(slices.x_elements)


cdef inline bint side_by_side(const Elements *elements, Py_ssize_t next_) noexcept nogil:
    return elements.kind == KIND_REAL and elements.ndim == 1 and next_ == <Py_ssize_t> sizeof(real)


cdef inline bint are_columns(const Slices *slices, bint one_result) noexcept nogil:
    """Whether the slices can be walked in panels; `one_result` a slice, not an element."""
    return (
        slices.count > 1 and slices.mask == NULL
        and side_by_side(slices.x_elements, slices.x_next)
        and slices.out_elements.kind == KIND_REAL and slices.out_next == <Py_ssize_t> sizeof(real)
        and (one_result or slices.out_elements.ndim == 1)
        and (slices.y == NULL or side_by_side(slices.y_elements, slices.y_next))
    )


cdef inline bint are_rows(const Slices *slices, bint one_result) noexcept nogil:
    """Slices of reals side by side; `one_result` a slice, not an element."""
    return (
        slices.mask == NULL and are_contiguous(slices.x_elements)
        and (slices.out_elements.kind == KIND_REAL if one_result else are_contiguous(slices.out_elements))
        and (slices.y == NULL or are_contiguous(slices.y_elements))
    )
