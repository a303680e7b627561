"""The attention head beside the same in NumPy."""

import attention
import numpy as np

POSITIONS, FEATURES = 200, 32

rng = np.random.default_rng(0)
queries, keys, values = rng.standard_normal((3, POSITIONS, FEATURES), dtype=np.float32)
weights = np.empty((POSITIONS, POSITIONS), np.float32)
out = np.empty_like(values)
attention.attend(queries, keys, values, weights, out, threads=2)

scores = queries.astype(float) @ keys.T.astype(float) / np.sqrt(FEATURES)
scores[np.triu_indices(POSITIONS, 1)] = -np.inf
expected = np.exp(scores - scores.max(axis=1, keepdims=True))
expected /= expected.sum(axis=1, keepdims=True)

assert np.all(weights[np.triu_indices(POSITIONS, 1)] == 0)
np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-7)
np.testing.assert_allclose(out, expected @ values, rtol=1e-4, atol=1e-5)
print(f"{POSITIONS} positions: as NumPy has it")
