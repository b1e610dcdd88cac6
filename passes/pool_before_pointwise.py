# SPDX-License-Identifier: MIT
"""Sums windows before a pointwise convolution instead of after it: fewer positions to convolve."""

from __future__ import annotations

import math

from ..ir import Graph, Node, TensorType, Value, ops
from .reading import dims_of
from .registry import graph_pass
from .rewriting import Scope, op_of, rewrite_graph, static_rewrite

_WIDE = ("float32", "float64")


@graph_pass("pool-before-pointwise")
def pool_before_pointwise(graph: Graph) -> Graph:
    """Move average pooling over convolutions whose windows are single elements.

    Both are linear, and the convolution treats every position alike, so their order is free;
    results are equal up to rounding. A DenseNet's transitions take a quarter of the
    multiplications this way. Convolutions that others read, too, stay.
    """
    return rewrite_graph(graph, (swap,))


@static_rewrite(ops.WindowSum)
def swap(scope: Scope, node: Node) -> Value | None:
    """``window_sum(conv(x, w))`` is ``conv(window_sum(x), w)`` where that is less work."""
    conv = scope.producer(node.inputs[0], ops.Conv)
    if conv is None or scope.uses(conv.output) != 1 or not _is_pointwise(conv):
        return None
    x, w = conv.inputs
    if not isinstance(x.type, TensorType) or x.type.dtype not in _WIDE:
        return None
    before, after = math.prod(dims_of(conv.output)[2:]), math.prod(dims_of(node.output)[2:])
    if after >= before:
        return None
    return scope(conv.op, scope(node.op, x), w)


def _is_pointwise(node: Node) -> bool:
    op = op_of(node, ops.Conv)
    plain = {*op.strides, *op.input_dilation} == {1} and not any((*op.low, *op.high))
    return plain and op.accumulate is None and set(dims_of(node.inputs[1])[2:]) == {1}
