# SPDX-License-Identifier: MIT
"""The converters of ONNX operators, by family; importing this package registers them all."""

from . import control, internal, loop, sequence, text

__all__ = ["control", "internal", "loop", "sequence", "text"]
