"""SciPy's own tests of softmax, log_softmax and logsumexp, from the installed SciPy, on the functions of softmax_cy.

What they ask for and softmax_cy does not offer is left out by name, with the reason.
"""

import importlib
import inspect
from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from itertools import product

import numpy as np
import pytest

import softmax_cy

COMPLEX = "complex input"
WEIGHTS = "the weights `b`"
SIGN = "`return_sign`"

# Class::method and its parameters, where a `*` stands for any.
LEFT_OUT = {
    "TestLogSumExp::test_logsumexp_b": WEIGHTS,
    "TestLogSumExp::test_logsumexp_b_shape": WEIGHTS,
    "TestLogSumExp::test_logsumexp_b_zero": WEIGHTS,
    "TestLogSumExp::test_logsumexp_shape": WEIGHTS,
    "TestLogSumExp::test_dtypes_ab *": WEIGHTS,
    "TestLogSumExp::test_no_writeback": WEIGHTS,
    "TestLogSumExp::test_gh22903": WEIGHTS,
    "TestLogSumExp::test_device *": "the weights `b`, and devices of other array libraries",
    "TestLogSumExp::test_logsumexp_sign": SIGN,
    "TestLogSumExp::test_logsumexp_sign_shape": SIGN,
    "TestLogSumExp::test_logsumexp_sign_zero": SIGN,
    "TestLogSumExp::test_gh23548 *": SIGN,
    "TestLogSumExp::test_logsumexp_complex_sign": COMPLEX,
    "TestLogSumExp::test_gh21709_small_imaginary": COMPLEX,
    "TestLogSumExp::test_gh21610 *": COMPLEX,
    "TestLogSumExp::test_gh22601_infinite_elements *j*": COMPLEX,
    "TestLogSumExp::test_dtypes_a complex*": COMPLEX,
}


def scipy_tests(config):
    """The module of SciPy's tests."""
    # Strict markers make an error of marks that are unknown here.
    for mark in ("skip_xp_backends", "xfail_xp_backends"):
        config.addinivalue_line("markers", f"{mark}: of SciPy's tests, for other array libraries")
    return importlib.import_module("scipy.special.tests.test_logsumexp")


@cache
def scipy_cases(module):
    """Every test method with every combination of its parameters, under a name."""
    cases = {}
    for cls in (module.TestSoftmax, module.TestLogSoftmax, module.TestLogSumExp):
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("test"):
                continue
            marks = [mark for mark in getattr(method, "pytestmark", ()) if mark.name == "parametrize"]
            for combination in product(*(mark.args[1] for mark in marks)):
                parameters = {}
                for mark, values in zip(marks, combination, strict=True):
                    names = mark.args[0].replace(" ", "").split(",")
                    parameters |= zip(names, values if len(names) > 1 else [values], strict=True)
                case = " ".join([f"{cls.__name__}::{name}", *map(str, parameters.values())])
                cases[case] = getattr(cls(), name), parameters
    return cases


def reason_to_leave_out(case):
    """None for a case to be run."""
    return next((reason for pattern, reason in LEFT_OUT.items() if fnmatchcase(case, pattern)), None)


def as_in_scipy(operation):
    """All axes by default."""
    return lambda x, axis=None, **options: operation(x, axis, **options)


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        cases = scipy_cases(scipy_tests(metafunc.config))
        metafunc.parametrize("case", [case for case in cases if not reason_to_leave_out(case)])


def test_case(case, variant, monkeypatch, request):
    module = scipy_tests(request.config)
    for name in ("softmax", "log_softmax", "logsumexp"):
        monkeypatch.setattr(module, name, as_in_scipy(getattr(softmax_cy, name)))
    test, parameters = scipy_cases(module)[case]
    # SciPy computes some of its expected values by way of infinities.
    with np.errstate(all="ignore"):
        test(**parameters, **({"xp": np} if "xp" in inspect.signature(test).parameters else {}))


@pytest.mark.parametrize("pattern", LEFT_OUT)
def test_what_is_left_out_exists(pattern, request):
    cases = scipy_cases(scipy_tests(request.config))
    assert any(fnmatchcase(case, pattern) for case in cases), "SciPy has no such case any more"


def test_all_methods_about_real_numbers_are_run(request):
    cases = scipy_cases(scipy_tests(request.config))
    run = [case for case in cases if not reason_to_leave_out(case)]
    methods = Counter(method.split("::")[0] for method in {case.split()[0] for case in run})
    print(f"{len(run)} of {len(cases)} cases are run, of methods: {dict(methods)}")
    print(f"left out: {dict(Counter(filter(None, map(reason_to_leave_out, cases))))}")
    assert methods["TestSoftmax"] >= 5
    assert methods["TestLogSoftmax"] >= 10
    assert methods["TestLogSumExp"] >= 5
