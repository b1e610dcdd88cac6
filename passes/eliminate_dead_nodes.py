# SPDX-License-Identifier: MIT
"""Drops the nodes and parameters that no output depends on."""

from __future__ import annotations

from dataclasses import replace

from ..ir import Graph, Node
from .regions import map_regions
from .registry import graph_pass


@graph_pass("eliminate-dead-nodes", requires=("ssa",), ensures=("ssa",))
def eliminate_dead_nodes(graph: Graph) -> Graph:
    """Drop the nodes and parameters that no output depends on; inputs stay.

    A node without results is dead, too: what must happen at run time, such as a bounds
    check, has a result that is a graph output.
    """
    return without_dead_nodes(map_regions(graph, eliminate_dead_nodes))


def without_dead_nodes(graph: Graph) -> Graph:
    """Return ``graph`` without dead nodes and parameters; regions are left as they are."""
    live = {v.name for v in graph.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(v.name in live for v in node.outputs):
            kept.append(node)
            live.update(v.name for v in node.inputs)
    parameters = {k: a for k, a in graph.parameters.items() if k in live}
    if len(kept) == len(graph.nodes) and len(parameters) == len(graph.parameters):
        return graph
    return replace(graph, nodes=tuple(reversed(kept)), parameters=parameters)
