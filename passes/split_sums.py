# SPDX-License-Identifier: MIT
"""Splits sums over all positions of feature maps into those of slabs and the sum of these."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node, TensorType, Value, ops
from .registry import graph_pass
from .rewriting import Scope, rewrite, rewrite_graph

Wanted = Callable[[TensorType], bool]

_LEAST_ELEMENTS = 4096
"""Smaller sums are not worth a second kernel."""


@graph_pass("split-sums", requires=("ssa", "typed"), ensures=("ssa", "typed"))
def split_sums(graph: Graph, *, wanted: Wanted | bool = False) -> Graph:
    """Let sums and means over batch and positions go by slabs, which threads share.

    Gradients of biases and slopes are such sums, and losses where the channels are added as
    well. Equal up to rounding, which gets less: sums of slabs are short.

    Args:
        graph: any typed graph.
        wanted: whether the target has a kernel for sums of slabs of a type, or of any.
    """
    if wanted is False:
        return graph

    @rewrite(ops.ReduceSum, ops.ReduceMean)
    def over_positions(scope: Scope, node: Node) -> Value | None:
        op, (x,) = node.op, node.inputs
        type = x.type
        assert isinstance(op, ops.ReduceSum | ops.ReduceMean)
        if not isinstance(type, TensorType) or not type.is_static or not _fits(op.axes, type):
            return None
        if wanted is not True and not wanted(type):
            return None
        sums = scope(ops.SlabSums(), x)
        total = scope(ops.ReduceSum((0, 1, 2, 3) if 1 in op.axes else (0, 1, 2)), sums)
        if isinstance(op, ops.ReduceMean):
            total = scope(ops.Mul(), total, scope.scalar_like(1 / op.count(type), total))
        result = node.output.type
        assert isinstance(result, TensorType)
        return total if total.type == result else scope(ops.Reshape(result.dims), total)

    return rewrite_graph(graph, (over_positions,))


def _fits(axes: tuple[int, ...], x: TensorType) -> bool:
    """Whether a large float tensor is reduced over the batch and all positions.

    Of three axes the last may as well be that of features, of which all sums go along rows.
    """
    positions = {0, *range(2, x.rank)}
    return (
        x.rank >= (4 if 1 in axes else 3)
        and x.dtype in ("float32", "float64")
        and x.size >= _LEAST_ELEMENTS
        and positions <= set(axes)
    )
