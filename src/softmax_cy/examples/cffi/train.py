"""Multinomial logistic regression on handwritten digits, its gradient in C."""

import gradient
import numpy as np
from sklearn.datasets import load_digits

import softmax_cy

address, signature = softmax_cy.ctypes_functions["cross_entropy_and_grad_f64"]
cross_entropy = gradient.ffi.cast(signature, address)


def pointer(array, kind):
    """For an argument in C."""
    return gradient.ffi.from_buffer(kind, array)


images, labels = load_digits(return_X_y=True)
images = np.ascontiguousarray(images / 16)
labels = labels.astype(np.int64)
weights = np.zeros((images.shape[1], 10))
slope = np.empty_like(weights)
loss = np.empty(1)
for _ in range(300):
    status = gradient.lib.gradient(
        cross_entropy,
        *images.shape,
        10,
        pointer(images, "double[]"),
        pointer(labels, "int64_t[]"),
        pointer(weights, "double[]"),
        pointer(slope, "double[]"),
        pointer(loss, "double[]"),
    )
    assert status == 0
    weights -= slope
accuracy = np.mean(np.argmax(images @ weights, axis=1) == labels)
print(f"loss {loss[0]:.4f}, {accuracy:.1%} of {len(images)} digits right")
assert loss < 0.2
assert accuracy > 0.95
