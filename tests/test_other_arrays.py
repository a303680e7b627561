"""Arrays of other libraries: what numpy.asarray takes is taken, and what it would gather in silence is refused."""

import sys
import types

import dask
import dask.array
import numpy as np
import pandas
import pytest
import scipy.special
import xarray

import softmax_cy
from operations import FUNCTIONS, bits, input_names, parts, taking

rng = np.random.default_rng(20240229)
X = rng.standard_normal((3, 4))
Y = softmax_cy.softmax(X)
ARRAYS = {
    "x": X,
    "grad": X,
    "tangent": X,
    "y": Y,
    "log_y": np.log(Y),
    "where": X > -0.5,
    "target": Y,
    "weight": np.ones(4),
}
# The arguments that are arrays, of each function.
ARGUMENTS = {
    function.__name__: [*input_names(function.__name__), *(o for o in ("where", "weight") if function in taking(o))]
    for function in FUNCTIONS
}
every_array_argument = pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, arguments in ARGUMENTS.items() for argument in arguments]
)


def call(name, argument, make):
    """With one argument made into something else."""
    arguments = {key: ARRAYS[key] for key in ARGUMENTS[name]}
    return getattr(softmax_cy, name)(**{**arguments, argument: make(arguments[argument])})


def assert_same(result, expected):
    """Of one array or two, bits and types."""
    assert list(map(type, parts(result))) == list(map(type, parts(expected)))
    assert bits(result) == bits(expected)


class Counter:
    """Counts how many chunks are computed."""

    def __init__(self):
        self.count = 0

    def __call__(self, chunk):
        """Give it back."""
        self.count += 1
        return chunk


@every_array_argument
@pytest.mark.parametrize("labelled", [False, True], ids=["dask", "xarray"])
def test_lazy_arrays_are_not_gathered(name, argument, labelled):
    chunks = Counter()

    def lazy(array):
        array = dask.array.from_array(array, chunks=2).map_blocks(chunks, dtype=array.dtype, meta=array[:0])
        return xarray.DataArray(array) if labelled else array

    kind = "xarray.DataArray" if labelled else "dask.Array"
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(TypeError, match=rf"^{argument} is a lazy {kind}, .*: call {argument}\.compute\(\) first"):
            call(name, argument, lazy)
        assert chunks.count == 0
        assert_same(call(name, argument, lambda a: lazy(a).compute()), call(name, argument, lambda a: a))


def test_what_the_message_says_about_blocks_works():
    x = dask.array.from_array(X, chunks=(1, 4))
    y = x.map_blocks(softmax_cy.softmax, dtype=x.dtype).compute(scheduler="synchronous")
    assert_same(y, Y)


@every_array_argument
@pytest.mark.parametrize(
    "make",
    [
        lambda a: np.ma.masked_array(a, np.arange(a.size).reshape(a.shape) % 2 == 0),
        np.ma.masked_array,
        lambda a: type("Wrapped", (), {"__array__": lambda self, dtype=None, copy=None: np.ma.masked_array(a)})(),
    ],
    ids=["some masked", "none masked", "by way of __array__"],
)
def test_masks_are_not_dropped(name, argument, make):
    with pytest.raises(
        TypeError, match=rf"^{argument} is a masked array: .*{argument}\.filled\(.*where=~{argument}\.mask"
    ):
        call(name, argument, make)


def test_what_the_message_says_about_masks_works():
    x = np.ma.masked_array(X, X < -0.5)
    assert_same(softmax_cy.softmax(x.data, where=~x.mask), softmax_cy.softmax(X, where=X >= -0.5))
    assert_same(softmax_cy.softmax(x.filled(-np.inf)), softmax_cy.softmax(X, where=X >= -0.5))


@pytest.fixture
def cupy(monkeypatch):
    """As much of it as says what an array is."""
    module = types.ModuleType("cupy")
    # Newer ones do not say how to go on, or are of another library that has the same arrays.
    module.ndarray = type("ndarray", (), {"__module__": "cupy", "__array__": lambda self, dtype=None, copy=None: X})
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@every_array_argument
def test_arrays_on_a_gpu_are_not_fetched(name, argument, cupy):
    with pytest.raises(TypeError, match=rf"^{argument} is a cupy.ndarray, .*: call cupy\.asnumpy\({argument}\) first"):
        call(name, argument, lambda _: cupy.ndarray())


@every_array_argument
@pytest.mark.parametrize(
    "make",
    [
        xarray.DataArray,
        lambda a: pandas.Series(a) if a.ndim == 1 else pandas.DataFrame(a),
        lambda a: a.tolist(),
        lambda a: np.asmatrix(a) if a.ndim == 2 else a.view(np.recarray),
    ],
    ids=["xarray", "pandas", "list", "subclass"],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_others_are_what_asarray_makes_of_them(name, argument, make):
    assert_same(call(name, argument, make), call(name, argument, lambda a: a))


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("name", ["softmax", "logsumexp"])
def test_a_data_frame_of_several_dtypes(name, axis):
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 2.5]})
    function = getattr(softmax_cy, name)
    assert_same(function(frame, axis), function(np.array([[1, 0.5], [2, 2.5]]), axis))


@pytest.mark.parametrize("library", ["softmax_cy", "scipy", "torch"])
def test_a_slice_of_nothing_but_negative_infinity_is_nan_everywhere(library):
    """The documentation says so; of JAX too, which the tests do not require."""
    torch = pytest.importorskip("torch") if library == "torch" else None
    functions = {
        "softmax_cy": softmax_cy.softmax,
        "scipy": scipy.special.softmax,
        "torch": lambda x: torch.softmax(torch.from_numpy(x), -1).numpy(),
    }
    with np.errstate(invalid="ignore"):
        assert np.isnan(functions[library](np.full(3, -np.inf))).all()


def test_a_slice_of_nothing_kept_is_zero():
    assert softmax_cy.softmax(np.full(3, -np.inf), where=False).tolist() == [0, 0, 0]
    assert softmax_cy.log_softmax(np.full(3, -np.inf), where=False).tolist() == [-np.inf] * 3
