# SPDX-License-Identifier: MIT
"""Lowering of the counter-based random number generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from ...ir import TensorType, ops
from ...ir.ops.random import BLOCK, MULTIPLIERS, ROUNDS, WEYL
from .base import Context, Expr, Tensor, lowering


@lowering(ops.RandomBits)
def random_bits(
    ctx: Context, op: ops.RandomBits, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Run Philox4x32-10 with the key; see :func:`_stage`."""
    key = ctx.materialise(inputs[0])
    return (_stage(ctx, op.shape, (), lambda k: key(k), 0),)


@lowering(ops.RowBits)
def row_bits(
    ctx: Context, op: ops.RowBits, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Run Philox4x32-10 with the key of each row; see :func:`_stage`."""
    keys = ctx.materialise(inputs[0])
    return (_stage(ctx, op.shape, (keys.shape[0],), keys, op.stream),)


def _stage(
    ctx: Context,
    shape: tuple[int, ...],
    rows: tuple[int, ...],
    key: Callable[..., Expr],
    stream: int,
) -> Tensor:
    """Return the words of a sequence in ``shape``, for each of some rows.

    In general each element computes a block and keeps one of its four words. Where the last
    axis is such a block, its four elements are computed together, at a quarter of the cost.
    """
    whole = bool(shape) and shape[-1] == BLOCK

    def element(*indices: Expr) -> Expr:
        row, place = indices[: len(rows)], indices[len(rows) :]
        words = [key(*row, k) for k in range(4)]
        if whole:
            block, lane = _position(place[:-1], shape[:-1]), tirx.Cast("int64", place[-1])
        else:
            position = ctx.let(_position(place, shape))
            block = tirx.shift_right(position, _index(2))
            lane = ctx.let(tirx.bitwise_and(position, _index(3)))
        return _word(_philox(ctx, words, block, stream), lane)

    return ctx.stage((*rows, *shape), "uint32", element, together=whole)


def _word(words: Sequence[Expr], lane: Expr) -> Expr:
    first = tirx.Select(tirx.EQ(lane, _index(0)), words[0], words[1])
    second = tirx.Select(tirx.EQ(lane, _index(2)), words[2], words[3])
    return tirx.Select(lane < _index(2), first, second)


def _index(n: int) -> Expr:
    return tirx.const(n, "int64")


def _position(indices: tuple[Expr, ...], shape: tuple[int, ...]) -> Expr:
    position = _index(0)
    for index, size in zip(indices, shape, strict=True):
        position = position * _index(size) + tirx.Cast("int64", index)
    return position


def _philox(
    ctx: Context, key: Sequence[Expr], block: Expr, stream: int
) -> tuple[Expr, Expr, Expr, Expr]:
    """Return the four words of a block, as :func:`ranvier.ir.ops.random.philox`.

    Blocks number less than 2**32, for shapes are limited: the counter's second word is free
    for the stream.
    """
    x = ctx.let(tirx.Cast("uint32", block))
    y = tirx.const(stream, "uint32")
    left, right, z, w = key
    for number in range(ROUNDS):
        first, second = _product(ctx, MULTIPLIERS[0], x), _product(ctx, MULTIPLIERS[1], z)
        keys = (_bumped(k, number * step) for k, step in zip((left, right), WEYL, strict=True))
        x, z = (
            ctx.let(tirx.bitwise_xor(tirx.bitwise_xor(_upper(p), word), k))
            for p, word, k in zip((second, first), (y, w), keys, strict=True)
        )
        y, w = (ctx.let(tirx.Cast("uint32", p)) for p in (second, first))
    return x, y, z, w


def _bumped(key: Expr, step: int) -> Expr:
    return key + tirx.const(step % 2**32, "uint32")


def _product(ctx: Context, multiplier: int, word: Expr) -> Expr:
    return ctx.let(tirx.const(multiplier, "uint64") * tirx.Cast("uint64", word))


def _upper(product: Expr) -> Expr:
    return tirx.Cast("uint32", tirx.shift_right(product, tirx.const(32, "uint64")))
