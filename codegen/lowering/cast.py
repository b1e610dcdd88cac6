# SPDX-License-Identifier: MIT
"""Lowering of conversions between element types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from ...ir import TensorType, ops
from ...ir.types import INTEGERS
from .base import Context, Expr, Tensor, dtype_of, is_float, lowering
from .elementwise import is_nan, like
from .storage import MINIFLOATS, SCALE, compute_dtype, decode, is_rounded, storage_dtype


@lowering(ops.Cast)
def cast(
    ctx: Context, op: ops.Cast, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Return the numbers in the compute type of the new element type.

    The framework rounds results to the element type without saturating; what the op says
    beyond that is done here.
    """
    return (ctx.elementwise(compute_dtype(op.dtype), lambda x: converted(ctx, op, x), *inputs),)


def converted(ctx: Context, op: ops.Cast, x: Expr) -> Expr:
    """Return one number converted."""
    if op.dtype == "bool":
        return x if dtype_of(x) == "bool" else _nonzero(x)
    if op.dtype in INTEGERS:
        whole = truncated(ctx, x, op.dtype) if is_float(x) else x
        return _as(compute_dtype(op.dtype), whole)
    if op.dtype == SCALE:
        return _to_scale(ctx, op, x)
    if op.dtype == "float16" and dtype_of(x) == "float64":
        return _round_to_odd(ctx, x)
    x = ctx.let(_as(compute_dtype(op.dtype), x))
    if op.dtype in MINIFLOATS and op.saturate:
        largest = MINIFLOATS[op.dtype].maximum
        x = tirx.Select(x > like(largest, x), like(largest, x), x)
        x = tirx.Select(x < like(-largest, x), like(-largest, x), x)
    return x


def _nonzero(x: Expr) -> Expr:
    different = tirx.NE(x, like(0, x))
    # TVM compares such that NaN neither equals 0 nor differs from it.
    return tirx.Or(different, is_nan(x)) if is_float(x) else different


def truncated(ctx: Context, x: Expr, dtype: str) -> Expr:
    """Return a float as an integer that still has to be cut to the width of ``dtype``."""
    if dtype == "uint64":
        negative = _as("uint64", _clamped(ctx, x, "int64"))
        return tirx.Select(x < like(0, x), negative, _clamped(ctx, x, "uint64"))
    return _clamped(ctx, x, "int64" if dtype in ("int64", "uint32") else "int32")


def _clamped(ctx: Context, x: Expr, dtype: str) -> Expr:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    # The upper bound may round up to the first number that does not fit.
    above, below = ctx.let(x >= like(high, x)), ctx.let(x <= like(low, x))
    outside = tirx.Or(tirx.Or(above, below), is_nan(x))
    inside = tirx.Cast(dtype, tirx.Select(outside, like(0, x), x))
    inside = tirx.Select(below, tirx.const(low, dtype), inside)
    return tirx.Select(above, tirx.const(high, dtype), inside)


def _as(dtype: str, x: Expr) -> Expr:
    return x if dtype_of(x) == dtype else tirx.Cast(dtype, x)


def _round_to_odd(ctx: Context, x: Expr) -> Expr:
    """Return a float64 as the float32 whose rounding to fewer digits is that of the float64.

    The truncated number with its last bit set when anything was cut off: a second rounding
    then sees on which side of a tie the number was.

    References:
        S. Boldo and G. Melquiond, Emulation of FMA and correctly rounded sums: proved
        algorithms using rounding to odd, IEEE Transactions on Computers 57(4), 2008.
    """
    near = ctx.let(tirx.Cast("float32", x))
    back = ctx.let(tirx.Cast("float64", near))
    bits = ctx.let(T.reinterpret("uint32", near))
    one = tirx.const(1, "uint32")
    cut = tirx.Select(T.fabs(back) > T.fabs(x), bits - one, bits)
    return T.reinterpret("float32", tirx.Select(tirx.NE(back, x), cut | one, bits))


def _to_scale(ctx: Context, op: ops.Cast, x: Expr) -> Expr:
    """Return the power of two next to ``x``, or NaN."""
    x = ctx.let(_as("float64", x))
    bits = ctx.let(T.reinterpret("int64", x))
    mantissa = bits & tirx.const((1 << 52) - 1, "int64")
    carry = {"down": 1 << 52, "nearest": 1 << 51, "up": 1}[op.rounding]
    carried = tirx.Cast("int64", mantissa >= tirx.const(carry, "int64"))
    code = ctx.let((bits >> tirx.const(52, "int64")) + carried - tirx.const(1023 - 127, "int64"))
    low, high = tirx.const(0, "int64"), tirx.const(254, "int64")
    invalid = tirx.Or(x < like(0, x), is_nan(x))
    if op.saturate:
        # -0 has the sign bit set and counts as 0.
        code = tirx.Select(tirx.EQ(x, like(0, x)), low, tirx.max(tirx.min(code, high), low))
    else:
        invalid = tirx.Or(invalid, tirx.Or(code < low, code > high))
    code = tirx.Select(invalid, tirx.const(255, "int64"), code)
    return decode(SCALE, tirx.Cast("uint8", code))


@lowering(ops.Bitcast)
def bitcast(
    ctx: Context, op: ops.Bitcast, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Read the stored bits as the other type."""
    (x,) = inputs
    form = x if x.stored is None else x.stored
    stored = ctx.elementwise(
        storage_dtype(op.dtype), lambda bits: _reinterpreted(bits, op.dtype), form
    )
    if not is_rounded(op.dtype):
        return (stored,)
    decoded = ctx.elementwise(compute_dtype(op.dtype), lambda b: decode(op.dtype, b), stored)
    return (replace(decoded, stored=stored),)


def _reinterpreted(bits: Expr, dtype: str) -> Expr:
    if dtype_of(bits) == "bool":
        bits = tirx.Cast("uint8", bits)
    if dtype == "bool":
        return tirx.NE(bits, like(0, bits))
    target = storage_dtype(dtype)
    return bits if dtype_of(bits) == target else T.reinterpret(target, bits)
