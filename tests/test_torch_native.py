"""The route of softmax_cy.torch in C++: the bits of the functions on arrays, the derivatives, and what it leaves alone.

The extension is built here, from this tree, with the torch that is installed.
"""

import gc
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import softmax_cy
import softmax_cy.torch as ours
from operations import bits
from softmax_cy.torch import _routes

ROOT = Path(__file__).parents[1]
BUILDER = ROOT / "tools/torch_extension.py"
COMPILER = os.environ.get("CXX", "c++").split()[-1]

pytestmark = [
    pytest.mark.skipif(not BUILDER.exists(), reason="the tools are not part of this copy"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C++ compiler: {COMPILER} was not found"),
    # Of torch's own modules, when it differentiates forward for the first time.
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]

NAMES = ("softmax", "log_softmax", "logsumexp", "cross_entropy")
OVER_A_DIM = NAMES[:3]
each_function = pytest.mark.parametrize("name", NAMES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    """The extension, built once."""
    folder = tmp_path_factory.mktemp("native")
    done = subprocess.run(
        [sys.executable, str(BUILDER), str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return load(done.stdout.splitlines()[-1])


def load(file):
    """Load the extension from a file."""
    spec = importlib.util.spec_from_file_location("softmax_cy.torch._native", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Counting:
    """The extension, and how many calls it took and left."""

    def __init__(self, extension):
        self.extension = extension
        self.taken = self.left = 0

    def __getattr__(self, name):
        function = getattr(self.extension, name)

        def call(*arguments):
            result = function(*arguments)
            self.taken += result is not None
            self.left += result is None
            return result

        return call


@pytest.fixture(autouse=True)
def native(extension, monkeypatch):
    """The route is in use. Torch has one thread, so that calls of all sizes take it."""
    counting = Counting(extension)
    monkeypatch.setattr(_routes, "native", counting)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield counting
    torch.set_num_threads(before)


def draw(*shape, dtype=torch.float64, seed=0):
    return 3 * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def leaf(*shape, dtype=torch.float64):
    return draw(*shape, dtype=dtype).requires_grad_()


def classes_of(x):
    """A class for each row, not one after the other."""
    return torch.arange(len(x)) * 7 % x.shape[-1]


def call(name, x, functions=ours, **options):
    """Call a function along the last dimension. For a loss the rows have classes."""
    if name == "cross_entropy":
        return getattr(functions, name)(x, classes_of(x), **options)
    return getattr(functions, name)(x, -1, **options)


def in_python(function):
    """Compute by the routes in Python."""
    native, _routes.native = _routes.native, None
    try:
        return function()
    finally:
        _routes.native = native


class Theirs:
    """Torch's functions by the same names."""

    softmax, log_softmax, logsumexp = torch.softmax, torch.log_softmax, torch.logsumexp
    cross_entropy = staticmethod(torch.nn.functional.cross_entropy)


# ---- values ------------------------------------------------------------------------------------------------------


def assert_same(result, expected):
    assert result.dtype is torch.from_numpy(np.asarray(expected)).dtype
    assert result.shape == np.shape(expected)
    assert bits(result.detach().numpy()) == bits(expected)


@each_dtype
@pytest.mark.parametrize("name", OVER_A_DIM)
def test_bits_of_the_functions_on_arrays(native, name, dtype):
    for shape in ((1,), (10,), (1, 10), (5, 7), (3, 4, 50), (2, 1, 3, 4), (700, 3), (2, 20000)):
        x = draw(*shape, dtype=dtype)
        x.view(-1)[0] = -torch.inf
        for scale in (1.0, 0.3):
            expected = getattr(softmax_cy, name)(x.numpy(), scale=scale)
            for given in (x, x.clone().requires_grad_()):
                for dim in (-1, x.dim() - 1):
                    assert_same(getattr(ours, name)(given, dim, scale=scale), expected)
            with torch.inference_mode():
                assert_same(getattr(ours, name)(x, -1, scale=scale), expected)
        if name == "logsumexp":
            assert_same(ours.logsumexp(x, -1, True), softmax_cy.logsumexp(x.numpy(), -1, keepdims=True))
    assert native.left == 0


@each_dtype
@each_reduction
def test_bits_of_cross_entropy(native, dtype, reduction):
    """Of sums with one chunk of losses and with many, and of more chunks than the functions on arrays have room for."""
    for rows, length in ((1, 10), (32, 1000), (2000, 3), (70000, 1), (5, 20000)):
        x = draw(rows, length, dtype=dtype)
        target = classes_of(x)
        options = {"reduction": reduction}
        expected, grad = softmax_cy.cross_entropy_and_grad(x.numpy(), target.numpy(), **options)
        given = x.clone().requires_grad_()
        loss = ours.cross_entropy(given, target, **options)
        assert_same(loss, expected)
        loss.sum().backward()
        assert_same(given.grad, grad)
        assert_same(ours.cross_entropy(x, target.repeat_interleave(2)[::2], **options), expected)
    assert native.left == 0


def test_losses_are_added_in_the_same_chunks():
    """In other chunks, one sum of four has other bits."""
    for seed in range(20):
        x = draw(600, 100, seed=seed)
        target = classes_of(x)
        assert_same(
            ours.cross_entropy(x, target, reduction="sum"),
            softmax_cy.cross_entropy(x.numpy(), target.numpy(), reduction="sum"),
        )


def test_losses_that_are_not_finite(native):
    x = torch.tensor([[0.0, torch.inf], [0.0, 1.0], [-torch.inf, 0.0]])
    for reduction in ("mean", "sum", "none"):
        expected = softmax_cy.cross_entropy(x.numpy(), [0, 0, 0], reduction=reduction)
        assert_same(ours.cross_entropy(x, torch.zeros(3, dtype=torch.int64), reduction=reduction), expected)
    assert native.taken == 3


def gradients_like(y):
    """Gradients of one value, in one piece, in other orders of memory, and expanded."""
    yield torch.ones_like(y)
    yield draw(*y.shape, dtype=y.dtype, seed=1)
    yield torch.tensor(0.5, dtype=y.dtype).expand(y.shape)
    if y.dim():
        yield draw(*y.shape[::-1], dtype=y.dtype, seed=1).permute(*range(y.dim())[::-1])
        yield draw(*y.shape, 2, dtype=y.dtype, seed=1)[..., 0]
        yield draw(*y.shape[1:], dtype=y.dtype, seed=1).expand(y.shape)


@each_dtype
@each_function
def test_gradients_have_the_bits_of_the_other_routes(native, name, dtype):
    choices = [{"scale": 1.0}, {"scale": 0.3}]
    if name == "cross_entropy":
        choices = [{"reduction": reduction} for reduction in ("mean", "sum", "none")]
    if name == "logsumexp":
        choices += [{"keepdim": True}]
    for shape in ((7,), (1, 10), (5, 7), (2, 3, 4), (2, 1, 4), (3, 9000)):
        if name == "cross_entropy" and len(shape) != 2:
            continue
        for options in choices:
            x = leaf(*shape, dtype=dtype)
            y, expected = call(name, x, **options), in_python(lambda: call(name, x, **options))  # noqa: B023
            for grad in gradients_like(y):
                one, other = (torch.autograd.grad(each, x, grad, retain_graph=True)[0] for each in (y, expected))
                assert bits(one.numpy()) == bits(other.numpy()), (shape, options, grad.stride())
    assert native.left == 0


# ---- derivatives -------------------------------------------------------------------------------------------------


@each_function
def test_derivatives_by_differences(native, name):
    x = leaf(4, 5)
    for options in ({"reduction": "none"}, {}) if name == "cross_entropy" else ({"scale": 0.7}, {}):
        assert gradcheck(lambda x: call(name, x, **options), (x,), check_batched_grad=True)  # noqa: B023
        assert gradgradcheck(lambda x: call(name, x, **options), (x,), check_batched_grad=True)  # noqa: B023
    assert native.taken


def square(name, functions=ours):
    return lambda x: call(name, x, functions).square().sum()


def differentiate_thrice(name, functions):
    """A number and three gradients, each that of the one before."""
    x = leaf(4, 5)
    found = [square(name, functions)(x)]
    for _ in range(3):
        number = (found[-1] * draw(*found[-1].shape, seed=2)).sum()
        found.append(torch.autograd.grad(number, x, create_graph=True)[0])
    return found


@each_function
def test_second_and_third_derivatives_are_those_of_torch(name):
    torch.testing.assert_close(differentiate_thrice(name, ours), differentiate_thrice(name, Theirs))


@each_function
def test_a_gradient_is_the_start_of_a_graph_only_where_one_is_asked_for(name):
    x = leaf(4, 5)
    y = square(name)(x)
    assert torch.autograd.grad(y, x, create_graph=True)[0].requires_grad
    assert not torch.autograd.grad(y, x)[0].requires_grad


@each_function
def test_forward_over_reverse_and_batches(name):
    """Derivatives of gradients that start in other modes than the call was made in."""
    v = draw(4, 5, seed=3)
    expected = torch.autograd.functional.jacobian(lambda x: call(name, x, Theirs), draw(4, 5))
    found = torch.autograd.functional.jacobian(lambda x: call(name, x), draw(4, 5), vectorize=True)
    torch.testing.assert_close(found, expected)
    second = []
    for functions in (ours, Theirs):
        x = leaf(4, 5)
        y = call(name, x, functions)
        with forward_ad.dual_level():
            seed = forward_ad.make_dual(torch.ones_like(y), draw(*y.shape, seed=4))
            (grad,) = torch.autograd.grad(y, x, seed)
            second.append(forward_ad.unpack_dual(grad).tangent)
        torch.testing.assert_close(
            torch.func.grad(square(name, functions))(x.detach()), torch.autograd.grad(square(name, functions)(x), x)[0]
        )
        second.append(torch.func.jvp(torch.func.grad(square(name, functions)), (x.detach(),), (v,))[1])
    torch.testing.assert_close(second[:2], second[2:])


@each_function
def test_a_graph_serves_once_unless_it_is_kept(name):
    x = leaf(4, 5)
    y = call(name, x)
    grad = torch.ones_like(y)
    (first,) = torch.autograd.grad(y, x, grad, retain_graph=True)
    kept = first.clone()
    first.zero_()  # whoever has a gradient may write into it
    (second,) = torch.autograd.grad(y, x, grad)
    assert torch.equal(second, kept)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(y, x, grad)


# What is needed for the gradient, of the logits or what was made of them, and of the targets.
CHANGES = {
    "softmax": lambda x, target, y: y,
    "log_softmax": lambda x, target, y: y,
    "logsumexp": lambda x, target, y: x,
    "cross_entropy": lambda x, target, y: target,
}


@each_function
def test_what_is_needed_must_not_change(name):
    for functions in (ours, Theirs):
        x = leaf(4, 5) * 1
        target = classes_of(x)
        y = functions.cross_entropy(x, target) if name == "cross_entropy" else call(name, x, functions)
        CHANGES[name](x, target, y).add_(0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@each_function
def test_hooks_on_what_is_kept(native, name):
    """Hooks may store what is kept, and may give back other tensors: of other strides, or of another dtype."""
    replacements = (
        lambda tensor: tensor,
        lambda tensor: tensor.clone(),
        lambda tensor: tensor.T.contiguous().T if tensor.dim() == 2 else tensor,
        lambda tensor: tensor.float().double() if tensor.is_floating_point() else tensor,
    )
    x = leaf(4, 5)
    expected = in_python(lambda: torch.autograd.grad(call(name, x).sum(), x)[0])
    for unpack in replacements:
        packed = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: packed.append(1) or tensor, unpack):  # noqa: B023
            y = call(name, x)
        assert len(packed) == (3 if name == "cross_entropy" else 1)
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], expected, rtol=1e-6, atol=1e-6)
    with torch.autograd.graph.save_on_cpu():
        call(name, x).sum().backward()
    assert native.taken == 5


@each_function
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(name, reentrant):
    gradients = []
    for compute in (
        square(name),
        lambda x: torch.utils.checkpoint.checkpoint(square(name), x, use_reentrant=reentrant),
    ):
        x = leaf(4, 5)
        compute(x).backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


@each_function
def test_the_graph_has_the_names_of_the_other_routes(name):
    x = leaf(4, 5)
    y, other = call(name, x), in_python(lambda: call(name, x))
    assert repr(y) == repr(other)
    assert y.grad_fn.name() == type(other.grad_fn).__name__


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
def test_a_detected_anomaly_names_the_function():
    x = torch.full((1, 2), torch.inf, requires_grad=True)
    with (
        pytest.warns(UserWarning, match="Error detected in SoftmaxBackward"),
        pytest.raises(RuntimeError, match=r"SoftmaxBackward.* returned nan"),
        torch.autograd.detect_anomaly(check_nan=True),
    ):
        ours.softmax(x, -1).sum().backward()


# ---- what is left to the other routes ----------------------------------------------------------------------------


class Own(torch.Tensor):
    """A subclass, which may do anything when it is used."""


class Watching(TorchDispatchMode):
    """Sees every operator."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


X, TARGET = draw(4, 5), torch.tensor([0, 1, 4, 2])
ROWS = torch.arange(4)
LEFT = {
    "another dim": lambda f: f.softmax(X, 0),
    "dim out of range": lambda f: f.log_softmax(X, 2),
    "a dim beyond any int": lambda f: f.log_softmax(X, 2**70),
    "a bool for a dim": lambda f: f.softmax(X, True),
    "several dims": lambda f: f.logsumexp(X, (0, 1)),
    "a scalar": lambda f: f.softmax(X[0, 0], 0),
    "no elements": lambda f: f.softmax(X[:0], 1),
    "slices without elements": lambda f: f.logsumexp(X[:, :0], 1),
    "strides": lambda f: f.log_softmax(X.T, 1),
    "float16": lambda f: f.softmax(X.half(), 1),
    "integers": lambda f: f.logsumexp(TARGET, 0),
    "complex": lambda f: f.logsumexp(X.cfloat(), 1),
    "a bit for the sign": lambda f: f.softmax(torch._neg_view(X), 1),
    "sparse": lambda f: f.softmax(X.to_sparse(), 1),
    "meta": lambda f: f.softmax(X.to("meta"), 1),
    "dtype": lambda f: f.softmax(X, 1, torch.float32),
    "where": lambda f: f.softmax(X, 1, where=X > 0),
    "a scale that is no float": lambda f: f.softmax(X, 1, scale=2),
    "a wrong scale": lambda f: f.logsumexp(X, 1, scale=-1.0),
    "a scale that is too small for float32": lambda f: f.softmax(X.float(), 1, scale=1e-50),
    "no tensor": lambda f: f.softmax([1.0], 0),
    "three dimensions": lambda f: f.cross_entropy(X[:, :, None], TARGET[:, None]),
    "one slice": lambda f: f.cross_entropy(X[0], TARGET[0]),
    "probabilities": lambda f: f.cross_entropy(X, X.softmax(1)),
    "int32": lambda f: f.cross_entropy(X, TARGET.int()),
    "a class out of range": lambda f: f.cross_entropy(X, TARGET + 1),
    "a negative class": lambda f: f.cross_entropy(X, TARGET - 1),
    "an ignored class": lambda f: f.cross_entropy(X, torch.tensor([0, -100, 1, 2])),
    "all ignored": lambda f: f.cross_entropy(X, torch.full((4,), -100)),
    "an ignored class that is one": lambda f: f.cross_entropy(X, TARGET, ignore_index=1),
    "few targets": lambda f: f.cross_entropy(X, TARGET[:3]),
    "weight": lambda f: f.cross_entropy(X, TARGET, torch.ones(5, dtype=torch.float64)),
    "smoothing": lambda f: f.cross_entropy(X, TARGET, label_smoothing=0.1),
    "reduction": lambda f: f.cross_entropy(X, TARGET, reduction="median"),
    "where of a loss": lambda f: f.cross_entropy(X, TARGET, where=X > -9),
    "a subclass": lambda f: f.softmax(X.as_subclass(Own), 1),
    "vmap": lambda f: torch.func.vmap(lambda x: f.softmax(x, 0))(X),
    "func.grad": lambda f: torch.func.grad(lambda x: f.cross_entropy(x, TARGET))(X),
    "make_fx": lambda f: make_fx(lambda x: f.softmax(x, 1))(X)(X),
    "trace": lambda f: torch.jit.trace(lambda x: f.logsumexp(x, 1), X, check_trace=False)(X),
}


def outcome(function):
    """The result, or the error and its text."""
    try:
        return function(ours)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("what", LEFT)
def test_what_is_left_to_the_other_routes(native, what):
    found, expected = outcome(LEFT[what]), in_python(lambda: outcome(LEFT[what]))
    assert (native.taken, native.left) == (0, max(1, native.left))
    if isinstance(expected, tuple):
        assert found == expected
    elif expected.is_meta or expected.is_sparse:
        assert (found.shape, found.layout) == (expected.shape, expected.layout)
    else:
        assert bits(found.numpy()) == bits(expected.numpy())
        assert type(found) is type(expected)


def run_in(mode):
    """Call each function within a context."""
    with mode:
        for name in NAMES:
            call(name, X)


def test_what_looks_on_sees_the_other_routes(native):
    for mode in (Watching(), FakeTensorMode(allow_non_fake_inputs=True)):
        run_in(mode)
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X, X)
        for name in NAMES:
            call(name, x)
    assert (native.taken, native.left) == (0, 12)


def test_a_mode_of_functions_is_asked_first(native):
    """Then it may call the function, which takes this route."""
    seen = []

    class WatchingFunctions(torch.overrides.TorchFunctionMode):
        """Sees every function."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    run_in(WatchingFunctions())
    assert set(seen) >= set(NAMES)
    assert (native.taken, native.left) == (4, 4)


def test_what_changes_nothing_takes_this_route(native):
    run_in(torch.no_grad())
    run_in(torch.inference_mode())
    run_in(torch.autocast("cpu", torch.bfloat16))
    assert (native.taken, native.left) == (12, 0)


@each_function
def test_a_mode_around_the_backward_pass_sees_operators(name):
    """A graph of this route may be differentiated where something records."""
    seen = []

    class Recording(TorchDispatchMode):
        """Writes down every operator."""

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x = leaf(4, 5)
    y = call(name, x)
    grad = torch.ones_like(y)
    (expected,) = torch.autograd.grad(y, x, grad, retain_graph=True)
    with Recording():
        (found,) = torch.autograd.grad(y, x, grad)
    torch.testing.assert_close(found, expected)
    assert any("softmax" in operator or "mul" in operator for operator in seen)


@each_function
def test_compiled_functions_do_not_see_the_route(native, name):
    compiled = torch.compile(lambda x: call(name, x), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), call(name, X))
    assert native.taken == 1


def test_calls_that_would_use_threads_are_left(native):
    small, large = draw(32, 1000, dtype=torch.float32), draw(32, 8000, dtype=torch.float32)
    for threads, taken in ((1, 2), (2, 1)):
        native.taken = 0
        torch.set_num_threads(threads)
        for x in (small, large):
            ours.softmax(x, 1)
        assert native.taken == taken


def test_parameters_and_views_are_taken(native):
    parameter = torch.nn.Parameter(draw(4, 5))
    call("softmax", parameter).sum().backward()
    call("softmax", leaf(4, 5)[1:3]).sum().backward()
    assert native.taken == 2


def test_the_gradient_of_a_view_that_is_changed_later():
    """The result is an ordinary tensor: it may be written into, and gradients follow."""
    x = leaf(4, 5)
    y = ours.logsumexp(x, 1)
    y[0] = 0
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad[0], torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(grad[1:], torch.softmax(x[1:], 1))


# ---- memory and threads ------------------------------------------------------------------------------------------


@each_function
def test_graphs_are_freed(name):
    x = leaf(4, 5)
    inner = x * 1
    references = [weakref.ref(inner), weakref.ref(call(name, inner))]
    y = call(name, inner)
    del inner
    y.sum().backward()
    del y
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_no_memory_is_lost():
    """In calls that are taken, left, differentiated and refused."""
    x = leaf(64, 512)

    def use():
        for name in NAMES:
            y = call(name, x)
            torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
            call(name, x).sum().backward()
            x.grad = None
            with pytest.raises(IndexError):
                ours.cross_entropy(x, classes_of(x) + 512)

    for _ in range(5):
        use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        use()
    # One array of each call would be 300 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_several_threads_of_python():
    """Each with graphs of its own, and all with one graph."""
    inputs = [leaf(16, 100) for _ in range(8)]
    shared = leaf(16, 100)
    of_shared = {name: call(name, shared) for name in NAMES}
    expected = {name: torch.autograd.grad(call(name, inputs[0]).sum(), inputs[0])[0] for name in NAMES}
    wrong = []

    def work(x):
        for _ in range(50):
            for name in NAMES:
                (one,) = torch.autograd.grad(call(name, x).sum(), x)
                (other,) = torch.autograd.grad(of_shared[name].sum(), shared, retain_graph=True)
                if not (torch.equal(one, expected[name]) and torch.equal(other, expected[name])):
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(x,)) for x in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@each_function
def test_the_gil_is_released(name):
    """Another thread of Python gets its turn during a call, although the interpreter would never switch by itself."""
    x = draw(2000, 1000, dtype=torch.float32)
    target = classes_of(x)
    arguments = (x, target, None, None, -100, None, "mean", 0.0, None, 1.0)
    if name != "cross_entropy":
        arguments = (x, -1, False if name == "logsumexp" else None, None, 1.0)
    function = getattr(_routes.native.extension, name)
    go, ran = threading.Event(), []
    thread = threading.Thread(target=lambda: go.wait() and ran.append(True))
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        go.set()
        kept = []  # torch releases the GIL too, where memory is freed
        while not ran and len(kept) < 60:
            kept.append(function(*arguments))
        assert ran
    finally:
        sys.setswitchinterval(before)
        thread.join()


# ---- the module --------------------------------------------------------------------------------------------------


def test_an_extension_for_another_torch_is_not_used(monkeypatch):
    """It says so, and the routes in Python compute."""

    def refuse(name):
        raise ImportError("it was built for torch 1.0.0, and this is torch 2.0.0")

    monkeypatch.setattr(_routes.importlib, "import_module", refuse)
    with pytest.warns(RuntimeWarning, match="does without its extension in C.*built for torch 1.0.0"):
        assert _routes.import_native() is None


def test_the_extension_knows_the_torch_that_it_was_built_for(extension, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.version, "__version__", "2.0.0+cpu")
    # From the same file Python would not load it again.
    copy = shutil.copy(extension.__file__, tmp_path)
    with pytest.raises(ImportError, match=r"it was built for torch \d+\.\d+\.\d+, and this is torch 2\.0\.0"):
        load(copy)


def test_wrong_numbers_of_arguments_are_left(extension):
    for name in NAMES:
        assert getattr(extension, name)() is None
        assert getattr(extension, name)(*[None] * 11) is None
