"""The pages for users say what is true: their examples run, and so does every claim in their tables.

A row of a table whose first two cells are one piece of code each claims that both give the same numbers. Elsewhere in a
table a claim reads `code` is `value`, `code` raises `error` or `code` warns `warning`.
"""

import doctest
import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from modules import import_from

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if not DOCS.is_dir():
    pytest.skip("the documents are not part of this copy", allow_module_level=True)

WITH_EXAMPLES = ("getting_started.md", "how/exponential.md", "how/sums.md", "how/walks.md", "how/threads.md")
COMPARISONS = ("coming_from_torch.md", "coming_from_scipy.md")
WITH_JAX = "coming_from_jax.md"

CODE = re.compile(r"`([^`]+)`")
CLAIM = re.compile(r"`([^`]+)` (is|raises|warns) `([^`]+)`")


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples_run(page):
    failed, run = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert run > 0
    assert failed == 0


def read_claims(text):
    """The claims of the tables of a page: code, what is said of it, and what else is named."""
    claims = []
    for line in re.findall(r"^\|(.*)\|$", text, flags=re.MULTILINE):
        cells = [cell.strip() for cell in line.split(" | ")]
        codes = [CODE.fullmatch(cell) for cell in cells]
        if len(cells) == 2 and all(codes):
            claims.append((codes[0][1], "equals", codes[1][1]))
        else:
            claims += CLAIM.findall(line)
    return claims


def read_names(text):
    """The names that a page defines for its tables."""
    names = {}
    exec(re.search(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)[1], names)
    return names


def to_array(result):
    """A result of any library as an array."""
    return np.asarray(result.detach() if hasattr(result, "detach") else result)


def is_ours(code, names):
    """Whether the code begins with a function of softmax_cy."""
    return (getattr(names.get(code.partition("(")[0]), "__module__", None) or "").startswith("softmax_cy")


def check(claim, names):
    """Fail if a claim is not true."""
    code, verb, other = claim
    if verb in ("raises", "warns"):
        expected = eval(other, names)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(expected) as caught:
                eval(code, names)
        # Some errors are of a private class, below the one that is promised.
        assert next(kind for kind in caught.type.__mro__ if "._" not in kind.__module__) is expected
        return
    with warnings.catch_warnings():
        if not is_ours(code, names):
            warnings.simplefilter("ignore")
        result = eval(code, names)
    expected = eval(other, names)
    if code.endswith(".dtype"):
        assert result == expected
        return
    result, expected = to_array(result), to_array(expected)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5 if verb == "equals" else 2e-4, atol=0)


def false_claims(page):
    """The claims of a page that are not true, each with what is wrong."""
    text = (DOCS / page).read_text()
    names = read_names(text)
    for claim in read_claims(text):
        try:
            check(claim, names)
        except (Exception, pytest.fail.Exception) as error:
            yield f"{claim}: {type(error).__name__}: {error}"


@pytest.mark.parametrize("page", COMPARISONS)
def test_claims_are_true(page):
    assert list(false_claims(page)) == []


def test_claims_about_jax_are_true():
    """In a process of its own: JAX warns of every fork after it."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed: it is no requirement of the tests")
    done = subprocess.run(
        [sys.executable, __file__, WITH_JAX], check=False, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("page", [*COMPARISONS, WITH_JAX])
def test_every_row_claims_something(page):
    rows = re.findall(r"^\|(?!---).*`.*\|$", (DOCS / page).read_text(), flags=re.MULTILINE)
    assert len(rows) >= 20
    assert [row for row in rows if not read_claims(row)] == []


@pytest.mark.parametrize(
    "claim",
    [
        ("np.ones(2)", "is", "[1, 1.001]"),
        ("np.ones(2)", "is", "1"),
        ("np.zeros(1)", "equals", "np.float64([1e-300])"),
        ("np.float32([1]).dtype", "is", "np.float64"),
        ("int('x')", "raises", "Exception"),
    ],
)
def test_a_false_claim_is_found(claim):
    with pytest.raises(AssertionError):
        check(claim, {"np": np})


def test_what_raises_nothing_is_found():
    with pytest.raises(pytest.fail.Exception):
        check(("1", "raises", "ValueError"), {})


# The pictures of the pages about how it works, and the figures in them.


@pytest.fixture(scope="module")
def pictures():
    """The script that draws them."""
    return import_from(DOCS / "how/pictures", "draw")


def test_all_pictures_are_drawn_and_shown(pictures, tmp_path):
    pictures.main([str(tmp_path)])
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = {name for page in DOCS.glob("how/*.md") for name in re.findall(r"\]\(pictures/(\S+)\)", page.read_text())}
    assert drawn == shown
    assert drawn == {path.name for path in (DOCS / "how/pictures").glob("*.png")}


def test_the_powers_lie_a_little_beside_whole_steps(pictures):
    exact = 2 ** ((np.arange(8) + pictures.read_theta()) / 8)
    np.testing.assert_allclose(pictures.read_powers(), exact, rtol=0.048 * 2**-24, atol=0)


def test_the_polynomial_is_as_good_as_the_page_says(pictures):
    r = np.linspace(-np.log(2) / 16, np.log(2) / 16, 1001)
    target = np.exp(r - pictures.read_theta() * np.log(2) / 8)
    error = np.abs(1 + pictures.evaluate_polynomial(r) - target) / target * 2**24
    assert 0.03 < error.max() < 0.04


def test_the_errors_in_the_picture_keep_the_promise(pictures):
    errors = pictures.measure_errors(-np.linspace(0, 86, 20_000))
    assert errors["softmax_cy"].max() < 2
    assert errors["exp(x - max) / sum"].max() > 20


if __name__ == "__main__":
    print(*false_claims(sys.argv[1]), sep="\n", end="")
