# SPDX-License-Identifier: MIT
"""Converters between element types."""

from __future__ import annotations

from onnx import TensorProto

from ...ir import Value, ops
from ..convert import Conversion, converter
from ..tensors import element_type


@converter("Cast")
def cast(c: Conversion) -> Value:
    """Emit the conversion to the type ``to``, in opset 1 to 5 the name of a type."""
    to = c.attr("to")
    if isinstance(to, str):
        try:
            to = TensorProto.DataType.Value(to.upper())
        except ValueError:
            raise c.error(f"'to' must be the name of an element type, found {to!r}") from None
    return _converted(c, element_type(to))


@converter("CastLike")
def cast_like(c: Conversion) -> Value:
    """Emit the conversion to the type of the second operand."""
    return _converted(c, c.dtype(1))


def _converted(c: Conversion, dtype: str) -> Value:
    x, saturate = c.operand(0), bool(c.attr("saturate", 1))
    if c.dtype(0) == dtype:
        return x
    if "string" in (c.dtype(0), dtype):
        return c.emit(ops.CastString(dtype, saturate), x)
    return c.emit(ops.Cast(dtype, saturate, c.attr("round_mode", "up")), x)


@converter("BitCast")
def bit_cast(c: Conversion) -> Value:
    """Emit the reading of the same bits as another type."""
    return c.emit(ops.Bitcast(element_type(c.attr("to"))), c.operand(0))
