"""How many threads a call uses, and that they stay out of trouble."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import threadpoolctl

import softmax_cy
from operations import bits, every_function, inputs_for
from softmax_cy import _cpus, softmax


@pytest.fixture(autouse=True)
def default_afterwards():
    """Leave no choice behind."""
    yield
    softmax_cy.set_num_threads(None)


SAY = "import softmax_cy; print(softmax_cy.get_num_threads())"


def threads_in(program=SAY, **environment):
    """What get_num_threads says in a fresh interpreter."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "SOFTMAX_CY_NUM"))}
    return subprocess.run(
        [sys.executable, "-c", program], env={**clean, **environment}, capture_output=True, text=True, check=False
    )


def test_environment():
    assert threads_in(SOFTMAX_CY_NUM_THREADS="3").stdout == "3\n"
    assert threads_in(OMP_NUM_THREADS="5").stdout == "5\n"
    assert threads_in(OMP_NUM_THREADS="4,2").stdout == "4\n"
    assert threads_in(SOFTMAX_CY_NUM_THREADS="3", OMP_NUM_THREADS="5").stdout == "3\n"
    assert threads_in().stdout == f"{_cpus.available_cpus()}\n"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_bad_environment_is_an_import_error(value):
    done = threads_in(SOFTMAX_CY_NUM_THREADS=value)
    assert done.returncode == 1
    message = f"ImportError: SOFTMAX_CY_NUM_THREADS must be an integer of at least 1, got {value!r}"
    assert done.stderr.splitlines()[-1] == message


def test_set_num_threads():
    softmax_cy.set_num_threads(7)
    assert softmax_cy.get_num_threads() == 7
    softmax_cy.set_num_threads(None)
    assert softmax_cy.get_num_threads() >= 1


@pytest.mark.parametrize("value", [0, -1])
def test_set_num_threads_refuses_less_than_one(value):
    with pytest.raises(ValueError, match=f"num_threads must be at least 1, got {value}"):
        softmax_cy.set_num_threads(value)


def test_set_num_threads_refuses_what_is_no_integer():
    with pytest.raises(TypeError, match=r"num_threads must be an integer or None, got 2\.0"):
        softmax_cy.set_num_threads(2.0)


def test_threadpoolctl_lowers_the_number():
    softmax_cy.set_num_threads(3)
    with threadpoolctl.threadpool_limits(2):
        assert softmax_cy.get_num_threads() == 2
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            assert softmax_cy.get_num_threads() == 1
        assert softmax_cy.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert softmax_cy.get_num_threads() == 3
    assert softmax_cy.get_num_threads() == 3


SAY_LIMITED = """
with threadpoolctl.threadpool_limits(1):
    print(softmax_cy.get_num_threads())
    softmax_cy.softmax(np.ones((1000, 1000)), num_threads=4)
    print(softmax_cy.show_config("dicts")["threads started"])
print(softmax_cy.get_num_threads())
softmax_cy.softmax(np.ones((1000, 1000)), num_threads=4)
print(softmax_cy.show_config("dicts")["threads started"])
print([library["version"] for library in threadpoolctl.threadpool_info() if library["internal_api"] == "softmax_cy"])
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import threadpoolctl, softmax_cy",
        "import softmax_cy, threadpoolctl",
        "import softmax_cy, importlib.util; importlib.util.find_spec('threadpoolctl'); import threadpoolctl",
    ],
    ids=["before", "after", "looked for, then after"],
)
def test_threadpoolctl_may_be_imported(imports):
    done = threads_in(f"import numpy as np\n{imports}\n{SAY_LIMITED}", SOFTMAX_CY_NUM_THREADS="4")
    assert done.stdout.split("\n") == ["1", "0", "4", "3", f"['{softmax_cy.__version__}']", ""], done.stderr


def test_affinity_is_respected():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert _cpus.available_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def on_one_cpu(program):
    """The program, in a process that was given one CPU."""
    return f"""
import os, sys
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
os.execv(sys.executable, [sys.executable, "-c", {program!r}])
"""


BINDING = [
    {"OMP_PROC_BIND": "true"},
    {"OMP_PROC_BIND": "spread,close"},
    {"OMP_PLACES": "cores"},
    {"OMP_PLACES": "threads", "OMP_PROC_BIND": "close"},
    {"OMP_PLACES": "sockets"},
    {"OMP_PLACES": "threads", "OMP_PROC_BIND": "false"},
    {"GOMP_CPU_AFFINITY": "0-1023"},
]
SAY_CPUS = f"""
import os
import numpy as np
{SAY}
if softmax_cy.get_num_threads() > 1:
    softmax_cy.softmax(np.ones((1000, 1000)))
    workers = sorted(map(int, os.listdir("/proc/self/task")))[-softmax_cy.show_config("dicts")["threads started"]:]
    assert {{len(os.sched_getaffinity(worker)) for worker in workers}} == {{softmax_cy.get_num_threads()}}
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
@pytest.mark.parametrize(
    ("library", "environment"), [("", BINDING[0]), *(("import torch", environment) for environment in BINDING)], ids=str
)
def test_the_cpus_are_counted_that_openmp_binds_threads_to(library, environment):
    """OpenMP binds the first thread, too, as soon as it is loaded: the affinity of that is no longer the process's."""
    if _cpus.available_cpus() < 2:
        pytest.skip("one CPU leaves nothing to bind to")
    done = threads_in(f"{library}\n{SAY_CPUS}", **environment)
    assert done.stdout == f"{_cpus.available_cpus()}\n", done.stderr
    assert threads_in(on_one_cpu(f"{library}\n{SAY}"), **environment).stdout == "1\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
@pytest.mark.parametrize("name", ["OMP_PLACES", "GOMP_CPU_AFFINITY"])
def test_one_cpu_to_bind_threads_to_is_one_thread(name):
    cpu = min(os.sched_getaffinity(0))
    assert (
        threads_in(f"import torch\n{SAY}", **{name: f"{{{cpu}}}" if name == "OMP_PLACES" else str(cpu)}).stdout == "1\n"
    )


def test_python_threads_at_once(rng):
    """The GIL is released: calls from several threads run side by side and do not mix."""
    inputs = [rng.standard_normal((200, 300)) for _ in range(8)]
    expected = [softmax(x) for x in inputs]
    found = [None] * len(inputs)

    def work(k):
        for _ in range(20):
            found[k] = softmax(inputs[k])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(len(inputs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result, reference in zip(found, expected, strict=True):
        np.testing.assert_array_equal(result, reference)


@every_function
def test_the_same_arrays_from_python_threads_at_once(function, rng):
    """Without a GIL, calls run side by side from their first line to their last."""
    inputs = inputs_for(function, rng.standard_normal((20, 70)))
    expected = bits(function(*inputs))
    together = threading.Barrier(8)
    found = []

    def work():
        together.wait()
        found.extend(bits(function(*inputs)) for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(together.parties)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 160
