# SPDX-License-Identifier: MIT
"""Activation functions: the rectifier, and composites made of elementwise primitives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Composite, Cotangents, Kind, Values
from ..types import Array
from .arithmetic import Abs, Add, Div, Maximum, Minimum, Mul, Sub
from .elementary import Erf, Exp, Expm1, Log1p, Sigmoid, Tanh
from .elementwise import Unary
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Relu(Unary):
    """Rectifier, ``y = max(x, 0)``; NaN stays NaN.

    Gradient: ``dx = dy`` where ``x > 0``, else 0. ONNX: Relu-14.

    References:
        Glorot, Bordes, Bengio, Deep sparse rectifier neural networks, AISTATS 2011.
    """

    name: ClassVar[str] = "relu"

    def function(self, x: Array) -> Any:
        """Return ``max(x, 0)``."""
        return np.maximum(x, np.zeros((), x.dtype))

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dy`` where the result is positive, which needs no operand kept alive."""
        from .comparison import Greater, Select

        (dy,) = cotangents
        if dy is None:
            return (None,)
        zero = emit.scalar_like(0, dy)
        return (emit(Select(), emit(Greater(), outputs[0], zero), dy, zero),)


class Activation(Widened):
    """Base of composites that act on each element alone."""

    kind: ClassVar[Kind] = Kind.ELEMENTWISE


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """``y = x`` where ``x >= 0``, else ``alpha * x``. ONNX: LeakyRelu-16."""

    name: ClassVar[str] = "leaky_relu"
    alpha: float = 0.01

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by the sign."""
        (x,) = inputs
        return (_negative_part(emit, x, emit(Mul(), x, emit.scalar_like(self.alpha, x))),)


@dataclass(frozen=True)
class PRelu(Activation):
    """``y = x`` where ``x >= 0``, else ``slope * x``; the slope broadcasts to ``x``.

    ONNX: PRelu-16.

    References:
        He, Zhang, Ren, Sun, Delving deep into rectifiers, ICCV 2015.
    """

    name: ClassVar[str] = "prelu"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by the sign."""
        x, slope = inputs
        return (_negative_part(emit, x, emit(Mul(), x, slope)),)


@dataclass(frozen=True)
class ThresholdedRelu(Activation):
    """``y = x`` where ``x > alpha``, else 0. ONNX: ThresholdedRelu-22."""

    name: ClassVar[str] = "thresholded_relu"
    alpha: float = 1.0

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by the threshold."""
        from .comparison import Greater, Select

        (x,) = inputs
        above = emit(Greater(), x, emit.scalar_like(self.alpha, x))
        return (emit(Select(), above, x, emit.scalar_like(0, x)),)


@dataclass(frozen=True)
class Elu(Activation):
    """``y = x`` where ``x >= 0``, else ``alpha * (e**x - 1)``. ONNX: Elu-22.

    References:
        Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by
        exponential linear units, ICLR 2016.
    """

    name: ClassVar[str] = "elu"
    alpha: float = 1.0

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by the sign; the exponential sees no positive operand."""
        (x,) = inputs
        below = emit(Mul(), _expm1_below(emit, x), emit.scalar_like(self.alpha, x))
        return (_negative_part(emit, x, below),)


@dataclass(frozen=True)
class Selu(Activation):
    """``y = gamma * elu(x, alpha)``; the defaults keep mean 0 and variance 1. ONNX: Selu-22.

    References:
        Klambauer, Unterthiner, Mayr, Hochreiter, Self-normalizing neural networks, NIPS 2017.
    """

    name: ClassVar[str] = "selu"
    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Scale the exponential linear unit."""
        (x,) = inputs
        return (emit(Mul(), emit(Elu(self.alpha), x), emit.scalar_like(self.gamma, x)),)


@dataclass(frozen=True)
class Celu(Activation):
    """``y = x`` where ``x >= 0``, else ``alpha * (e**(x/alpha) - 1)``. ONNX: Celu-28."""

    name: ClassVar[str] = "celu"
    alpha: float = 1.0

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by the sign; the exponential sees no positive operand."""
        (x,) = inputs
        alpha = emit.scalar_like(self.alpha, x)
        below = emit(Mul(), _expm1_below(emit, emit(Div(), x, alpha)), alpha)
        return (_negative_part(emit, x, below),)


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """``y = max(0, min(1, alpha * x + beta))``. ONNX: HardSigmoid-22."""

    name: ClassVar[str] = "hard_sigmoid"
    alpha: float = 0.2
    beta: float = 0.5

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Clamp the line."""
        (x,) = inputs
        slope, offset, zero, one = (emit.scalar_like(n, x) for n in (self.alpha, self.beta, 0, 1))
        line = emit(Add(), emit(Mul(), x, slope), offset)
        return (emit(Maximum(), emit(Minimum(), line, one), zero),)


@dataclass(frozen=True)
class HardSwish(Activation):
    """``y = x * max(0, min(1, x/6 + 1/2))``. ONNX: HardSwish-22.

    References:
        Howard et al., Searching for MobileNetV3, ICCV 2019.
    """

    name: ClassVar[str] = "hard_swish"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply by the hard sigmoid."""
        (x,) = inputs
        return (emit(Mul(), x, emit(HardSigmoid(1 / 6, 0.5), x)),)


@dataclass(frozen=True)
class Softplus(Activation):
    """``y = log(1 + e**x) = max(x, 0) + log1p(e**-|x|)``, which never overflows.

    ONNX: Softplus-22.
    """

    name: ClassVar[str] = "softplus"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the form without overflow."""
        (x,) = inputs
        zero = emit.scalar_like(0, x)
        tail = emit(Exp(), emit(Sub(), zero, emit(Abs(), x)))
        return (emit(Add(), emit(Maximum(), x, zero), emit(Log1p(), tail)),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dy * sigmoid(x)``."""
        (dy,) = cotangents
        return (None if dy is None else emit(Mul(), dy, emit(Sigmoid(), inputs[0])),)


@dataclass(frozen=True)
class Softsign(Activation):
    """``y = x / (1 + |x|)``. ONNX: Softsign-22."""

    name: ClassVar[str] = "softsign"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Divide."""
        (x,) = inputs
        return (emit(Div(), x, emit(Add(), emit(Abs(), x), emit.scalar_like(1, x))),)


@dataclass(frozen=True)
class Mish(Activation):
    """``y = x * tanh(softplus(x))``. ONNX: Mish-22.

    References:
        Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.
    """

    name: ClassVar[str] = "mish"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply."""
        (x,) = inputs
        return (emit(Mul(), x, emit(Tanh(), emit(Softplus(), x))),)


@dataclass(frozen=True)
class Swish(Activation):
    """``y = x * sigmoid(alpha * x)``; with ``alpha = 1`` the sigmoid linear unit (SiLU).

    ONNX: Swish-24.
    """

    name: ClassVar[str] = "swish"
    alpha: float = 1.0

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply."""
        (x,) = inputs
        scaled = x if self.alpha == 1 else emit(Mul(), x, emit.scalar_like(self.alpha, x))
        return (emit(Mul(), x, emit(Sigmoid(), scaled)),)


@dataclass(frozen=True)
class Gelu(Activation):
    """``y = x * P(Z <= x)`` for a standard normal ``Z``. ONNX: Gelu-20.

    Attributes:
        approximate: ``none`` for ``x/2 * (1 + erf(x / sqrt 2))``, ``tanh`` for
            ``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3)))``.

    References:
        Hendrycks and Gimpel, Gaussian error linear units, arXiv:1606.08415, 2016.
    """

    name: ClassVar[str] = "gelu"
    approximate: str = "none"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the exact form or the one with the hyperbolic tangent."""
        (x,) = inputs
        if self.approximate not in ("none", "tanh"):
            raise self.error(f"approximate must be none or tanh, found {self.approximate!r}")
        curve = self._tanh(emit, x) if self.approximate == "tanh" else self._erf(emit, x)
        half = emit(Mul(), x, emit.scalar_like(0.5, x))
        return (emit(Mul(), half, emit(Add(), curve, emit.scalar_like(1, x))),)

    def _erf(self, emit: Emitter, x: Value) -> Value:
        return emit(Erf(), emit(Mul(), x, emit.scalar_like(math.sqrt(0.5), x)))

    def _tanh(self, emit: Emitter, x: Value) -> Value:
        cube = emit(Mul(), emit(Mul(), x, x), x)
        inner = emit(Add(), x, emit(Mul(), cube, emit.scalar_like(0.044715, x)))
        return emit(Tanh(), emit(Mul(), inner, emit.scalar_like(math.sqrt(2 / math.pi), x)))


@dataclass(frozen=True)
class Shrink(Composite):
    """``x + bias`` where ``x < -threshold``, ``x - bias`` where ``x > threshold``, else 0.

    ONNX: Shrink-9 (its attribute ``lambd`` is the threshold).
    """

    name: ClassVar[str] = "shrink"
    kind: ClassVar[Kind] = Kind.ELEMENTWISE
    threshold: float = 0.5
    bias: float = 0.0

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by both thresholds."""
        from .comparison import Greater, Less, Select

        (x,) = inputs
        high, low, bias, zero = (
            emit.scalar_like(n, x) for n in (self.threshold, -self.threshold, self.bias, 0)
        )
        above = emit(Select(), emit(Greater(), x, high), emit(Sub(), x, bias), zero)
        return (emit(Select(), emit(Less(), x, low), emit(Add(), x, bias), above),)


def _negative_part(emit: Emitter, x: Value, below: Value) -> Value:
    """Emit ``below`` where ``x < 0``, else ``x``, so that NaN stays NaN."""
    from .comparison import Less, Select

    return emit(Select(), emit(Less(), x, emit.scalar_like(0, x)), below, x)


def _expm1_below(emit: Emitter, x: Value) -> Value:
    """Emit ``e**min(x, 0) - 1``: no overflow, which would make the gradient 0 * inf."""
    return emit(Expm1(), emit(Minimum(), x, emit.scalar_like(0, x)))


__all__ = [
    "Celu",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "PRelu",
    "Relu",
    "Selu",
    "Shrink",
    "Softplus",
    "Softsign",
    "Swish",
    "ThresholdedRelu",
]
