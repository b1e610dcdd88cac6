# SPDX-License-Identifier: MIT
"""Lowering of the rectifier, the only activation function that is a primitive."""

from __future__ import annotations

from ...ir import ops
from .base import Expr, propagating_max
from .elementwise import elementwise, like


@elementwise(ops.Relu)
def relu(x: Expr) -> Expr:
    """Return the larger of ``x`` and 0; NaN stays NaN."""
    return propagating_max(x, like(0, x))
