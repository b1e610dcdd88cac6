# SPDX-License-Identifier: MIT
"""ONNX in and out: loading, conversion to canonical graphs, staging."""

from .convert import Conversion, Expansion, converter
from .load import load
from .model import ImportedModel
from .specialise import NeedsInputs, Slot, Stage, specialise
from .staged import StagedRunner, interpreted

__all__ = [
    "Conversion",
    "Expansion",
    "ImportedModel",
    "NeedsInputs",
    "Slot",
    "Stage",
    "StagedRunner",
    "converter",
    "interpreted",
    "load",
    "specialise",
]
