"""Every numerical test runs over every variant of the kernels that this CPU can run."""

import os

import numpy as np
import pytest

from softmax_cy import _dispatch

# Files of tests that measure the memory of their process: where it is given its tests by another, a thread takes some.
ALONE = ("test_memory", "test_leaks")
# They take longest by themselves. Where several processes share the files, the last one must be a short one.
FIRST = ("test_package", "test_asv_suite", "test_examples_of_embedding", "test_dask_cluster")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark those that run by themselves, and let the files that take longest come first."""
    for item in items:
        if item.path.stem in ALONE:
            item.add_marker(pytest.mark.alone)
    items.sort(key=lambda item: item.path.stem not in FIRST)


def variants_under_test() -> list[str]:
    """All of them, or the one that the environment forces."""
    forced = os.environ.get(_dispatch.ENVIRONMENT_VARIABLE)
    return [forced] if forced else _dispatch.runnable_variants()


def fma_variants_under_test() -> list[str]:
    """Those that promise the golden bits."""
    return [name for name in variants_under_test() if _dispatch.VARIANTS[name].has_fma]


@pytest.fixture(params=variants_under_test(), ids=lambda name: f"kernels={name}")
def variant(request):
    """Put one variant in use for the test."""
    before = _dispatch.variant_in_use
    _dispatch.use(request.param)
    yield request.param
    _dispatch.use(before)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Each dtype with kernels of its own."""
    return np.dtype(request.param)


@pytest.fixture
def torch_as_before():
    """What the benchmarks do to torch would be felt by tests of autograd, and its threads may be everybody's."""
    from benchmarks import peers

    torch = peers.OfTorch()
    yield
    torch.restore()


@pytest.fixture
def rng():
    """The same numbers in every run."""
    return np.random.default_rng(20240229)


def pytest_terminal_summary(terminalreporter):
    """Say how many of SciPy's own cases ran and passed: nobody sees what passing tests print."""
    ran = {
        outcome: sum(
            "test_scipy_cases.py::test_case[" in report.nodeid for report in terminalreporter.getreports(outcome)
        )
        for outcome in ("passed", "failed")
    }
    if any(ran.values()):
        terminalreporter.write_line(
            f"SciPy's own cases, over {len(variants_under_test())} variants: {sum(ran.values())} ran, "
            f"{ran['passed']} passed; what is left out, and why: tests/test_scipy_cases.py"
        )
