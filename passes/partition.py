# SPDX-License-Identifier: MIT
"""Orders nodes so that execution changes between compiled code and host as seldom as possible."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import replace

from ..ir import Graph
from .fuse import Supports, is_runnable
from .registry import graph_pass


@graph_pass("partition")
def partition(graph: Graph, *, supports: Supports | None = None) -> Graph:
    """Gather compiled nodes into long stretches between nodes that run on the host.

    Regions are left alone: a control node is compiled as a whole or runs on the host as a
    whole. Without host nodes nothing changes.

    Args:
        graph: any typed graph.
        supports: whether the target has a kernel for an op on operands of these types; see
            :func:`~ranvier.passes.fuse.fuse`.
    """
    compiled = [is_runnable(node, supports) for node in graph.nodes]
    if all(compiled):
        return graph
    order = _order(graph, compiled)
    if order == sorted(order):
        return graph
    return replace(graph, nodes=tuple(graph.nodes[k] for k in order))


def _order(graph: Graph, compiled: list[bool]) -> list[int]:
    """Return a topological order: all ready nodes of one side, then all of the other.

    Draining a side completely before changing gives the fewest changes among orders that
    start with that side; both starts are tried. Within a side the old order stays.
    """
    orders = [_drained(graph, compiled, start) for start in (True, False)]
    return min(orders, key=lambda order: _changes(order, compiled))


def _changes(order: list[int], compiled: list[bool]) -> int:
    return sum(compiled[a] != compiled[b] for a, b in itertools.pairwise(order))


def _drained(graph: Graph, compiled: list[bool], side: bool) -> list[int]:
    producers = {v: k for k, node in enumerate(graph.nodes) for v in node.outputs}
    needs = [{producers[v] for v in n.inputs if v in producers} for n in graph.nodes]
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for k, sources in enumerate(needs):
        for source in sources:
            readers[source].append(k)
    waiting = [len(sources) for sources in needs]
    ready: dict[bool, list[int]] = {True: [], False: []}
    for k, count in enumerate(waiting):
        if not count:
            heapq.heappush(ready[compiled[k]], k)
    order: list[int] = []
    while len(order) < len(graph.nodes):
        side = side if ready[side] else not side
        k = heapq.heappop(ready[side])
        order.append(k)
        for reader in readers[k]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready[compiled[reader]], reader)
    return order
