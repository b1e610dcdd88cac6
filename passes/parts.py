# SPDX-License-Identifier: MIT
"""How a part of a node's result is computed from parts of its operands."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..ir import Kind, Node, Op, Value, ops
from ..ir.ops.reduction import Reduction
from ..ir.ops.softmax import AlongAxis
from .canonical_movement import plain_slice
from .reading import dims_of
from .rewriting import op_of

Box: TypeAlias = tuple[range, ...]
"""Neighbouring positions along each axis of a tensor, at least one; all steps are 1."""


@dataclass(frozen=True)
class Part:
    """A node that computes a part of another node's result.

    Attributes:
        op: what it applies to the parts of the operands.
        result: the part it computes; it holds the part that was asked for.
        operands: the part that it reads of each operand, ``None`` for one that it lacks.
    """

    op: Op
    result: Box
    operands: tuple[Box | None, ...]


Rule: TypeAlias = Callable[[Node, Box], Part | None]


def whole(value: Value) -> Box:
    """Return the box of all elements."""
    return tuple(map(range, dims_of(value)))


def sizes(box: Box) -> tuple[int, ...]:
    """Return the numbers of positions."""
    return tuple(map(len, box))


def hull(a: Box, b: Box) -> Box:
    """Return the smallest box around two.

    >>> hull((range(0, 2),), (range(3, 4),))
    (range(0, 4),)
    """
    return tuple(
        range(min(r.start, s.start), max(r.stop, s.stop)) for r, s in zip(a, b, strict=True)
    )


def within(inner: Box, outer: Box) -> ops.Slice:
    """Return the slice that takes ``inner`` from a tensor that holds ``outer`` alone."""
    return plain_slice(
        tuple(range(r.start - s.start, r.stop - s.start) for r, s in zip(inner, outer, strict=True))
    )


def part_of(node: Node, box: Box) -> Part | None:
    """Return how ``box`` of the result of ``node`` is computed; ``None`` if no better than all.

    >>> from ranvier.ir import Emitter, TensorType
    >>> emit = Emitter()
    >>> x, w = (emit.argument(TensorType("float32", s)) for s in ((9, 4), (4, 2)))
    >>> product = emit(ops.MatMul(), x, w)
    >>> part = part_of(emit.nodes[0], (range(3, 4), range(2)))
    >>> part.operands
    ((range(3, 4), range(0, 4)), (range(0, 4), range(0, 2)))
    """
    for kinds, rule in _RULES:
        if isinstance(node.op, kinds):
            return rule(node, box)
    return _elementwise(node, box) if node.op.kind is Kind.ELEMENTWISE else None


def _broadcast(operand: Value, box: Box) -> Box:
    """Return what is read of an operand that broadcasts to a result of which ``box`` is asked."""
    dims = dims_of(operand)
    last = box[len(box) - len(dims) :]
    return tuple(range(1) if n == 1 else r for n, r in zip(dims, last, strict=True))


def _elementwise(node: Node, box: Box) -> Part:
    return Part(node.op, box, tuple(_broadcast(v, box) for v in node.inputs))


def _broadcast_to(node: Node, box: Box) -> Part:
    return replace(_elementwise(node, box), op=ops.BroadcastTo(sizes(box)))


def _mat_mul(node: Node, box: Box) -> Part:
    x, y = node.inputs
    *batch, rows, columns = box
    inner = range(dims_of(x)[-1])
    left, right = (*batch, rows, inner), (*batch, inner, columns)
    return Part(node.op, box, (_broadcast(x, left), _broadcast(y, right)))


def _attention(node: Node, box: Box) -> Part:
    """Queries are independent of each other, and so are samples; heads share their keys."""
    op = op_of(node, ops.Attention)
    batch, _, rows, _ = box
    q, k, v, *mask = node.inputs
    heads, keys, features = range(dims_of(q)[1]), range(dims_of(k)[2]), range(dims_of(v)[3])
    operands = (
        (batch, heads, rows, range(dims_of(q)[3])),
        (batch, *whole(k)[1:]),
        (batch, *whole(v)[1:]),
        *(_broadcast(m, (batch, heads, rows, keys)) for m in mask),
    )
    moved = replace(op, offset=op.offset + rows.start) if op.causal else op
    return Part(moved, (batch, heads, rows, features), operands)


def _transpose(node: Node, box: Box) -> Part:
    taken = dict(zip(op_of(node, ops.Transpose).permutation, box, strict=True))
    return Part(node.op, box, (tuple(taken[k] for k in range(len(box))),))


def _slice(node: Node, box: Box) -> Part:
    positions = op_of(node, ops.Slice).positions()
    taken = [p[r.start : r.stop] for p, r in zip(positions, box, strict=True)]
    around = tuple(range(min(r), max(r) + 1) for r in taken)
    moved = (
        range(r.start - s.start, r.stop - s.start, r.step)
        for r, s in zip(taken, around, strict=True)
    )
    return Part(plain_slice(tuple(moved)), box, (around,))


def _concat(node: Node, box: Box) -> Part:
    """Operands none of whose positions are asked for are left out."""
    axis = op_of(node, ops.Concat).axis
    operands: list[Box | None] = []
    low = 0
    for v in node.inputs:
        size = dims_of(v)[axis]
        taken = range(max(box[axis].start - low, 0), min(box[axis].stop - low, size))
        operands.append((*box[:axis], taken, *box[axis + 1 :]) if taken else None)
        low += size
    return Part(node.op, box, tuple(operands))


def _along_axis(node: Node, box: Box) -> Part:
    op = node.op
    assert isinstance(op, AlongAxis)
    axis = op.axis
    full = (*box[:axis], range(dims_of(node.output)[axis]), *box[axis + 1 :])
    return Part(op, full, (full,))


def _row_norm(node: Node, box: Box) -> Part | None:
    op = node.op
    assert isinstance(op, ops.LayerNorm | ops.RmsNorm)
    x, *factors = node.inputs
    axis = op.axis % len(box)
    full = (*box[:axis], *whole(x)[axis:])
    return Part(op, full, (full, *(_broadcast(v, full) for v in factors)))


def _reduction(node: Node, box: Box) -> Part:
    op = node.op
    assert isinstance(op, Reduction)
    kept = iter(box)
    dims = dims_of(node.inputs[0])
    read = (range(n) if k in op.axes else next(kept) for k, n in enumerate(dims))
    return Part(op, box, (tuple(read),))


def _reshape(node: Node, box: Box) -> Part | None:
    """Boxes of the axes that become each other must have the same elements in one run."""
    operand: list[range] = []
    first = 0
    for after, before in _groups(dims_of(node.output), dims_of(node.inputs[0])):
        run = _run(after, box[first : first + len(after)])
        found = None if run is None else _box(before, run)
        if found is None:
            return None
        operand += found
        first += len(after)
    return Part(ops.Reshape(sizes(box)), box, (tuple(operand),))


def _groups(
    a: tuple[int, ...], b: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut two shapes of one size into the shortest pieces of equal sizes.

    >>> _groups((2, 12, 5), (2, 3, 4, 5, 1))
    [((2,), (2,)), ((12,), (3, 4)), ((5,), (5, 1))]
    """
    ends = [list(itertools.accumulate(s, operator.mul)) for s in (a, b)]
    common = sorted({*ends[0]} & {*ends[1]})
    cuts = [[_past(e, size) for size in common] for e in ends]
    if not common:  # one of them is a scalar
        return [(a, b)]
    pairs = list(zip(*cuts, strict=True))
    starts = [(0, 0), *pairs[:-1]]
    return [(a[i:k], b[j:m]) for (i, j), (k, m) in zip(starts, pairs, strict=True)]


def _past(ends: list[int], size: int) -> int:
    """Return how many leading axes have ``size`` elements, those of size 1 after them, too."""
    return max(k for k, n in enumerate(ends) if n == size) + 1


def _run(dims: tuple[int, ...], box: Box) -> range | None:
    """Return the row-major positions of the elements of ``box`` if they are neighbours."""
    start, count = 0, math.prod(sizes(box))
    for n, r in zip(dims, box, strict=True):
        start = start * n + r.start
    wide = [k for k, r in enumerate(box) if len(r) > 1]
    inner = range(wide[0] + 1, len(dims)) if wide else range(0)
    return range(start, start + count) if all(len(box[k]) == dims[k] for k in inner) else None


def _box(dims: tuple[int, ...], run: range) -> Box | None:
    """Return the box with the elements at neighbouring row-major positions, if it is one.

    >>> _box((2, 3, 4), range(16, 24))
    (range(1, 2), range(1, 3), range(0, 4))
    """
    box: list[range] = []
    start, count = run.start, len(run)
    for k in range(len(dims)):
        stride = math.prod(dims[k + 1 :])
        first, last = start // stride, (start + count - 1) // stride
        box.append(range(first, last + 1))
        start -= first * stride
        if last > first:
            if start or count % stride:
                return None
            return (*box, *map(range, dims[k + 1 :]))
    return tuple(box)


_RULES: tuple[tuple[type[Op], Rule], ...] = (
    (ops.MatMul, _mat_mul),
    (ops.Attention, _attention),
    (ops.Slice, _slice),
    (ops.Reshape, _reshape),
    (ops.Transpose, _transpose),
    (ops.BroadcastTo, _broadcast_to),
    (ops.Concat, _concat),
    (AlongAxis, _along_axis),
    (ops.LayerNorm, _row_norm),
    (ops.RmsNorm, _row_norm),
    (Reduction, _reduction),
)
