# SPDX-License-Identifier: MIT
"""Splits normalisations by the data's own statistics into the statistics and their use."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node, TensorType, Value, ops
from ..ir.ops.normalization import OwnStatistics
from ..ir.ops.shape import slice_along
from .registry import graph_pass
from .rewriting import Scope, rewrite, rewrite_graph

Wanted = Callable[[TensorType], bool]


@graph_pass("split-normalization", requires=("ssa", "typed"), ensures=("ssa", "typed"))
def split_normalization(graph: Graph, *, wanted: Wanted | bool = False) -> Graph:
    """Replace batch norms in training, instance and group norms by statistics and their use.

    The two are a pass over memory each, and threads share either by position; as one kernel,
    threads would have to wait for the statistics in its middle. Where gradients need the
    statistics as well, the use is elementwise ops by which readers compute the result again
    instead of loading it; else it is one op. Equal up to rounding.

    Args:
        graph: any typed graph.
        wanted: whether the target has kernels for the two on data of a type, or on any.
    """
    measured = {n.inputs[0] for n in graph.nodes if isinstance(n.op, ops.SlabMoments)}
    if wanted is False and not measured:
        return graph

    def is_wanted(node: Node) -> bool:
        type = node.inputs[0].type
        if not isinstance(node.op, OwnStatistics) or not isinstance(type, TensorType):
            return False
        if not node.op.normalisation(type).fits(*(v.type for v in node.inputs[:2])):
            return False
        if node.inputs[1].type != node.inputs[2].type:
            return False
        if isinstance(wanted, bool):
            return wanted or node.inputs[0] in measured
        return node.inputs[0] in measured or wanted(type)

    @rewrite(ops.BatchNormTraining)
    def batch_norm(scope: Scope, node: Node) -> tuple[Value, ...] | None:
        if not is_wanted(node):
            return None
        op, (x, scale, bias, *running) = node.op, node.inputs
        assert isinstance(op, ops.BatchNormTraining)
        assert isinstance(x.type, TensorType)
        method = op.normalisation(x.type)
        current = method.statistics(scope, x)
        y = method.forward(scope, current, x, scale, bias)
        rows = (
            scope(ops.Reshape(x.type.dims[1:2]), slice_along(scope, current, 1, k, k + 1))
            for k in (0, 1)
        )
        blended = (op.blend(scope, old, new) for old, new in zip(running, rows, strict=True))
        return (y, *blended)

    @rewrite(ops.InstanceNorm, ops.GroupNorm)
    def sample_norm(scope: Scope, node: Node) -> Value | None:
        if not is_wanted(node):
            return None
        op, (x, scale, bias) = node.op, node.inputs
        assert isinstance(op, OwnStatistics)
        assert isinstance(x.type, TensorType)
        method = op.normalisation(x.type)
        if x in measured:
            return method.forward(scope, method.statistics(scope, x), x, scale, bias)
        moments = scope(ops.SlabMoments(), x)
        normalised = ops.NormaliseByMoments(method.groups, method.epsilon)
        return scope(normalised, x, moments, scale, bias)

    return rewrite_graph(graph, (batch_norm, sample_norm))
