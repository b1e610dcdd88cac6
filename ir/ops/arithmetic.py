# SPDX-License-Identifier: MIT
"""Elementwise arithmetic of two operands with NumPy broadcasting, and sign-like functions of one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import Array, TensorType, Type
from .broadcasting import broadcast_types, unbroadcast

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


class Unary(Op):
    """Base of ``y = f(x)`` per element; shape and element type are those of ``x``."""

    kind: ClassVar[Kind] = Kind.ELEMENTWISE

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type."""
        return self.tensors(inputs, 1)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply :meth:`function` in the element type's arithmetic."""
        (x,) = inputs
        return (np.asarray(self.function(x)).astype(x.dtype, copy=False),)

    @abstractmethod
    def function(self, x: Array) -> Any:
        """Return ``f(x)`` in NumPy."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dx = dy * f'(x)`` by :meth:`derivative`, or no gradient where it has none."""
        (dy,) = cotangents
        if dy is None:
            return (None,)
        slope = self.derivative(emit, inputs[0], outputs[0])
        return (None if slope is None else emit(Mul(), dy, slope),)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Emit ``f'(x)``; ``None`` where it is zero almost everywhere."""
        return None


class Binary(Op):
    """Base of ``z = f(x, y)`` per element with NumPy broadcasting; both have one element type."""

    kind: ClassVar[Kind] = Kind.ELEMENTWISE

    def infer(self, *inputs: Type) -> Types:
        """Return the broadcast type."""
        self.tensors(inputs, 2)
        return (broadcast_types(self, *inputs),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply :meth:`function` in the element type's arithmetic."""
        x, y = inputs
        return (np.asarray(self.function(x, y)).astype(x.dtype, copy=False),)

    @abstractmethod
    def function(self, x: Array, y: Array) -> Any:
        """Return ``f(x, y)`` in NumPy."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return both partial products, summed over broadcast axes."""
        (dz,) = cotangents
        if dz is None:
            return (None, None)
        partials = self.partials(emit, inputs[0], inputs[1], outputs[0], dz)
        return tuple(
            None if p is None else unbroadcast(emit, p, v)
            for p, v in zip(partials, inputs, strict=True)
        )

    def partials(
        self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value
    ) -> tuple[Value | None, Value | None]:
        """Emit ``dz * df/dx`` and ``dz * df/dy`` in the broadcast shape."""
        raise self.error("has no gradient; it is piecewise constant or integer-valued")


@dataclass(frozen=True)
class Add(Binary):
    """Sum, ``z = x + y``; integers wrap around.

    Gradient: ``dx = dz``, ``dy = dz``. ONNX: Add-14.
    """

    name: ClassVar[str] = "add"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x + y``."""
        return x + y

    def partials(
        self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value
    ) -> tuple[Value | None, Value | None]:
        """Return ``dz`` twice."""
        return dz, dz


@dataclass(frozen=True)
class Mul(Binary):
    """Product, ``z = x * y``; integers wrap around.

    Gradient: ``dx = dz * y``, ``dy = dz * x``. ONNX: Mul-14.
    """

    name: ClassVar[str] = "mul"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x * y``."""
        return x * y

    def partials(
        self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value
    ) -> tuple[Value | None, Value | None]:
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
        if np.dtype(x.dtype).kind not in "iu":
            return x / y
        safe = np.where(y == 0, 1, y).astype(y.dtype)
        quotient = x // safe
        inexact = (quotient * safe != x) & ((x < 0) != (safe < 0))
        return np.where(y == 0, 0, quotient + inexact)

    def partials(
        self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value
    ) -> tuple[Value | None, Value | None]:
        """Return ``dz / y`` and ``-(dz / y) * z``."""
        dx = emit(Div(), dz, y)
        return dx, emit(Neg(), emit(Mul(), dx, z))


@dataclass(frozen=True)
class Neg(Unary):
    """Negation, ``y = -x``. Gradient: ``dx = -dy``. ONNX: Neg-13."""

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
class Exp(Unary):
    """Exponential, ``y = e**x``. Gradient: ``dx = dy * y``. ONNX: Exp-13."""

    name: ClassVar[str] = "exp"

    def function(self, x: Array) -> Any:
        """Return ``exp(x)``."""
        return np.exp(x)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Return ``y``."""
        return y


def result_type(value: Value) -> TensorType:
    """Return the tensor type of ``value``; vjps use it to make scalars and shapes."""
    assert isinstance(value.type, TensorType)
    return value.type


__all__ = ["Add", "Binary", "Div", "Exp", "Mul", "Neg", "Unary", "result_type"]
