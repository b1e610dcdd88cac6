# SPDX-License-Identifier: MIT
"""Comparisons, logic, bits, selection, and tests for NaN and infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import DTYPES, FLOATS, INTEGERS, Array, TensorType, Type
from .broadcasting import broadcast_dims, broadcast_types, unbroadcast
from .elementwise import BOOLS, NUMBERS, Binary, Elementwise, Unary

if TYPE_CHECKING:
    from ..emitter import Emitter


class Comparison(Binary):
    """Base of comparisons, whose result is bool; every comparison with NaN is false."""

    result: ClassVar[str | None] = "bool"


class Logical(Binary):
    """Base of functions of two truth values."""

    accepts: ClassVar[frozenset[str]] = BOOLS


class Bitwise(Binary):
    """Base of functions of the two's complement bits of two integers."""

    accepts: ClassVar[frozenset[str]] = INTEGERS


@dataclass(frozen=True)
class Equal(Comparison):
    """Whether ``x == y``; 0.0 equals -0.0, NaN equals nothing. ONNX: Equal-19."""

    name: ClassVar[str] = "equal"
    accepts: ClassVar[frozenset[str]] = NUMBERS | BOOLS

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x == y``."""
        return x == y


@dataclass(frozen=True)
class Less(Comparison):
    """Whether ``x < y``. ONNX: Less-13."""

    name: ClassVar[str] = "less"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x < y``."""
        return x < y


@dataclass(frozen=True)
class LessEqual(Comparison):
    """Whether ``x <= y``. ONNX: LessOrEqual-16."""

    name: ClassVar[str] = "less_equal"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x <= y``."""
        return x <= y


@dataclass(frozen=True)
class Greater(Comparison):
    """Whether ``x > y``. ONNX: Greater-13."""

    name: ClassVar[str] = "greater"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x > y``."""
        return x > y


@dataclass(frozen=True)
class GreaterEqual(Comparison):
    """Whether ``x >= y``. ONNX: GreaterOrEqual-16."""

    name: ClassVar[str] = "greater_equal"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x >= y``."""
        return x >= y


@dataclass(frozen=True)
class And(Logical):
    """Whether both operands are true. ONNX: And-7."""

    name: ClassVar[str] = "and"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x and y``."""
        return x & y


@dataclass(frozen=True)
class Or(Logical):
    """Whether an operand is true. ONNX: Or-7."""

    name: ClassVar[str] = "or"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x or y``."""
        return x | y


@dataclass(frozen=True)
class Xor(Logical):
    """Whether exactly one operand is true. ONNX: Xor-7."""

    name: ClassVar[str] = "xor"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x != y``."""
        return x ^ y


@dataclass(frozen=True)
class Not(Unary):
    """Whether the operand is false. ONNX: Not-1."""

    name: ClassVar[str] = "not"
    accepts: ClassVar[frozenset[str]] = BOOLS

    def function(self, x: Array) -> Any:
        """Return ``not x``."""
        return ~x


@dataclass(frozen=True)
class BitwiseAnd(Bitwise):
    """Bits set in both operands. ONNX: BitwiseAnd-18."""

    name: ClassVar[str] = "bitwise_and"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x & y``."""
        return x & y


@dataclass(frozen=True)
class BitwiseOr(Bitwise):
    """Bits set in either operand. ONNX: BitwiseOr-18."""

    name: ClassVar[str] = "bitwise_or"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x | y``."""
        return x | y


@dataclass(frozen=True)
class BitwiseXor(Bitwise):
    """Bits set in exactly one operand. ONNX: BitwiseXor-18."""

    name: ClassVar[str] = "bitwise_xor"

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x ^ y``."""
        return x ^ y


@dataclass(frozen=True)
class BitwiseNot(Unary):
    """Every bit flipped. ONNX: BitwiseNot-18."""

    name: ClassVar[str] = "bitwise_not"
    accepts: ClassVar[frozenset[str]] = INTEGERS

    def function(self, x: Array) -> Any:
        """Return ``~x``."""
        return ~x


class Shift(Bitwise):
    """Base of shifts; sub-byte integers are not shifted."""

    accepts: ClassVar[frozenset[str]] = INTEGERS - {"int2", "int4", "uint2", "uint4"}


@dataclass(frozen=True)
class ShiftLeft(Shift):
    """``z = x * 2**y`` without the bits that leave the type.

    A shift that is negative or not smaller than the width of the type gives 0.
    ONNX: BitShift-28 with ``direction`` LEFT.
    """

    name: ClassVar[str] = "shift_left"

    def function(self, x: Array, y: Array) -> Any:
        """Return the shifted bits."""
        inside, amount = _shift(x, y)
        return np.where(inside, x << amount, 0)


@dataclass(frozen=True)
class ShiftRight(Shift):
    """``z = floor(x / 2**y)``: arithmetic for signed types, logical for unsigned ones.

    A shift that is negative or not smaller than the width of the type leaves only the sign:
    -1 for negative ``x``, else 0. ONNX: BitShift-28 with ``direction`` RIGHT.
    """

    name: ClassVar[str] = "shift_right"

    def function(self, x: Array, y: Array) -> Any:
        """Return the shifted bits."""
        inside, amount = _shift(x, y)
        return np.where(inside, x >> amount, np.where(x < 0, -1, 0).astype(x.dtype))


@dataclass(frozen=True)
class Select(Op):
    """Choice per element, ``z = x if condition else y``, with NumPy broadcasting.

    Shapes: condition bool[...]; x and y of one element type; z of the shape of all three.
    Gradient: ``dx = dz`` where the condition holds and 0 elsewhere, ``dy`` the other way
    round. ONNX: Where-16.
    """

    name: ClassVar[str] = "select"
    kind: ClassVar[Kind] = Kind.ELEMENTWISE
    accepts: ClassVar[frozenset[str]] = DTYPES - {"string"}

    def infer(self, *inputs: Type) -> Types:
        """Return the broadcast type."""
        condition, x, y = self.tensors(inputs, 3)
        if condition.dtype != "bool":
            raise self.error(f"condition must be bool, found {condition}")
        chosen = broadcast_types(self, x, y)
        if chosen.dtype not in self.accepts:
            raise self.error(f"cannot choose between operands of type {chosen.dtype}")
        return (TensorType(chosen.dtype, broadcast_dims(self, condition.shape, chosen.shape)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Choose with ``np.where``."""
        condition, x, y = inputs
        return (np.where(condition, x, y).astype(x.dtype, copy=False),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dz`` where its operand was chosen, 0 elsewhere."""
        (dz,) = cotangents
        if dz is None:
            return (None, None, None)
        condition, x, y = inputs
        zero = emit.scalar_like(0, dz)
        dx = emit(Select(), condition, dz, zero)
        dy = emit(Select(), condition, zero, dz)
        return None, unbroadcast(emit, dx, x), unbroadcast(emit, dy, y)


class Classification(Elementwise):
    """Base of tests of one float whose result is bool."""

    accepts: ClassVar[frozenset[str]] = FLOATS
    result: ClassVar[str | None] = "bool"

    def infer(self, *inputs: Type) -> Types:
        """Return bool in the operand's shape."""
        return (self.broadcast(inputs, 1),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return no gradient."""
        return (None,)


@dataclass(frozen=True)
class IsNan(Classification):
    """Whether the element is NaN. ONNX: IsNaN-20."""

    name: ClassVar[str] = "is_nan"

    def evaluate(self, *inputs: Any) -> Arrays:
        """Return ``isnan(x)``."""
        return (np.isnan(inputs[0]).astype(np.bool_),)


@dataclass(frozen=True)
class IsInf(Classification):
    """Whether the element is an infinity of a wanted sign. ONNX: IsInf-20.

    Attributes:
        positive: +infinity counts.
        negative: -infinity counts.
    """

    name: ClassVar[str] = "is_inf"
    positive: bool = True
    negative: bool = True

    def evaluate(self, *inputs: Any) -> Arrays:
        """Compare with the infinities."""
        x = inputs[0].astype(np.float64)
        found = ((x == np.inf) & self.positive) | ((x == -np.inf) & self.negative)
        return (np.asarray(found, np.bool_),)


@dataclass(frozen=True)
class EqualString(Comparison):
    """Whether two strings are equal, with NumPy broadcasting. ONNX: Equal-19 on strings."""

    name: ClassVar[str] = "equal_string"
    kind: ClassVar[Kind] = Kind.HOST
    accepts: ClassVar[frozenset[str]] = frozenset({"string"})

    def evaluate(self, *inputs: Any) -> Arrays:
        """Compare text for text."""
        x, y = inputs
        return (np.asarray(x.astype(object) == y.astype(object), np.bool_),)

    def function(self, x: Array, y: Array) -> Any:
        """Return ``x == y``."""
        return x == y


@dataclass(frozen=True)
class SelectString(Select):
    """:class:`Select` of strings. ONNX: Where-16 on strings."""

    name: ClassVar[str] = "select_string"
    kind: ClassVar[Kind] = Kind.HOST
    accepts: ClassVar[frozenset[str]] = frozenset({"string"})

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return no gradient."""
        return None, None, None


def _shift(x: Array, y: Array) -> tuple[Array, Array]:
    """Return where the shift ``y`` is within the width of ``x``, and a shift that always is."""
    inside = (y >= 0) & (y < 8 * x.dtype.itemsize)
    return inside, np.where(inside, y, 0).astype(x.dtype)


__all__ = [
    "And",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "EqualString",
    "Greater",
    "GreaterEqual",
    "IsInf",
    "IsNan",
    "Less",
    "LessEqual",
    "Not",
    "Or",
    "Select",
    "SelectString",
    "ShiftLeft",
    "ShiftRight",
    "Xor",
]
