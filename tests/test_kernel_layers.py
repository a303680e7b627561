"""The layers of the kernels point one way: a file uses what earlier files define, and nothing else."""

import re
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[1] / "src/softmax_cy/kernels"
LAYERS = ("vector", "formulas", "walks", "operations")


def included_by(file):
    """The files that a file includes, in the order in which the compiler reads their ends."""
    for name in re.findall(r'^include "(.+)"$', (KERNELS / file).read_text(), re.MULTILINE):
        inner = str(Path(file).parent / name)
        yield from included_by(inner)
        if "/" in inner:
            yield inner


FILES = list(included_by("kernels.pxi"))
DEFINITION = re.compile(
    r"^(?:cdef|ctypedef) (?:enum|struct) (\w+):"  # a type
    r"|^ctypedef .*\(\*(\w+)\)\("  # a type of functions
    r"|^cdef .*?(\w+)\($"  # a function whose arguments begin on the next line
    r"|^cdef [^=(]*?(\w+)\(.*"  # a function
    r"|^    ([A-Z][A-Z_]+)\b(?! *=.*\()",  # a member of an enumeration
    re.MULTILINE,
)


def code_of(file):
    """Its text without comments and docstrings."""
    text = re.sub(r'"""[^"]*"""', "", (KERNELS / file).read_text())
    return re.sub(r"#.*", "", text)


def definitions(file):
    """The names that a file defines."""
    return {next(filter(None, match.groups())) for match in DEFINITION.finditer(code_of(file))}


def test_every_file_is_included_once():
    files = {str(path.relative_to(KERNELS)) for layer in LAYERS for path in (KERNELS / layer).glob("*.pxi")}
    assert sorted(FILES) == sorted(files)


def test_the_layers_come_one_after_another():
    layers = [LAYERS.index(file.partition("/")[0]) for file in FILES]
    assert layers == sorted(layers)


def test_no_file_uses_what_a_later_one_defines():
    defined = {file: definitions(file) for file in FILES}
    assert all(defined[file] for file in FILES if not file.startswith("vector"))
    forward = []
    for i, file in enumerate(FILES):
        words = set(re.findall(r"\w+", code_of(file)))
        for later in FILES[i + 1 :]:
            forward += [f"{file} uses {name} of {later}" for name in sorted(words & defined[later])]
    assert not forward, "\n".join(forward)


def test_no_name_is_defined_twice():
    owners = {}
    for file in FILES:
        for name in definitions(file):
            owners.setdefault(name, []).append(file)
    assert {name: files for name, files in owners.items() if len(files) > 1} == {}


@pytest.mark.parametrize("file", FILES)
def test_only_the_vector_layer_knows_an_instruction_set(file):
    if not file.startswith("vector"):
        assert not re.search(r"avx|\bsse|neon|x86|aarch64|__", code_of(file), re.IGNORECASE)
