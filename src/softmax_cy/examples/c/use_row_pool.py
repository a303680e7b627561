"""Feed the pool of row_pool.c from one thread and empty it in another, and check every row."""

import sys
import threading

import numpy as np
import row_pool

import softmax_cy


def normalise(logits, threads, slots=64):
    """Put rows in from one thread, and take them out in another, in the same order."""
    normalised = np.empty_like(logits)
    pool = row_pool.Pool(threads, slots, logits.shape[1])

    def feed():
        for row in logits:
            pool.put(row)

    feeder = threading.Thread(target=feed)
    feeder.start()
    for row in normalised:
        pool.take(row)
    feeder.join()
    return normalised


if __name__ == "__main__":
    threads, rows = 8, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    logits = np.random.default_rng(0).normal(scale=5, size=(rows, 100)).astype(np.float32)
    assert np.array_equal(normalise(logits, threads), softmax_cy.softmax(logits))
    print(f"{rows} rows, {threads} threads: the same bits as softmax_cy.softmax")
