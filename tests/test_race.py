"""The benchmark instrument: every case is well-formed, and a wrong answer has no speed."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

from benchmarks import race, reference, report, standings
from benchmarks.buffers import PAGE, PLACES, Buffers
from benchmarks.cases import CASES, GROUPS, Case, Group, every, inputs, mean, within
from benchmarks.peers import Cannot, Limit, NumPy, PlainCython, Run, SoftmaxCy
from benchmarks.screen import PlainScreen
from benchmarks.timing import Outcome

pytestmark = pytest.mark.usefixtures("torch_as_before")

SMALL = [case for case in CASES if math.prod(case.result_shape) <= 100_000]
QUICK = ["--rounds", "1", "--seconds", "0", "--select", "softmax-f32-64x10"]


class Wrong(SoftmaxCy):
    """Fast, and off by one thousandth."""

    name = "wrong"

    def prepare(self, case, buffers):
        """As it should be, then spoilt."""
        run = super().prepare(case, buffers)
        return Run(run.call, lambda value: tuple(array * 1.001 for array in run.read(value)))


class Silent(SoftmaxCy):
    """Faster still: writes nothing."""

    name = "silent"

    def prepare(self, case, buffers):
        """Nothing to prepare."""
        return Run(lambda: None, lambda _: (buffers.out,))


@pytest.fixture(autouse=True)
def plain_screen(monkeypatch):
    """The same output whether rich is installed or not."""
    monkeypatch.setattr(race, "screen", lambda total: PlainScreen())


def test_names_are_unique_and_readable():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert "softmax-f32-32x1000" in names
    assert "softmax-f32-128x1024-axis0" in names
    assert "softmax-f32-256x4096-2-threads" in names


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)
def test_targets_speak_of_cases_that_exist(group):
    shapes = {case.shape for case in group.cases}
    assert len({case.limit for case in group.cases}) == 1
    assert len({case.unit for case in group.cases}) == 1
    for target in group.targets:
        assert set(target.shapes) <= shapes
        assert target.against != "limit" or group.limit
        assert target.against == "limit" or not target.at_most


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_cases_are_computed_right(case):
    right = reference.expected(case, inputs(case))
    for peer in (SoftmaxCy(), NumPy()):
        if case.dtype in peer.dtypes and (case.threads == 1 or peer.name != "numpy"):
            buffers = Buffers(case, PLACES[-1])
            run = peer.prepare(case, buffers)
            assert reference.fault(case, run.read(run.call()), right) == ""
    if case.limit:
        Limit().prepare(case, Buffers(case, PLACES[-1])).call()


def test_buffers_lie_where_they_should():
    for place in PLACES:
        buffers = Buffers(Case("softmax_vjp", (3, 5)), place)
        assert tuple(array.ctypes.data % PAGE for array in (*buffers.inputs, buffers.out)) == place
        assert np.isnan(buffers.out).all()


def test_inputs_are_made_once_and_kept():
    case = Case("softmax", (3, 5))
    assert inputs(case) is inputs(case)
    with pytest.raises(ValueError, match="read-only"):
        inputs(case)[0][0] = 0


def test_a_race(tmp_path, capsys):
    files = tmp_path / "race.json", tmp_path / "race.md"
    options = [*QUICK, "--targets", "--json", str(files[0]), "--markdown", str(files[1])]
    assert race.main(options, [SoftmaxCy(), NumPy(), Limit()]) == 0
    text = capsys.readouterr().out
    assert "softmax-f32-64x10" in text
    assert re.search(r"not measured: >= [\d.]+x the speed of torch in every case", text)

    written = json.loads(files[0].read_text())
    (case,) = written["groups"][0]["cases"]
    assert set(case["peers"]) == {"softmax_cy", "numpy", "limit"}
    assert case["peers"]["softmax_cy"]["ratio"] == 1
    assert len(case["peers"]["numpy"]["rounds"]) == len(PLACES)
    assert written["machine"]["compiler"]
    assert "| softmax-f32-64x10 |" in files[1].read_text()
    assert "- compiler: " in files[1].read_text()


@pytest.mark.parametrize("peer", [Wrong(), Silent()], ids=lambda peer: peer.name)
def test_a_wrong_answer_fails_the_race(peer, capsys):
    assert race.main(QUICK, [SoftmaxCy(), peer]) == 1
    assert f"WRONG: softmax-f32-64x10: {peer.name}: off by" in capsys.readouterr().out


def test_our_own_wrong_answer_fails_the_race(capsys):
    ours = Wrong()
    ours.name = "softmax_cy"
    assert race.main([*QUICK, "--targets"], [ours, NumPy()]) == 1
    assert "WRONG: softmax-f32-64x10: softmax_cy" in capsys.readouterr().out


def test_noise(capsys):
    assert race.main([*QUICK, "--noise"]) == 0
    assert "softmax_cy against itself" in capsys.readouterr().out


def test_a_build_without_the_function_leaves_the_case_out(monkeypatch, capsys):
    monkeypatch.delattr(race.softmax_cy, "softmax")
    assert race.main(QUICK, [NumPy()]) == 0
    assert "left out: softmax-f32-64x10: this build has no softmax" in capsys.readouterr().out


def test_list(capsys):
    assert race.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if line.startswith(" ")] == [case.name for case in CASES]


def test_select(capsys):
    assert race.main(["--list", "--select", "axis 0", "--select", "*-2-threads"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "softmax, axis 0" in lines
    assert sum(line.endswith("-2-threads") for line in lines) == 4
    assert race.main(["--list", "--select", "softmax-f32-64x10"]) == 0
    assert capsys.readouterr().out == "softmax, float32, in cache\n  softmax-f32-64x10\n"
    with pytest.raises(SystemExit):
        race.main(["--list", "--select", "nothing like it"])
    assert "no case is named like nothing like it" in capsys.readouterr().err


def timed(shape, **seconds):
    """An outcome with these times in the first of two rounds, and twice as long ones in the second."""
    outcome = Outcome(Case("softmax", shape))
    for name, value in seconds.items():
        outcome.add(name, (value, value))
        outcome.add(name, (2 * value, 2 * value))
    return outcome


def test_standings():
    outcomes = [
        timed((1, 2), softmax_cy=1.0, torch=2.0, numpy=3.0, limit=0.5),
        timed((3, 4), softmax_cy=1.0, torch=8.0, numpy=4.0, limit=0.8),
    ]
    assert [standings.ratio(outcome, "torch") for outcome in outcomes] == [2, 8]
    assert [standings.best_peer(outcome) for outcome in outcomes] == ["torch", "numpy"]
    assert standings.geometric_mean(outcomes, "torch") == pytest.approx(4)
    assert standings.geometric_mean(outcomes, "scipy") is None

    targets = mean("torch", 4.5), every("best", 2), within(1.5), within(1.5, (3, 4)), mean("scipy", 1)
    group = Group("a group", tuple(outcome.case for outcome in outcomes), targets)
    verdicts = standings.verdicts(group, outcomes, "v4")
    assert [verdict.met for verdict in verdicts] == [False, True, False, True, None]
    assert [verdict.value for verdict in verdicts[1:4]] == pytest.approx([2, 2, 1.25])
    assert report.verdict_text(verdicts[3]) == "met: <= 1.5x the time of np.copyto for 3x4: 1.25 (softmax-f32-3x4)"


def test_plain_loops_are_no_competitor():
    """They are shown, and may be aimed at by name, but are not the best peer even where they are the fastest."""
    outcome = timed((1, 2), **{"softmax_cy": 2.0, "torch": 8.0, "numpy": 6.0, "plain Cython": 4.0, "limit": 1.0})
    assert standings.best_peer(outcome) == "numpy"
    assert standings.ratio(outcome, "best") == 3
    assert standings.ratio(outcome, "plain Cython") == 2
    assert standings.best_peer(timed((1, 2), **{"softmax_cy": 2.0, "plain Cython": 4.0})) is None

    group = Group("a group", (outcome.case,), (every("best", 2.5), every("plain Cython", 2.5)))
    assert [verdict.met for verdict in standings.verdicts(group, [outcome], "v4")] == [True, False]
    table = report.group_table(group, [outcome], [])
    assert "plain Cython" in table.headers
    assert table.rows[0][table.headers.index("best / ours")] == "3.00 (numpy)"


def test_plain_loops_take_part(capsys):
    assert "plain Cython" in race.arguments([]).peers
    options = [*QUICK, "--peers", "plain Cython", "limit"]
    assert race.main(options) == 0
    assert "plain Cython" in capsys.readouterr().out


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_plain_loops_compute_their_cases_right(case):
    buffers = Buffers(case, PLACES[-1])
    simple = case == Case(case.operation, case.shape, case.dtype) and len(case.shape) == 2
    if case.operation in ("softmax", "softmax_jacobian") and case.dtype in ("float32", "float64") and simple:
        run = PlainCython().prepare(case, buffers)
        assert reference.fault(case, run.read(run.call()), reference.expected(case, inputs(case))) == ""
    else:
        with pytest.raises(Cannot):
            PlainCython().prepare(case, buffers)


def test_percentiles():
    assert [report.percentile([3, 1, 2, 4], p) for p in (1, 50, 51, 95, 100)] == [1, 2, 3, 4, 4]
