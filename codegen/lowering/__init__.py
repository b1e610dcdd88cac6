# SPDX-License-Identifier: MIT
"""Lowering of primitive ops to loops in TE, one file per op family."""

from . import (
    activation,
    arithmetic,
    cast,
    comparison,
    convolution,
    decomposition,
    elementary,
    gather,
    linear,
    random,
    reduction,
    region,
    resampling,
    sampling,
    shape,
    sorting,
    window,
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
    "convolution",
    "decomposition",
    "elementary",
    "gather",
    "linear",
    "lowering",
    "lowering_of",
    "random",
    "reduction",
    "region",
    "resampling",
    "sampling",
    "shape",
    "sorting",
    "window",
]
