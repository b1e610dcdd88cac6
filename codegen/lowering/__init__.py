# SPDX-License-Identifier: MIT
"""Lowering of primitive ops to loops in TE, one file per op family."""

from . import arithmetic, gather, reduction, shape
from .base import LOWERINGS, Context, Tensor, lowering, lowering_of

__all__ = [
    "LOWERINGS",
    "Context",
    "Tensor",
    "arithmetic",
    "gather",
    "lowering",
    "lowering_of",
    "reduction",
    "shape",
]
