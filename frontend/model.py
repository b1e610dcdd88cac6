# SPDX-License-Identifier: MIT
"""The result of loading an ONNX file: the imported graph and what the file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..ir import Graph, Type


@dataclass(frozen=True)
class ImportedModel:
    """An ONNX model as it states itself, before any conversion.

    Attributes:
        graph: imported graph; inputs are typed as declared, everything else is unknown.
        file: name of the file, for messages.
        output_types: declared types of the outputs, in order.
        ir_version: version of the file format.
        opsets: version of each operator set that the model imports (``""`` is ai.onnx).
        producer: name and version of the tool that wrote the model.
        metadata: free key-value pairs of the model.
    """

    graph: Graph
    file: str
    output_types: tuple[Type, ...]
    ir_version: int
    opsets: Mapping[str, int] = field(default_factory=dict)
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
