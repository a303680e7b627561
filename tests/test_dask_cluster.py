"""Dask arrays on two worker processes, each with a memory limit: the same bits, also where one is killed."""

import os
import signal
from pathlib import Path

import dask
import dask.array as da
import distributed
import numpy as np
import pytest

import softmax_cy
import softmax_cy.dask

# What a cluster leaves to the garbage collector, and the ports of other programs, are no concern of this library.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Port .* is already in use"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROWS, LENGTH, CHUNK = 3, 40000, 5000
# How long a new worker may take to start on a busy machine, in seconds.
PATIENCE = 180


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two processes of one thread each."""
    settings = {
        "distributed.comm.timeouts.connect": "60s",
        "distributed.scheduler.allowed-failures": 5,
        "temporary-directory": str(tmp_path_factory.mktemp("dask")),
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, memory_limit="512MiB", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def compute_logits(offset, count):
    """The logits of a chunk, which depend on where it is alone."""
    return np.random.default_rng(offset).standard_normal((ROWS, count)).astype(np.float32) * 5


def read(block, folder="", deadly=-1, block_info=None):
    """Be a chunk of the source. Whoever reads the deadly one first dies of it."""
    _, (start, stop) = block_info[0]["array-location"]
    Path(folder, f"{start}-{os.getpid()}").touch()
    if start == deadly:
        try:
            Path(folder, "killed").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return compute_logits(start, stop - start)


def make_source(folder, deadly=-1):
    """A source of chunks that tells in a folder who read them."""
    places = da.zeros((ROWS, LENGTH), chunks=(ROWS, CHUNK), dtype=np.float32)
    return places.map_blocks(read, folder=str(folder), deadly=deadly, dtype=np.float32, meta=np.empty((0, 0), "f4"))


WHOLE = np.concatenate([compute_logits(start, CHUNK) for start in range(0, LENGTH, CHUNK)], axis=1)
TARGET = np.array([0, 19999, 39999])


def bits(results):
    return [(np.asarray(result).dtype, np.asarray(result).tobytes()) for result in results]


FUNCTIONS = {
    "softmax": lambda here, x: (here.softmax(x),),
    "log_softmax": lambda here, x: (here.log_softmax(x),),
    "logsumexp": lambda here, x: (here.logsumexp(x),),
    "cross_entropy_and_grad": lambda here, x: here.cross_entropy_and_grad(x, TARGET),
    "softmax, low memory": lambda here, x: (here.softmax(x, **LOW[here]),),
}
LOW = {softmax_cy: {}, softmax_cy.dask: {"low_memory": True}}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_bits_of_one_machine(function, client, tmp_path):
    results = dask.compute(*function(softmax_cy.dask, make_source(tmp_path)))
    assert bits(results) == bits(function(softmax_cy, WHOLE))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_worker_is_killed(function, client, tmp_path):
    results = dask.compute(*function(softmax_cy.dask, make_source(tmp_path, deadly=5 * CHUNK)))
    assert (tmp_path / "killed").exists()
    assert bits(results) == bits(function(softmax_cy, WHOLE))
    client.wait_for_workers(2, timeout=PATIENCE)


def test_the_error_of_a_target_names_the_chunk(client):
    x = da.zeros((6, 40), chunks=(2, 10))
    with pytest.raises(ValueError, match=r"target has 40 at \[1\] of its chunk \(2,\), expected 0 <= target < 40"):
        softmax_cy.dask.cross_entropy(x, np.array([0, 1, 2, 3, 4, 40])).compute()


def test_states_are_what_travels(client, tmp_path):
    """More than the limit of both workers together is reduced."""
    x = da.zeros((2, 200_000_000), chunks=(2, 4_000_000), dtype=np.float32)
    assert x.nbytes > 2 * 512 * 2**20
    result = softmax_cy.dask.logsumexp(x).compute()
    np.testing.assert_allclose(result, np.log(200_000_000), rtol=1e-6)
