"""The race of threads on a busy machine: `python -m benchmarks.busy`."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

from benchmarks import busy
from benchmarks.screen import PlainScreen


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few settings, of which children learn by what they are asked."""
    monkeypatch.setattr(busy, "LOADS", {"idle": None, "busy, nice 19": 19})
    monkeypatch.setattr(busy, "SHAPES", ((64, 100),))
    monkeypatch.setattr(busy, "screen", lambda total: PlainScreen())
    monkeypatch.chdir(ROOT)


def test_a_table_for_each_setting(tmp_path):
    page = tmp_path / "busy.md"
    page.write_text("By hand.\n")
    assert busy.main(["--peers", "softmax_cy", "--calls", "5", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("By hand.\n")
    for title in (
        "idle, 10 ms apart",
        "idle, back to back",
        "busy, nice 19, 10 ms apart",
        "busy, nice 19, back to back",
    ):
        assert f"## {title}: softmax of 64x100, float32" in text
    assert text.count("| softmax_cy | 1 |") == text.count("| softmax_cy, forked | 2 |") == 4


def times_of(one, two, forked):
    """As measured, in ms, the same for every setting."""
    found = {("softmax_cy", 1): [one] * 10, ("softmax_cy", 2): [two] * 10, (busy.FORKED, 2): [forked] * 10}
    return dict.fromkeys(busy.settings(), found)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((1.0, 0.5, 0.5), ["met", "met", "met", "met", "met"]),
        ((1.0, 1.05, 1.3), ["MISSED", "MISSED", "MISSED", "met", "met"]),
        ((1.0, 3.0, 3.0), ["MISSED", "MISSED", "met", "MISSED", "MISSED"]),
    ],
    ids=["all", "no help", "harm"],
)
def test_targets(times, words):
    assert [line.partition(":")[0] for line in busy.verdicts(times_of(*times))] == words
