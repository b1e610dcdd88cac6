# SPDX-License-Identifier: MIT
"""Lowering of convolution and of its gradient for weights."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Indices, Tensor, lowering
from .linear import widen
from .shape import empty
from .sliding import padded, seen
from .storage import compute_dtype


@lowering(ops.Conv)
def conv(
    ctx: Context, op: ops.Conv, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Reduce products over the group's channels and the window, on padded data."""
    shape, dtype = outputs[0].dims, compute_dtype(outputs[0].dtype)
    if 0 in shape:
        return (empty(ctx, shape, dtype),)
    w = ctx.materialise(inputs[1])
    channels, window = w.shape[1], w.shape[2:]
    sliding = op.sliding(window)
    x = padded(ctx, inputs[0], sliding, 0)
    outputs_each = shape[1] // op.groups

    def read(i: Indices, r: Indices) -> Expr:
        n, o, *position = i
        c, *tap = r
        group = tirx.floordiv(o, tirx.const(outputs_each, "int32")) if op.groups > 1 else 0
        data = x(n, group * channels + c, *seen(sliding, tuple(position), tuple(tap)))
        return widen(data, x.dtype, dtype) * widen(w(o, c, *tap), w.dtype, dtype)

    return (ctx.reduce("sum", shape, (channels, *window), read, dtype),)


@lowering(ops.ConvWeightGradient)
def conv_weight_gradient(
    ctx: Context,
    op: ops.ConvWeightGradient,
    inputs: Sequence[Tensor],
    outputs: Sequence[TensorType],
) -> Sequence[Tensor]:
    """Reduce products over batch and positions, on padded data."""
    shape, dtype = outputs[0].dims, compute_dtype(outputs[0].dtype)
    if 0 in shape:
        return (empty(ctx, shape, dtype),)
    dz = ctx.materialise(inputs[1])
    batch, channels, *positions = dz.shape
    x = padded(ctx, inputs[0], op.sliding, 0)
    outputs_each = channels // op.groups

    def read(i: Indices, r: Indices) -> Expr:
        o, c, *tap = i
        n, *position = r
        group = tirx.floordiv(o, tirx.const(outputs_each, "int32")) if op.groups > 1 else 0
        at = seen(op.sliding, tuple(position), tuple(tap))
        data = x(n, group * shape[1] + c, *at)
        return widen(data, x.dtype, dtype) * widen(dz(n, o, *position), dz.dtype, dtype)

    return (ctx.reduce("sum", shape, (batch, *positions), read, dtype),)
