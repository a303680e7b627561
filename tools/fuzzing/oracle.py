"""What a call should return: shape, dtype and values, these from the twins in long double that the tests have."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

import twin
from fuzzing.program import BOTH, INPUTS, JACOBIANS, PRODUCTS, Program, axis_of

WIDE = twin.WIDE
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

# Errors in units of eps times the size of the terms, or of the smallest number. Wrong code is off by far more.
LOOSE = 64


class Unknown(Exception):
    """Nothing can be said about what a call returns."""


def computed_dtype(dtype: np.dtype) -> np.dtype | None:
    """What a dtype is computed in, if it is."""
    if dtype.kind in "biu" and dtype.name not in ("int4", "uint4", "int2", "uint2"):
        return np.dtype(np.float64)
    if dtype == BFLOAT16 or (dtype.kind == "f" and dtype.itemsize == 2):
        return np.dtype(np.float32)
    return (
        dtype.newbyteorder("=")
        if dtype.kind == "f" and dtype.itemsize in (4, 8) and dtype.type in (np.float32, np.float64)
        else None
    )


def result_dtype(array: np.ndarray) -> np.dtype:
    """The dtype that a result has by that of the input."""
    computed = computed_dtype(array.dtype)
    if computed is None:
        raise Unknown
    return array.dtype.newbyteorder("=") if array.dtype.itemsize == 2 and array.dtype.kind not in "biu" else computed


def as_array(value: object) -> np.ndarray:
    """As the library takes it."""
    try:
        array = np.asarray(value)
    except Exception:
        raise Unknown from None
    if computed_dtype(array.dtype) is None:
        raise Unknown
    return array


class Expected:
    """Shape and dtype of what a call returns and writes to `out`, and the values if they are wanted."""

    def __init__(self, program: Program, names: dict[str, object]) -> None:
        self.name = program.function
        options = {}
        for key, expression in program.arguments.items():
            options[key] = names[expression] if expression in names else eval(expression, names)
        self.options = options
        first = as_array(options[INPUTS[self.name][0]])
        if options.get("dtype") is not None:
            try:
                wanted = np.dtype(options["dtype"]).newbyteorder("=")
            except Exception:
                raise Unknown from None
            if computed_dtype(wanted) is None or wanted.kind in "biu":
                raise Unknown
            with np.errstate(all="ignore"):
                first = first.astype(wanted)
        self.first = first
        self.second = None
        shape = first.shape
        self.dtype = result_dtype(first)
        if self.name in PRODUCTS:
            self.second = as_array(options[INPUTS[self.name][1]])
            given = [options[key] for key in INPUTS[self.name]]
            dtypes = [np.asarray(v).dtype.newbyteorder("=") for v in given]
            if dtypes[0] != dtypes[1]:
                self.dtype = max(
                    computed_dtype(first.dtype), computed_dtype(self.second.dtype), key=lambda d: d.itemsize
                )
            else:
                self.dtype = result_dtype(first)
            try:
                shape = broadcast_shapes(shape, self.second.shape)
            except ValueError:
                raise Unknown from None
        self.computed = computed_dtype(self.dtype)
        axes = axis_of(program.arguments.get("axis", "-1"), shape)
        if axes is None:
            raise Unknown
        self.shape, self.axes = shape, axes
        full = shape or (1,)
        rest = tuple(n for d, n in enumerate(full) if d not in axes)
        if self.name in ("softmax", "log_softmax", *PRODUCTS, "cross_entropy_and_grad"):
            self.outs = shape, self.dtype
        elif self.name == "logsumexp":
            try:
                keep = bool(options.get("keepdims", False))
            except ValueError:
                raise Unknown from None
            kept = tuple(1 if d in axes else n for d, n in enumerate(shape)) if keep else rest
            self.outs = kept if shape else (), self.dtype
        elif self.name in JACOBIANS + BOTH:
            if len(axes) != 1:
                raise Unknown
            self.outs = (*rest, full[axes[0]], full[axes[0]]), self.dtype
        else:
            self.outs = self.loss_shape(rest), self.dtype

    def loss_shape(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        """Of the losses or of their mean."""
        return batch if str(self.options.get("reduction", "mean")) == "none" else ()

    def rows(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Slices as rows of long doubles."""
        # The library computes in float32 or float64, whatever it was given.
        with np.errstate(all="ignore"):
            full = np.broadcast_to(array.astype(self.computed).astype(WIDE), shape)
        full = full.reshape(shape or (1,))
        order = [d for d in range(full.ndim) if d not in self.axes] + self.axes
        length = math.prod(full.shape[d] for d in self.axes)
        count = math.prod(full.shape[d] for d in range(full.ndim) if d not in self.axes)
        return full.transpose(order).reshape(count, length)

    def scale(self) -> np.longdouble:
        """As the kernels see it."""
        return WIDE(self.computed.type(float(self.options.get("scale", 1.0))))

    def check(self, result: object) -> None:
        """Raises AssertionError if the result is not what it should be."""
        parts = [result]
        if self.name in ("cross_entropy_and_grad", *BOTH):
            assert isinstance(result, tuple), f"a {type(result).__name__} was returned"
            assert len(result) == 2, f"{len(result)} results"
            parts = list(result)
        for part in parts:
            right = np.ndarray if part.ndim else self.dtype.type
            assert type(part) is right or part is self.options.get("out"), f"a {type(part).__name__} was returned"
            assert part.dtype == self.dtype, f"dtype {part.dtype}, expected {self.dtype}"
            assert part.dtype.isnative, "the byte order of the result is not the machine's"
        assert parts[-1].shape == self.outs[0], f"shape {parts[-1].shape}, expected {self.outs[0]}"
        if self.options.get("out") is not None:
            assert parts[-1] is self.options["out"], "the result is not out"

    def check_values(self, result: object) -> None:
        """Against long double. Slices that are not finite in a way that the formulas do not cover are left out."""
        with np.errstate(all="ignore"):
            getattr(self, f"check_{self.name.removesuffix('_and_grad')}", self.check_rows)(result)

    # Each of the following gives exact values and the size of what they are the difference of.

    def check_softmax(self, result):
        """Against the twin."""
        exact = twin.softmax(self.widened(), self.axis(), scale=self.scale(), where=self.options.get("where"))
        self.compare(result, exact, np.abs(exact))

    def check_log_softmax(self, result):
        """Against the twin."""
        exact = twin.log_softmax(self.widened(), self.axis(), scale=self.scale(), where=self.options.get("where"))
        self.compare(result, exact, np.abs(exact))

    def check_logsumexp(self, result):
        """Against the twin; in units of the maximum where that is larger."""
        keep = bool(self.options.get("keepdims", False))
        exact = twin.logsumexp(
            self.widened(), self.axis(), scale=self.scale(), where=self.options.get("where"), keepdims=keep
        )
        rows, _, _ = twin.as_rows(self.widened(), self.axis(), self.options.get("where"))
        largest = np.abs(self.scale() * rows.max(axis=-1, initial=-np.inf)).reshape(exact.shape)
        self.compare(result, exact, np.maximum(np.abs(exact), np.where(np.isfinite(largest), largest, 0)))

    def widened(self):
        """The logits as they are computed with."""
        with np.errstate(all="ignore"):
            return self.first.astype(self.computed)

    def axis(self):
        """As the twins take it."""
        return tuple(self.axes)

    def check_rows(self, result):
        """Products and Jacobians, row by row, where all of a row is finite."""
        if self.name in PRODUCTS:
            self.check_product(result)
            return
        y = self.rows(self.first, self.shape)
        n = y.shape[-1]
        p = np.exp(y) if self.name.startswith("log_") else y
        # What is no logarithm of a probability has none.
        good = np.isfinite(p).all(axis=-1) & ((p <= 1).all(axis=-1) | (not self.name.startswith("log_")))
        exact, one = getattr(twin, self.name)(y), np.eye(n, dtype=WIDE)
        if self.name.startswith("log_"):
            terms = one + np.abs(p[:, None, :])
        else:
            terms = one * np.abs(y[:, :, None]) + np.abs(y[:, :, None] * y[:, None, :])
        full = np.asarray(result).reshape(len(y), n, n)
        self.compare(full[good], (self.scale() * exact)[good], (self.scale() * terms)[good])

    def check_product(self, result):
        """Where the outputs are probabilities, as they are meant to be."""
        scale, v, y = self.scale(), self.rows(self.first, self.shape), self.rows(self.second, self.shape)
        p = np.exp(y) if self.name.startswith("log_") else y
        good = np.isfinite(v).all(axis=-1) & np.isfinite(p).all(axis=-1) & (p >= 0).all(axis=-1)
        good &= ~np.isnan(y).any(axis=-1) & (p <= 1).all(axis=-1)
        good &= np.abs(v).sum(axis=-1) < float(ml_dtypes.finfo(self.computed).max) / 8
        exact = getattr(twin, self.name)(v, y)
        if self.name == "log_softmax_vjp":
            terms = twin.product_terms(self.name, v, y)
        else:
            # c is taken off v first: what y lacks of a sum of 1 counts times c.
            terms = np.abs(v) + (1 + p.sum(axis=-1, keepdims=True)) * np.abs(v).max(axis=-1, keepdims=True, initial=0)
            good &= np.abs(p.sum(axis=-1) - 1) <= LOOSE / 4 * eps_of(self.dtype)
            terms = p * terms if self.name in ("softmax_vjp", "softmax_jvp") else terms
        factor = np.abs(scale * v).sum(axis=-1, keepdims=True)[good]
        self.compare(self.as_rows(result, v.shape)[good], (scale * exact)[good], (scale * terms)[good], factor)

    def as_rows(self, result, shape):
        """A result of the shape of the inputs, slice by slice."""
        order = [d for d in range(max(len(self.shape), 1)) if d not in self.axes] + self.axes
        return np.asarray(result).reshape(self.shape or (1,)).transpose(order).reshape(shape)

    def check_softmax_and_jacobian(self, result):
        """The results against the twin, the matrix against what follows from them."""
        y, jacobian = result
        Expected.check_softmax(self, y)
        p = self.rows(np.asarray(y), self.shape)
        n = p.shape[-1]
        good = np.isfinite(p).all(axis=-1)
        exact = self.scale() * twin.softmax_jacobian(p)
        terms = self.scale() * (np.eye(n) * p[:, :, None] + p[:, :, None] * p[:, None, :])
        self.compare(jacobian.reshape(len(p), n, n)[good], exact[good], terms[good])

    def check_cross_entropy(self, result):
        """Loss, and gradient if there is one."""
        target = np.asarray(self.options["target"])
        loss, grad = result if isinstance(result, tuple) else (result, None)
        x = self.rows(self.first, self.shape)
        count, n = x.shape
        weight = self.options.get("weight")
        weights = np.ones(n, WIDE) if weight is None else np.asarray(weight).astype(self.computed).astype(WIDE)
        counted = np.ones(count, bool)
        if target.dtype.kind in "iu":
            index = target.ravel()
            ignored = self.options.get("ignore_index")
            if ignored is not None:
                counted = np.array([int(i) != int(ignored) for i in index], bool)
            q = (np.arange(n) == index[:, None]).astype(WIDE)
            denominator = (weights * q)[counted].sum()
        else:
            q, denominator = self.rows(target, self.shape), WIDE(count)
        a = twin.smoothed(q, weights, float(self.options.get("label_smoothing", 0.0)))
        losses, sizes, grads, grad_sizes = twin.losses_of_rows(x, a)
        losses, sizes = np.where(counted, losses, 0), np.where(counted, sizes, 0)
        reduction = str(self.options.get("reduction", "mean"))
        # Over weights that add up to 0 a mean is NaN, also where smoothing leaves something to divide by that.
        factor = WIDE(1) if reduction != "mean" else 1 / denominator if denominator != 0 else WIDE(np.nan)
        most = float(ml_dtypes.finfo(self.computed).max) / 8
        if sizes.max(initial=0) > most:
            return  # the loss of one slice may overflow
        logarithms = -twin.log_softmax(x)
        if logarithms.max(initial=0, where=(a != 0) & np.isfinite(logarithms)) > most:
            return  # and so may the logarithm of one probability: the loss is infinite then, whatever its weight
        if reduction == "none":
            self.compare(loss.ravel(), losses, sizes)
        else:
            self.compare(loss, np.asarray(losses.sum() * factor), np.asarray(sizes.sum() * np.abs(factor)))
        if grad is None or not np.isfinite(factor):
            return
        grads, sizes = factor * grads, np.abs(factor) * grad_sizes
        grads[~counted], sizes[~counted] = 0, 0
        sums = np.abs(factor * a.sum(axis=-1, keepdims=True))
        self.compare(self.as_rows(grad, x.shape), grads, sizes, sums)

    def compare(self, result, exact, size, factor=0):
        """Within LOOSE units; NaN for NaN, infinity for what rounds to infinity or nearly does."""
        result = np.asarray(result).astype(WIDE).reshape(exact.shape)
        info = ml_dtypes.finfo(self.dtype)
        # A probability is rounded to a multiple of the smallest number before a factor makes that error larger.
        smallest = float(info.smallest_subnormal) * (1 + self.scale_of_tiny() + factor)
        bound = LOOSE * (eps_of(self.dtype) * size + smallest)
        near_overflow = np.abs(size) > float(info.max) / 4
        wrong = ~near_overflow & (np.isnan(result) != np.isnan(exact))
        assert not wrong.any(), f"NaN or not: {sample(result, wrong)}, expected {sample(exact, wrong)}"
        finite = np.isfinite(exact) & np.isfinite(size)
        wrong = finite & ~near_overflow & ~(np.abs(result - exact) <= bound)
        assert not wrong.any(), f"{sample(result, wrong)}, expected {sample(exact, wrong)}"
        wrong = np.isinf(exact) & (result != exact)
        assert not wrong.any(), f"{sample(result, wrong)}, expected {sample(exact, wrong)}"

    def scale_of_tiny(self):
        """What the smallest number that an input can be rounded to is multiplied with."""
        return WIDE(float(self.options.get("scale", 1.0))) if self.name in PRODUCTS + JACOBIANS else WIDE(0)


def eps_of(dtype: np.dtype) -> np.longdouble:
    """From 1 to the next number."""
    return WIDE(float(ml_dtypes.finfo(dtype).eps))


def sample(values: np.ndarray, wrong: np.ndarray) -> str:
    """The first of those that are wrong."""
    return f"{float(values[wrong][0]):.9g} ({int(wrong.sum())} of {wrong.size})"


def broadcast_shapes(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """As NumPy's, which gives up at 32 axes."""
    ndim = max(len(one), len(other))
    pairs = zip((1,) * (ndim - len(one)) + one, (1,) * (ndim - len(other)) + other, strict=True)
    shape = tuple(m if n == 1 else n for m, n in pairs)
    if any(n not in (m, 1) for array in (one, other) for m, n in zip(shape[ndim - len(array) :], array, strict=True)):
        raise ValueError("no common shape")
    return shape
