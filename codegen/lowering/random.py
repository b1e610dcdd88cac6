# SPDX-License-Identifier: MIT
"""Lowering of the counter-based random number generator."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir import TensorType, ops
from ...ir.ops.random import MULTIPLIERS, ROUNDS, WEYL
from .base import Context, Expr, Tensor, lowering


@lowering(ops.RandomBits)
def random_bits(
    ctx: Context, op: ops.RandomBits, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Run Philox4x32-10 for each element and keep one of its four words.

    Computing a block for every element costs four times the work of a kernel that stores four
    words, and in exchange needs no loop of its own: the bits are made where they are used.
    """
    (key,) = inputs

    def element(*indices: Expr) -> Expr:
        return _word(ctx, _position(indices, op.shape), [key(k) for k in range(4)], 0)

    return (ctx.stage(op.shape, "uint32", element),)


@lowering(ops.RowBits)
def row_bits(
    ctx: Context, op: ops.RowBits, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Run Philox4x32-10 for each element with the key of its row, as :func:`random_bits`."""
    keys = ctx.materialise(inputs[0])

    def element(row: Expr, *indices: Expr) -> Expr:
        words = [keys(row, k) for k in range(4)]
        return _word(ctx, _position(indices, op.shape), words, op.stream)

    return (ctx.stage(outputs[0].dims, "uint32", element),)


def _word(ctx: Context, position: Expr, key: Sequence[Expr], stream: int) -> Expr:
    """Return the word at a position of the sequence that a key and a stream give."""
    words = _philox(ctx, key, tirx.shift_right(position, _index(2)), stream)
    lane = ctx.let(tirx.bitwise_and(position, _index(3)))
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
