"""The same bits on every machine, for any threads, layouts and cuts."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from softmax_cy import _dispatch
from softmax_cy.tests import bits


def test_the_promised_bits(variant, dtype):
    """A variant without FMA promises bounds of errors, and no bits."""
    if not _dispatch.VARIANTS[variant].has_fma:
        pytest.skip(f"the variant {variant} has no fused multiply-add: its bits are not promised")
    recorded = json.loads(Path(__file__).with_name("digests.json").read_text("utf-8"))[dtype.name]
    assert bits.summarize(bits.digests(softmax_cy, dtype, bits.CORE)) == recorded


def all_results(x, target, num_threads):
    """Of all functions that take logits, and of the products."""
    y, log_y = softmax_cy.softmax(x), softmax_cy.log_softmax(x)
    calls = {
        "softmax": (x,),
        "log_softmax": (x,),
        "logsumexp": (x,),
        "cross_entropy_and_grad": (x, target),
        "softmax_vjp": (x, y),
        "softmax_jvp": (x, y),
        "log_softmax_vjp": (x, log_y),
        "log_softmax_jvp": (x, log_y),
    }
    for name, arrays in calls.items():
        found = getattr(softmax_cy, name)(*arrays, num_threads=num_threads)
        for number, part in enumerate(found if isinstance(found, tuple) else (found,)):
            yield (name, number), part.tobytes()


@pytest.mark.parametrize("shape", [(700, 300), (3, 60_001), (1, 300_007)])
@pytest.mark.usefixtures("variant")
def test_threads_give_the_same_bits(shape, dtype):
    """Whether they share the slices or one long slice."""
    x = np.random.default_rng(1).normal(scale=4, size=shape).astype(dtype)
    target = np.arange(shape[0]) % shape[1]
    alone = dict(all_results(x, target, 1))
    for num_threads in (2, 5):
        assert dict(all_results(x, target, num_threads)) == alone


@pytest.mark.usefixtures("variant")
def test_layouts_give_the_same_bits(dtype):
    """Along another axis, backwards through memory, in place, and each slice by itself."""
    x = np.random.default_rng(2).normal(scale=4, size=(37, 301)).astype(dtype)
    expected = softmax_cy.softmax(x)
    assert (softmax_cy.softmax(np.asfortranarray(x)) == expected).all()
    assert (softmax_cy.softmax(np.ascontiguousarray(x.T), axis=0) == expected.T).all()
    assert (softmax_cy.softmax(x[::-1].copy()[::-1]) == expected).all()
    assert (np.array([softmax_cy.softmax(one) for one in x]) == expected).all()
    assert softmax_cy.softmax(x, out=x) is x
    assert (x == expected).all()


@pytest.mark.usefixtures("variant")
def test_states_merge_to_the_same_bits(dtype):
    """However slices are cut."""
    x = np.random.default_rng(3).normal(scale=4, size=(3, 9001)).astype(dtype)
    for cuts in ((0, 1, 9001), (0, 4096, 4097, 8000, 9001), (0, 300, 301, 5000, 9001)):
        parts = list(itertools.pairwise(cuts))
        states = [softmax_cy.softmax_state(x[:, a:b], offset=a, length=x.shape[1]) for a, b in parts]
        state = softmax_cy.merge_states(states[0], softmax_cy.merge_states(*states[1:]))
        assert state.logsumexp().tobytes() == softmax_cy.logsumexp(x).tobytes()
        found = np.concatenate([state.finish(x[:, a:b], a) for a, b in parts], axis=1)
        assert (found == softmax_cy.softmax(x)).all()
        found = np.concatenate([state.finish_log(x[:, a:b], a) for a, b in parts], axis=1)
        assert (found == softmax_cy.log_softmax(x)).all()
