# SPDX-License-Identifier: MIT
"""Lowering of primitive ops to loops in TE, one file per op family."""

from . import (
    activation,
    arithmetic,
    cast,
    comparison,
    decomposition,
    elementary,
    gather,
    random,
    reduction,
    shape,
    sorting,
)
from .base import LOWERINGS, Context, Tensor, lowering, lowering_of

__all__ = [
    "LOWERINGS",
    "Context",
    "Tensor",
    "activation",
    "arithmetic",
    "cast",
    "comparison",
    "decomposition",
    "elementary",
    "gather",
    "lowering",
    "lowering_of",
    "random",
    "reduction",
    "shape",
    "sorting",
]
