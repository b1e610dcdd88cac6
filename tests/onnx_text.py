# SPDX-License-Identifier: MIT
"""ONNX models written as text, as the tests of the frontend have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx.parser
from onnx import ModelProto

from ranvier.frontend import ImportedModel, Stage, StagedRunner, interpreted, load
from ranvier.ir import verify


def parse(graph: str, opset: int = 20, ir: int = 10) -> ModelProto:
    """Return the model of a graph in the syntax of ``onnx.parser``."""
    header = f'<ir_version: {ir}, opset_import: ["" : {opset}, "local" : 1]>\n'
    model: ModelProto = onnx.parser.parse_model(header + graph)
    return model


def imported(graph: str, opset: int = 20, ir: int = 10) -> ImportedModel:
    """Load the model of a graph."""
    return load(parse(graph, opset, ir).SerializeToString())


def stages(graph: str, *inputs: Any) -> tuple[list[Stage], list[Any]]:
    """Run a model with the interpreter; return its stages, verified, and its outputs."""
    model = imported(graph)
    runner = StagedRunner(model, interpreted)
    found = [step.stage for step in runner.trace(inputs)]
    for stage in found:
        verify(stage.graph, ("ssa", "typed", "canonical"))
        if stage.rest is not None:
            verify(stage.rest)
    return found, runner(inputs)


def ops_of(stage: Stage) -> Sequence[str]:
    """Return the names of the ops of a stage's graph."""
    return [node.op.name for node in stage.graph.nodes]
