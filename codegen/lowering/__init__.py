# SPDX-License-Identifier: MIT
"""Lowering of primitive ops to loops in TE, one file per op family."""

from . import arithmetic
from .base import LOWERINGS, Context, Tensor, lowering, lowering_of

__all__ = ["LOWERINGS", "Context", "Tensor", "arithmetic", "lowering", "lowering_of"]
