# SPDX-License-Identifier: MIT
"""Which initialisers of an ONNX model training changes: an ONNX model itself does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ..ir import Array, Graph, Node, Value, type_of
from ..ir.ops import Onnx
from ..ir.types import FLOATS, TensorType

_NORMS = (
    "BatchNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
)
_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DeformConv": (1, 3),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "Einsum": (0, 1, 2, 3),
    **dict.fromkeys(_NORMS, (1, 2)),
    "RMSNormalization": (1,),
    "PRelu": (1,),
    "Gather": (0,),
    "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "Add": (0, 1),
    "Mul": (0, 1),
    "Concat": (0, 1),
    "Transpose": (0,),
    "Reshape": (0,),
    "Unsqueeze": (0,),
    "Slice": (0,),
    "Expand": (0,),
    "Tile": (0,),
}
"""Positions of operands by which ONNX operators are taught."""
_STATISTICS: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}
_ROLES = {**_WEIGHTS, "BatchNormalization": (1, 2, 3, 4)}
_MADE_UP = re.compile(r"val_\d+|onnx::.*|/.*|.*Constant.*")
"""Names that exporters give to what has none in the program that they export."""

_Owners: TypeAlias = dict[str, dict[tuple[int, tuple[str, ...]], str]]
"""By name of an array that looks shared: who uses it, by which name of its own."""


def learned(graph: Graph) -> frozenset[str]:
    """Return the names of the parameters that gradients change.

    These are floats that operators use as weights, scales, shifts or embeddings, and that are
    more than a number; of norms without scale and shift of their own, which exporters give ones
    and zeros, these are not.
    """
    return frozenset(_by_role(graph, _WEIGHTS) - _neutral(graph)) - statistics(graph)


def statistics(graph: Graph) -> frozenset[str]:
    """Return the names of means and variances of batch norms."""
    return frozenset(_by_role(graph, _STATISTICS))


def untied(graph: Graph) -> Graph:
    """Return the graph with a parameter of its own for every use that only looks shared.

    Exporters store equal arrays once. Before training, the scales of all norms are ones, and
    their shifts and means zeros, so that a model which has not been trained yet would come back
    with one array for all of them. What is shared on purpose differs from a constant, as tied
    embeddings do, and stays shared, as do constants of operators that also share such an array.
    """
    parameters = dict(graph.parameters)
    nodes, copies = _without_identities(graph, parameters)
    graph = replace(graph, nodes=tuple(_renamed(node, copies) for node in nodes))
    learned = _by_role(replace(graph, parameters=parameters), _ROLES)
    shared = {k for k in learned - _neutral(graph) if _is_constant(parameters[k])}
    seen: _Owners = {name: {} for name in shared}
    nodes = [_with_own(node, parameters, seen) for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes), parameters=parameters)


def _without_identities(
    graph: Graph, parameters: dict[str, Array]
) -> tuple[list[Node], dict[Value, Value]]:
    """Give the results of Identity on a float parameter arrays of their own."""
    nodes: list[Node] = []
    copies: dict[Value, Value] = {}
    for node in graph.nodes:
        source = node.inputs[0].name if node.inputs else ""
        copied = isinstance(node.op, Onnx) and node.op.qualified == "Identity"
        if not copied or node.output in graph.outputs or not _is_many(parameters.get(source)):
            nodes.append(node)
            continue
        parameters[node.output.name] = parameters[source].copy()
        copies[node.output] = Value(node.output.name, node.inputs[0].type)
    return nodes, copies


def _renamed(node: Node, values: Mapping[Value, Value]) -> Node:
    if not values.keys() & set(node.inputs):
        return node
    return replace(node, inputs=tuple(values.get(v, v) for v in node.inputs))


def _with_own(node: Node, parameters: dict[str, Array], seen: _Owners) -> Node:
    """Replace constant operands that another operator, or role, has taken already."""
    inputs = list(node.inputs)
    used = [v.name for v in inputs if _is_many(parameters.get(v.name))]
    varied = tuple(name for name in used if not _is_constant(parameters[name]))
    for at, position in _roles(node):
        value = inputs[at]
        if value.name not in seen:
            continue
        owners = seen[value.name]
        # Without anything varied beside it, every use counts as another one.
        key = (position, varied or (str(len(owners)),))
        if key not in owners:
            owners[key] = _unused(value.name, parameters) if owners else value.name
            parameters[owners[key]] = parameters[value.name].copy()
        inputs[at] = Value(owners[key], value.type)
    return replace(node, inputs=tuple(inputs))


def _roles(node: Node) -> Iterator[tuple[int, int]]:
    """Yield the operands in a role: which input they are, and the position in the signature."""
    if isinstance(node.op, Onnx) and not node.op.domain:
        for at, position in enumerate(node.op.operands):
            if position in _ROLES.get(node.op.type, ()):
                yield at, position


def _unused(name: str, parameters: Mapping[str, Array]) -> str:
    number = 2
    while f"{name}.{number}" in parameters:
        number += 1
    return f"{name}.{number}"


def _by_role(graph: Graph, roles: Mapping[str, Sequence[int]]) -> set[str]:
    """Names of the float parameters that are operands in these roles, in regions too."""
    return {name for name in _operands(graph, roles) if _is_many(graph.parameters.get(name))}


def _operands(graph: Graph, roles: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Yield the names of what is an operand at these positions of the operators' signatures."""
    for node in graph.nodes:
        if not isinstance(node.op, Onnx):
            continue
        positions = roles.get(node.op.type, ()) if not node.op.domain else ()
        # Captured values of regions follow the operands and have no position.
        for position, value in zip(node.op.operands, node.inputs, strict=False):
            if position in positions:
                yield value.name
        captured = node.inputs[len(node.op.operands) :]
        for region in node.op.regions():
            formal = region.inputs[len(region.inputs) - len(captured) :]
            outer = {f.name: v.name for f, v in zip(formal, captured, strict=True)}
            yield from (outer[name] for name in _operands(region, roles) if name in outer)


def _neutral(graph: Graph) -> set[str]:
    """Names of scales and shifts of norms that change nothing and that no model has named."""
    found: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, Onnx) and node.op.type in _NORMS:
            names = [v.name for v in node.inputs[1:3]]
            pairs = zip(names, (1, 0), strict=False)
            if all(_is_filled(graph.parameters.get(name), k) for name, k in pairs):
                found.update(name for name in names if _MADE_UP.fullmatch(name))
    return found


def _is_filled(array: Array | None, number: int) -> bool:
    return array is not None and bool(np.all(array == number))


def _is_constant(array: Array) -> bool:
    return bool(np.all(array == array.flat[0])) if array.size else True


def _is_many(array: Array | None) -> bool:
    """Whether an array is of floats, and more than a number."""
    if array is None:
        return False
    type = type_of(array)
    return isinstance(type, TensorType) and type.dtype in FLOATS and type.rank > 0


__all__ = ["learned", "statistics", "untied"]
