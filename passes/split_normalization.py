# SPDX-License-Identifier: MIT
"""Splits normalisations by a sample's own statistics into the statistics and their use."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node, TensorType, Value, ops
from .registry import graph_pass
from .rewriting import Scope, rewrite, rewrite_graph

Wanted = Callable[[TensorType], bool]


@graph_pass("split-normalization", requires=("ssa", "typed"), ensures=("ssa", "typed"))
def split_normalization(graph: Graph, *, wanted: Wanted | bool = False) -> Graph:
    """Replace instance and group norms by the moments of slabs and a normalisation by them.

    The two are a pass over memory each, and threads share either by position; as one kernel,
    threads would have to wait for the statistics in its middle. Equal up to rounding.

    Args:
        graph: any typed graph.
        wanted: whether the target has kernels for the two on data of a type, or on any.
    """
    if wanted is False:
        return graph

    @rewrite(ops.InstanceNorm)
    def instance_norm(scope: Scope, node: Node) -> Value | None:
        assert isinstance(node.op, ops.InstanceNorm)
        return _split(scope, node, None, node.op.epsilon)

    @rewrite(ops.GroupNorm)
    def group_norm(scope: Scope, node: Node) -> Value | None:
        assert isinstance(node.op, ops.GroupNorm)
        return _split(scope, node, node.op.groups, node.op.epsilon)

    def _split(scope: Scope, node: Node, groups: int | None, epsilon: float) -> Value | None:
        x, scale, bias = node.inputs
        type = x.type
        if not isinstance(type, TensorType) or not type.is_static or type.rank < 3:
            return None
        if wanted is not True and not wanted(type):
            return None
        if {scale.type, bias.type} != {TensorType(type.dtype, type.dims[1:2])}:
            return None
        moments = scope(ops.SlabMoments(), x)
        op = ops.NormaliseByMoments(type.dims[1] if groups is None else groups, epsilon)
        return scope(op, x, moments, scale, bias)

    return rewrite_graph(graph, (instance_norm, group_norm))
