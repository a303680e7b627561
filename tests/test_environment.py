"""What docs/environment.md promises of the process around a call: modes of the CPU, interpreters, signals, writers."""

import ctypes
import ctypes.util
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import threading
from contextlib import contextmanager

import ml_dtypes
import numpy as np
import pytest

from softmax_cy import (
    cross_entropy,
    cross_entropy_and_grad,
    log_softmax,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp,
    softmax,
    softmax_jvp,
    softmax_vjp,
)

# Asked before the mode of the CPU makes them zero.
SMALLEST_NORMAL = {np.dtype(t): np.finfo(t).smallest_normal for t in (np.float32, np.float64)}
LENGTHS = [*range(1, 35), 64, 100, 129, 1000, 2500, 5000, 70_000]


def logits(rng, scale, length, dtype):
    """Some slices."""
    return (scale * rng.standard_normal((7 if length < 5000 else 1, length))).astype(dtype)


# ---- subnormal numbers -------------------------------------------------------------------------------------------


@contextmanager
def subnormals_are_zero():
    """The mode that a library linked with -ffast-math leaves behind."""
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormal numbers to zero")
    try:
        yield
        assert np.float32(1e-38) * np.float32(0.1) == 0, "the library has changed the mode"
    finally:
        torch.set_flush_denormal(False)


def without_subnormals(array):
    return np.where(np.abs(array) < SMALLEST_NORMAL[array.dtype], array.dtype.type(0), array)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("scale", [1, 30, 300, 1e-39])
def test_subnormal_results_become_zero_and_others_stay(rng, dtype, scale):
    smallest = SMALLEST_NORMAL[dtype]
    for length in LENGTHS:
        rows = logits(rng, scale, length, dtype)
        target = np.zeros(len(rows), int)
        for x in (rows, np.asfortranarray(rows)):
            for function in (softmax, log_softmax, logsumexp, lambda x: cross_entropy(x, target, reduction="none")):  # noqa: B023
                expected = function(without_subnormals(x))
                with subnormals_are_zero():
                    found = function(x)
                assert not np.any((found != 0) & (np.abs(found) < smallest))
                # One unit more, where the sum was nearly a tie.
                np.testing.assert_allclose(found, expected, 2 * np.finfo(dtype).eps, smallest)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("product", [softmax_vjp, softmax_jvp, log_softmax_vjp, log_softmax_jvp])
def test_subnormal_inputs_of_products_count_as_zero(rng, dtype, product):
    for length in LENGTHS:
        x = logits(rng, 30, length, dtype)
        v = rng.standard_normal(x.shape).astype(dtype)
        y = (log_softmax if "log" in product.__name__ else softmax)(x)
        expected = product(v, without_subnormals(y))
        with subnormals_are_zero():
            found = product(v, y)
        np.testing.assert_allclose(found, expected, 1e-5, 4 * length * SMALLEST_NORMAL[dtype])


@pytest.mark.usefixtures("variant")
def test_subnormal_numbers_are_zero_on_every_thread(rng):
    """Also on threads that were started before."""
    x = np.append(rng.uniform(-100, -80, (200, 999)), np.zeros((200, 1)), axis=1).astype(np.float32)
    softmax(x, num_threads=4)
    with subnormals_are_zero():
        result = softmax(x, num_threads=4)
        expected = softmax(x, num_threads=1)
    np.testing.assert_array_equal(result, expected)
    assert (softmax(x, num_threads=4) != expected).any()
    assert (softmax(x, num_threads=4) == softmax(x, num_threads=1)).all()


def test_subnormal_numbers_of_float16_stay(rng):
    """They are normal in float32."""
    x = np.concatenate([logits(rng, 3, 500, np.float16), np.full((7, 1), 6e-8, np.float16)], -1)
    x[:, 0] = 14
    expected = softmax(x)
    assert np.any((expected > 0) & (expected < np.finfo(np.float16).smallest_normal))
    with subnormals_are_zero():
        found = softmax(x)
    np.testing.assert_array_equal(found, expected)


# ---- rounding ----------------------------------------------------------------------------------------------------

LIBM = ctypes.CDLL(ctypes.util.find_library("m"))
DOWN, UP, TO_ZERO = {
    "x86_64": (0x400, 0x800, 0xC00),
    "aarch64": (0x800000, 0x400000, 0xC00000),
}[platform.machine()]


@contextmanager
def rounding(mode):
    """Round in a direction."""
    assert LIBM.fesetround(mode) == 0
    try:
        yield
        assert LIBM.fegetround() == mode, "the library has changed the mode"
    finally:
        LIBM.fesetround(0)


# Relative errors that the document states.
DIRECTED = {np.dtype(np.float32): 3e-5, np.dtype(np.float64): 3e-11}


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("mode", [DOWN, UP, TO_ZERO], ids=["down", "up", "to zero"])
@pytest.mark.parametrize("scale", [1, 10, 100, 1e6])
def test_directed_rounding_costs_digits_and_no_more(rng, dtype, scale, mode):
    bound = DIRECTED[dtype]
    for length in LENGTHS:
        rows = logits(rng, scale, length, dtype)
        target = np.zeros(len(rows), int)
        for x in (rows, np.asfortranarray(rows)):
            y = softmax(x)
            v = x / scale
            expected = log_softmax(x), logsumexp(x), softmax_vjp(v, y), *cross_entropy_and_grad(x, target)
            with rounding(mode):
                y_found = softmax(x)
                found = log_softmax(x), logsumexp(x), softmax_vjp(v, y), *cross_entropy_and_grad(x, target)
            np.testing.assert_allclose(y_found, y, bound, 100 * SMALLEST_NORMAL[dtype])
            for result, reference in zip(found, expected, strict=True):
                assert np.all(np.abs(result - reference) <= bound * np.maximum(1, np.abs(reference)))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("mode", [DOWN, UP, TO_ZERO], ids=["down", "up", "to zero"])
def test_directed_rounding_costs_16_bits_one_unit(rng, kind, mode):
    x = logits(rng, 3, 100, kind)
    expected = softmax(x)
    with rounding(mode):
        found = softmax(x)
    units = expected.view(np.int16).astype(int) - found.view(np.int16)
    assert np.abs(units).max() <= 1


# ---- interpreters ------------------------------------------------------------------------------------------------

SUBINTERPRETERS = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

kind, first = sys.argv[1:]
CODE = f'''
import sys, warnings
warnings.simplefilter("ignore")  # NumPy's, of sub-interpreters
sys.path[:] = {sys.path!r}
try:
    import softmax_cy
    print("imported")
except ImportError as error:
    print("ImportError:", error)
'''

def in_another():
    try:
        other = interpreters.create(kind)
    except TypeError:  # before 3.13
        other = interpreters.create(isolated=kind == "isolated")
    failed = interpreters.run_string(other, CODE)
    assert failed is None, failed
    interpreters.destroy(other)

if first == "main":
    exec(CODE)
    in_another()
    import numpy as np
    assert softmax_cy.softmax(np.zeros(2))[0] == 0.5
else:
    in_another()
    exec(CODE)
print("done")
"""


@pytest.mark.parametrize("first", ["main", "another"])
@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_second_interpreter_gets_an_import_error(kind, first):
    """And one with a GIL of its own does so even if it is the first. None crashes."""
    command = [sys.executable, "-X", "faulthandler", "-c", SUBINTERPRETERS, kind, first]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, other, last = done.stdout.splitlines()
    assert last == "done"
    own_gil = kind == "isolated" and sys.version_info >= (3, 12)
    if first == "main":
        assert one == "imported"
        assert other.startswith("ImportError:")
        assert "interpreter" in other
    else:
        assert "interpreter" in (one if own_gil else other)
        assert one.startswith("ImportError:" if own_gil else "imported")
        assert other.startswith("imported" if own_gil else "ImportError:")


# ---- signals -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_is_answered_after_the_call(threads):
    """Its handler, and so Ctrl-C, finds the result untouched or whole."""
    x = np.zeros((4000, 1000), np.float32)
    out = np.empty_like(x)
    written = []

    def handle(*_):
        written.append(float(np.mean(out > 0)))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        for _ in range(1000):
            out.fill(-1)
            signal.setitimer(signal.ITIMER_REAL, 5e-4)
            softmax(x, out=out, num_threads=threads)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert np.all(out > 0)
            if 1 in written:
                break
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 1 in written
    assert set(written) <= {0, 1}


# ---- writers at once ---------------------------------------------------------------------------------------------


def test_writers_at_once_harm_nothing_but_what_they_write(rng):
    x = rng.standard_normal((50, 3000))
    x_before, expected = x.copy(), softmax(x)
    memory = np.full((52, 3000), 7.0)
    out = memory[1:-1]

    def work():
        for _ in range(50):
            softmax(x, out=out)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(x, x_before)
    assert np.all(memory[[0, -1]] == 7)
    np.testing.assert_array_equal(softmax(x, out=out), expected)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python is not free-threaded")
def test_the_import_does_not_bring_the_gil_back():
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON_GIL"}
    program = "import sys, softmax_cy; print(sys._is_gil_enabled())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
