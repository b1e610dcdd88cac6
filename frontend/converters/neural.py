# SPDX-License-Identifier: MIT
"""Converters of matrix products and convolutions."""

from __future__ import annotations

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ...ir.ops.linear import swap_last
from ...ir.types import FLOATS
from ..convert import Conversion, converter
from .windows import Ints, geometry, split, stated


@converter("MatMul")
def matmul(c: Conversion) -> Value:
    """Give vectors a second axis, which the product loses again."""
    return product(c, c.operand(0), c.operand(1), ops.MatMul())


def product(c: Conversion, x: Value, y: Value, op: ops.MatMul) -> Value:
    """Multiply in the NumPy way: a vector is a row on the left, a column on the right."""
    a, b = result_type(x).dims, result_type(y).dims
    if not a or not b:
        raise c.error(f"cannot multiply scalars, found {list(a)} and {list(b)}")
    rows = x if len(a) > 1 else c.emit(ops.Reshape((1, *a)), x)
    columns = y if len(b) > 1 else c.emit(ops.Reshape((*b, 1)), y)
    z = c.emit(op, rows, columns)
    shape = result_type(z).dims
    if len(b) == 1:
        shape = shape[:-1]
    if len(a) == 1:
        shape = (*shape[: len(shape) - 1 - (len(b) > 1)], *shape[len(shape) - (len(b) > 1) :])
    return z if shape == result_type(z).dims else c.emit(ops.Reshape(shape), z)


@converter("MatMulInteger")
def matmul_integer(c: Conversion) -> Value:
    """Subtract zero points; a vector of them has one per row of A, or per column of B."""
    x = _centred(c, 0, 2, (-1, 1))
    y = _centred(c, 1, 3, (1, -1))
    return product(c, x, y, ops.MatMul("int32"))


@converter("ConvInteger")
def conv_integer(c: Conversion) -> Value:
    """Subtract zero points, one for the data and one in all or per channel for the weights."""
    rank = len(c.shape(0))
    x = _centred(c, 0, 2, (-1,) + (1,) * (rank - 1))
    w = _centred(c, 1, 3, (-1,) + (1,) * (rank - 1))
    return _convolution(c, x, w, "int32")


def _centred(c: Conversion, position: int, zero_point: int, vector: Ints) -> Value:
    """Return an operand less its zero point, unchanged if that is 0."""
    x, zero = c.operand(position), c.optional(zero_point)
    known = c.known(zero_point)
    if zero is None or (known is not None and not known.any()):
        return x
    shape = result_type(zero).dims
    if len(shape) == 1:
        zero = c.emit(_column(zero, vector), zero)
    wide = [c.emit(ops.Cast("int32"), v) for v in (x, zero)]
    return c.emit(ops.Sub(), *wide)


def _column(zero: Value, vector: Ints) -> ops.Reshape:
    (count,) = result_type(zero).dims
    return ops.Reshape(() if count == 1 else tuple(count if n == -1 else n for n in vector))


@converter("Gemm")
def gemm(c: Conversion) -> Value:
    """Scale the product of the matrices, perhaps transposed, and add the scaled third one."""
    x, y, z = c.operand(0), c.operand(1), c.optional(2)
    if len(c.shape(0)) != 2 or len(c.shape(1)) != 2:
        raise c.error(f"expected matrices, found {x.type} and {y.type}")
    x = swap_last(c.emit, x) if c.attr("transA", 0) else x
    y = swap_last(c.emit, y) if c.attr("transB", 0) else y
    total = _scaled(c, c.emit(ops.MatMul(), x, y), c.attr("alpha", 1.0))
    beta = c.attr("beta", 1.0)
    return total if z is None or beta == 0 else c.emit(ops.Add(), total, _scaled(c, z, beta))


def _scaled(c: Conversion, x: Value, factor: float) -> Value:
    if factor == 1:
        return x
    dtype = result_type(x).dtype
    if dtype in FLOATS:
        return c.emit(ops.Mul(), x, c.emit.scalar_like(factor, x))
    wide = c.emit(ops.Cast("float64"), x)
    return c.emit(ops.Cast(dtype), c.emit(ops.Mul(), wide, c.emit.scalar_like(factor, wide)))


@converter("Einsum")
def einsum(c: Conversion) -> Value:
    """Keep the equation."""
    return c.emit(ops.Einsum(c.attr("equation", "")), *c.operands)


@converter("Conv")
def conv(c: Conversion) -> Value:
    """Add the bias, if any, to the convolution."""
    return _biased(c, _convolution(c, c.operand(0), c.operand(1), None), 2)


def _convolution(c: Conversion, x: Value, w: Value, accumulate: str | None) -> Value:
    size, window = _spatial(c, x, w)
    g = geometry(c, size, window)
    ones = (1,) * len(size)
    groups = c.attr("group", 1)
    op = ops.Conv(g.strides, g.low, g.high, g.dilation, ones, groups, accumulate)
    return c.emit(op, x, w)


def _spatial(c: Conversion, x: Value, w: Value) -> tuple[Ints, Ints]:
    """Return the spatial sizes of data and weights."""
    data, weights = result_type(x).dims, result_type(w).dims
    if len(data) < 3 or len(weights) != len(data):
        raise c.error(
            f"data must be (N, C, spatial...) and weights of the same rank, found "
            f"{list(data)} and {list(weights)}"
        )
    return data[2:], weights[2:]


def _biased(c: Conversion, y: Value, position: int) -> Value:
    bias = c.optional(position)
    if bias is None:
        return y
    shape = result_type(y).dims
    if c.shape(position) != (shape[1],):
        raise c.error(f"the bias must have {shape[1]} elements, found {list(c.shape(position))}")
    column = c.emit(ops.Reshape((shape[1], *(1,) * (len(shape) - 2))), bias)
    return c.emit(ops.Add(), y, column)


@converter("ConvTranspose")
def conv_transpose(c: Conversion) -> Value:
    """Resolve the padding, which may be stated by the result's shape."""
    x, w = c.operand(0), c.operand(1)
    size, window = _spatial(c, x, w)
    rank = len(size)
    if c.has("kernel_shape") and stated(c, "kernel_shape", rank, 0) != window:
        raise c.error(f"kernel_shape is not that of the weights, {list(window)}")
    strides, dilation = stated(c, "strides", rank, 1), stated(c, "dilations", rank, 1)
    low, high = _transposed_padding(c, size, window, strides, dilation)
    op = ops.ConvTranspose(strides, low, high, dilation, c.attr("group", 1))
    return _biased(c, c.emit(op, x, w), 2)


def _transposed_padding(
    c: Conversion, size: Ints, window: Ints, strides: Ints, dilation: Ints
) -> tuple[Ints, Ints]:
    """Return what is cut off before and after; output padding is cut off less."""
    rank = len(size)
    extra = stated(c, "output_padding", rank, 0)
    mode = c.attr("auto_pad", "NOTSET")
    shape: Ints = tuple(c.attr("output_shape", ()))[-rank:]
    if not shape and mode.startswith("SAME"):
        shape = tuple(n * s for n, s in zip(size, strides, strict=True))
    if shape:
        total = [
            s * (n - 1) + e + (k - 1) * d + 1 - m
            for n, s, e, k, d, m in zip(size, strides, extra, window, dilation, shape, strict=True)
        ]
        low, high = split(c, "SAME_UPPER" if mode == "SAME_UPPER" else "SAME_LOWER", total)
        # A result larger than the windows reach is filled up with zeros at its end.
        low = tuple(max(n, 0) for n in low)
        high = tuple(t - n for t, n in zip(total, low, strict=True))
    else:
        pads = stated(c, "pads", 2 * rank, 0) if mode == "NOTSET" else (0,) * (2 * rank)
        low, high = pads[:rank], pads[rank:]
    return low, tuple(h - e for h, e in zip(high, extra, strict=True))


@converter("DeformConv")
def deform_conv(c: Conversion) -> Value:
    """Add the bias, if any, to the convolution; the mask is the last operand."""
    size, window = _spatial(c, c.operand(0), c.operand(1))
    g = geometry(c, size, window)
    groups, offset_groups = c.attr("group", 1), c.attr("offset_group", 1)
    op = ops.DeformConv(g.strides, g.low, g.high, g.dilation, groups, offset_groups)
    mask = c.optional(4)
    operands = [c.operand(k) for k in range(3)] + ([] if mask is None else [mask])
    return _biased(c, c.emit(op, *operands), 3)
