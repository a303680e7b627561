"""``python -m softmax_cy``: the check finds what is wrong with bits and digits, and the race is one of equals."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from conftest import fma_variants_under_test
from softmax_cy import __main__, _bench, _dispatch, _operations, _selftest

PACKAGE = Path(softmax_cy.__file__).parent
CONSTANTS = Path(__file__).parents[1] / "src/softmax_cy/kernels/vector/constants.h"
RUNNABLE = _dispatch.runnable_variants()
# What the check may not need.
EXTRAS = ("scipy", "torch", "ml_dtypes", "rich", "mpmath", "threadpoolctl")
WITHOUT_EXTRAS = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({EXTRAS}))
runpy.run_module("softmax_cy", run_name="__main__", alter_sys=True)
"""


def command(*arguments, code=None, path=None):
    """Run the command, or this code with its arguments, with the package that this process has or another."""
    start = ("-m", "softmax_cy") if code is None else ("-c", code)
    return subprocess.run(
        [sys.executable, "-W", "error", *start, *arguments],
        env={**os.environ, "PYTHONPATH": str(path or PACKAGE.parent), _dispatch.ENVIRONMENT_VARIABLE: ""},
        capture_output=True,
        text=True,
        check=False,
    )


def main(monkeypatch, capsys, *arguments):
    """The same in this process: the exit code and what was printed."""
    monkeypatch.setattr(sys, "argv", ["python -m softmax_cy", *arguments])
    code = __main__.main()
    return code, capsys.readouterr().out


# ---- the check ---------------------------------------------------------------------------------------------------


def test_the_check_passes_with_numpy_alone():
    done = command("--selftest", code=WITHOUT_EXTRAS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"softmax_cy {softmax_cy.__version__}, variant ")
    for variant, line in zip(RUNNABLE, lines[1:], strict=False):
        same = "as recorded; " if _dispatch.VARIANTS[variant].has_fma else "without FMA, so unlike the recorded ones, "
        assert line.startswith(f"bits of {variant}: {same}")
    assert [line[:40].rstrip() for line in lines[2 + len(RUNNABLE) : -1]] == list(_selftest.BOUNDS)
    assert lines[-1].startswith("passed: bits and digits are as promised (")


def test_the_check_as_json(monkeypatch, capsys):
    monkeypatch.setattr(_dispatch, "runnable_variants", lambda: RUNNABLE[:1])
    before = _dispatch.variant_in_use
    code, printed = main(monkeypatch, capsys, "--selftest", "--json")
    found = json.loads(printed)
    assert code == 0
    assert found["failures"] == []
    assert list(found["bits"]) == RUNNABLE[:1]
    assert found["machine"]["variant"] == _dispatch.variant_in_use == before
    assert found["machine"]["NumPy"] == np.__version__
    for bound, of_dtypes in found["errors"].items():
        for ulp in of_dtypes.values():
            assert 0 <= ulp <= found["bounds"][bound]


@pytest.mark.parametrize("variant", fma_variants_under_test(), indirect=True)
def test_the_recorded_bits_are_current(variant):
    assert _selftest.digests() == _selftest.recorded(), "run tools/golden.py"


def every_bound():
    with _selftest.localcontext(_selftest.CONTEXT):
        return {dtype: list(_selftest.checks(dtype)) for dtype in ("float32", "float64")}


CHECKS = every_bound()


def test_every_bound_of_every_dtype_is_checked():
    """And each by a few numbers at least, none of which is asked to be equal to itself."""
    for of_dtype in CHECKS.values():
        counted = {bound: 0 for bound in _selftest.BOUNDS}
        for one in of_dtype:
            counted[one.bound] += np.broadcast_to(one.where, one.high.shape).sum()
        assert min(counted.values()) > 100


def test_right_results_are_those_of_the_oracle():
    """Of long double, which knows nothing of decimals."""
    import twin

    for of_dtype in CHECKS.values():
        for one in of_dtype:
            if one.bound not in ("softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp", "logsumexp"):
                continue
            with np.errstate(invalid="ignore"):
                right = getattr(twin, one.bound)(*one.arrays)
                distance = np.abs((right - one.high.astype(twin.WIDE)) / one.unit - one.low)
            assert np.nanmax(np.where(right == one.high, 0, distance)) < 0.01


def spoil(monkeypatch, name, when, ulps=1):
    """Let the last result of a function have one number that is some units too large, where this holds of the call."""
    function = getattr(softmax_cy, name)

    def wrong(*arguments, **options):
        result = function(*arguments, **options)
        if not when(*arguments, **options):
            return result
        *others, last = result if isinstance(result, tuple) else (result,)
        numbers = np.array(last)
        place = np.unravel_index(np.where(np.isfinite(numbers), np.abs(numbers), 0).argmax(), numbers.shape)
        for _ in range(ulps):
            numbers[place] = np.nextafter(numbers[place], numbers.dtype.type(np.inf))
        return (*others, numbers) if others else numbers

    monkeypatch.setattr(softmax_cy, name, wrong)


@pytest.mark.parametrize(
    ("way", "when"),
    {
        "two threads": lambda *arrays, num_threads, **_: num_threads == 2,
        "axis 0": lambda *arrays, **_: np.ndim(arrays[0]) == 2 and arrays[-1] == 0,
        "axis 1 of 3": lambda *arrays, **_: arrays[-1] == 1,
        "strided": lambda *arrays, **_: arrays[0].strides[-1] < 0,
        "one row alone": lambda *arrays, **_: arrays[0].ndim == 1,
    }.items(),
)
@pytest.mark.parametrize("name", ["softmax", "log_softmax_jvp", "cross_entropy_and_grad", "log_softmax_jacobian"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_wrong_bit_in_one_layout_is_found(monkeypatch, name, dtype, way, when):
    spoil(monkeypatch, name, when)
    found = list(_selftest.differences(np.dtype(dtype)))
    assert found
    for text in found:
        # What follows from a wrong output differs too.
        assert f", {dtype}, {way}: " in text
    assert any(text.startswith(f"{name}, ") for text in found)


def test_one_wrong_bit_of_two_axes_or_in_parts_is_found(monkeypatch):
    spoil(monkeypatch, "log_softmax", lambda *arrays, **_: arrays[-1] == (1, 2))
    assert {text.partition(":")[0] for text in _selftest.differences(np.dtype("float32"))} >= {
        "log_softmax, out, float32, two axes"
    }
    monkeypatch.undo()
    make = softmax_cy.softmax_state
    # Only the first part holds its own first element.
    monkeypatch.setattr(
        softmax_cy, "softmax_state", lambda x, *, offset, length: make(x + offset, offset=offset, length=length)
    )
    found = list(_selftest.differences(np.dtype("float64")))
    assert found
    assert all(", in parts: " in text for text in found)


@pytest.mark.parametrize("name", _operations.names())
def test_one_wrong_bit_everywhere_is_found_by_the_record(monkeypatch, name):
    spoil(monkeypatch, name, lambda *_, **__: True)
    found = _selftest.digests()
    result = f"{name}, {_operations.BY_NAME[name].outputs[-1].name}"
    for dtype in _selftest.DTYPES:
        assert found[f"{result}, {dtype}"] != _selftest.recorded()[f"{result}, {dtype}"]


@pytest.mark.parametrize("bound", _selftest.BOUNDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lost_digits_are_found(monkeypatch, dtype, bound):
    """Also those that no record knows of."""
    some = [one for one in CHECKS[dtype] if one.bound == bound]
    assert max(one.largest_error() for one in some) <= _selftest.BOUNDS[bound]
    name = some[0].operation.name
    function = getattr(softmax_cy, name)

    def wrong(*arguments, **options):
        result = function(*arguments, **options)
        last = result[-1] if isinstance(result, tuple) else result
        # One part in 2**20 or 2**49, and a subnormal number in place of zero.
        last[...] = last * (1 + 8 * np.finfo(dtype).eps) + 3 * np.finfo(dtype).smallest_subnormal
        return result

    monkeypatch.setattr(softmax_cy, name, wrong)
    assert max(one.largest_error() for one in some) > _selftest.BOUNDS[bound]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_number_is_an_infinite_error(monkeypatch, value):
    one = CHECKS["float32"][0]
    monkeypatch.setattr(softmax_cy, "softmax", lambda x, *_, **__: np.full_like(x, value))
    assert one.largest_error() == np.inf


def test_what_fails_is_named(monkeypatch, capsys):
    """By an exit code, by a line for each, and by the last line."""
    monkeypatch.setattr(_dispatch, "runnable_variants", lambda: ["baseline"])
    spoil(monkeypatch, "softmax_vjp", lambda *arrays, num_threads, **_: num_threads == 2)
    spoil(monkeypatch, "logsumexp", lambda *_, **__: True, ulps=9)
    code, printed = main(monkeypatch, capsys, "--selftest", "--json")
    found = json.loads(printed)
    assert code == 1
    assert found["bits"] == {"baseline": "FAILED"}
    for wanted in ("softmax_vjp, out, float32, two threads: 1 of ", "logsumexp, float64: off by "):
        assert any(text.startswith(f"baseline: {wanted}") for text in found["failures"])
    assert not any("log_softmax, out" in text for text in found["failures"])


def test_an_exception_is_a_failure(monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(_dispatch, "runnable_variants", lambda: ["baseline"])
    monkeypatch.setattr(softmax_cy, "softmax_jvp", broken)
    before = _dispatch.variant_in_use
    code, printed = main(monkeypatch, capsys, "--selftest")
    assert code == 1
    assert "bits of baseline: FAILED\n" in printed
    assert "\nFAILED: baseline: ZeroDivisionError: no such luck\nFAILED: 1 checks (" in printed
    assert _dispatch.variant_in_use == before


def test_a_flipped_bit_in_a_kernel_is_found(tmp_path):
    """In the coefficients of the exponential, in the file that the widest variant is loaded from."""
    shutil.copytree(PACKAGE, tmp_path / "softmax_cy", ignore=shutil.ignore_patterns("__pycache__"))
    variant = [name for name in RUNNABLE if not _dispatch.VARIANTS[name].for_tests][-1]
    info = tmp_path / "softmax_cy/_build_info.py"
    info.write_text(re.sub("BUILT = .*", f"BUILT = [{variant!r}]", info.read_text()))
    (module,) = (tmp_path / "softmax_cy/kernels").glob(f"_f64_{variant}.*.so")
    # The last of this name is that of float64.
    coefficient = float.fromhex(re.findall(r"#define EXP_C3 +(\S+)", CONSTANTS.read_text())[-1])
    (bits,) = struct.unpack("<q", struct.pack("<d", coefficient))
    right, wrong = struct.pack("<q", bits), struct.pack("<q", bits ^ 1 << 20)
    code = module.read_bytes()
    assert right in code
    module.write_bytes(code.replace(right, wrong))
    done = command("--selftest", path=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"bits of {variant}: FAILED\n" in done.stdout
    failures = re.findall(f"FAILED: {variant}: (.*)", done.stdout)
    assert "softmax, float64: off by" in done.stdout
    assert all("float64" in text for text in failures)


# ---- the race ----------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Few cases, and no time for them."""
    monkeypatch.setattr(_bench, "SHAPES", ((3, 4), (2, 5)))
    monkeypatch.setattr(_bench, "CASE_SECONDS", 0)
    monkeypatch.setattr(_bench, "SAMPLE_SECONDS", 1e-9)


def others():
    found = {}
    for name, module in (("scipy", "scipy.special"), ("torch", "torch")):
        found[name] = pytest.importorskip(module)
    return found


def as_arrays(result):
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("operation", _bench.FORMULAS)
def test_all_compute_the_same(operation, dtype):
    some = _bench.calls(operation, dtype, (7, 13), others())
    assert len(some) == (4 if operation in ("softmax", "log_softmax", "logsumexp") else 3)
    results = {name: as_arrays(call()) for name, call in some.items()}
    for name, arrays in results.items():
        for array, right in zip(arrays, results["softmax_cy"], strict=True):
            assert array.dtype == dtype, name
            np.testing.assert_allclose(array, right, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_a_round_has_a_time_for_everybody(quick):
    calls = []
    some = {name: lambda name=name: calls.append(name) for name in ("first", "second")}
    seconds = list(_bench.rounds(some))
    assert len(seconds) == _bench.FEWEST_ROUNDS
    assert calls == ["first"] * 3 + ["second"] * 3 + ["first", "second", "second", "first"] * len(seconds)
    assert all(0 < one[name] < 1 for one in seconds for name in some)


def test_the_race_as_json(quick, monkeypatch, capsys):
    code, printed = main(monkeypatch, capsys, "--bench", "--json")
    found = json.loads(printed)
    assert code == 0
    assert len(found["cases"]) == len(_bench.FORMULAS) * 2 * len(_bench.SHAPES)
    for case in found["cases"]:
        assert set(case["ns per element"]) == set(case["ratios"]) <= {"softmax_cy", *found["versions"]}
        assert case["ratios"]["softmax_cy"] == 1
        assert min(case["ns per element"].values()) > 0
    assert found["versions"]["numpy"] == np.__version__
    assert isinstance(found["busy"], bool)


@pytest.mark.parametrize("missing", [(), ("rich",), ("scipy", "scipy.special", "torch", "rich")])
def test_the_race_as_a_table(quick, monkeypatch, capsys, missing):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    code, printed = main(monkeypatch, capsys, "--bench")
    assert code == 0
    assert ("torch is not installed" in printed) == ("torch" in missing)
    (header,) = (line for line in printed.splitlines() if " dtype " in line)
    (row,) = (line for line in printed.splitlines() if re.search(r"log_softmax\W+float64\W+2x5 ", line))
    assert re.findall(r"[\w.]+ \([\d.]+\)|[\d.]+", row.partition("2x5")[2]), row
    assert ("torch" in header) == ("torch" not in missing)
    assert "geometric mean" in printed
    last = printed.splitlines()[-1]
    assert re.fullmatch(r"(BUSY, .*: )?the load was [\d.]+ before, and a CPU was ours \d+% of the time", last)


@pytest.mark.parametrize(("load", "busy"), [(0.1, False), (1.5, True)])
def test_a_busy_machine_is_said_to_be_one(quick, monkeypatch, capsys, load, busy):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    clock = iter(range(10**9))
    monkeypatch.setattr(_bench.time, "process_time", lambda: next(clock) * 10**6)
    code, printed = main(monkeypatch, capsys, "--bench")
    assert code == 0
    assert ("BUSY, do not trust these numbers: the load was 1.50" in printed) == busy


def test_little_of_a_cpu_is_said_to_be_little(quick, monkeypatch, capsys):
    monkeypatch.setattr(os, "getloadavg", lambda: (0, 0, 0))
    monkeypatch.setattr(_bench.time, "process_time", lambda: 1)
    _, printed = main(monkeypatch, capsys, "--bench")
    assert "BUSY, do not trust these numbers: the load was 0.00 before, and a CPU was ours 0% of the time" in printed


def test_torch_keeps_its_threads(quick, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    during = []
    monkeypatch.setattr(_bench, "measure", lambda *_: during.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        with pytest.raises(TypeError):  # of the table, which has nothing to show
            main(monkeypatch, capsys, "--bench")
        assert set(during) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# ---- the rest ----------------------------------------------------------------------------------------------------


def test_the_configuration_as_json(monkeypatch, capsys):
    code, printed = main(monkeypatch, capsys, "--json")
    machine = json.loads(printed)["machine"]
    assert code == 0
    assert machine.items() >= softmax_cy.show_config(mode="dicts").items()
    assert machine["CPU"]


def test_a_machine_that_does_not_name_its_cpu(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda _: "processor : 0\nBogoMIPS : 50\n")
    assert __main__.cpu_name() == __main__.platform.machine()


def test_both_at_once(quick, monkeypatch, capsys):
    """The exit code is that of the check, and its verdict comes last."""
    monkeypatch.setattr(_selftest, "SHAPES", ((1, 2),))
    monkeypatch.setattr(_selftest, "DIGESTS", {})
    code, printed = main(monkeypatch, capsys, "--selftest", "--bench")
    assert code == 1
    assert "geometric mean" in printed
    assert printed.splitlines()[-1].startswith("FAILED: ")
    code, printed = main(monkeypatch, capsys, "--selftest", "--bench", "--json")
    assert code == 1
    assert {"cases", "failures", "machine"} <= set(json.loads(printed))
