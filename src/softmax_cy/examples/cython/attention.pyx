# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""A causal attention head: position i attends to the positions up to i."""

from cython.parallel cimport prange
from libc.math cimport INFINITY, sqrt

from softmax_cy.capi cimport softmax_view_f32


cdef void masked_scores(
    const float[:, :] queries, const float[:, :] keys, float[:, :] scores, Py_ssize_t i
) noexcept nogil:
    cdef Py_ssize_t j, k
    cdef float product
    for j in range(keys.shape[0]):
        product = -INFINITY
        if j <= i:
            product = 0
            for k in range(keys.shape[1]):
                product = product + queries[i, k] * keys[j, k]
        scores[i, j] = product


cdef void weighted_sum(
    const float[:, :] weights, const float[:, :] values, float[:, :] out, Py_ssize_t i
) noexcept nogil:
    cdef Py_ssize_t j, k
    for k in range(values.shape[1]):
        out[i, k] = 0
    for j in range(i + 1):
        for k in range(values.shape[1]):
            out[i, k] += weights[i, j] * values[j, k]


def attend(
    const float[:, :] queries, const float[:, :] keys, const float[:, :] values, float[:, :] weights, float[:, :] out,
    int threads,
):
    """weights = softmax(queries @ keys.T / sqrt(d)) where j <= i, out = weights @ values."""
    cdef Py_ssize_t rows = queries.shape[0], i
    cdef double scale = 1 / sqrt(queries.shape[1])
    cdef int status = 0
    if not (keys.shape[0] == values.shape[0] == out.shape[0] == rows and keys.shape[1] == queries.shape[1]
            and weights.shape[0] == weights.shape[1] == rows and out.shape[1] == values.shape[1]):
        raise ValueError("shapes do not agree")
    for i in prange(rows, nogil=True, num_threads=threads, schedule="dynamic"):
        masked_scores(queries, keys, weights, i)
        # Row i of the scores becomes row i of the weights. A score of -inf has weight 0.
        status |= softmax_view_f32(weights[i:i + 1], weights[i:i + 1], scale)
        weighted_sum(weights, values, out, i)
    if status != 0:
        raise ValueError("softmax_cy refused the arguments")
