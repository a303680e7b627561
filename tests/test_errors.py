"""What wrong arguments get: the stated exception, a message that names the value, and an untouched `out`."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from operations import FUNCTIONS, as_out, every_function, takes_pair, taking, usual_arguments
from softmax_cy import cross_entropy, softmax_and_jacobian
from softmax_cy._loss import TargetOutOfRange
from wrong_arguments import WRONG, wrong_calls
from wrong_parts import WRONG_CALLS

SOURCE = Path(__file__).parents[1] / "src/softmax_cy"
ROWS = [row for _, rows in WRONG.values() for row in rows]


@pytest.mark.parametrize(
    ("row", "function"),
    [
        pytest.param(row, function, id=f"{function.__name__}-{row.argument}={row.given}")
        for row in ROWS
        for function in row.functions
    ],
)
def test_error(row, function):
    """The exception, all of its message, and nothing written before it."""
    for key, arguments, message, right in wrong_calls(row, function):
        outs = [np.full_like(part, -7) for part in right]
        calls = [arguments]
        if key != "out":
            calls.append({**arguments, "out": (None, *outs[1:]) if takes_pair(function) else outs[0]})
            # Which of two arrays is wrong beside an input of too many axes, nobody promises.
            if row.argument != "input" or row.exception is TypeError:
                calls.append({**arguments, "out": as_out(function, *outs)})
        before = [np.array(part) for part in given_arrays(arguments)]
        for call in calls:
            with pytest.raises(row.exception) as caught:
                function(**call)
            # softmax_cy.torch tells this one by its type. To everybody else it is a ValueError.
            raised = ValueError if type(caught.value) is TargetOutOfRange else type(caught.value)
            assert raised is row.exception
            assert str(caught.value) == message
        assert all((out == -7).all() for out in outs)
        for part, copy in zip(given_arrays(arguments), before, strict=True):
            assert part.tobytes() == copy.tobytes()


def given_arrays(arguments):
    """All numbers that a call could write over."""
    out = arguments.get("out")
    given = [*arguments.values(), *(out if isinstance(out, tuple) else ())]
    return [array for array in given if type(array) is np.ndarray and array.dtype.kind == "f"]


@every_function
def test_arguments_that_a_function_does_not_take(function):
    """A TypeError that names them."""
    options = {option for other in FUNCTIONS for option in OPTIONS if other in taking(option)}
    assert options == OPTIONS
    for option in sorted({option for option in OPTIONS if function not in taking(option)} | {"dim"}):
        with pytest.raises(TypeError, match=option):
            function(**usual_arguments(function.__name__), **{option: None})


OPTIONS = {"scale", "where", "dtype", "keepdims", "weight", "ignore_index", "label_smoothing", "reduction"}


@every_function
def test_options_have_no_places_and_inputs_no_defaults(function):
    arguments = usual_arguments(function.__name__)
    for options in ([-1, 1.0], [-1, None]):
        with pytest.raises(TypeError, match="positional"):
            function(*arguments.values(), *options)
    for missing in arguments:
        with pytest.raises(TypeError, match=function.__name__):
            function(**{key: array for key, array in arguments.items() if key != missing})
    with pytest.raises(TypeError, match=function.__name__):
        function()


def messages_in_the_source():
    """Every message that the face raises, as a pattern."""
    for path in sorted(SOURCE.glob("_*.pyx")):
        text = path.read_text()
        for match in re.finditer(r'raise (?:TypeError|ValueError|[\w.]*AxisError)\(\s*((?:f?"[^"]*"\s*)+)\)', text):
            message = "".join(re.findall(r'f?"([^"]*)"', match[1]))
            yield path.name, re.sub(r"\\\{.*?\\\}", ".*", re.escape(message))


def test_every_message_of_the_source_is_in_the_table():
    stated = [row.message for row in ROWS if row.documented] + [wrong.message for wrong in WRONG_CALLS]
    found = list(messages_in_the_source())
    assert len(found) > 20
    # set_num_threads has its own tests.
    missing = {pattern for _, pattern in found if not any(re.fullmatch(pattern, message) for message in stated)}
    assert not missing


def test_errors_of_long_targets_name_the_first_place():
    """Past every block that is looked at together."""
    x = np.zeros((300, 301, 2))
    target = np.zeros((300, 301), int)
    target[177, 211] = target[200, 3] = -3
    for turned in (target, np.asfortranarray(target), target.astype(np.int8), target.astype(">i4")):
        with pytest.raises(ValueError, match=r"target\[177, 211\] is -3, expected 0 <= target < 2"):
            cross_entropy(x, turned)


def test_the_error_of_a_target_travels():
    """A process of a pool, or a worker of Dask, passes it on by its bytes."""
    with pytest.raises(ValueError, match=r"target\[1\] is 2") as caught:
        cross_entropy(np.zeros((2, 2)), [0, 2])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))


def test_a_wrong_jacobian_leaves_the_logits_alone_that_would_be_written_over():
    x = np.arange(6.0).reshape(2, 3)
    with pytest.raises(ValueError, match="out"):
        softmax_and_jacobian(x, out=(x, np.zeros((3, 3))))
    assert (x == np.arange(6.0).reshape(2, 3)).all()


def test_show_config_of_an_unknown_mode():
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got 'yaml'"):
        softmax_cy.show_config(mode="yaml")
