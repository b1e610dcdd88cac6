# SPDX-License-Identifier: MIT
"""Moves normalisations and constant factors of channels into the weights before them."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Graph, Node, TensorType, Value, dtype_name, ops
from ..ir.types import FLOATS
from .reading import dims_of
from .registry import graph_pass
from .rewriting import Scope, op_of, rewrite_graph, static_rewrite

_WIDE = ("float32", "float64")
_LINEAR = (ops.Conv, ops.ConvTranspose, ops.MatMul)


@graph_pass("fold-normalization")
def fold_normalization(graph: Graph) -> Graph:
    """Fold batch normalisation, scales and shifts into convolutions and matrix products.

    Weights must be parameters. Results are equal up to rounding; the arithmetic on weights
    is carried out in float64 and rounded once. A convolution that others read, too, stays.
    """
    return rewrite_graph(graph, (batch_norm, subtract, distribute, scale_weights, merge_shifts))


@static_rewrite(ops.BatchNorm)
def batch_norm(scope: Scope, node: Node) -> Value | None:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` is ``x * f + s`` per channel.

    Narrow floats stay, unless the factor then goes into weights: the composite is rounded
    once, product and sum twice.
    """
    x = node.inputs[0]
    arrays = [scope.array(v) for v in node.inputs[1:]]
    known = [a.astype(np.float64) for a in arrays if a is not None]
    if len(known) < 4 or len(dims_of(x)) < 2:
        return None
    if _dtype(x) not in _WIDE and _foldable(scope, _without_shift(scope, x)) is None:
        return None
    scale, bias, mean, variance = known
    factor = scale / np.sqrt(variance + op_of(node, ops.BatchNorm).epsilon)
    shape = (-1, *(1 for _ in dims_of(x)[2:]))
    factor, shift = factor.reshape(shape), (bias - mean * factor).reshape(shape)
    dtype = _dtype(x)
    product = scope(ops.Mul(), x, scope.constant(factor, dtype))
    return scope(ops.Add(), product, scope.constant(shift, dtype))


def _without_shift(scope: Scope, value: Value) -> Value:
    node = scope.producer(value, ops.Add, ops.Sub)
    return node.inputs[0] if node and scope.array(node.inputs[1]) is not None else value


@static_rewrite(ops.Sub)
def subtract(scope: Scope, node: Node) -> Value | None:
    """After a linear op with known weights, ``y - c`` is ``y + (-c)``."""
    y, constant = node.inputs[0], scope.array(node.inputs[1])
    if constant is None or _foldable(scope, _without_shift(scope, y)) is None:
        return None
    return scope(ops.Add(), y, scope.constant(-constant))


@static_rewrite(ops.Mul)
def distribute(scope: Scope, node: Node) -> Value | None:
    """``(y + b) * c`` is ``y * c + b * c`` where y can take the factor into its weights."""
    inner = scope.producer(node.inputs[0], ops.Add)
    c = scope.array(node.inputs[1])
    if inner is None or c is None or scope.uses(inner.output) != 1:
        return None
    y, b = inner.inputs[0], scope.array(inner.inputs[1])
    if b is None or y.type != node.output.type or inner.output.type != y.type:
        return None
    if _scaled_weights(scope, y, c) is None:
        return None
    product = scope(ops.Mul(), y, node.inputs[1])
    shift = b.astype(np.float64) * c.astype(np.float64)
    return scope(ops.Add(), product, scope.constant(shift, _dtype(y)))


@static_rewrite(ops.Mul)
def scale_weights(scope: Scope, node: Node) -> Value | None:
    """``conv(x, w) * c`` is ``conv(x, w * c)`` for a factor per output channel."""
    y, c = node.inputs[0], scope.array(node.inputs[1])
    if c is None or y.type != node.output.type:
        return None
    weights = _scaled_weights(scope, y, c)
    linear = scope.producer(y, *_LINEAR)
    if weights is None or linear is None:
        return None
    return scope(linear.op, linear.inputs[0], scope.constant(weights))


@static_rewrite(ops.Add)
def merge_shifts(scope: Scope, node: Node) -> Value | None:
    """``(y + b) + c`` is ``y + (b + c)`` for constants after a linear op."""
    inner = scope.producer(node.inputs[0], ops.Add)
    c = scope.array(node.inputs[1])
    b = scope.array(inner.inputs[1]) if inner else None
    if inner is None or b is None or c is None or scope.uses(inner.output) != 1:
        return None
    y = inner.inputs[0]
    if y.type != node.output.type or scope.producer(y, *_LINEAR) is None:
        return None
    total = b.astype(np.float64) + c.astype(np.float64)
    return scope(ops.Add(), y, scope.constant(total, _dtype(y)))


def _foldable(scope: Scope, value: Value) -> Node | None:
    """Return the linear op that makes ``value`` if its weights are known and it alone is read."""
    node = scope.producer(value, *_LINEAR)
    if node is None or scope.uses(value) != 1 or _dtype(value) not in FLOATS:
        return None
    weights = scope.array(node.inputs[1])
    return node if weights is not None and dtype_name(weights.dtype) == _dtype(value) else None


def _scaled_weights(scope: Scope, value: Value, factor: Array) -> Array | None:
    """Return the weights that make ``value * factor``, if ``value`` is so made."""
    node = _foldable(scope, value)
    weights = scope.array(node.inputs[1]) if node else None
    if node is None or weights is None:
        return None
    axis = -1 if isinstance(node.op, ops.MatMul) else 1
    spread = _per_channel(factor, dims_of(value), axis)
    if spread is None:
        return None
    wide = weights.astype(np.float64)
    if isinstance(node.op, ops.MatMul):
        scaled = wide * spread
    elif isinstance(node.op, ops.Conv):
        scaled = wide * spread.reshape(-1, *(1 for _ in wide.shape[1:]))
    else:
        scaled = _scaled_transposed(wide, spread, op_of(node, ops.ConvTranspose).groups)
    return scaled.astype(weights.dtype)


def _scaled_transposed(weights: Array, factor: Array, groups: int) -> Array:
    """Scale weights (C, O / groups, K...), whose output channels follow group by group."""
    split = weights.reshape(groups, -1, *weights.shape[1:])
    spread = factor.reshape(groups, 1, -1, *(1 for _ in weights.shape[2:]))
    result: Array = (split * spread).reshape(weights.shape)
    return result


def _per_channel(factor: Array, dims: tuple[int, ...], axis: int) -> Array | None:
    """Return ``factor`` with one float64 per channel, ``None`` if it varies along other axes."""
    shape = (1,) * (len(dims) - factor.ndim) + factor.shape
    others = [n for k, n in enumerate(shape) if k != axis % len(dims)]
    if len(shape) != len(dims) or any(n != 1 for n in others):
        return None
    return np.broadcast_to(factor.astype(np.float64).ravel(), dims[axis])


def _dtype(value: Value) -> str:
    assert isinstance(value.type, TensorType)
    return value.type.dtype
