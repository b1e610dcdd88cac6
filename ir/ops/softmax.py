# SPDX-License-Identifier: MIT
"""Softmax, its logarithm and its limit along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Composite, Cotangents, Types, Values
from ..types import Type
from .arithmetic import Div, Mul, Sub
from .elementary import Exp, Log
from .elementwise import result_type
from .reduction import ReduceMax, ReduceSum
from .shape import Iota, expand_axes
from .widening import Widened, narrow, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


class AlongAxis(Composite):
    """Base of functions of the rows along one axis that keep type and shape."""

    axis: int

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type."""
        (x,) = self.tensors(inputs, 1)
        if not 0 <= self.axis < x.rank:
            raise self.error(f"axis {self.axis} does not exist in {x}; it counts from the front")
        return (x,)


@dataclass(frozen=True)
class Softmax(Widened, AlongAxis):
    """``y = e**(x - m) / sum e**(x - m)`` along ``axis``, with the maximum ``m``.

    Float types narrower than float32 are computed in float32 and rounded once.
    Gradient: ``dx = y * (dy - sum(dy * y))``. ONNX: Softmax-13.
    """

    name: ClassVar[str] = "softmax"
    axis: int = -1

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the quotient; the maximum prevents overflow."""
        (x,) = inputs
        powers = emit(Exp(), _shifted(emit, x, self.axis))
        return (emit(Div(), powers, _total(emit, powers, self.axis)),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``y * (dy - sum(dy * y))``."""
        (dy,) = cotangents
        if dy is None:
            return (None,)
        return (emit(SoftmaxGradient(self.axis), outputs[0], dy),)


@dataclass(frozen=True)
class SoftmaxGradient(Widened):
    """Cotangent ``y * (dy - sum(dy * y))`` of Softmax's operand, from its result and ``dy``.

    Shapes: y and dy alike, the result too. Floats narrower than float32 are computed in float32
    and rounded once. Gradient: that of the expansion.
    """

    name: ClassVar[str] = "softmax_gradient"
    axis: int = -1

    def infer(self, *inputs: Type) -> Types:
        """Return the type of both operands."""
        y, dy = self.tensors(inputs, 2)
        if y != dy or not 0 <= self.axis < y.rank:
            raise self.error(f"expected two operands alike with axis {self.axis}, got {y} and {dy}")
        return (y,)

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Take the weighted mean off."""
        y, dy = inputs
        mean = _total(emit, emit(Mul(), dy, y), self.axis)
        return (emit(Mul(), y, emit(Sub(), dy, mean)),)


@dataclass(frozen=True)
class LogSoftmax(Widened, AlongAxis):
    """``y = x - m - log(sum e**(x - m))`` along ``axis``, with the maximum ``m``.

    Gradient: ``dx = dy - e**y * sum(dy)``. ONNX: LogSoftmax-13.
    """

    name: ClassVar[str] = "log_softmax"
    axis: int = -1

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the difference; no quotient can underflow to the logarithm of 0."""
        shifted = _shifted(emit, inputs[0], self.axis)
        total = _total(emit, emit(Exp(), shifted), self.axis)
        return (emit(Sub(), shifted, emit(Log(), total)),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dy - e**y * sum(dy)``."""
        (dy,) = cotangents
        if dy is None:
            return (None,)
        dy = widen(emit, dy)
        share = emit(Mul(), emit(Exp(), widen(emit, outputs[0])), _total(emit, dy, self.axis))
        return (narrow(emit, emit(Sub(), dy, share), inputs[0]),)


@dataclass(frozen=True)
class Hardmax(AlongAxis):
    """1 at the first largest element along ``axis``, 0 elsewhere. ONNX: Hardmax-13.

    Gradient: none flows, because the result is piecewise constant.
    """

    name: ClassVar[str] = "hardmax"
    axis: int = -1

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Compare each position with that of the largest element."""
        from .cast import Cast
        from .comparison import Equal
        from .sorting import ArgMax

        (x,) = inputs
        best = expand_axes(emit, emit(ArgMax(self.axis), x), (self.axis,))
        positions = emit(Iota("int64", result_type(x).dims, self.axis))
        return (emit(Cast(result_type(x).dtype), emit(Equal(), positions, best)),)


def _shifted(emit: Emitter, x: Value, axis: int) -> Value:
    return emit(Sub(), x, expand_axes(emit, emit(ReduceMax((axis,)), x), (axis,)))


def _total(emit: Emitter, x: Value, axis: int) -> Value:
    return expand_axes(emit, emit(ReduceSum((axis,)), x), (axis,))


__all__ = ["Hardmax", "LogSoftmax", "Softmax", "SoftmaxGradient"]
