# SPDX-License-Identifier: MIT
"""What lowerings of elementwise ops share: registration, wrapping integers, calls of libm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from ...ir import TensorType
from ...ir.op import Op
from .base import Context, Expr, Tensor, dtype_of, is_float, lowering
from .storage import compute_dtype

Scalar = Callable[..., Expr]


def elementwise(op: type[Op]) -> Callable[[Scalar], Scalar]:
    """Register the decorated function of scalars as the lowering of ``op``."""

    def register(function: Scalar) -> Scalar:
        @lowering(op)
        def lower(
            ctx: Context, op: Any, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
        ) -> Sequence[Tensor]:
            return (ctx.elementwise(compute_dtype(outputs[0].dtype), function, *inputs),)

        return function

    return register


def libm(name: str, *operands: Expr) -> Expr:
    """Return a call of a function of the C mathematics library.

    TVM's own expansions of these functions lose digits near zero and in the tails.
    """
    dtype = dtype_of(operands[0])
    suffix = "f" if dtype == "float32" else ""
    return tirx.call_pure_extern(dtype, name + suffix, *operands)


def is_nan(x: Expr) -> Expr:
    """Return whether a float is NaN."""
    return T.isnan(x)


def differ(x: Expr, y: Expr) -> Expr:
    """Return whether two truth values differ; LLVM's comparisons do not take them."""
    return tirx.Or(tirx.And(x, tirx.Not(y)), tirx.And(tirx.Not(x), y))


def like(number: float | int | bool, x: Expr) -> Expr:
    """Return a constant of the type of ``x``."""
    return tirx.const(number, dtype_of(x))


__all__ = ["Scalar", "differ", "elementwise", "is_float", "is_nan", "libm", "like"]
