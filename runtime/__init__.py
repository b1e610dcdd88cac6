# SPDX-License-Identifier: MIT
"""Runs artifacts: no compiler, no onnx, no passes."""

from .artifact import Artifact, Specialisation
from .keys import Key, key_of
from .machine import TargetInfo
from .manifest import ModelInfo, Stage

__all__ = ["Artifact", "Key", "ModelInfo", "Specialisation", "Stage", "TargetInfo", "key_of"]
