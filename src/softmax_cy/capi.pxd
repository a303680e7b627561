# What a Cython program cimports: the family for float32 and float64, for callers that hold no GIL.
#
#   NAME_f32, NAME_f64              pointers; strides count elements, rows first
#   NAME_view_f32, NAME_view_f64    typed memoryviews, of any strides
#
# The parameters are those of the header softmax_cy.h, which says what each function does and what each status means.
# All of them may be called by any thread; they take no lock, start no thread and allocate nothing but thread-local
# memory on a thread's first call. Names and signatures are kept from version to version.

from libc.stdint cimport int64_t


cdef enum:
    # What all of them return. Anything but SOFTMAX_CY_OK: nothing was written.
    SOFTMAX_CY_OK = 0
    SOFTMAX_CY_NULL_POINTER = 1
    SOFTMAX_CY_NEGATIVE_SIZE = 2
    SOFTMAX_CY_BAD_SCALE = 3
    SOFTMAX_CY_BAD_STRIDE = 4
    SOFTMAX_CY_OVERLAP = 5
    SOFTMAX_CY_BAD_TARGET = 6
    SOFTMAX_CY_SHAPE_MISMATCH = 7


# ---- pointers ----------------------------------------------------------------------------------------------------

cdef int softmax_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int softmax_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int log_softmax_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int log_softmax_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int logsumexp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    float *out, Py_ssize_t out_row_stride,
    double scale,
) noexcept nogil
cdef int logsumexp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    double *out, Py_ssize_t out_row_stride,
    double scale,
) noexcept nogil

cdef int softmax_vjp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const float *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int softmax_vjp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const double *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int softmax_jvp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const float *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int softmax_jvp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const double *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int log_softmax_vjp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const float *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int log_softmax_vjp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    const double *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int log_softmax_jvp_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const float *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    float *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int log_softmax_jvp_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *tangent, Py_ssize_t tangent_row_stride, Py_ssize_t tangent_stride,
    const double *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    double *out, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int softmax_jacobian_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    float *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int softmax_jacobian_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *y, Py_ssize_t y_row_stride, Py_ssize_t y_stride,
    double *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int log_softmax_jacobian_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    float *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil
cdef int log_softmax_jacobian_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *log_y, Py_ssize_t log_y_row_stride, Py_ssize_t log_y_stride,
    double *out, Py_ssize_t out_matrix_stride, Py_ssize_t out_row_stride, Py_ssize_t out_stride,
    double scale,
) noexcept nogil

cdef int cross_entropy_and_grad_f32(
    Py_ssize_t rows, Py_ssize_t length,
    const float *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    const int64_t *target, Py_ssize_t target_stride,
    float *loss, Py_ssize_t loss_stride,
    float *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    double grad_scale,
) noexcept nogil
cdef int cross_entropy_and_grad_f64(
    Py_ssize_t rows, Py_ssize_t length,
    const double *x, Py_ssize_t x_row_stride, Py_ssize_t x_stride,
    const int64_t *target, Py_ssize_t target_stride,
    double *loss, Py_ssize_t loss_stride,
    double *grad, Py_ssize_t grad_row_stride, Py_ssize_t grad_stride,
    double grad_scale,
) noexcept nogil


# ---- typed memoryviews -------------------------------------------------------------------------------------------

# A view that is None has no elements: as `grad` it asks for no gradient, elsewhere it is a matrix without rows.

cdef int softmax_view_f32(const float[:, :] x, float[:, :] out, double scale) noexcept nogil
cdef int softmax_view_f64(const double[:, :] x, double[:, :] out, double scale) noexcept nogil

cdef int log_softmax_view_f32(const float[:, :] x, float[:, :] out, double scale) noexcept nogil
cdef int log_softmax_view_f64(const double[:, :] x, double[:, :] out, double scale) noexcept nogil

cdef int logsumexp_view_f32(const float[:, :] x, float[:] out, double scale) noexcept nogil
cdef int logsumexp_view_f64(const double[:, :] x, double[:] out, double scale) noexcept nogil

cdef int softmax_vjp_view_f32(const float[:, :] grad, const float[:, :] y, float[:, :] out, double scale) noexcept nogil
cdef int softmax_vjp_view_f64(
    const double[:, :] grad, const double[:, :] y, double[:, :] out, double scale,
) noexcept nogil

cdef int softmax_jvp_view_f32(
    const float[:, :] tangent, const float[:, :] y, float[:, :] out, double scale,
) noexcept nogil
cdef int softmax_jvp_view_f64(
    const double[:, :] tangent, const double[:, :] y, double[:, :] out, double scale,
) noexcept nogil

cdef int log_softmax_vjp_view_f32(
    const float[:, :] grad, const float[:, :] log_y, float[:, :] out, double scale,
) noexcept nogil
cdef int log_softmax_vjp_view_f64(
    const double[:, :] grad, const double[:, :] log_y, double[:, :] out, double scale,
) noexcept nogil

cdef int log_softmax_jvp_view_f32(
    const float[:, :] tangent, const float[:, :] log_y, float[:, :] out, double scale,
) noexcept nogil
cdef int log_softmax_jvp_view_f64(
    const double[:, :] tangent, const double[:, :] log_y, double[:, :] out, double scale,
) noexcept nogil

cdef int softmax_jacobian_view_f32(const float[:, :] y, float[:, :, :] out, double scale) noexcept nogil
cdef int softmax_jacobian_view_f64(const double[:, :] y, double[:, :, :] out, double scale) noexcept nogil

cdef int log_softmax_jacobian_view_f32(const float[:, :] log_y, float[:, :, :] out, double scale) noexcept nogil
cdef int log_softmax_jacobian_view_f64(const double[:, :] log_y, double[:, :, :] out, double scale) noexcept nogil

cdef int cross_entropy_and_grad_view_f32(
    const float[:, :] x, const int64_t[:] target, float[:] loss, float[:, :] grad, double grad_scale,
) noexcept nogil
cdef int cross_entropy_and_grad_view_f64(
    const double[:, :] x, const int64_t[:] target, double[:] loss, double[:, :] grad, double grad_scale,
) noexcept nogil
