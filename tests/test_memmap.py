"""Arrays in files: np.memmap as input and as `out`."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from operations import ELEMENTWISE, JACOBIANS, LOSSES, PRODUCTS, as_out, each, parts, taking, written
from softmax_cy import softmax, softmax_and_jacobian

SHAPE = (37, 29)
DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "float16", ">f4", "int16")} | {
    "bfloat16": np.dtype(ml_dtypes.bfloat16)
}


# name: function, names of its arguments, names of its options, in `arrays`
CALLS = {
    **{f.__name__: (f, ["x"], []) for f in taking("where")},
    **{f"{f.__name__}, where": (f, ["x"], ["where"]) for f in taking("where")},
    **{f.__name__: (f, ["x", "y"], []) for f in PRODUCTS},
    **{f.__name__: (f, ["y"], []) for f in JACOBIANS},
    **{f"{f.__name__} of indices": (f, ["x", "index"], []) for f in LOSSES},
    **{f"{f.__name__} of indices, weight": (f, ["x", "index"], ["weight"]) for f in LOSSES},
    **{f"{f.__name__} of probabilities": (f, ["x", "q"], []) for f in LOSSES},
}
every_call = pytest.mark.parametrize("name", CALLS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def arrays(dtype, rng):
    x = rng.normal(0, 3, SHAPE).astype(DTYPES[dtype])
    return {
        "x": x,
        "y": softmax(x).astype(x.dtype),
        "q": softmax(rng.normal(0, 3, SHAPE)).astype("f4" if x.dtype.kind == "i" else x.dtype),
        "index": rng.integers(SHAPE[1], size=SHAPE[0]),
        "weight": rng.random(SHAPE[1]).astype("f4"),
        "where": rng.random(SHAPE) < 0.75,
    }


def called(name, given, out=None):
    """The results of a call. `out` has an array for each of `written`."""
    function, arguments, named_options = CALLS[name]
    out = None if out is None else as_out(function, *out)
    return parts(function(*(given[key] for key in arguments), **{key: given[key] for key in named_options}, out=out))


@pytest.fixture
def mapped(tmp_path):
    """Something that writes an array to a file and maps it."""
    count = itertools.count()

    def to_file(array, mode, offset=0):
        path = tmp_path / str(next(count))
        path.write_bytes(b"\0" * offset + array.tobytes())
        return np.memmap(path, array.dtype, mode, offset, array.shape)

    return to_file


def read_back(array):
    """What is in the file."""
    array.flush()
    return array.filename.read_bytes()[array.offset :]


def same(results, expected):
    """To the bit, of the same dtype and shape."""
    for result, plain in zip(results, expected, strict=True):
        assert (result.dtype, result.shape) == (plain.dtype, plain.shape)
        assert result.tobytes() == plain.tobytes()


@pytest.mark.parametrize(("mode", "offset"), [("r", 0), ("c", 0), ("r", 3)], ids=["read", "copy on write", "unaligned"])
@every_dtype
@every_call
def test_inputs(name, dtype, mode, offset, mapped, rng):
    plain = arrays(dtype, rng)
    files = {key: mapped(array, mode, offset) for key, array in plain.items()}
    results = called(name, files)
    same(results, called(name, plain))
    assert all(type(result) is (np.ndarray if result.ndim else result.dtype.type) for result in results)
    assert all(read_back(files[key]) == plain[key].tobytes() for key in plain)


@pytest.mark.parametrize("offset", [0, 3], ids=["aligned", "unaligned"])
@every_dtype
@every_call
def test_out(name, dtype, offset, mapped, rng):
    plain = arrays(dtype, rng)
    expected = called(name, plain)
    out = tuple(mapped(np.full_like(array, 7), "r+", offset) for array in written(CALLS[name][0], expected))
    results = called(name, {key: mapped(array, "r") for key, array in plain.items()}, out)
    assert all(result is given for result, given in zip(written(CALLS[name][0], results), out, strict=True))
    same(results, expected)
    assert [read_back(array) for array in out] == [array.tobytes() for array in written(CALLS[name][0], expected)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@each([*ELEMENTWISE, *PRODUCTS])
def test_in_place(function, dtype, mapped, rng):
    plain = arrays(dtype, rng)
    others = [plain["y"]] if function in PRODUCTS else []
    x = mapped(plain["x"], "r+")
    assert function(x, *others, out=x) is x
    assert read_back(x) == function(plain["x"], *others).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_outputs_in_place_beside_their_jacobian(dtype, mapped, rng):
    plain = arrays(dtype, rng)["x"]
    x = mapped(plain, "r+")
    results = softmax_and_jacobian(x, out=(x, None))
    assert results[0] is x
    same(results, softmax_and_jacobian(plain))
    assert read_back(x) == softmax(plain).tobytes()


@every_call
def test_out_read_only(name, mapped, rng):
    plain = arrays("float32", rng)
    out = tuple(mapped(np.full_like(array, 7), "r") for array in written(CALLS[name][0], called(name, plain)))
    before = [read_back(array) for array in out]
    with pytest.raises(ValueError, match=r"^out(\[0\])? is read-only"):
        called(name, plain, out)
    assert [read_back(array) for array in out] == before


@every_call
def test_out_copied_on_write(name, mapped, rng):
    """The result is in memory and the file as it was."""
    plain = arrays("float32", rng)
    expected = called(name, plain)
    out = tuple(mapped(np.full_like(array, 7), "c") for array in written(CALLS[name][0], expected))
    before = [read_back(array) for array in out]
    results = called(name, plain, out)
    assert all(result is given for result, given in zip(written(CALLS[name][0], results), out, strict=True))
    same(results, expected)
    assert [read_back(array) for array in out] == before
