"""Compile the loop over the rows: python build_gradient.py."""

from cffi import FFI

import softmax_cy

_, signature = softmax_cy.ctypes_functions["cross_entropy_and_grad_f64"]
CROSS_ENTROPY = f"typedef {signature.replace('(*)', '(*cross_entropy_function)')};"
GRADIENT = """
int gradient(cross_entropy_function cross_entropy, ptrdiff_t rows, ptrdiff_t features, ptrdiff_t classes,
             const double *images, const int64_t *labels, const double *weights, double *slope, double *mean_loss)
"""

LOOP = """
{
    enum { MOST_CLASSES = 64 };
    double logits[MOST_CLASSES], loss;
    int status = classes > MOST_CLASSES;
    memset(slope, 0, features * classes * sizeof *slope);
    *mean_loss = 0;
    for (ptrdiff_t i = 0; i < rows && !status; i++) {
        const double *image = images + i * features;
        memset(logits, 0, classes * sizeof *logits);
        for (ptrdiff_t j = 0; j < features; j++)
            for (ptrdiff_t k = 0; k < classes; k++)
                logits[k] += image[j] * weights[j * classes + k];
        /* The gradient takes the place of the logits. */
        status = cross_entropy(1, classes, logits, classes, 1, labels + i, 1, &loss, 1, logits, classes, 1, 1.0 / rows);
        *mean_loss += loss / rows;
        for (ptrdiff_t j = 0; j < features; j++)
            for (ptrdiff_t k = 0; k < classes; k++)
                slope[j * classes + k] += image[j] * logits[k];
    }
    return status;
}
"""

builder = FFI()
builder.cdef(f"{CROSS_ENTROPY}\n{GRADIENT};")
builder.set_source("gradient", f"#include <string.h>\n{CROSS_ENTROPY}\nstatic {GRADIENT}{LOOP}")

if __name__ == "__main__":
    builder.compile()
