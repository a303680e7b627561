"""Feed the pool of row_pool.c from one thread and empty it in another, and check every row."""

import sys
import threading

import numpy as np
import row_pool

import softmax_cy

THREADS, SLOTS = 8, 64
rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000

logits = np.random.default_rng(0).normal(scale=5, size=(rows, 100)).astype(np.float32)
normalised = np.empty_like(logits)
pool = row_pool.Pool(THREADS, SLOTS, logits.shape[1])


def feed():
    """Put all rows."""
    for row in logits:
        pool.put(row)


feeder = threading.Thread(target=feed)
feeder.start()
for row in normalised:
    pool.take(row)
feeder.join()

assert np.array_equal(normalised, softmax_cy.softmax(logits))
print(f"{rows} rows, {THREADS} threads: the same bits as softmax_cy.softmax")
