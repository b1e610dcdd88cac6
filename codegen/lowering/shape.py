# SPDX-License-Identifier: MIT
"""Lowering of ops that only move elements: index arithmetic, evaluated where elements are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from tvm import tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Indices, Tensor, lowering
from .storage import compute_dtype

Dims = tuple[int, ...]


@lowering(ops.Reshape)
def reshape(
    ctx: Context, op: ops.Reshape, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read at the same row-major position."""
    (x,) = inputs
    if 0 in op.shape:
        return (empty(ctx, op.shape, x.dtype),)
    groups = _matching(x.shape, op.shape)
    return (ctx.lazy(op.shape, x.dtype, lambda *i: x(*_reindexed(x.shape, op.shape, groups, i))),)


@lowering(ops.Transpose)
def transpose(
    ctx: Context, op: ops.Transpose, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read with permuted indices."""
    (x,) = inputs
    inverse = sorted(range(len(x.shape)), key=op.permutation.__getitem__)
    return (ctx.lazy(outputs[0].dims, x.dtype, lambda *i: x(*(i[k] for k in inverse))),)


@lowering(ops.BroadcastTo)
def broadcast_to(
    ctx: Context, op: ops.BroadcastTo, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read repeated axes at 0 and drop new ones."""
    (x,) = inputs
    extra = len(op.shape) - len(x.shape)

    def read(*i: Expr) -> Expr:
        return x(*(0 if n == 1 else k for n, k in zip(x.shape, i[extra:], strict=True)))

    return (ctx.lazy(op.shape, x.dtype, read),)


@lowering(ops.Slice)
def slice_(
    ctx: Context, op: ops.Slice, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read at ``start + index * step``."""
    (x,) = inputs

    def read(*i: Expr) -> Expr:
        return x(*(a + k * s for a, k, s in zip(op.starts, i, op.steps, strict=True)))

    return (ctx.lazy(outputs[0].dims, x.dtype, read),)


@lowering(ops.Reverse)
def reverse(
    ctx: Context, op: ops.Reverse, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read from the end along the axes."""
    (x,) = inputs

    def read(*i: Expr) -> Expr:
        return x(*(x.shape[k] - 1 - n if k in op.axes else n for k, n in enumerate(i)))

    return (ctx.lazy(x.shape, x.dtype, read),)


@lowering(ops.Pad)
def pad(
    ctx: Context, op: ops.Pad, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read inside, or the constant; other modes read at the position that is repeated."""
    (x,) = inputs
    shape = outputs[0].dims
    number = 0 if op.mode != "constant" or isinstance(op.value, str) else op.value
    value = ctx.const(number, x.dtype)
    if 0 in x.shape:
        return (ctx.lazy(shape, x.dtype, lambda *_: value),)

    def constant(*i: Expr) -> Expr:
        source = tuple(k - a for k, a in zip(i, op.low, strict=True))
        inside = _inside(source, op, x.shape)
        if not inside:
            return x(*source)
        return ctx.guard(reduce(tirx.And, inside), lambda: x(*source), value)

    def repeated(*i: Expr) -> Expr:
        return x(*(_source(op, k, n, x.shape[k]) for k, n in enumerate(i)))

    return (ctx.lazy(shape, x.dtype, constant if op.mode == "constant" else repeated),)


@lowering(ops.Concat)
def concat(
    ctx: Context, op: ops.Concat, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Find the operand by bisection, so that a hundred of them nest only seven deep."""
    parts = [t for t in inputs if t.shape[op.axis]]
    if not parts:
        return (inputs[0],)
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + part.shape[op.axis])

    def read(i: Indices, first: int, last: int) -> Expr:
        if last - first == 1:
            return parts[first](*i[: op.axis], i[op.axis] - starts[first], *i[op.axis + 1 :])
        middle = (first + last) // 2
        return ctx.guard(
            i[op.axis] < starts[middle],
            lambda: read(i, first, middle),
            ctx.scoped(lambda: read(i, middle, last)),
        )

    shape = outputs[0].dims
    return (ctx.lazy(shape, parts[0].dtype, lambda *i: read(i, 0, len(parts))),)


@lowering(ops.Iota)
def iota(
    ctx: Context, op: ops.Iota, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Return the index."""
    dtype = compute_dtype(op.dtype)
    return (ctx.lazy(op.shape, dtype, lambda *i: cast(i[op.axis], dtype)),)


def cast(expr: Expr, dtype: str) -> Expr:
    """Return an index or integer expression in another type."""
    return tirx.const(expr, dtype) if isinstance(expr, int) else tirx.Cast(dtype, expr)


def empty(ctx: Context, shape: Dims, dtype: str) -> Tensor:
    """Return a tensor without elements."""
    return ctx.lazy(shape, dtype, lambda *_: ctx.const(0, dtype))


def _matching(old: Dims, new: Dims) -> list[tuple[range, range]]:
    """Cut both shapes into the shortest runs of axes that have the same number of elements."""
    groups: list[tuple[range, range]] = []
    a = b = 0
    while a < len(old) or b < len(new):
        first, second = a, b
        left = right = 1
        while True:
            if left <= right and a < len(old):
                left, a = left * old[a], a + 1
            elif b < len(new):
                right, b = right * new[b], b + 1
            else:
                left, a = left * old[a], a + 1
            if left == right and (left > 1 or (a == len(old) and b == len(new))):
                break
        groups.append((range(first, a), range(second, b)))
    return groups


def _reindexed(
    old: Dims, new: Dims, groups: list[tuple[range, range]], indices: Indices
) -> list[Expr]:
    """Return the indices in shape ``old`` of the element at ``indices`` of shape ``new``."""
    result: list[Expr] = []
    for source, target in groups:
        wide = [k for k in target if new[k] != 1]
        narrow = [k for k in source if old[k] != 1]
        position: Expr = 0
        for k in wide:
            position = position * new[k] + indices[k]
        found: dict[int, Expr] = {}
        for k in reversed(narrow):
            first = k == narrow[0]
            found[k] = position if first else tirx.floormod(position, old[k])
            position = position if first else tirx.floordiv(position, old[k])
        result += [found.get(k, 0) for k in source]
    return result


def _inside(source: Indices, op: ops.Pad, shape: Dims) -> list[Expr]:
    """Return the conditions under which ``source`` is a position of the operand."""
    conditions: list[Expr] = []
    for k, n in enumerate(shape):
        if op.low[k] > 0:
            conditions.append(source[k] >= 0)
        if op.high[k] > 0:
            conditions.append(source[k] < n)
    return conditions


def _source(op: ops.Pad, axis: int, index: Expr, size: int) -> Expr:
    """Return the position that a result position repeats."""
    low, high = op.low[axis], op.high[axis]
    if low <= 0 and high <= 0:
        return index - low
    start, n = max(-low, 0), size + min(low, 0) + min(high, 0)
    at = index - max(low, 0)
    if op.mode == "edge":
        return start + tirx.max(0, tirx.min(at, n - 1))
    if op.mode == "wrap":
        return start + tirx.floormod(at, n)
    period = max(2 * (n - 1), 1)
    turn = tirx.floormod(at, period)
    return start + tirx.min(turn, period - turn) if n > 1 else start
