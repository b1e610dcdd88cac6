# SPDX-License-Identifier: MIT
"""Linear quantisation and products of quantised tensors."""

from __future__ import annotations

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ..convert import Conversion, converter
from ..tensors import element_type
from .windows import geometry


@converter("QuantizeLinear")
def quantize_linear(c: Conversion) -> Value:
    """Emit the quantisation to the type of the zero point, of ``output_dtype``, or uint8."""
    zero = c.optional(2)
    stated = _type_attribute(c, "output_dtype")
    dtype = stated or ("uint8" if zero is None else c.dtype(2))
    if zero is not None and c.dtype(2) != dtype:
        raise c.error(f"output_dtype is {dtype}, the zero point is {c.dtype(2)}")
    op = ops.Quantize(
        dtype,
        _axis(c),
        c.attr("block_size", 0),
        bool(c.attr("saturate", 1)),
        _type_attribute(c, "precision"),
    )
    return c.emit(op, *_operands(c))


@converter("DequantizeLinear")
def dequantize_linear(c: Conversion) -> Value:
    """Emit the inverse to ``output_dtype`` or the type of the scale."""
    op = ops.Dequantize(_type_attribute(c, "output_dtype"), _axis(c), c.attr("block_size", 0))
    return c.emit(op, *_operands(c))


def _operands(c: Conversion) -> list[Value]:
    """Return data, scale and the zero point if there is one, the last two of one shape."""
    scale, zero = c.operand(1), c.optional(2)
    if zero is None:
        return [c.operand(0), scale]
    if result_type(zero).size == 1 and c.tensor(1).size == 1:
        zero = c.emit(ops.Reshape(c.shape(1)), zero)
    return [c.operand(0), scale, zero]


def _axis(c: Conversion) -> int:
    """Return the axis, which has no meaning where there is one scale for all."""
    rank = len(c.shape(0))
    if c.tensor(1).size == 1 and not c.attr("block_size", 0):
        return 0
    return c.axis(c.attr("axis", 1) if rank > 1 else 0, rank)


def _type_attribute(c: Conversion, name: str) -> str:
    """Return an attribute that holds an element type, empty if it is absent or 0."""
    code = c.attr(name, 0)
    return element_type(code) if code else ""


@converter("QLinearMatMul")
def quantized_matmul(c: Conversion) -> Value:
    """Emit the product; vectors become matrices, as in a product of floats."""
    operands = [c.operand(k) for k in range(8)]
    left, right = c.shape(0), c.shape(3)
    if len(left) == 1:
        operands[0] = c.emit(ops.Reshape((1, *left)), operands[0])
    if len(right) == 1:
        operands[3] = c.emit(ops.Reshape((*right, 1)), operands[3])
    y = c.emit(ops.QuantizedMatMul(), *operands)
    shape = list(result_type(y).dims)
    if len(right) == 1:
        del shape[-1]
    if len(left) == 1:
        del shape[-1 if len(right) == 1 else -2]
    return c.emit(ops.Reshape(tuple(shape)), y)


@converter("QLinearConv")
def quantized_conv(c: Conversion) -> Value:
    """Emit the convolution; its padding is real zeros, that is zero points."""
    data, weights = c.shape(0), c.shape(3)
    if len(data) < 3 or len(weights) != len(data):
        raise c.error(f"expected (N, C, spatial...) data and weights, found {data} and {weights}")
    g = geometry(c, data[2:], weights[2:])
    op = ops.QuantizedConv(g.strides, g.low, g.high, g.dilation, c.attr("group", 1))
    bias = c.optional(8)
    return c.emit(op, *(c.operand(k) for k in range(8)), *([] if bias is None else [bias]))
