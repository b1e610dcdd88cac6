# SPDX-License-Identifier: MIT
"""The converters of ONNX operators, by family; importing this package registers them all."""

from . import (
    activation,
    attention,
    control,
    creation,
    dropout,
    internal,
    loop,
    loss,
    normalization,
    recurrent,
    reduction,
    selection,
    sequence,
    slicing,
    tensor,
    text,
)

__all__ = [
    "activation",
    "attention",
    "control",
    "creation",
    "dropout",
    "internal",
    "loop",
    "loss",
    "normalization",
    "recurrent",
    "reduction",
    "selection",
    "sequence",
    "slicing",
    "tensor",
    "text",
]
