# SPDX-License-Identifier: MIT
"""Sums over sliding windows, averages and norms made of them, and windows laid out in columns."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, TensorType, Type
from .arithmetic import Abs, Div, Mul, Pow
from .elementary import Sqrt
from .elementwise import result_type
from .reduction import in_64_bits
from .shape import filled
from .sliding import Ints, Sliding, check_sliding, windows
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Windowed:
    """Base of ops with a window that slides over the spatial axes of (N, C, spatial...).

    Attributes:
        window: size of the window, per spatial axis.
        strides: step between windows.
        low: elements of padding before the first; a negative number crops.
        high: elements of padding after the last.
        dilation: distance between the elements of a window.
    """

    window: Ints
    strides: Ints
    low: Ints
    high: Ints
    dilation: Ints

    @property
    def sliding(self) -> Sliding:
        """How the window moves."""
        ones = (1,) * len(self.window)
        return Sliding(self.window, self.strides, self.low, self.high, self.dilation, ones)

    def positions(self, op: Op, x: TensorType) -> Ints:
        """Return how many positions the window has on each spatial axis of ``x``."""
        if x.rank < 3:
            raise op.error(f"data must be (N, C, spatial...), found {x}")
        check_sliding(op, self.sliding, x.rank - 2)
        return self.sliding.positions(x.dims[2:])


@dataclass(frozen=True)
class WindowSum(Windowed, Op):
    """Sum of each window's elements, ``y[n, c, p] = sum_k x'[n, c, p * strides + k * dilation]``.

    ``x'`` is ``x`` with ``input_dilation - 1`` zeros between elements and zeros around them.
    Floats narrower than float32 are added up in float32 and rounded once; integers wrap
    around. Gradient: the same op on ``dy`` with ``strides`` and ``input_dilation`` exchanged.
    """

    name: ClassVar[str] = "window_sum"
    kind: ClassVar[Kind] = Kind.REDUCTION
    input_dilation: Ints

    @property
    def sliding(self) -> Sliding:
        """How the window moves."""
        return Sliding(
            self.window, self.strides, self.low, self.high, self.dilation, self.input_dilation
        )

    def infer(self, *inputs: Type) -> Types:
        """Return one element per window."""
        (x,) = self.tensors(inputs, 1)
        return (TensorType(x.dtype, (*x.dims[:2], *self.positions(self, x))),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Add up in 64 bits and round once."""
        (x,) = inputs
        data = in_64_bits(x)
        total = np.zeros((*x.shape[:2], *self.sliding.positions(x.shape[2:])), data.dtype)
        for _, seen in windows(data, self.sliding, 0):
            total += seen
        return (total.astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Sum the windows that each element lies in."""
        (dy,) = cotangents
        x = result_type(inputs[0])
        if dy is None or x.dtype not in FLOATS:
            return (None,)
        return (emit(window_sum(self.sliding.transposed(x.dims[2:])), dy),)

    def flops(self, *inputs: Type) -> int:
        """One operation per element of a window."""
        (y,) = self.infer(*inputs)
        assert isinstance(y, TensorType)
        return y.size * math.prod(self.window)


def window_sum(sliding: Sliding) -> WindowSum:
    """Return the op that sums the windows of ``sliding``."""
    return WindowSum(
        sliding.window,
        sliding.strides,
        sliding.low,
        sliding.high,
        sliding.dilation,
        sliding.input_dilation,
    )


@dataclass(frozen=True)
class AveragePool(Windowed, Widened):
    """Mean of each window's elements.

    Divides by the number of elements inside the data, or with ``count_include_pad`` by their
    number inside the data and its padding, of which the last ``excess`` elements do not count.

    Shapes: x (N, C, S...), result (N, C, P...). ONNX: AveragePool-22.

    Attributes:
        count_include_pad: whether padding counts as elements that are 0.
        excess: how much of ``high`` is only there for windows that a rounded up number of
            positions lets reach beyond the padding; all 0 if empty.
    """

    name: ClassVar[str] = "average_pool"
    count_include_pad: bool = False
    excess: Ints = ()

    def infer(self, *inputs: Type) -> Types:
        """Return one element per window."""
        (x,) = self.tensors(inputs, 1)
        if len(self.excess) not in (0, len(self.window)):
            raise self.error(f"excess={self.excess} must have an entry per axis of {self.window}")
        return (TensorType(x.dtype, (*x.dims[:2], *self.positions(self, x))),)

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the sum over the count."""
        (x,) = inputs
        total = emit(window_sum(self.sliding), x)
        return (emit(Div(), total, self._count(emit, result_type(x))),)

    def _count(self, emit: Emitter, x: TensorType) -> Value:
        """Emit the number of elements of each window: a number, or the window sums of ones."""
        ones, sliding = self._counted(x.dims[2:])
        inside = all(a <= 0 for a in (*sliding.low, *sliding.high))
        if inside or 0 in x.dims:
            return emit.constant(math.prod(self.window), x.dtype)
        return emit(window_sum(sliding), filled(emit, 1, x.dtype, (1, 1, *ones)))

    def _counted(self, size: Ints) -> tuple[Ints, Sliding]:
        """Return how many elements count along each axis, and how the window moves over them."""
        none = (0,) * len(size)
        excess = self.excess or none
        before = self.low if self.count_include_pad else none
        after = (
            tuple(h - e for h, e in zip(self.high, excess, strict=True))
            if self.count_include_pad
            else none
        )
        ones = tuple(n + a + b for n, a, b in zip(size, before, after, strict=True))
        low = tuple(a - b for a, b in zip(self.low, before, strict=True))
        high = tuple(a - b for a, b in zip(self.high, after, strict=True))
        spread = (1,) * len(size)
        return ones, Sliding(self.window, self.strides, low, high, self.dilation, spread)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Divide sums by counts in 64 bits and round once."""
        (x,) = inputs
        (total,) = window_sum(self.sliding).evaluate(in_64_bits(x))
        ones, sliding = self._counted(x.shape[2:])
        (count,) = window_sum(sliding).evaluate(np.ones((1, 1, *ones)))
        return ((total / count).astype(x.dtype),)


@dataclass(frozen=True)
class LpPool(Windowed, Widened):
    """``(sum |x|**p)**(1 / p)`` over each window; padding is 0.

    Shapes: x (N, C, S...), result (N, C, P...). ONNX: LpPool-22, GlobalLpPool-22.

    Attributes:
        p: the exponent, 1 or more.
    """

    name: ClassVar[str] = "lp_pool"
    p: int = 2

    def infer(self, *inputs: Type) -> Types:
        """Return one element per window."""
        (x,) = self.tensors(inputs, 1)
        if self.p < 1 or x.dtype not in FLOATS:
            raise self.error(f"expected floats and p of 1 or more, found {x} and p={self.p}")
        return (TensorType(x.dtype, (*x.dims[:2], *self.positions(self, x))),)

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the powers, their sum and its root."""
        (x,) = inputs
        if self.p == 1:
            return (emit(window_sum(self.sliding), emit(Abs(), x)),)
        if self.p == 2:
            return (emit(Sqrt(), emit(window_sum(self.sliding), emit(Mul(), x, x))),)
        power = emit(Pow(), emit(Abs(), x), emit.scalar_like(self.p, x))
        total = emit(window_sum(self.sliding), power)
        return (emit(Pow(), total, emit.scalar_like(1 / self.p, x)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply the formula in 64 bits."""
        (x,) = inputs
        (total,) = window_sum(self.sliding).evaluate(np.abs(in_64_bits(x)) ** self.p)
        return ((total ** (1 / self.p)).astype(x.dtype),)


class Columns(Windowed, Op):
    """Base of the two maps between data and its windows laid out in columns."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Apply the other map."""
        (dy,) = cotangents
        if dy is None or result_type(dy).dtype not in FLOATS:
            return (None,)
        return (emit(self.transposed(result_type(inputs[0])), dy),)

    @abstractmethod
    def transposed(self, x: TensorType) -> Op:
        """Return the transpose of this map of data of type ``x``."""


@dataclass(frozen=True)
class Im2Col(Columns):
    """Every window as a column: ``y[n, c k, p] = x'[n, c, p * strides + k * dilation]``.

    ``x'`` is ``x`` with zeros around it; ``c k`` and ``p`` count in row-major order.
    Shapes: x (N, C, S...), result (N, C * prod(window), prod(P)). Gradient: Col2Im of ``dy``.
    """

    name: ClassVar[str] = "im2col"
    kind: ClassVar[Kind] = Kind.INJECTIVE

    def infer(self, *inputs: Type) -> Types:
        """Return the columns' type."""
        (x,) = self.tensors(inputs, 1)
        count = math.prod(self.positions(self, x))
        return (TensorType(x.dtype, (x.dims[0], x.dims[1] * math.prod(self.window), count)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Stack what each element of the window sees."""
        (x,) = inputs
        n, c, *size = x.shape
        taps, count = math.prod(self.window), math.prod(self.sliding.positions(tuple(size)))
        columns = np.zeros((n, c, taps, count), x.dtype)
        for k, (_, seen) in enumerate(windows(x, self.sliding, 0)):
            columns[:, :, k] = seen.reshape(n, c, count)
        return (columns.reshape(n, c * taps, count),)

    def transposed(self, x: TensorType) -> Op:
        """Return the sum of columns."""
        return Col2Im(self.window, self.strides, self.low, self.high, self.dilation, x.dims[2:])


@dataclass(frozen=True)
class Col2Im(Columns):
    """Columns added up where their windows lie in the data, the transpose of Im2Col.

    Shapes: x (N, C * prod(window), prod(P)), result (N, C, shape...). Floats narrower than
    float32 are added up in float32 and rounded once. Gradient: Im2Col of ``dy``.
    ONNX: Col2Im-18.

    Attributes:
        shape: spatial sizes of the result.
    """

    name: ClassVar[str] = "col2im"
    kind: ClassVar[Kind] = Kind.REDUCTION
    shape: Ints

    def infer(self, *inputs: Type) -> Types:
        """Return the data's type."""
        (x,) = self.tensors(inputs, 1)
        check_sliding(self, self.sliding, len(self.shape))
        taps, count = math.prod(self.window), math.prod(self.sliding.positions(self.shape))
        if x.rank != 3 or x.dims[1] % max(taps, 1) or x.dims[2] != count:
            raise self.error(
                f"expected columns (N, C * {taps}, {count}) for windows {list(self.window)} on "
                f"{list(self.shape)}, found {x}"
            )
        return (TensorType(x.dtype, (x.dims[0], x.dims[1] // max(taps, 1), *self.shape)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Add each row of the columns to what its element of the window sees."""
        (x,) = inputs
        taps = math.prod(self.window)
        n, c = x.shape[0], x.shape[1] // max(taps, 1)
        positions = self.sliding.positions(self.shape)
        rows = in_64_bits(x).reshape(n, c, taps, *positions)
        # Each element of the data sees itself once: which windows hold it, and where.
        numbers = np.arange(math.prod(self.shape)).reshape(1, 1, *self.shape)
        total = np.zeros((n, c, math.prod(self.shape)), rows.dtype)
        for k, (_, seen) in enumerate(windows(numbers, self.sliding, -1)):
            inside = seen[0, 0] >= 0
            total[:, :, seen[0, 0][inside]] += rows[:, :, k, inside]
        return (total.reshape(n, c, *self.shape).astype(x.dtype),)

    def transposed(self, x: TensorType) -> Op:
        """Return the layout in columns."""
        return Im2Col(self.window, self.strides, self.low, self.high, self.dilation)


__all__ = ["AveragePool", "Col2Im", "Im2Col", "LpPool", "WindowSum"]
