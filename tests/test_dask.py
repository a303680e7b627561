"""Dask arrays: the bits of one call in memory for any chunks, and graphs that compute no more than they must."""

import subprocess
import sys

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
import xarray
from dask.array.utils import assert_eq
from hypothesis import given, settings
from hypothesis import strategies as st

import softmax_cy
import softmax_cy.dask

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int16]
FORWARD = ["softmax", "log_softmax", "logsumexp"]
PRODUCTS = ["softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp"]
many = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def synchronous():
    """One task after another, in this thread."""
    with dask.config.set(scheduler="synchronous"):
        yield


def bits(result):
    """What must be equal."""
    result = np.asarray(result)
    return result.dtype, result.shape, result.tobytes()


def assert_same(lazy, expected):
    """Equal to the bit, and what Dask was told of it is true."""
    assert isinstance(lazy, da.Array)
    assert_eq(lazy, lazy, equal_nan=True)  # chunks, dtype and meta against what is computed
    assert bits(lazy.compute()) == bits(expected)


def cut(draw, length):
    """Chunk sizes along an axis, sometimes with empty chunks."""
    borders = sorted(draw(st.lists(st.integers(0, length), max_size=4)))
    return tuple(b - a for a, b in zip([0, *borders], [*borders, length], strict=True))


@st.composite
def shapes(draw, least=0):
    """Some axes, one of which may be longer than a block of the kernels."""
    shape = draw(st.lists(st.integers(1, 5), min_size=least, max_size=3))
    if shape and draw(st.integers(0, 3)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([4095, 4097, 9001]))
    return tuple(shape)


@st.composite
def arrays(draw, shape, dtype=None):
    """Logits with some infinities and NaN, in memory and in chunks."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)) if dtype is None else dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = np.asarray(rng.standard_normal(shape) * draw(st.sampled_from([1, 30])))
    if dtype.kind != "i" and x.size:
        for value in draw(st.lists(st.sampled_from([-np.inf, np.inf, np.nan]), max_size=2)):
            x.flat[rng.integers(x.size)] = value
    x = x.astype(dtype)
    return x, da.from_array(x, chunks=tuple(cut(draw, n) for n in shape))


def axes_of(draw, ndim):
    """Every kind of axis."""
    if ndim == 0:
        return draw(st.sampled_from([-1, None, ()]))
    one = st.integers(-ndim, ndim - 1)
    return draw(st.none() | one | st.lists(one, unique_by=lambda axis: axis % ndim, max_size=ndim).map(tuple))


@many
@given(data=st.data())
def test_functions_of_logits(data):
    draw = data.draw
    x, lazy = draw(arrays(draw(shapes())))
    name = draw(st.sampled_from(FORWARD))
    options = {"scale": draw(st.sampled_from([1.0, 0.3])), "dtype": draw(st.sampled_from([None, None, *DTYPES[:4]]))}
    if name == "logsumexp":
        options["keepdims"] = draw(st.booleans())
    where = lazy_where = None
    if draw(st.booleans()):
        shape = tuple(draw(st.sampled_from([1, n])) for n in x.shape)[draw(st.integers(0, x.ndim)) :]
        where = np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.7
        lazy_where = draw(st.sampled_from([where, da.from_array(where, chunks=tuple(cut(draw, n) for n in shape))]))
    axis = axes_of(draw, x.ndim)
    small = draw(st.sampled_from([{}, {"split_every": 2}, {"low_memory": True}]))
    if name == "logsumexp":
        small.pop("low_memory", None)
    expected = getattr(softmax_cy, name)(x, axis, where=where, **options)
    assert_same(getattr(softmax_cy.dask, name)(lazy, axis, where=lazy_where, **options, **small), expected)


@many
@given(data=st.data())
def test_products(data):
    draw = data.draw
    shape = draw(shapes())
    operands = []
    for _ in range(2):
        own = tuple(draw(st.sampled_from([1, n, n])) for n in shape)[draw(st.sampled_from([0, 0, len(shape)])) :]
        operands.append(draw(arrays(own)))
    name = draw(st.sampled_from(PRODUCTS))
    ndim = max(x.ndim for x, _ in operands)
    axis = axes_of(draw, ndim)
    given_lazy = [x if draw(st.integers(0, 3)) == 0 else lazy for x, lazy in operands]
    expected = getattr(softmax_cy, name)(operands[0][0], operands[1][0], axis, scale=0.7)
    assert_same(getattr(softmax_cy.dask, name)(*given_lazy, axis, scale=0.7), expected)


@many
@given(data=st.data())
def test_losses(data):
    draw = data.draw
    shape = draw(shapes(least=1))
    x, lazy = draw(arrays(shape))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    classes = shape[axis]
    batch = tuple(n for d, n in enumerate(shape) if d != axis % len(shape))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    options = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    kind = draw(st.sampled_from(["indices", "indices", "smoothing", "probabilities"]))
    if kind == "probabilities":
        target, lazy_target = draw(arrays(shape, np.float32))
        target = lazy_target = np.abs(np.nan_to_num(target))
    else:
        target = rng.integers(0, classes, batch).astype(draw(st.sampled_from([np.int64, np.uint16])))
        lazy_target = target
        if draw(st.booleans()):
            options["ignore_index"] = draw(st.sampled_from([0, -100]))
            if options["ignore_index"] < 0 and target.dtype.kind == "i":
                lazy_target = target = np.where(rng.random(batch) < 0.3, -100, target)
    if kind == "smoothing":
        options["label_smoothing"] = 0.1
    if draw(st.booleans()):
        lazy_target = da.from_array(lazy_target, chunks=tuple(cut(draw, n) for n in lazy_target.shape))
    lazy_options = dict(options)
    if draw(st.booleans()):
        options["weight"] = rng.random(classes).astype(draw(st.sampled_from([np.float32, np.float64])))
        lazy_options["weight"] = draw(st.sampled_from([options["weight"], da.from_array(options["weight"], chunks=2)]))
    lazy_options["low_memory"] = draw(st.booleans())
    loss, grad = softmax_cy.dask.cross_entropy_and_grad(lazy, lazy_target, axis, **lazy_options)
    expected_loss, expected_grad = softmax_cy.cross_entropy_and_grad(x, target, axis, **options)
    assert_same(loss, expected_loss)
    assert_same(grad, expected_grad)
    assert_same(softmax_cy.dask.cross_entropy(lazy, lazy_target, axis, **lazy_options), expected_loss)


def test_long_sums_of_losses():
    """Of so many slices that they are added in several chunks."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 7)).astype(np.float32)
    target, weight = rng.integers(0, 7, 5000), rng.random(7)
    for options in ({}, {"weight": weight}, {"ignore_index": 3}, {"reduction": "sum", "weight": weight}):
        expected = softmax_cy.cross_entropy_and_grad(x, target, **options)
        for chunks in ((900, 7), (1234, 3)):
            results = softmax_cy.dask.cross_entropy_and_grad(da.from_array(x, chunks), target, **options)
            for result, one in zip(dask.compute(*results), expected, strict=True):
                assert bits(result) == bits(one)


class Source:
    """Gives the numbers of an array, and counts how often each chunk is read."""

    def __init__(self, x):
        self.x = x
        self.reads = {}
        self.dtype, self.shape, self.ndim = x.dtype, x.shape, x.ndim

    def __getitem__(self, index):
        place = tuple((one.start, one.stop) for one in index)
        if all(start < stop for start, stop in place):  # Dask looks at an empty part to know the type
            self.reads[place] = self.reads.get(place, 0) + 1
        return self.x[index]

    def counts(self):
        """How often the chunks were read."""
        return set(self.reads.values())

    def __dask_tokenize__(self):
        return "source", self.x


X = np.random.default_rng(1).standard_normal((6, 40)).astype(np.float32)
T = np.arange(6)
ONE, TWO = {1}, {2}


def cases():
    """Calls that read cut slices, and how often each chunk is read."""
    here = softmax_cy.dask
    yield "logsumexp", here.logsumexp, ONE
    for name in ("softmax", "log_softmax"):
        function = getattr(here, name)
        yield name, function, ONE
        yield f"{name}, low memory", lambda x, f=function: f(x, low_memory=True), TWO
    yield "cross_entropy", lambda x: here.cross_entropy(x, T), ONE
    yield "weights", lambda x: here.cross_entropy(x, T, weight=np.ones(40)), ONE
    yield "weights, low memory", lambda x: here.cross_entropy(x, T, weight=np.ones(40), low_memory=True), TWO
    yield "gradient", lambda x: here.cross_entropy_and_grad(x, T), ONE
    yield "gradient, low memory", lambda x: here.cross_entropy_and_grad(x, T, low_memory=True), TWO


@pytest.mark.parametrize("chunks", [(2, 10), (6, 7)], ids=str)
@pytest.mark.parametrize("inline", [False, True], ids=["", "inline"])
@pytest.mark.parametrize(("function", "reads"), [case[1:] for case in cases()], ids=[case[0] for case in cases()])
def test_each_chunk_is_read_as_often_as_promised(function, reads, inline, chunks):
    source = Source(X)
    lazy = da.from_array(source, chunks=chunks, inline_array=inline) * np.float32(1)
    results = function(lazy)
    assert not source.reads, "something was computed while the graph was built"
    dask.compute(results)
    assert source.counts() == reads
    assert len(source.reads) == lazy.npartitions


@pytest.mark.parametrize("lazy_mask", [False, True], ids=["", "lazy mask"])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.rechunk((6, 9)),
        lambda x: x[:, ::2],
        lambda x: da.concatenate([x[:3], x[3:] + 1]),
        lambda x: x.persist(scheduler="synchronous") + 1,
        lambda x: x.reshape(2, 3, 40).transpose(1, 0, 2),
    ],
    ids=["rechunk", "slice", "concatenate", "persist", "transpose"],
)
def test_low_memory_reads_twice_behind_any_layer(change, lazy_mask, request):
    source = Source(X)
    lazy = change(da.from_array(source, chunks=(2, 10)))
    where = lazy > -1 if lazy_mask else None
    y = softmax_cy.dask.softmax(lazy, low_memory=True, where=where)
    y.dask.validate()
    before = dict(source.reads)
    assert bits(y.compute()) == bits(softmax_cy.dask.softmax(lazy, where=where).compute())
    if "persist" in request.node.name:
        assert source.reads == before
    else:
        once = change(da.from_array(again := Source(X), chunks=(2, 10)))
        once.compute()
        assert sum(source.reads.values()) >= 3 * sum(again.reads.values())  # twice, and once to compare


@pytest.mark.parametrize(("low_memory", "most"), [(False, 40), (True, 8)], ids=["", "low memory"])
def test_low_memory_holds_no_chunks(low_memory, most):
    """Counts the chunks of the source that are in use at once."""
    import weakref

    alive, largest = set(), [0]

    class Chunk(np.ndarray):
        pass

    def read(block):
        chunk = np.array(block).view(Chunk)
        key = object()
        alive.add(key)
        weakref.finalize(chunk, alive.discard, key)
        largest[0] = max(largest[0], len(alive))
        return chunk

    lazy = da.from_array(X, chunks=(6, 1)).map_blocks(read, dtype=X.dtype, meta=X[:0, :0])
    softmax_cy.dask.softmax(lazy, low_memory=low_memory).map_blocks(lambda y: y[:, :0], dtype=X.dtype).compute()
    assert largest[0] == 40 if not low_memory else largest[0] <= most


def test_cross_entropy_without_weights_holds_no_chunks():
    lazy = da.from_array(X, chunks=(6, 1))
    graph = softmax_cy.dask.cross_entropy(lazy, T).__dask_graph__()
    readers = {key for key, names in graph.dependencies.items() if lazy.name in names}
    assert len(readers) == 1


@pytest.mark.parametrize("name", FORWARD)
def test_nan_in_one_chunk(name):
    x = X.copy()
    x[2, 17] = np.nan
    lazy = getattr(softmax_cy.dask, name)(da.from_array(x, chunks=(3, 7)))
    assert_same(lazy, getattr(softmax_cy, name)(x))
    kept = np.isfinite(lazy.compute()).reshape(6, -1).all(axis=1)
    assert kept.tolist() == [True, True, False, True, True, True]


def test_graphs_say_what_they_are():
    lazy = da.from_array(X, chunks=(3, 7))
    for name in FORWARD:
        one, other = (getattr(softmax_cy.dask, name)(lazy) for _ in range(2))
        assert one.name == other.name
        assert one.name.startswith(f"{name}-")
        assert set(one.dask) == set(other.dask)
        assert dask.base.tokenize(one) == dask.base.tokenize(other)
        assert one.name != getattr(softmax_cy.dask, name)(lazy, scale=2).name
        assert one.name == getattr(softmax_cy.dask, name)(lazy, 1).name
    low = softmax_cy.dask.softmax(lazy, low_memory=True)
    assert set(low.dask) == set(softmax_cy.dask.softmax(lazy, low_memory=True).dask)
    assert softmax_cy.dask.softmax(lazy).chunks == lazy.chunks
    assert softmax_cy.dask.logsumexp(lazy).chunks == ((3, 3),)
    assert softmax_cy.dask.logsumexp(lazy, keepdims=True).chunks == ((3, 3), (1,))


def test_merges_are_a_tree():
    lazy = da.from_array(np.zeros((1, 64)), chunks=(1, 1))

    def merges(**options):
        graph = dict(softmax_cy.dask.softmax(lazy, **options).dask)
        return sum("merge_states" in str(key) and "softmax_state" not in str(key) for key in graph)

    # The layer that a reduction begins with has a task a chunk.
    assert merges(split_every=64) == 64 + 1
    assert merges(split_every=4) == 64 + 16 + 4 + 1
    assert merges(split_every=2) == 64 + 63


def test_inner_axes_are_joined_without_larger_chunks():
    x = np.random.default_rng(2).standard_normal((60, 50))
    lazy = da.from_array(x, chunks=(20, 10))
    y = softmax_cy.dask.softmax(lazy, None)
    assert_same(y, softmax_cy.softmax(x, None))
    assert len(y.chunks[1]) == 1
    assert max(y.chunks[0]) * 50 <= 200


def unknown():
    lazy = da.from_array(X, chunks=(3, 10))
    return lazy[:, lazy[0] > -10], lazy[lazy[:, 0] > -10]


@pytest.mark.parametrize("name", FORWARD)
def test_unknown_chunks_along_the_slices(name):
    with pytest.raises(ValueError, match=r"x has unknown chunk sizes along axis 1: call x\.compute_chunk_sizes\(\)"):
        getattr(softmax_cy.dask, name)(unknown()[0])
    with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
        getattr(softmax_cy.dask, name)(unknown()[1], None)
    known = unknown()[0].compute_chunk_sizes()
    assert bits(getattr(softmax_cy.dask, name)(known).compute()) == bits(getattr(softmax_cy, name)(X))


@pytest.mark.parametrize("name", FORWARD)
def test_unknown_chunks_along_the_batch(name):
    lazy = getattr(softmax_cy.dask, name)(unknown()[1])
    assert bits(lazy.compute()) == bits(getattr(softmax_cy, name)(X))


def test_unknown_chunks_of_losses():
    lazy = unknown()[1]
    target = da.from_array(T, chunks=3)[da.from_array(X[:, 0], chunks=3) > -10]
    for options in ({}, {"reduction": "sum"}, {"weight": np.arange(40.0)}):
        loss = softmax_cy.dask.cross_entropy(lazy, target, **options)
        assert bits(loss.compute()) == bits(softmax_cy.cross_entropy(X, T, **options))
    with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
        softmax_cy.dask.cross_entropy(lazy, T)


class NotNumpy:
    """Blocks of another library."""

    __array_function__ = __array_ufunc__ = None
    shape, dtype, ndim = (0, 0), np.dtype(np.float32), 2


@pytest.mark.parametrize("kind", ["masked", "other"])
def test_blocks_that_are_not_numpy(kind):
    lazy = da.from_array(X, chunks=(3, 10))
    if kind == "masked":
        lazy = da.ma.masked_greater(lazy, 0)
        name = r"numpy\.ma\.\S*MaskedArray"
    else:
        lazy = da.from_array(X, chunks=(3, 10))
        lazy._meta = NotNumpy()
        name = r"test_dask\.NotNumpy"
    calls = [
        (lambda: softmax_cy.dask.softmax(lazy), "x"),
        (lambda: softmax_cy.dask.softmax_vjp(X, lazy), "y"),
        (lambda: softmax_cy.dask.cross_entropy(X, lazy), "target"),
        (lambda: softmax_cy.dask.cross_entropy(lazy, T), "x"),
    ]
    for call, argument in calls:
        with pytest.raises(TypeError, match=rf"^{argument} has blocks of type \S*{name}, expected numpy\.ndarray"):
            call()


@pytest.mark.parametrize("chunks", [(3, 40), (3, 7)], ids=["whole", "cut"])
def test_targets_out_of_range(chunks):
    target = T.copy()
    target[4] = 40
    lazy = da.from_array(X, chunks=chunks)
    for weight in (None, np.ones(40)):
        loss = softmax_cy.dask.cross_entropy(lazy, target, weight=weight)
        expected = r"target has 40 at \[1\] of its chunk \(1,\), expected 0 <= target < 40"
        with pytest.raises(ValueError, match=expected):
            loss.compute()
    target[4] = -1
    with pytest.raises(ValueError, match=r"target has -1 at \[1\] of its chunk \(1,\)"):
        softmax_cy.dask.cross_entropy(lazy, target).compute()
    assert np.isfinite(softmax_cy.dask.cross_entropy(lazy, target, ignore_index=-1).compute())


WRONG = [
    (lambda x: softmax_cy.dask.softmax(x, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
    (lambda x: softmax_cy.dask.softmax(x, True), TypeError, "axis"),
    (lambda x: softmax_cy.dask.softmax(x, (0, 0)), ValueError, "axis"),
    (lambda x: softmax_cy.dask.softmax(x, scale=-1), ValueError, "scale must be positive"),
    (
        lambda x: softmax_cy.dask.softmax(x, where=np.ones((4, 1), bool)),
        ValueError,
        r"\(4, 1\).*broadcast to \(6, 40\)",
    ),
    (lambda x: softmax_cy.dask.softmax(x, where=np.ones(40)), TypeError, "where has dtype float64"),
    (lambda x: softmax_cy.dask.softmax(x, dtype=np.int64), TypeError, "dtype is int64"),
    (lambda x: softmax_cy.dask.softmax(x.astype(complex)), TypeError, "x has dtype complex128"),
    (lambda x: softmax_cy.dask.softmax(x, split_every=1), ValueError, "split_every must be at least 2"),
    (lambda x: softmax_cy.dask.softmax(x, split_every=2.5), TypeError, "split_every must be an integer"),
    (lambda x: softmax_cy.dask.softmax_vjp(x, X[:5]), ValueError, "do not broadcast"),
    (lambda x: softmax_cy.dask.softmax_vjp(x, X, scale=0), ValueError, "scale must be positive"),
    (lambda x: softmax_cy.dask.cross_entropy(x, T[:5]), ValueError, r"target has shape \(5,\)"),
    (lambda x: softmax_cy.dask.cross_entropy(x, T > 2), TypeError, "target has dtype bool"),
    (lambda x: softmax_cy.dask.cross_entropy(x, X[:, :5]), ValueError, r"target has shape \(6, 5\)"),
    (lambda x: softmax_cy.dask.cross_entropy(x, T, weight=np.ones(3)), ValueError, r"weight has shape \(3,\)"),
    (lambda x: softmax_cy.dask.cross_entropy(x, T, (0, 1)), TypeError, "axis"),
    (lambda x: softmax_cy.dask.cross_entropy(x, T, reduction="max"), ValueError, "reduction must be"),
    (lambda x: softmax_cy.dask.cross_entropy(x, T, label_smoothing=2), ValueError, "label_smoothing must be"),
    (lambda x: softmax_cy.dask.cross_entropy(x, X, ignore_index=1), ValueError, "ignore_index applies to"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_wrong_arguments_are_found_while_the_graph_is_built(call, error, message):
    source = Source(X)
    with pytest.raises(error, match=message):
        call(da.from_array(source, chunks=(3, 7)))
    assert not source.reads


def test_importing_the_library_imports_no_dask():
    code = "import sys, softmax_cy; sys.exit('dask' in sys.modules or 'distributed' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_dask():
    code = "import sys; sys.modules['dask'] = None; import softmax_cy.dask"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert 'ImportError: softmax_cy.dask needs Dask: pip install "softmax_cy[dask]"' in done.stderr


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("chunks", [{"batch": 2}, {"classes": 7}, {"batch": 2, "classes": 7}], ids=str)
def test_the_recipe_for_xarray(name, chunks):
    x = xarray.DataArray(X, dims=("batch", "classes"), coords={"batch": list("abcdef")}).chunk(chunks)
    out = [[]] if name == "logsumexp" else [["classes"]]
    y = xarray.apply_ufunc(
        getattr(softmax_cy.dask, name), x, input_core_dims=[["classes"]], output_core_dims=out, dask="allowed"
    )
    assert isinstance(y.data, da.Array)
    assert y.dims == ("batch", *out[0])
    assert list(y.batch.values) == list("abcdef")
    assert bits(y.values) == bits(getattr(softmax_cy, name)(X))


def test_kernels_use_one_thread(monkeypatch):
    seen = []
    softmax = softmax_cy.softmax
    lazy = softmax_cy.dask.softmax(da.from_array(X, chunks=(3, 40)))
    monkeypatch.setattr(softmax_cy, "softmax", lambda *a, **k: seen.append(k["num_threads"]) or softmax(*a, **k))
    lazy.compute()
    assert seen == [1, 1]
