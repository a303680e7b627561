"""The dashboard: what it is made from, and what a browser without a network makes of it."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

import softmax_cy

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

asv_results = pytest.importorskip("asv.results", reason="asv is not installed")
asv_runner = pytest.importorskip("asv.runner", reason="asv is not installed")
pytest.importorskip("plotly", reason="plotly is not installed")

from benchmarks import bench, charts, dashboard, results

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
COMMITS = {"a" * 40: 1.0, "b" * 40: 0.5, "c" * 40: 0.25}  # softmax_cy takes so much of its first time

TIMES = {
    "suite.softmax.time_softmax": {
        ("64x10", "float32"): {"softmax_cy": 4e-6, "numpy": 8e-6, "torch": 2e-6},
        ("64x10", "float64"): {"softmax_cy": 4e-6, "numpy": 12e-6, "torch": None},
        ("32x1000", "float32"): {"softmax_cy": 16e-6, "numpy": 64e-6, "torch": 32e-6},
        ("32x1000", "float64"): {"softmax_cy": 16e-6, "numpy": 64e-6, "torch": 4e-6},
    },
    "suite.softmax_vjp.time_softmax_vjp": {
        ("64x100", "float32"): {"softmax_cy": 4e-6, "numpy": 4e-6, "torch": 0.5e-6},
    },
}
DIGITS = {"softmax_cy": 1.4, "numpy": 64.0, "torch": 66.0}


def write(folder):
    """Three commits' results, as asv writes them."""
    for date, (commit, factor) in enumerate(COMMITS.items()):
        params = {"machine": "m", "cpu": "a CPU"}
        written = asv_results.Results(params, {"torch": "2.13.0"}, commit, 86_400_000 * date, "3.11", "env", {})
        for name, cases in TIMES.items():
            shapes, dtypes = (list(dict.fromkeys(values)) for values in zip(*cases, strict=True))
            backends = ["softmax_cy", "numpy", "torch"]
            times = [cases[shape, dtype][backend] for shape in shapes for dtype in dtypes for backend in backends]
            add(written, name, [shapes, dtypes, backends], times, factor)
        errors = asv_runner.BenchmarkResult(list(DIGITS.values()), [None] * 3, [None] * 3, 0, "", None)
        written.add_result(entry("suite.softmax.track_max_ulp", [["float32"], list(DIGITS)]), errors)
        noise = asv_runner.BenchmarkResult([0.03], [None], [None], 0, "", None)
        written.add_result(entry("suite.control.track_difference_from_itself", [["64x10"], ["float32"]]), noise)
        add(written, "suite.control.time_numpy_exp", [["cache"]], [1e-5], 1)
        written.save(str(folder))
    names = {
        **{name: {"param_names": ["shape", "dtype", "backend"]} for name in TIMES},
        "suite.softmax.track_max_ulp": {"param_names": ["dtype", "backend"]},
        "suite.control.track_difference_from_itself": {"param_names": ["shape", "dtype"]},
        "suite.control.time_numpy_exp": {"param_names": ["where"]},
        "suite.environment.track_cpus": {"param_names": [], "description": {"compiler": "gcc </script> 12"}},
        "version": 2,
    }
    (folder / "benchmarks.json").write_text(json.dumps(names))
    return folder


def entry(name, params):
    """A benchmark as asv describes it."""
    return {"name": name, "version": "1", "params": [[repr(value) for value in values] for values in params]}


def add(written, name, params, times, factor):
    """Three samples around each time."""
    if len(params) == 3:
        factors = [
            factor if backend == "softmax_cy" else 1 for _ in params[0] for _ in params[1] for backend in params[2]
        ]
    else:
        factors = [factor] * len(times)
    values = [None if t is None else t * f for t, f in zip(times, factors, strict=True)]
    samples = [None if t is None else [0.9 * t, t, 1.1 * t] for t in values]
    numbers = [None if t is None else 10 for t in values]
    ran = [float("nan") if t is None else True for t in values]
    written.add_result(entry(name, params), asv_runner.BenchmarkResult(ran, samples, numbers, 0, "", None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    """The path of the page."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert dashboard.main(["--results", str(folder), "--output", str(path)]) == 0
    return path


def content(folder):
    return dashboard.content(results.load(folder), {"a" * 40: "The first"}, dashboard.description(folder))


def test_rows_hold_the_latest_ratios(folder):
    data = content(folder)
    rows = {row["name"]: row for row in data["rows"]}
    assert len(rows) == 5
    ratios = {peer: values[0] for peer, values in rows["softmax(64x10, float32)"]["ratios"].items()}
    assert ratios == pytest.approx({"numpy": 8, "torch": 2})
    assert set(rows["softmax(64x10, float64)"]["ratios"]) == {"numpy"}
    assert rows["softmax(64x10, float32)"]["commit"] == "c" * 40


def test_history_goes_over_the_commits_with_an_interval(folder):
    data = content(folder)
    (row,) = (row for row in data["rows"] if row["name"] == "softmax_vjp(64x100, float32)")
    assert [point[0] for point in row["history"]["torch"]] == pytest.approx([0.125, 0.25, 0.5])
    assert all(low < value < high for value, low, high in row["history"]["numpy"])
    assert [commit["hash"] for commit in data["commits"]] == ["a" * 8, "b" * 8, "c" * 8]
    assert data["commits"][0]["subject"] == "The first"


def test_digits_noise_drift_and_machine_are_there(folder):
    data = content(folder)
    assert data["digits"] == {"softmax float32": DIGITS}
    assert data["noise"] == 0.03
    (drift,) = data["drift"]
    assert drift[0] == "numpy_exp(cache)"
    assert drift[1] == pytest.approx([1, 1, 1])
    assert data["machine"]["compiler"] == "gcc </script> 12"
    assert data["machine"]["environment"] == "torch 2.13.0"


def test_results_of_another_environment_are_left_out(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    written = json.loads(next((tmp_path / "m").glob("aaaaaaaa*.json")).read_text())
    written["env_name"] = "other"
    (tmp_path / "m" / "aaaaaaaa-other.json").write_text(json.dumps(written))
    assert len(content(tmp_path)["commits"]) == 3


def test_the_page_asks_for_nothing_else(page):
    text = page.read_text()
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", markup)
    assert "<script src" not in text
    assert page.stat().st_size < 6e6


def test_without_results_there_is_no_page(tmp_path, capsys):
    output = tmp_path / "report.html"
    assert dashboard.main(["--results", str(tmp_path), "--output", str(output)]) == 1
    assert "nothing to show" in capsys.readouterr().out
    assert not output.exists()


def test_the_page_shows_what_was_measured_last(tmp_path, monkeypatch, capsys):
    folders = {"quick": tmp_path / "quick" / "results", "full": tmp_path / "full"}
    monkeypatch.setattr(results, "QUICK", folders["quick"].parent)
    monkeypatch.setattr(results, "FULL", folders["full"])
    output = tmp_path / "report.html"
    for now, kind in enumerate(("quick", "full", "quick"), 1):
        write(folders[kind])
        for path in folders[kind].rglob("*.json"):
            os.utime(path, (now, now))
        assert dashboard.main(["--output", str(output)]) == 0
        assert shown(output)["quick"] == (kind == "quick")
        assert len(shown(output)["rows"]) == 5
        assert ("of a quick run" in capsys.readouterr().out) == (kind == "quick")


def shown(page):
    """What the page holds."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())[1])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asv needs the repository")
def test_the_page_shows_the_quick_run(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    # asv would take the installed build.
    monkeypatch.setenv("ASV_PYTHONPATH", str(Path(softmax_cy.__file__).parents[1]))
    monkeypatch.setenv("HOME", str(tmp_path))  # where asv keeps what it knows of the machine
    monkeypatch.setattr(results, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(results, "FULL", tmp_path / "full")
    monkeypatch.setattr(bench, "quick_selection", lambda _: [r"softmax\.time_softmax_small_call\('10', 'float32', "])
    bench.quick()  # fails, because this is not all of the suite
    output = tmp_path / "report.html"
    assert dashboard.main(["--output", str(output)]) == 0
    assert shown(output)["quick"]
    (row,) = shown(output)["rows"]
    assert row["name"] == "softmax_small_call(10, float32)"
    assert {"numpy", "torch"} <= row["ratios"].keys()


@pytest.fixture(scope="module")
def browser():
    """Chromium, if this machine has one."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine: apt install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, page):
    """The page, opened from its file with the network off; fails if anything is written to the console."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    tab = context.new_page()
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("requestfailed", lambda request: said.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector("#history .main-svg")
    yield tab
    context.close()
    assert said == []


def test_cells(opened):
    assert opened.locator("#grid tbody tr").count() == 5
    assert opened.locator("#grid td.cell").count() == 9
    assert opened.locator("#grid button.win").count() == 7
    assert opened.locator("#grid button.even").count() == 1
    assert opened.locator("#grid button.loss").count() == 1
    cell = opened.locator("button[data-case='softmax(64x10, float32)'][data-peer=numpy]")
    assert cell.inner_text() == "▲ 8.00"
    assert opened.locator("button.loss").inner_text() == "▼ 0.50"
    colours = opened.eval_on_selector_all("#grid td.cell button", "all => all.map(b => b.style.background)")
    assert all(colours)
    assert opened.locator("#standing").inner_text() == "Of 5 cases 1 are lost to some peer."


def test_means_follow_the_filters(opened):
    means = opened.locator("#grid tfoot td")
    assert means.nth(2).inner_text() == "9.97"  # numpy: 8, 12, 16, 16 and 4
    opened.select_option("#operation", "softmax_vjp")
    assert opened.locator("#count").inner_text() == "1 of 5 cases"
    assert means.nth(2).inner_text() == "4.00"
    assert means.nth(1).inner_text() == "0.50"


def test_filters(opened):
    count = opened.locator("#grid tbody tr").count
    opened.select_option("#dtype", "float64")
    assert count() == 2
    opened.fill("#search", "32X1000")
    assert count() == 1
    opened.fill("#search", "")
    opened.select_option("#dtype", "")
    opened.check("#losses")
    assert count() == 1
    assert opened.locator("#grid tbody th").inner_text() == "softmax_vjp(64x100, float32)"
    opened.fill("#search", "no such case")
    assert count() == 0


@pytest.mark.parametrize("quick", [False, True])
def test_a_quick_run_is_marked(opened, folder, tmp_path, quick):
    path = tmp_path / "report.html"
    path.write_text(dashboard.page(dashboard.content(results.load(folder), {}, {}, quick=quick)))
    opened.goto(path.as_uri())
    assert opened.locator("#quick").is_visible() == quick
    assert ("quick run" in opened.title()) == quick


def test_keys(opened):
    opened.focus("button[data-case='softmax(64x10, float32)'][data-peer=torch]")
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.dataset.peer") == "numpy"
    opened.keyboard.press("ArrowDown")
    assert opened.evaluate("document.activeElement.dataset.case") == "softmax(64x10, float64)"
    opened.keyboard.press("Enter")
    assert opened.locator("#history-title").inner_text() == "History: softmax(64x10, float64)"
    assert opened.evaluate("document.activeElement.id") == "history-title"


def test_every_control_has_a_name(opened):
    for selector in ("#operation", "#dtype", "#search", "#losses"):
        assert opened.eval_on_selector(selector, "element => element.labels[0].textContent.trim()")
    assert all(opened.eval_on_selector_all("#grid button", "all => all.map(b => b.getAttribute('aria-label'))"))


def test_digits_are_beside_the_speed(opened):
    row = opened.locator("#grid tbody tr").first
    assert [row.locator("td").nth(i).inner_text() for i in (3, 4, 5)] == ["1.40", "66.00", "64.00"]


def test_history_has_every_commit(opened):
    points = opened.evaluate("document.getElementById('history').data.map(trace => trace.x.length)")
    assert points == [3, 3]
    assert opened.evaluate("document.getElementById('history').data[0].error_y.array.every(x => x > 0)")


def test_what_is_text_stays_text(opened):
    assert "gcc </script> 12" in opened.locator("#machine").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_mode(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    back, fore = opened.evaluate(
        "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert (sum(back) < sum(fore)) == (scheme == "dark")
    opened.wait_for_function(
        "colour => document.getElementById('history').layout.font.color === colour",
        arg={"light": "#1d2330", "dark": "#e6e9ef"}[scheme],
    )


def test_a_phone_scrolls_tables_not_the_page(opened):
    opened.set_viewport_size({"width": 360, "height": 700})
    opened.wait_for_function("document.documentElement.scrollWidth <= 360")
    assert opened.eval_on_selector("#grid tbody th", "cell => cell.offsetWidth") >= 100


def test_charts(folder, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.setattr(charts, "ROWS", ("softmax", "not measured"))
    readme, page = tmp_path / "README.md", tmp_path / "asv.md"
    for path in (readme, page):
        path.write_text(f"before\n{charts.BEGIN}\nold\n{charts.END}\nafter\n")
    options = ["--results", str(folder), "--output", str(tmp_path), "--page", str(page), "--readme", str(readme)]
    assert charts.main(options) == 0
    assert all((tmp_path / f"{name}.png").stat().st_size < 100_000 for name in charts.DRAWINGS)
    for text in (readme.read_text(), page.read_text()):
        assert "old" not in text
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        assert "| softmax | 4 | 2.52 (1.00) | 12.52 (8.00) |" in text
    assert "| softmax_vjp |" in page.read_text()
    assert "| softmax_vjp |" not in readme.read_text()


@pytest.mark.parametrize("path", [charts.README, charts.PAGE], ids=lambda path: path.name)
def test_pages_have_room_for_the_tables(path):
    assert charts.renewed(path.read_text(), "new")


def test_a_page_without_marks_is_an_error():
    with pytest.raises(ValueError, match="no <!-- results"):
        charts.renewed("no marks", "new")
