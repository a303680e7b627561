"""Every transform of torch on every function of softmax_cy.torch, eager and compiled: right, or refused as by torch.

docs/torch.md holds this table to read.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

import softmax_cy.torch as ours

# Torch warns of torch.jit, which its own transforms use.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

DOCUMENT = Path(__file__).parents[1] / "docs/torch.md"

X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
V = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGET = torch.tensor([0, 1, 4, 2])
WEIGHT = torch.tensor([1.0, 2, 0.5, 1, 3], dtype=torch.float64)


def make_loss(cross_entropy):
    """A loss of any number of slices."""
    return lambda x: cross_entropy(x.reshape(-1, 5), TARGET[: x.numel() // 5], WEIGHT, label_smoothing=0.1)


# Ours, and torch's.
FUNCTIONS = {
    "softmax": (lambda x: ours.softmax(x, -1), lambda x: torch.softmax(x, -1)),
    "log_softmax": (lambda x: ours.log_softmax(x, -1), lambda x: torch.log_softmax(x, -1)),
    "logsumexp": (lambda x: ours.logsumexp(x, -1, True), lambda x: torch.logsumexp(x, -1, True)),
    "cross_entropy": (make_loss(ours.cross_entropy), make_loss(torch.nn.functional.cross_entropy)),
}


def square(f):
    """A number that depends on the result in all its elements, with second derivatives."""
    return lambda x: (f(x) ** 2).sum()


class Model(torch.nn.Module):
    """A module, which is what torch.export takes."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        """Call the function."""
        return self.f(x)


def leaf():
    return X.clone().requires_grad_()


def run_backward(f):
    x = leaf()
    square(f)(x).backward()
    return x.grad


def run_double_backward(f):
    x = leaf()
    (first,) = torch.autograd.grad(square(f)(x), x, create_graph=True)
    return torch.autograd.grad((first * V).sum(), x)[0]


def run_forward_mode(f):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(X, V))).tangent


def run_checkpoint(f):
    x = leaf()
    checkpoint(square(f), x, use_reentrant=False).backward()
    return x.grad


def run_inference(f):
    with torch.inference_mode():
        return f(X)


def run_vjp(f):
    y, pull_back = vjp(f, X)
    return pull_back(torch.ones_like(y))[0]


def run_fake(f):
    """A fake tensor has no elements. Its shape, dtype and strides are compared."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y = f(mode.from_tensor(X))
    return torch.tensor([*y.shape, *y.stride(), y.dtype.itemsize])


# What is run of a function, and whether torch.compile may take all of it (torch's own functions fail elsewhere, too).
TRANSFORMS: dict[str, tuple[Callable, bool]] = {
    "forward": (lambda f: f(X), True),
    "backward": (run_backward, False),
    "autograd.grad(create_graph=True)": (run_double_backward, False),
    "forward-mode automatic differentiation": (run_forward_mode, True),
    "func.grad": (lambda f: grad(square(f))(X), True),
    "func.vjp": (run_vjp, True),
    "func.jvp": (lambda f: jvp(f, (X,), (V,))[1], True),
    "func.jacrev": (lambda f: jacrev(f)(X), True),
    "func.jacfwd": (lambda f: jacfwd(f)(X), True),
    "func.hessian": (lambda f: hessian(square(f))(X), True),
    "func.vmap": (lambda f: vmap(f)(X), True),
    "func.vmap of func.grad": (lambda f: vmap(grad(square(f)))(X), True),
    "func.vmap of func.jvp": (lambda f: vmap(lambda v: jvp(f, (X,), (v,))[1])(V.expand(3, 4, 5)), True),
    "func.functional_call": (lambda f: functional_call(Model(f), {}, (X,)), True),
    "autograd.functional.jacobian(vectorize=True)": (
        lambda f: torch.autograd.functional.jacobian(f, X, vectorize=True),
        False,
    ),
    "utils.checkpoint": (run_checkpoint, False),
    "inference_mode": (run_inference, False),
    "fake tensors": (run_fake, False),
    "make_fx": (lambda f: make_fx(f)(X)(X + 1), False),
    "make_fx of func.grad": (lambda f: make_fx(grad(square(f)))(X)(X + 1), False),
    "export": (lambda f: torch.export.export(Model(f), (X,)).module()(X), False),
    "export(strict=False)": (lambda f: torch.export.export(Model(f), (X,), strict=False).module()(X), False),
    "jit.trace": (lambda f: torch.jit.trace(f, X)(X + 1), False),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


@pytest.fixture(autouse=True)
def fresh_compiler():
    """What was compiled before has no influence."""
    torch._dynamo.reset()


@every_function
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_eager(name, transform):
    """All of them work."""
    f, theirs = FUNCTIONS[name]
    run, _ = TRANSFORMS[transform]
    torch.testing.assert_close(run(f), run(theirs))


@pytest.mark.parametrize("name", ["softmax", "cross_entropy"])
@pytest.mark.parametrize("transform", [what for what, (_, compiles) in TRANSFORMS.items() if compiles])
def test_transform_inside_of_compile(name, transform):
    """No silent zero and no wrong value: there torch's own operators are called."""
    f, theirs = FUNCTIONS[name]
    run, _ = TRANSFORMS[transform]
    compiled = torch.compile(lambda: run(f), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(), run(theirs))


AROUND = ["forward", "backward", "forward-mode automatic differentiation", "utils.checkpoint"]
REFUSED = ["func.grad", "func.jvp", "func.vmap", "autograd.grad(create_graph=True)"]


@every_function
@pytest.mark.parametrize("transform", AROUND)
def test_transform_around_compile(name, transform):
    """A compiled function under a transform."""
    f, theirs = FUNCTIONS[name]
    run, _ = TRANSFORMS[transform]
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(compiled), run(theirs))


@pytest.mark.parametrize("transform", REFUSED)
def test_what_torch_refuses_around_compile(transform):
    """Torch cannot trace these, whatever the function. Neither do we give a wrong value."""
    run, _ = TRANSFORMS[transform]
    for f in FUNCTIONS["softmax"]:
        torch._dynamo.reset()
        with pytest.raises(Exception, match=r"functorch|double backward"):
            run(torch.compile(f, fullgraph=True, backend="aot_eager"))


@every_function
def test_training_step_compiled_with_symbolic_shapes(name):
    f, theirs = FUNCTIONS[name]
    compiled = torch.compile(square(f), fullgraph=True, backend="aot_eager", dynamic=True)
    for rows in (4, 3, 2):
        x = X[:rows].clone().requires_grad_()
        compiled(x).backward()
        again = X[:rows].clone().requires_grad_()
        square(theirs)(again).backward()
        torch.testing.assert_close(x.grad, again.grad)


def test_a_compiled_graph_calls_our_operator():
    """The kernel runs inside of compiled code, too: the bits say so."""
    x = torch.randn(50, 300)
    compiled = torch.compile(lambda x: ours.softmax(x, -1), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), ours.softmax(x, -1))
    assert not torch.equal(compiled(x), torch.softmax(x, -1))
    graph = make_fx(lambda x: ours.softmax(x, -1))(x)
    assert "softmax_cy.softmax" in graph.code


def test_the_document_has_every_transform():
    """docs/torch.md names each transform of this table, and nothing that is not here."""
    text = DOCUMENT.read_text()
    table = text[text.index("| transform |") :].split("\n\n")[0]
    named = re.findall(r"^\| `?([^|`]+)`? \|", table, flags=re.MULTILINE)[1:]
    assert [name.strip() for name in named if name.strip("- ")] == list(TRANSFORMS)


def test_autocast():
    """The dtypes of results are torch's."""
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        x = X.to(dtype)
        target = TARGET[:4]
        with torch.autocast("cpu", torch.bfloat16):
            for got, expected in (
                (ours.softmax(x, 1), torch.softmax(x, 1)),
                (ours.log_softmax(x, 1), torch.log_softmax(x, 1)),
                (ours.logsumexp(x, 1), torch.logsumexp(x, 1)),
                (ours.cross_entropy(x, target), torch.nn.functional.cross_entropy(x, target)),
                (ours.cross_entropy(x, x.softmax(1)), torch.nn.functional.cross_entropy(x, x.softmax(1))),
            ):
                torch.testing.assert_close(got, expected, atol=0.05, rtol=0.02)


class Rows(torch.utils.data.Dataset):
    """The rows of X, after a softmax in the worker."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return ours.softmax(X[i], -1)


def test_workers_of_a_data_loader():
    ours.softmax(torch.randn(200, 3000), -1)  # threads that a forked worker does not have
    loader = torch.utils.data.DataLoader(Rows(), batch_size=4, num_workers=2)
    (batch, *rest) = list(loader)
    assert not rest
    assert torch.equal(batch, ours.softmax(X, -1))
