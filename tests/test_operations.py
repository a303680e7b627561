"""The list of operations says what the public functions really take, and names all of them."""

import ast
import inspect
import os
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from modules import import_from
from softmax_cy import _embedding, capi
from softmax_cy._operations import BY_NAME, KERNELS, OPERATIONS, names

ROOT = Path(__file__).parents[1]
HEADER = Path(softmax_cy.get_include(), "softmax_cy.h").read_text()

# Public functions that compute nothing, and those of the parts of slices.
OTHERS = {"get_include", "get_num_threads", "set_num_threads", "show_config"}
OTHERS |= {"SoftmaxState", "merge_states", "softmax_state"}

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def test_every_public_function_is_in_the_list():
    public = {name for name in softmax_cy.__all__ if callable(getattr(softmax_cy, name))}
    missing = public - OTHERS - set(BY_NAME)
    assert not missing, f"add a row for {', '.join(sorted(missing))} to OPERATIONS in src/softmax_cy/_operations.py"


def test_the_stub_has_every_public_name():
    stub = ast.parse(Path(softmax_cy.__file__).with_suffix(".pyi").read_text())
    names_of = [node for node in stub.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    missing = set(softmax_cy.__all__) - set(ast.literal_eval(names_of[0].value))
    missing |= set(BY_NAME) - {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert not missing, f"add {', '.join(sorted(missing))} to src/softmax_cy/__init__.pyi: the types, and to __all__"


@every_operation
def test_the_signature_is_that_of_the_list(operation):
    parameters = inspect.signature(getattr(softmax_cy, operation.name)).parameters
    positional = [name for name, parameter in parameters.items() if parameter.kind == parameter.POSITIONAL_OR_KEYWORD]
    keywords = [name for name, parameter in parameters.items() if parameter.kind == parameter.KEYWORD_ONLY]
    assert positional == [*(array.name for array in operation.inputs), "axis"]
    assert sorted(keywords) == sorted([*operation.options, "out", "num_threads"])


@every_operation
def test_axes_are_those_of_the_list(operation):
    inputs = [np.zeros((2, 2)) if array.ndim == 2 else np.zeros(2, int) for array in operation.inputs]
    function = getattr(softmax_cy, operation.name)
    if operation.many_axes:
        function(*inputs, axis=(0, 1))
    else:
        with pytest.raises(TypeError, match="axis"):
            function(*inputs, axis=(0, 1))


def test_every_kernel_belongs_to_an_operation_or_to_states():
    assert {operation.kernel for operation in OPERATIONS} == {row.name for row in KERNELS if row.file != "parts"}


def test_the_c_interface_has_what_the_list_says():
    wanted = {
        f"{o.name}{view}_{dtype}" for o in OPERATIONS if o.in_c for view in ("", "_view") for dtype in ("f32", "f64")
    }
    # States of parts are no operations.
    found = set(capi.__pyx_capi__) - {f"{name}_{dtype}" for name in _embedding.OF_STATES for dtype in ("f32", "f64")}
    assert found == wanted, "build anew: tools/write_capi.py writes capi.pyx before a build"


@pytest.fixture(scope="module")
def writer():
    """The tool that writes the C interface."""
    pytest.importorskip("Cython", reason="its templates are expanded by Cython")
    return import_from(ROOT / "tools", "write_capi")


def test_the_header_has_a_member_for_each_function_of_the_list(writer):
    missing = writer.find_missing_members(writer.list_functions(writer.load_table("_operations")), HEADER)
    assert not missing, missing


def test_one_operation_more_in_the_list_is_asked_for_in_the_header(writer):
    operations = writer.load_table("_operations")
    operations.OPERATIONS += (operations.BY_NAME["softmax_vjp"]._replace(name="one_more_vjp"),)
    missing = writer.find_missing_members(writer.list_functions(operations), HEADER)
    assert missing == (
        "softmax_cy_table in src/softmax_cy/include/softmax_cy.h lacks functions of the list of operations. Add at its "
        "end, each with a comment that says what it computes:\n\n"
        + "".join(
            f"""    int (*one_more_vjp_{suffix})(
        ptrdiff_t rows, ptrdiff_t length,
        const {real} *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        const {real} *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        {real} *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
"""
            for suffix, real in (("f32", "float"), ("f64", "double"))
        )
    )


def test_members_that_the_build_asks_for_are_those_of_the_header(writer):
    for function in writer.list_functions(writer.load_table("_operations")):
        assert function.declare_member() in HEADER


def test_the_c_interface_is_written_only_where_its_text_changes(writer, tmp_path, monkeypatch):
    for name in ("_operations.py", *(f"{name}.tp" for name in writer.OUTPUTS)):
        (tmp_path / name).write_bytes((ROOT / "src/softmax_cy" / name).read_bytes())
    monkeypatch.setattr(writer, "PACKAGE", tmp_path)
    writer.write()
    written = {path: path.read_text() for path in map(tmp_path.joinpath, writer.OUTPUTS)}
    for path, text in written.items():
        assert text.startswith("# Written by tools/write_capi.py from ")
        path.chmod(0o444)
        os.utime(path, (1, 1))
    writer.write()
    assert [path.stat().st_mtime for path in written] == [1, 1]
    capi_pxd = tmp_path / "capi.pxd"
    capi_pxd.chmod(0o644)
    capi_pxd.write_text("of an older list")
    writer.write()
    assert {path: path.read_text() for path in written} == written


def test_names_of_a_family():
    assert {"softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp"} <= set(names("product"))
    families = dict.fromkeys(operation.family for operation in OPERATIONS)
    assert sorted(name for family in families for name in names(family)) == sorted(names()) == sorted(BY_NAME)
