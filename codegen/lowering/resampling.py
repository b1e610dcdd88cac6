# SPDX-License-Identifier: MIT
"""Lowering of resampling by tables."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Indices, Tensor, lowering
from .shape import empty


@lowering(ops.Resample)
def resample(
    ctx: Context, op: ops.Resample, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Reduce weighted slices over the row of the table."""
    shape, axis = outputs[0].dims, op.axis
    if 0 in shape:
        return (empty(ctx, shape, inputs[0].dtype),)
    x, indices, weights = map(ctx.materialise, inputs)
    last = x.shape[axis] - 1

    def read(i: Indices, r: Indices) -> Expr:
        row = tirx.Cast("int32", indices(i[axis], r[0]))
        source = tirx.max(tirx.min(row, tirx.const(last, "int32")), tirx.const(0, "int32"))
        return x(*i[:axis], source, *i[axis + 1 :]) * weights(i[axis], r[0])

    return (ctx.reduce("sum", shape, (indices.shape[1],), read, x.dtype),)
