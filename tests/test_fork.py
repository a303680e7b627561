"""Children of a fork compute, with threads of their own, whoever had threads before: softmax_cy, torch, a C library."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# libgomp hangs where the thread that forks had started a team before. A child that hangs is ended by its own alarm.
PROGRAM = """
import ctypes, multiprocessing, os, signal, sys
import numpy as np

user, how, when = sys.argv[1:4]

def start_threads():
    if user == "softmax_cy":
        import softmax_cy
        softmax_cy.softmax(np.ones((1000, 1000), np.float32), num_threads=2)
    elif user == "torch":
        import torch
        torch.set_num_threads(2)
        torch.softmax(torch.ones(2000, 1000), -1)
    elif user == "a C library":
        library = ctypes.CDLL(sys.argv[4])
        assert library.threads_used() == 2

def compute():
    signal.alarm(60)
    import softmax_cy
    y = softmax_cy.softmax(np.ones((1000, 1000), np.float32), num_threads=2)
    np.testing.assert_allclose(y, 1e-3, 1e-6)
    assert (y == softmax_cy.softmax(np.ones((1000, 1000), np.float32), num_threads=1)).all()
    print(softmax_cy.show_config("dicts")["threads started"], flush=True)

if when == "before":
    import softmax_cy
start_threads()
if how == "multiprocessing":
    child = multiprocessing.get_context("fork").Process(target=compute)
    child.start()
    child.join()
    sys.exit(child.exitcode != 0)
# PyDLL keeps the GIL: the child needs no more.
child = os.fork() if how == "os.fork" else ctypes.PyDLL(None).fork()
if child == 0:
    try:
        compute()
        os._exit(0)
    finally:
        os._exit(1)
sys.exit(os.waitpid(child, 0)[1] != 0)
"""

LIBRARY = """
int threads_used(void) {
    int used = 0;
    #pragma omp parallel num_threads(2) reduction(+:used)
    used += 1;
    return used;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A C library that uses OpenMP."""
    folder = tmp_path_factory.mktemp("openmp")
    source, built = folder / "threads.c", folder / "threads.so"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-fopenmp", "-shared", "-fPIC", str(source), "-o", str(built)], check=True)
    return str(built)


def run_program(*arguments):
    """The number of threads that a child had started."""
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", PROGRAM, *arguments]
    # Both need two threads to show anything.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "SOFTMAX_CY_NUM"))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or "the child hung: its alarm went off"
    return done.stdout


WAYS = ["multiprocessing", "os.fork", "fork of C"]


@pytest.mark.parametrize("imported", ["before", "after"])
@pytest.mark.parametrize("how", WAYS)
def test_a_child_does_not_hang_where_a_c_library_had_started_threads(how, imported, library):
    assert run_program("a C library", how, imported, library) == "1\n"


@pytest.mark.parametrize(("how", "imported"), [("multiprocessing", "before"), ("os.fork", "after")])
def test_a_child_does_not_hang_where_torch_had_started_threads(how, imported):
    assert run_program("torch", how, imported) == "1\n"


@pytest.mark.parametrize("how", WAYS)
def test_a_child_does_not_hang_where_softmax_cy_had_started_threads(how):
    assert run_program("softmax_cy", how, "before") == "1\n"


@pytest.mark.parametrize("how", WAYS)
def test_a_child_has_threads_where_nobody_had_any_before(how):
    """A fork server, and what it starts."""
    assert run_program("nobody", how, "after") == "1\n"
