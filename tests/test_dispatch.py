"""The table of variants, and which of them is used: what the CPU can run, and what the environment asks for."""

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from conftest import fma_variants_under_test
from softmax_cy import _cpu, _dispatch, _variants
from softmax_cy._variants import Variant

# Of all architectures: some are no variants of this build.
NAMES = sorted({variant.name for variant in _variants.VARIANTS})

LOADED = """
import sys, softmax_cy
print(softmax_cy.show_config(mode="dicts")["variant"])
print(*sorted(name for name in sys.modules if name.startswith("softmax_cy.kernels._")))
"""

# What another CPU would offer, in place of the module that asks this one.
ANOTHER_CPU = """
import sys, types
sys.modules["softmax_cy._cpu"] = types.SimpleNamespace(features=lambda: {features})
import softmax_cy
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


@pytest.fixture
def cpu_offers(monkeypatch):
    """Let this process see another CPU, and no wish in the environment."""
    monkeypatch.delenv(_dispatch.ENVIRONMENT_VARIABLE, raising=False)

    def offer(*features):
        monkeypatch.setattr(_cpu, "features", lambda: dict.fromkeys(features, True))

    return offer


@pytest.mark.parametrize("variant", NAMES)
def test_the_environment_forces_a_variant_and_no_other_is_imported(variant):
    """What cannot be forced is an error: nothing is used in its place."""
    done = python(LOADED, SOFTMAX_CY_VARIANT=variant)
    if variant in _dispatch.runnable_variants():
        modules = f"softmax_cy.kernels._f32_{variant} softmax_cy.kernels._f64_{variant}"
        assert done.stdout.splitlines() == [variant, modules], done.stderr
    else:
        what = "cannot run here" if variant in _dispatch.VARIANTS else "is not a variant of this build"
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"ImportError: SOFTMAX_CY_VARIANT={variant!r} {what}: ")


@pytest.mark.parametrize("variant", [name for name, row in _dispatch.VARIANTS.items() if row.features])
def test_a_variant_that_the_cpu_cannot_run_is_an_import_error(variant):
    done = python(ANOTHER_CPU.format(features={}), SOFTMAX_CY_VARIANT=variant)
    assert done.returncode == 1
    missing = ", ".join(sorted(_dispatch.VARIANTS[variant].features))
    runnable = ", ".join(name for name, row in _dispatch.VARIANTS.items() if not row.features)
    message = (
        f"ImportError: SOFTMAX_CY_VARIANT={variant!r} cannot run here: this CPU or operating system lacks {missing}; "
        f"expected one of {runnable}"
    )
    assert done.stderr.splitlines()[-1] == message


@pytest.mark.parametrize("variant", _dispatch.VARIANTS)
def test_a_variant_needs_each_of_its_features_and_no_other(variant, cpu_offers, monkeypatch):
    needed = _dispatch.VARIANTS[variant].features
    cpu_offers(*needed)
    assert variant in _dispatch.runnable_variants()
    monkeypatch.setenv(_dispatch.ENVIRONMENT_VARIABLE, variant)
    assert _dispatch.choose() == variant
    for missing in needed:
        cpu_offers(*(set(_cpu.features()) | set(needed)) - {missing})
        with pytest.raises(ImportError, match=f"'{variant}' cannot run here: .* lacks {missing}; expected one of"):
            _dispatch.choose()


def test_by_itself_the_widest_variant_is_used_and_never_one_for_tests():
    offered = [name for name in _dispatch.runnable_variants() if not _dispatch.VARIANTS[name].for_tests]
    assert python(LOADED).stdout.splitlines()[0] == offered[-1]


def test_an_unknown_variant_is_an_import_error():
    done = python("import softmax_cy", SOFTMAX_CY_VARIANT="v9")
    assert done.returncode == 1
    built = ", ".join(_dispatch.VARIANTS)
    message = f"ImportError: SOFTMAX_CY_VARIANT='v9' is not a variant of this build: expected one of {built}"
    assert done.stderr.splitlines()[-1] == message


def test_without_any_feature_the_baseline_runs(cpu_offers):
    cpu_offers()
    assert _dispatch.choose() == "baseline"


def test_a_build_of_which_nothing_runs_here_is_an_import_error(cpu_offers, monkeypatch):
    wide = Variant("wide", "made_up", has_fma=True, features=("vector", "mask"))
    monkeypatch.setattr(_dispatch, "VARIANTS", {"wide": wide})
    cpu_offers("mask")
    with pytest.raises(ImportError, match=r"nothing of this build can run here: 'wide' lacks vector$"):
        _dispatch.choose()


@pytest.mark.skipif(_dispatch.ARCHITECTURE != "x86_64", reason="the names are those of x86-64")
def test_features_are_those_of_the_kernel():
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("no /proc/cpuinfo to compare with")
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    assert _cpu.features() == {name: name in flags for name in _cpu.features()}


@pytest.mark.skipif(_dispatch.ARCHITECTURE != "aarch64" or sys.platform != "linux", reason="asks Linux on aarch64")
def test_features_are_those_of_the_kernel_on_aarch64():
    at_hwcap, hwcap_asimd = 16, 1 << 1
    assert _cpu.features() == {"neon": bool(ctypes.CDLL(None).getauxval(at_hwcap) & hwcap_asimd)}


def test_the_table_names_each_variant_once_and_begins_with_what_runs_everywhere():
    assert max(Counter((variant.architecture, variant.name) for variant in _variants.VARIANTS).values()) == 1
    for architecture in {variant.architecture for variant in _variants.VARIANTS}:
        first, *others = _variants.of_architecture(architecture).values()
        assert (first.name, first.features, first.for_tests) == ("baseline", (), False)
        assert all(variant.features for variant in others)


def test_the_features_of_the_table_are_asked_of_the_cpu():
    assert _dispatch.VARIANTS
    for name, variant in _dispatch.VARIANTS.items():
        assert set(variant.features) <= set(_cpu.features()), name


@pytest.mark.parametrize(
    "variant",
    [variant for variant in _variants.VARIANTS if variant.architecture != _variants.OTHER],
    ids=lambda variant: f"{variant.architecture}-{variant.name}",
)
def test_a_variant_has_fma_where_its_flags_say_so(variant):
    """To the compiler, that is: it tells the kernels by these macros."""
    own = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    compiler = own if variant.architecture == _dispatch.ARCHITECTURE else [f"{variant.architecture}-linux-gnu-gcc"]
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no {compiler[0]}")
    command = [*compiler, *variant.flags, "-dM", "-E", "-x", "c", os.devnull]
    macros = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ("#define __FMA__ " in macros or "#define __ARM_FEATURE_FMA " in macros) == variant.has_fma


@pytest.mark.parametrize(
    ("target", "architecture"),
    [
        ("x86_64-linux-gnu", "x86_64"),
        ("AMD64", "x86_64"),
        ("aarch64-linux-gnu", "aarch64"),
        ("arm64-apple-darwin23.1.0", "aarch64"),
        ("arm-linux-gnueabihf", "other"),
        ("i686-linux-gnu", "other"),
        ("riscv64-unknown-linux-gnu", "other"),
        ("", "other"),
    ],
)
def test_the_architecture_of_a_target(target, architecture):
    assert _variants.architecture_of(target) == architecture


def test_the_golden_bits_are_asked_of_the_baseline_of_aarch64(cpu_offers, monkeypatch):
    """It has FMA, whatever the baseline of x86-64 has."""
    monkeypatch.setattr(_dispatch, "VARIANTS", _variants.of_architecture("aarch64"))
    cpu_offers("neon")
    assert fma_variants_under_test() == ["baseline"]
    monkeypatch.setattr(_dispatch, "VARIANTS", _variants.of_architecture("x86_64"))
    cpu_offers()
    assert fma_variants_under_test() == []


def test_a_flag_of_the_compiler_is_no_feature_of_the_cpu(cpu_offers, monkeypatch):
    wide = Variant("wide", "made_up", has_fma=True, flags=("-march=armv8-a+sve", "-mfast"), features=("vector",))
    for_tests = wide._replace(name="wider", for_tests=True)
    monkeypatch.setattr(_variants, "VARIANTS", (Variant("baseline", "made_up", has_fma=False), wide, for_tests))
    assert _variants.architecture_of("made_up-linux-gnu") == "made_up"
    monkeypatch.setattr(_dispatch, "VARIANTS", _variants.of_architecture("made_up"))
    cpu_offers("fast", "arch=armv8-a+sve")
    assert _dispatch.missing_features("wide") == ["vector"]
    assert _dispatch.runnable_variants() == ["baseline"]
    assert _dispatch.choose() == "baseline"
    assert fma_variants_under_test() == []
    cpu_offers("vector")
    assert _dispatch.runnable_variants() == ["baseline", "wide", "wider"]
    assert _dispatch.choose() == "wide"
    assert fma_variants_under_test() == ["wide", "wider"]


def test_the_kernel_modules_follow_from_the_table(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    import write_kernel_modules

    variants = _variants.of_architecture("x86_64").values()
    names = [write_kernel_modules.module_name(dtype, variant) for variant in variants for dtype in ("f32", "f64")]
    assert len(set(names)) == 2 * len(variants)
    translated = tmp_path / write_kernel_modules.SOURCE.with_suffix(".c").name
    translated.write_text('PyInit__dtype_variant "softmax_cy.kernels._dtype_variant"')
    write_kernel_modules.write_c(translated, names)
    written = [write_kernel_modules.c_path(translated, name) for name in names]
    assert {*tmp_path.iterdir()} == {translated, *written}
    assert [path.read_text() for path in written] == [f'PyInit_{name} "softmax_cy.kernels.{name}"' for name in names]
    for path in written:
        os.utime(path, ns=(0, 0))
    written[3].write_text("another text")
    write_kernel_modules.write_c(translated, names)
    assert [path.stat().st_mtime_ns != 0 for path in written] == [index == 3 for index in range(len(written))]
    assert "another" not in written[3].read_text()


def test_show_config_says_everything(capsys):
    config = softmax_cy.show_config(mode="dicts")
    assert config["variant"] in config["variants built"]
    assert set(config["variants runnable"]) <= set(config["variants built"])
    assert set(config["variants with FMA"]) <= set(config["variants built"])
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
    with_fma = {bits for name, bits in results.items() if _dispatch.VARIANTS[name].has_fma}
    without = {bits for name, bits in results.items() if not _dispatch.VARIANTS[name].has_fma}
    assert len(with_fma) <= 1
    assert not with_fma & without
