"""A digest of results: what test_stream.py runs in processes of its own, as `python streamed.py VARIANT CACHES`."""

import hashlib
import sys

import numpy as np

from guarded import import_with_small_cache

LENGTHS = [*range(1, 70), 127, 128, 129, 511, 520, 1000]
OFFSETS = [0, 1, 4, 7, 15]


def digest() -> str:
    """Of everything that may be streamed. The bytes around a result count."""
    import softmax_cy

    rng, found = np.random.default_rng(7), hashlib.sha256()
    memory = np.empty(2**16 + 64)

    def out(shape: tuple[int, ...], dtype: type, offset: int) -> np.ndarray:
        memory[:] = -1
        size = int(np.prod(shape))
        assert (offset + size + 16) * np.dtype(dtype).itemsize < memory.nbytes
        start = -memory.ctypes.data % 64 // 8
        return memory[start:].view(dtype)[offset : offset + size].reshape(shape)

    for dtype in (np.float32, np.float64):
        for length in LENGTHS:
            offset = OFFSETS[length % len(OFFSETS)]
            x = rng.standard_normal((20_000 // length + 1, length)).astype(dtype)
            y, log_y = softmax_cy.softmax(x), softmax_cy.log_softmax(x)
            for function in (softmax_cy.softmax, softmax_cy.log_softmax):
                function(x, out=out(x.shape, dtype, offset))
                found.update(memory)
            for function, other in (
                (softmax_cy.softmax_vjp, y),
                (softmax_cy.log_softmax_vjp, log_y),
                (softmax_cy.log_softmax_jvp, log_y),
            ):
                function(x[::-1], other, out=out(x.shape, dtype, offset))
                found.update(memory)
                function(x[::-1].copy(), other, scale=0.3, out=out(x.shape, dtype, offset))
                found.update(memory)
            if length > 140:
                y, log_y = y[:, :140], log_y[:, :140]
            count = min(len(y), 20_000 // y.shape[1] ** 2 + 1)
            for function, other in ((softmax_cy.softmax_jacobian, y), (softmax_cy.log_softmax_jacobian, log_y)):
                other = other[:count]
                for given in (other, np.where(other == other.max(), np.inf, other).astype(dtype)):
                    function(given, out=out((*other.shape, other.shape[1]), dtype, offset))
                    found.update(memory)
            # Along axis 0 both y and the logits are gathered, and a class of more than half asks for the logits.
            logits = np.ascontiguousarray(x[:count, : y.shape[1]].T)
            logits[0] += 9
            matrices = out((count, len(logits), len(logits)), dtype, offset)
            softmax_cy.softmax_and_jacobian(logits, axis=0, out=(np.empty_like(logits), matrices))
            found.update(memory)
    return found.hexdigest()


if __name__ == "__main__":
    if sys.argv[2] == "small caches":
        import_with_small_cache()
    from softmax_cy import _dispatch

    _dispatch.use(sys.argv[1])
    print(digest())
