# SPDX-License-Identifier: MIT
"""ONNX models that were exported for training, stated for inference: who trains decides."""

from __future__ import annotations

from dataclasses import replace

from ..ir import Graph, Node, Value
from ..ir.ops import Onnx


def for_inference(graph: Graph) -> Graph:
    """Return an imported graph whose dropouts and batch norms are in inference mode.

    A trainer sets the mode by the program it makes, see
    :func:`~ranvier.training.programs.learning_graph`; a mode that the model states would hold in
    evaluation and after export too. Batch norms whose new statistics are read stay as they are.
    """
    read = {v for node in graph.nodes for v in node.inputs} | set(graph.outputs)
    return replace(graph, nodes=tuple(_restated(node, read) for node in graph.nodes))


def _restated(node: Node, read: set[Value]) -> Node:
    if not isinstance(node.op, Onnx) or node.op.domain:
        return node
    if node.op.type == "Dropout" and node.op.version >= 12:
        kept = [k for k, position in enumerate(node.op.operands) if position < 2]
        op = replace(node.op, operands=tuple(node.op.operands[k] for k in kept))
        return replace(node, op=op, inputs=tuple(node.inputs[k] for k in kept))
    if node.op.type == "BatchNormalization" and not read.intersection(node.outputs[1:]):
        settings = tuple(s for s in node.op.settings if s[0] != "training_mode")
        op = replace(node.op, settings=settings, results=node.op.results[:1])
        return replace(node, op=op, outputs=node.outputs[:1])
    return node
