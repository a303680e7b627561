# States of parts of slices, one slice a call, each in memory of the caller: kernels/operations/parts.pxi.
#
# Design:
# 1. A state says what it is a state of, so functions that are given one ask for its numbers only, and compare them with
#    what they are to do. Two states are merged only if they belong together.
# 2. Callers read states from files and sockets. A header that no function here has written is refused, so that sizes
#    and addresses can be computed from it. That the memory behind it is as long as it says is left to the caller.
# 3. All bytes of a state are written, padding too: equal states are equal bytes, and no old memory leaves the process.

from softmax_cy.kernels.table cimport KernelTable, Part, PartKernel, StateHeader


cdef enum:
    STATE_ALIGNMENT = 8     # bytes


# ---- checks ------------------------------------------------------------------------------------------------------

cdef inline bint is_countable(Py_ssize_t length) noexcept nogil:
    """Tells whether the bytes of a slice, and those of its state, are numbers."""
    return length <= PY_SSIZE_T_MAX // 16


cdef inline int check_part(Py_ssize_t offset, Py_ssize_t count, Py_ssize_t length) noexcept nogil:
    """Checks that a part lies within a slice."""
    if offset < 0 or count < 0 or length < 0:
        return SOFTMAX_CY_NEGATIVE_SIZE
    if not is_countable(length) or offset > length or count > length - offset:
        return SOFTMAX_CY_BAD_PART
    return SOFTMAX_CY_OK


cdef inline int check_room(const void *state) noexcept nogil:
    """Checks where a state is, or will be."""
    if state == NULL:
        return SOFTMAX_CY_NULL_POINTER
    return SOFTMAX_CY_BAD_STATE if <size_t> state % STATE_ALIGNMENT else SOFTMAX_CY_OK


cdef inline int check_state(const void *state, Py_ssize_t size) noexcept nogil:
    """Checks that this is a state, and one of elements of this size."""
    cdef const StateHeader *head = <const StateHeader *> state
    cdef int status = check_room(state)
    if status != SOFTMAX_CY_OK:
        return status
    if (
        head.bits != 8 * size or not 0 <= head.exact <= 1 or not 0 <= head.offset <= head.stop <= head.whole
        or not is_countable(head.whole) or not 0 < head.scale < INFINITY
    ):
        return SOFTMAX_CY_BAD_STATE
    return SOFTMAX_CY_OK


cdef inline int check_complete(const void *state, Py_ssize_t size) noexcept nogil:
    """Checks that this is the state of a whole slice."""
    cdef const StateHeader *head = <const StateHeader *> state
    cdef int status = check_state(state, size)
    if status == SOFTMAX_CY_OK and (head.offset != 0 or head.stop != head.whole):
        return SOFTMAX_CY_BAD_STATE
    return status


# ---- operands ----------------------------------------------------------------------------------------------------

cdef inline Operand make_bytes(const KernelTable *kernels, const void *state, const StateHeader *head) noexcept nogil:
    """Makes an operand of the bytes of a state with this header."""
    cdef Py_ssize_t size
    kernels.state_size(head.exact, head.offset, head.stop, head.whole, &size)
    return make_column(state, size, 1, 1)


cdef inline Part make_part(Py_ssize_t offset, Py_ssize_t length, Py_ssize_t count, double scale) noexcept nogil:
    """Makes a part without its elements and its state."""
    cdef Part part
    memset(&part, 0, sizeof(Part))
    part.offset = offset
    part.whole = length
    part.slices.count = 1
    part.slices.length = count
    part.slices.scale = scale
    return part


# ---- calls -------------------------------------------------------------------------------------------------------

cdef inline int find_state_size(
    const KernelTable *kernels, Py_ssize_t offset, Py_ssize_t count, Py_ssize_t length, bint exact, Py_ssize_t *out
) noexcept nogil:
    """Writes how many bytes a state takes."""
    cdef int status = check_part(offset, count, length)
    if status != SOFTMAX_CY_OK:
        return status
    if out == NULL:
        return SOFTMAX_CY_NULL_POINTER
    kernels.state_size(exact, offset, offset + count, length, out)
    return SOFTMAX_CY_OK


cdef inline int call_state_kernel(
    const KernelTable *kernels, Py_ssize_t offset, Py_ssize_t length, bint exact, Operand x, void *out, double scale,
    Py_ssize_t size
) noexcept nogil:
    """Writes the state of a part."""
    cdef Py_ssize_t count = x.counts[0]
    cdef StateHeader head
    cdef Elements x_elements
    cdef Operand state
    cdef Part part
    cdef int status = check_part(offset, count, length)
    if status != SOFTMAX_CY_OK:
        return status
    scale = round_to_size(scale, size)
    if not 0 < scale < INFINITY:
        return SOFTMAX_CY_BAD_SCALE
    head.exact = exact
    head.offset = offset
    head.stop = offset + count
    head.whole = length
    status = check_room(out)
    if status != SOFTMAX_CY_OK:
        return status
    state = make_bytes(kernels, out, &head)
    status = check_output(&state, 1)
    if status == SOFTMAX_CY_OK and count > 0:
        status = check_beside(&x, size, &state, 1, False)
    if status != SOFTMAX_CY_OK:
        return status
    set_elements(&x_elements, &x, 0, size)
    part = make_part(offset, length, count, scale)
    part.exact = exact
    part.slices.x = x.data if count > 0 else <char *> out
    part.slices.x_elements = &x_elements
    part.state = <char *> out
    memset(out, 0, state.counts[0])
    kernels.state(&part)
    return SOFTMAX_CY_OK


cdef inline int merge_two_states(
    const KernelTable *kernels, const void *first, const void *second, void *out, Py_ssize_t size
) noexcept nogil:
    """Writes the state of two neighbours together."""
    cdef const StateHeader *a = <const StateHeader *> first
    cdef const StateHeader *b = <const StateHeader *> second
    cdef StateHeader head
    cdef Operand first_bytes, second_bytes, merged
    cdef Part part
    cdef int status = check_state(first, size)
    if status == SOFTMAX_CY_OK:
        status = check_state(second, size)
    if status == SOFTMAX_CY_OK:
        status = check_room(out)
    if status != SOFTMAX_CY_OK:
        return status
    if a.exact != b.exact or a.whole != b.whole or a.scale != b.scale or a.stop != b.offset:
        return SOFTMAX_CY_BAD_STATE
    head = a[0]
    head.stop = b.stop
    first_bytes = make_bytes(kernels, first, a)
    second_bytes = make_bytes(kernels, second, b)
    merged = make_bytes(kernels, out, &head)
    status = check_output(&merged, 1)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&first_bytes, 1, &merged, 1, False)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&second_bytes, 1, &merged, 1, False)
    if status != SOFTMAX_CY_OK:
        return status
    part = make_part(head.offset, head.whole, head.stop - head.offset, head.scale)
    part.exact = head.exact
    part.first = <const char *> first
    part.second = <const char *> second
    part.state = <char *> out
    memset(out, 0, merged.counts[0])
    kernels.merged_state(&part)
    return SOFTMAX_CY_OK


cdef inline int find_logsumexp_of_state(
    const KernelTable *kernels, const void *state, Operand out, Py_ssize_t size
) noexcept nogil:
    """Writes one number, from the state of a whole slice."""
    cdef const StateHeader *head = <const StateHeader *> state
    cdef Operand bytes_
    cdef Elements out_elements
    cdef Part part
    cdef int status = check_complete(state, size)
    if status == SOFTMAX_CY_OK:
        status = check_output(&out, size)
    if status != SOFTMAX_CY_OK:
        return status
    bytes_ = make_bytes(kernels, state, head)
    status = check_beside(&bytes_, 1, &out, size, False)
    if status != SOFTMAX_CY_OK:
        return status
    if head.whole == 0:
        fill_column(&out, size, -INFINITY)
        return SOFTMAX_CY_OK
    set_elements(&out_elements, &out, 0, size)
    part = make_part(0, head.whole, 0, head.scale)
    part.slices.out = out.data
    part.slices.out_elements = &out_elements
    part.state = <char *> state
    kernels.logsumexp_of_state(&part)
    return SOFTMAX_CY_OK


cdef inline int call_part_kernel(
    const KernelTable *kernels, PartKernel kernel, Py_ssize_t offset, const void *state, Operand x, Operand out,
    Py_ssize_t size
) noexcept nogil:
    """Writes a result of the shape of a part, from the part and the state of the whole slice."""
    cdef const StateHeader *head = <const StateHeader *> state
    cdef Py_ssize_t count = x.counts[0]
    cdef Operand bytes_
    cdef Elements x_elements, out_elements
    cdef Part part
    cdef int status
    if offset < 0 or count < 0:
        return SOFTMAX_CY_NEGATIVE_SIZE
    status = check_complete(state, size)
    if status == SOFTMAX_CY_OK:
        status = check_part(offset, count, head.whole)
    if status != SOFTMAX_CY_OK or count == 0:
        return status
    bytes_ = make_bytes(kernels, state, head)
    status = check_output(&out, size)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&x, size, &out, size, True)
    if status == SOFTMAX_CY_OK:
        status = check_beside(&bytes_, 1, &out, size, False)
    if status != SOFTMAX_CY_OK:
        return status
    set_elements(&x_elements, &x, 0, size)
    set_elements(&out_elements, &out, 0, size)
    part = make_part(offset, head.whole, count, head.scale)
    part.exact = head.exact
    part.slices.x = x.data
    part.slices.x_elements = &x_elements
    part.slices.out = out.data
    part.slices.out_elements = &out_elements
    part.state = <char *> state
    kernel(&part)
    return SOFTMAX_CY_OK
