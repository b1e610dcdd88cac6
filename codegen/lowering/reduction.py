# SPDX-License-Identifier: MIT
"""Lowering of reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx

from ...ir import TensorType, ops
from ...ir.ops.reduction import Reduction, limits
from .base import Context, Expr, Indices, Tensor, lowering


@lowering(ops.ReduceSum)
def reduce_sum(
    ctx: Context, op: ops.ReduceSum, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Add in the compute type, which is float32 for narrower floats."""
    return (_reduce(ctx, "sum", op, inputs[0], outputs[0]),)


@lowering(ops.ReduceProd)
def reduce_prod(
    ctx: Context, op: ops.ReduceProd, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Multiply in the compute type."""
    return (_reduce(ctx, "prod", op, inputs[0], outputs[0]),)


@lowering(ops.ReduceMean)
def reduce_mean(
    ctx: Context, op: ops.ReduceMean, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Divide the sum; integers are added in 64 bits and truncated."""
    (x,) = inputs
    count = math.prod(x.shape[a] for a in op.axes)
    if x.dtype.startswith("float"):
        total = _reduce(ctx, "sum", op, x, outputs[0])
        if count == 0:
            return (_constant(ctx, outputs[0], x.dtype, math.nan),)
        return (ctx.elementwise(x.dtype, lambda s: s / ctx.const(count, x.dtype), total),)
    wide = "uint64" if x.dtype.startswith("u") else "int64"
    total = _reduce(ctx, "sum", op, _as(ctx, x, wide), outputs[0])
    divisor = ctx.const(max(count, 1), wide)
    mean = ctx.elementwise(wide, lambda s: tirx.truncdiv(s, divisor), total)
    return (_as(ctx, mean, x.dtype),)


@lowering(ops.ReduceMax, ops.ReduceMin)
def reduce_extreme(
    ctx: Context,
    op: ops.ReduceMax | ops.ReduceMin,
    inputs: Sequence[Tensor],
    outputs: Sequence[TensorType],
) -> Sequence[Tensor]:
    """Compare; NaN wins. Booleans are joined by or, and."""
    (x,) = inputs
    largest = isinstance(op, ops.ReduceMax)
    if any(x.shape[a] == 0 for a in op.axes):
        return (_constant(ctx, outputs[0], x.dtype, limits(outputs[0].dtype)[0 if largest else 1]),)
    if x.dtype == "bool":
        return (_reduce(ctx, "any" if largest else "all", op, x, outputs[0]),)
    return (_reduce(ctx, "max" if largest else "min", op, x, outputs[0]),)


@lowering(ops.InRange)
def in_range(
    ctx: Context, op: ops.InRange, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Compare all elements, clipping the bounds to what the integers can hold."""
    (x,) = inputs
    least, most = limits(x.dtype)

    def inside(_: Indices, r: Indices) -> Expr:
        value = ctx.let(x(*r))
        above = _bound(value, op.low, least, most, lambda v, b: v >= b)
        below = _bound(value, op.high, least, most, lambda v, b: v < b)
        return tirx.And(above, below)

    return (ctx.reduce("all", (), x.shape, inside, "bool"),)


def _bound(
    value: Expr, bound: int, least: int, most: int, compare: Callable[[Expr, Expr], Expr]
) -> Expr:
    """Return the comparison, decided at once where the type of ``value`` cannot hold ``bound``."""
    if least <= bound <= most:
        return compare(value, tirx.const(bound, str(value.ty.dtype)))
    return tirx.const(bool(compare(0, bound)), "bool")


def _reduce(ctx: Context, kind: str, op: Reduction, x: Tensor, output: TensorType) -> Tensor:
    """Return the reduction over the op's axes."""
    kept = [k for k in range(len(x.shape)) if k not in op.axes]
    axes = sorted(op.axes)

    def read(i: Indices, r: Indices) -> Expr:
        at = dict(zip(kept, i, strict=True)) | dict(zip(axes, r, strict=True))
        return x(*(at[k] for k in range(len(x.shape))))

    if not axes:
        return ctx.lazy(x.shape, x.dtype, lambda *i: x(*i))
    return ctx.reduce(kind, output.dims, tuple(x.shape[a] for a in axes), read, x.dtype)


def _constant(ctx: Context, output: TensorType, dtype: str, value: float) -> Tensor:
    return ctx.lazy(output.dims, dtype, lambda *_: ctx.const(value, dtype))


def _as(ctx: Context, x: Tensor, dtype: str) -> Tensor:
    return ctx.elementwise(dtype, lambda v: tirx.Cast(dtype, v), x)
