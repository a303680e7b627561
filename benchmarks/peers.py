"""Who takes part: for each library, the best way to have it compute a case.

At their best means outputs preallocated where the library lets us, the number of threads set, tensors without
gradients unless they are asked for, and sessions, compiled functions and tensors made before the clock starts.
Each of them is imported only when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np

from benchmarks import plain
from benchmarks.buffers import Buffers
from benchmarks.cases import Case, inputs

# One thread for all: for OpenMP and its like because they start as many as there are CPUs before anybody can say
# otherwise, for XLA because there is no other way. Read when the libraries are loaded.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}


class Cannot(Exception):
    """A peer has no way to compute a case; the message tells why."""


@dataclass(frozen=True)
class Run:
    """A computation ready to be timed, and how its results are read from what it returns; None if it has none."""

    call: Callable[[], object]
    read: Callable[[object], tuple[np.ndarray, ...]] | None


class Peer:
    """One library. The methods named like operations prepare these; what has no method cannot be computed."""

    name = ""
    package = ""  # whose version is shown
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    in_place = False
    threads = False

    def prepare(self, case: Case, buffers: Buffers) -> Run:
        """Everything but the computation itself; raises Cannot."""
        operation = getattr(self, case.operation, None)
        if operation is None:
            raise Cannot(f"no {case.operation}")
        if case.dtype not in self.dtypes:
            raise Cannot(f"no {case.dtype}")
        if case.in_place and not self.in_place:
            raise Cannot("not in place")
        if case.threads > 1 and not self.threads:
            raise Cannot("one thread only")
        return operation(case, buffers)

    def version(self) -> str:
        """Of the package."""
        return version(self.package)


def into(buffers: Buffers, function: Callable, *args: object, **options: object) -> Run:
    """A single call that writes its result into the output."""
    return Run(partial(function, *args, **options), lambda _: (buffers.out,))


def returning(function: Callable, *args: object, **options: object) -> Run:
    """A single call that returns its result, or several, as something like an array."""
    return Run(partial(function, *args, **options), as_arrays)


def as_arrays(value: object) -> tuple[np.ndarray, ...]:
    """The results as a tuple even if there is only one."""
    return tuple(map(np.asarray, value if isinstance(value, tuple) else (value,)))


class SoftmaxCy(Peer):
    """The library that all of this is about."""

    name = "softmax_cy"

    def __init__(self) -> None:
        import softmax_cy

        self.library = softmax_cy

    def prepare(self, case: Case, buffers: Buffers) -> Run:
        """All operations are called alike."""
        function = getattr(self.library, case.operation)
        if case.allocated:
            return returning(function, *buffers.inputs)
        out = buffers.out
        if case.operation == "softmax_and_jacobian":
            out = buffers.new(case.shape), out
        return returning(function, *buffers.inputs, case.axis, out=out, num_threads=case.threads)

    def version(self) -> str:
        """Of the module that is timed, which need not be the one installed."""
        return self.library.__version__


class OfTorch(Peer):
    """What torch and the library inside it have in common."""

    package = "torch"
    threads = True
    _mode = ExitStack()  # torch's state is the process's, so that this is one for all

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self._threads = torch.get_num_threads()

    def prepare(self, case: Case, buffers: Buffers) -> Run:
        """Inference mode spares torch the book-keeping for gradients that nobody asks for."""
        self.torch.set_num_threads(case.threads)
        self._mode.close()
        if case.operation != "cross_entropy_and_grad":
            self._mode.enter_context(self.torch.inference_mode())
        return super().prepare(case, buffers)

    def restore(self) -> None:
        """Leave torch as it was found: with its books kept, and all its threads."""
        self._mode.close()
        self.torch.set_num_threads(self._threads)

    def tensor(self, array: np.ndarray) -> object:
        """The same memory as a tensor; torch takes no bfloat16 from NumPy, but it takes the bits."""
        if array.dtype.name == "bfloat16":
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)


class Torch(OfTorch):
    """PyTorch, by the functions that its softmax and its autograd come down to: those take an output."""

    name = "torch"
    in_place = True

    def version(self) -> str:
        """With the instruction set that it found."""
        return f"{self.torch.__version__} ({self.torch.backends.cpu.get_cpu_capability()})"

    def tensors(self, buffers: Buffers) -> list:
        """The inputs and the output."""
        return [self.tensor(array) for array in (*buffers.inputs, buffers.out)]

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """torch.softmax, or what is below it."""
        x, out = self.tensors(buffers)
        if case.allocated:
            return returning(self.torch.softmax, x, case.axis)
        return into(buffers, self.torch._softmax, x, case.axis, False, out=out)

    def log_softmax(self, case: Case, buffers: Buffers) -> Run:
        """What is below torch.log_softmax."""
        x, out = self.tensors(buffers)
        return into(buffers, self.torch._log_softmax, x, case.axis, False, out=out)

    def logsumexp(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        x, out = self.tensors(buffers)
        return into(buffers, self.torch.logsumexp, x, case.axis, out=out)

    def softmax_vjp(self, case: Case, buffers: Buffers) -> Run:
        """What autograd calls."""
        grad, y, out = self.tensors(buffers)
        return into(buffers, self.torch._softmax_backward_data, grad, y, case.axis, y.dtype, grad_input=out)

    softmax_jvp = softmax_vjp  # the Jacobian is symmetric

    def log_softmax_vjp(self, case: Case, buffers: Buffers) -> Run:
        """What autograd calls."""
        grad, log_y, out = self.tensors(buffers)
        return into(buffers, self.torch._log_softmax_backward_data, grad, log_y, case.axis, log_y.dtype, out=out)

    def log_softmax_jvp(self, case: Case, buffers: Buffers) -> Run:
        """The formula that forward-mode autograd uses; torch has no kernel for it."""
        torch = self.torch
        tangent, log_y, out = self.tensors(buffers)

        def compute() -> None:
            torch.sub(tangent, (torch.exp(log_y) * tangent).sum(case.axis, keepdim=True), out=out)

        return into(buffers, compute)

    def softmax_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """The closed form, which is much faster than autograd row by row."""
        torch = self.torch
        y, out = self.tensors(buffers)

        def compute() -> None:
            torch.sub(torch.diag_embed(y), y[..., :, None] * y[..., None, :], out=out)

        return into(buffers, compute)

    def softmax_and_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """One after the other."""
        torch = self.torch
        x, out = self.tensors(buffers)
        y = self.tensor(buffers.new(case.shape))

        def compute() -> tuple:
            torch._softmax(x, case.axis, False, out=y)
            return y, torch.sub(torch.diag_embed(y), y[..., :, None] * y[..., None, :], out=out)

        return returning(compute)

    def log_softmax_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """The closed form."""
        torch = self.torch
        log_y, out = self.tensors(buffers)
        identity = torch.eye(case.shape[-1], dtype=log_y.dtype)
        return into(buffers, lambda: torch.sub(identity, torch.exp(log_y)[..., None, :], out=out))

    def cross_entropy(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        from torch.nn.functional import cross_entropy

        return returning(cross_entropy, *(self.tensor(array) for array in buffers.inputs))

    def cross_entropy_and_grad(self, case: Case, buffers: Buffers) -> Run:
        """Forward and backward, as in training."""
        from torch.nn.functional import cross_entropy

        x, target = (self.tensor(array) for array in buffers.inputs)
        x.requires_grad_()

        def compute() -> object:
            x.grad = None  # or backward would add to it
            loss = cross_entropy(x, target)
            loss.backward()
            return loss

        return Run(compute, lambda loss: (loss.detach().numpy(), x.grad.numpy()))


class OneDNN(OfTorch):
    """The kernels of oneDNN, through torch's tensors in its format; torch offers no way to name an output."""

    name = "oneDNN"
    dtypes = ("bfloat16", "float32")  # torch passes on float16 too, for which few CPUs have a kernel

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """The only one of the operations that torch passes on."""
        (x,) = (self.tensor(array).to_mkldnn() for array in buffers.inputs)
        axis = case.axis % len(case.shape)
        try:
            self.torch.softmax(x, axis)
        except RuntimeError as error:
            raise Cannot(f"no {case.dtype} on this CPU") from error
        return Run(partial(self.torch.softmax, x, axis), lambda y: (y.to_dense().float().numpy(),))


class OnnxRuntime(Peer):
    """ONNX Runtime, with inputs and outputs bound to the buffers."""

    name = "onnxruntime"
    package = "onnxruntime"
    dtypes = ("float16", "float32", "float64")
    threads = True

    def __init__(self) -> None:
        import onnx
        import onnxruntime

        self.onnx = onnx
        self.library = onnxruntime

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """One node."""
        return self._node("Softmax", case, buffers)

    def log_softmax(self, case: Case, buffers: Buffers) -> Run:
        """One node."""
        return self._node("LogSoftmax", case, buffers)

    def logsumexp(self, case: Case, buffers: Buffers) -> Run:
        """One node."""
        return self._node("ReduceLogSumExp", case, buffers)

    def _node(self, operator: str, case: Case, buffers: Buffers) -> Run:
        session = self._session(operator, buffers.dtype, len(case.shape), case.axis, case.threads)
        (x,) = buffers.inputs
        if case.allocated:
            return Run(partial(session.run, None, {"x": x}), lambda results: tuple(results))
        element = self.onnx.helper.np_dtype_to_tensor_dtype(buffers.dtype)
        binding = session.io_binding()
        binding.bind_input("x", "cpu", 0, element, list(x.shape), x.ctypes.data)
        binding.bind_output("y", "cpu", 0, element, list(buffers.out.shape), buffers.out.ctypes.data)
        return into(buffers, session.run_with_iobinding, binding)

    @lru_cache(maxsize=1)  # noqa: B019, one peer for the whole run
    def _session(self, operator: str, dtype: np.dtype, ndim: int, axis: int, threads: int) -> object:
        options = self.library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = self._model(operator, dtype, ndim, axis).SerializeToString()
        return self.library.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _model(self, operator: str, dtype: np.dtype, ndim: int, axis: int) -> object:
        helper = self.onnx.helper
        element = helper.np_dtype_to_tensor_dtype(dtype)
        if operator.startswith("Reduce"):
            constants = [helper.make_tensor("axes", self.onnx.TensorProto.INT64, [1], [axis])]
            node = helper.make_node(operator, ["x", "axes"], ["y"], keepdims=0)
        else:
            constants = []
            node = helper.make_node(operator, ["x"], ["y"], axis=axis)
        x = helper.make_tensor_value_info("x", element, [None] * ndim)
        y = helper.make_tensor_value_info("y", element, None)
        graph = helper.make_graph([node], operator, [x], [y], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


class Jax(Peer):
    """JAX, compiled. It makes its outputs itself, by design."""

    name = "jax"
    package = "jax"

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax = jax
        self.compiled = {
            operation: jax.jit(getattr(self, f"_{operation}"), static_argnames="axis")
            for operation in (
                "softmax_vjp",
                "log_softmax_vjp",
                "log_softmax_jvp",
                "softmax_jacobian",
                "cross_entropy_and_grad",
            )
        }
        self.compiled |= {
            "softmax": jax.jit(jax.nn.softmax, static_argnames="axis"),
            "log_softmax": jax.jit(jax.nn.log_softmax, static_argnames="axis"),
            "logsumexp": jax.jit(jax.scipy.special.logsumexp, static_argnames="axis"),
            "softmax_jvp": self.compiled["softmax_vjp"],
        }

    def prepare(self, case: Case, buffers: Buffers) -> Run:
        """All operations are called alike."""
        if case.in_place:
            raise Cannot("not in place")
        if case.threads > 1:
            raise Cannot("one thread only, chosen for the whole process")
        function, ready = self.compiled[case.operation], self.jax.block_until_ready
        arrays = [self.jax.numpy.asarray(array) for array in buffers.inputs]
        return Run(lambda: ready(function(*arrays, axis=case.axis)), as_arrays)

    # Written for arrays whose softmax is at hand; the compiler fuses them.

    def _softmax_vjp(self, v: object, y: object, axis: int) -> object:
        return y * (v - (y * v).sum(axis, keepdims=True))

    def _log_softmax_vjp(self, grad: object, log_y: object, axis: int) -> object:
        return grad - self.jax.numpy.exp(log_y) * grad.sum(axis, keepdims=True)

    def _log_softmax_jvp(self, tangent: object, log_y: object, axis: int) -> object:
        return tangent - (self.jax.numpy.exp(log_y) * tangent).sum(axis, keepdims=True)

    def _softmax_jacobian(self, y: object, axis: int) -> object:
        return y[..., :, None] * (self.jax.numpy.eye(y.shape[axis], dtype=y.dtype) - y[..., None, :])

    def _cross_entropy_and_grad(self, x: object, target: object, axis: int) -> object:
        def loss(x: object) -> object:
            log_y = self.jax.nn.log_softmax(x, axis)
            return -self.jax.numpy.take_along_axis(log_y, target[..., None], axis).mean()

        return self.jax.value_and_grad(loss)(x)


class SciPy(Peer):
    """scipy.special, which takes no output."""

    name = "scipy"
    package = "scipy"
    dtypes = ("float16", "float32", "float64")

    def __init__(self) -> None:
        import scipy.special

        self.special = scipy.special

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        return returning(self.special.softmax, *buffers.inputs, case.axis)

    def log_softmax(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        return returning(self.special.log_softmax, *buffers.inputs, case.axis)

    def logsumexp(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        return returning(self.special.logsumexp, *buffers.inputs, case.axis)


class ScikitLearn(Peer):
    """The loss that scikit-learn's boosting and its logistic regression take."""

    name = "scikit-learn"
    package = "scikit-learn"
    dtypes = ("float32", "float64")

    def __init__(self) -> None:
        from sklearn._loss import HalfMultinomialLoss

        self.loss = HalfMultinomialLoss

    def cross_entropy_and_grad(self, case: Case, buffers: Buffers) -> Run:
        """Of the mean: each sample counts 1 / n."""
        x, target = buffers.inputs
        loss, target = self.loss(n_classes=case.shape[-1]), target.astype(x.dtype)
        each, weight = np.empty(case.shape[0], x.dtype), np.full(case.shape[0], 1 / case.shape[0], x.dtype)

        def compute() -> object:
            loss.loss_gradient(target, x, weight, loss_out=each, gradient_out=buffers.out, n_threads=1)
            return each.sum()

        return Run(compute, lambda mean: (np.asarray(mean), buffers.out))


class NumPy(Peer):
    """NumPy, by the functions in `plain`."""

    name = "numpy"
    package = "numpy"
    dtypes = ("float16", "float32", "float64")  # sums of bfloat16 in bfloat16 are wrong from some hundred terms on
    in_place = True

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """Written into the output, or into an array of its own."""
        out = None if case.allocated else buffers.out
        return returning(plain.softmax, *buffers.inputs, case.axis, out)

    def log_softmax(self, case: Case, buffers: Buffers) -> Run:
        """With room for the exponentials."""
        return returning(plain.log_softmax, *buffers.inputs, case.axis, buffers.out, buffers.new(case.shape))

    def logsumexp(self, case: Case, buffers: Buffers) -> Run:
        """With room for the exponentials."""
        return returning(plain.logsumexp, *buffers.inputs, case.axis, buffers.out, buffers.new(case.shape))

    def softmax_vjp(self, case: Case, buffers: Buffers) -> Run:
        """Of the last axis, which vecdot is for."""
        return returning(plain.softmax_vjp, *buffers.inputs, buffers.out)

    softmax_jvp = softmax_vjp

    def log_softmax_vjp(self, case: Case, buffers: Buffers) -> Run:
        """Written into the output."""
        return returning(plain.log_softmax_vjp, *buffers.inputs, buffers.out)

    def log_softmax_jvp(self, case: Case, buffers: Buffers) -> Run:
        """With room for the exponentials."""
        return returning(plain.log_softmax_jvp, *buffers.inputs, buffers.out, buffers.new(case.shape))

    def softmax_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """Written into the output."""
        return returning(plain.softmax_jacobian, *buffers.inputs, buffers.out)

    def softmax_and_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """One after the other."""
        return returning(plain.softmax_and_jacobian, *buffers.inputs, buffers.new(case.shape), buffers.out)

    def log_softmax_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """Written into the output."""
        return returning(plain.log_softmax_jacobian, *buffers.inputs, buffers.out)

    def cross_entropy(self, case: Case, buffers: Buffers) -> Run:
        """With room for the exponentials."""
        return returning(plain.cross_entropy, *buffers.inputs, buffers.new(case.shape))

    def cross_entropy_and_grad(self, case: Case, buffers: Buffers) -> Run:
        """Written into the output."""
        return returning(plain.cross_entropy_and_grad, *buffers.inputs, buffers.out)


class Naive(Peer):
    """Loops in Python, as in a textbook."""

    name = "naive"
    dtypes = ("float32", "float64")

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """Number by number."""
        return returning(plain.softmax_by_loops, *buffers.inputs, buffers.out)

    def softmax_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """Number by number."""
        return returning(plain.softmax_jacobian_by_loops, *buffers.inputs, buffers.out)

    def version(self) -> str:
        """None of its own."""
        return ""


class PlainCython(Peer):
    """The obvious loops in Cython, which come with softmax_cy: what its kernels gain, and no competitor."""

    name = "plain Cython"
    dtypes = ("float32", "float64")

    def __init__(self) -> None:
        import softmax_cy.plain

        self.loops = softmax_cy.plain
        self.library = softmax_cy

    def prepare(self, case: Case, buffers: Buffers) -> Run:
        """They take rows, and an array for the result."""
        if len(case.shape) != 2 or case.axis not in (-1, 1):
            raise Cannot("rows of two-dimensional arrays only")
        if case.allocated:
            raise Cannot("makes no array for the result")
        return super().prepare(case, buffers)

    def softmax(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        return into(buffers, self.loops.softmax, *buffers.inputs, buffers.out)

    def softmax_jacobian(self, case: Case, buffers: Buffers) -> Run:
        """As it is."""
        return into(buffers, self.loops.softmax_jacobian, *buffers.inputs, buffers.out)

    def version(self) -> str:
        """Of the library that holds them."""
        return self.library.__version__


class Limit(Peer):
    """Not a peer, but what moves the same memory and computes nothing, or softmax_cy itself under easier terms."""

    name = "limit"

    def __init__(self) -> None:
        self.ours = SoftmaxCy().library

    def prepare(self, case: Case, buffers: Buffers) -> Run:
        """By the name that the case gives it."""
        out, x = buffers.out, buffers.inputs[0]
        limits = {
            "np.copyto": lambda: partial(np.copyto, out, x),
            "np.multiply": lambda: partial(np.multiply, *buffers.inputs, out),
            "fill": lambda: partial(out.fill, 0.5),
            "own last axis": lambda: self._softmax(buffers.copy(x.T), buffers.new(x.T.shape)),
            "own out of place": lambda: self._softmax(buffers.copy(inputs(case)[0]), buffers.new(x.shape)),
            "own 1 thread": lambda: self._softmax(x, out),
        }
        if case.limit not in limits:
            raise Cannot("nothing to compare with")
        return Run(limits[case.limit](), read=None)

    def _softmax(self, x: np.ndarray, out: np.ndarray) -> Callable[[], object]:
        return partial(self.ours.softmax, x, out=out, num_threads=1)

    def version(self) -> str:
        """None of its own."""
        return ""


class Again(SoftmaxCy):
    """The same a second time, to see how large a difference is where there is none."""

    name = "again"


OURS = SoftmaxCy.name
LIMIT = Limit.name
PLAIN_CYTHON = PlainCython.name
OTHERS: tuple[type[Peer], ...] = (Torch, OneDNN, OnnxRuntime, Jax, SciPy, ScikitLearn, NumPy, PlainCython)
NO_COMPETITORS = (OURS, LIMIT, PLAIN_CYTHON)  # never the best of the others


def available(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """Those that are installed, softmax_cy first in any case; and why the others are missing."""
    peers: list[Peer] = [SoftmaxCy()]
    missing = {}
    for kind in (*OTHERS, Limit):
        if kind.name not in names:
            continue
        try:
            peers.append(kind())
        except ImportError as error:
            missing[kind.name] = str(error)
    return peers, missing


def environment_is_set(environment: dict[str, str] = ENVIRONMENT) -> bool:
    """Whether this process was started with what the peers need."""
    return all(os.environ.get(name) == value for name, value in environment.items())
