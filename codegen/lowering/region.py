# SPDX-License-Identifier: MIT
"""Lowering of pooled regions, whose loops depend on the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ...ir import TensorType, ops
from ...ir.ops.region import MAX_SAMPLES
from .base import Context, Dims, Expr, Tensor, lowering, propagating_max
from .imperative import bind, load, loops, statements, store
from .shape import empty


@lowering(ops.RoiAlign)
def roi_align(
    ctx: Context, op: ops.RoiAlign, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Add up or compare the samples of each bin, all channels of a sample together."""
    shape, dtype = outputs[0].dims, inputs[0].dtype
    if 0 in shape:
        return (empty(ctx, shape, dtype),)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        return statements(lambda: _align(op, ins, outs[0], _Scratch(*outs[1:])))

    specs = [(shape, dtype), *_Scratch.specs(dtype)]
    return ctx.extern(specs, inputs, body, "roi_align")[:1]


class _Scratch:
    """Holds named values in memory.

    TVM's simplifier writes values that are only named out wherever they are used, which grows
    exponentially with a chain of them; it does not look behind loads.
    """

    SLOTS = 32

    def __init__(self, numbers: Any, integers: Any) -> None:
        self.buffers = {str(b.dtype): b for b in (numbers, integers)}
        self.used = dict.fromkeys(self.buffers, 0)

    @classmethod
    def specs(cls, dtype: str) -> list[tuple[Dims, str]]:
        """Return shapes and types of the buffers."""
        return [((cls.SLOTS,), dtype), ((cls.SLOTS,), "int32")]

    def __call__(self, value: Expr) -> Expr:
        """Evaluate ``value`` here, once, and return how to read it."""
        dtype = str(value.ty.dtype)
        slot = self.used[dtype]
        self.used[dtype] += 1
        store(self.buffers[dtype], (slot,), value)
        return load(self.buffers[dtype], (slot,))


def _align(op: ops.RoiAlign, ins: Sequence[Any], out: Any, hold: _Scratch) -> None:
    x, boxes, batch = ins
    images, channels, height, width = map(int, x.shape)
    count, dtype = int(out.shape[0]), str(out.dtype)
    start = 0.0 if op.mode == "avg" else -float("inf")
    with loops((count,)) as (r,):
        edges = [load(boxes, (r, k)) for k in range(4)]
        image = hold(_clamped(tirx.Cast("int32", load(batch, (r,))), 0, images - 1))
        rows = _Axis.of(op, edges[1], edges[3], op.size[0], height, hold)
        columns = _Axis.of(op, edges[0], edges[2], op.size[1], width, hold)
        with loops(op.size) as (i, j):
            with loops((channels,)) as (c,):
                store(out, (r, c, i, j), tirx.const(start, dtype))
            with loops((rows.cells,)) as (k,):
                above, below = rows.neighbours(i, k)
                with loops((columns.cells,)) as (m,):
                    sides = columns.neighbours(j, m)
                    corners = [(y, z, u * v) for y, u in (above, below) for z, v in sides]
                    named = [(y, z, hold(weight)) for y, z, weight in corners]
                    with loops((channels,)) as (c,):
                        values = [load(x, (image, c, y, z)) * weight for y, z, weight in named]
                        total = load(out, (r, c, i, j))
                        store(out, (r, c, i, j), _joined(op.mode, total, values, hold))
            with loops((channels,)) as (c,):
                total = load(out, (r, c, i, j))
                store(out, (r, c, i, j), _finished(op.mode, total, rows.cells * columns.cells))


def _joined(mode: str, total: Expr, values: Sequence[Expr], hold: _Scratch) -> Expr:
    for value in values:
        total = total + value if mode == "avg" else propagating_max(hold(total), hold(value))
    return total


def _finished(mode: str, total: Expr, samples: Expr) -> Expr:
    dtype = str(total.ty.dtype)
    if mode == "avg":
        return total / tirx.Cast(dtype, tirx.max(samples, tirx.const(1, "int32")))
    return tirx.Select(samples > 0, total, tirx.const(0, dtype))


@dataclass(frozen=True)
class _Axis:
    """The samples of one box along one axis."""

    start: Expr
    each: Expr
    cells: Expr
    length: int
    hold: _Scratch

    @classmethod
    def of(
        cls, op: ops.RoiAlign, begin: Expr, end: Expr, bins: int, length: int, hold: _Scratch
    ) -> _Axis:
        dtype = str(begin.ty.dtype)

        def number(value: float) -> Expr:
            return tirx.const(value, dtype)

        offset = number(0.5 if op.half_pixel else 0)
        start = hold(begin * number(op.spatial_scale) - offset)
        extent = hold(end * number(op.spatial_scale) - offset - start)
        if not op.half_pixel:
            extent = hold(tirx.Select(extent < number(1), number(1), extent))
        each = hold(extent / number(bins))
        if op.sampling_ratio:
            return cls(start, each, tirx.const(op.sampling_ratio, "int32"), length, hold)
        known = tirx.Select(tirx.isnan(each), number(0), tirx.ceil(each))
        cells = hold(tirx.Cast("int32", _clamped(known, 0, MAX_SAMPLES)))
        return cls(start, each, cells, length, hold)

    def neighbours(self, position: Expr, cell: Expr) -> list[tuple[Expr, Expr]]:
        """Return the elements around a sample of a bin, each with its weight."""
        dtype, hold = str(self.start.ty.dtype), self.hold

        def number(value: float) -> Expr:
            return tirx.const(value, dtype)

        p, k, cells = (tirx.Cast(dtype, v) for v in (position, cell, self.cells))
        c = hold(self.start + p * self.each + (k + number(0.5)) * self.each / cells)
        inside = tirx.And(c >= number(-1), c <= number(self.length))
        near = hold(tirx.Select(inside, _clamped(c, 0, self.length - 1), number(0)))
        low = hold(tirx.Cast("int32", near))
        high = hold(tirx.min(low + 1, tirx.const(self.length - 1, "int32")))
        fraction = hold(near - tirx.Cast(dtype, low))
        return [
            (low, hold(tirx.Select(inside, number(1) - fraction, number(0)))),
            (high, hold(tirx.Select(inside, fraction, number(0)))),
        ]


def _clamped(value: Expr, low: float, high: float) -> Expr:
    dtype = str(value.ty.dtype)
    return tirx.max(tirx.min(value, tirx.const(high, dtype)), tirx.const(low, dtype))


@lowering(ops.MaxRoiPool)
def max_roi_pool(
    ctx: Context, op: ops.MaxRoiPool, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Compare the elements of each bin."""
    shape, dtype = outputs[0].dims, inputs[0].dtype
    if 0 in shape:
        return (empty(ctx, shape, dtype),)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        return statements(lambda: _pool(op, ins, outs[0], dtype))

    return ctx.extern([(shape, dtype)], inputs, body, "max_roi_pool")


def _pool(op: ops.MaxRoiPool, ins: Sequence[Any], out: Any, dtype: str) -> None:
    x, boxes = ins
    size: Dims = tuple(map(int, x.shape))
    with loops((int(out.shape[0]),)) as (r,):
        image = bind(_clamped(_integer(load(boxes, (r, 0))), 0, size[0] - 1))
        edges = [
            bind(_rounded(load(boxes, (r, k)) * tirx.const(op.spatial_scale, dtype)))
            for k in range(1, 5)
        ]
        with loops(op.size) as (i, j):
            top, bottom = _edges(i, edges[1], edges[3], op.size[0], size[2], dtype)
            left, right = _edges(j, edges[0], edges[2], op.size[1], size[3], dtype)
            filled = bind(tirx.And(top < bottom, left < right))
            start = tirx.Select(filled, tirx.const(-float("inf"), dtype), tirx.const(0, dtype))
            with loops((size[1],)) as (c,):
                store(out, (r, c, i, j), start)
                with loops((bottom - top, right - left)) as (y, z):
                    value = bind(load(x, (image, c, top + y, left + z)))
                    best = bind(load(out, (r, c, i, j)))
                    store(out, (r, c, i, j), propagating_max(best, value))


def _edges(
    position: Expr, first: Expr, last: Expr, bins: int, length: int, dtype: str
) -> tuple[Expr, Expr]:
    """Return first and end element of a bin; none of the sizes is negative."""
    extent = tirx.max(last - first + 1, tirx.const(1, "int32"))
    each = bind(tirx.Cast(dtype, extent) / tirx.const(bins, dtype))
    p = tirx.Cast(dtype, position)
    begin = bind(_clamped(tirx.Cast("int32", tirx.floor(p * each)) + first, 0, length))
    end = tirx.Cast("int32", tirx.ceil((p + tirx.const(1, dtype)) * each)) + first
    return begin, bind(tirx.max(_clamped(end, 0, length), begin))


def _rounded(edge: Expr) -> Expr:
    """Round to the nearest integer, halves away from zero."""
    half = tirx.const(0.5, str(edge.ty.dtype))
    zero = tirx.const(0, str(edge.ty.dtype))
    return _integer(tirx.Select(edge < zero, tirx.ceil(edge - half), tirx.floor(edge + half)))


def _integer(value: Expr) -> Expr:
    """Truncate a number; what no image is as large as becomes a large integer."""
    dtype = str(value.ty.dtype)
    known = tirx.Select(tirx.isnan(value), tirx.const(0, dtype), value)
    return tirx.Cast("int32", _clamped(known, -(2.0**24), 2.0**24))
