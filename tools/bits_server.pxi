# A program that does to arrays what the kernels do, for machines that have no Python for it: reads requests from the
# standard input and writes results to the standard output. tools/neon_golden.py builds and asks it.
#
# A request is a struct Request and the inputs, reals unless they are class indices; the answer is the results. That tool
# includes the kernels before this, and writes the functions that find a kernel by its number in the list.

from libc.stdio cimport FILE, fflush, fread, fwrite, stdin, stdout
from libc.stdlib cimport calloc, exit, free

from softmax_cy.kernels.kinds cimport KIND_INT64

cdef struct Request:
    int64_t kernel
    int64_t inputs
    int64_t one_result      # a slice: of a kernel for slices, a number and no array
    int64_t count           # slices
    int64_t length
    int64_t columns         # whether they lie side by side
    double scale


cdef inline Py_ssize_t numbers(const Request *request, bint a_slice) noexcept nogil:
    return <Py_ssize_t> (request.count if a_slice else request.count * request.length)


cdef char *taken(Py_ssize_t count, size_t size) noexcept nogil:
    """So many numbers from the input."""
    cdef char *memory = <char *> calloc(count, size)
    if memory == NULL or <Py_ssize_t> fread(memory, size, count, stdin) != count:
        exit(1)
    return memory


cdef void give(char *memory, Py_ssize_t count) noexcept nogil:
    if <Py_ssize_t> fwrite(memory, sizeof(real), count, stdout) != count:
        exit(1)
    free(memory)


cdef void slices_answer(const Request *request, const Elements *elements, Py_ssize_t next_) noexcept nogil:
    """Of what takes one input or two, and gives a number an element or a slice."""
    cdef Py_ssize_t results = numbers(request, request.one_result)
    cdef Slices slices
    cdef char *x = taken(numbers(request, False), sizeof(real))
    cdef char *y = taken(numbers(request, False), sizeof(real)) if request.inputs == 2 else NULL
    cdef char *out = <char *> calloc(results, sizeof(real))
    memset(&slices, 0, sizeof(Slices))
    slices.x = x
    slices.y = y
    slices.out = out
    slices.count = request.count
    slices.length = request.length
    slices.x_next = slices.y_next = slices.out_next = next_
    slices.x_elements = slices.y_elements = slices.out_elements = elements
    slices.scale = request.scale
    if request.one_result:
        slices.out_next = sizeof(real)
    find_slices_kernel(request.kernel)(&slices)
    free(x)
    free(y)
    give(out, results)


cdef void jacobian_answer(const Request *request) noexcept nogil:
    """A matrix a slice; from y, or from y and the logits."""
    cdef Py_ssize_t row = request.length * sizeof(real), i
    cdef Elements elements = describe_reals(request.length, sizeof(real))
    cdef JacobianRows rows
    cdef char *y = taken(numbers(request, False), sizeof(real))
    cdef char *x = NULL
    cdef char *out = <char *> calloc(numbers(request, False), row)
    if request.inputs == 2:
        x = taken(numbers(request, False), sizeof(real))
    for i in range(request.count):
        memset(&rows, 0, sizeof(JacobianRows))
        rows.y = y + i * row
        rows.x = x + i * row if x != NULL else NULL
        rows.out = out + i * request.length * row
        rows.length = rows.last = request.length
        rows.out_next = row
        rows.x_elements = rows.y_elements = rows.out_elements = &elements
        rows.scale = request.scale
        find_jacobian_kernel(request.kernel)(&rows)
    free(y)
    free(x)
    give(out, numbers(request, False) * request.length)


cdef void cross_entropy_answer(const Request *request, const Elements *elements, Py_ssize_t next_) noexcept nogil:
    """The losses, then the gradients."""
    cdef CrossEntropySlices all
    cdef char *x = taken(numbers(request, False), sizeof(real))
    cdef char *target = taken(request.count, sizeof(int64_t))
    memset(&all, 0, sizeof(CrossEntropySlices))
    all.x = x
    all.target = target
    all.loss = <char *> calloc(request.count, sizeof(real))
    all.grad = <char *> calloc(numbers(request, False), sizeof(real))
    all.loss_kind = KIND_REAL
    all.index_kind = KIND_INT64
    all.count = request.count
    all.length = request.length
    all.x_next = all.grad_next = next_
    all.target_next = sizeof(int64_t)
    all.loss_next = sizeof(real)
    all.x_elements = all.grad_elements = elements
    all.weight_sum = request.length
    all.grad_factor = 1
    find_cross_entropy_kernel(request.kernel)(&all)
    free(x)
    free(target)
    give(all.loss, request.count)
    give(all.grad, numbers(request, False))


cdef public int main() noexcept nogil:
    cdef Request request
    cdef Elements elements
    cdef Py_ssize_t next_
    while fread(&request, sizeof(Request), 1, stdin) == 1:
        elements = describe_reals(request.length, sizeof(real))
        next_ = request.length * sizeof(real)
        if request.columns:
            elements = describe_reals(request.length, request.count * sizeof(real))
            next_ = sizeof(real)
        if find_slices_kernel(request.kernel) != NULL:
            slices_answer(&request, &elements, next_)
        elif find_jacobian_kernel(request.kernel) != NULL:
            jacobian_answer(&request)
        elif find_cross_entropy_kernel(request.kernel) != NULL:
            cross_entropy_answer(&request, &elements, next_)
        else:
            exit(1)
        fflush(stdout)
    return 0
