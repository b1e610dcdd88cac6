# SPDX-License-Identifier: MIT
"""Computes what is computed twice only once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from ..ir import Graph, Node, Op, Value, ops
from ..ir.printer import digest
from .attribute_key import op_key
from .purity import is_pure
from .regions import map_regions
from .registry import graph_pass
from .rewriting import Scope, rewrite, rewrite_graph

_PREFIX = 16  # elements that tell most parameters of one shape apart
_COMMUTATIVE = (ops.Add, ops.Mul, ops.Equal, ops.And, ops.Or, ops.Xor)


@graph_pass("eliminate-common-subexpressions")
def eliminate_common_subexpressions(graph: Graph) -> Graph:
    """Let nodes with equal ops and operands share one result, and equal parameters one array.

    Random ops are never merged: two draws are two draws.
    """
    return rewrite_graph(_merge_parameters(graph), (share_equal_nodes,))


@rewrite(Op)
def share_equal_nodes(scope: Scope, node: Node) -> tuple[Value, ...] | None:
    """Return the results of an earlier node with an equal op and equal operands."""
    if not is_pure(node.op):
        return None
    inputs = node.inputs
    if isinstance(node.op, _COMMUTATIVE):
        inputs = tuple(sorted(inputs, key=lambda v: v.name))
    return scope.memo.setdefault((op_key(node.op), inputs), node.outputs)


def _merge_parameters(graph: Graph) -> Graph:
    """Return ``graph`` with reads of equal parameters directed to the first of them."""
    graph = map_regions(graph, _merge_parameters)
    groups: dict[Hashable, list[str]] = {}
    for name, array in graph.parameters.items():
        start = array.flat[:_PREFIX].tobytes()
        groups.setdefault((array.dtype, array.shape, start), []).append(name)
    first: dict[str, str] = {}
    for names in groups.values():
        if len(names) > 1:  # hashing what has no likely twin would be wasted
            seen: dict[str, str] = {}
            for name in names:
                first[name] = seen.setdefault(digest(graph.parameters[name]), name)
    if all(k == v for k, v in first.items()):
        return graph

    def shared(value: Value) -> Value:
        return replace(value, name=first.get(value.name, value.name))

    nodes = tuple(replace(n, inputs=tuple(map(shared, n.inputs))) for n in graph.nodes)
    kept = {v.name for n in nodes for v in n.inputs} | {v.name for v in graph.outputs}
    parameters = {k: a for k, a in graph.parameters.items() if k in kept}
    return replace(graph, nodes=nodes, parameters=parameters)
