"""The examples for embedders: built and run by the commands of docs/embedding.md, in directories of their own."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

import softmax_cy
from capi_cases import DTYPES, OF_STATES, OPERATIONS, expected
from softmax_cy import _dispatch, _embedding, _operations

GUIDE = (Path(__file__).parents[1] / "docs/embedding.md").read_text()
EXAMPLES = Path(_embedding.folder("examples"))
EVERY_FUNCTION = Path(__file__).with_name("every_function.c")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
# What the guide asks for. The frames of a build for a sanitizer are many times as large.
STACK = 64 * 1024 * (64 if "-fsanitize" in os.environ.get("CFLAGS", "") else 1)

IN_C = [row for row in _operations.OPERATIONS if row.in_c]
SESSIONS = re.findall(r"^```console\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
NEEDS = {
    "/numba": ["numba", "sklearn"],
    "/cffi": ["cffi", "sklearn"],
    "/cython": ["Cython"],
    "/package": ["setuptools"],
}


def environment(**variables):
    """In which `python` is this one, and finds what this one does."""
    bin_folder = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": bin_folder, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}


def run(command, folder, **variables):
    """Its output; it must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def example_of(session):
    """What a session copies."""
    return re.search(r"--examples\)(/?\w*)", session)[1].strip("/") or "all"


@pytest.mark.parametrize("session", SESSIONS, ids=example_of)
def test_the_commands_of_the_guide_do_what_it_says(session, tmp_path):
    for example, modules in NEEDS.items():
        if example in session:
            for module in modules:
                pytest.importorskip(module, reason=f"the example needs {module}")
    commands = "\n".join(re.findall(r"^\$ (.*)", session, re.MULTILINE))
    output = "".join(line for line in session.splitlines(keepends=True) if not line.startswith("$ "))
    assert run(["bash", "-euo", "pipefail", "-c", commands], tmp_path) == output


def test_every_example_is_in_the_guide():
    folders = {path.name for path in EXAMPLES.iterdir()}
    assert {example_of(session) for session in SESSIONS} == folders | {"all"}


def test_the_guide_quotes_the_examples():
    files = [path.read_text() for path in EXAMPLES.glob("*/*") if path.is_file()]
    quotations = re.findall(r"^```(?:c|cpp|cython|python|toml)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert len(quotations) > 10
    for quotation in quotations:
        assert any(quotation in text for text in files), quotation


def test_the_guide_has_every_function_with_its_arguments():
    for row in IN_C:
        names = [array.name for array in (*row.inputs, *row.outputs)]
        arguments = ", ".join(f"`{name}`" for name in names)
        cells = re.findall(rf"^\| .*`{row.name}`.* \| (`.*) \|$", GUIDE, re.MULTILINE)
        found = [re.findall("`(.*?)`", cell)[: len(names)] for cell in cells]
        assert names in found, f"add to the table of functions in docs/embedding.md: | `{row.name}` | {arguments} |"


def test_the_guide_has_every_status():
    for status in softmax_cy.capi.Status:
        assert f"| {status.value} | `SOFTMAX_CY_{status.name}` |" in GUIDE


# ---- where Python finds the package ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def virtual_environment(tmp_path_factory):
    """One in which softmax_cy is installed, as far as an interpreter can tell."""
    folder = tmp_path_factory.mktemp("virtual") / "environment"
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "elsewhere.pth").write_text("\n".join(path for path in sys.path if Path(path).is_dir()))
    return folder


def without_python_path(path):
    """The variables of a process that nobody has told about an environment but by its PATH."""
    variables = {**os.environ, "PATH": str(path)}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        variables.pop(name, None)
    return variables


def test_a_program_finds_the_environment_it_is_told(virtual_environment, tmp_path):
    program = compiled(EXAMPLES / "c/in_environment.c", tmp_path, ["cc"])
    command = [program, virtual_environment / "bin/python"]
    done = subprocess.run(command, env=without_python_path("/nowhere"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok: 0.0900 0.2447 0.6652\n"), done.stderr


def test_a_program_finds_the_environment_on_the_path(virtual_environment, tmp_path):
    program = compiled(EXAMPLES / "c/first.c", tmp_path, ["cc"])
    variables = without_python_path(virtual_environment / "bin")
    done = subprocess.run([program], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([program], env=without_python_path("/nowhere"), capture_output=True, text=True, check=False)
    assert "No module named 'softmax_cy'" in done.stderr


# ---- the header --------------------------------------------------------------------------------------------------


def system_headers(flags):
    """The compiler's flags, but the headers of Python are not ours to judge."""
    ours = f"-I{softmax_cy.get_include()}"
    return [word if word == ours else word.replace("-I", "-isystem") for word in flags.split()]


def compiled(source, folder, compiler):
    """A program that embeds Python."""
    words = [*system_headers(_embedding.compiler_flags()), *_embedding.linker_flags().split()]
    program = folder / "program"
    run([*compiler, *WARNINGS, "-pthread", source, "-o", program, *words], folder)
    return program


# How every_function.c declares an array of so many axes, and what it calls that with its strides.
ARRAYS = {1: ("[ROWS]", "ONES"), 2: ("[ROWS][LENGTH]", "MATRIX"), 3: ("[ROWS][LENGTH][LENGTH]", "MATRICES")}


def write_calls(suffix, real):
    """Write the function in C that calls all of one type. An input is what a function before it has returned."""
    lines = [f"static void call_{suffix}(void) {{", f"    INPUTS({real})"]
    first_results = {}
    for row in IN_C:
        arguments = [f"{ARRAYS[array.ndim][1]}({first_results.get(array.holds, array.holds)})" for array in row.inputs]
        results = {f"{row.name}_{array.name}": ARRAYS[array.ndim] for array in row.outputs}
        first_results[row.name] = next(iter(results))
        lines += [f"    {real} {name}{axes};" for name, (axes, _) in results.items()]
        arguments += [f"{macro}({name})" for name, (_, macro) in results.items()]
        lines.append(f"    failed |= softmax_cy->{row.name}_{suffix}(ROWS, LENGTH, {', '.join(arguments)}, 1);")
        lines += [f'    SAY("{row.name}_{suffix}", {real}, {name});' for name in results]
    return [*lines, "}"]


def write_larger_calls():
    """Write the function in C that calls all of float but those of matrices, on many rows of zeros at some strides."""
    inputs = {1: "target, 1", 2: "x, x_row, x_step"}
    outputs = {1: "one, 1", 2: "y, y_row, y_step"}
    lines = [
        "static void call_larger(ptrdiff_t n, const float *x, ptrdiff_t x_row, ptrdiff_t x_step, float *y,",
        "                        ptrdiff_t y_row, ptrdiff_t y_step) {",
        "    const int64_t target[MANY] = {0};",
        "    float one[MANY];",
    ]
    for row in IN_C:
        if all(array.ndim < 3 for array in row.outputs):
            arguments = [*(inputs[array.ndim] for array in row.inputs), *(outputs[array.ndim] for array in row.outputs)]
            lines.append(f"    failed |= softmax_cy->{row.name}_f32(MANY, n, {', '.join(arguments)}, 1);")
    return [*lines, "}"]


C99 = ["cc", "-std=c99"]
CPP11 = ["c++", "-std=c++11", "-x", "c++"]


def every_function(program, **variables):
    """What the program printed: the results of each function."""
    results = {}
    for line in run([program, str(STACK)], program.parent, **variables).splitlines():
        name, *numbers = line.split()
        results.setdefault(name, []).append([float.fromhex(number) for number in numbers])
    return results


@pytest.mark.parametrize("compiler", [C99, CPP11], ids=["C99", "C++11"])
def test_every_member_of_the_table_in_a_thread_that_python_has_never_seen(compiler, tmp_path):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no {compiler[0]}")
    shutil.copy(EVERY_FUNCTION, tmp_path)
    lines = [*write_calls("f32", "float"), *write_calls("f64", "double"), *write_larger_calls()]
    (tmp_path / "every_call.h").write_text("\n".join(lines) + "\n")
    program = compiled(tmp_path / EVERY_FUNCTION.name, tmp_path, compiler)
    before = _dispatch.variant_in_use
    for variant in _dispatch.runnable_variants():
        printed = every_function(program, SOFTMAX_CY_VARIANT=variant)
        assert set(printed) == set(softmax_cy.ctypes_functions)
        _dispatch.use(variant)
        for name, results in printed.items():
            right = expected_of_states(name) if name in OF_STATES else expected(name, arrays(name), 1.0)
            for result, array in zip(results, right, strict=True):
                assert np.array(result, array.dtype).tobytes() == array.tobytes(), (variant, name)
    _dispatch.use(before)


def arrays(name):
    """What the program gives to each function."""
    operation, _, suffix = name.rpartition("_")
    x = np.array([[1, 2, 3], [0, -5, 5]], DTYPES[suffix])
    kinds = {
        "logits": x,
        "vector": np.array([[1, 0, -1], [2, 1, 0]], x.dtype),
        "target": np.array([2, 0]),
    }
    # Any other kind is what the function of that name returns.
    return [kinds[kind] if kind in kinds else getattr(softmax_cy, kind)(x) for kind in OPERATIONS[operation].inputs]


def expected_of_states(name):
    """What the program prints of the functions for states, whose slice it cuts in two."""
    function, _, suffix = name.rpartition("_")
    x = (np.arange(5000) % 7).astype(DTYPES[suffix])
    parts = [softmax_cy.softmax_state(x[:3000], length=5000), softmax_cy.softmax_state(x[3000:], offset=3000)]
    results = {
        "softmax_state_size": np.array([state.nbytes for state in parts]),
        "softmax_state": np.frombuffer(parts[1].__reduce__()[1][0], np.uint8),
        "merge_states": np.frombuffer(softmax_cy.merge_states(*parts).__reduce__()[1][0], np.uint8),
        "logsumexp_of_state": np.array([softmax_cy.logsumexp(x)]),
        "softmax_of_part": softmax_cy.softmax(x),
        "log_softmax_of_part": softmax_cy.log_softmax(x),
    }
    return [results[function]]


SHARED = """
#include <softmax_cy.h>
template <typename Real> Real first_of_two(Real x) {
    Real row[2] = {x, x}, y[2] = {-1, -1};
    return softmax_cy->softmax_f64(1, 2, row, 2, 1, y, 2, 1, 1) ? 99 : y[0];
}
"""
CPP_ONE = '#include "shared.hpp"\ndouble one() { return softmax_cy_import() < 0 ? 99 : first_of_two(1.0); }\n'
CPP_TWO = """
#include "shared.hpp"
double one();
double two() { return first_of_two(2.0); }
int main() {
    Py_Initialize();
    const double sum = one() + two();
    return Py_FinalizeEx() < 0 || sum != 1;
}
"""
C_ONE = """
#define SOFTMAX_CY_UNIQUE_SYMBOL table_of_this_program
#include <softmax_cy.h>
int import_it(void);
int import_it(void) { return softmax_cy_import(); }
"""
C_TWO = """
#define SOFTMAX_CY_UNIQUE_SYMBOL table_of_this_program
#define SOFTMAX_CY_NO_IMPORT
#include <softmax_cy.h>
#ifdef __cplusplus
extern "C"
#endif
int import_it(void);
int main(void) {
    double y[2] = {3, 3};
    Py_Initialize();
    return import_it() < 0 || softmax_cy->softmax_f64(1, 2, y, 2, 1, y, 2, 1, 1) || y[0] != 0.5 || Py_FinalizeEx() < 0;
}
"""
TWO_FILES = {
    "C": ({"one.c": C_ONE, "two.c": C_TWO}, ["cc -std=c99"] * 2),
    "C and C++": ({"one.c": C_ONE.replace("\nint import_it(void);", ""), "two.cpp": C_TWO}, ["cc", "c++ -std=c++11"]),
    "C++11": ({"one.cpp": CPP_ONE, "two.cpp": CPP_TWO}, ["c++ -std=c++11"] * 2),
    "C++17": ({"one.cpp": CPP_ONE, "two.cpp": CPP_TWO}, ["c++ -std=c++17"] * 2),
    "C++11 and C++17": ({"one.cpp": CPP_ONE, "two.cpp": CPP_TWO}, ["c++ -std=c++11", "c++ -std=c++17"]),
}


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
@pytest.mark.parametrize("languages", TWO_FILES)
def test_one_import_is_enough_for_two_files(languages, optimisation, tmp_path):
    """In whichever order they are linked: of what both compile the linker keeps one, with the pointer that it uses."""
    files, compilers = TWO_FILES[languages]
    linker = "c++" if any(name.endswith("cpp") for name in files) else "cc"
    if shutil.which(linker) is None:
        pytest.skip(f"there is no {linker}")
    objects = []
    (tmp_path / "shared.hpp").write_text(SHARED)
    for (name, source), compiler in zip(files.items(), compilers, strict=True):
        (tmp_path / name).write_text(source)
        flags = [*system_headers(_embedding.compiler_flags()), *WARNINGS, optimisation]
        run([*compiler.split(), *flags, "-c", name, "-o", f"{name}.o"], tmp_path)
        objects.append(f"{name}.o")
    for order in (objects, objects[::-1]):
        run([linker, *order, "-o", "program", *_embedding.linker_flags().split()], tmp_path)
        run([tmp_path / "program"], tmp_path)


def test_a_file_of_c_that_does_not_import_must_say_where_the_table_is(tmp_path):
    (tmp_path / "lost.c").write_text("#define SOFTMAX_CY_NO_IMPORT\n#include <softmax_cy.h>\n")
    command = ["cc", *_embedding.compiler_flags().split(), "-c", "lost.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "SOFTMAX_CY_NO_IMPORT needs SOFTMAX_CY_UNIQUE_SYMBOL" in done.stderr


def first_with(header, folder):
    """first.c, compiled with another header."""
    (folder / "softmax_cy.h").write_text(header)
    shutil.copy(EXAMPLES / "c/first.c", folder)
    words = f"-I{folder} {_embedding.compiler_flags()} {_embedding.linker_flags()}".split()
    run(["cc", "first.c", "-o", "first", *words], folder)
    return folder / "first"


def said_by(program, **variables):
    """The last line of a program that fails."""
    done = subprocess.run([program], env=environment(**variables), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


HEADER = Path(softmax_cy.get_include(), "softmax_cy.h").read_text()
NEWER = (
    "ImportError: compiled with the header of a newer softmax_cy: it needs ABI version {}, and the installed "
    f"softmax_cy {softmax_cy.__version__} offers 2; install the newer one, or compile with the header of the older"
)


def test_a_newer_header_is_refused(tmp_path):
    newer = HEADER.replace("#define SOFTMAX_CY_ABI_VERSION 2", "#define SOFTMAX_CY_ABI_VERSION 3")
    assert newer != HEADER
    assert said_by(first_with(newer, tmp_path)) == NEWER.format(3)
    assert NEWER.format(3) in GUIDE.replace("\n  ", " ")


def test_a_larger_table_is_refused(tmp_path):
    larger = HEADER.replace("} softmax_cy_table;", "int (*unknown_f32)(void); } softmax_cy_table;")
    assert larger != HEADER
    assert said_by(first_with(larger, tmp_path)) == NEWER.format(2)


def test_an_older_header_goes_with_a_newer_library(tmp_path):
    """It knows fewer members."""
    first = HEADER.index("    /** The logarithm of softmax")
    older = HEADER[:first] + HEADER[HEADER.index("} softmax_cy_table;") :]
    assert run([first_with(older, tmp_path)], tmp_path).startswith("0.0900 0.2447 0.6652\n")


def test_a_package_without_a_table_is_refused(tmp_path):
    package = tmp_path / "softmax_cy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "capi.py").write_text("_C_API = None\n")
    said = said_by(first_with(HEADER, tmp_path), PYTHONPATH=str(tmp_path))
    assert said == "ImportError: softmax_cy.capi has no table of functions named softmax_cy.capi._C_API"


def test_a_variant_that_is_not_there_is_an_import_error_in_c_too(tmp_path):
    said = said_by(first_with(HEADER, tmp_path), SOFTMAX_CY_VARIANT="v9")
    assert said.startswith("ImportError: SOFTMAX_CY_VARIANT='v9' is not a variant of this build")


def test_flags_on_the_command_line(tmp_path):
    said = run([sys.executable, "-m", "softmax_cy", "--cflags", "--ldflags", "--examples"], tmp_path)
    assert said.splitlines() == [_embedding.compiler_flags(), _embedding.linker_flags(), str(EXAMPLES)]


STATIC = {"Py_ENABLE_SHARED": 0, "LIBDIR": None, "LIBPL": "/config", "LDVERSION": "3.11", "SYSLIBS": None}


def with_config(monkeypatch, **variables):
    """Another Python as sysconfig sees it."""
    real = sysconfig.get_config_var
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: variables[name] if name in variables else real(name))


@pytest.mark.parametrize(
    ("variables", "flags"),
    [
        ({"LIBS": "-ldl"}, "-L/config -lpython3.11 -ldl -Wl,-export-dynamic"),
        ({"LIBS": None, "LIBDIR": "/lib"}, "-L/config -L/lib -Wl,-rpath,/lib -lpython3.11 -Wl,-export-dynamic"),
        (
            {"LIBS": "-framework A -framework B", "LINKFORSHARED": "-Wl,-stack_size,1 -framework C", "LIBPL": None},
            "-lpython3.11 -framework A -framework B -Wl,-stack_size,1 -framework C",
        ),
        ({"LIBS": "", "LINKFORSHARED": None, "LDVERSION": None, "VERSION": "311"}, "-L/config -lpython311"),
        ({"Py_ENABLE_SHARED": 1, "LIBDIR": "/lib", "LIBS": ""}, "-L/lib -Wl,-rpath,/lib -lpython3.11"),
        ({"Py_ENABLE_SHARED": 1, "LIBS": None}, "-lpython3.11"),
    ],
)
def test_linker_flags_of_other_pythons(variables, flags, monkeypatch):
    with_config(monkeypatch, **{"LINKFORSHARED": "-Xlinker -export-dynamic", **STATIC, **variables})
    assert _embedding.linker_flags() == flags


def test_a_program_that_holds_python_itself(tmp_path, monkeypatch):
    """Extension modules find the functions of Python in the program."""
    config = Path(sysconfig.get_config_var("LIBPL") or "")
    if not list(config.glob("libpython*.a")) or list(config.glob("libpython*.so")):
        pytest.skip("this Python has no static library, or a shared one beside it")
    with_config(monkeypatch, Py_ENABLE_SHARED=0)
    program = compiled(EXAMPLES / "c/first.c", tmp_path, ["cc"])
    assert "libpython" not in run(["ldd", program], tmp_path)
    assert run([program], tmp_path).startswith("0.0900 0.2447 0.6652\n")


def test_importing_changes_no_prototype_that_others_use(tmp_path):
    code = """
import ctypes
functions = [ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer]
before = [(function.restype, function.argtypes) for function in functions]
import softmax_cy
assert [(function.restype, function.argtypes) for function in functions] == before
"""
    run([sys.executable, "-c", code], tmp_path)
