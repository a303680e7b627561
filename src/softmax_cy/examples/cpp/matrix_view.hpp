// Softmax over views, for C++17: what std::span is to an array, matrix_view is to a matrix.
#pragma once

#include <softmax_cy.h>

#include <cstddef>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace embedded {

/// Rows in somebody else's memory. Strides count elements.
template <typename Element>
struct matrix_view {
    Element *data;
    std::ptrdiff_t rows, columns, row_stride, stride;

    matrix_view(Element *data, std::ptrdiff_t rows, std::ptrdiff_t columns)
        : matrix_view(data, rows, columns, columns, 1) {}
    matrix_view(Element *data, std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t row_stride,
                std::ptrdiff_t stride)
        : data(data), rows(rows), columns(columns), row_stride(row_stride), stride(stride) {}

    /// Whoever may write may read.
    operator matrix_view<const Element>() const { return {data, rows, columns, row_stride, stride}; }

    Element &operator()(std::ptrdiff_t i, std::ptrdiff_t j) const { return data[i * row_stride + j * stride]; }

    /// Rows become columns.
    matrix_view transposed() const { return {data, columns, rows, stride, row_stride}; }
};

/// A status is an exception here.
inline void check(int status) {
    if (status != SOFTMAX_CY_OK)
        throw std::invalid_argument(softmax_cy_status_message(status));
}

template <typename Real>
void check_shapes(matrix_view<const Real> x, matrix_view<Real> out) {
    if (x.rows != out.rows || x.columns != out.columns)
        check(SOFTMAX_CY_SHAPE_MISMATCH);
}

/// softmax(scale * x) of each row.
template <typename Real>
void softmax(matrix_view<const Real> x, matrix_view<Real> out, double scale = 1) {
    check_shapes(x, out);
    if constexpr (std::is_same_v<Real, float>)
        check(softmax_cy->softmax_f32(x.rows, x.columns, x.data, x.row_stride, x.stride, out.data, out.row_stride,
                                      out.stride, scale));
    else
        check(softmax_cy->softmax_f64(x.rows, x.columns, x.data, x.row_stride, x.stride, out.data, out.row_stride,
                                      out.stride, scale));
}

/// log(softmax(scale * x)) of each row.
template <typename Real>
void log_softmax(matrix_view<const Real> x, matrix_view<Real> out, double scale = 1) {
    check_shapes(x, out);
    if constexpr (std::is_same_v<Real, float>)
        check(softmax_cy->log_softmax_f32(x.rows, x.columns, x.data, x.row_stride, x.stride, out.data, out.row_stride,
                                          out.stride, scale));
    else
        check(softmax_cy->log_softmax_f64(x.rows, x.columns, x.data, x.row_stride, x.stride, out.data, out.row_stride,
                                          out.stride, scale));
}

} // namespace embedded
