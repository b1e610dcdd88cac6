# SPDX-License-Identifier: MIT
"""Lowering of elementwise arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from ...ir import TensorType, ops
from .base import (
    Context,
    Expr,
    Tensor,
    dtype_of,
    is_float,
    lowering,
    propagating_max,
    propagating_min,
    wrapping,
)
from .elementwise import differ, elementwise, libm, like
from .imperative import load, loops, repeat, statements, store, when


@elementwise(ops.Add)
def add(x: Expr, y: Expr) -> Expr:
    """Return ``x + y``."""
    return wrapping(lambda a, b: a + b, x, y)


@elementwise(ops.Sub)
def sub(x: Expr, y: Expr) -> Expr:
    """Return ``x - y``."""
    return wrapping(lambda a, b: a - b, x, y, signed=True)


@elementwise(ops.Mul)
def mul(x: Expr, y: Expr) -> Expr:
    """Return ``x * y``."""
    return wrapping(lambda a, b: a * b, x, y)


@elementwise(ops.Neg)
def neg(x: Expr) -> Expr:
    """Return ``-x``."""
    # 0 - x would be 0.0 for x = 0.0; for unsigned integers TVM takes it to be 0.
    return x * like(-1, x) if is_float(x) else add(tirx.bitwise_not(x), like(1, x))


@elementwise(ops.Div)
def div(x: Expr, y: Expr) -> Expr:
    """Return ``x / y``, truncated for integers."""
    if is_float(x):
        return tirx.Div(x, y)
    quotient = tirx.truncdiv(x, _safe_divisor(y))
    return tirx.Select(tirx.EQ(y, like(0, y)), like(0, x), _unless_minus_one(y, neg(x), quotient))


@elementwise(ops.Rem)
def rem(x: Expr, y: Expr) -> Expr:
    """Return the remainder with the sign of ``x``."""
    if is_float(x):
        return libm("fmod", x, y)
    remainder = tirx.truncmod(x, _safe_divisor(y))
    return tirx.Select(tirx.EQ(y, like(0, y)), like(0, x), remainder)


@elementwise(ops.Mod)
def mod(x: Expr, y: Expr) -> Expr:
    """Return the remainder with the sign of ``y``."""
    zero = like(0, x)

    def adjusted(r: Expr) -> Expr:
        opposite = differ(r < zero, y < zero)
        if not is_float(x):
            return tirx.Select(tirx.And(tirx.NE(r, zero), opposite), r + y, r)
        # Constants would not do: TVM takes -0.0 and 0.0 for the same.
        signed_zero = tirx.Select(y < zero, neg(magnitude(r)), magnitude(r))
        return tirx.Select(tirx.EQ(r, zero), signed_zero, tirx.Select(opposite, r + y, r))

    remainder = tirx.Var("remainder", x.ty)
    return tirx.Let(remainder, rem(x, y), adjusted(remainder))


@lowering(ops.Pow)
def power(
    ctx: Context, op: ops.Pow, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Return ``x**y``; integers by repeated squaring."""
    dtype = inputs[0].dtype
    if dtype.startswith("float"):
        return (ctx.elementwise(dtype, T.pow, *inputs),)
    return (ctx.elementwise(dtype, _signed_power, *inputs, _unsigned_power(ctx, *inputs)),)


@elementwise(ops.Maximum)
def maximum(x: Expr, y: Expr) -> Expr:
    """Return the larger number, or NaN."""
    return propagating_max(x, y)


@elementwise(ops.Minimum)
def minimum(x: Expr, y: Expr) -> Expr:
    """Return the smaller number, or NaN."""
    return propagating_min(x, y)


@elementwise(ops.Atan2)
def atan2(x: Expr, y: Expr) -> Expr:
    """Return the angle of the point (y, x)."""
    return libm("atan2", x, y)


@elementwise(ops.Abs)
def magnitude(x: Expr) -> Expr:
    """Return ``|x|``."""
    if is_float(x):
        return T.fabs(x)
    return tirx.Select(x < like(0, x), neg(x), x) if dtype_of(x).startswith("int") else x


@elementwise(ops.Sign)
def sign(x: Expr) -> Expr:
    """Return -1, 0, 1 or NaN."""
    zero, one = like(0, x), like(1, x)
    if dtype_of(x).startswith("uint"):
        return tirx.Select(x > zero, one, zero)
    # What is neither positive nor negative nor zero is NaN.
    neither = tirx.Select(tirx.EQ(x, zero), zero, x)
    return tirx.Select(x > zero, one, tirx.Select(x < zero, like(-1, x), neither))


@elementwise(ops.Ceil)
def ceil(x: Expr) -> Expr:
    """Return ``x`` rounded up."""
    return tirx.ceil(x)


@elementwise(ops.Floor)
def floor(x: Expr) -> Expr:
    """Return ``x`` rounded down."""
    return tirx.floor(x)


@elementwise(ops.Round)
def nearest(x: Expr) -> Expr:
    """Return ``x`` rounded to nearest, halves to even."""
    return tirx.nearbyint(x)


@elementwise(ops.Trunc)
def trunc(x: Expr) -> Expr:
    """Return ``x`` rounded towards zero."""
    return tirx.trunc(x)


@elementwise(ops.Reciprocal)
def reciprocal(x: Expr) -> Expr:
    """Return ``1 / x``."""
    return tirx.Div(like(1, x), x)


def _safe_divisor(y: Expr) -> Expr:
    """Return ``y``, or 1 where dividing by it would trap: at 0, and -1 for the least integer."""
    safe = tirx.Select(tirx.EQ(y, like(0, y)), like(1, y), y)
    return _unless_minus_one(y, like(1, y), safe)


def _unless_minus_one(y: Expr, special: Expr, usual: Expr) -> Expr:
    if not dtype_of(y).startswith("int"):
        return usual
    return tirx.Select(tirx.EQ(y, like(-1, y)), special, usual)


def _signed_power(x: Expr, y: Expr, power: Expr) -> Expr:
    """Return ``power``, which is ``x**y`` for positive ``y``, or 1 / x**-y truncated."""
    if not dtype_of(x).startswith("int"):
        return power
    one, zero = like(1, x), like(0, x)
    sign = tirx.Select(tirx.EQ(y & one, one), x, one)
    inverse = tirx.Select(tirx.EQ(x, like(-1, x)), sign, zero)
    inverse = tirx.Select(tirx.EQ(x, one), one, inverse)
    return tirx.Select(y < zero, inverse, power)


def _unsigned_power(ctx: Context, x: Tensor, y: Tensor) -> Tensor:
    """Return ``x**y`` modulo the width of the type, ``y`` taken as unsigned."""
    dtype = x.dtype if x.dtype.startswith("uint") else "u" + x.dtype
    base = ctx.elementwise(dtype, lambda a, _: tirx.Cast(dtype, a), x, y)
    exponent = ctx.elementwise(dtype, lambda _, b: tirx.Cast(dtype, b), x, y)
    one = tirx.const(1, dtype)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        square, rest = ((0,), (1,))
        result, scratch = outs

        def build() -> None:
            with loops(base.shape) as at:
                store(result, at, one)
                store(scratch, square, load(ins[0], at))
                store(scratch, rest, load(ins[1], at))
                with repeat(load(scratch, rest) > tirx.const(0, dtype)):
                    with when(tirx.EQ(load(scratch, rest) & one, one)):
                        store(result, at, load(result, at) * load(scratch, square))
                    store(scratch, square, load(scratch, square) * load(scratch, square))
                    store(scratch, rest, load(scratch, rest) >> one)

        return statements(build)

    if 0 in base.shape:
        return ctx.elementwise(x.dtype, lambda a, _: a, x, y)
    specs = [(base.shape, dtype), ((2,), dtype)]
    result, _ = ctx.extern(specs, [base, exponent], body, "power")
    return ctx.elementwise(x.dtype, lambda a: tirx.Cast(x.dtype, a), result)
