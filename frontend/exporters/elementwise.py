# SPDX-License-Identifier: MIT
"""Writes elementwise ops as ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Node, TensorType, ops
from ...ir.op import Op
from ..export import Exporter, Names, exporter, onnx_dtype

_SAME: dict[type[Op], str] = {
    **{getattr(ops, n): n for n in ("Abs", "Add", "And", "Ceil", "Cos", "Cosh", "Div", "Equal")},
    **{getattr(ops, n): n for n in ("Erf", "Exp", "Floor", "Greater", "Less", "Log", "Mul", "Neg")},
    **{getattr(ops, n): n for n in ("Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid")},
    **{getattr(ops, n): n for n in ("Sign", "Sin", "Sinh", "Sqrt", "Sub", "Tan", "Tanh", "Xor")},
    **{getattr(ops, n): n for n in ("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh")},
    ops.GreaterEqual: "GreaterOrEqual",
    ops.LessEqual: "LessOrEqual",
    ops.Maximum: "Max",
    ops.Minimum: "Min",
    ops.Select: "Where",
    ops.SelectString: "Where",
    ops.EqualString: "Equal",
    ops.IsNan: "IsNaN",
}
_BITWISE: dict[type[Op], str] = {
    ops.BitwiseAnd: "BitwiseAnd",
    ops.BitwiseOr: "BitwiseOr",
    ops.BitwiseXor: "BitwiseXor",
    ops.BitwiseNot: "BitwiseNot",
}


def _same(e: Exporter, op: Op, node: Node, inputs: Names, outputs: Names) -> None:
    name = _SAME.get(type(op)) or _BITWISE[type(op)]
    if name == "Neg" and dtype_of(node).startswith("u"):
        name, inputs = "Sub", [e.scalar(0, dtype_of(node)), *inputs]
    e.node(name, inputs, outputs)


exporter(*_SAME)(_same)
exporter(*_BITWISE, since=18)(_same)


def dtype_of(node: Node) -> str:
    """Return the element type of a node's first operand."""
    type = node.inputs[0].type
    assert isinstance(type, TensorType)
    return type.dtype


@exporter(ops.Rem)
def rem(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the remainder with the dividend's sign."""
    e.node("Mod", inputs, outputs, fmod=1)


@exporter(ops.Mod)
def mod(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the remainder with the divisor's sign; ONNX has it for integers only."""
    if not dtype_of(node).startswith(("float", "bfloat")):
        e.node("Mod", inputs, outputs)
        return
    x, y = inputs
    wraps = e.then("Add", e.then("Mod", x, y, fmod=1), y)
    e.node("Mod", [wraps, y], outputs, fmod=1)


@exporter(ops.Trunc)
def trunc(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write ``sign(x) * floor(abs(x))``."""
    whole = e.then("Floor", e.then("Abs", inputs[0]))
    e.node("Mul", [e.then("Sign", inputs[0]), whole], outputs)


@exporter(ops.Rsqrt)
def rsqrt(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write ``1 / sqrt(x)``."""
    e.node("Reciprocal", [e.then("Sqrt", inputs[0])], outputs)


@exporter(ops.Expm1)
def expm1(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write ``2 * tanh(x / 2) / (1 - tanh(x / 2))``, exact also near 0, where exp - 1 is not."""
    dtype = dtype_of(node)
    half = e.then("Tanh", e.then("Mul", inputs[0], e.scalar(0.5, dtype)))
    one, two = e.scalar(1, dtype), e.scalar(2, dtype)
    e.node("Div", [e.then("Mul", two, half), e.then("Sub", one, half)], outputs)


@exporter(ops.Log1p)
def log1p(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write ``2 * atanh(x / (x + 2))``, exact also near 0, where log(1 + x) is not."""
    dtype = dtype_of(node)
    two = e.scalar(2, dtype)
    ratio = e.then("Div", inputs[0], e.then("Add", inputs[0], two))
    e.node("Mul", [two, e.then("Atanh", ratio)], outputs)


@exporter(ops.Atan2)
def atan2(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the angle within the first quadrant, then turn it by the signs of both operands."""
    dtype = dtype_of(node)
    wide = dtype if dtype == "float64" else "float32"
    x, y = inputs if dtype == wide else [e.cast(name, wide) for name in inputs]
    zero, one = e.scalar(0, wide), e.scalar(1, wide)
    opposite, adjacent = e.then("Abs", x), e.then("Abs", y)
    # 0 / 0 and inf / inf have to be 0 and 1 here, as in C.
    ratio = e.then("Div", opposite, adjacent)
    ratio = e.then("Where", e.then("Equal", opposite, adjacent), one, ratio)
    ratio = e.then("Where", e.then("Equal", opposite, zero), zero, ratio)
    angle = e.then("Atan", ratio)
    left = e.then("Sub", e.scalar(np.pi, wide), angle)
    angle = e.then("Where", _signed(e, y, zero, one), left, angle)
    angle = e.then("Where", _signed(e, x, zero, one), e.then("Neg", angle), angle)
    if dtype == wide:
        e.node("Identity", [angle], outputs)
    else:
        e.node("Cast", [angle], outputs, to=onnx_dtype(dtype))


def _signed(e: Exporter, x: str, zero: str, one: str) -> str:
    """Return whether ``x`` has a sign, -0 included, whose reciprocal is negative."""
    below = e.then("Less", e.then("Div", one, x), zero)
    return e.then("Or", e.then("Less", x, zero), below)


@exporter(ops.IsInf)
def is_inf(e: Exporter, op: ops.IsInf, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the test for infinities of the wanted signs."""
    e.node(
        "IsInf",
        inputs,
        outputs,
        detect_positive=int(op.positive),
        detect_negative=int(op.negative),
    )


@exporter(ops.ShiftLeft)
def shift_left(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a left shift."""
    _shift(e, node, inputs, outputs, "LEFT")


@exporter(ops.ShiftRight)
def shift_right(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a right shift."""
    _shift(e, node, inputs, outputs, "RIGHT")


def _shift(e: Exporter, node: Node, inputs: Names, outputs: Names, direction: str) -> None:
    if not dtype_of(node).startswith("u"):
        raise node.op.error("ONNX shifts unsigned integers only")
    e.node("BitShift", inputs, outputs, direction=direction)


@exporter(ops.Cast)
def cast(e: Exporter, op: ops.Cast, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a cast; saturation has an attribute from opset 19 on, rounding from 24 on."""
    saturate = None if op.saturate else 0
    rounding = None if op.rounding == ops.Cast(op.dtype).rounding else op.rounding
    attributes: dict[str, Any] = {"saturate": saturate, "round_mode": rounding}
    e.node("Cast", inputs, outputs, to=onnx_dtype(op.dtype), **attributes)


@exporter(ops.CastString)
def cast_string(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a cast from or to strings."""
    e.node("Cast", inputs, outputs, to=onnx_dtype(op.dtype))


@exporter(ops.Bitcast, since=26)
def bitcast(e: Exporter, op: ops.Bitcast, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a reinterpretation of the bits."""
    e.node("BitCast", inputs, outputs, to=onnx_dtype(op.dtype))
