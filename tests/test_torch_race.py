"""The race beside torch: all compute the same, a wrong answer has no speed, and targets are judged on whole groups."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

from benchmarks import reference, torch_race
from benchmarks.screen import PlainScreen
from benchmarks.timing import Outcome
from benchmarks.torch_race import EAGER, GROUPS, OURS, Case

import softmax_cy.torch
from softmax_cy.torch import _routes

pytestmark = pytest.mark.usefixtures("torch_as_before")

CASES = [case for group in GROUPS for case in group.cases]
QUICK = ["--rounds", "1", "--seconds", "0", "--eager"]


@pytest.fixture(autouse=True)
def plain_screen(monkeypatch):
    """The same output whether rich is installed or not."""
    monkeypatch.setattr(torch_race, "screen", lambda total: PlainScreen())


def test_names_are_unique_and_readable():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) == 28
    assert {"logsumexp-32x1000", "cross_entropy-backward-1x10"} <= set(names)


def test_targets_speak_of_cases_that_exist():
    targets = [(group, target) for group in GROUPS for target in group.targets]
    assert len(targets) == 4
    for group, target in targets:
        assert set(target.shapes) <= {case.shape for case in group.cases}


@pytest.mark.parametrize("case", [case for case in CASES if case.shape == (32, 1000)], ids=lambda case: case.name)
def test_the_gradient_begins_anew_in_each_call(case):
    inputs, grad = torch_race.make_inputs(case)
    right = torch_race.compute_right(case, inputs, grad)
    assert len(right) == 1 + case.backward
    call = torch_race.make_call(case, torch_race.make_function(torch_race.TORCH, case.function), inputs, grad)
    for _ in range(2):
        assert reference.fault(case, torch_race.as_arrays(call()), right) == ""


def test_a_race(tmp_path, capsys):
    page = tmp_path / "race-torch.md"
    page.write_text(f"What people wrote.\n\n{torch_race.MARK}\n\nAn older table.\n")
    assert torch_race.main([*QUICK, "--select", "logsumexp, forward", "--markdown", str(page)]) == 0
    shown, written = capsys.readouterr().out, page.read_text()
    assert written.startswith("What people wrote.\n")
    assert "An older table" not in written
    for text in (shown, written):
        assert "left out: torch compiled: --eager" in text
        assert re.search(r"\| logsumexp-backward-32x32000 \|( [\d.]+ \|){2} - \| [\d.]+ \| - \|", text)
        assert re.search(r"logsumexp, forward: \w+: >= 3x the speed of torch in every case: [\d.]+ \(logsumexp-", text)


def test_a_part_of_a_group_is_not_judged(capsys):
    assert torch_race.main([*QUICK, "--select", "logsumexp-1x10"]) == 0
    shown = capsys.readouterr().out
    assert "| logsumexp-1x10 |" in shown
    assert "target" not in shown
    with pytest.raises(SystemExit):
        torch_race.main(["--select", "nothing like it"])
    assert "no case is named like nothing like it" in capsys.readouterr().err


@pytest.mark.parametrize(("case", "what"), [("softmax-1x10", "value"), ("softmax-backward-1x10", "gradient")])
def test_a_wrong_answer_fails_the_race(monkeypatch, capsys, case, what):
    ours = softmax_cy.torch.softmax

    def spoil(x, dim):
        y = ours(x, dim)
        # The second has the right value and a wrong slope.
        return y * 1.001 if what == "value" else y * 1.001 - 0.001 * y.detach()

    monkeypatch.setattr(softmax_cy.torch, "softmax", spoil)
    assert torch_race.main([*QUICK, "--select", case]) == 1
    shown = capsys.readouterr().out
    assert f"WRONG: {case}: {OURS}: off by" in shown
    assert re.search(rf"\| {case} \| WRONG \| [\d.]+ \|", shown)


def test_why_there_is_no_torch_compile(monkeypatch, capsys):
    def fail(function):
        raise RuntimeError("no C++ compiler\nand many more lines")

    monkeypatch.setattr(torch_race, "compile_function", fail)
    assert torch_race.why_not_compiled() == "torch.compile: no C++ compiler"
    assert torch_race.main([*QUICK[:-1], "--select", "softmax-1x10"]) == 0
    assert "left out: torch compiled: torch.compile: no C++ compiler" in capsys.readouterr().out


@pytest.mark.parametrize(("native", "text"), [(None, "without"), (object(), "with")])
def test_the_race_says_whether_the_extension_is_there(monkeypatch, native, text):
    monkeypatch.setattr(_routes, "native", native)
    assert torch_race.name_route() == f"{text} its extension in C++"


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.2345e-6, "1.23"), (1.2345e-5, "12.3"), (1.2345e-2, "12345"), (9e-8, "0.0900")]
)
def test_three_digits_of_a_time(seconds, text):
    outcome = Outcome(Case("softmax", (1, 10)))
    outcome.add(EAGER, (seconds, seconds))
    assert torch_race.microseconds(outcome, EAGER) == text
    assert torch_race.microseconds(outcome, OURS) == "-"
