# SPDX-License-Identifier: MIT
"""How ops are written as ONNX operators, by family; importing this package fills the registry."""

from . import (
    boxes,
    composite,
    control,
    elementwise,
    movement,
    neural,
    recurrent,
    reduction,
    resampling,
    selection,
    text,
)

__all__ = [
    "boxes",
    "composite",
    "control",
    "elementwise",
    "movement",
    "neural",
    "recurrent",
    "reduction",
    "resampling",
    "selection",
    "text",
]
