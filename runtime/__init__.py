# SPDX-License-Identifier: MIT
"""Runs artifacts: no compiler, no onnx, no passes."""

from .artifact import Artifact, Specialisation, is_artifact
from .buffers import aligned_empty
from .keys import Key, key_of
from .machine import TargetInfo
from .manifest import ModelInfo
from .session import Profile, Session

__all__ = [
    "Artifact",
    "Key",
    "ModelInfo",
    "Profile",
    "Session",
    "Specialisation",
    "TargetInfo",
    "aligned_empty",
    "is_artifact",
    "key_of",
]
