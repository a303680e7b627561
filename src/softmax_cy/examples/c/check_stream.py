"""Compare what stream.c has written with one call: check_stream.py FILE RESULTS."""

import sys

import numpy as np

import softmax_cy

numbers, results = (np.fromfile(path) for path in sys.argv[1:])
assert results.tobytes() == softmax_cy.softmax(numbers).tobytes()
print("the same bits as softmax_cy.softmax")
