# SPDX-License-Identifier: MIT
"""Lowering of elementary functions to LLVM's intrinsics and the C mathematics library."""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.script import tirx as T

from ...ir import ops
from .base import Expr
from .elementwise import elementwise, libm, like

elementwise(ops.Exp)(T.exp)
elementwise(ops.Log)(T.log)
elementwise(ops.Sqrt)(T.sqrt)
elementwise(ops.Sin)(T.sin)
elementwise(ops.Cos)(T.cos)
elementwise(ops.Expm1)(partial(libm, "expm1"))
elementwise(ops.Log1p)(partial(libm, "log1p"))
elementwise(ops.Tan)(partial(libm, "tan"))
elementwise(ops.Asin)(partial(libm, "asin"))
elementwise(ops.Acos)(partial(libm, "acos"))
elementwise(ops.Atan)(partial(libm, "atan"))
elementwise(ops.Sinh)(partial(libm, "sinh"))
elementwise(ops.Cosh)(partial(libm, "cosh"))
elementwise(ops.Tanh)(partial(libm, "tanh"))
elementwise(ops.Asinh)(partial(libm, "asinh"))
elementwise(ops.Acosh)(partial(libm, "acosh"))
elementwise(ops.Atanh)(partial(libm, "atanh"))
elementwise(ops.Erf)(partial(libm, "erf"))


@elementwise(ops.Rsqrt)
def rsqrt(x: Expr) -> Expr:
    """Return ``1 / sqrt(x)``; the hardware's estimate has too few digits."""
    return tirx.Div(like(1, x), T.sqrt(x))


@elementwise(ops.Sigmoid)
def sigmoid(x: Expr) -> Expr:
    """Return the logistic function, through ``exp`` of negative numbers only."""
    small = tirx.Var("small", x.ty)
    numerator = tirx.Select(x < like(0, x), small, like(1, x))
    quotient = tirx.Div(numerator, small + like(1, x))
    return tirx.Let(small, T.exp(T.fabs(x) * like(-1, x)), quotient)
