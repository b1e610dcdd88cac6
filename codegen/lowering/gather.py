# SPDX-License-Identifier: MIT
"""Lowering of reads and writes at positions that are data; every position is made valid first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from ...ir import TensorType, ops
from .base import (
    Context,
    Expr,
    Indices,
    Tensor,
    dtype_of,
    lowering,
    propagating_max,
    propagating_min,
    wrapping,
)
from .imperative import bind, load, loops, statements, store
from .shape import empty


@lowering(ops.Gather)
def gather(
    ctx: Context, op: ops.Gather, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read the slice at the index."""
    x, indices = inputs[0], ctx.materialise(inputs[1])
    axis, taken = op.axis, len(indices.shape)
    if 0 in outputs[0].dims:
        return (empty(ctx, outputs[0].dims, x.dtype),)

    def read(*i: Expr) -> Expr:
        at = valid(indices(*i[axis : axis + taken]), x.shape[axis])
        return x(*i[:axis], at, *i[axis + taken :])

    return (ctx.lazy(outputs[0].dims, x.dtype, read),)


@lowering(ops.GatherElements)
def gather_elements(
    ctx: Context, op: ops.GatherElements, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read the element at the index along one axis."""
    x, indices = inputs[0], ctx.materialise(inputs[1])
    if 0 in outputs[0].dims:
        return (empty(ctx, outputs[0].dims, x.dtype),)

    def read(*i: Expr) -> Expr:
        at = valid(indices(*i), x.shape[op.axis])
        return x(*i[: op.axis], at, *i[op.axis + 1 :])

    return (ctx.lazy(outputs[0].dims, x.dtype, read),)


@lowering(ops.GatherND)
def gather_nd(
    ctx: Context, op: ops.GatherND, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read the slice at the coordinates."""
    x, indices = inputs[0], ctx.materialise(inputs[1])
    lead, batch = len(indices.shape) - 1, op.batch_dims
    depth = indices.shape[-1]
    if 0 in outputs[0].dims:
        return (empty(ctx, outputs[0].dims, x.dtype),)

    def read(*i: Expr) -> Expr:
        sizes = x.shape[batch : batch + depth]
        at = (valid(indices(*i[:lead], k), n) for k, n in enumerate(sizes))
        return x(*i[:batch], *at, *i[lead:])

    return (ctx.lazy(outputs[0].dims, x.dtype, read),)


@lowering(ops.ScatterElements)
def scatter_elements(
    ctx: Context, op: ops.ScatterElements, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Copy, then write one element after the other."""
    x, indices, _ = inputs

    def place(at: Indices, buffer: Any) -> Indices:
        position = bind(valid(load(buffer, at), x.shape[op.axis]))
        return (*at[: op.axis], position, *at[op.axis + 1 :])

    return _scatter(ctx, op.reduction, inputs, len(indices.shape), place)


@lowering(ops.ScatterND)
def scatter_nd(
    ctx: Context, op: ops.ScatterND, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Copy, then write one slice after the other."""
    x, indices, _ = inputs
    lead, depth = len(indices.shape) - 1, indices.shape[-1]

    def place(at: Indices, buffer: Any) -> Indices:
        return tuple(bind(valid(load(buffer, (*at, k)), x.shape[k])) for k in range(depth))

    return _scatter(ctx, op.reduction, inputs, lead, place)


def _scatter(
    ctx: Context, reduction: str, inputs: Sequence[Tensor], lead: int, place: Any
) -> Sequence[Tensor]:
    """Write updates in row-major order; ``place`` turns leading indices into a place."""
    x, _, updates = inputs
    if 0 in x.shape:
        return (x,)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        def build() -> None:
            with loops(x.shape) as at:
                store(outs[0], at, load(ins[0], at))
            if 0 in updates.shape:
                return
            with loops(updates.shape[:lead]) as at:
                target = place(at, ins[1])
                with loops(updates.shape[lead:]) as rest:
                    new = load(ins[2], (*at, *rest))
                    old = load(outs[0], (*target, *rest))
                    store(outs[0], (*target, *rest), _combined(reduction, old, new))

        return statements(build)

    return ctx.extern([(x.shape, x.dtype)], inputs, body, "scatter")


def _combined(reduction: str, old: Expr, new: Expr) -> Expr:
    if reduction == "none":
        return new
    if reduction == "add":
        return wrapping(lambda a, b: a + b, old, new)
    if reduction == "mul":
        return wrapping(lambda a, b: a * b, old, new)
    return propagating_max(old, new) if reduction == "max" else propagating_min(old, new)


def valid(index: Expr, size: int) -> Expr:
    """Return an index counted from the front, moved to the nearest position that exists.

    The result names no subexpression: TIR's regions cannot refer to a name inside an index.
    """
    dtype = dtype_of(index)
    wide = "int32" if dtype in ("int8", "uint8", "int16", "uint16", "int32") else "int64"
    index = index if dtype == wide else tirx.Cast(wide, index)
    zero, n = tirx.const(0, wide), tirx.const(size, wide)
    counted = tirx.Select(index < zero, index + n, index)
    clamped = tirx.max(zero, tirx.min(counted, n - tirx.const(1, wide)))
    return clamped if wide == "int32" else tirx.Cast("int32", clamped)
