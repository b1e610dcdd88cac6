# SPDX-License-Identifier: MIT
"""Slices before matrix products instead of after them: rows that nobody reads are not computed."""

from __future__ import annotations

import math
from dataclasses import replace

from ..ir import Graph, Node, TensorType, Value, ops
from .eliminate_dead_nodes import without_dead_nodes
from .parts import Box, Part, hull, part_of, sizes, whole, within
from .reading import size_of
from .regions import map_regions
from .registry import graph_pass
from .rewriting import Scope

_HEAVY = (ops.MatMul, ops.Attention)
_SAVES = 2  # slicing off a border would cost a product its even tiles for little work


@graph_pass("push-slices-up")
def push_slices_up(graph: Graph) -> Graph:
    """Compute only the parts of matrix products and attention that are read further down.

    Asks from the outputs backwards which box of each value is read by all its readers
    together. Where that is at most half of a product, the product and what follows it are
    computed for the box alone, and slices remain where the smaller part begins. A classifier
    that reads one token of a transformer saves the last block's work for all other tokens.
    Nodes without a product before them stay: fusion computes what is read of them anyway.
    """
    graph = map_regions(graph, push_slices_up)
    parts = _worthwhile(graph, _parts(graph))
    return _Rebuilt(graph, parts).run() if parts else graph


def _parts(graph: Graph) -> dict[str, Part]:
    """Return the parts of nodes' results that are read, by name; those read whole are absent."""
    read = {v.name: whole(v) for v in graph.outputs if _has_boxes(v)}
    live = {v.name for v in graph.outputs}
    parts: dict[str, Part] = {}
    for node in reversed(graph.nodes):
        if live.isdisjoint(v.name for v in node.outputs):
            continue
        part = _part(node, read)
        if part is not None:
            parts[node.output.name] = part
        for k, v in enumerate(node.inputs):
            box = part.operands[k] if part else whole(v) if _has_boxes(v) else None
            if part is None or box is not None:
                live.add(v.name)
            if box is not None:
                read[v.name] = hull(read.get(v.name, box), box)
    return parts


def _part(node: Node, read: dict[str, Box]) -> Part | None:
    if len(node.outputs) != 1 or not all(map(_has_boxes, (*node.inputs, *node.outputs))):
        return None
    box = read[node.output.name]
    if not isinstance(node.op, ops.Slice) and box == whole(node.output):
        return None
    part = part_of(node, box)
    if part is None or isinstance(node.op, ops.Slice):
        return part
    return None if part.result == whole(node.output) else part


def _has_boxes(value: Value) -> bool:
    return isinstance(value.type, TensorType) and value.type.is_static and size_of(value) > 0


def _worthwhile(graph: Graph, parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts of products that save enough, and of what is computed from them.

    What these read has parts, too, or is read whole, so that the choice fits together.
    """
    chosen: dict[str, Part] = {}
    for node in graph.nodes:
        part = parts.get(node.outputs[0].name) if node.outputs else None
        if part is None:
            continue
        saves = math.prod(sizes(part.result)) * _SAVES <= size_of(node.output)
        heavy = isinstance(node.op, _HEAVY) and saves
        drops = None in part.operands  # nobody asked for what the dropped operand reads
        if heavy or drops or any(v.name in chosen for v in node.inputs):
            chosen[node.output.name] = part
    return chosen


class _Rebuilt:
    """The graph with the chosen nodes computed in part."""

    def __init__(self, graph: Graph, parts: dict[str, Part]) -> None:
        self.graph = graph
        self.parts = parts
        self.scope = Scope.over(graph)
        self.known: dict[tuple[str, Box], Value] = {}

    def run(self) -> Graph:
        for node in self.graph.nodes:
            part = self.parts.get(node.outputs[0].name) if node.outputs else None
            if part is None:
                self.scope.nodes.append(node)
                continue
            with self.scope.source(node.source):
                self.append(node, part)
        return without_dead_nodes(replace(self.graph, nodes=tuple(self.scope.nodes)))

    def append(self, node: Node, part: Part) -> None:
        """Append the part of ``node``, under the same name if it is the whole."""
        operands = [
            self.read(v, box)
            for v, box in zip(node.inputs, part.operands, strict=True)
            if box is not None
        ]
        same = part.result == whole(node.output)
        names = (node.output.name,) if same else ()
        (value,) = self.scope.multi(part.op, *operands, names=names)
        self.known[node.output.name, part.result] = value

    def read(self, value: Value, box: Box) -> Value:
        """Return the part of ``value`` in ``box``; it is sliced where more is computed."""
        part = self.parts.get(value.name)
        has = part.result if part else whole(value)
        if has == box:
            return self.known.get((value.name, box), value)
        if (value.name, box) not in self.known:
            origin = self.known.get((value.name, has), value)
            self.known[value.name, box] = self.scope(within(box, has), origin)
        return self.known[value.name, box]
