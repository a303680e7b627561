"""The C interface: every function by its address, from Cython and from numba, and every status."""

import doctest
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from capi_cases import DTYPES, OF_STATES, OPERATIONS, argument_list, call, expected, make_inputs, make_outputs, split
from modules import import_from
from softmax_cy import capi

ROOT = Path(__file__).parents[1]
HEADER = Path(softmax_cy.get_include(), "softmax_cy.h").read_text()
# Those for states of parts are tested in test_capi_states.py.
POINTER_FUNCTIONS = sorted(set(softmax_cy.ctypes_functions) - OF_STATES)
VIEW_FUNCTIONS = sorted(set(capi.__pyx_capi__) - set(softmax_cy.ctypes_functions))
SENTINEL = 77

Status = capi.Status


def environment():
    """In which another interpreter imports what this one does, wherever it is started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def same_bits(results, right):
    """NaN included."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(results, right, strict=True))


# ---- what there is -----------------------------------------------------------------------------------------------


def test_every_operation_is_there_in_both_forms_and_dtypes():
    suffixes = [f"{form}_{dtype}" for form in ("", "_view") for dtype in DTYPES]
    both = {f"{operation}{suffix}" for operation in OPERATIONS for suffix in suffixes}
    assert set(capi.__pyx_capi__) == both | OF_STATES


@pytest.fixture(scope="module")
def signatures():
    """The tool that writes and compares what is promised."""
    return import_from(ROOT / "tools", "capi_signatures")


def test_no_promised_name_or_signature_has_changed(signatures):
    promised = json.loads(signatures.PROMISED.read_text())
    assert signatures.breaches(promised, signatures.promise()) == []
    assert promised == signatures.promise(), "an addition: run tools/capi_signatures.py"


def test_a_change_is_a_breach_and_an_addition_is_none(signatures):
    promised = json.loads(signatures.PROMISED.read_text())
    more = {kind: dict(names) if isinstance(names, dict) else list(names) for kind, names in promised.items()}
    more["functions"]["unknown_f32"] = "int (void)"
    more["members"].append("int (*unknown_f32)(void)")
    assert signatures.breaches(promised, more) == []
    assert len(signatures.breaches(more, promised)) == 2
    more["functions"]["softmax_f32"] = "void (void)"
    more["members"][:2] = more["members"][1::-1]
    assert len(signatures.breaches(promised, more)) == 3


def test_header_and_cython_agree_on_types_and_statuses(signatures):
    types_of = {}
    for member in signatures.members():
        if found := re.fullmatch(r"int \(\*(\w+)\)\((.*)\)", member):
            types = [re.sub(r"(\w+)$", "", parameter).strip() for parameter in found[2].split(", ")]
            types_of[found[1]] = f"int (*)({', '.join(types)})"
    assert types_of == {name: function.signature for name, function in softmax_cy.ctypes_functions.items()}
    for name, declared in signatures.functions().items():
        if name in types_of:
            ours = re.sub(r"(\w+) const \*", r"const \1 *", declared).replace("Py_ssize_t", "ptrdiff_t")
            assert types_of[name] == ours.replace("int (", "int (*)(", 1)
    numbers = re.findall(r"SOFTMAX_CY_(\w+) = (\d+)", HEADER)
    assert {name: int(number) for name, number in numbers} == {status.name: status.value for status in Status}


def test_every_member_status_and_function_of_the_header_is_documented(signatures):
    statuses = re.search(r"enum softmax_cy_status \{(.*?)\n\};", HEADER, re.DOTALL)[1]
    members = [*signatures.table(HEADER).rstrip(";").split(";\n"), *statuses.split(",\n")]
    assert len(members) == len(signatures.members()) + len(Status)
    for member in members:
        assert re.match(r"\s*/\*\*\s", member), member
    for named in re.finditer(r"^(?:#define|enum|typedef|static)\b.*", HEADER, re.MULTILINE):
        before = HEADER[: named.start()].rstrip()
        assert before.endswith("*/") or named[0] == "#define SOFTMAX_CY_H", named[0]


def test_low_level_callable():
    scipy = pytest.importorskip("scipy", reason="LowLevelCallable is SciPy's")
    for name in capi.__pyx_capi__:
        assert scipy.LowLevelCallable.from_cython(capi, name).signature.startswith("int (")


def test_cffi_takes_addresses_and_signatures_as_they_are():
    ffi = pytest.importorskip("cffi").FFI()
    x = np.array([[1.0, 2.0, 3.0]])
    y = np.empty_like(x)
    address, signature = softmax_cy.ctypes_functions["softmax_f64"]
    softmax = ffi.cast(signature, address)
    status = softmax(1, 3, ffi.from_buffer("double[]", x), 3, 1, ffi.from_buffer("double[]", y), 3, 1, 1.0)
    assert status == Status.OK
    assert same_bits([y], [softmax_cy.softmax(x)])


# ---- results -----------------------------------------------------------------------------------------------------


def laid_out(array, layout):
    """A copy of an array in a larger one."""
    if layout == "contiguous":
        return array.copy()
    if layout == "transposed":
        return np.asfortranarray(array)
    if layout == "apart":
        view = np.zeros([2 * n + 1 for n in array.shape], array.dtype)[(slice(1, None, 2),) * array.ndim]
        view[...] = array
        return view
    return array[::-1].copy()[::-1, ...]


LAYOUTS = ["contiguous", "transposed", "apart", "backwards"]


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_pointers_give_the_bits_of_the_face(name, variant, rng):
    for rows, length in ((1, 1), (1, 10), (3, 10), (40, 7), (5, 100), (2, 3000)):
        if "jacobian" in name and length > 100:
            continue
        for layout in LAYOUTS:
            inputs = [laid_out(array, layout) for array in make_inputs(name, rng, rows, length)]
            outputs = [laid_out(array, layout) for array in make_outputs(name, rows, length)]
            scale = 0.125
            assert call(name, inputs, outputs, scale) == Status.OK
            assert same_bits(outputs, expected(name, inputs, scale)), (rows, length, layout)


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_in_place(name, rng):
    operation, _ = split(name)
    for rows, length in ((1, 10), (6, 10)):
        for i in range(sum(kind != "target" for kind in operation.inputs)):
            inputs = make_inputs(name, rng, rows, length)
            right = expected(name, inputs, 1.0)
            outputs = make_outputs(name, rows, length, SENTINEL)
            if operation.in_place:
                outputs[-1] = inputs[i]
                assert call(name, inputs, outputs) == Status.OK
                assert same_bits(outputs, right)
            else:
                outputs[-1] = np.lib.stride_tricks.as_strided(inputs[i], outputs[-1].shape, [0] * outputs[-1].ndim)
                before = inputs[i].tobytes()
                assert call(name, inputs, outputs) == Status.OVERLAP
                assert inputs[i].tobytes() == before


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_one_row_read_again_and_again(name, rng):
    inputs = [np.broadcast_to(array[:1], array.shape) for array in make_inputs(name, rng, 5, 9)]
    outputs = make_outputs(name, 5, 9)
    assert call(name, inputs, outputs) == Status.OK
    assert same_bits(outputs, expected(name, inputs, 1.0))


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_results_beyond_the_caches(name, rng):
    """Written past them, by the same kernels."""
    caches = softmax_cy.show_config(mode="dicts")["last-level cache bytes"]
    length = 500 if "jacobian" in name else 1000
    elements = (caches // split(name)[1].itemsize) // (1 if "jacobian" in name else 2) + 1
    rows = elements // (length * length if "jacobian" in name else length) + 1
    inputs = make_inputs(name, rng, rows, length)
    outputs = make_outputs(name, rows, length)
    assert call(name, inputs, outputs) == Status.OK
    assert same_bits(outputs, expected(name, inputs, 1.0))


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_nothing_to_do(name, rng):
    assert call(name, make_inputs(name, rng, 0, 5), make_outputs(name, 0, 5)) == Status.OK
    function = softmax_cy.ctypes_functions[name].as_ctypes()
    nowhere = [None if hasattr(kind, "contents") else 0 for kind in function.argtypes[2:-1]]
    assert function(0, 5, *nowhere, 1.0) == Status.OK
    if split(name)[0].outputs[0] > 1:  # or there would be a result for an empty row
        assert function(5, 0, *nowhere, 1.0) == Status.OK


def test_rows_of_nothing():
    for suffix, dtype in DTYPES.items():
        x = np.empty((3, 0), dtype)
        out = np.full(3, SENTINEL, dtype)
        assert call(f"logsumexp_{suffix}", [x], [out]) == Status.OK
        assert np.all(out == -np.inf)
        target = np.zeros(3, np.int64)
        assert call(f"cross_entropy_and_grad_{suffix}", [x, target], [out, x.copy()]) == Status.BAD_TARGET
        assert np.all(out == -np.inf)
        logsumexp = softmax_cy.ctypes_functions[f"logsumexp_{suffix}"].as_ctypes()
        here = out.ctypes.data_as(logsumexp.argtypes[5])
        out[:] = SENTINEL
        assert logsumexp(3, 0, None, 0, 1, here, 1, 1.0) == Status.OK
        assert np.all(out == -np.inf)
        assert logsumexp(3, 0, None, 0, 1, None, 1, 1.0) == Status.NULL_POINTER
        assert logsumexp(0, 0, None, 0, 1, None, 1, 0.0) == Status.BAD_SCALE
        entropy = softmax_cy.ctypes_functions[f"cross_entropy_and_grad_{suffix}"].as_ctypes()
        assert entropy(3, 0, None, 0, 1, None, 1, None, 1, None, 0, 1, 1.0) == Status.BAD_TARGET


def test_cross_entropy_without_a_gradient(rng):
    for suffix in DTYPES:
        name = f"cross_entropy_and_grad_{suffix}"
        x, target = make_inputs(name, rng, 4, 10)
        losses = np.empty(4, x.dtype)
        function = softmax_cy.ctypes_functions[name].as_ctypes()
        kinds = function.argtypes
        pointers = [array.ctypes.data_as(kinds[i]) for array, i in ((x, 2), (target, 5), (losses, 7))]
        assert function(4, 10, pointers[0], 10, 1, pointers[1], 1, pointers[2], 1, None, 0, 0, 1.0) == Status.OK
        assert same_bits([losses], [softmax_cy.cross_entropy(x, target, reduction="none")])


def test_the_gradient_of_a_mean_has_the_bits_of_python(rng):
    """1 / rows is given in double, also for logits of float."""
    for suffix, dtype in DTYPES.items():
        for rows in (3, 5, 7, 100):
            x, target = make_inputs(f"cross_entropy_and_grad_{suffix}", rng, rows, 10)
            losses, grad = np.empty(rows, dtype), np.empty_like(x)
            status = call(f"cross_entropy_and_grad_{suffix}", [x, target], [losses, grad], 1 / rows)
            assert status == Status.OK
            assert same_bits([grad], [softmax_cy.cross_entropy_and_grad(x, target)[1]])


def test_members_of_a_struct_beside_each_other(rng):
    """Each row is a record of logits and results."""
    for suffix, dtype in DTYPES.items():
        records = np.zeros((6, 23), dtype)
        x, y, total = records[:, :10], records[:, 11:21], records[:, 22]
        x[:] = rng.standard_normal(x.shape)
        assert call(f"softmax_{suffix}", [x], [y]) == Status.OK
        assert call(f"logsumexp_{suffix}", [x], [total]) == Status.OK
        assert same_bits([y, total], [softmax_cy.softmax(x.copy()), softmax_cy.logsumexp(x.copy())])
        assert np.all(records[:, [10, 21]] == 0)
        # The same as columns of one matrix.
        z = np.asfortranarray(records.T)
        assert call(f"softmax_{suffix}", [z[:10].T], [z[11:21].T]) == Status.OK
        # One element further in the middle, and they overlap.
        assert call(f"softmax_{suffix}", [records[:, :10]], [records[:, 9:19]]) == Status.OVERLAP


# ---- what is refused ---------------------------------------------------------------------------------------------


def refusals(name):
    """What to do to the arguments of a function, and the status for it."""
    operation, dtype = split(name)
    function = softmax_cy.ctypes_functions[name].as_ctypes()
    pointers = [i for i, kind in enumerate(function.argtypes) if hasattr(kind, "contents")]
    last = len(function.argtypes) - 1
    huge = sys.maxsize // 2
    yield {0: -1}, Status.NEGATIVE_SIZE
    yield {1: -1}, Status.NEGATIVE_SIZE
    bad_scales = [np.inf, -np.inf, np.nan] + ([] if "cross" in name else [0.0, -1.0])
    bad_scales += [1e39] if dtype == np.float32 else []
    bad_scales += [1e-60] if dtype == np.float32 and "cross" not in name else []
    for scale in bad_scales:
        yield {last: scale}, Status.BAD_SCALE
    for i in pointers:
        if i != pointers[-1] or "cross" not in name:  # where NULL asks for no gradient
            yield {i: None}, Status.NULL_POINTER
        yield {i + 1: huge}, Status.BAD_STRIDE
        yield {i + 1: -huge - 1}, Status.BAD_STRIDE
    for axis in range(1, 1 + operation.outputs[-1]):
        yield {pointers[-1] + axis: 0}, Status.OVERLAP
    yield {pointers[-len(operation.outputs)] + 1: 0}, Status.OVERLAP


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_what_is_refused_is_refused_before_anything_is_written(name, rng):
    function = softmax_cy.ctypes_functions[name].as_ctypes()
    for rows, length in ((4, 5), (1, 5)):
        for changes, status in refusals(name):
            if rows == 1 and status in (Status.OVERLAP, Status.BAD_STRIDE):
                continue  # with one row its stride does not matter
            inputs = make_inputs(name, rng, rows, length)
            outputs = make_outputs(name, rows, length, SENTINEL)
            arguments = argument_list(inputs, outputs, 1.0, function)
            for i, value in changes.items():
                arguments[i] = value
            assert Status(function(*arguments)) == status, changes
            assert all(np.all(output == SENTINEL) for output in outputs), changes


@pytest.mark.parametrize("suffix", DTYPES)
def test_a_target_out_of_range(suffix, rng):
    name = f"cross_entropy_and_grad_{suffix}"
    for wrong in (-1, 5, 2**62, -(2**63)):
        x, target = make_inputs(name, rng, 4, 5)
        target[3] = wrong
        outputs = make_outputs(name, 4, 5, SENTINEL)
        assert call(name, [x, target], outputs) == Status.BAD_TARGET
        assert all(np.all(output == SENTINEL) for output in outputs)


@pytest.mark.parametrize("suffix", DTYPES)
def test_partial_overlaps(suffix):
    dtype = DTYPES[suffix]
    memory = np.arange(100, dtype=dtype)
    before = memory.copy()
    two = {
        "shifted by a row": (memory[:50].reshape(5, 10), memory[10:60].reshape(5, 10)),
        "one row shifted": (memory[:10].reshape(1, 10), memory[1:11].reshape(1, 10)),
        "one row shifted back": (memory[1:11].reshape(1, 10), memory[:10].reshape(1, 10)),
        "another order": (memory[:25].reshape(5, 5), memory[:25].reshape(5, 5).T),
        "turned round": (memory[:50].reshape(5, 10), memory[:50].reshape(5, 10)[:, ::-1]),
        "one row turned round": (memory[:10].reshape(1, 10), memory[9::-1].reshape(1, 10)),
        "rows over rows": (memory[60:90].reshape(3, 10), np.lib.stride_tricks.sliding_window_view(memory[:12], 10)),
    }
    for what, (x, out) in two.items():
        assert call(f"softmax_{suffix}", [x], [out]) == Status.OVERLAP, what
        assert np.array_equal(memory, before), what
    x = memory[:50].reshape(5, 10)
    assert call(f"logsumexp_{suffix}", [x], [memory[49:54]]) == Status.OVERLAP
    y = np.full((5, 10), 0.1, dtype)
    assert call(f"softmax_vjp_{suffix}", [y, x], [memory[5:55].reshape(5, 10)]) == Status.OVERLAP
    assert call(f"softmax_vjp_{suffix}", [x, y], [memory[5:55].reshape(5, 10)]) == Status.OVERLAP
    matrices = memory.reshape(4, 5, 5)
    assert call(f"softmax_jacobian_{suffix}", [memory[80:100].reshape(4, 5)], [matrices]) == Status.OVERLAP
    shared = np.zeros(100, np.int64)
    target = shared[:5]
    losses = np.full(5, SENTINEL, dtype)
    entropy = f"cross_entropy_and_grad_{suffix}"
    assert call(entropy, [x, target], [shared.view(dtype)[4:9], y.copy()]) == Status.OVERLAP
    assert call(entropy, [x, target], [losses, shared.view(dtype)[4:54].reshape(5, 10)]) == Status.OVERLAP
    assert call(entropy, [x, target], [y[0, :5], y]) == Status.OVERLAP
    assert np.array_equal(memory, before)
    assert not shared.any()


# ---- typed memoryviews -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def view_callers(tmp_path_factory):
    """A Cython module that cimports every function and calls those with typed memoryviews."""
    folder = tmp_path_factory.mktemp("view_callers")
    lines = ["# cython: language_level=3"]
    for name in capi.__pyx_capi__:
        lines.append(f"from softmax_cy.capi cimport {name} as c_{name}")
    for name in VIEW_FUNCTIONS:
        operation, _ = split(name)
        arguments = ", ".join(f"a{i}" for i in range(len(operation.inputs) + len(operation.outputs) + 1))
        lines += [f"def {name}({arguments}):", f"    return c_{name}({arguments})"]
    Path(folder, "view_callers.pyx").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "--quiet", "view_callers.pyx"],
        cwd=folder,
        env={**environment(), "CFLAGS": f"-O0 -w {os.environ.get('CFLAGS', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return import_from(folder, "view_callers")


@pytest.mark.parametrize("name", VIEW_FUNCTIONS)
def test_views_give_the_bits_of_the_face(name, view_callers, rng):
    function = getattr(view_callers, name)
    for layout in LAYOUTS:
        inputs = [laid_out(array, layout) for array in make_inputs(name, rng, 6, 10)]
        outputs = [laid_out(array, layout) for array in make_outputs(name, 6, 10)]
        for array in inputs:
            array.flags.writeable = False
        assert function(*inputs, *outputs, 0.5) == Status.OK
        assert same_bits(outputs, expected(name, inputs, 0.5)), layout


@pytest.mark.parametrize("name", VIEW_FUNCTIONS)
def test_views_of_other_shapes_are_refused(name, view_callers, rng):
    function = getattr(view_callers, name)
    arrays = [*make_inputs(name, rng, 6, 10), *make_outputs(name, 6, 10, SENTINEL)]
    for i, array in enumerate(arrays):
        for shorter in (array[:-1], array[..., :-1]):
            mixed = [*arrays[:i], shorter, *arrays[i + 1 :]]
            if name.startswith("logsumexp") and i == 0 and shorter.shape[0] == 6:
                continue  # any length goes with one result a row
            assert function(*mixed, 1.0) == Status.SHAPE_MISMATCH
    assert all(np.all(array == SENTINEL) for array in arrays[-len(split(name)[0].outputs) :])


def test_views_of_nothing(view_callers):
    x = np.zeros((2, 3))
    assert view_callers.softmax_view_f64(None, None, 1.0) == Status.OK
    assert view_callers.softmax_view_f64(x, None, 1.0) == Status.SHAPE_MISMATCH
    losses = np.empty(2)
    target = np.array([0, 2])
    assert view_callers.cross_entropy_and_grad_view_f64(x, target, losses, None, 1.0) == Status.OK
    assert same_bits([losses], [softmax_cy.cross_entropy(x, target, reduction="none")])
    for arguments in ((None, target, losses), (x, None, losses), (x, target, None)):
        assert view_callers.cross_entropy_and_grad_view_f64(*arguments, None, 1.0) == Status.SHAPE_MISMATCH
    assert view_callers.logsumexp_view_f64(None, None, 1.0) == Status.OK
    assert view_callers.logsumexp_view_f64(x, None, 1.0) == Status.SHAPE_MISMATCH
    for vjp in (view_callers.softmax_vjp_view_f64, view_callers.softmax_jvp_view_f64):
        assert vjp(None, x, np.empty_like(x), 1.0) == Status.SHAPE_MISMATCH
        assert vjp(x, None, np.empty_like(x), 1.0) == Status.SHAPE_MISMATCH
    assert view_callers.softmax_jacobian_view_f64(x, None, 1.0) == Status.SHAPE_MISMATCH


def test_views_with_strides_that_are_no_whole_elements(view_callers):
    records = np.zeros(5, np.dtype([("flag", "i1"), ("x", "f4", 3), ("y", "f4", 3)]))
    records["x"] = np.arange(15).reshape(5, 3)
    assert view_callers.softmax_view_f32(records["x"], records["y"], 1.0) == Status.OK
    assert same_bits([records["y"]], [softmax_cy.softmax(records["x"])])
    assert not records["flag"].any()


# ---- numba -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numba_functions():
    """The module of numba callables."""
    pytest.importorskip("numba", reason="numba is not installed")
    return importlib.import_module("softmax_cy.numba")


KEPT_NAMES = {
    "softmax_f32": ["x", "out", "scale"],
    "log_softmax_f32": ["x", "out", "scale"],
    "logsumexp_f32": ["x", "out", "scale"],
    "softmax_vjp_f32": ["v", "y", "out", "scale"],
    "softmax_jvp_f32": ["v", "y", "out", "scale"],
    "log_softmax_vjp_f32": ["v", "y", "out", "scale"],
    "log_softmax_jvp_f32": ["v", "y", "out", "scale"],
    "softmax_jacobian_f32": ["y", "out", "scale"],
    "log_softmax_jacobian_f32": ["y", "out", "scale"],
    "cross_entropy_and_grad_f32": ["x", "target", "losses", "grad", "grad_scale"],
}


def test_the_docstring_of_the_numba_module_runs(numba_functions):
    assert doctest.testmod(numba_functions) == (0, 7)


def test_arguments_of_numba_callables_keep_their_names(numba_functions):
    names = {name: list(inspect.signature(getattr(numba_functions, name).py_func).parameters) for name in KEPT_NAMES}
    assert names == KEPT_NAMES


def test_numba_has_a_callable_for_each_function_and_for_nothing_else(numba_functions):
    assert numba_functions.__all__ == POINTER_FUNCTIONS
    for name in ("unknown_f32", "softmax", "softmax_f16", "softmax_and_jacobian_f32", "softmax_state_f32"):
        with pytest.raises(ValueError, match=f"no function of the C interface is named '{name}', expected one of"):
            numba_functions.make_caller(name)


@pytest.mark.parametrize("name", POINTER_FUNCTIONS)
def test_numba_callables_give_the_bits_of_the_face(name, numba_functions, rng):
    function = getattr(numba_functions, name)
    assert function.targetoptions["nogil"]
    inputs = make_inputs(name, rng, 6, 10)
    outputs = make_outputs(name, 6, 10)
    assert function(*inputs, *outputs, 0.5) == Status.OK
    assert same_bits(outputs, expected(name, inputs, 0.5))
    if name.endswith("f64"):
        return
    shorter = [array[:-1] for array in inputs]
    assert function(*shorter, *outputs, 0.5) == Status.SHAPE_MISMATCH


def test_numba_callables_within_a_compiled_function(numba_functions):
    numba = importlib.import_module("numba")
    softmax = numba_functions.softmax_f32

    @numba.njit(nogil=True)
    def twice(x, out):
        return softmax(x, out, 1.0) + softmax(out.T, out.T, 2.0)

    x = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    out = np.empty_like(x)
    assert twice(x, out) == Status.OK
    assert same_bits([out], [softmax_cy.softmax(softmax_cy.softmax(x), axis=0, scale=2.0)])


def test_numba_callables_refuse_strides_that_are_no_whole_elements(numba_functions):
    out = np.full((3, 3), SENTINEL, np.float32)
    view = np.lib.stride_tricks.as_strided(np.empty((5, 3), np.float32), (3, 3), (14, 4))
    assert numba_functions.softmax_f32(view, out, 1.0) == Status.BAD_STRIDE
    assert np.all(out == SENTINEL)


@pytest.mark.parametrize("name", [name for name in POINTER_FUNCTIONS if name.endswith("f32")])
def test_numba_callables_refuse_to_write_where_numpy_would_not(name, numba_functions, rng):
    errors = importlib.import_module("numba").errors
    function = getattr(numba_functions, name)
    inputs = make_inputs(name, rng, 3, 4)
    for array in inputs:
        array.flags.writeable = False
    assert function(*inputs, *make_outputs(name, 3, 4), 1.0) == Status.OK
    outputs = make_outputs(name, 3, 4, SENTINEL)
    for i, output in enumerate(outputs):
        frozen = np.frombuffer(output.tobytes(), output.dtype).reshape(output.shape)
        argument = ("losses", "grad")[i] if len(outputs) == 2 else "out"
        with pytest.raises(errors.TypingError, match="an output is read-only, expected an array to write to") as raised:
            function(*inputs, *outputs[:i], frozen, *outputs[i + 1 :], 1.0)
        assert f"must_be_writable({argument})" in str(raised.value)
        assert all(np.all(array == SENTINEL) for array in [*outputs, frozen])


def test_numba_callables_refuse_a_constant_of_the_compiled_function(numba_functions):
    numba = importlib.import_module("numba")
    softmax = numba_functions.softmax_f32
    constant = np.full((3, 3), SENTINEL, np.float32)

    @numba.njit(nogil=True)
    def into_a_constant(x):
        return softmax(x, constant[::2], 1.0)

    with pytest.raises(numba.errors.TypingError, match="an output is read-only"):
        into_a_constant(np.zeros((2, 3), np.float32))
    assert np.all(constant == SENTINEL)


def test_numba_callables_in_functions_that_hold_the_gil(numba_functions):
    numba = importlib.import_module("numba")
    softmax = numba_functions.softmax_f32

    @numba.njit
    def in_place(x):
        return softmax(x, x, 1.0)

    x = np.zeros((1, 2), np.float32)
    assert in_place(x) == Status.OK
    assert np.all(x == 0.5)


# ---- threads and processes ---------------------------------------------------------------------------------------


def python(code):
    """Run code in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LARGE_CALL = """
import os, numpy as np, softmax_cy
from capi_cases import call
x = np.random.default_rng(0).standard_normal((4000, 500))
out = np.empty_like(x)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_no_thread_is_started():
    code = "before = len(os.listdir('/proc/self/task')); call('softmax_f64', [x], [out])"
    assert python(f"{LARGE_CALL}{code}; print(len(os.listdir('/proc/self/task')) - before)") == "0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_safe_after_a_fork_even_of_a_process_with_threads():
    code = """
softmax_cy.softmax(x, num_threads=2)
call('softmax_f64', [x], [out])
right, out = out, np.empty_like(x)
child = os.fork()
if child == 0:
    call('softmax_f64', [x], [out])
    os._exit(0 if np.array_equal(out, right) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(LARGE_CALL + code) == "0\n"
