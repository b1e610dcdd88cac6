# SPDX-License-Identifier: MIT
"""Attention with caches, windows and masks, and rotary position embedding."""

from __future__ import annotations

import math

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ...ir.ops.shape import expand_axes
from ..convert import Conversion, converter

DOUBLE = 11
EXPOSED = ("raw", "capped", "biased", "weights")


@converter("Attention")
def attention(c: Conversion) -> tuple[Value, ...]:
    """Emit one attention op; caches become concatenations, windows and lengths a mask."""
    query, key, value = _heads(c)
    key, value, offset = _cached(c, key, value)
    total, lengths = result_type(key).dims[2], c.optional(6)
    causal = bool(c.attr("is_causal", 0))
    visible = _visible(c, result_type(query).dims[2], total, offset)
    mask = _combined(c, _padded(c, total), visible)
    op = ops.Attention(
        scale=c.attr("scale"),
        causal=causal and lengths is None,
        offset=offset,
        softcap=c.attr("softcap", 0.0),
        exposed=EXPOSED[c.attr("qk_matmul_output_mode", 0)] if c.wants(3) else "",
    )
    operands = [query, key, value] if mask is None else [query, key, value, mask]
    y, *scores = c.emit.multi(op, *_precise(c, operands))
    dtype = c.dtype(0)
    y, *scores = (_cast(c, v, dtype) for v in (y, *scores))
    if len(c.shape(0)) == 3:
        batch, heads, rows, size = result_type(y).dims
        y = c.emit(ops.Reshape((batch, rows, heads * size)), c.emit(ops.Transpose((0, 2, 1, 3)), y))
    return (y, key, value, *scores)


def _heads(c: Conversion) -> tuple[Value, Value, Value]:
    """Return query, key and value as (batch, heads, length, size)."""
    if len(c.shape(0)) != 3:
        return c.operand(0), c.operand(1), c.operand(2)
    counts = [c.attr(name) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    query, key, value = (_split(c, c.operand(k), count) for k, count in enumerate(counts))
    return query, key, value


def _split(c: Conversion, x: Value, heads: int | None) -> Value:
    if not heads or result_type(x).rank != 3 or result_type(x).dims[2] % heads:
        raise c.error(f"{heads} heads do not divide the last of three axes of {x.type}")
    batch, rows, size = result_type(x).dims
    split = c.emit(ops.Reshape((batch, rows, heads, size // heads)), x)
    return c.emit(ops.Transpose((0, 2, 1, 3)), split)


def _cached(c: Conversion, key: Value, value: Value) -> tuple[Value, Value, int]:
    """Return key and value after those of the cache, and how many the cache holds."""
    past = c.optional(4), c.optional(5)
    if past[0] is None or past[1] is None:
        if past != (None, None):
            raise c.error("past_key and past_value must be given together")
        return key, value, 0
    if c.optional(6) is not None:
        raise c.error("nonpad_kv_seqlen cannot be combined with past_key and past_value")
    offset = c.shape(4)[2]
    return c.emit(ops.Concat(2), past[0], key), c.emit(ops.Concat(2), past[1], value), offset


def _visible(c: Conversion, rows: int, total: int, offset: int) -> Value | None:
    """Return where a window and the lengths of an outer cache let a query see a key.

    With lengths, the causal bound belongs here too, because it differs between samples: the
    last query stands at the last valid key.
    """
    left, right = c.attr("left_window_size", -1), c.attr("right_window_size", -1)
    lengths = c.optional(6)
    query = c.emit(ops.Iota("int64", (rows, 1), 0))
    key = c.emit(ops.Iota("int64", (1, total), 1))
    conditions = []
    if lengths is None:
        position = c.emit(ops.Add(), query, c.emit.constant(offset, "int64"))
    else:
        lengths = expand_axes(c.emit, lengths, (1, 2, 3))
        first = c.emit(ops.Sub(), lengths, c.emit.constant(rows, "int64"))
        position = c.emit(ops.Add(), query, first)
        conditions.append(c.emit(ops.Less(), key, lengths))
        if c.attr("is_causal", 0):
            conditions.append(c.emit(ops.LessEqual(), key, position))
    if left >= 0:
        least = c.emit(ops.Sub(), position, c.emit.constant(left, "int64"))
        conditions.append(c.emit(ops.LessEqual(), least, key))
    if right >= 0:
        most = c.emit(ops.Add(), position, c.emit.constant(right, "int64"))
        conditions.append(c.emit(ops.LessEqual(), key, most))
    visible = None
    for condition in conditions:
        visible = condition if visible is None else c.emit(ops.And(), visible, condition)
    return visible


def _padded(c: Conversion, total: int) -> Value | None:
    """Return the model's mask; keys beyond its end are hidden."""
    mask = c.optional(3)
    if mask is None:
        return None
    missing = total - c.shape(3)[-1]
    if missing <= 0:
        return mask
    rank, hidden = len(c.shape(3)), 0.0 if c.dtype(3) == "bool" else -math.inf
    return c.emit(ops.Pad((0,) * rank, (*(0,) * (rank - 1), missing), "constant", hidden), mask)


def _combined(c: Conversion, mask: Value | None, visible: Value | None) -> Value | None:
    if mask is None or visible is None:
        return visible if mask is None else mask
    if result_type(mask).dtype == "bool":
        return c.emit(ops.And(), mask, visible)
    return c.emit(ops.Select(), visible, mask, c.emit.scalar_like(-math.inf, mask))


def _precise(c: Conversion, operands: list[Value]) -> list[Value]:
    """Return the operands in float64 where they are, or where the softmax must be.

    Everything narrower is computed in float32, which covers the other ``softmax_precision``.
    """
    if c.dtype(0) != "float64" and c.attr("softmax_precision", 1) != DOUBLE:
        return operands
    return [v if result_type(v).dtype == "bool" else _cast(c, v, "float64") for v in operands]


def _cast(c: Conversion, x: Value, dtype: str) -> Value:
    return x if result_type(x).dtype == dtype else c.emit(ops.Cast(dtype), x)


@converter("RotaryEmbedding")
def rotary_embedding(c: Conversion) -> Value:
    """Emit the rotation of (batch, heads, length, size); positions select rows of the caches."""
    x, cosine, sine = (c.operand(k) for k in range(3))
    shape, positions = c.shape(0), c.optional(3)
    flat = len(shape) == 3
    if flat:
        x = _split(c, x, c.attr("num_heads", 0))
    size = result_type(x).dims[3]
    count = (c.attr("rotary_embedding_dim", 0) or size) // 2
    if positions is not None:
        rows = c.shape(1)[0]
        c.check(c.emit(ops.InRange(0, rows), positions), f"a position is not below {rows}")
        cosine, sine = (c.emit(ops.Gather(0), cache, positions) for cache in (cosine, sine))
    if result_type(cosine).dims[-1] != count:
        raise c.error(f"the caches must have {count} columns, found {cosine.type}")
    y = c.emit(ops.RotaryEmbedding(bool(c.attr("interleaved", 0))), x, cosine, sine)
    if not flat:
        return y
    return c.emit(ops.Reshape(shape), c.emit(ops.Transpose((0, 2, 1, 3)), y))
