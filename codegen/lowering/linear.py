# SPDX-License-Identifier: MIT
"""Lowering of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Indices, Tensor, lowering
from .shape import empty
from .storage import compute_dtype


@lowering(ops.MatMul)
def mat_mul(
    ctx: Context, op: ops.MatMul, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Reduce products over the shared axis; operands are computed once, not per product."""
    shape, dtype = outputs[0].dims, compute_dtype(outputs[0].dtype)
    if 0 in shape:
        return (empty(ctx, shape, dtype),)
    x, y = map(ctx.materialise, inputs)

    def read(i: Indices, r: Indices) -> Expr:
        *batch, row, column = i
        left = x(*_batch(x, batch), row, r[0])
        right = y(*_batch(y, batch), r[0], column)
        return widen(left, x.dtype, dtype) * widen(right, y.dtype, dtype)

    return (ctx.reduce("sum", shape, (x.shape[-1],), read, dtype),)


def _batch(tensor: Tensor, batch: Sequence[Expr]) -> list[Expr]:
    sizes = tensor.shape[:-2]
    own = batch[len(batch) - len(sizes) :]
    return [0 if n == 1 else k for n, k in zip(sizes, own, strict=True)]


def widen(value: Expr, dtype: str, wanted: str) -> Expr:
    """Return a factor in the type in which products are added up."""
    return value if dtype == wanted else tirx.Cast(wanted, value)
