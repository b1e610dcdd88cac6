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
    scores, reads = _softmax_operand(scope, weights), 1
    if scores is None:
        scores, reads = _guarded_operand(scope, weights), 2
    if scores is None or not _is_batch(weights) or op_of(node, ops.MatMul).accumulate:
        return None
    biased = _unmasked(scope, scores, reads)
    if reads == 2 and biased.mask is None:
        return None  # without a mask, attention does not look for rows without keys
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


def _guarded_operand(scope: Scope, weights: Value) -> Value | None:
    """Return the scores of a softmax that gives zeros where all of a row are minus infinity.

    This is what attention itself expands to; the test reads the scores once more.
    """
    guard = scope.producer(weights, ops.Select)
    softmax = scope.producer(guard.inputs[2], ops.Softmax) if guard else None
    inner = scope.producer(softmax.inputs[0], ops.Select) if softmax else None
    if guard is None or softmax is None or inner is None or guard.inputs[0] != inner.inputs[0]:
        return None
    scores, rank = inner.inputs[2], len(dims_of(weights))
    single = all(scope.uses(w) == 1 for w in (weights, softmax.output, inner.output))
    zeros = all(is_filled(scope.array(w.inputs[1]), 0) for w in (guard, inner))
    last = op_of(softmax, ops.Softmax).axis % rank == rank - 1
    if single and zeros and last and _is_empty_row(scope, guard.inputs[0], scores):
        return scores
    return None


def _is_empty_row(scope: Scope, test: Value, scores: Value) -> bool:
    """Whether ``test`` says that the largest score of a row is minus infinity."""
    equal = scope.producer(test, ops.Equal)
    if equal is None or not is_filled(scope.array(equal.inputs[1]), -math.inf):
        return False
    dims = dims_of(scores)
    column = scope.producer(equal.inputs[0], ops.Reshape)
    largest = scope.producer(column.inputs[0], ops.ReduceMax) if column else None
    return (
        largest is not None
        and largest.inputs == (scores,)
        and op_of(largest, ops.ReduceMax).axes == (len(dims) - 1,)
        and dims_of(equal.inputs[0]) == (*dims[:-1], 1)
    )


@dataclass(frozen=True)
class _Biased:
    """Scores and the mask that is applied to them."""

    scores: Value
    mask: Value | None = None


def _unmasked(scope: Scope, value: Value, reads: int) -> _Biased:
    """Take the mask off scores that are read so often: a sum, or a selection of minus infinity."""
    node = scope.producer(value, ops.Add, ops.Select)
    if node is None or scope.uses(value) != reads:
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
