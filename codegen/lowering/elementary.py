# SPDX-License-Identifier: MIT
"""Lowering of elementary functions: polynomials for the common ones in float32, else C's library.

Narrower floats are computed with in float32.
"""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.script import tirx as T

from ...ir import ops
from . import fast_math
from .base import Expr
from .elementwise import elementwise, libm, like
from .fast_math import for_float32

elementwise(ops.Exp)(for_float32(fast_math.exp, T.exp))
elementwise(ops.Log)(for_float32(fast_math.log, T.log))
elementwise(ops.Sqrt)(T.sqrt)
elementwise(ops.Sin)(T.sin)
elementwise(ops.Cos)(T.cos)
elementwise(ops.Expm1)(for_float32(fast_math.expm1, partial(libm, "expm1")))
elementwise(ops.Log1p)(for_float32(fast_math.log1p, partial(libm, "log1p")))
elementwise(ops.Tan)(partial(libm, "tan"))
elementwise(ops.Asin)(partial(libm, "asin"))
elementwise(ops.Acos)(partial(libm, "acos"))
elementwise(ops.Atan)(partial(libm, "atan"))
elementwise(ops.Sinh)(partial(libm, "sinh"))
elementwise(ops.Cosh)(partial(libm, "cosh"))
elementwise(ops.Tanh)(for_float32(fast_math.tanh, partial(libm, "tanh")))
elementwise(ops.Asinh)(partial(libm, "asinh"))
elementwise(ops.Acosh)(partial(libm, "acosh"))
elementwise(ops.Atanh)(partial(libm, "atanh"))
elementwise(ops.Erf)(for_float32(fast_math.erf, partial(libm, "erf")))


@elementwise(ops.Rsqrt)
def rsqrt(x: Expr) -> Expr:
    """Return ``1 / sqrt(x)``; the hardware's estimate has too few digits."""
    return tirx.Div(like(1, x), T.sqrt(x))


def _sigmoid(x: Expr) -> Expr:
    """Return the logistic function, through ``exp`` of negative numbers only."""
    small = tirx.Var("small", x.ty)
    numerator = tirx.Select(x < like(0, x), small, like(1, x))
    quotient = tirx.Div(numerator, small + like(1, x))
    return tirx.Let(small, T.exp(T.fabs(x) * like(-1, x)), quotient)


elementwise(ops.Sigmoid)(for_float32(fast_math.sigmoid, _sigmoid))
