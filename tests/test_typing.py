"""The stubs: both checkers see the types of tests/typing_examples.py, and these are the types of what is returned."""

import os
import subprocess
import sys
import types
import typing
from pathlib import Path

import numpy as np
import pytest
import typing_extensions

import softmax_cy

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "tests/typing_examples.py"


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checkers_see_the_types(checker, tmp_path):
    command = {
        "mypy": ["mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path)],
        "pyright": ["pyright", "--pythonpath", sys.executable],
    }
    process = subprocess.run(
        [sys.executable, "-m", *command[checker], str(EXAMPLES)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(softmax_cy.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def is_of(value, type_) -> bool:
    """Whether a value is of a type as checkers see it."""
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, one) for one in arguments)
    if origin is tuple:
        return all(is_of(one, other) for one, other in zip(value, arguments, strict=True))
    if origin is np.ndarray:
        (of_dtype,) = typing.get_args(arguments[1])
        return type(value) is np.ndarray and of_dtype in (typing.Any, value.dtype.type)
    return type(value) is type_


def test_the_types_are_those_of_what_is_returned(monkeypatch):
    checked = []

    def assert_type(value, type_):
        checked.append(type_)
        assert is_of(value, type_), (type(value), type_)

    monkeypatch.setattr(typing_extensions, "assert_type", assert_type)
    threads = softmax_cy.get_num_threads()
    exec(compile(EXAMPLES.read_text(), EXAMPLES, "exec"), {"__name__": "examples"})
    assert softmax_cy.get_num_threads() == threads
    assert len(checked) > 50


def test_a_wrong_type_is_seen():
    """By the function above."""
    array = np.ones(2, np.float32)
    assert is_of(array, np.typing.NDArray[np.float32])
    assert not is_of(array, np.typing.NDArray[np.float64])
    assert not is_of(array, np.float32)
    assert not is_of(np.float64(1), np.float32)
    assert not is_of((array, array), tuple[np.typing.NDArray[np.float32], np.float32])
