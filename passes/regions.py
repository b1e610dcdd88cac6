# SPDX-License-Identifier: MIT
"""Applies a function to the graphs that control ops hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..ir import Graph, Kind, Node, Op


def map_regions(graph: Graph, function: Callable[[Graph], Graph]) -> Graph:
    """Return ``graph`` with ``function`` applied to the regions of its control nodes.

    Nested regions are the function's business. Bodies of fused groups are not regions in
    this sense: they are kernels, in a form of their own. The same object is returned if no
    region changed.
    """
    nodes = tuple(map_node_regions(node, function) for node in graph.nodes)
    if all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=nodes)


def map_node_regions(node: Node, function: Callable[[Graph], Graph]) -> Node:
    """Return ``node`` with ``function`` applied to its regions if it is a control node."""
    if node.op.kind is not Kind.CONTROL:
        return node
    changes: dict[str, Graph] = {}
    for name, value in node.op.attributes().items():
        if isinstance(value, Graph):
            after = function(value)
            if after is not value:
                changes[name] = after
    return replace(node, op=with_attributes(node.op, changes)) if changes else node


def with_attributes(op: Op, changes: dict[str, Any]) -> Op:
    """Return ``op`` with some attributes replaced."""
    result: Op = replace(op, **changes)  # type: ignore[type-var]
    return result
