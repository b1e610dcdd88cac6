# SPDX-License-Identifier: MIT
"""Elementwise arithmetic of two operands that broadcast, and sign-like functions of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Cotangents, Values
from ..types import FLOATS, Array
from .elementwise import Binary, Unary, result_type

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

Partials = tuple["Value | None", "Value | None"]


@dataclass(frozen=True)
class Add(Binary):
    """Sum, ``z = x + y``; integers wrap around.

    Gradient: ``dx = dz``, ``dy = dz``. ONNX: Add-14.
    """

    name: ClassVar[str] = "add"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x + y``."""
        return x + y

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz`` twice."""
        return dz, dz


@dataclass(frozen=True)
class Sub(Binary):
    """Difference, ``z = x - y``; integers wrap around.

    Gradient: ``dx = dz``, ``dy = -dz``. ONNX: Sub-14.
    """

    name: ClassVar[str] = "sub"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x - y``."""
        return x - y

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz`` and ``-dz``."""
        return dz, emit(Neg(), dz)


@dataclass(frozen=True)
class Mul(Binary):
    """Product, ``z = x * y``; integers wrap around.

    Gradient: ``dx = dz * y``, ``dy = dz * x``. ONNX: Mul-14.
    """

    name: ClassVar[str] = "mul"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x * y``."""
        return x * y

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz * y`` and ``dz * x``."""
        return emit(Mul(), dz, y), emit(Mul(), dz, x)


@dataclass(frozen=True)
class Div(Binary):
    """Quotient, ``z = x / y``.

    Floats follow IEEE 754. Integers truncate towards zero; an integer divided by zero is 0
    and the most negative integer divided by -1 is itself, so that no input traps.
    Gradient: ``dx = dz / y``, ``dy = -dz * z / y``. ONNX: Div-14.
    """

    name: ClassVar[str] = "div"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x / y``, truncated for integers."""
        return x / y if x.dtype.kind == "f" else _truncated_quotient(x, y)

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz / y`` and ``-(dz / y) * z``."""
        dx = emit(Div(), dz, y)
        return dx, emit(Neg(), emit(Mul(), dx, z))


@dataclass(frozen=True)
class Rem(Binary):
    """Remainder with the sign of the dividend, ``z = x - trunc(x / y) * y``, exact for floats.

    An integer modulo zero is 0; a float modulo zero, or infinity modulo anything, is NaN.
    Gradient: ``dx = dz``, ``dy = -dz * trunc(x / y)``. ONNX: Mod-28 with ``fmod`` = 1.
    """

    name: ClassVar[str] = "rem"

    def function(self, x: Array, y: Array) -> Any:
        """Return C's ``fmod``, or the remainder of the truncating integer division."""
        if x.dtype.kind == "f":
            return np.fmod(x, y)
        return np.where(y == 0, 0, x - _truncated_quotient(x, y) * y)

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz`` and ``-dz * trunc(x / y)``."""
        return dz, emit(Neg(), emit(Mul(), dz, emit(Trunc(), emit(Div(), x, y))))


@dataclass(frozen=True)
class Mod(Binary):
    """Remainder with the sign of the divisor, ``z = x - floor(x / y) * y``, as Python's ``%``.

    An integer modulo zero is 0; a float modulo zero, or infinity modulo anything, is NaN.
    A zero float result has the sign of the divisor.
    Gradient: ``dx = dz``, ``dy = -dz * floor(x / y)``. ONNX: Mod-28 with ``fmod`` = 0.
    """

    name: ClassVar[str] = "mod"

    def function(self, x: Array, y: Array) -> Any:
        """Return Python's ``x % y``."""
        if x.dtype.kind == "f":
            return np.mod(x, y)
        safe = np.where(y == 0, 1, y).astype(y.dtype)
        return np.where(y == 0, 0, np.mod(x, safe))

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz`` and ``-dz * floor(x / y)``."""
        return dz, emit(Neg(), emit(Mul(), dz, emit(Floor(), emit(Div(), x, y))))


@dataclass(frozen=True)
class Pow(Binary):
    """Power, ``z = x**y``.

    Floats follow C's ``pow``. Integer powers are exact and wrap around; with a negative
    exponent the result is truncated as 1 / x**-y would be, and 0 for x = 0.
    Gradient: ``dx = dz * y * x**(y - 1)`` (0 where y = 0), ``dy = dz * z * log(x)`` (0 where
    x = 0). ONNX: Pow-15.
    """

    name: ClassVar[str] = "pow"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x**y``."""
        if x.dtype.kind == "f":
            return np.power(x, y)
        odd = np.where(y % 2 != 0, x, 1)
        inverse = np.where(x == 1, 1, np.where(x == -1, odd, 0))
        return np.where(y < 0, inverse, np.power(x, np.where(y < 0, 0, y).astype(y.dtype)))

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz * y * x**(y - 1)`` and ``dz * z * log(x)``."""
        from .comparison import Equal, Select
        from .elementary import Log

        zero, one = emit.scalar_like(0, x), emit.scalar_like(1, x)
        # x**(y - 1) is infinite at x = 0, y = 0; the slope of a constant is still 0.
        exponent = emit(Select(), emit(Equal(), y, zero), one, emit(Sub(), y, one))
        dx = emit(Mul(), dz, emit(Mul(), y, emit(Pow(), x, exponent)))
        base = emit(Select(), emit(Equal(), x, zero), one, x)
        return dx, emit(Mul(), dz, emit(Mul(), z, emit(Log(), base)))


@dataclass(frozen=True)
class Maximum(Binary):
    """The larger of two numbers, ``z = max(x, y)``; NaN when either is NaN.

    Gradient: ``dz`` to the larger operand, half to each where they are equal. ONNX: Max-13.
    """

    name: ClassVar[str] = "maximum"

    def function(self, x: Array, y: Array) -> Any:
        """Return the larger number."""
        return np.maximum(x, y)

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Route ``dz`` to the larger operand."""
        return _routed(emit, x, y, dz)


@dataclass(frozen=True)
class Minimum(Binary):
    """The smaller of two numbers, ``z = min(x, y)``; NaN when either is NaN.

    Gradient: ``dz`` to the smaller operand, half to each where they are equal. ONNX: Min-13.
    """

    name: ClassVar[str] = "minimum"

    def function(self, x: Array, y: Array) -> Any:
        """Return the smaller number."""
        return np.minimum(x, y)

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Route ``dz`` to the smaller operand."""
        return _routed(emit, y, x, dz)  # where y > x, the smaller one is x


@dataclass(frozen=True)
class Atan2(Binary):
    """Angle of the point (y, x), ``z = atan2(x, y)`` in (-pi, pi], as C's ``atan2``.

    Gradient: ``dx = dz * y / (x**2 + y**2)``, ``dy = -dz * x / (x**2 + y**2)``.
    """

    name: ClassVar[str] = "atan2"
    accepts: ClassVar[frozenset[str]] = FLOATS

    def function(self, x: Array, y: Array) -> Any:
        """Return the angle whose sine goes with ``x`` and cosine with ``y``."""
        return np.arctan2(x, y)

    def partials(self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value) -> Partials:
        """Return ``dz * y / r**2`` and ``-dz * x / r**2``."""
        square = emit(Add(), emit(Mul(), x, x), emit(Mul(), y, y))
        scaled = emit(Div(), dz, square)
        return emit(Mul(), scaled, y), emit(Neg(), emit(Mul(), scaled, x))


@dataclass(frozen=True)
class Neg(Unary):
    """Negation, ``y = -x``; integers wrap around. Gradient: ``dx = -dy``. ONNX: Neg-13."""

    name: ClassVar[str] = "neg"

    def function(self, x: Array) -> Any:
        """Return ``-x``."""
        return -x

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``-dy``."""
        (dy,) = cotangents
        return (None if dy is None else emit(Neg(), dy),)


@dataclass(frozen=True)
class Abs(Unary):
    """Magnitude, ``y = |x|``; the most negative integer is itself.

    Gradient: ``dx = dy * sign(x)``. ONNX: Abs-13.
    """

    name: ClassVar[str] = "abs"

    def function(self, x: Array) -> Any:
        """Return ``|x|``."""
        return np.abs(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``sign(x)``."""
        return emit(Sign(), x)


@dataclass(frozen=True)
class Sign(Unary):
    """Sign, -1, 0 or 1; NaN stays NaN. No gradient: piecewise constant. ONNX: Sign-13."""

    name: ClassVar[str] = "sign"

    def function(self, x: Array) -> Any:
        """Return the sign of ``x``."""
        return np.sign(x)


@dataclass(frozen=True)
class Ceil(Unary):
    """Least integer >= x. No gradient: piecewise constant. ONNX: Ceil-13."""

    name: ClassVar[str] = "ceil"
    accepts: ClassVar[frozenset[str]] = FLOATS

    def function(self, x: Array) -> Any:
        """Return ``x`` rounded up."""
        return np.ceil(x)


@dataclass(frozen=True)
class Floor(Unary):
    """Greatest integer <= x. No gradient: piecewise constant. ONNX: Floor-13."""

    name: ClassVar[str] = "floor"
    accepts: ClassVar[frozenset[str]] = FLOATS

    def function(self, x: Array) -> Any:
        """Return ``x`` rounded down."""
        return np.floor(x)


@dataclass(frozen=True)
class Round(Unary):
    """Nearest integer, halves to even. No gradient: piecewise constant. ONNX: Round-22."""

    name: ClassVar[str] = "round"
    accepts: ClassVar[frozenset[str]] = FLOATS

    def function(self, x: Array) -> Any:
        """Return ``x`` rounded to the nearest integer."""
        return np.rint(x)


@dataclass(frozen=True)
class Trunc(Unary):
    """Integer part, rounded towards zero. No gradient: piecewise constant."""

    name: ClassVar[str] = "trunc"
    accepts: ClassVar[frozenset[str]] = FLOATS

    def function(self, x: Array) -> Any:
        """Return ``x`` without its fraction."""
        return np.trunc(x)


@dataclass(frozen=True)
class Reciprocal(Unary):
    """Reciprocal, ``y = 1 / x``. Gradient: ``dx = -dy * y**2``. ONNX: Reciprocal-13."""

    name: ClassVar[str] = "reciprocal"
    accepts: ClassVar[frozenset[str]] = FLOATS

    def function(self, x: Array) -> Any:
        """Return ``1 / x``."""
        return 1 / x

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``-y * y``."""
        return emit(Neg(), emit(Mul(), y, y))


def _truncated_quotient(x: Array, y: Array) -> Array:
    """Return the integer quotient rounded towards zero, 0 where ``y`` is 0."""
    safe = np.where(y == 0, 1, y).astype(y.dtype)
    quotient = x // safe
    inexact = (quotient * safe != x) & ((x < 0) != (safe < 0))
    return np.where(y == 0, 0, quotient + inexact).astype(x.dtype)


def _routed(emit: Emitter, x: Value, y: Value, dz: Value) -> tuple[Value, Value]:
    """Return ``dz`` where x > y and where y > x, half of it in each where they are equal."""
    from .comparison import Equal, Greater, Select

    zero, half = emit.scalar_like(0, dz), emit.scalar_like(0.5, dz)
    tie = emit(Select(), emit(Equal(), x, y), emit(Mul(), dz, half), zero)
    dx = emit(Select(), emit(Greater(), x, y), dz, tie)
    dy = emit(Select(), emit(Greater(), y, x), dz, tie)
    return dx, dy


__all__ = [
    "Abs",
    "Add",
    "Atan2",
    "Binary",
    "Ceil",
    "Div",
    "Floor",
    "Maximum",
    "Minimum",
    "Mod",
    "Mul",
    "Neg",
    "Pow",
    "Reciprocal",
    "Rem",
    "Round",
    "Sign",
    "Sub",
    "Trunc",
    "Unary",
    "result_type",
]
