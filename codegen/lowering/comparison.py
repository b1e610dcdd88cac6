# SPDX-License-Identifier: MIT
"""Lowering of comparisons, logic, bits and selection."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Tensor, dtype_of, lowering
from .elementwise import differ, elementwise, is_nan, like
from .storage import compute_dtype

elementwise(ops.Less)(tirx.LT)
elementwise(ops.LessEqual)(tirx.LE)
elementwise(ops.Greater)(tirx.GT)
elementwise(ops.GreaterEqual)(tirx.GE)
elementwise(ops.And)(tirx.And)
elementwise(ops.Or)(tirx.Or)
elementwise(ops.Xor)(differ)
elementwise(ops.BitwiseAnd)(lambda x, y: x & y)
elementwise(ops.BitwiseOr)(lambda x, y: x | y)
elementwise(ops.BitwiseXor)(lambda x, y: x ^ y)
elementwise(ops.BitwiseNot)(tirx.bitwise_not)
elementwise(ops.IsNan)(is_nan)


@lowering(ops.Select)
def select(
    ctx: Context, op: ops.Select, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Compute both and choose.

    They are named first: TVM makes a branch of a choice that loads, which is ten times as slow.
    """

    def choose(condition: Expr, x: Expr, y: Expr) -> Expr:
        return tirx.Select(condition, ctx.let(x), ctx.let(y))

    return (ctx.elementwise(compute_dtype(outputs[0].dtype), choose, *inputs),)


@elementwise(ops.Equal)
def equal(x: Expr, y: Expr) -> Expr:
    """Return ``x == y``."""
    return tirx.Not(differ(x, y)) if dtype_of(x) == "bool" else tirx.EQ(x, y)


@elementwise(ops.Not)
def negation(x: Expr) -> Expr:
    """Return ``not x``.

    TVM rewrites a negated comparison to its opposite, which NaN fulfils no more than the
    comparison; it does not look into a byte.
    """
    return tirx.EQ(tirx.Cast("int8", x), tirx.const(0, "int8"))


@elementwise(ops.ShiftLeft)
def shift_left(x: Expr, y: Expr) -> Expr:
    """Return ``x * 2**y``, or 0 where the shift is outside the width."""
    inside, amount = _amount(x, y)
    return tirx.Select(inside, x << amount, like(0, x))


@elementwise(ops.ShiftRight)
def shift_right(x: Expr, y: Expr) -> Expr:
    """Return ``floor(x / 2**y)``, or the sign where the shift is outside the width."""
    inside, amount = _amount(x, y)
    sign = like(0, x)
    if dtype_of(x).startswith("int"):
        sign = tirx.Select(x < like(0, x), like(-1, x), sign)
    return tirx.Select(inside, x >> amount, sign)


@lowering(ops.IsInf)
def is_inf(
    ctx: Context, op: ops.IsInf, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Compare with the wanted infinities."""

    def test(x: Expr) -> Expr:
        found = tirx.const(False, "bool")
        if op.positive:
            found = tirx.EQ(x, like(float("inf"), x))
        if op.negative:
            found = tirx.Or(found, tirx.EQ(x, like(float("-inf"), x)))
        return found

    return (ctx.elementwise("bool", test, *inputs),)


def _amount(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """Return whether the shift is within the width of the type, and a shift that always is."""
    width = int(dtype_of(x).lstrip("uint"))
    # Shifting out the bits of a valid amount leaves something of any other, negative or large.
    inside = tirx.EQ(y >> like(width.bit_length() - 1, y), like(0, y))
    return inside, tirx.Select(inside, y, like(0, y))
