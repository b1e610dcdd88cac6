# SPDX-License-Identifier: MIT
"""Replaces composite ops by the smaller ops that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..ir import Composite, Graph, Kind, Node, Op, Type, Value
from .registry import graph_pass
from .rewriting import Scope, rewrite, rewrite_graph


@graph_pass("expand-composites", requires=("ssa", "typed"), ensures=("ssa", "typed"))
def expand_composites(
    graph: Graph,
    *,
    keep: Collection[str] = frozenset(),
    keep_if: Callable[[Op, tuple[Type, ...]], bool] = lambda op, types: False,
) -> Graph:
    """Replace composite ops by their expansions, those inside expansions included.

    Args:
        graph: any typed graph.
        keep: names of composites that stay whole because the target has a kernel for them.
            Host composites always stay.
        keep_if: whether one with operands of these types stays whole.
    """

    @rewrite(Composite)
    def expand(scope: Scope, node: Node) -> tuple[Value, ...] | None:
        if node.op.name in keep or node.op.kind is Kind.HOST:
            return None
        if keep_if(node.op, tuple(v.type for v in node.inputs)):
            return None
        assert isinstance(node.op, Composite)
        return node.op.expand(scope, *node.inputs)

    return rewrite_graph(graph, (expand,))
