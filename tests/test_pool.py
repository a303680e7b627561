"""The pool of threads in pool.h: each item is computed once, whoever calls; see also test_pool_model.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import pool_stress

sys.path.pop(0)


@pytest.fixture(scope="module")
def stress(tmp_path_factory):
    """The pool by itself, with jobs whose items count how often they are computed."""
    return pool_stress.build(tmp_path_factory.mktemp("pool"))


def test_jobs_of_random_sizes_from_eight_threads(stress):
    assert pool_stress.wrong_jobs(stress, 20_000) == 0
    assert stress.workers() == pool_stress.MOST_THREADS - 1


def test_one_caller_has_all_workers(stress):
    assert stress.run(2000, 1000, 40, 3) == 0
    assert stress.workers() == 39


def test_a_child_of_a_fork_has_workers_of_its_own(stress):
    stress.run(1000, 100, 4, 5)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        started_none = stress.workers() == 0
        right = stress.run(1000, 100, 4, 5) == 0
        os._exit(0 if started_none and right and stress.workers() == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0


COMPUTE = """
import numpy as np, softmax_cy, threading, time
x = np.ones((2000, 1000), np.float32)
softmax_cy.softmax(x, num_threads=4)
"""
DAEMONS = """
def forever():
    while True:
        softmax_cy.softmax(x, num_threads=4)
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
"""


@pytest.mark.parametrize("more", ["", DAEMONS, "raise SystemExit"], ids=["idle", "daemons inside", "exit"])
def test_an_interpreter_ends_while_there_are_workers(more):
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE + more], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks on this system")
def test_workers_leave_signals_to_others():
    """A signal to the process ends the sleep of a thread of Python, and none of a worker."""
    program = f"""
{COMPUTE}
import os, signal
blocked = []
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        status = open(f"/proc/self/task/{{task}}/status").read()
        blocked.append(int(status.split("SigBlk:")[1].split()[0], 16) >> (signal.SIGALRM - 1) & 1)
print(blocked[-3:])
"""
    if not Path("/proc/self/task").exists():
        pytest.skip("only Linux lists threads")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[1, 1, 1]\n", done.stderr
