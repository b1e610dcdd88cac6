# SPDX-License-Identifier: MIT
"""Canonical graphs as models: what the builder makes, or a text holds, in one stage."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from ..ir import Emitter, Graph, Node, TensorType, Value, ops, verify
from ..ir.structure import Structure
from .model import ImportedModel
from .specialise import Slot, Stage, describe


def model_of(graph: Graph) -> ImportedModel:
    """Return a canonical graph of fixed shapes in the form of a loaded model.

    Raises:
        InputError: the graph is not canonical, or a size is symbolic.
        VerificationError: the graph is not well formed.
    """
    for node in graph.walk():
        if isinstance(node.op, ops.Onnx):
            raise InputError(
                f"graph '{graph.name}' holds the ONNX operator {node.op.type}; pass the model "
                "that it is from, which is converted for the shapes that it meets"
            )
    for value in graph.inputs:
        if not isinstance(value.type, TensorType) or not value.type.is_static:
            raise InputError(
                f"graph '{graph.name}': input '{value.name}' is {value.type}, expected a tensor of "
                "fixed sizes; build the graph for the sizes that are wanted"
            )
    verify(graph)
    return ImportedModel(graph, graph.name, tuple(v.type for v in graph.outputs), ir_version=0)


def whole(graph: Graph, structures: Sequence[Structure]) -> Stage:
    """Return a canonical graph as a stage after which nothing is left.

    Slices that are gathered at positions from outside are checked to exist, as converters do.

    Raises:
        InputError: the types are not those of the graph's inputs.
    """
    for value, structure in zip(graph.inputs, structures, strict=True):
        if structure != value.type:
            raise InputError(
                f"input '{value.name}': expected {value.type}, found {describe(structure)}"
            )
    emit = Emitter.continuing(graph)
    emit.nodes.extend(graph.nodes)
    checks = [check for node in graph.nodes for check in _check(emit, graph, node)]
    count = len(graph.outputs)
    return Stage(
        graph=emit.graph(
            graph.name, graph.inputs, (*graph.outputs, *(f for f, _ in checks)), graph.parameters
        ),
        inputs=tuple(Slot(v.name, s) for v, s in zip(graph.inputs, structures, strict=True)),
        results=tuple(Slot(v.name, _tensor(v)) for v in graph.outputs),
        checks=tuple((count + k, message) for k, (_, message) in enumerate(checks)),
    )


def _check(emit: Emitter, graph: Graph, node: Node) -> list[tuple[Value, str]]:
    """Emit whether the positions that a gather reads exist."""
    if not isinstance(node.op, ops.Gather) or node.inputs[1].name in graph.parameters:
        return []
    size = _tensor(node.inputs[0]).dims[node.op.axis]
    flag = emit(ops.InRange(-size, size), node.inputs[1])
    return [(flag, f"{node.source or node.output.name}: an index is outside [-{size}, {size})")]


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
