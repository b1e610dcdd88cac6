# SPDX-License-Identifier: MIT
"""The largest element of sliding windows, where it lies, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, INTEGERS, Array, TensorType, Type, dtype_name
from .elementwise import result_type
from .gather import GatherElements, ScatterElements
from .reduction import in_64_bits, limits
from .shape import Reshape, filled
from .sliding import Ints, windows
from .window import Windowed

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class MaxPool(Windowed, Op):
    """Largest element of each window, ``y[n, c, p] = max_k x[n, c, p * strides + k * dilation]``.

    Padding never wins; a window of nothing but padding gives the least value of the element
    type. NaN wins over every number.

    Shapes: x (N, C, S...), result (N, C, P...). Gradient: MaxPoolGradient.
    ONNX: MaxPool-22 without indices.
    """

    name: ClassVar[str] = "max_pool"
    kind: ClassVar[Kind] = Kind.REDUCTION

    def infer(self, *inputs: Type) -> Types:
        """Return one element per window."""
        (x,) = self.tensors(inputs, 1)
        return (_pooled(self, self, x),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the maximum of what the elements of the window see."""
        (x,) = inputs
        return (_extreme(self, x),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dy`` to the first maximum of each window."""
        (dy,) = cotangents
        return (_back(self, emit, inputs[0], dy),)

    def flops(self, *inputs: Type) -> int:
        """One comparison per element of a window."""
        (y,) = self.infer(*inputs)
        assert isinstance(y, TensorType)
        return y.size * math.prod(self.window)


@dataclass(frozen=True)
class MaxPoolWithIndices(Windowed, Op):
    """MaxPool, and the position (int64) of the first maximum of each window in the whole ``x``.

    Positions count elements of ``x`` in row-major order, or with ``column_major`` such that
    the first spatial axis varies fastest. Of several NaN the first counts. A window of nothing
    but padding has position -1.

    Shapes: x (N, C, S...), both results (N, C, P...). Gradient: MaxPoolGradient.
    ONNX: MaxPool-22 with indices; ``column_major`` is its storage order.
    """

    name: ClassVar[str] = "max_pool_with_indices"
    kind: ClassVar[Kind] = Kind.OPAQUE
    column_major: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return one element and one position per window."""
        (x,) = self.tensors(inputs, 1)
        y = _pooled(self, self, x)
        return y, TensorType("int64", y.shape)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Compare what the elements of the window see, one after the other."""
        (x,) = inputs
        return _extreme(self, x), _first_maximum(self, x, "F" if self.column_major else "C")

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dy`` to the first maximum of each window."""
        return (_back(self, emit, inputs[0], cotangents[0]),)


@dataclass(frozen=True)
class MaxPoolGradient(Windowed, Op):
    """Cotangent of MaxPool's operand: ``dy`` of each window added at its first maximum.

    Shapes: x (N, C, S...), dy (N, C, P...), result that of x. Floats narrower than float32
    are added up in float32 and rounded once. Gradient: none for ``x``; for ``dy`` the
    elements at the maxima.
    """

    name: ClassVar[str] = "max_pool_gradient"
    kind: ClassVar[Kind] = Kind.OPAQUE

    def infer(self, *inputs: Type) -> Types:
        """Return the type of ``x``."""
        x, dy = self.tensors(inputs, 2)
        if dy != _pooled(self, self, x):
            raise self.error(f"expected dy of type {_pooled(self, self, x)}, found {dy}")
        return (x,)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Add at the positions of the maxima."""
        x, dy = inputs
        at = _first_maximum(self, x, "C")
        total = np.zeros(x.size, in_64_bits(x).dtype)
        np.add.at(total, at[at >= 0], in_64_bits(dy)[at >= 0])
        return (total.reshape(x.shape).astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Read the cotangent at the maxima."""
        (dz,) = cotangents
        if dz is None:
            return None, None
        x, dy = map(result_type, inputs)
        _, at = emit.multi(_with_indices(self), inputs[0])
        flat = emit(Reshape((x.size,)), dz)
        taken = emit(GatherElements(0), flat, emit(Reshape((dy.size,)), at))
        return None, emit(Reshape(dy.dims), taken)


@dataclass(frozen=True)
class MaxUnpool(Composite):
    """Zeros of ``shape`` with the elements of ``x`` put at ``indices``; of equals the last wins.

    Positions count elements of the result in row-major order, as MaxPoolWithIndices gives
    them. Shapes: x and indices equal. ONNX: MaxUnpool-22.

    Attributes:
        shape: sizes of the result, batch and channels included.
    """

    name: ClassVar[str] = "max_unpool"
    kind: ClassVar[Kind] = Kind.OPAQUE
    shape: Ints

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Scatter into zeros."""
        x, indices = self.tensors(tuple(v.type for v in inputs), 2)
        if x.shape != indices.shape or indices.dtype not in INTEGERS:
            raise self.error(f"expected an index per element of {x}, found {indices}")
        zeros = filled(emit, 0, x.dtype, (math.prod(self.shape),))
        flat = [emit(Reshape((x.size,)), v) for v in inputs]
        y = emit(ScatterElements(0), zeros, flat[1], flat[0])
        return (emit(Reshape(self.shape), y),)


def _with_indices(op: Windowed) -> MaxPoolWithIndices:
    return MaxPoolWithIndices(op.window, op.strides, op.low, op.high, op.dilation)


def _pooled(op: Op, windowed: Windowed, x: TensorType) -> TensorType:
    if x.dtype not in FLOATS | INTEGERS:
        raise op.error(f"elements of {x} have no order")
    return TensorType(x.dtype, (*x.dims[:2], *windowed.positions(op, x)))


def _extreme(op: Windowed, x: Array) -> Array:
    least = limits(dtype_name(x.dtype))[0]
    wide = in_64_bits(x)
    result = np.full((*x.shape[:2], *op.sliding.positions(x.shape[2:])), least, wide.dtype)
    for _, seen in windows(wide, op.sliding, least):
        result = np.maximum(result, seen)
    return result.astype(x.dtype)


def _first_maximum(op: Windowed, x: Array, order: Any) -> Array:
    """Return the position of each window's first maximum, numbered in C or F order."""
    wide = in_64_bits(x)
    size = x.shape[2:]
    numbers = np.arange(math.prod(size)).reshape(1, 1, *size)
    if order == "F":
        numbers = np.arange(math.prod(size)).reshape(1, 1, *size[::-1])
        numbers = np.transpose(numbers, (0, 1, *range(len(size) + 1, 1, -1)))
    best = np.zeros((*x.shape[:2], *op.sliding.positions(size)), wide.dtype)
    at = np.full(best.shape, -1, np.int64)
    seen_numbers = windows(numbers, op.sliding, -1)
    for (_, seen), (_, number) in zip(windows(wide, op.sliding, 0), seen_numbers, strict=True):
        larger = (seen > best) | ((seen != seen) & (best == best)) | (at < 0)
        taken = larger & (number >= 0)
        best, at = np.where(taken, seen, best), np.where(taken, number, at)
    plane = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(size))
    return np.where(at < 0, -1, at + plane * math.prod(size))


def _back(op: Windowed, emit: Emitter, x: Value, dy: Value | None) -> Value | None:
    if dy is None or result_type(x).dtype not in FLOATS:
        return None
    gradient = MaxPoolGradient(op.window, op.strides, op.low, op.high, op.dilation)
    return emit(gradient, x, dy)


__all__ = ["MaxPool", "MaxPoolGradient", "MaxPoolWithIndices", "MaxUnpool"]
