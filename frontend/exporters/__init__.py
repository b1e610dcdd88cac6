# SPDX-License-Identifier: MIT
"""How ops are written as ONNX operators, by family; importing this package fills the registry."""

from . import composite, control, elementwise, movement, neural, reduction, selection

__all__ = ["composite", "control", "elementwise", "movement", "neural", "reduction", "selection"]
