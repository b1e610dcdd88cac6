# SPDX-License-Identifier: MIT
"""Rewrites that find attention in its decomposition."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..ir import Emitter, Node, TensorType, Value, ops
from ..ir.types import FLOATS
from .canonical_arithmetic import is_filled
from .reading import dims_of
from .rewriting import Scope, op_of, rewrite, static_rewrite


@rewrite(ops.Einsum)
def einsum(scope: Scope, node: Node) -> Value | None:
    """Einstein's summation of two operands is a matrix product between transposes."""
    if len(node.inputs) != 2:
        return None
    (result,) = op_of(node, ops.Einsum).expand(scope, *node.inputs)
    return result


@static_rewrite(ops.MatMul)
def attention(scope: Scope, node: Node) -> Value | None:
    """``softmax(scale * q k^T + mask) v`` over batches of heads.

    The scale may be a factor of the scores or of q and k. A query that sees no key gives
    zeros, where the decomposition gives NaN.
    """
    weights, v = node.inputs
    scores = _softmax_operand(scope, weights)
    if scores is None or not _is_batch(weights) or op_of(node, ops.MatMul).accumulate:
        return None
    biased = _unmasked(scope, scores)
    product = _scaled(scope, biased.scores)
    matmul = scope.producer(product.value, ops.MatMul)
    if matmul is None or scope.uses(product.value) != 1 or matmul.op != node.op:
        return None
    q, k = (_scaled(scope, w) for w in matmul.inputs)
    if len({len(dims_of(w)) for w in (q.value, k.value, v)}) != 1:
        return None
    if not dims_of(q.value)[:-2] == dims_of(k.value)[:-2] == dims_of(v)[:-2]:
        return None
    op = ops.Attention(product.factor * q.factor * k.factor)
    return _emit(scope, op, (q.value, _transposed(scope, k.value), v), biased)


def _emit(
    scope: Scope, op: ops.Attention, operands: tuple[Value, Value, Value], biased: _Biased
) -> Value | None:
    """Emit attention with four axes, whatever the operands have."""
    scores, result = dims_of(biased.scores), (*dims_of(operands[0])[:-1], dims_of(operands[2])[-1])
    mask = biased.mask
    if len(scores) != 4:
        operands = tuple(_with_four_axes(scope, w) for w in operands)  # type: ignore[assignment]
        mask = None if mask is None else _with_four_axes(scope, mask)
    if mask is not None and len(dims_of(mask)) > 4:
        return None
    y = scope(op, *operands, *(() if mask is None else (mask,)))
    return y if len(scores) == 4 else scope(ops.Reshape(result), y)


def _with_four_axes(scope: Scope, value: Value) -> Value:
    dims = dims_of(value)
    return scope(ops.Reshape((1,) * (4 - len(dims)) + dims), value)


def _is_batch(weights: Value) -> bool:
    type = weights.type
    return isinstance(type, TensorType) and type.rank in (3, 4) and type.dtype in FLOATS


def _softmax_operand(scope: Scope, weights: Value) -> Value | None:
    """Return the scores of which ``weights`` is the softmax, guarded against NaN or not."""
    guard = scope.producer(weights, ops.Select)
    if guard is not None:
        test = scope.producer(guard.inputs[0], ops.IsNan)
        zero = is_filled(scope.array(guard.inputs[1]), 0)
        if test is None or not zero or test.inputs[0] != guard.inputs[2]:
            return None
        weights = guard.inputs[2]
    node = scope.producer(weights, ops.Softmax)
    if node is None or scope.uses(weights) != (1 if guard is None else 2):
        return None
    axis = op_of(node, ops.Softmax).axis
    return node.inputs[0] if axis % len(dims_of(weights)) == len(dims_of(weights)) - 1 else None


@dataclass(frozen=True)
class _Biased:
    """Scores and the mask that is applied to them."""

    scores: Value
    mask: Value | None = None


def _unmasked(scope: Scope, value: Value) -> _Biased:
    """Take the mask off: a sum, or a selection of minus infinity."""
    node = scope.producer(value, ops.Add, ops.Select)
    if node is None or scope.uses(value) != 1:
        return _Biased(value)
    if isinstance(node.op, ops.Add):
        for scores, mask in (node.inputs, node.inputs[::-1]):
            if scores.type == value.type and _is_scores(scope, scores):
                return _Biased(scores, mask)
        return _Biased(value)
    seen, x, y = node.inputs
    if is_filled(scope.array(y), -math.inf) and x.type == value.type:
        return _Biased(x, seen)
    if is_filled(scope.array(x), -math.inf) and y.type == value.type:
        return _Biased(y, scope(ops.Not(), seen))
    return _Biased(value)


def _is_scores(scope: Scope, value: Value) -> bool:
    return scope.producer(_scaled(scope, value).value, ops.MatMul) is not None


@dataclass(frozen=True)
class _Scaled:
    """``factor * value``."""

    value: Value
    factor: float = 1.0


def _scaled(scope: Scope, value: Value) -> _Scaled:
    """Take constant factors off, under a transpose too."""
    found = _Scaled(value)
    while True:
        node = scope.producer(found.value, ops.Mul, ops.Div)
        number = scope.number(node.inputs[1]) if node else None
        if node is None or not number or node.inputs[0].type != found.value.type:
            break
        factor = 1 / number if isinstance(node.op, ops.Div) else number
        found = _Scaled(node.inputs[0], found.factor * factor)
    transpose = scope.producer(found.value, ops.Transpose)
    if transpose is None:
        return found
    inner = _scaled(scope, transpose.inputs[0])
    if inner.factor == 1:
        return found
    return replace(
        found, value=scope(transpose.op, inner.value), factor=found.factor * inner.factor
    )


def _transposed(emit: Emitter, value: Value) -> Value:
    rank = len(dims_of(value))
    return emit(ops.Transpose((*range(rank - 2), rank - 1, rank - 2)), value)
