# SPDX-License-Identifier: MIT
"""Lowering of sums and maxima over windows, and of windows laid out in columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import te, tirx

from ...ir import TensorType, ops
from ...ir.ops.reduction import limits
from ...ir.ops.window import Windowed
from .base import Context, Dims, Expr, Indices, Tensor, is_float, lowering, reduction_identity
from .shape import empty
from .sliding import candidates, flat, holding, padded, seen, unflattened, within

NOWHERE = 2**31 - 1
"""Position of padding, which loses against every element."""


@lowering(ops.WindowSum)
def window_sum(
    ctx: Context, op: ops.WindowSum, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Reduce over the window, on padded data."""
    return (_reduced(ctx, "sum", op, inputs[0], outputs[0].dims, 0),)


@lowering(ops.MaxPool)
def max_pool(
    ctx: Context, op: ops.MaxPool, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Reduce over the window; padding is the least value of the element type."""
    least = limits(outputs[0].dtype)[0]
    return (_reduced(ctx, "max", op, inputs[0], outputs[0].dims, least),)


def _reduced(ctx: Context, kind: str, op: Windowed, x: Tensor, shape: Dims, fill: float) -> Tensor:
    if 0 in shape:
        return empty(ctx, shape, x.dtype)
    data, sliding = padded(ctx, x, op.sliding, fill), op.sliding

    def read(i: Indices, r: Indices) -> Expr:
        n, c, *position = i
        return data(n, c, *seen(sliding, tuple(position), r))

    return ctx.reduce(kind, shape, sliding.window, read, x.dtype)


@lowering(ops.MaxPoolWithIndices)
def max_pool_with_indices(
    ctx: Context,
    op: ops.MaxPoolWithIndices,
    inputs: Sequence[Tensor],
    outputs: Sequence[TensorType],
) -> Sequence[Tensor]:
    """Reduce pairs of element and position."""
    (x,) = inputs
    shape, size = outputs[0].dims, x.shape[2:]
    if 0 in shape:
        return empty(ctx, shape, x.dtype), empty(ctx, shape, "int64")
    values, at = _first_maximum(ctx, op, x, outputs[0])

    def numbered(n: Expr, c: Expr, *position: Expr) -> Expr:
        own = ctx.let(at(n, c, *position))
        place = own
        if op.column_major:
            place = flat(unflattened(own, size)[::-1], size[::-1])
        plane = tirx.Cast("int64", n * x.shape[1] + c) * math.prod(size)
        whole = plane + tirx.Cast("int64", place)
        return tirx.Select(own == NOWHERE, tirx.const(-1, "int64"), whole)

    return values, ctx.lazy(shape, "int64", numbered)


def _first_maximum(
    ctx: Context, op: Windowed, x: Tensor, output: TensorType
) -> tuple[Tensor, Tensor]:
    """Return each window's maximum and its position in the plane, :data:`NOWHERE` in padding."""
    sliding, size = op.sliding, x.shape[2:]
    least = limits(output.dtype)[0]
    data = padded(ctx, x, sliding, least)
    checked = any(a > 0 for a in (*sliding.low, *sliding.high))

    def combine(a: Sequence[Expr], b: Sequence[Expr]) -> tuple[Expr, Expr]:
        wins = tirx.Or(_larger(a[0], b[0]), tirx.And(_tie(a[0], b[0]), a[1] < b[1]))
        return tirx.Select(wins, a[0], b[0]), tirx.Select(wins, a[1], b[1])

    def identity(value: str, position: str) -> tuple[Expr, Expr]:
        return reduction_identity("max", x.dtype), tirx.const(NOWHERE, "int32")

    def read(i: Indices, r: Indices) -> tuple[Expr, Expr]:
        n, c, *position = i
        at = seen(sliding, tuple(position), r)
        place = tuple(p - low for p, low in zip(at, sliding.low, strict=True))
        number = flat(place, size)
        if checked:
            inside = within(place, (1,) * len(size), size)
            number = tirx.Select(inside, number, tirx.const(NOWHERE, "int32"))
        return data(n, c, *at), number

    reducer = te.comm_reducer(combine, identity, name="first_maximum")
    values, at = ctx.reduce_with(reducer, output.dims, sliding.window, read, (x.dtype, "int32"))
    return values, at


def _larger(a: Expr, b: Expr) -> Expr:
    if not is_float(a):
        return a > b
    return tirx.Or(a > b, tirx.And(tirx.isnan(a), tirx.Not(tirx.isnan(b))))


def _tie(a: Expr, b: Expr) -> Expr:
    if not is_float(a):
        return a == b
    return tirx.Or(a == b, tirx.And(tirx.isnan(a), tirx.isnan(b)))


@lowering(ops.MaxPoolGradient)
def max_pool_gradient(
    ctx: Context, op: ops.MaxPoolGradient, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Gather: every element adds up the windows around it whose first maximum it is."""
    x, dy = inputs[0], ctx.materialise(inputs[1])
    shape, positions, sliding = outputs[0].dims, dy.shape[2:], op.sliding
    if 0 in shape:
        return (empty(ctx, shape, x.dtype),)
    zero = ctx.const(0, x.dtype)
    if 0 in dy.shape:
        return (ctx.lazy(shape, x.dtype, lambda *_: zero),)
    pooled = TensorType(outputs[0].dtype, dy.shape)
    _, maximum = _first_maximum(ctx, op, x, pooled)

    def read(i: Indices, r: Indices) -> Expr:
        n, c, *at = i
        p, _ = holding(sliding, tuple(at), r)

        def held() -> Expr:
            own = maximum(n, c, *p) == flat(tuple(at), shape[2:])
            return tirx.Select(own, dy(n, c, *p), zero)

        return ctx.guard(within(p, (1,) * len(p), positions), held, zero)

    return (ctx.reduce("sum", shape, candidates(sliding), read, x.dtype),)


@lowering(ops.Im2Col)
def im2col(
    ctx: Context, op: ops.Im2Col, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read the element of the window where it lies, or zero."""
    (x,) = inputs
    sliding, size = op.sliding, x.shape[2:]
    positions, taps = sliding.positions(size), math.prod(op.window)
    if 0 in outputs[0].dims:
        return (empty(ctx, outputs[0].dims, x.dtype),)

    def read(n: Expr, row: Expr, column: Expr) -> Expr:
        tap = unflattened(tirx.floormod(row, taps), op.window)
        at = seen(sliding, unflattened(column, positions), tap)
        place = tuple(p - low for p, low in zip(at, sliding.low, strict=True))
        inside = within(place, (1,) * len(size), size)
        channel = tirx.floordiv(row, taps)
        return ctx.guard(inside, lambda: x(n, channel, *place), ctx.const(0, x.dtype))

    return (ctx.lazy(outputs[0].dims, x.dtype, read),)


@lowering(ops.Col2Im)
def col2im(
    ctx: Context, op: ops.Col2Im, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Gather: every element adds up the windows that hold it."""
    x, sliding = ctx.materialise(inputs[0]), op.sliding
    positions, taps = sliding.positions(op.shape), math.prod(op.window)
    zero = ctx.const(0, x.dtype)
    if 0 in outputs[0].dims:
        return (empty(ctx, outputs[0].dims, x.dtype),)
    if 0 in x.shape:
        return (ctx.lazy(outputs[0].dims, x.dtype, lambda *_: zero),)

    def read(i: Indices, r: Indices) -> Expr:
        n, c, *at = i
        p, distance = holding(sliding, tuple(at), r)
        tap = tuple(t // d for t, d in zip(distance, sliding.dilation, strict=True))
        held = tirx.all(
            within(p, (1,) * len(p), positions), within(distance, op.dilation, op.window)
        )
        return ctx.guard(
            held, lambda: x(n, c * taps + flat(tap, op.window), flat(p, positions)), zero
        )

    return (ctx.reduce("sum", outputs[0].dims, candidates(sliding), read, x.dtype),)
