# SPDX-License-Identifier: MIT
"""Exponentials, logarithms, roots, circular and hyperbolic functions of one operand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..types import FLOATS, Array
from .arithmetic import Add, Div, Mul, Neg, Reciprocal, Sub
from .elementwise import Unary

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


class Elementary(Unary):
    """Base of smooth functions of a float; NaN outside the domain."""

    accepts: ClassVar[frozenset[str]] = FLOATS


@dataclass(frozen=True)
class Exp(Elementary):
    """Exponential, ``y = e**x``. Gradient: ``dx = dy * y``. ONNX: Exp-13."""

    name: ClassVar[str] = "exp"

    def function(self, x: Array) -> Any:
        """Return ``exp(x)``."""
        return np.exp(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``y``."""
        return y


@dataclass(frozen=True)
class Expm1(Elementary):
    """``y = e**x - 1`` without cancellation near 0. Gradient: ``dx = dy * (y + 1)``."""

    name: ClassVar[str] = "expm1"

    def function(self, x: Array) -> Any:
        """Return ``exp(x) - 1``."""
        return np.expm1(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``y + 1``."""
        return emit(Add(), y, emit.scalar_like(1, y))


@dataclass(frozen=True)
class Log(Elementary):
    """Natural logarithm. Gradient: ``dx = dy / x``. ONNX: Log-13."""

    name: ClassVar[str] = "log"

    def function(self, x: Array) -> Any:
        """Return ``log(x)``."""
        return np.log(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / x``."""
        return emit(Reciprocal(), x)


@dataclass(frozen=True)
class Log1p(Elementary):
    """``y = log(1 + x)`` without cancellation near 0. Gradient: ``dx = dy / (1 + x)``."""

    name: ClassVar[str] = "log1p"

    def function(self, x: Array) -> Any:
        """Return ``log(1 + x)``."""
        return np.log1p(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / (1 + x)``."""
        return emit(Reciprocal(), emit(Add(), x, emit.scalar_like(1, x)))


@dataclass(frozen=True)
class Sqrt(Elementary):
    """Square root. Gradient: ``dx = dy / (2 * y)``. ONNX: Sqrt-13."""

    name: ClassVar[str] = "sqrt"

    def function(self, x: Array) -> Any:
        """Return ``sqrt(x)``."""
        return np.sqrt(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``0.5 / y``."""
        return emit(Div(), emit.scalar_like(0.5, y), y)


@dataclass(frozen=True)
class Rsqrt(Elementary):
    """Reciprocal square root, ``y = 1 / sqrt(x)``. Gradient: ``dx = -dy * y**3 / 2``."""

    name: ClassVar[str] = "rsqrt"

    def function(self, x: Array) -> Any:
        """Return ``1 / sqrt(x)``."""
        return 1 / np.sqrt(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``-y**3 / 2``."""
        return emit(Mul(), emit(Mul(), y, emit.scalar_like(-0.5, y)), emit(Mul(), y, y))


@dataclass(frozen=True)
class Sin(Elementary):
    """Sine. Gradient: ``dx = dy * cos(x)``. ONNX: Sin-22."""

    name: ClassVar[str] = "sin"

    def function(self, x: Array) -> Any:
        """Return ``sin(x)``."""
        return np.sin(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``cos(x)``."""
        return emit(Cos(), x)


@dataclass(frozen=True)
class Cos(Elementary):
    """Cosine. Gradient: ``dx = -dy * sin(x)``. ONNX: Cos-22."""

    name: ClassVar[str] = "cos"

    def function(self, x: Array) -> Any:
        """Return ``cos(x)``."""
        return np.cos(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``-sin(x)``."""
        return emit(Neg(), emit(Sin(), x))


@dataclass(frozen=True)
class Tan(Elementary):
    """Tangent. Gradient: ``dx = dy * (1 + y**2)``. ONNX: Tan-22."""

    name: ClassVar[str] = "tan"

    def function(self, x: Array) -> Any:
        """Return ``tan(x)``."""
        return np.tan(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 + y**2``."""
        return emit(Add(), emit(Mul(), y, y), emit.scalar_like(1, y))


@dataclass(frozen=True)
class Asin(Elementary):
    """Arc sine in [-pi/2, pi/2]. Gradient: ``dx = dy / sqrt(1 - x**2)``. ONNX: Asin-22."""

    name: ClassVar[str] = "asin"

    def function(self, x: Array) -> Any:
        """Return ``asin(x)``."""
        return np.arcsin(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / sqrt(1 - x**2)``."""
        return emit(Rsqrt(), _one_minus_square(emit, x))


@dataclass(frozen=True)
class Acos(Elementary):
    """Arc cosine in [0, pi]. Gradient: ``dx = -dy / sqrt(1 - x**2)``. ONNX: Acos-22."""

    name: ClassVar[str] = "acos"

    def function(self, x: Array) -> Any:
        """Return ``acos(x)``."""
        return np.arccos(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``-1 / sqrt(1 - x**2)``."""
        return emit(Neg(), emit(Rsqrt(), _one_minus_square(emit, x)))


@dataclass(frozen=True)
class Atan(Elementary):
    """Arc tangent in [-pi/2, pi/2]. Gradient: ``dx = dy / (1 + x**2)``. ONNX: Atan-22."""

    name: ClassVar[str] = "atan"

    def function(self, x: Array) -> Any:
        """Return ``atan(x)``."""
        return np.arctan(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / (1 + x**2)``."""
        return emit(Reciprocal(), emit(Add(), emit(Mul(), x, x), emit.scalar_like(1, x)))


@dataclass(frozen=True)
class Sinh(Elementary):
    """Hyperbolic sine. Gradient: ``dx = dy * cosh(x)``. ONNX: Sinh-22."""

    name: ClassVar[str] = "sinh"

    def function(self, x: Array) -> Any:
        """Return ``sinh(x)``."""
        return np.sinh(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``cosh(x)``."""
        return emit(Cosh(), x)


@dataclass(frozen=True)
class Cosh(Elementary):
    """Hyperbolic cosine. Gradient: ``dx = dy * sinh(x)``. ONNX: Cosh-22."""

    name: ClassVar[str] = "cosh"

    def function(self, x: Array) -> Any:
        """Return ``cosh(x)``."""
        return np.cosh(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``sinh(x)``."""
        return emit(Sinh(), x)


@dataclass(frozen=True)
class Tanh(Elementary):
    """Hyperbolic tangent. Gradient: ``dx = dy * (1 - y**2)``. ONNX: Tanh-13."""

    name: ClassVar[str] = "tanh"

    def function(self, x: Array) -> Any:
        """Return ``tanh(x)``."""
        return np.tanh(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 - y**2``."""
        return _one_minus_square(emit, y)


@dataclass(frozen=True)
class Asinh(Elementary):
    """Inverse hyperbolic sine. Gradient: ``dx = dy / sqrt(x**2 + 1)``. ONNX: Asinh-22."""

    name: ClassVar[str] = "asinh"

    def function(self, x: Array) -> Any:
        """Return ``asinh(x)``."""
        return np.arcsinh(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / sqrt(x**2 + 1)``."""
        return emit(Rsqrt(), emit(Add(), emit(Mul(), x, x), emit.scalar_like(1, x)))


@dataclass(frozen=True)
class Acosh(Elementary):
    """Inverse hyperbolic cosine. Gradient: ``dx = dy / sqrt(x**2 - 1)``. ONNX: Acosh-22."""

    name: ClassVar[str] = "acosh"

    def function(self, x: Array) -> Any:
        """Return ``acosh(x)``."""
        return np.arccosh(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / sqrt(x**2 - 1)``."""
        return emit(Rsqrt(), emit(Sub(), emit(Mul(), x, x), emit.scalar_like(1, x)))


@dataclass(frozen=True)
class Atanh(Elementary):
    """Inverse hyperbolic tangent. Gradient: ``dx = dy / (1 - x**2)``. ONNX: Atanh-22."""

    name: ClassVar[str] = "atanh"

    def function(self, x: Array) -> Any:
        """Return ``atanh(x)``."""
        return np.arctanh(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``1 / (1 - x**2)``."""
        return emit(Reciprocal(), _one_minus_square(emit, x))


@dataclass(frozen=True)
class Erf(Elementary):
    """Error function, ``y = 2 / sqrt(pi) * integral of exp(-t**2) from 0 to x``.

    Gradient: ``dx = dy * 2 / sqrt(pi) * exp(-x**2)``. ONNX: Erf-13.
    """

    name: ClassVar[str] = "erf"

    def function(self, x: Array) -> Any:
        """Return ``erf(x)``, computed in double precision."""
        return np.vectorize(math.erf, otypes=[np.float64])(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``2 / sqrt(pi) * exp(-x**2)``."""
        bell = emit(Exp(), emit(Neg(), emit(Mul(), x, x)))
        return emit(Mul(), bell, emit.scalar_like(2 / math.sqrt(math.pi), x))


@dataclass(frozen=True)
class Sigmoid(Elementary):
    """Logistic function, ``y = 1 / (1 + exp(-x))``; exact in both tails.

    Gradient: ``dx = dy * y * (1 - y)``. ONNX: Sigmoid-13.
    """

    name: ClassVar[str] = "sigmoid"

    def function(self, x: Array) -> Any:
        """Return the logistic function, through ``exp`` of negative numbers only."""
        small = np.exp(-np.abs(x))
        return np.where(x < 0, small, 1) / (1 + small)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``y * (1 - y)``."""
        return emit(Mul(), y, emit(Sub(), emit.scalar_like(1, y), y))


def _one_minus_square(emit: Emitter, x: Value) -> Value:
    return emit(Sub(), emit.scalar_like(1, x), emit(Mul(), x, x))


__all__ = [
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cos",
    "Cosh",
    "Elementary",
    "Erf",
    "Exp",
    "Expm1",
    "Log",
    "Log1p",
    "Rsqrt",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Sqrt",
    "Tan",
    "Tanh",
]
