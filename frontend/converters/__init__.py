# SPDX-License-Identifier: MIT
"""The converters of ONNX operators, by family; importing this package registers them all."""

from . import (
    activation,
    control,
    creation,
    internal,
    loop,
    reduction,
    selection,
    sequence,
    slicing,
    tensor,
    text,
)

__all__ = [
    "activation",
    "control",
    "creation",
    "internal",
    "loop",
    "reduction",
    "selection",
    "sequence",
    "slicing",
    "tensor",
    "text",
]
