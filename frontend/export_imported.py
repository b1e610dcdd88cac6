# SPDX-License-Identifier: MIT
"""Imported graphs back to ONNX as they were stated: symbolic dimensions and regions are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, defs, helper

from ..errors import UnsupportedError
from ..ir import ArrayAttribute, Graph, Node, OptionalType, SequenceType, Type, UnknownType, Value
from ..ir.ops import Onnx
from ..ir.parser import parse_graph
from .export import tensor, type_proto
from .model import ImportedModel


def export_imported(model: ImportedModel, opset: int | None = None) -> ModelProto:
    """Return an imported model as ONNX, at the opsets that it imports.

    Args:
        model: as :func:`ranvier.frontend.load` gives it.
        opset: version of ai.onnx that is wanted; only the model's own is possible.

    Raises:
        UnsupportedError: another opset is wanted, for which operators must be converted.
    """
    own = model.opsets.get("", 0)
    if opset not in (None, own):
        raise UnsupportedError(
            f"{model.file}: is stated at opset {own}; opset {opset} needs a conversion, which is "
            "for given shapes: specialise the model, then export the canonical graph"
        )
    writer = _Writer(set())
    graph = writer.graph(model.graph, {}, model.output_types)
    imports = [helper.make_opsetid(*item) for item in model.opsets.items()]
    proto = helper.make_model(graph, opset_imports=imports, producer_name="ranvier")
    proto.ir_version = max(model.ir_version, 4)  # parameters need not be inputs from 4 on
    helper.set_model_props(proto, dict(model.metadata))
    return proto


class _Writer:
    """Writes graphs whose values have names that are unique in the whole model."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def graph(
        self, graph: Graph, outer: Mapping[Value, str], types: Sequence[Type] = ()
    ) -> GraphProto:
        """Return a graph; ``outer`` names the inputs that are captured."""
        names = dict(outer)
        inputs = [v for v in graph.inputs if v not in outer]
        names.update((v, self._unused(v.name)) for v in inputs)
        written = {v.name: v for v in _reached(graph)}
        parameters = []
        for key, array in graph.parameters.items():
            if key in written:
                names[written[key]] = self._unused(key)
                parameters.append(tensor(array, names[written[key]]))
        nodes = []
        for node in graph.nodes:
            names.update((v, self._unused(v.name)) for v in node.outputs)
            nodes.append(self._node(node, names))
        results = []
        for value in graph.outputs:
            name = names[value]
            if value in outer or name in results:  # outputs belong to their graph, once
                name = self._unused(name)
                nodes.append(helper.make_node("Identity", [names[value]], [name]))
            results.append(name)
        return helper.make_graph(
            nodes,
            graph.name,
            [_info(names[v], v.type) for v in inputs],
            [_info(n, types[k] if types else UnknownType()) for k, n in enumerate(results)],
            parameters,
        )

    def _unused(self, stem: str) -> str:
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name

    def _node(self, node: Node, names: Mapping[Value, str]) -> NodeProto:
        op = node.op
        if not isinstance(op, Onnx):
            raise UnsupportedError(f"export: op {op.name} is none of an imported graph")
        count = len(op.operands)
        inputs = _spread(op.operands, [names[v] for v in node.inputs[:count]])
        outputs = _spread(op.results, [names[v] for v in node.outputs])
        captured = [names[v] for v in node.inputs[count:]]
        proto = helper.make_node(op.type, inputs, outputs, node.source or None, domain=op.domain)
        kinds = {k: a.type for k, a in _schema_attributes(op).items()}
        for key, value in op.settings:
            made = self._setting(key, value, kinds.get(key), captured)
            proto.attribute.append(made)
        return proto

    def _setting(self, key: str, value: Any, kind: Any, captured: Sequence[str]) -> AttributeProto:
        if kind == defs.OpSchema.AttrType.TYPE_PROTO:
            # The type's text is a declaration of the textual form.
            (declared,) = parse_graph(f"graph @t(%t: {value}) {{ return }}").inputs
            return helper.make_attribute(key, type_proto(declared.type))
        if value == ():
            return helper.make_attribute(key, [], attr_type=kind.value if kind else None)
        if isinstance(value, tuple):
            return helper.make_attribute(key, [self._plain(v, key, captured) for v in value])
        return helper.make_attribute(key, self._plain(value, key, captured))

    def _plain(self, value: Any, key: str, captured: Sequence[str]) -> Any:
        if isinstance(value, ArrayAttribute):
            return tensor(value.array, key)
        if isinstance(value, Graph):
            # Captured values are the region's last inputs, in the order of the node's operands.
            formal = value.inputs[len(value.inputs) - len(captured) :] if captured else ()
            return self.graph(value, dict(zip(formal, captured, strict=True)))
        return value


def _schema_attributes(op: Onnx) -> Mapping[str, Any]:
    return defs.get_schema(op.type, op.version, op.domain).attributes


def _spread(positions: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return names at their positions, with "" at those that are absent."""
    spread = [""] * (max(positions, default=-1) + 1)
    for position, name in zip(positions, names, strict=True):
        spread[position] = name
    return spread


def _reached(graph: Graph) -> list[Value]:
    return [v for node in graph.nodes for v in node.inputs] + list(graph.outputs)


def _info(name: str, type: Type) -> Any:
    if isinstance(type, SequenceType | OptionalType) and isinstance(type.element, UnknownType):
        type = UnknownType()
    if isinstance(type, UnknownType):
        return helper.make_empty_tensor_value_info(name)
    return helper.make_value_info(name, type_proto(type))
