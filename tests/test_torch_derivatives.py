"""softmax_cy.torch by torch's own tools, on the samples that torch tests its own operators with."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import softmax_cy
import softmax_cy.torch as ours
import torch_samples
from softmax_cy._operations import OPERATIONS
from softmax_cy.torch import _routes

# Of torch's own modules, when it differentiates forward for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

INF, NAN = math.inf, math.nan
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
OTHERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
COMPLEX = [torch.complex64, torch.complex128]
torch_cross_entropy = torch.nn.functional.cross_entropy


@pytest.fixture(autouse=True)
def one_thread():
    """The samples are small: several threads would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def name_of(dtype):
    """The name without the module, for the ids of tests."""
    return str(dtype).removeprefix("torch.")


def tensor(*values, **options):
    """Numbers of float64, whose derivative is wanted."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=True, **options)


def numbers(*shape, seed=0, scale=1.0):
    """Random numbers of float64, whose derivative is wanted."""
    rng = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=rng, dtype=torch.float64) * scale).requires_grad_()


def named(function, **options):
    """A function of tensors alone, unless it is called with more options."""
    return lambda *tensors, **more: function(*tensors, **options, **more)


def random_mask(*shape, seed=1):
    """A mask that keeps two elements of three or so, and drops one slice along the last dimension whole."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.7
    mask[(0,) * (len(shape) - 1)] = False
    return mask


# ---- torch's samples of its operators ------------------------------------------------------------------------------


def all_dims(x, dim):
    """The dimensions of a masked reduction of torch, which is over all where none is named."""
    return tuple(range(x.dim())) if dim is None else dim


def kept_by(x, dim, mask):
    """The mask, but with slices that it drops whole kept whole: torch's results for these are NaN."""
    return mask | ~mask.any(dim, keepdim=True) if x.dim() else mask | ~mask


def masked_softmax(x, dim, *, mask=None):
    """torch.masked.softmax. What a mask drops is 0, in slices without an element too."""
    if mask is None:
        return torch.softmax(x, dim)
    mask = mask.expand(x.shape)
    return torch.where(mask, torch.masked.softmax(x, dim, mask=kept_by(x, dim, mask)), 0)


def masked_log_softmax(x, dim, *, mask=None):
    """torch.masked.log_softmax. What a mask drops is -inf, in slices without an element too."""
    if mask is None:
        return torch.log_softmax(x, dim)
    mask = mask.expand(x.shape)
    return torch.where(mask, torch.masked.log_softmax(x, dim, mask=kept_by(x, dim, mask)), -INF)


def with_where(function):
    """Call a function with the mask as `where`."""
    return lambda x, dim, *, mask=None: function(x, dim, where=mask)


def masked_logsumexp(x, dim=None, *, keepdim=False, mask=None):
    """torch.logsumexp of what a mask leaves. That of nothing is -inf, and has the derivative 0."""
    dim = all_dims(x, dim)
    if mask is None:
        return torch.logsumexp(x, dim, keepdim)
    mask = mask.expand(x.shape)
    result = torch.logsumexp(torch.where(kept_by(x, dim, mask), x, -INF), dim, keepdim)
    return torch.where(mask.any(dim, keepdim) if x.dim() else mask, result, -INF)


def our_masked_logsumexp(x, dim=None, *, keepdim=False, mask=None):
    """softmax_cy.torch.logsumexp, called as torch calls its masked reductions."""
    return ours.logsumexp(x, all_dims(x, dim), keepdim, where=mask)


def our_safe_softmax(x, dim, dtype=None):
    """The softmax of torch that gives 0 for slices of -inf alone."""
    return ours.softmax(x, dim, dtype, where=~torch.isneginf(x))


# The operators of torch whose samples are run here: torch's function, ours, and the dtypes of the samples.
RUN = {
    "softmax": (torch.softmax, ours.softmax, FLOATS),
    "softmax with_dtype": (torch.softmax, ours.softmax, FLOATS + OTHERS + COMPLEX),
    "log_softmax": (torch.log_softmax, ours.log_softmax, FLOATS),
    "log_softmax with_dtype": (torch.log_softmax, ours.log_softmax, FLOATS + OTHERS + COMPLEX + [torch.complex32]),
    "logsumexp": (torch.logsumexp, ours.logsumexp, FLOATS + OTHERS + COMPLEX),
    "nn.functional.cross_entropy": (torch_cross_entropy, ours.cross_entropy, FLOATS),
    # Its inputs are taken as logits, so that cross_entropy is computed of the same targets, weights and reductions.
    "nn.functional.nll_loss": (torch_cross_entropy, ours.cross_entropy, FLOATS),
    "torch.ops.aten._safe_softmax.default": (torch.ops.aten._safe_softmax, our_safe_softmax, FLOATS),
    "masked.softmax": (masked_softmax, with_where(ours.softmax), FLOATS),
    "masked.log_softmax": (masked_log_softmax, with_where(ours.log_softmax), FLOATS),
    "masked.logsumexp": (masked_logsumexp, our_masked_logsumexp, FLOATS + OTHERS[1:] + COMPLEX),
}

DENSITY = "the negative logarithm of another density, which has no softmax in it"
TWO_CLASSES = "it has a sigmoid in the place of softmax"
PRODUCT = "it multiplies by the weights of a layer first"
NEGATIVE = "the softmax of -x, for which there is no function of its own here"
INTEGERS = "integers are not computed without a dtype: torch.softmax refuses them too"

# What of the family is not run: operators, or an operator and a dtype of its samples.
LEFT_OUT = {
    "nn.functional.binary_cross_entropy": TWO_CLASSES,
    "nn.functional.binary_cross_entropy_with_logits": TWO_CLASSES,
    "nn.functional.gaussian_nll_loss": DENSITY,
    "nn.functional.poisson_nll_loss": DENSITY,
    "nn.functional.linear_cross_entropy": PRODUCT,
    "nn.functional.linear_cross_entropy chunked": PRODUCT,
    "nn.functional.linear_cross_entropy chunked_none": PRODUCT,
    "_softmax_backward_data": "its y is rounded and does not add up to one, which the two read differently",
    "nn.functional.softmin": NEGATIVE,
    "nn.functional.softmin with_dtype": NEGATIVE,
    "masked.softmin": NEGATIVE,
    **{f"torch.ops.aten._safe_softmax.default, {name_of(dtype)}": INTEGERS for dtype in OTHERS},
}
FAMILY = ("softmax", "softmin", "logsumexp", "cross_entropy", "nll_loss")

each_sampled = pytest.mark.parametrize(
    ("name", "dtype"),
    [pytest.param(name, dtype, id=f"{name}-{name_of(dtype)}") for name, row in RUN.items() for dtype in row[2]],
)
each_sampled_float = pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, id=f"{name}-{name_of(dtype)}")
        for name, row in RUN.items()
        for dtype in row[2]
        if dtype in FLOATS
    ],
)


each_rounded = pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, id=f"{name}-{name_of(dtype)}")
        for name in RUN
        for dtype in FLOATS
        if "with_dtype" not in name and dtype is not torch.float64  # of these, nothing is more exact
    ],
)


def test_every_sample_of_the_family_is_run_or_left_out_with_a_reason():
    """An operator or a dtype that torch adds to the family is noticed, and so is an entry that nothing meets."""
    offered = set()
    for operator in torch_samples.load()[0]:
        name = f"{operator.name} {operator.variant_test_name}".rstrip()
        if name in RUN:
            offered |= {f"{name}, {name_of(dtype)}" for dtype in operator.dtypes}
        elif any(part in name for part in FAMILY):
            offered.add(name)
    run = {f"{name}, {name_of(dtype)}" for name, row in RUN.items() for dtype in row[2]}
    assert not run & set(LEFT_OUT)
    assert run | set(LEFT_OUT) == offered


def test_torch_has_no_wrong_inputs_for_these_operators():
    """Should a version of torch have them, then they must be tested. `WRONG` has those of this project."""
    assert [name for name in RUN if torch_samples.find_operator(name).error_inputs_func] == []


def in_double(value):
    """A float tensor of a sample as one of float64, of which the derivative is wanted where it was."""
    if not isinstance(value, torch.Tensor) or value.is_complex() or value.dtype is torch.int64:
        return value
    return value.detach().double().requires_grad_(value.requires_grad)


def all_in_double(sample):
    """The input, arguments and options of a sample in float64. Masks stay what they are."""
    options = {key: value if key == "mask" else in_double(value) for key, value in sample.kwargs.items()}
    return in_double(sample.input), [in_double(value) for value in sample.args], options


def differentiable(*values):
    """Those tensors whose derivative is wanted."""
    return [value for value in values if isinstance(value, torch.Tensor) and value.requires_grad]


def worst_error(result, exact, *, of_each):
    """The largest error, in units of the dtype's epsilon: of each number, or of the largest finite one."""
    if not result.numel():
        return 0.0
    equal = (result == exact) | (result.isnan() & exact.isnan())
    difference = (result.double() - exact).abs().masked_fill(equal, 0)
    info = torch.finfo(result.dtype)
    size = (
        exact.abs()
        if of_each
        else exact[exact.isfinite()].abs().max()
        if exact.isfinite().any()
        else exact.new_ones(())
    )
    return (difference / size.clamp_min(info.tiny)).masked_fill(equal, 0).max().item() / info.eps


# In units of epsilon, of each number. The kernels round once to float16 and bfloat16. Losses of the samples have
# negative weights, of which sums cancel. Where a target needs a derivative, torch's operators round in between.
EXACT = {torch.float32: 1.0, torch.float16: 0.51, torch.bfloat16: 0.51}
EXACT_LOSS = {torch.float32: 4.0, torch.float16: 1.5, torch.bfloat16: 1.5}
# Of the largest number of a gradient: the probabilities were rounded once, and the difference again.
EXACT_GRADIENT = 2.0
# In float64 torch is all that there is to compare with. It loses digits of the largest number: it subtracts a logarithm
# that was rounded, and adds up in another order.
LIKE_TORCH = 128.0


@pytest.mark.filterwarnings("ignore:Casting complex values to real:UserWarning")  # by samples with a dtype
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
@each_sampled
def test_results_for_samples(name, dtype):
    """Each result is within the bound of the kernels from torch's result in float64, and is a tensor like torch's."""
    theirs, function, _ = RUN[name]
    bounds = EXACT_LOSS if "loss" in name or "cross_entropy" in name else EXACT
    for sample in torch_samples.samples_of_operator(name, dtype, requires_grad=dtype in FLOATS):
        expected = theirs(sample.input, *sample.args, **sample.kwargs)
        result = function(sample.input, *sample.args, **sample.kwargs)
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape), sample
        assert result.requires_grad == expected.requires_grad, sample
        if result.is_complex():
            # Torch's own operators computed it.
            assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
            continue
        x, args, options = all_in_double(sample)
        exact = theirs(x, *args, **options)
        if result.dtype is torch.float64:
            assert worst_error(result, exact, of_each=False) <= LIKE_TORCH, sample
        else:
            assert worst_error(result, exact, of_each=True) <= bounds[result.dtype], sample


@each_sampled_float
def test_gradients_for_samples(name, dtype):
    """Each gradient is within the bound from torch's gradient in float64, for a random gradient of the result."""
    theirs, function, _ = RUN[name]
    rng = torch.Generator().manual_seed(0)
    compared = 0
    for sample in torch_samples.samples_of_operator(name, dtype, requires_grad=True):
        result = function(sample.input, *sample.args, **sample.kwargs)
        if not result.requires_grad:
            continue
        x, args, options = all_in_double(sample)
        grad = torch.randn(result.shape, generator=rng, dtype=torch.float64).to(result.dtype)
        exact = torch.autograd.grad(
            theirs(x, *args, **options), differentiable(x, *args, *options.values()), grad.double()
        )
        inputs = differentiable(sample.input, *sample.args, *sample.kwargs.values())
        for leaf, one, exact_one in zip(inputs, torch.autograd.grad(result, inputs, grad), exact, strict=True):
            assert one.dtype == leaf.dtype
            bound = LIKE_TORCH if dtype is torch.float64 else EXACT_GRADIENT
            assert worst_error(one, exact_one, of_each=False) <= bound, sample
            compared += 1
    assert compared


@each_rounded
def test_results_are_as_exact_as_those_of_torch(name, dtype):
    """Over all samples of an operator, torch's largest error is not below that of the kernels: both against float64."""
    theirs, function, _ = RUN[name]
    worst = {theirs: 0.0, function: 0.0}
    for sample in torch_samples.samples_of_operator(name, dtype):
        x, args, options = all_in_double(sample)
        exact = theirs(x, *args, **options)
        for one in worst:
            result = one(sample.input, *sample.args, **sample.kwargs)
            worst[one] = max(worst[one], worst_error(result, exact, of_each=True))
    assert worst[function] <= worst[theirs]


MODULES = [(torch.nn.Softmax, ours.Softmax), (torch.nn.LogSoftmax, ours.LogSoftmax)]
MODULES += [(torch.nn.CrossEntropyLoss, ours.CrossEntropyLoss)]
each_module = pytest.mark.parametrize(("theirs", "cls"), MODULES, ids=[cls.__name__ for _, cls in MODULES])


@each_module
@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
def test_modules_on_samples(theirs, cls, dtype):
    """Results and gradients are near torch's in float64. In float16 and bfloat16, gradients are rounded twice."""
    bound = LIKE_TORCH if dtype is torch.float64 else 8.0
    rng = torch.Generator().manual_seed(0)
    for sample in torch_samples.samples_of_module(theirs, dtype, requires_grad=True):
        make, call = sample.constructor_input, sample.forward_input
        module = cls(*make.args, **make.kwargs)
        exact_module = theirs(*make.args, **{key: in_double(value) for key, value in make.kwargs.items()})
        exact_call = [in_double(value) for value in call.args]
        leaves = [call.args[0], exact_call[0]]
        result, exact = module(*call.args), exact_module(*exact_call)
        assert result.dtype == dtype
        assert worst_error(result, exact, of_each=False) <= bound, sample.desc
        grad = torch.randn(result.shape, generator=rng, dtype=torch.float64).to(dtype)
        grads = [
            torch.autograd.grad(one, leaf, grad.to(one.dtype))[0]
            for one, leaf in zip((result, exact), leaves, strict=True)
        ]
        assert worst_error(*grads, of_each=False) <= bound, sample.desc


REFUSALS = (RuntimeError, ValueError, TypeError)


def test_module_refuses_what_torch_refuses():
    """The errors are those of softmax_cy, so only their kind and not their text is torch's."""
    samples = torch_samples.errors_of_module(torch.nn.CrossEntropyLoss)
    assert samples
    for sample in samples:
        make, call = sample.module_error_input.constructor_input, sample.module_error_input.forward_input
        with pytest.raises(REFUSALS):
            ours.CrossEntropyLoss(*make.args, **make.kwargs)(*call.args)


WRONG = {
    "softmax, dim": lambda module, x: module.softmax(x, 2),
    "softmax, negative dim": lambda module, x: module.softmax(x, -3),
    "softmax, dim of a scalar": lambda module, x: module.softmax(x[0, 0], 1),
    "softmax, two dims": lambda module, x: module.softmax(x, (0, 1)),
    "softmax, no dim": lambda module, x: module.softmax(x, None),
    "softmax, integers": lambda module, x: module.softmax(torch.arange(3), 0),
    "log_softmax, dim": lambda module, x: module.log_softmax(x, 2),
    "log_softmax, integers": lambda module, x: module.log_softmax(torch.arange(3), 0),
    "logsumexp, dim": lambda module, x: module.logsumexp(x, (0, 2)),
    "logsumexp, a dim twice": lambda module, x: module.logsumexp(x, (0, -2)),
    "logsumexp, dim of a float": lambda module, x: module.logsumexp(x, 1.0),
}


@pytest.mark.parametrize("requires_grad", [False, True], ids=["plain", "requires grad"])
@pytest.mark.parametrize("call", WRONG.values(), ids=list(WRONG))
def test_wrong_arguments(call, requires_grad):
    """What torch refuses is refused, out of autograd and in it."""
    x = torch.zeros(4, 3, requires_grad=requires_grad)
    errors = (IndexError, *REFUSALS)
    with pytest.raises(errors):
        call(torch, x)
    with pytest.raises(errors):
        call(ours, x)


INDICES, EVEN = torch.tensor([0, 1, 2, 0]), torch.full((4, 3), 1 / 3)
WRONG_LOSSES = {
    "class too large": (INDICES + 1, {}),
    "negative class": (INDICES - 1, {}),
    "few targets": (INDICES[:3], {}),
    "targets in columns": (INDICES[:, None], {}),
    "targets of bool": (INDICES > 0, {}),
    "integers for probabilities": (torch.zeros(4, 3, dtype=torch.int64), {}),
    "long weight": (INDICES, {"weight": torch.ones(4)}),
    "weight in a row": (INDICES, {"weight": torch.ones(1, 3)}),
    "reduction": (INDICES, {"reduction": "max"}),
    "smoothing": (INDICES, {"label_smoothing": 1.5}),
    "one row of probabilities": (EVEN[:1], {}),
    "one column of probabilities": (EVEN[:, :1], {}),
    "probabilities of one slice": (EVEN[0], {}),
    "more probabilities": (EVEN.expand(2, 4, 3), {}),
    "reduction of probabilities": (EVEN, {"reduction": "max"}),
    "smoothing of probabilities": (EVEN, {"label_smoothing": 1.5}),
    "ignore_index of probabilities": (EVEN, {"ignore_index": 1}),
    "one weight for probabilities": (EVEN, {"weight": torch.ones(1)}),
    "weight in a row for probabilities": (EVEN, {"weight": torch.ones(1, 3)}),
}
# Each way that a loss is computed.
WAYS = {
    "kernel": lambda loss, x: loss(x),
    "autograd": lambda loss, x: loss(x.requires_grad_()).sum().backward(),
    "mask": lambda loss, x: loss(x, where=torch.ones(4, 3, dtype=torch.bool)),
    "torch.func": lambda loss, x: torch.func.grad(lambda one: loss(one).sum())(x),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRONG_LOSSES)
def test_wrong_arguments_of_losses(name, way):
    """What torch refuses is refused by every way to compute a loss, and nothing broadcasts in silence."""
    target, options = WRONG_LOSSES[name]
    errors = (IndexError, *REFUSALS)
    with pytest.raises(errors):
        torch_cross_entropy(torch.zeros(4, 3), target, **options)
    with pytest.raises(errors):
        WAYS[way](lambda x, **more: ours.cross_entropy(x, target, **options, **more), torch.zeros(4, 3))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["int32", "uint8", "weight of float64"])
def test_more_dtypes_than_in_torch(name, way):
    """Targets of any integers and weights of any floats are taken by every way: torch refuses some."""
    x = numbers(4, 3).detach().float()
    weight = torch.tensor([0.5, 1.0, 2.0])
    dtypes = {"int32": (torch.int32, torch.float32), "uint8": (torch.uint8, torch.float32)}
    index, of_weight = dtypes.get(name, (torch.int64, torch.float64))
    results = [
        WAYS[way](named(ours.cross_entropy, target=target, weight=one), x.clone())
        for target, one in ((INDICES.to(index), weight.to(of_weight)), (INDICES, weight))
    ]
    assert results[0] is results[1] is None or torch.equal(*results)


# ---- derivatives against finite differences ------------------------------------------------------------------------


def finite(function, mask, **options):
    """log_softmax with a mask. Finite differences cannot be taken of -inf, a constant."""
    return lambda x: torch.where(mask, function(x, where=mask, **options), 0)


MASK = random_mask(2, 3, 4)
KEPT = MASK | ~MASK.any(-1, keepdim=True)  # finite differences cannot be taken of -inf, which is logsumexp of nothing
SATURATED = ((40.0, 0.0, -800.0), (-1.0, 900.0, 0.5))


def forward_cases():
    """Calls of softmax, log_softmax and logsumexp: an id, a function, and its inputs."""
    x = numbers(2, 3, 4)
    across = numbers(4, 2, 3).detach().permute(1, 2, 0).requires_grad_()
    for function in (ours.softmax, ours.log_softmax):
        name = function.__name__
        yield f"{name}, last dim", named(function, dim=-1), [x]
        yield f"{name}, middle dim", named(function, dim=1), [x]
        yield f"{name}, scale", named(function, dim=1, scale=0.7), [x]
        yield f"{name}, strides", named(function, dim=1), [across]
        yield f"{name}, no dims", named(function, dim=0), [numbers()]
        yield f"{name}, one element", named(function, dim=1), [numbers(3, 1)]
        yield f"{name}, saturated", named(function, dim=1), [tensor(*SATURATED)]
        yield f"{name}, dtype", named(function, dim=0, dtype=torch.float64), [numbers(3)]
        where = named(function, where=MASK, dim=2, scale=1.5) if function is ours.softmax else None
        yield f"{name}, where and scale", where or finite(function, MASK, dim=2, scale=1.5), [x]
        where = named(function, where=MASK[0], dim=0) if function is ours.softmax else None
        yield f"{name}, where broadcast", where or finite(function, MASK[0], dim=0), [x]
    for dims, keepdim in ((1, False), (1, True), ((0, 2), False), ((2, 0), True), ((0, 1, 2), False), ((), False)):
        kept = ", keepdim" if keepdim else ""
        yield f"logsumexp, {dims}{kept}", named(ours.logsumexp, dim=dims, keepdim=keepdim), [x]
    yield "logsumexp, where and scale", named(ours.logsumexp, dim=2, where=KEPT, scale=1.5), [x]
    yield "logsumexp, where and several dims", named(ours.logsumexp, dim=(1, 2), where=KEPT, keepdim=True), [x]
    yield "logsumexp, strides", named(ours.logsumexp, dim=(1, 2)), [across]
    yield "logsumexp, no dims", named(ours.logsumexp, dim=0), [numbers()]
    yield "logsumexp, saturated", named(ours.logsumexp, dim=1), [tensor(*SATURATED)]


def loss_cases():
    """Calls of cross_entropy: an id, a function, and its inputs."""
    x, target = numbers(3, 4), torch.tensor([0, 3, 1])
    weight = torch.tensor([0.5, 2.0, 0.0, 1.25], dtype=torch.float64)
    probabilities = torch.softmax(numbers(3, 4, seed=2), 1).detach()
    wanted = probabilities.clone().requires_grad_()
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0, 1] = mask[1, 0] = mask[2, 2] = False
    far = numbers(2, 3, 2, scale=3)
    for reduction in ("mean", "sum", "none"):

        def case(name, x, target, reduction=reduction, **options):
            loss = named(ours.cross_entropy, target=target, reduction=reduction, **options)
            return f"{name}, {reduction}", loss, [x]

        yield case("indices", x, target)
        yield case("weight", x, target, weight=weight)
        yield case("ignore_index", x, target, ignore_index=3)
        yield case("smoothing", x, target, label_smoothing=0.2)
        yield case("all of these", x, target, weight=weight, ignore_index=3, label_smoothing=0.2)
        yield case("where and scale", x, target, where=mask, scale=0.6)
        yield case("more dims", far, torch.tensor([[0, 2], [1, 1]]), ignore_index=1, weight=weight[:3])
        yield case("one slice", numbers(4), torch.tensor(2), label_smoothing=0.1)
        yield case("saturated", tensor(*SATURATED), torch.tensor([0, 2]))
        yield case("probabilities", x, probabilities)
        yield case("probabilities, weight, smoothing", x, probabilities, weight=weight, label_smoothing=0.3)
        both = named(ours.cross_entropy, reduction=reduction, weight=weight, label_smoothing=0.3)
        yield f"gradient in probabilities, {reduction}", both, [x, wanted]
        masked = named(ours.cross_entropy, reduction=reduction, scale=0.6)
        yield f"gradient in probabilities, scale, {reduction}", masked, [x, wanted]
        with_weight = named(ours.cross_entropy, reduction=reduction)
        yield (
            f"gradient in weights of probabilities, {reduction}",
            with_weight,
            [x, wanted, weight.clone().requires_grad_()],
        )


CASES = [*forward_cases(), *loss_cases()]
each_case = pytest.mark.parametrize(
    ("function", "inputs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
each_mode = pytest.mark.parametrize("fast", [True, False], ids=["fast", "slow"])


@each_mode
@each_case
def test_first_derivatives(function, inputs, fast):
    """Reverse and forward mode, for one direction and for a batch, are near finite differences."""
    checks = {"check_batched_grad": True, "check_forward_ad": True, "check_batched_forward_grad": True}
    assert gradcheck(function, inputs, fast_mode=fast, **checks)


@each_mode
@each_case
def test_second_derivatives(function, inputs, fast):
    """Reverse over reverse and forward over reverse are near finite differences of the gradient."""
    checks = {"check_batched_grad": True, "check_fwd_over_rev": True, "check_rev_over_rev": True}
    assert gradgradcheck(function, inputs, fast_mode=fast, **checks)


# ---- special values ------------------------------------------------------------------------------------------------

LOGITS = {
    "-inf": [[-INF, 0.0, 1.0]],
    "NaN": [[NAN, 0.0, 1.0], [0.0, 1.0, 2.0]],
    "inf": [[INF, 0.0, 1.0], [0.0, 1.0, 2.0]],
    "two inf": [[INF, INF, 1.0]],
    "all -inf": [[-INF, -INF, -INF], [0.0, 1.0, 2.0]],
    "-inf and NaN": [[-INF, NAN, 0.0]],
    "-inf and inf": [[-INF, INF, 0.0]],
    "one above -inf": [[-INF, -INF, 2.0]],
    "huge": [[1e308, -1e308, 0.0]],
}
LOGITS = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in LOGITS.items()}
LOGITS["no rows"] = torch.zeros(0, 3, dtype=torch.float64)
LOGITS["no classes"] = torch.zeros(3, 0, dtype=torch.float64)
SCALARS = {f"no dims, {x}": torch.tensor(x, dtype=torch.float64) for x in (2.0, -INF, INF, NAN)}

FORWARD = ("softmax", "log_softmax", "logsumexp")
INF_ALONE = "torch has NaN for the class of inf alone; here all of softmax is NaN, as torch.softmax itself says"
UNUSED = "0 times inf is 0 where the probability or the weight is 0: an impossible class costs nothing"
NOTHING = "the mean over slices without classes is 0: torch divides their number by the number of classes"
IGNORED = "an ignored slice costs 0 and has the gradient 0, whatever its logits are: torch multiplies NaN by 0"

# Where softmax_cy.torch differs from torch on purpose: what differs, and why.
DIFFERENCES = {
    ("logsumexp", "inf"): ("gradient", INF_ALONE),
    ("logsumexp", "two inf"): ("gradient", INF_ALONE),
    ("logsumexp", "-inf and inf"): ("gradient", INF_ALONE),
    ("one-hot", "-inf"): ("result", UNUSED),
    ("one-hot", "one above -inf"): ("result", UNUSED),
    ("one-hot", "huge"): ("result", UNUSED),
    ("probabilities, weight of 0", "-inf"): ("result", UNUSED),
    ("probabilities, weight of 0", "one above -inf"): ("result", UNUSED),
    ("smoothing, weight of 0", "-inf"): ("result", UNUSED),
    ("smoothing, weight of 0", "one above -inf"): ("result", UNUSED),
    ("smoothing, weight of 0", "huge"): ("result", UNUSED),
    ("probabilities", "no classes"): ("mean", NOTHING),
    ("one-hot", "no classes"): ("mean", NOTHING),
    ("probabilities, weight of 0", "no classes"): ("mean", NOTHING),
    ("all ignored, smoothing", "no classes"): ("loss", IGNORED),
    **{
        (f"all ignored{option}", x): ("gradient of the kernel", IGNORED)
        for option in ("", ", weight", ", smoothing")
        for x in ("NaN", "inf", "two inf", "all -inf", "-inf and NaN", "-inf and inf")
    },
}


def allowed_difference(name, x, *, reduction=None, create_graph):
    """What differs in a case, as a set: the mean alone, all losses but the mean, or the gradient that has no graph."""
    what, _ = DIFFERENCES.get((name, x), (None, None))
    if what == "mean":
        what = "result" if reduction == "mean" else None
    elif what == "loss":
        what = "result" if reduction != "mean" else None
    elif what == "gradient of the kernel":
        what = None if create_graph else "gradient"
    return {what} if what else set()


def results_of(function, x, *, create_graph):
    """The result, the gradient for one of the result, and with a graph the gradient of that."""
    x = x.clone().requires_grad_()
    result = function(x)
    grad = torch.linspace(1, 2, result.numel(), dtype=x.dtype).reshape(result.shape)
    (gradient,) = torch.autograd.grad(result, x, grad, create_graph=create_graph)
    results = {"result": result.detach(), "gradient": gradient.detach()}
    if create_graph:
        grad = torch.linspace(-1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)
        results["second"] = torch.autograd.grad(gradient, x, grad)[0]
    return results


def find_differences(function, theirs, x, *, create_graph):
    """What of the results differs from torch by more than rounding."""
    results = results_of(function, x, create_graph=create_graph)
    expected = results_of(theirs, x, create_graph=create_graph)
    return {
        what
        for what, one in results.items()
        if one.shape != expected[what].shape
        or not torch.allclose(one, expected[what], rtol=1e-13, atol=1e-15, equal_nan=True)
    }


each_graph = pytest.mark.parametrize("create_graph", [False, True], ids=["gradient", "second gradient"])


@each_graph
@pytest.mark.parametrize("x", [*LOGITS, *SCALARS])
@pytest.mark.parametrize("name", FORWARD)
def test_special_values(name, x, create_graph):
    """NaN, infinities and empty tensors give torch's results and gradients, or what DIFFERENCES says."""
    logits = (LOGITS | SCALARS)[x]
    functions = [named(getattr(module, name), dim=-1) for module in (ours, torch)]
    allowed = allowed_difference(name, x, create_graph=create_graph)
    assert find_differences(*functions, logits, create_graph=create_graph) == allowed


def make_losses(x):
    """Targets and options of cross_entropy for logits: by a name."""
    n, c = x.shape
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype)[:c]
    last, none = torch.full((n,), 2), torch.full((n,), -100)
    even = torch.full((n, c), 1 / 3, dtype=x.dtype)
    one_hot = (torch.arange(c) == 2).to(x.dtype).expand(n, c)
    losses = {
        "indices": (last, {}),
        "first class": (torch.zeros_like(last), {}),
        "weight": (last, {"weight": weight}),
        "weights of 0": (last, {"weight": weight * 0}),
        "smoothing": (last, {"label_smoothing": 0.1}),
        "smoothing, weight of 0": (last, {"label_smoothing": 0.1, "weight": weight * (weight > 2)}),
        "all ignored": (none, {}),
        "all ignored, weight": (none, {"weight": weight}),
        "all ignored, smoothing": (none, {"label_smoothing": 0.1}),
        "probabilities": (even, {}),
        "probabilities, weight of 0": (even, {"weight": weight * (weight > 1)}),
        "one-hot": (one_hot, {}),
    }
    if n and not c:  # no class can be the target
        losses = {name: losses[name] for name in losses if name.startswith(("all ignored", "prob", "one-hot"))}
    return losses


LOSSES = list(make_losses(torch.zeros(1, 3)))


@each_graph
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("x", LOGITS)
@pytest.mark.parametrize("name", LOSSES)
def test_special_values_of_losses(name, x, reduction, create_graph):
    """Losses and gradients are those of torch, or what DIFFERENCES says. The mean of no target is NaN."""
    logits = LOGITS[x]
    losses = make_losses(logits)
    if name not in losses:
        with pytest.raises(IndexError):
            ours.cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.int64))
        return
    target, options = losses[name]
    options = {**options, "target": target, "reduction": reduction}
    functions = [named(function, **options) for function in (ours.cross_entropy, torch_cross_entropy)]
    allowed = allowed_difference(name, x, reduction=reduction, create_graph=create_graph)
    assert find_differences(*functions, logits, create_graph=create_graph) == allowed


@pytest.mark.parametrize("x", LOGITS)
@pytest.mark.parametrize("name", LOSSES)
def test_special_values_of_composed_losses(name, x):
    """A loss with a mask has the values of the kernel. Weights of 0 and ignored slices may have those of torch."""
    logits = LOGITS[x]
    losses = make_losses(logits)
    if name not in losses:
        return
    target, options = losses[name]
    for reduction in ("mean", "sum", "none"):
        kernel, theirs = (
            named(function, target=target, reduction=reduction, **options)
            for function in (ours.cross_entropy, torch_cross_entropy)
        )
        composed = named(kernel, where=torch.ones(logits.shape, dtype=torch.bool))
        differences = find_differences(composed, kernel, logits, create_graph=False)
        if "weight of 0" in name or "ignored" in name:
            differences &= find_differences(composed, theirs, logits, create_graph=False)
        assert differences == set()


def test_every_difference_is_met():
    """An entry of DIFFERENCES belongs to a test."""
    tested = {(name, x) for name in FORWARD for x in LOGITS | SCALARS} | {(name, x) for name in LOSSES for x in LOGITS}
    assert set(DIFFERENCES) <= tested


@pytest.mark.parametrize("function", [ours.softmax, ours.log_softmax, ours.logsumexp], ids=lambda one: one.__name__)
def test_slices_dropped_whole_have_no_gradient(function):
    """A mask that drops a slice whole gives 0 or -inf for it, and a gradient of 0: never NaN."""
    x = numbers(2, 3, 4)
    result = function(x, 2, where=MASK)
    empty = result[0, 0]
    assert torch.equal(empty, torch.full_like(empty, 0 if function is ours.softmax else -INF))
    (gradient,) = torch.autograd.grad(result, x, torch.ones_like(result), create_graph=True)
    assert torch.equal(gradient[~MASK], torch.zeros_like(gradient[~MASK]))
    assert gradient.isfinite().all()
    (second,) = torch.autograd.grad(gradient, x, torch.ones_like(gradient))
    assert second.isfinite().all()
    assert torch.equal(second[0, 0], torch.zeros(4, dtype=x.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=name_of)
def test_a_saturated_logarithm_keeps_its_gradient(dtype):
    """The logarithm of a class that is all but certain is -exp(-40), of which torch keeps nothing."""
    x = torch.tensor([40.0, 0.0], dtype=dtype, requires_grad=True)
    result = ours.log_softmax(x, 0)
    (gradient,) = torch.autograd.grad(result[0], x)
    expected = math.exp(-40)
    eps = torch.finfo(dtype).eps
    assert result[0].item() == pytest.approx(-expected, rel=2 * eps)
    assert gradient[1].item() == pytest.approx(-expected, rel=4 * eps)
    assert torch.log_softmax(x, 0)[0] == 0
    loss = ours.cross_entropy(x, torch.tensor(0))
    (gradient,) = torch.autograd.grad(loss, x)
    assert loss.item() == pytest.approx(expected, rel=2 * eps)
    assert gradient.tolist() == pytest.approx([-expected, expected], rel=4 * eps)


# ---- the registered operators --------------------------------------------------------------------------------------


def operator_cases():
    """Calls of the registered operators: an id, the operator, and its arguments."""
    x, columns = numbers(2, 3, 4).detach(), numbers(4, 2, 3).detach().permute(1, 2, 0)
    for name in ("softmax", "log_softmax", "logsumexp"):
        operator, last = getattr(torch.ops.softmax_cy, name), [False] if name == "logsumexp" else []
        yield f"{name}, one dim", operator, [x, None, [1], 1.0, *last]
        yield f"{name}, bfloat16", operator, [x.bfloat16(), None, [1], 1.0, *last]
        yield f"{name}, several dims", operator, [x, None, [0, 2], 0.5, *last]
        yield f"{name}, where", operator, [x, KEPT, [2], 1.0, *last]
        yield f"{name}, where broadcast", operator, [x, KEPT[:1, :, :1].clone(), [1], 2.0, *last]
        yield f"{name}, strides", operator, [columns, None, [1], 1.0, *last]
        yield f"{name}, steps", operator, [x[:, ::2, 1::2], None, [2, 1], 1.0, *last]
        yield f"{name}, expanded", operator, [x[:1].expand(3, 3, 4), None, [0], 1.0, *last]
        yield f"{name}, empty", operator, [x[:0], None, [1], 1.0, *last]
    yield "logsumexp, keepdim", torch.ops.softmax_cy.logsumexp, [x, None, [0, 2], 1.0, True]
    y = torch.softmax(x, 1)
    for name in ("softmax_product", "log_softmax_vjp", "log_softmax_jvp"):
        operator, outputs = getattr(torch.ops.softmax_cy, name), y if "log" not in name else y.log()
        yield f"{name}, one dim", operator, [x, outputs, [1], 1.0]
        yield f"{name}, bfloat16", operator, [x.bfloat16(), outputs.bfloat16(), [1], 1.0]
        yield f"{name}, several dims", operator, [x, outputs, [0, 2], 0.5]
        yield f"{name}, broadcast vector", operator, [x[:1], outputs, [1], 1.0]
        yield f"{name}, broadcast outputs", operator, [x, outputs[:1], [1], 2.0]
        yield f"{name}, strides", operator, [columns, outputs, [1], 1.0]
        yield f"{name}, empty", operator, [x[:0], outputs[:0], [1], 1.0]


OPERATOR_CASES = list(operator_cases())


def test_every_registered_operator_is_checked():
    """A new operator needs cases above."""
    names = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("softmax_cy::")}
    assert names == {f"softmax_cy::{operator.__name__}" for _, operator, _ in OPERATOR_CASES}


@pytest.mark.parametrize("wanted", [False, True], ids=["plain", "requires grad"])
@pytest.mark.parametrize(
    ("operator", "arguments"), [case[1:] for case in OPERATOR_CASES], ids=[case[0] for case in OPERATOR_CASES]
)
def test_registered_operators(operator, arguments, wanted):
    """The schema, the fake result, the registration of derivatives and what torch.compile asks for are in order."""

    def prepare(value):
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.detach().requires_grad_(wanted) if is_float else value

    results = torch.library.opcheck(operator.default, tuple(map(prepare, arguments)))
    assert len(results) == 4
    assert set(results.values()) == {"SUCCESS"}


# ---- the Jacobian of torch.func ------------------------------------------------------------------------------------


def count_kernels(monkeypatch):
    """A list that each call of a function on arrays appends its name to."""
    called = []
    for operation in OPERATIONS:
        kernel = getattr(softmax_cy, operation.name)

        def counting(*args, kernel=kernel, **options):
            called.append(kernel.__name__)
            return kernel(*args, **options)

        monkeypatch.setattr(softmax_cy, operation.name, counting)
    return called


LOSS = named(ours.cross_entropy, target=torch.tensor(7))
LARGE = numbers(50, seed=3).detach()
MATRICES = [
    ("softmax", named(ours.softmax, dim=0), named(torch.softmax, dim=0)),
    ("softmax, scale", named(ours.softmax, dim=0, scale=0.5), lambda x: torch.softmax(x * 0.5, 0)),
    ("log_softmax", named(ours.log_softmax, dim=0), named(torch.log_softmax, dim=0)),
    ("gradient of logsumexp", torch.func.grad(named(ours.logsumexp, dim=0)), named(torch.softmax, dim=0)),
    ("gradient of cross_entropy", torch.func.grad(LOSS), named(torch.softmax, dim=0)),
]


@pytest.mark.parametrize("transform", [torch.func.jacrev, torch.func.jacfwd], ids=lambda one: one.__name__)
@pytest.mark.parametrize(("function", "like"), [row[1:] for row in MATRICES], ids=[row[0] for row in MATRICES])
def test_jacobians_take_a_few_calls(function, like, transform, monkeypatch):
    """A Jacobian of 50 rows is one product with a batch of vectors, and not 50 products."""
    called = count_kernels(monkeypatch)
    matrix = transform(function)(LARGE)
    assert 1 <= len(called) <= 4, called
    assert_close(matrix, transform(like)(LARGE), rtol=1e-13, atol=1e-15)


def test_a_gradient_takes_one_call_each_way(monkeypatch):
    """Forward one kernel, backward one kernel; a loss has its gradient from the forward pass."""
    monkeypatch.setattr(_routes, "native", None)  # whose kernels nobody counts
    called = count_kernels(monkeypatch)
    x = LARGE.clone().requires_grad_()
    ours.softmax(x, 0)[0].backward()
    ours.log_softmax(x, 0)[0].backward()
    ours.logsumexp(x, 0).backward()
    LOSS(x).backward()
    assert called == [
        *("softmax", "softmax_vjp"),
        *("log_softmax", "log_softmax_vjp"),
        *("logsumexp", "softmax"),
        "cross_entropy_and_grad",
    ]
