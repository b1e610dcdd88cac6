# SPDX-License-Identifier: MIT
"""Makes batch norms normalise by the batch at hand and count its statistics, as training does."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from ..ir import Emitter, Graph, Node, Value
from ..ir.ops import BatchNorm, BatchNormTraining
from .registry import graph_pass

UPDATED = "updated."
"""What the name of a new running statistic starts with; that of the old one follows."""


@graph_pass("use-batch-statistics")
def use_batch_statistics(
    graph: Graph, *, momentum: float = 0.9, frozen: tuple[str, ...] = ()
) -> Graph:
    """Replace batch norms by their form for training; append the new running statistics.

    The running mean ``m`` of a batch norm gives the output ``updated.m``, its variance likewise.

    Args:
        graph: batch norms whose statistics are inputs or parameters.
        momentum: weight of the running statistics as they were.
        frozen: patterns of the names of running means whose batch norms stay as they are.
    """
    emit = Emitter.continuing(graph)
    own = {v.name for v in graph.inputs} | set(graph.parameters)
    nodes: list[Node] = []
    updated: dict[str, Value] = {}
    for node in graph.nodes:
        if not isinstance(node.op, BatchNorm) or not _trains(node, own, frozen, updated):
            nodes.append(node)
            continue
        statistics = tuple(Value(UPDATED + v.name, v.type) for v in node.inputs[3:])
        for value in statistics:
            emit.reserve(value.name)
            updated[value.name] = value
        op = BatchNormTraining(node.op.epsilon, momentum)
        nodes.append(replace(node, op=op, outputs=(*node.outputs, *statistics)))
    if not updated:
        return graph
    return replace(graph, nodes=tuple(nodes), outputs=(*graph.outputs, *updated.values()))


def _trains(node: Node, own: set[str], frozen: tuple[str, ...], done: dict[str, Value]) -> bool:
    """Whether the statistics are kept by the model, once, and are to be counted."""
    names = [v.name for v in node.inputs[3:]]
    return (
        all(name in own and UPDATED + name not in done for name in names)
        and names[0] != names[1]
        and not any(fnmatchcase(names[0], pattern) for pattern in frozen)
    )
