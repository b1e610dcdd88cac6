# SPDX-License-Identifier: MIT
"""Converters of elementwise mathematics, comparison, logic and bits."""

from __future__ import annotations

from functools import reduce

from ...ir import Op, Value, ops
from ...ir.types import FLOATS, INTEGERS
from ..convert import Conversion, converter

_UNARY: dict[str, type[Op]] = {
    "Abs": ops.Abs,
    "Acos": ops.Acos,
    "Acosh": ops.Acosh,
    "Asin": ops.Asin,
    "Asinh": ops.Asinh,
    "Atan": ops.Atan,
    "Atanh": ops.Atanh,
    "BitwiseNot": ops.BitwiseNot,
    "Ceil": ops.Ceil,
    "Cos": ops.Cos,
    "Cosh": ops.Cosh,
    "Exp": ops.Exp,
    "Floor": ops.Floor,
    "IsNaN": ops.IsNan,
    "Log": ops.Log,
    "Neg": ops.Neg,
    "Not": ops.Not,
    "Reciprocal": ops.Reciprocal,
    "Round": ops.Round,
    "Sigmoid": ops.Sigmoid,
    "Sign": ops.Sign,
    "Sin": ops.Sin,
    "Sinh": ops.Sinh,
    "Sqrt": ops.Sqrt,
    "Tan": ops.Tan,
    "Tanh": ops.Tanh,
}
_BINARY: dict[str, type[Op]] = {
    "Add": ops.Add,
    "And": ops.And,
    "BitwiseAnd": ops.BitwiseAnd,
    "BitwiseOr": ops.BitwiseOr,
    "BitwiseXor": ops.BitwiseXor,
    "Div": ops.Div,
    "Greater": ops.Greater,
    "GreaterOrEqual": ops.GreaterEqual,
    "Less": ops.Less,
    "LessOrEqual": ops.LessEqual,
    "Mul": ops.Mul,
    "Or": ops.Or,
    "Sub": ops.Sub,
    "Xor": ops.Xor,
}
_VARIADIC: dict[str, type[Op]] = {
    "Max": ops.Maximum,
    "Mean": ops.Add,
    "Min": ops.Minimum,
    "Sum": ops.Add,
}


_LIMITED = frozenset(
    ["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"]
)
"""Operators whose broadcasting opset 7 changed."""


@converter(*_UNARY)
def unary(c: Conversion) -> Value:
    """Emit a function of one operand."""
    return c.emit(_UNARY[c.type](), c.operand(0))


@converter(*_BINARY)
def binary(c: Conversion) -> Value:
    """Emit a function of two operands that broadcast."""
    return c.emit(_BINARY[c.type](), *aligned(c))


@converter(*_VARIADIC)
def variadic(c: Conversion) -> Value:
    """Emit a sum, mean or extreme of any number of operands."""
    op = _VARIADIC[c.type]()
    total = reduce(lambda x, y: c.emit(op, x, y), c.operands)
    if c.type != "Mean":
        return total
    return c.emit(ops.Div(), total, c.emit.scalar_like(len(c.entries), total))


@converter("Equal")
def equal(c: Conversion) -> Value:
    """Emit a comparison of numbers, truth values or strings."""
    op = ops.EqualString() if c.dtype(0) == "string" else ops.Equal()
    return c.emit(op, *aligned(c))


@converter("Mod")
def mod(c: Conversion) -> Value:
    """Emit the remainder with the sign of the dividend (fmod) or of the divisor."""
    op = ops.Rem() if c.attr("fmod", 0) else ops.Mod()
    return c.emit(op, c.operand(0), c.operand(1))


@converter("Pow")
def power(c: Conversion) -> Value:
    """Emit the power; where the exponent is of another type, in a type that holds both."""
    base, exponent = aligned(c)
    dtype, other = c.dtype(0), c.dtype(1)
    if dtype == other:
        return c.emit(ops.Pow(), base, exponent)
    wide = _common(dtype, other)
    both = (
        v if d == wide else c.emit(ops.Cast(wide), v) for v, d in ((base, dtype), (exponent, other))
    )
    result = c.emit(ops.Pow(), *both)
    return result if wide == dtype else c.emit(ops.Cast(dtype), result)


def _common(base: str, exponent: str) -> str:
    """Return the type in which a power of operands of two types is computed."""
    if base in FLOATS and exponent in INTEGERS:
        return base
    if base in INTEGERS and exponent in INTEGERS:
        return "int64"
    return "float64" if base in INTEGERS or "float64" in (base, exponent) else "float32"


@converter("Erf")
def erf(c: Conversion) -> Value:
    """Emit the error function; the standard allows integers, of which it leaves -1, 0 or 1."""
    x, dtype = c.operand(0), c.dtype(0)
    if dtype in FLOATS:
        return c.emit(ops.Erf(), x)
    return c.emit(ops.Cast(dtype), c.emit(ops.Erf(), c.emit(ops.Cast("float64"), x)))


@converter("BitShift")
def bit_shift(c: Conversion) -> Value:
    """Emit a shift to the left or right."""
    shifts = {"LEFT": ops.ShiftLeft, "RIGHT": ops.ShiftRight}
    direction = c.attr("direction", "")
    if direction not in shifts:
        raise c.error(f"direction must be LEFT or RIGHT, found {direction!r}")
    return c.emit(shifts[direction](), c.operand(0), c.operand(1))


@converter("IsInf")
def is_inf(c: Conversion) -> Value:
    """Emit the test for infinities of the wanted signs."""
    op = ops.IsInf(bool(c.attr("detect_positive", 1)), bool(c.attr("detect_negative", 1)))
    return c.emit(op, c.operand(0))


@converter("Where")
def where(c: Conversion) -> Value:
    """Emit the choice between two operands."""
    op = ops.SelectString() if c.dtype(1) == "string" else ops.Select()
    return c.emit(op, c.operand(0), c.operand(1), c.operand(2))


def aligned(c: Conversion) -> tuple[Value, Value]:
    """Return both operands such that they broadcast in the NumPy way.

    Before opset 7 the second operand broadcasts to the first only if ``broadcast`` says so,
    and its axes go with those of the first from ``axis`` on.
    """
    x, y = c.operand(0), c.operand(1)
    if c.version >= 7 or c.type not in _LIMITED or c.shape(0) == c.shape(1):
        return x, y
    if not c.attr("broadcast", 0):
        raise c.error(f"operands {x.type} and {y.type} differ in shape; 'broadcast' is not set")
    return x, c.emit(ops.Reshape(_placed(c, c.shape(0), c.shape(1))), y)


def _placed(c: Conversion, wide: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``shape`` with as many axes of size 1 appended as its place in ``wide`` asks for."""
    if all(n == 1 for n in shape):
        return ()
    start = c.axis(c.attr("axis"), len(wide)) if c.has("axis") else len(wide) - len(shape)
    after = len(wide) - start - len(shape)
    if start < 0 or after < 0:
        raise c.error(f"{list(shape)} does not fit into {list(wide)} from axis {start} on")
    return (*shape, *(1 for _ in range(after)))
