# SPDX-License-Identifier: MIT
"""Converters of pooling and of other operators with windows."""

from __future__ import annotations

import math

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ...ir.ops.window import WindowSum
from ..convert import Conversion, converter
from .windows import Ints, geometry, stated


def _data(c: Conversion) -> tuple[Value, Ints]:
    """Return the data and its spatial sizes."""
    shape = c.shape(0)
    if len(shape) < 3:
        raise c.error(f"data must be (N, C, spatial...), found {list(shape)}")
    return c.operand(0), shape[2:]


@converter("MaxPool")
def max_pool(c: Conversion) -> Value | tuple[Value, ...]:
    """Find positions only where they are asked for."""
    x, size = _data(c)
    g = geometry(c, size)
    if not c.wants(1):
        return c.emit(ops.MaxPool(g.window, g.strides, g.low, g.high, g.dilation), x)
    column_major = bool(c.attr("storage_order", 0))
    op = ops.MaxPoolWithIndices(g.window, g.strides, g.low, g.high, g.dilation, column_major)
    return c.emit.multi(op, x)


@converter("AveragePool")
def average_pool(c: Conversion) -> Value:
    """Say whether padding counts."""
    x, size = _data(c)
    g = geometry(c, size)
    counts = bool(c.attr("count_include_pad", 0))
    excess = g.excess if any(g.excess) else ()
    op = ops.AveragePool(g.window, g.strides, g.low, g.high, g.dilation, counts, excess)
    return c.emit(op, x)


@converter("LpPool")
def lp_pool(c: Conversion) -> Value:
    """Keep the exponent, which was a float at first."""
    x, size = _data(c)
    g = geometry(c, size)
    p = int(c.attr("p", 2))
    return c.emit(ops.LpPool(g.window, g.strides, g.low, g.high, g.dilation, p), x)


@converter("GlobalAveragePool")
def global_average_pool(c: Conversion) -> Value:
    """Reduce the spatial axes to size 1."""
    return _reduced(c, ops.ReduceMean(_spatial_axes(c)))


@converter("GlobalMaxPool")
def global_max_pool(c: Conversion) -> Value:
    """Reduce the spatial axes to size 1."""
    return _reduced(c, ops.ReduceMax(_spatial_axes(c)))


def _spatial_axes(c: Conversion) -> Ints:
    return tuple(range(2, len(c.shape(0))))


def _reduced(c: Conversion, op: ops.ReduceMean | ops.ReduceMax) -> Value:
    shape = c.shape(0)
    kept = (*shape[:2], *(1,) * (len(shape) - 2))
    return c.emit(ops.Reshape(kept), c.emit(op, c.operand(0)))


@converter("GlobalLpPool")
def global_lp_pool(c: Conversion) -> Value:
    """Pool with a window as large as the data."""
    x, size = _data(c)
    ones, zeros = (1,) * len(size), (0,) * len(size)
    return c.emit(ops.LpPool(size, ones, zeros, zeros, ones, int(c.attr("p", 2))), x)


@converter("MaxUnpool")
def max_unpool(c: Conversion) -> Value:
    """Scatter into the shape that was pooled, then fill up to the wanted shape."""
    x, size = _data(c)
    rank = len(size)
    window, strides = stated(c, "kernel_shape", rank, 1), stated(c, "strides", rank, 1)
    pads = stated(c, "pads", 2 * rank, 0)
    pooled = tuple(
        (n - 1) * s + k - a - b
        for n, s, k, a, b in zip(size, strides, window, pads[:rank], pads[rank:], strict=True)
    )
    shape = (*c.shape(0)[:2], *pooled)
    indices = c.operand(1)
    count = math.prod(shape)
    c.check(c.emit(ops.InRange(0, count), indices), f"an index is not below {count}")
    y = c.emit(ops.MaxUnpool(shape), x, indices)
    if c.entry(2) is None:
        return y
    high = tuple(n - m for n, m in zip(c.ints(2), shape, strict=True))
    return c.emit(ops.Pad((0,) * len(shape), high), y) if any(high) else y


@converter("Col2Im")
def col2im(c: Conversion) -> Value:
    """Sizes of image and window are operands."""
    image, window = c.ints(1), c.ints(2)
    rank = len(image)
    if len(window) != rank:
        raise c.error(f"image {list(image)} and block {list(window)} differ in rank")
    strides, dilation = stated(c, "strides", rank, 1), stated(c, "dilations", rank, 1)
    pads = stated(c, "pads", 2 * rank, 0)
    op = ops.Col2Im(window, strides, pads[:rank], pads[rank:], dilation, image)
    return c.emit(op, c.operand(0))


@converter("LRN")
def local_response_normalization(c: Conversion) -> Value:
    """Divide by a power of the sum of squares over neighbouring channels."""
    x, _ = _data(c)
    n, channels, *spatial = c.shape(0)
    size, beta = c.attr("size", 1), c.attr("beta", 0.75)
    squares = c.emit(ops.Mul(), x, x)
    rows = c.emit(ops.Reshape((n, 1, channels, math.prod(spatial))), squares)
    before = ((size - 1) // 2, 0)
    after = (size - 1 - before[0], 0)
    ones = (1, 1)
    sums = c.emit(WindowSum((size, 1), ones, before, after, ones, ones), rows)
    total = c.emit(ops.Reshape(result_type(x).dims), sums)
    scale = c.emit.scalar_like(c.attr("alpha", 1e-4) / size, x)
    base = c.emit(ops.Mul(), total, scale)
    base = c.emit(ops.Add(), base, c.emit.scalar_like(c.attr("bias", 1.0), x))
    return c.emit(ops.Div(), x, c.emit(ops.Pow(), base, c.emit.scalar_like(beta, x)))
