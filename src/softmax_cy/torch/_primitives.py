"""Six primitive functions: softmax, log_softmax, logsumexp, and the products that their derivatives need.

Design:
1. A primitive is a kernel, what a fake tensor needs to know of its result, its derivatives, and how it takes a batch.
   From this follow two autograd.Functions and one registered operator; the route of a call (_routes.py) chooses.
2. Derivatives call primitives, by `call`, so that derivatives of any order go through the kernels. What is left is
   written in torch's own operators.
3. The inputs that are tensors come first. dims are not negative. `where` needs no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from softmax_cy.torch import _builtin, _kernels
from softmax_cy.torch._routes import Route, choose_route, runs_on_memory, transforms_are_active

LIBRARY = torch.library.Library("softmax_cy", "DEF")
TAGS = (torch.Tag.pt2_compliant_tag,)


class Primitive:
    """One function of tensors. The subclasses below describe it; this class makes the ways to call it."""

    name: str
    schema: str
    kernel: Any

    def __init__(self) -> None:
        LIBRARY.define(f"{self.name}{self.schema}", tags=TAGS)
        LIBRARY.impl(self.name, self.kernel, "CPU")
        torch.library.register_fake(f"softmax_cy::{self.name}", self.make_fake, lib=LIBRARY)
        torch.library.register_autograd(
            f"softmax_cy::{self.name}", self.differentiate, setup_context=self.save_from, lib=LIBRARY
        )
        self.operator = getattr(torch.ops.softmax_cy, self.name).default
        self.function = make_function(self)
        self.transform = make_transform(self)

    def call(self, *inputs: Any) -> Tensor:
        """Compute by the route that fits."""
        second = inputs[1]
        if second is not None and not second.is_floating_point():
            second = None
        match choose_route(inputs[0], second):
            case Route.KERNEL:
                return self.run_on_memory(*inputs)
            case Route.FUNCTION:
                return self.function.apply(*inputs)
            case Route.TRANSFORM:
                return self.transform.apply(*inputs)
            case Route.OPERATOR:
                return self.operator(*inputs)
        return self.compute_builtin(*inputs)

    def run(self, *inputs: Any) -> Tensor:
        """Compute without derivatives, by the kernel or where something records by the operator."""
        return self.run_on_memory(*inputs) if runs_on_memory(inputs[0]) else self.operator(*inputs)

    def run_on_memory(self, *inputs: Any) -> Tensor:
        """Call the kernel.

        The older vmap, which autograd uses for is_grads_batched=True, leaves no trace but tensors without memory.
        To ask each tensor would cost every call. Operators take a batch of it element by element.
        """
        try:
            return self.kernel(*inputs)
        except RuntimeError:
            if any(isinstance(tensor, Tensor) and is_batched(tensor) for tensor in inputs):
                return self.operator(*inputs)
            raise

    def save_from(self, ctx: Any, inputs: Any, output: Tensor) -> None:
        """Keep what the derivatives need."""
        tensors, ctx.options = self.choose_saved(inputs, output)
        ctx.save_for_backward(*tensors)

    # What a subclass says.

    def make_fake(self, *inputs: Any) -> Tensor:
        """Return an empty tensor like the result."""
        raise NotImplementedError

    def compute_builtin(self, *inputs: Any) -> Tensor:
        """Compute with torch's own operators."""
        raise NotImplementedError

    def choose_saved(self, inputs: Any, output: Tensor) -> tuple[Sequence[Tensor | None], tuple[Any, ...]]:
        """Return the tensors and the options to keep for derivatives."""
        raise NotImplementedError

    def differentiate(self, ctx: Any, grad: Tensor) -> Any:
        """Return the gradients in the inputs: reverse mode."""
        raise NotImplementedError

    def push_forward(self, ctx: Any, *tangents: Any) -> Tensor:
        """Return the tangent of the result: forward mode."""
        raise NotImplementedError

    def take_batch(self, in_dims: Any, *inputs: Any) -> Tensor:
        """Compute for all of a batch, which is dimension 0 of the result."""
        raise NotImplementedError


def is_batched(tensor: Tensor) -> bool:
    """Say whether a tensor stands for a batch of the older vmap."""
    return bool(torch._C._dispatch_keys(tensor).has(torch._C._dispatch_key_parse("Batched")))


def make_class(name: str, **methods: Callable[..., Any]) -> Any:
    """Make an autograd.Function. Its name, by which a tensor prints its grad_fn, must be there from the beginning."""
    return type(name, (torch.autograd.Function,), {key: staticmethod(method) for key, method in methods.items()})


def make_function(primitive: Primitive) -> Any:
    """Make the autograd.Function of the fastest way."""

    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output = primitive.run_on_memory(*inputs)
        primitive.save_from(ctx, inputs, output)
        return output

    return make_class(type(primitive).__name__, forward=forward, backward=primitive.differentiate)


def make_transform(primitive: Primitive) -> Any:
    """Make the autograd.Function that knows vmap and forward mode."""

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        tensors, ctx.options = primitive.choose_saved(inputs, output)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        return primitive.take_batch(in_dims, *inputs), 0

    return make_class(
        f"{type(primitive).__name__}Transform",
        forward=primitive.run,
        setup_context=setup_context,
        backward=primitive.differentiate,
        jvp=primitive.push_forward,
        vmap=vmap,
    )


def move_batch(tensor: Tensor | None, place: int | None, rank: int) -> Tensor | None:
    """Bring a batch to dimension 0, before `rank` dimensions of one element of the batch. None is no batch."""
    if tensor is None or place is None:
        return tensor
    tensor = tensor.movedim(place, 0)
    missing = rank + 1 - tensor.dim()
    return tensor.reshape(tensor.shape[0], *[1] * missing, *tensor.shape[1:]) if missing else tensor


def shift_dims(dims: Sequence[int]) -> list[int]:
    """Count dimensions after a batch was put before them."""
    return [d + 1 for d in dims]


def move_logits(in_dims: Any, x: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Bring the batches of logits and mask to dimension 0."""
    rank = x.dim() - (in_dims[0] is not None)
    if in_dims[0] is None and where is not None:
        x = x.expand(where.shape[in_dims[1]], *x.shape)
    else:
        x = x.movedim(in_dims[0], 0)
    return x, move_batch(where, in_dims[1], rank)


class Forward(Primitive):
    """softmax and log_softmax, of which the result is all that derivatives need."""

    schema = "(Tensor x, Tensor? where, int[] dims, float scale) -> Tensor"

    def make_fake(self, x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float) -> Tensor:
        return torch.empty_like(x)

    def choose_saved(self, inputs: Any, output: Tensor) -> Any:
        _, where, dims, scale = inputs
        return (output, where), (tuple(dims), scale)

    def take_batch(self, in_dims: Any, *inputs: Any) -> Tensor:
        x, where, dims, scale = inputs
        return self.call(*move_logits(in_dims, x, where), shift_dims(dims), scale)


class Softmax(Forward):
    """softmax(scale * x). Its Jacobian scale * (diag(y) - y y^T) is symmetric."""

    name = "softmax"
    kernel: Any = staticmethod(_kernels.softmax)
    compute_builtin: Any = staticmethod(_builtin.softmax)

    def differentiate(self, ctx: Any, grad: Tensor) -> Any:
        y, _ = ctx.saved_tensors
        return softmax_product.call(grad, y, *ctx.options), None, None, None

    def push_forward(self, ctx: Any, *tangents: Any) -> Tensor:
        y, _ = ctx.saved_tensors
        return softmax_product.call(tangents[0], y, *ctx.options)


class LogSoftmax(Forward):
    """log_softmax(scale * x). What a mask drops is -inf, a constant."""

    name = "log_softmax"
    kernel: Any = staticmethod(_kernels.log_softmax)
    compute_builtin: Any = staticmethod(_builtin.log_softmax)

    def differentiate(self, ctx: Any, grad: Tensor) -> Any:
        log_y, where = ctx.saved_tensors
        return log_softmax_vjp.call(_builtin.mask_result(grad, where), log_y, *ctx.options), None, None, None

    def push_forward(self, ctx: Any, *tangents: Any) -> Tensor:
        log_y, where = ctx.saved_tensors
        tangent = log_softmax_jvp.call(_builtin.mask_result(tangents[0], where), log_y, *ctx.options)
        return _builtin.mask_result(tangent, where)


class LogSumExp(Primitive):
    """logsumexp(scale * x), whose gradient is scale * softmax(scale * x)."""

    name = "logsumexp"
    schema = "(Tensor x, Tensor? where, int[] dims, float scale, bool keepdim) -> Tensor"
    kernel: Any = staticmethod(_kernels.logsumexp)
    compute_builtin: Any = staticmethod(_builtin.logsumexp)

    def make_fake(self, x: Tensor, where: Tensor | None, dims: Sequence[int], scale: float, keepdim: bool) -> Tensor:
        return x.new_empty(_kernels.reduced_shape(x.shape, dims, keepdim))

    def choose_saved(self, inputs: Any, output: Tensor) -> Any:
        x, where, dims, scale, keepdim = inputs
        return (x, where), (tuple(dims), scale, keepdim)

    def find_slope(self, ctx: Any) -> Tensor:
        """Return the derivatives of each result."""
        x, where = ctx.saved_tensors
        dims, scale, _ = ctx.options
        y = softmax.call(x, where, dims, scale)
        return y if scale == 1 else y * scale

    def differentiate(self, ctx: Any, grad: Tensor) -> Any:
        dims, _, keepdim = ctx.options
        if not keepdim:
            for d in sorted(dims):
                grad = grad.unsqueeze(d)
        return multiply_slope(self.find_slope(ctx), grad), None, None, None, None

    def push_forward(self, ctx: Any, *tangents: Any) -> Tensor:
        dims, _, keepdim = ctx.options
        return (self.find_slope(ctx) * tangents[0]).sum(dims, keepdim)

    def take_batch(self, in_dims: Any, *inputs: Any) -> Tensor:
        x, where, dims, scale, keepdim = inputs
        return self.call(*move_logits(in_dims, x, where), shift_dims(dims), scale, keepdim)


def multiply_slope(slope: Tensor, grad: Tensor) -> Tensor:
    """Multiply, in the memory of the slope where nobody else needs it."""
    if torch.is_grad_enabled() or transforms_are_active() or not runs_on_memory(grad):
        return slope * grad
    try:
        return slope.mul_(grad)
    except RuntimeError:
        # A batch of the older vmap is larger than the slope.
        return slope * grad


class Product(Primitive):
    """A product of a Jacobian, which follows from the outputs y, with v. It is linear in v."""

    schema = "(Tensor v, Tensor y, int[] dims, float scale) -> Tensor"

    def make_fake(self, v: Tensor, y: Tensor, dims: Sequence[int], scale: float) -> Tensor:
        return torch.empty_like(y) if v.shape == y.shape else y.new_empty(torch.broadcast_shapes(v.shape, y.shape))

    def choose_saved(self, inputs: Any, output: Tensor) -> Any:
        v, y, dims, scale = inputs
        return (v, y), (tuple(dims), scale)

    def take_batch(self, in_dims: Any, *inputs: Any) -> Tensor:
        v, y, dims, scale = inputs
        rank = v.dim() - (in_dims[0] is not None)
        return self.call(move_batch(v, in_dims[0], rank), move_batch(y, in_dims[1], rank), shift_dims(dims), scale)

    def transpose(self, v: Tensor, y: Tensor, dims: Any, scale: float) -> Tensor:
        """Multiply by the transposed matrix."""
        raise NotImplementedError

    def differentiate_matrix(self, h: Tensor, v: Tensor, y: Tensor, dims: Any) -> Tensor:
        """Return the gradient in y of the product of h with the result, for scale 1."""
        raise NotImplementedError

    def push_matrix(self, v: Tensor, y: Tensor, tangent: Tensor, dims: Any) -> Tensor:
        """Return the tangent of the result for a tangent of y, for scale 1."""
        raise NotImplementedError

    def differentiate(self, ctx: Any, grad: Tensor) -> Any:
        v, y = ctx.saved_tensors
        dims, scale = ctx.options
        in_v = self.transpose(grad, y, dims, scale) if ctx.needs_input_grad[0] else None
        in_y = self.differentiate_matrix(grad, v, y, dims) * scale if ctx.needs_input_grad[1] else None
        return fit(in_v, v), fit(in_y, y), None, None

    def push_forward(self, ctx: Any, *tangents: Any) -> Tensor:
        v, y = ctx.saved_tensors
        dims, scale = ctx.options
        parts = []
        if tangents[0] is not None:
            parts.append(self.call(tangents[0], y, dims, scale))
        if tangents[1] is not None:
            parts.append(self.push_matrix(v, y, tangents[1], dims) * scale)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def fit(grad: Tensor | None, like: Tensor) -> Tensor | None:
    """Sum a gradient to the shape of an input that was broadcast."""
    return None if grad is None else grad.sum_to_size(like.shape)


class SoftmaxProduct(Product):
    """y * (v - <v, y>), scaled."""

    name = "softmax_product"
    kernel: Any = staticmethod(_kernels.softmax_product)

    def compute_builtin(self, *inputs: Any) -> Tensor:
        v, y, dims, scale = inputs
        return y * (v - (v * y).sum(dims, keepdim=True)) * scale

    def transpose(self, v: Tensor, y: Tensor, dims: Any, scale: float) -> Tensor:
        return self.call(v, y, dims, scale)

    def differentiate_matrix(self, h: Tensor, v: Tensor, y: Tensor, dims: Any) -> Tensor:
        return h * (v - (v * y).sum(dims, keepdim=True)) - v * (h * y).sum(dims, keepdim=True)

    def push_matrix(self, v: Tensor, y: Tensor, tangent: Tensor, dims: Any) -> Tensor:
        return tangent * (v - (v * y).sum(dims, keepdim=True)) - y * (v * tangent).sum(dims, keepdim=True)


class LogSoftmaxVjp(Product):
    """v - exp(log_y) * sum(v), scaled."""

    name = "log_softmax_vjp"
    kernel: Any = staticmethod(_kernels.log_softmax_vjp)

    def compute_builtin(self, *inputs: Any) -> Tensor:
        v, y, dims, scale = inputs
        return (v - y.exp() * v.sum(dims, keepdim=True)) * scale

    def transpose(self, v: Tensor, y: Tensor, dims: Any, scale: float) -> Tensor:
        return log_softmax_jvp.call(v, y, dims, scale)

    def differentiate_matrix(self, h: Tensor, v: Tensor, y: Tensor, dims: Any) -> Tensor:
        return -h * y.exp() * v.sum(dims, keepdim=True)

    def push_matrix(self, v: Tensor, y: Tensor, tangent: Tensor, dims: Any) -> Tensor:
        return -y.exp() * tangent * v.sum(dims, keepdim=True)


class LogSoftmaxJvp(Product):
    """v - sum(exp(log_y) * v), scaled."""

    name = "log_softmax_jvp"
    kernel: Any = staticmethod(_kernels.log_softmax_jvp)

    def compute_builtin(self, *inputs: Any) -> Tensor:
        v, y, dims, scale = inputs
        return (v - (y.exp() * v).sum(dims, keepdim=True)) * scale

    def transpose(self, v: Tensor, y: Tensor, dims: Any, scale: float) -> Tensor:
        return log_softmax_vjp.call(v, y, dims, scale)

    def differentiate_matrix(self, h: Tensor, v: Tensor, y: Tensor, dims: Any) -> Tensor:
        return -h.sum(dims, keepdim=True) * y.exp() * v

    def push_matrix(self, v: Tensor, y: Tensor, tangent: Tensor, dims: Any) -> Tensor:
        return -(y.exp() * tangent * v).sum(dims, keepdim=True).expand_as(v)


softmax_product = SoftmaxProduct()
log_softmax_vjp = LogSoftmaxVjp()
log_softmax_jvp = LogSoftmaxJvp()
softmax = Softmax()
log_softmax = LogSoftmax()
logsumexp = LogSumExp()
