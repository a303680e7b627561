"""The measure of errors behind docs/accuracy.md: it finds the errors that there are, and its two references agree."""

from pathlib import Path

import numpy as np
import pytest

import softmax_cy
import twin
from softmax_cy import _dispatch, _selftest

pytest.importorskip("mpmath")
pytest.importorskip("rich")

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

from benchmarks import accuracy, exact
from benchmarks.screen import PlainScreen

LENGTHS = (1, 2, 3, 17, 33, 130)


@pytest.fixture(autouse=True)
def same_variant_after():
    """Measuring puts one after the other in use."""
    before = _dispatch.variant_in_use
    yield
    _dispatch.use(before)


def measured(everybody, lengths=LENGTHS):
    return accuracy.measure(lengths, everybody, PlainScreen())


def test_every_bound_is_met():
    found = measured([accuracy.Ours(variant) for variant in accuracy.variants()])
    assert {function for _, function, _ in found} == set(_selftest.BOUNDS)
    for (dtype, function, variant), worst in found.items():
        assert worst.ulp <= _selftest.BOUNDS[function], (dtype, function, variant, worst)


def off_by(ulps, function):
    """softmax_cy with one number of one function a few units too large, in its first row."""

    class Wrong(accuracy.Ours):
        def __call__(self, name, *arrays):
            result = super().__call__(name, *arrays)
            if name == function and arrays[0].shape[-1] == 33:
                array = result[0] if isinstance(result, tuple) else result
                row = array[:1].reshape(-1)
                place = np.abs(row).argmax()
                for _ in range(ulps):
                    row[place] = np.nextafter(row[place], np.inf)
            return result

    return Wrong(_dispatch.variant_in_use)


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp", "softmax_jvp", "log_softmax_vjp"])
def test_a_wrong_number_is_found_and_named(function):
    found = measured([off_by(40, function)], (17, 33))
    for dtype in ("float32", "float64"):
        worst = found[dtype, function, _dispatch.variant_in_use]
        assert worst.ulp > _selftest.BOUNDS[function]
        assert worst.length == 33
        assert worst.family == twin.FAMILIES[0]


def test_what_is_not_exactly_zero_is_found():
    class Wrong(accuracy.Ours):
        def __call__(self, name, *arrays):
            result = super().__call__(name, *arrays)
            if name == "softmax":
                result[result == 0] = np.finfo(result.dtype).smallest_subnormal
            return result

    found = measured([Wrong(_dispatch.variant_in_use)], (33,))
    for dtype in ("float32", "float64"):
        assert found[dtype, "softmax, where the logit is -inf", _dispatch.variant_in_use].ulp == 1


def test_nan_is_an_infinite_error():
    right = np.array([[1.0, 2.0]], exact.WIDE)
    assert accuracy.errors(np.array([[1.0, np.nan]], np.float32), right).tolist() == [np.inf]
    assert accuracy.errors(np.array([[1.0, 2.0]], np.float32), right).tolist() == [0]


@pytest.mark.parametrize("name", twin.FAMILIES)
def test_mpmath_and_long_double_agree(name, rng):
    """To some of the eleven bits that long double has more."""
    for length in (1, 2, 17, 130):
        x = twin.family(name, (2, length), np.float64, rng)
        target = x.argmax(-1)
        found = exact.by_mpmath(x, target)
        for ours, theirs in (
            (found.y, twin.softmax(x)),
            (found.log_y, twin.log_softmax(x)),
            (found.logsumexp, twin.logsumexp(x)),
        ):
            unit = twin.unit_in_last_place(ours, np.dtype(np.float64))
            if ours.ndim == 1:
                unit = np.maximum(unit, twin.unit_in_last_place(x.max(-1).astype(exact.WIDE), np.dtype(np.float64)))
            with np.errstate(invalid="ignore"):
                distance = np.where(ours == theirs, 0, np.abs(ours - theirs) / unit)
            assert distance.max() <= 2.0**-8, length


def test_a_nearly_certain_class():
    """The case that cancels in the plain formula, and not here."""
    for (dtype, _, name), error in accuracy.certain_class_errors(
        [accuracy.Ours(_dispatch.variant_in_use), accuracy.numpy()]
    ).items():
        assert error == 1 if name == "numpy" else error <= 8 * np.finfo(dtype).eps


def test_16_bit_results_are_the_rounded_ones():
    assert set(accuracy.misrounded_halves().values()) == {0}
    assert softmax_cy.softmax(np.zeros(3, np.float16)).dtype == np.float16
