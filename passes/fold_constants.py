# SPDX-License-Identifier: MIT
"""Evaluates nodes all of whose operands are parameters."""

from __future__ import annotations

import numpy as np

from ..errors import RanvierError
from ..ir import Array, Graph, Kind, Node, Op, TensorType, Value, ops, type_of
from .purity import is_pure
from .registry import graph_pass
from .rewriting import Scope, rewrite, rewrite_graph

LIMIT = 1 << 16
GROWTH = 8
_MAX_FLOPS = 1 << 30  # more would take the interpreter longer than the compiled code saves


@graph_pass("fold-constants")
def fold_constants(graph: Graph, *, limit: int = LIMIT, growth: int = GROWTH) -> Graph:
    """Replace nodes whose operands are all parameters by parameters that hold their results.

    Args:
        graph: any typed graph.
        limit: bytes that results may always have.
        growth: larger results may have this many times the bytes of the operands (8 covers
            int4 weights that become float32); a broadcast, which kernels get for nothing,
            may not grow at all.
    """

    @rewrite(Op)
    def evaluate(scope: Scope, node: Node) -> tuple[Value, ...] | None:
        arrays = [scope.array(v) for v in node.inputs]
        operands = [a for a in arrays if a is not None]
        if len(operands) < len(arrays) or not _is_foldable(node):
            return None
        allowed = sum(a.nbytes for a in operands)
        if not isinstance(node.op, ops.BroadcastTo):
            allowed *= growth
        if _result_bytes(node) > max(limit, allowed):
            return None
        results = _results(node, operands)
        return None if results is None else tuple(map(scope.constant, results))

    return rewrite_graph(graph, (evaluate,))


def _is_foldable(node: Node) -> bool:
    if node.op.kind is Kind.CONTROL or not is_pure(node.op):
        return False
    if not all(isinstance(v.type, TensorType) and v.type.is_static for v in node.outputs):
        return False
    return node.op.flops(*(v.type for v in node.inputs)) <= _MAX_FLOPS


def _result_bytes(node: Node) -> int:
    return sum(v.type.nbytes for v in node.outputs if isinstance(v.type, TensorType))


def _results(node: Node, operands: list[Array]) -> list[Array] | None:
    """Return the results, ``None`` if the op refuses its operands: running it says why."""
    try:
        with np.errstate(all="ignore"):
            results = [np.asarray(r, order="C") for r in node.op.evaluate(*operands)]
    except RanvierError:
        return None
    expected = [v.type for v in node.outputs]
    return results if [type_of(r) for r in results] == expected else None
