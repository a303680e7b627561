"""The asv suite: complete, calls what its names say, and leaves nothing to be prepared while asv's clock runs."""

import itertools
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import softmax_cy

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

asv = pytest.importorskip("asv", reason="asv is not installed")

from benchmarks import bench, compare, reference, results
from benchmarks.buffers import Buffers
from benchmarks.cases import Case, inputs
from benchmarks.operations import BY_NAME
from benchmarks.operations import names as listed
from benchmarks.peers import as_arrays
from benchmarks.suite import every_operation, harness
from benchmarks.suite.harness import LIMIT, NAIVE, NUMPY, OURS, PLACE, Grid, Missing, Pair, Parameters, ready

MODULES = {
    path.stem: import_module(f"benchmarks.suite.{path.stem}")
    for path in sorted((ROOT / "benchmarks" / "suite").glob("[!_]*.py"))
}

pytestmark = pytest.mark.usefixtures("torch_as_before")

FUNCTIONS = {benchmark.name.removeprefix("suite."): benchmark.func for benchmark in bench.discovered()}

# asv keeps the history of a benchmark under its name: what is here besides the benchmarks of every operation.
SPECIAL = {
    "control": "time_nothing time_numpy_exp time_numpy_copy peakmem_nothing track_difference_from_itself",
    "environment": "track_cpus",
    "softmax": "peakmem_softmax time_softmax_along_axis_0 time_softmax_beyond_cache time_softmax_by_length "
    "time_softmax_half_precision time_softmax_in_place time_softmax_small_call time_softmax_two_threads",
    "softmax_jacobian": "peakmem_softmax_jacobian",
    "states": "peakmem_streamed_logsumexp time_cross_entropy_and_grad_of_part time_cross_entropy_of_part "
    "time_finish_part time_logsumexp_of_state time_merge_states time_softmax_in_two_parts time_softmax_state",
}


def parameters(function):
    """What prepares it, if anything does."""
    return getattr(function, "skip_params", None)


GRIDS = {name: function for name, function in FUNCTIONS.items() if isinstance(parameters(function), Grid)}
PUBLIC = bench.public_functions(softmax_cy)


def test_configuration_has_no_unknown_names():
    # asv ignores what it does not know, so a misspelt option would do nothing, in silence.
    from asv.config import Config

    template = (Path(asv.__file__).parent / "template" / "asv.conf.json").read_text()
    known = {"version", *vars(Config()), *re.findall(r'"(\w+)":', template)}
    assert {"install_command", "branches", "launch_method", "build_cache_size"} <= known
    settings = bench.configuration()
    assert settings.keys() - known == set()
    for name, default in vars(Config()).items():
        if name in settings and default is not None:
            kinds = (int, float) if isinstance(default, float) else type(default)
            assert isinstance(settings[name], kinds), name


def test_configuration_pins_what_decides():
    settings = bench.configuration()
    assert settings["branches"] == ["main"]
    assert settings["matrix"]["req"]["torch"] == ["2.13.0"]
    assert all(len(versions) == 1 for versions in settings["matrix"]["req"].values())
    assert settings["matrix"]["env_nobuild"]["OMP_NUM_THREADS"] == ["1"]
    assert "--no-deps" in " ".join(settings["install_command"])
    assert "build --wheel" in " ".join(settings["build_command"])


def test_asv_reads_the_configuration():
    from asv.config import Config

    config = Config.load(str(bench.CONFIGURATION))
    assert vars(config)["matrix"] == bench.configuration()["matrix"]


def test_asv_finds_the_suite_and_nothing_else():
    expected = [f"suite.{operation}.time_{operation}" for operation in PUBLIC]
    for operation in reference.OPERATIONS:
        expected += [f"suite.{operation}.{name}" for name in ("track_ratio_to_torch", "track_max_ulp")]
    for module, names in SPECIAL.items():
        expected += [f"suite.{module}.{name}" for name in names.split()]
    assert sorted(name for name, _ in found()) == sorted(expected)


def test_a_new_docstring_leaves_the_history():
    assert {benchmark.version for benchmark in bench.discovered()} == {harness.VERSION}


def found():
    """As asv sees it."""
    return list(bench.benchmarks())


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_a_benchmark(name):
    assert name in listed(), f"add a row for {name} to OPERATIONS in src/softmax_cy/_operations.py"
    family = BY_NAME[name].family
    assert family in every_operation.SHAPES, f"add the shapes of {family!r} to SHAPES in every_operation.py"
    grid = parameters(FUNCTIONS[f"{name}.time_{name}"])
    assert grid.operation == name
    assert {OURS, *([NUMPY, "torch"] if is_defined(name) else [])} <= set(grid.values[-1])


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_backends_stand_side_by_side(name):
    grid = parameters(GRIDS[name])
    assert grid.names == ["shape", "dtype", "backend"]
    assert grid.values[-1][0] == OURS
    assert GRIDS[name].params == grid.values


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_a_benchmark_calls_what_its_name_says(name, monkeypatch):
    grid = parameters(GRIDS[name])
    module, _, function = name.partition(".")
    operation = max((public for public in PUBLIC if function.partition("_")[2].startswith(public)), key=len)
    assert grid.operation == module == operation

    calls = []

    def recorder(name):
        return lambda *args, **options: calls.append((name, args, options))

    library = SimpleNamespace(**{public: recorder(public) for public in PUBLIC})
    monkeypatch.setattr(harness.peer(OURS), "library", library)
    shape, dtype, _ = smallest(grid)
    assert (shape, dtype, OURS) not in fresh(grid)
    calls.clear()
    GRIDS[name](shape, dtype, OURS)
    ((called, args, options),) = calls
    assert called == operation
    assert args[0].shape == harness.shape_of(shape)
    assert args[0].dtype == dtype
    if not grid.options.get("allocated"):
        assert options["num_threads"] == grid.options.get("threads", 1)
        assert args[-1] == grid.options.get("axis", -1)
        out = options["out"][1] if isinstance(options["out"], tuple) else options["out"]
        assert np.shares_memory(args[0], out) == grid.options.get("in_place", False)


def smallest(grid):
    """The combination of the fewest elements."""
    return min(grid.combinations(), key=lambda c: np.prod(harness.shape_of(c[0])))


def fresh(parameters):
    """Nothing prepared yet."""
    parameters.prepared = None
    return parameters


MORE = {
    "log_softmax_jacobian": lambda log_y: np.eye(log_y.shape[-1]) - np.exp(log_y)[..., None, :],
    "softmax_and_jacobian": lambda x: (
        reference.softmax(x, -1),
        reference.softmax_jacobian(reference.softmax(x, -1), -1),
    ),
    "cross_entropy": lambda x, target: reference.cross_entropy_and_grad(x, target, -1)[0],
}


def test_what_others_compute_has_a_definition():
    for name in PUBLIC:
        peers = [peer for peer in (harness.peers.NumPy, harness.peers.Torch) if hasattr(peer, name)]
        assert len(peers) == 2 * is_defined(name), f"{name}: define it, and have NumPy and torch compute it"


def is_defined(operation):
    """Whether other libraries have to compute it too."""
    return operation in MORE or operation in reference.OPERATIONS


def expected(case):
    """By the race's definitions, and those that it has no use for."""
    if not is_defined(case.operation):
        pytest.skip(f"no other library computes {case.operation}: it is timed alone")
    if case.operation not in MORE:
        return reference.expected(case, inputs(case))
    result = MORE[case.operation](*(a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs(case)))
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("backend", [OURS, NUMPY, NAIVE])
@pytest.mark.parametrize("operation", PUBLIC)
def test_backends_compute_right(operation, backend):
    case = Case(operation, (3, 5), "float64")
    right = expected(case)
    try:
        run = ready(case, backend)
    except harness.peers.Cannot:
        assert backend == NAIVE
        return
    assert reference.fault(case, run.read(run.call()), right) == ""


@pytest.mark.parametrize("operation", PUBLIC)
def test_torch_computes_right(operation):
    pytest.importorskip("torch", reason="torch is not installed")
    case = Case(operation, (3, 5), "float64")
    right = expected(case)
    run = ready(case, "torch")
    assert reference.fault(case, run.read(run.call()), right) == ""


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_nothing_is_prepared_while_the_clock_runs(name, monkeypatch):
    # Any hook named setup makes asv time single calls.
    assert not hasattr(FUNCTIONS[name], "setup")
    assert not any(hasattr(module, hook) for module in MODULES.values() for hook in ("setup", "setup_cache"))
    prepares = parameters(FUNCTIONS[name])
    if not isinstance(prepares, Grid):
        return
    shape, dtype, _ = smallest(prepares)
    assert (shape, dtype, NUMPY) in fresh(prepares) or (shape, dtype, NUMPY) in prepares or prepares.prepared
    assert (shape, dtype, OURS) not in prepares
    monkeypatch.setattr(prepares, "prepare", lambda *_: pytest.fail("prepared twice"))
    assert (shape, dtype, OURS) not in prepares
    FUNCTIONS[name](shape, dtype, OURS)


def asv_benchmark(name):
    """As asv's own runner has it."""
    from asv_runner.discovery import get_benchmark_from_name

    before = list(sys.path)
    try:
        return get_benchmark_from_name(str(ROOT / "benchmarks"), name, {"sample_time": 1e-3, "repeat": 1})
    finally:
        sys.path[:] = before


@pytest.mark.parametrize("name", sorted(name for name in GRIDS if ".time_" in name))
def test_asv_times_many_calls_of_what_is_short(name):
    shape, dtype, _ = smallest(parameters(GRIDS[name]))
    if np.prod(harness.shape_of(shape)) > 10_000:
        assert shape.startswith(("10x4096", "1000x37", "8x1000000", "4096x4096", "64x32000", "256x4096")) or (
            "by_length" in name
        )
        return
    index = list(parameters(GRIDS[name]).combinations()).index((shape, dtype, OURS))
    benchmark = asv_benchmark(f"suite.{name}-{index}")
    assert not benchmark.do_setup()
    assert benchmark.do_run()["number"] > 1


def test_a_combination_that_cannot_be_measured_is_skipped_and_says_so(monkeypatch, capsys):
    grid = Grid("softmax", [(3, 5), (4, 5)], naive_on=(3, 5))
    assert ("4x5", "float32", NAIVE) in grid
    assert "only on the smallest shape" in capsys.readouterr().out
    assert ("3x5", "float32", NAIVE) not in grid


def test_an_old_build_skips_what_it_lacks(monkeypatch, capsys):
    library = SimpleNamespace(softmax=lambda x: x)
    monkeypatch.setattr(harness.peer(OURS), "library", library)
    benchmark = asv_benchmark("suite.softmax_vjp.time_softmax_vjp-0")
    fresh(benchmark._skip_tuples)
    assert benchmark.do_setup()
    assert "this build has no softmax_vjp" in capsys.readouterr().out
    assert ("3x5", "float32", OURS) in Grid("softmax", [(3, 5)])
    assert "takes other arguments" in capsys.readouterr().out
    assert ("3x5", "float32", NUMPY) not in Grid("softmax", [(3, 5)])
    with pytest.raises(Missing):
        Pair("logsumexp", [(3, 5)], other=NUMPY).prepare("3x5", "float32")


def test_an_error_is_no_reason_to_skip(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(harness.peer(OURS), "library", SimpleNamespace(softmax=broken))
    with pytest.raises(RuntimeError, match="broken"):
        assert ("3x5", "float32", OURS) in Grid("softmax", [(3, 5)])


def test_a_missing_peer_is_skipped(monkeypatch, capsys):
    class Absent(harness.peers.Peer):
        def __init__(self):
            raise ImportError("No module named 'absent'")

    monkeypatch.setitem(harness.KINDS, "absent", Absent)
    assert ("3x5", "float32", "absent") in Grid("softmax", [(3, 5)], backends=("absent",))
    assert "No module named 'absent'" in capsys.readouterr().out


@pytest.mark.parametrize("operation", ["softmax", "log_softmax", "logsumexp", "softmax_vjp", "softmax_jacobian"])
def test_digits(operation, monkeypatch):
    digits = MODULES["digits"].Digits(operation, length=50)
    assert ("float32", OURS) not in digits
    assert 0 < digits.max_ulp() <= 2
    digits.result = tuple(array * np.float32(1 + 2**-17) for array in digits.result)
    assert digits.max_ulp() > 30


def test_a_ratio_is_ours_over_theirs(monkeypatch):
    pair = Pair("softmax", [(3, 5)], other=NUMPY)
    rounds = {OURS: [1.0, 2.0, 3.0], NUMPY: [2.0, 4.0, 6.0]}
    outcome = SimpleNamespace(wrong={}, rounds=rounds)
    monkeypatch.setattr(harness, "race", lambda *_: outcome)
    assert pair.ratio("3x5", "float32") == 0.5
    monkeypatch.setattr(outcome, "wrong", {OURS: "off by 1"})
    with pytest.raises(ArithmeticError, match="off by 1"):
        pair.ratio("3x5", "float32")


def test_lean_buffers_hold_the_right_things():
    for operation, result in (("softmax", (4, 5)), ("softmax_jacobian", (4, 5, 5))):
        buffers = harness.LeanBuffers(Case(operation, (4, 5)), PLACE)
        assert isinstance(buffers, Buffers)
        assert buffers.out.shape == result
        assert np.isfinite(buffers.inputs[0]).all()


STATES = MODULES["states"]
OF_STATES = {name: function for name, function in FUNCTIONS.items() if name.startswith("states.time_")}


def prepared(name, *combination):
    """What a benchmark of states calls."""
    prepares = fresh(parameters(FUNCTIONS[f"states.{name}"]))
    assert combination not in prepares
    prepares.prepared = None  # others may be asked for combinations that are in the list
    return prepares.call


def losses_of(name, cut):
    """Those of the whole slices, and the second half of their gradients, if these are asked for."""
    loss, *grads = as_arrays(getattr(softmax_cy, name)(cut.x, cut.target, reduction="none"))
    return loss, *(grad[:, cut.middle :] for grad in grads)


RIGHT = {
    "time_finish_part": lambda cut: softmax_cy.softmax(cut.x)[:, cut.middle :],
    "time_logsumexp_of_state": lambda cut: softmax_cy.logsumexp(cut.x),
    "time_cross_entropy_of_part": lambda cut: losses_of("cross_entropy", cut),
    "time_cross_entropy_and_grad_of_part": lambda cut: losses_of("cross_entropy_and_grad", cut),
    "time_softmax_in_two_parts": lambda cut: softmax_cy.softmax(cut.x),
}
OF_WHOLE_SLICES = ("time_logsumexp_of_state", "time_softmax_in_two_parts")


@pytest.mark.parametrize("dtype", harness.BOTH)
@pytest.mark.parametrize("length", [50, 9000])
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_measured_of_states_is_right(name, length, dtype):
    """The whole call computes as much. If it is given the whole slices, it computes the same."""
    for way in (STATES.EXACT, STATES.INEXACT, STATES.WHOLE):
        results = as_arrays(prepared(name, f"3x{length}", dtype, way)())
        right = as_arrays(RIGHT[name](parameters(FUNCTIONS[f"states.{name}"]).cut))
        for result, expected in zip(results, right, strict=True):
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
            if way != STATES.WHOLE or name in OF_WHOLE_SLICES:
                np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("way", [STATES.EXACT, STATES.INEXACT])
@pytest.mark.parametrize("parts", list(map(str, STATES.PARTS)))
def test_states_that_are_measured_are_of_the_whole_or_of_half_of_it(parts, way):
    case = ("3x500", "float64")
    known = prepared("time_logsumexp_of_state", *case, STATES.WHOLE)()
    merged = prepared("time_merge_states", *case, parts, way)()
    assert merged.is_complete
    np.testing.assert_allclose(merged.logsumexp(), known)
    half = prepared("time_softmax_state", *case, way)()
    assert (half.offset, half.stop, half.exact, half.shape) == (250, 500, way == STATES.EXACT, (3,))
    assert prepared("time_softmax_state", *case, STATES.WHOLE)().shape == (3,)


def test_logsumexp_of_a_stream_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(STATES, "STREAMED", (2, 3000))
    monkeypatch.setattr(STATES, "READ_AT_ONCE", 1000)
    exact, inexact, whole = (
        prepared("peakmem_streamed_logsumexp", way)() for way in (STATES.EXACT, STATES.INEXACT, STATES.WHOLE)
    )
    assert exact.tobytes() == whole.tobytes()
    np.testing.assert_allclose(inexact, whole, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(OF_STATES))
def test_asv_times_many_calls_of_states(name, monkeypatch):
    """And prepares them before its clock starts."""
    benchmark = asv_benchmark(f"suite.{name}-0")
    fresh(benchmark._skip_tuples)
    assert not benchmark.do_setup()
    monkeypatch.setattr(benchmark._skip_tuples, "prepare", lambda *_: pytest.fail("prepared twice"))
    assert benchmark.do_run()["number"] > 1


def test_a_build_without_states_has_nothing_to_measure(monkeypatch, capsys):
    monkeypatch.setattr(harness.peer(OURS), "library", SimpleNamespace(softmax=lambda x: x))
    for name in (*OF_STATES, "states.peakmem_streamed_logsumexp"):
        prepares = fresh(parameters(FUNCTIONS[name]))
        assert next(iter(prepares.combinations())) in prepares
        assert "this build has no softmax_state" in capsys.readouterr().out


def test_the_limit_is_no_peer_of_softmax_cy_in_time():
    assert LIMIT in parameters(FUNCTIONS["softmax.time_softmax_by_length"]).values[-1]
    assert LIMIT in parameters(FUNCTIONS["softmax_jacobian.time_softmax_jacobian"]).values[-1]


def test_every_parameter_set_prepares_itself():
    assert all(isinstance(parameters(f), (Parameters, type(None))) for f in FUNCTIONS.values())


def test_the_quick_set_has_every_benchmark_and_all_peers():
    selection = bench.quick_selection(found())
    for name, params in found():
        text = name if not params else f"{name}({', '.join(values[0] for values in params)})"
        assert any(re.search(pattern, text) for pattern in selection), text
    (pattern,) = (p for p in selection if "time_softmax\\(" in p)
    for shape, backend, chosen in (("64x10", "torch", 1), ("32x1000", "softmax_cy", 1), ("256x4096", "torch", 0)):
        text = f"suite.softmax.time_softmax('{shape}', 'float32', '{backend}')"
        assert bool(re.search(pattern, text)) == chosen


def record(function="time_softmax", value=1e-6, number=100, backend=OURS, module="softmax", samples=()):
    """As it would be read from a file."""
    params = {"shape": "64x10", "dtype": "float32", "backend": backend}
    return results.Record(f"suite.{module}.{function}", params, value, value, value, number, tuple(samples))


def run(*records, commit="c" * 40):
    """With these results."""
    return results.Run(commit, 0, {"machine": "m"}, {}, "e", tuple(records))


def test_a_run_that_measured_nothing_fails():
    assert list(bench.what_is_wrong([])) == ["FAILED: nothing was measured"]
    assert list(bench.what_is_wrong([run(record(value=float("nan")))])) == ["FAILED: nothing was measured"]


def test_a_run_without_one_of_the_functions_fails():
    records = [record(f"time_{name}") for name in PUBLIC]
    assert list(bench.what_is_wrong([run(*records)])) == []
    assert list(bench.what_is_wrong([run(*records[1:])])) == [f"FAILED: {PUBLIC[0]} was not measured"]


def test_a_short_call_timed_once_fails():
    records = [record(f"time_{name}") for name in PUBLIC]
    slow = record("time_softmax_beyond_cache", 2e-3, number=1)
    assert list(bench.what_is_wrong([run(*records, slow)])) == []
    (fault,) = bench.what_is_wrong([run(*records, record("time_softmax_small_call", 1e-6, number=1))])
    assert fault.startswith("FAILED: suite.softmax.time_softmax_small_call(64x10, float32, softmax_cy): one call")


ROUNDS = 10


def samples(level, noise, seed):
    """Of all rounds."""
    rng = np.random.default_rng(seed)
    return level * np.exp(noise * rng.standard_normal(ROUNDS * compare.REPEAT))


def two_runs(factor, drift=1.0, noise=0.01):
    """The same machine twice, `drift` times as slow the second time, and softmax_cy `factor` times on top of that."""

    def at(factor, drift, seed):
        numpys = [
            record(f"time_{name}", backend=NUMPY, samples=samples(drift, noise, seed + i))
            for i, name in enumerate(("softmax", "logsumexp", "log_softmax"))
        ]
        ours = record(samples=samples(drift * factor, noise, seed + 9))
        return run(*numpys, ours, record("time_logsumexp", samples=samples(drift, noise, seed + 10)))

    return at(1, 1, 0), at(factor, drift, 100)


@pytest.mark.parametrize("drift", [0.7, 1.0, 1.5])
def test_a_slower_commit_is_named_whatever_the_machine_does(drift):
    verdict = compare.judge(*two_runs(1.15, drift), ROUNDS)
    assert [change.name for change in verdict.regressions] == ["suite.softmax.time_softmax(64x10, float32, softmax_cy)"]
    assert verdict.drift == pytest.approx(drift, rel=0.02)
    assert "REGRESSION: suite.softmax.time_softmax(64x10, float32, softmax_cy): 1.1" in verdict.text()


@pytest.mark.parametrize("drift", [0.7, 1.0, 1.5])
def test_an_unchanged_commit_is_not_named(drift):
    verdict = compare.judge(*two_runs(1.0, drift), ROUNDS)
    assert verdict.regressions == verdict.improvements == []
    assert "no regression" in verdict.text()


def test_a_faster_commit_is_named_but_no_regression():
    verdict = compare.judge(*two_runs(0.8), ROUNDS)
    assert not verdict.regressions
    assert len(verdict.improvements) == 1


def test_one_wild_control_hides_no_regression():
    def control(ratio):
        return compare.Change("control", ratio, ratio, ratio)

    slower = compare.Change("ours", 1.09, 1.07, 1.11)
    calm = [control(1.01)] * 19
    assert compare.Verdict((slower,), (*calm, control(0.9)), 1.0).regressions == [slower]
    assert not compare.Verdict((slower,), (*calm, *[control(0.9)] * 3), 1.0).regressions


def test_what_the_controls_do_too_is_noise():
    base, head = two_runs(1.15)
    shaky = record("time_softmax_vjp", backend=NUMPY, samples=samples(1.3, 0.01, 7))
    calm = record("time_softmax_vjp", backend=NUMPY, samples=samples(1.0, 0.01, 8))
    verdict = compare.judge(run(*base.records, calm), run(*head.records, shaky), ROUNDS)
    assert verdict.noise > 0.2
    assert not verdict.regressions


def test_comparing_needs_all_rounds():
    base, head = two_runs(1.5)
    assert not compare.judge(base, head, ROUNDS + 1).changes
    assert "FAILED: nothing was measured" in compare.judge(base, head, ROUNDS + 1).text()


def test_what_is_compared_exists():
    names = [
        f"{name}({', '.join(combination)})" for name, params in found() for combination in itertools.product(*params)
    ]
    for pattern in compare.SELECTION:
        assert any(re.search(pattern, name) for name in names), pattern


def test_results_are_read_as_asv_writes_them(tmp_path):
    from asv.results import Results
    from asv.runner import BenchmarkResult

    params = {"machine": "m", "cpu": "c"}
    written = Results(params, {"torch": "2.13.0"}, "a" * 40, 1000, "3.11", "env", {})
    benchmark = {
        "name": "suite.softmax.time_softmax",
        "version": "1",
        "params": [["'64x10'"], ["'float32'"], ["'softmax_cy'", "'numpy'", "'torch'"]],
    }
    measured = BenchmarkResult([True, float("nan"), None], [[1.0, 2.0, 3.0], None, None], [7, None, None], 0, "", None)
    written.add_result(benchmark, measured, record_samples=True)
    written.save(str(tmp_path))
    names = {benchmark["name"]: {"param_names": ["shape", "dtype", "backend"]}, "version": 2}
    (tmp_path / "benchmarks.json").write_text(json.dumps(names))

    (read,) = results.load(tmp_path)
    assert read.commit == "a" * 40
    ours, skipped = read.records
    assert ours.params == {"shape": "64x10", "dtype": "float32", "backend": "softmax_cy"}
    assert (ours.value, ours.number, ours.samples) == (2.0, 7, (1.0, 2.0, 3.0))
    assert ours.low <= 2 <= ours.high
    assert not skipped.measured


def test_every_module_imports_where_asv_imports_it():
    """With what asv.conf.json installs, without what the tests and tools need, and with the build of an old commit."""
    pytest.importorskip("torch", reason="torch is not installed")
    lacking = ("Cython", "asv", "hypothesis", "jax", "matplotlib", "ml_dtypes", "numba", "onnx", "onnxruntime", "rich")
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "benchmarks").rglob("*.py")
        if path.stem != "__main__" and path.parent.name != "chunks"  # a folder, no package: asv does not look there
    )
    script = "import sys, types\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in lacking)
    script += "build = sys.modules['softmax_cy'] = types.ModuleType('softmax_cy')\n"
    script += "build._dispatch = None\n"  # every build has it
    script += "".join(f"import {name.removesuffix('.__init__')}\n" for name in modules)
    script += "from benchmarks import bench\nprint(*(name for name, _ in bench.benchmarks()))\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [name for name, _ in found()]
