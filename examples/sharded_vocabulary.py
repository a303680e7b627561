"""Cross-entropy and its gradient where each process holds a part of the vocabulary.

The last layer of a language model is cut by classes: process k has the columns of W for its classes, and computes its
part of the logits. Nobody ever has all logits. The processes exchange states of their parts instead, here through a
parent (with MPI it would be an allgather), and each computes its part of the gradient.

    python examples/sharded_vocabulary.py

Exits with 1 if a byte differs from one call on all logits.
"""

import itertools
import multiprocessing
import sys
from multiprocessing.connection import Connection

import numpy as np

from _demo import Checks
from softmax_cy import cross_entropy_and_grad, merge_states, softmax_state

TOKENS, FEATURES, CLASSES = 64, 32, 50_257
# Borders may lie anywhere, and parts may differ. A state is smallest between multiples of 4,096: it keeps no elements.
BORDERS = (0, 12_288, 24_576, 36_864, CLASSES)


def make_batch() -> tuple[np.ndarray, np.ndarray]:
    """The inputs of the last layer, and the class of each token. Every process has them."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((TOKENS, FEATURES), dtype=np.float32), rng.integers(CLASSES, size=TOKENS)


def make_weights(start: int, stop: int) -> np.ndarray:
    """The columns of W for some classes. In a model they come from a checkpoint."""
    columns = [np.random.default_rng([2, i]).standard_normal(FEATURES, dtype=np.float32) for i in range(start, stop)]
    return np.stack(columns, axis=1)


def run_shard(start: int, stop: int, parent: Connection) -> None:
    """Be a process: send the state of a part, receive the state of the whole, send losses and gradient."""
    hidden, target = make_batch()
    weights = make_weights(start, stop)
    logits = hidden @ weights
    parent.send(softmax_state(logits, offset=start, length=CLASSES))
    whole = parent.recv()
    loss, grad = whole.cross_entropy_and_grad(logits, target, offset=start)
    # A shard's gradient of W is hidden.T @ grad, and stays where it is; grad is sent for the comparison below.
    parent.send((loss, grad, logits))


def main() -> int:
    """Start the shards, merge their states, and compare with one call."""
    checks = Checks()
    context = multiprocessing.get_context("spawn")
    shards = []
    for start, stop in itertools.pairwise(BORDERS):
        here, there = context.Pipe()
        process = context.Process(target=run_shard, args=(start, stop, there))
        process.start()
        shards.append((process, here))
    states = [here.recv() for _, here in shards]
    whole = merge_states(*states)
    for _, here in shards:
        here.send(whole)
    losses, grads, logits = zip(*(here.recv() for _, here in shards), strict=True)
    for process, _ in shards:
        process.join()
    sent = sum(state.nbytes for state in states)
    print(f"{len(shards)} shards sent states of {sent / 1e3:.0f} kB of {TOKENS * CLASSES * 4 / 1e3:.0f} kB of logits")

    _, target = make_batch()
    expected, expected_grad = cross_entropy_and_grad(np.concatenate(logits, axis=1), target, reduction="none")
    # A loss is 0 in all shards but the one that has the target.
    checks.check("the losses have the bits of one call", np.sum(losses, axis=0).tobytes() == expected.tobytes())
    checks.check(
        "the gradients have the bits of one call",
        np.concatenate(grads, axis=1).tobytes() == expected_grad.tobytes(),
    )
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
