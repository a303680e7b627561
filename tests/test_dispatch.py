"""Which variant is used: what the CPU can run, and what the environment asks for."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from softmax_cy import _cpu, _dispatch

LOADED = """
import sys, softmax_cy
print(softmax_cy.show_config(mode="dicts")["variant"])
print(*sorted(name for name in sys.modules if name.startswith("softmax_cy.kernels._")))
"""


def python(code, **environment):
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, _dispatch.ENVIRONMENT_VARIABLE: "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("variant", _dispatch.VARIANTS)
def test_the_environment_forces_a_variant_and_no_other_is_imported(variant):
    if variant not in _dispatch.runnable_variants():
        pytest.skip(f"this CPU cannot run {variant}")
    done = python(LOADED, SOFTMAX_CY_VARIANT=variant)
    assert done.stdout.splitlines() == [
        variant,
        f"softmax_cy.kernels._f32_{variant} softmax_cy.kernels._f64_{variant}",
    ], done.stderr


def test_by_itself_the_widest_variant_is_used_and_never_one_for_tests():
    offered = [name for name in _dispatch.runnable_variants() if name not in _dispatch.TEST_VARIANTS]
    assert python(LOADED).stdout.splitlines()[0] == offered[-1]


def test_an_unknown_variant_is_an_import_error():
    done = python("import softmax_cy", SOFTMAX_CY_VARIANT="v9")
    assert done.returncode == 1
    built = ", ".join(_dispatch.VARIANTS)
    message = f"ImportError: SOFTMAX_CY_VARIANT='v9' is not a variant of this build: expected one of {built}"
    assert done.stderr.splitlines()[-1] == message


@pytest.mark.skipif("v4" not in _dispatch.VARIANTS, reason="v4 is not built for this architecture")
def test_a_variant_that_the_cpu_cannot_run_is_an_import_error(monkeypatch):
    features = {**_cpu.features(), "avx512f": False, "avx512bw": False}
    monkeypatch.setattr(_cpu, "features", lambda: features)
    monkeypatch.setenv(_dispatch.ENVIRONMENT_VARIABLE, "v4")
    with pytest.raises(ImportError, match=r"'v4' cannot run here: .* lacks avx512bw, avx512f; expected"):
        _dispatch.choose()


def test_without_any_feature_the_baseline_runs(monkeypatch):
    nothing = dict.fromkeys(_cpu.features(), False)
    monkeypatch.setattr(_cpu, "features", lambda: nothing)
    monkeypatch.delenv(_dispatch.ENVIRONMENT_VARIABLE, raising=False)
    assert _dispatch.choose() == "baseline"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names are those of x86-64")
def test_features_are_those_of_the_kernel():
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("no /proc/cpuinfo to compare with")
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    assert _cpu.features() == {name: name in flags for name in _cpu.features()}


def test_the_variants_need_what_their_flags_say():
    assert _dispatch.required_features("baseline") == set()
    for variant in _dispatch.VARIANTS:
        assert _dispatch.required_features(variant) <= set(_cpu.features()), variant


def test_show_config_says_everything(capsys):
    config = softmax_cy.show_config(mode="dicts")
    assert config["variant"] in config["variants built"]
    assert set(config["variants runnable"]) <= set(config["variants built"])
    assert "-ffp-contract=off" in config["flags"]
    softmax_cy.show_config()
    printed = capsys.readouterr().out
    for name in config:
        assert f"{name}:" in printed


def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "softmax_cy"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"version: {softmax_cy.__version__}\nvariant: ")
    assert not done.stderr


def test_swapping_the_variant_changes_the_kernels():
    """The fixture that all numerical tests rest on does what it says."""
    before = _dispatch.variant_in_use
    x = np.random.default_rng(1).standard_normal((50, 100)).astype(np.float32)
    results = {}
    for variant in _dispatch.runnable_variants():
        _dispatch.use(variant)
        results[variant] = softmax_cy.softmax(10 * x).tobytes()
    _dispatch.use(before)
    if len(results) > 1:
        assert results["baseline"] != results["v3"]
