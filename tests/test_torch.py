"""softmax_cy.torch: the bits of the functions on arrays, torch's arguments and errors, modules, patching, routes.

test_torch_derivatives.py holds the derivatives, test_torch_transforms.py what works with which transform.
"""

import copy
import doctest
import io
import itertools
import pickle
import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

import softmax_cy
import softmax_cy.torch as ours
from operations import bits
from softmax_cy._loss import TargetOutOfRange
from softmax_cy.torch import _builtin, _kernels, _primitives, _routes
from softmax_cy.torch._routes import Route, choose_route

functional = torch.nn.functional
GUIDE = Path(__file__).parents[1] / "docs/torch.md"
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
OVER_A_DIM = ("softmax", "log_softmax", "logsumexp")
over_a_dim = pytest.mark.parametrize("name", OVER_A_DIM)


def to_numpy(tensor):
    """Without the functions under test."""
    if tensor.dtype is torch.bfloat16:
        return tensor.detach().float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def assert_same(result, expected, what=""):
    """A tensor has the bits of an array, and its dtype and shape."""
    array = to_numpy(result)
    assert array.dtype == np.asarray(expected).dtype, what
    assert array.shape == np.shape(expected), what
    assert bits(array) == bits(expected), what


def draw(shape, dtype, seed=0):
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


# ---- values ------------------------------------------------------------------------------------------------------


@every_dtype
@over_a_dim
def test_bits_of_the_functions_on_arrays(name, dtype):
    function, on_arrays = getattr(ours, name), getattr(softmax_cy, name)
    for shape in ((10,), (3, 0), (0, 3), (5, 7), (3, 4, 50), (2, 9000)):
        x = draw(shape, dtype)
        for dim in range(-len(shape), len(shape)):
            assert_same(function(x, dim), on_arrays(to_numpy(x), dim), (shape, dim))
            assert_same(function(x, dim, scale=0.3), on_arrays(to_numpy(x), dim, scale=0.3), (shape, dim))
            where = draw(shape, torch.float32, 1) > 0
            expected = on_arrays(to_numpy(x), dim, where=where.numpy())
            assert_same(function(x, dim, where=where), expected, (shape, dim))


@every_dtype
def test_logsumexp_over_several_dims(dtype):
    x = draw((3, 4, 5), dtype)
    for dims in ((0, 1), (2, 0), (-1, -2, -3), (1,)):
        for keepdim in (False, True):
            expected = softmax_cy.logsumexp(to_numpy(x), dims, keepdims=keepdim)
            assert_same(ours.logsumexp(x, dims, keepdim), expected, dims)
    assert_same(ours.logsumexp(x, ()), softmax_cy.logsumexp(to_numpy(x), None))


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_bits_of_cross_entropy(reduction, dtype):
    """With a gradient and without, of indices and of probabilities."""
    for shape in ((7,), (6, 7), (2, 7, 3, 4)):
        x = draw(shape, dtype)
        axis = 0 if len(shape) == 1 else 1
        indices = torch.randint(7, [n for d, n in enumerate(shape) if d != axis])
        if indices.dim():
            indices.view(-1)[0] = -100
        probabilities = torch.softmax(draw(shape, torch.float32, 2), axis).to(dtype)
        weight = torch.rand(7).to(dtype)
        for target, w, smoothing in itertools.product((indices, probabilities), (None, weight), (0.0, 0.2)):
            options = {
                "axis": axis,
                "weight": None if w is None else to_numpy(w),
                "ignore_index": -100 if target is indices else None,
                "label_smoothing": smoothing,
                "reduction": reduction,
            }
            leaf = x.clone().requires_grad_()
            loss = ours.cross_entropy(leaf, target, w, reduction=reduction, label_smoothing=smoothing)
            expected, grad = softmax_cy.cross_entropy_and_grad(to_numpy(x), to_numpy(target), **options)
            assert_same(loss, expected, (shape, smoothing))
            alone = ours.cross_entropy(x, target, w, reduction=reduction, label_smoothing=smoothing)
            assert_same(alone, softmax_cy.cross_entropy(to_numpy(x), to_numpy(target), **options), shape)
            loss.sum().backward()
            assert_same(leaf.grad, grad, (shape, smoothing))


@every_dtype
def test_no_further_from_the_truth_than_torch(dtype):
    x, target = draw((60, 70), dtype), torch.arange(60)
    truth = x.double()
    pairs = [
        (getattr(ours, name)(x, 1), getattr(torch, name)(x, 1), getattr(torch, name)(truth, 1)) for name in OVER_A_DIM
    ]
    of_truth = functional.cross_entropy(truth, target, reduction="none")
    pairs.append(
        (
            ours.cross_entropy(x, target, reduction="none"),
            functional.cross_entropy(x, target, reduction="none"),
            of_truth,
        )
    )
    for result, theirs, exact in pairs:
        # In float64 the truth is torch's own, and both are right to the last digits.
        error, their_error = ((y.double() - exact).abs().max().item() for y in (result, theirs))
        assert error <= max(their_error, 1e-14)


def layouts_of(x):
    """The same elements, laid out in other ways."""
    yield x.T.contiguous().T
    wide = torch.zeros(x.shape[0], 2 * x.shape[1], dtype=x.dtype)
    wide[:, ::2] = x
    yield wide[:, ::2]
    yield x[:1].expand(x.shape)
    yield torch.cat([x[:1], x])[1:]


@every_dtype
@over_a_dim
def test_any_strides(name, dtype):
    for x in layouts_of(draw((5, 6), dtype)):
        for dim in (0, 1):
            expected = getattr(softmax_cy, name)(to_numpy(x), dim)
            assert_same(getattr(ours, name)(x, dim), np.ascontiguousarray(expected), (x.stride(), dim))


def test_no_copy_of_the_input(monkeypatch):
    """Whatever the strides, the kernels read the tensor's own memory and write into the result's."""
    seen = []
    monkeypatch.setattr(softmax_cy, "softmax", lambda x, *_, out, **__: seen.append((x, out)))
    for dtype in DTYPES:
        for x in layouts_of(draw((5, 6), dtype)):
            y = ours.softmax(x, 0)
            array, out = seen.pop()
            assert array.ctypes.data == x.data_ptr()
            assert out.ctypes.data == y.data_ptr()
            assert [n // x.itemsize for n in array.strides] == list(x.stride())


def test_a_number_without_dimensions():
    x = torch.tensor(3.0, requires_grad=True)
    for dim in (0, -1):
        assert ours.softmax(x, dim).item() == 1
        assert ours.log_softmax(x, dim).item() == 0
        assert ours.logsumexp(x, dim).item() == 3
        assert ours.logsumexp(x, dim, keepdim=True).shape == ()
    ours.logsumexp(x, 0).backward()
    assert x.grad.item() == 1


def test_dtype_converts_first():
    x = draw((3, 4), torch.float64)
    assert_same(ours.softmax(x, 1, torch.float32), softmax_cy.softmax(to_numpy(x), dtype=np.float32))
    assert ours.log_softmax(torch.arange(3), 0, dtype=torch.float32).dtype is torch.float32
    leaf = x.clone().requires_grad_()
    ours.softmax(leaf, 1, dtype=torch.float32).square().sum().backward()
    assert leaf.grad.dtype is torch.float64
    assert ours.logsumexp(torch.arange(4).reshape(2, 2), 1).dtype is torch.float32


def test_what_the_kernels_do_not_know_goes_to_torch():
    x = torch.randn(2, 3)
    for unknown in (x.to("meta"), x.to_sparse(), x.long(), x.cfloat()):
        assert choose_route(unknown) is Route.BUILTIN
    y = ours.softmax(x.to("meta"), 1)
    assert (y.device.type, y.shape) == ("meta", x.shape)
    assert ours.cross_entropy(x.to("meta"), torch.tensor([0, 1], device="meta")).shape == ()
    for name in OVER_A_DIM[:2]:
        with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
            getattr(ours, name)(x.long(), 1)
    z = torch.randn(2, 3, dtype=torch.complex64)
    assert torch.equal(ours.logsumexp(z, 1), torch.logsumexp(z, 1))


@over_a_dim
def test_the_builtin_way_has_masks_and_scales(name):
    """Where the kernels cannot run, where= and scale= still mean the same."""
    x = draw((4, 6), torch.float64)
    where = draw((4, 6), torch.float64, 1) > 0
    where[2] = False
    primitive = getattr(_primitives, name)
    options = (where, [1], 0.7, *([True] if name == "logsumexp" else []))
    torch.testing.assert_close(primitive.compute_builtin(x, *options), primitive.kernel(x, *options))
    assert_same(
        primitive.kernel(x, *options),
        getattr(softmax_cy, name)(
            to_numpy(x), 1, where=where.numpy(), scale=0.7, **({"keepdims": True} if name == "logsumexp" else {})
        ),
    )


@pytest.mark.parametrize("name", ["softmax_product", "log_softmax_vjp", "log_softmax_jvp"])
def test_the_builtin_way_of_products(name):
    primitive = getattr(_primitives, name)
    y = torch.log_softmax(draw((4, 6), torch.float64), 1)
    y = y if name.startswith("log") else y.exp()
    v = draw((4, 6), torch.float64, 3)
    torch.testing.assert_close(primitive.compute_builtin(v, y, [1], 0.7), primitive.kernel(v, y, [1], 0.7))


def test_a_saturated_loss_keeps_its_gradient():
    """Torch's log_softmax gives 0 here, and no gradient at the target."""
    x = torch.tensor([[40.0, 0.0]], requires_grad=True)
    loss = ours.cross_entropy(x, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(np.exp(-40), rel=1e-6)
    assert x.grad[0, 0].item() == pytest.approx(-np.exp(-40), rel=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_gradient_in_the_weights_alone(reduction):
    """The weights of cross_entropy may be all that needs a derivative."""
    generator = torch.Generator().manual_seed(0)
    x, logits = torch.randn(2, 4, 5, generator=generator)
    target = torch.softmax(logits, 1)
    weight = torch.rand(5, generator=generator).requires_grad_()
    gradients = [
        torch.autograd.grad(library.cross_entropy(x, target, weight, reduction=reduction).sum(), weight)[0]
        for library in (ours, functional)
    ]
    torch.testing.assert_close(*gradients)


# ---- arguments ---------------------------------------------------------------------------------------------------

X = torch.zeros(3, 4)
TARGET = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f.softmax(X, 2), IndexError, r"expected to be in range of \[-2, 1\], but got 2"),
        (lambda f: f.log_softmax(X, -3), IndexError, r"expected to be in range of \[-2, 1\], but got -3"),
        (lambda f: f.softmax(torch.tensor(1.0), 1), IndexError, r"expected to be in range of \[-1, 0\], but got 1"),
        (lambda f: f.cross_entropy(X, torch.tensor([0, 1, 4])), IndexError, "4"),
        (lambda f: f.cross_entropy(X, torch.tensor([0, -1, 3])), IndexError, "-1"),
        (lambda f: f.cross_entropy(X, TARGET, reduction="median"), ValueError, "median"),
    ],
)
def test_errors_that_torch_raises_too(call, error, message):
    for functions in (ours, functional):
        with pytest.raises(error, match=message):
            call(functions)


@pytest.mark.parametrize("logits", [X, X.clone().requires_grad_()], ids=["plain", "with a derivative"])
def test_no_words_make_an_index_error(logits, monkeypatch):
    """What becomes an IndexError is told by its type, whatever a message says."""
    words = "expected 0 <= target < 4"
    with pytest.raises(ValueError, match=words):
        ours.cross_entropy(logits, TARGET, reduction=words)

    def refuse(*_):
        raise TargetOutOfRange("other words")

    monkeypatch.setattr(_kernels, "cross_entropy", refuse)
    monkeypatch.setattr(_kernels, "cross_entropy_and_grad", refuse)
    with pytest.raises(IndexError, match=r"^other words$"):
        ours.cross_entropy(logits, TARGET)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ours.softmax(X, 1, scale=0), ValueError, "scale must be positive and finite, got 0"),
        (lambda: ours.softmax(X, 1, where=torch.ones(3, 5, dtype=bool)), ValueError, "does not broadcast"),
        (lambda: ours.softmax(X, 1, where=torch.ones(3, 4)), TypeError, "where has dtype float32, expected bool"),
        (lambda: ours.logsumexp(X, (0, 0)), ValueError, r"dim \(0, 0\) names a dimension twice"),
        (lambda: ours.cross_entropy(X, torch.tensor([0, 1])), ValueError, r"target has shape \(2,\)"),
        (lambda: ours.cross_entropy(X, TARGET, torch.ones(3)), ValueError, r"weight has shape \(3,\), expected \(4,\)"),
        (lambda: ours.cross_entropy(X, TARGET, label_smoothing=2), ValueError, "between 0 and 1"),
        (lambda: ours.patch("torch"), TypeError, "target must be a torch.nn.Module or a module, got str"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_deprecated_arguments_of_the_loss():
    x = draw((3, 4), torch.float32)
    with pytest.warns(UserWarning, match="reduction='sum'"):
        assert torch.equal(ours.cross_entropy(x, TARGET, None, False), ours.cross_entropy(x, TARGET, reduction="sum"))


def test_bfloat16_without_ml_dtypes(monkeypatch):
    monkeypatch.setattr(_kernels, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r'pip install "softmax_cy\[torch\]"'):
        ours.softmax(X.bfloat16(), 1)


def test_importing_softmax_cy_does_not_import_torch():
    code = "import sys, softmax_cy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys; sys.modules['torch'] = None; import softmax_cy.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: softmax_cy.torch needs torch: pip install "softmax_cy[torch]"' in done.stderr


@pytest.mark.parametrize("name", ours.__all__)
def test_docstrings_run(name):
    examples = doctest.DocTestFinder().find(getattr(ours, name), name, module=ours, globs={})
    if name not in ("Softmax", "LogSoftmax", "CrossEntropyLoss"):
        assert any(test.examples for test in examples)
    for test in examples:
        assert doctest.DocTestRunner().run(test).failed == 0


def test_the_docstring_of_the_module_runs():
    assert doctest.testmod(ours).failed == 0


def test_the_examples_of_the_guide_run():
    assert doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_the_table_of_digits_in_the_guide_is_true():
    """Each expression gives what the table says, with torch's functions and with ours."""
    table = GUIDE.read_text().split("| | torch | softmax_cy.torch |")[1].split("\n\n")[0]
    rows = re.findall(r"`(.*)` \| ([^|:]*)[^|]*\| ([^|]*) \|", table)
    assert len(rows) == 4
    for code, theirs, of_ours in rows:
        *statements, value = code.split("; ")
        for functions, expected in ((functional, theirs), (ours, of_ours)):
            names = {name: getattr(functions, name) for name in ("softmax", "log_softmax", "cross_entropy")}
            names["torch"] = torch
            for statement in statements:
                exec(statement, names)
            found = eval(value, names)
            shown = f"{found.item():.5g}" if isinstance(found, torch.Tensor) else str(found)
            assert shown == expected.strip(), code


# ---- routes and threads ------------------------------------------------------------------------------------------


def test_routes():
    x = torch.randn(3)
    leaf = x.clone().requires_grad_()
    assert choose_route(x) is Route.KERNEL
    assert choose_route(leaf) is Route.FUNCTION
    assert choose_route(x, leaf) is Route.FUNCTION
    with torch.no_grad():
        assert choose_route(leaf) is Route.KERNEL
    seen = []
    torch.func.vmap(lambda x: seen.append(choose_route(x)) or x)(X)
    with torch.autograd.forward_ad.dual_level():
        seen.append(choose_route(x))
    assert set(seen) == {Route.TRANSFORM}

    class Own(torch.Tensor):
        """A subclass, which may do anything when it is used."""

    assert choose_route(x.as_subclass(Own)) is Route.OPERATOR
    assert isinstance(ours.softmax(x.as_subclass(Own), 0), Own)
    assert choose_route(torch.nn.Parameter(x)) is Route.FUNCTION
    assert not _routes.runs_on_memory(x.as_subclass(Own))


def test_torch_decides_on_threads(monkeypatch):
    monkeypatch.setattr(_routes, "native", None)
    seen = []
    original = softmax_cy.softmax
    monkeypatch.setattr(softmax_cy, "softmax", lambda *a, **k: seen.append(k["num_threads"]) or original(*a, **k))
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            ours.softmax(X, 1)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2, 3]


def test_torch_functions_of_subclasses_are_asked():
    class Counting(torch.overrides.TorchFunctionMode):
        """Sees every function that is called."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    names = []
    with Counting():
        for name in OVER_A_DIM:
            getattr(ours, name)(X, 1)
        ours.cross_entropy(X, TARGET)
    assert set(names) >= {*OVER_A_DIM, "cross_entropy"}


# ---- modules and patches -----------------------------------------------------------------------------------------

MODULES = {
    "Softmax": ((1,), (X,)),
    "LogSoftmax": ((1,), (X,)),
    "CrossEntropyLoss": ((torch.arange(1.0, 5),), (X, TARGET)),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    """They are torch's modules: the same arguments, parameters and names; and they travel."""
    arguments, inputs = MODULES[name]
    module = getattr(ours, name)(*arguments)
    theirs = getattr(torch.nn, name)(*arguments)
    assert isinstance(module, getattr(torch.nn, name))
    assert repr(module) == repr(theirs)
    assert module.state_dict().keys() == theirs.state_dict().keys()
    torch.testing.assert_close(module(*inputs), theirs(*inputs))
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    for other in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(stream, weights_only=False),
    ):
        assert torch.equal(other(*inputs), module(*inputs))
    options = {"ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1}
    if name == "CrossEntropyLoss":
        torch.testing.assert_close(
            ours.CrossEntropyLoss(**options)(*inputs), torch.nn.CrossEntropyLoss(**options)(*inputs)
        )
    else:
        with pytest.warns(UserWarning, match="Implicit dimension choice"):
            assert torch.equal(getattr(ours, name)()(X), module(X))


class Attention(torch.nn.Module):
    """A model that reaches softmax in several ways."""

    def __init__(self):
        super().__init__()
        self.last = torch.nn.Softmax(dim=-1)

    def forward(self, x):
        """Call them all."""
        y = functional.softmax(x, -1) + torch.softmax(x, -1) + x.softmax(-1) + self.last(x)
        return y + functional.log_softmax(x, dim=-1) + x.log_softmax(-1) + x.logsumexp(-1, keepdim=True)


def test_patching_a_model(monkeypatch):
    """All functions are ours within the block, and torch's after it."""
    monkeypatch.setattr(_routes, "native", None)
    calls = []
    monkeypatch.setattr(_builtin, "torch_softmax", lambda *_: calls.append("torch"))
    model, x = Attention(), draw((3, 4), torch.float32)
    before = {name: getattr(torch, name) for name in OVER_A_DIM}
    expected = model(x)
    with ours.patch(model) as patched:
        assert set(patched.replaced) >= {
            "torch.softmax",
            "torch.Tensor.softmax",
            "torch.Tensor.logsumexp",
            "torch.nn.functional.cross_entropy",
        }
        assert "torch.softmax" in repr(patched)
        counted = _routes.choose_route
        for module in (_primitives,):
            monkeypatch.setattr(module, "choose_route", lambda *a: calls.append("ours") or counted(*a))
        torch.testing.assert_close(model(x), expected)
        assert calls == ["ours"] * 7
        with ours.patch(), pytest.raises(RuntimeError, match="in use already"), patched:
            pass
    assert patched.replaced == []
    assert repr(patched) == "<patch of nothing>"
    assert {name: getattr(torch, name) for name in OVER_A_DIM} == before
    calls.clear()
    model(x)
    assert not calls


def test_patching_puts_back_after_an_error():
    before = dict(vars(functional)), dict(vars(torch.Tensor)), dict(vars(torch))
    with pytest.raises(IndexError), ours.patch():
        functional.cross_entropy(X, TARGET + 2)
    assert before == (dict(vars(functional)), dict(vars(torch.Tensor)), dict(vars(torch)))


def test_patching_a_module_of_python():
    module = type(sys)("a_model")
    module.softmax, module.other = functional.softmax, functional.relu
    with ours.patch(module) as patched:
        assert patched.replaced == ["a_model.softmax"]
        assert torch.equal(module.softmax(X, dim=1), ours.softmax(X, 1))
    assert module.softmax is functional.softmax


def test_patched_functions_take_every_argument_of_torch():
    x = draw((3, 4), torch.float32)
    out = torch.empty(3, 4)
    with ours.patch():
        torch.softmax(x, 1, out=out)
        assert torch.equal(functional.softmax(x, -1, 3, torch.float64), ours.softmax(x, 1, torch.float64))
        assert torch.equal(x.softmax(dim=1, dtype=torch.float64), ours.softmax(x, 1, torch.float64))
        assert torch.equal(torch.logsumexp(x, (0, 1)), ours.logsumexp(x, (0, 1)))
        assert torch.logsumexp(x, 1, out=torch.empty(3)).shape == (3,)
        with pytest.warns(UserWarning, match="Implicit dimension choice"):
            functional.softmax(x)
        loss = functional.cross_entropy(x, TARGET, ignore_index=2, label_smoothing=0.1)
    torch.testing.assert_close(out, torch.softmax(x, 1))
    torch.testing.assert_close(loss, functional.cross_entropy(x, TARGET, ignore_index=2, label_smoothing=0.1))
