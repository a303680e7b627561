"""Softmax and its Jacobian as the obvious loops, as any Cython user would write them. Read this module first.

For the logits x of one row, and m the largest of them:

    y_i         = exp(x_i - m) / sum_k exp(x_k - m)

    dy_i / dx_j = y_i (1 - y_i)  if i = j
                  -y_i y_j       otherwise

Every m gives the same y; the largest logit keeps exp from overflowing. The derivatives follow from the quotient rule:
see I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press, 2016, section 6.2.2.3.

`softmax_cy.softmax` and `softmax_cy.softmax_jacobian` compute the same with kernels of their own, for three reasons:

- Speed: exp of the C library takes one number at a time, but the vectors of a CPU hold up to 16.
- Accuracy: the errors of these loops grow with the length of a row and with the distance of a logit from m. Those of
  the kernels stay within two units in the last place.
- Reproducibility: the bits of these results depend on the C library. Those of the kernels do not.

The benchmarks tell how much faster the kernels are. There, these loops are called "plain Cython".

>>> import numpy as np
>>> from softmax_cy import plain
>>> y, jacobian = np.empty((1, 2)), np.empty((1, 2, 2))
>>> plain.softmax(np.array([[0.0, 0.0]]), y)
>>> plain.softmax_jacobian(y, jacobian)
>>> jacobian
array([[[ 0.25, -0.25],
        [-0.25,  0.25]]])
"""

from cython cimport floating
from libc.math cimport INFINITY, exp, expf


def softmax(const floating[:, ::1] logits, floating[:, ::1] out):
    """Write the softmax of every row of `logits` to `out`, which has the same shape."""
    cdef Py_ssize_t rows = logits.shape[0], length = logits.shape[1], row, i
    cdef floating largest, total
    if (out.shape[0], out.shape[1]) != (rows, length):
        raise ValueError(f"out must have the shape {(rows, length)}, got {(out.shape[0], out.shape[1])}")
    with nogil:
        for row in range(rows):
            largest = -INFINITY
            for i in range(length):
                largest = max(largest, logits[row, i])
            total = 0
            for i in range(length):
                if floating is float:
                    out[row, i] = expf(logits[row, i] - largest)
                else:
                    out[row, i] = exp(logits[row, i] - largest)
                total += out[row, i]
            for i in range(length):
                out[row, i] /= total


def softmax_jacobian(const floating[:, ::1] y, floating[:, :, ::1] out):
    """Write the Jacobian of every row of `y`, which softmax has returned, to `out`: out[row, i, j] = dy_i / dx_j."""
    cdef Py_ssize_t rows = y.shape[0], length = y.shape[1], row, i, j
    if (out.shape[0], out.shape[1], out.shape[2]) != (rows, length, length):
        shape = out.shape[0], out.shape[1], out.shape[2]
        raise ValueError(f"out must have the shape {(rows, length, length)}, got {shape}")
    with nogil:
        for row in range(rows):
            for i in range(length):
                for j in range(length):
                    if i == j:
                        out[row, i, j] = y[row, i] * (1 - y[row, i])
                    else:
                        out[row, i, j] = -y[row, i] * y[row, j]
