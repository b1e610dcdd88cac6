# SPDX-License-Identifier: MIT
"""Rewrites of ops that move elements: drop what moves nothing, merge what moves twice."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from ..ir import Array, Node, Op, Value, ops
from .attribute_key import op_key
from .reading import dims_of, keeps_order
from .rewriting import Scope, op_of, static_rewrite


@static_rewrite(
    ops.Reshape,
    ops.Transpose,
    ops.BroadcastTo,
    ops.Slice,
    ops.Pad,
    ops.Reverse,
    ops.Concat,
    ops.DropoutSite,
)
def drop_unmoved(scope: Scope, node: Node) -> Value | None:
    """Return the operand of an op that leaves every element where it is."""
    if len(node.inputs) != 1 or node.inputs[0].type != node.output.type:
        return None
    return None if _moves(node.op, node) else node.inputs[0]


def _moves(op: Op, node: Node) -> bool:
    """Whether an op whose result has the operand's type moves elements."""
    sizes = dims_of(node.output)
    if isinstance(op, ops.Transpose):
        return not keeps_order(node)
    if isinstance(op, ops.Reverse):
        return any(sizes[a] > 1 for a in op.axes)
    if isinstance(op, ops.Slice):
        return any(n > 1 and s < 0 for n, s in zip(sizes, op.steps, strict=True))
    return isinstance(op, ops.Pad) and any((*op.low, *op.high))


@static_rewrite(ops.Reshape)
def merge_reshapes(scope: Scope, node: Node) -> Value | None:
    """``reshape(reshape(x))`` is one reshape."""
    inner = scope.producer(node.inputs[0], ops.Reshape)
    return scope(node.op, inner.inputs[0]) if inner else None


@static_rewrite(ops.Transpose)
def merge_transposes(scope: Scope, node: Node) -> Value | None:
    """``transpose(transpose(x))`` is one transpose, by the composed permutation."""
    inner = scope.producer(node.inputs[0], ops.Transpose)
    if inner is None:
        return None
    before = op_of(inner, ops.Transpose).permutation
    order = tuple(before[k] for k in op_of(node, ops.Transpose).permutation)
    return scope(ops.Transpose(order), inner.inputs[0])


@static_rewrite(ops.Transpose, ops.BroadcastTo)
def reshape_instead(scope: Scope, node: Node) -> Value | None:
    """A transpose or broadcast that only moves or adds axes of size 1 is a reshape."""
    x, dims = node.inputs[0], dims_of(node.output)
    if isinstance(node.op, ops.Transpose):
        return scope(ops.Reshape(dims), x) if keeps_order(node) else None
    return scope(ops.Reshape(dims), x) if math.prod(dims_of(x)) == math.prod(dims) else None


@static_rewrite(ops.BroadcastTo)
def merge_broadcasts(scope: Scope, node: Node) -> Value | None:
    """``broadcast_to(broadcast_to(x))`` is one broadcast, leading axes of size 1 included."""
    inner = scope.producer(node.inputs[0], ops.BroadcastTo, ops.Reshape)
    if inner is None:
        return None
    if isinstance(inner.op, ops.Reshape) and not _adds_leading_axes(inner):
        return None
    return scope(node.op, inner.inputs[0])


def _adds_leading_axes(node: Node) -> bool:
    inner, outer = dims_of(node.inputs[0]), dims_of(node.output)
    return outer == (1,) * (len(outer) - len(inner)) + inner


@static_rewrite(ops.Slice)
def normalise_slices(scope: Scope, node: Node) -> Value | None:
    """Write slices that take the same positions in the same way."""
    plain = plain_slice(op_of(node, ops.Slice).positions())
    return None if plain == node.op else scope(plain, node.inputs[0])


@static_rewrite(ops.Slice)
def merge_slices(scope: Scope, node: Node) -> Value | None:
    """``slice(slice(x))`` is one slice."""
    inner = scope.producer(node.inputs[0], ops.Slice)
    if inner is None:
        return None
    before, after = op_of(inner, ops.Slice).positions(), op_of(node, ops.Slice).positions()
    return scope(plain_slice(tuple(map(_compose, before, after))), inner.inputs[0])


def plain_slice(taken: tuple[range, ...]) -> ops.Slice:
    """Return the slice that takes these positions, in normal form."""
    plain: list[tuple[int, int, int]] = []
    for r in taken:
        step = r.step if len(r) > 1 else 1
        first, last = (r[0], r[-1] + (1 if step > 0 else -1)) if r else (0, 0)
        plain.append((first, last, step))
    starts, stops, steps = zip(*plain, strict=True) if plain else ((), (), ())
    return ops.Slice(starts, stops, steps)


def _compose(inner: range, outer: range) -> range:
    """Return the positions that ``outer`` takes of those that ``inner`` takes."""
    if not outer:
        return range(0)
    start, step = inner[outer[0]], inner.step * outer.step
    return range(start, start + step * len(outer), step)


@static_rewrite(ops.Slice)
def slice_of_concat(scope: Scope, node: Node) -> Value | None:
    """A slice that takes from one operand of a concatenation only slices that operand."""
    concat = scope.producer(node.inputs[0], ops.Concat)
    if concat is None:
        return None
    axis = op_of(concat, ops.Concat).axis
    taken = list(op_of(node, ops.Slice).positions())
    if not taken[axis]:
        return None
    low = 0
    for part in concat.inputs:
        high = low + dims_of(part)[axis]
        if low <= min(taken[axis]) and max(taken[axis]) < high:
            r = taken[axis]
            taken[axis] = range(r.start - low, r.stop - low, r.step)
            return scope(plain_slice(tuple(taken)), part)
        low = high
    return None


@static_rewrite(ops.Slice)
def slice_before_transpose(scope: Scope, node: Node) -> Value | None:
    """Take the slice first, so that a transpose moves only what is read."""
    inner = scope.producer(node.inputs[0], ops.Transpose)
    if inner is None:
        return None
    permutation = op_of(inner, ops.Transpose).permutation
    taken = dict(zip(permutation, op_of(node, ops.Slice).positions(), strict=True))
    part = scope(plain_slice(tuple(taken[k] for k in range(len(permutation)))), inner.inputs[0])
    return scope(inner.op, part)


@static_rewrite(ops.Concat)
def flatten_concats(scope: Scope, node: Node) -> Value | None:
    """Concatenate the operands of inner concatenations directly, without empty ones."""
    axis = op_of(node, ops.Concat).axis
    parts: list[Value] = []
    for v in node.inputs:
        inner = scope.producer(v, ops.Concat)
        joined = inner is not None and inner.op == node.op and scope.uses(v) == 1
        parts += inner.inputs if inner is not None and joined else (v,)
    full = [v for v in parts if dims_of(v)[axis]]
    parts = full or parts[:1]
    return None if tuple(parts) == node.inputs else scope(node.op, *parts)


@static_rewrite(ops.Reverse)
def merge_reverses(scope: Scope, node: Node) -> Value | None:
    """``reverse(reverse(x))`` reverses the axes that occur once."""
    inner = scope.producer(node.inputs[0], ops.Reverse)
    if inner is None:
        return None
    once = {*op_of(node, ops.Reverse).axes} ^ {*op_of(inner, ops.Reverse).axes}
    return scope(ops.Reverse(tuple(sorted(once))), inner.inputs[0])


@static_rewrite(ops.Pad)
def merge_pads(scope: Scope, node: Node) -> Value | None:
    """Two paddings by the same constant are one."""
    inner = scope.producer(node.inputs[0], ops.Pad)
    if inner is None:
        return None
    first, second = op_of(inner, ops.Pad), op_of(node, ops.Pad)
    same = op_key(replace(first, low=(), high=())) == op_key(replace(second, low=(), high=()))
    grows = min((*first.low, *first.high, *second.low, *second.high), default=0) >= 0
    if first.mode != "constant" or not same or not grows:
        return None
    low, high = _sums(first.low, second.low), _sums(first.high, second.high)
    return scope(ops.Pad(low, high, value=first.value), inner.inputs[0])


@static_rewrite(ops.Conv)
def pad_in_convolution(scope: Scope, node: Node) -> Value | None:
    """Zeros put around the data of a convolution become its own padding."""
    pad = scope.producer(node.inputs[0], ops.Pad)
    if pad is None:
        return None
    conv, around = op_of(node, ops.Conv), op_of(pad, ops.Pad)
    if around.mode != "constant" or around.value != 0 or {*conv.input_dilation} != {1}:
        return None
    widths = (*around.low, *around.high, *conv.low, *conv.high)
    if min(widths) < 0 or any((*around.low[:2], *around.high[:2])):
        return None
    low, high = _sums(around.low[2:], conv.low), _sums(around.high[2:], conv.high)
    return scope(replace(conv, low=low, high=high), pad.inputs[0], node.inputs[1])


def _sums(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


@static_rewrite(ops.Gather)
def slice_instead_of_gather(scope: Scope, node: Node) -> Value | None:
    """Gathering known, evenly spaced positions is a slice."""
    x, indices = node.inputs[0], scope.array(node.inputs[1])
    if indices is None or indices.size == 0:
        return None
    axis = op_of(node, ops.Gather).axis
    taken = _evenly_spaced(indices, dims_of(x)[axis])
    if taken is None:
        return None
    whole = [range(n) for n in dims_of(x)]
    whole[axis] = taken
    return scope(ops.Reshape(dims_of(node.output)), scope(plain_slice(tuple(whole)), x))


def _evenly_spaced(indices: Array, size: int) -> range | None:
    """Return ``indices`` into an axis as a range, if they are one inside the axis."""
    flat = [int(i) + size if i < 0 else int(i) for i in indices.ravel()]
    if not all(0 <= i < size for i in flat):
        return None
    step = flat[1] - flat[0] if len(flat) > 1 else 1
    if step == 0 or any(b - a != step for a, b in itertools.pairwise(flat)):
        return None
    return range(flat[0], flat[-1] + (1 if step > 0 else -1), step)


@static_rewrite(ops.MatMul)
def drop_broadcast_batch(scope: Scope, node: Node) -> Value | None:
    """Matrix products broadcast their leading axes by themselves."""
    inputs = list(node.inputs)
    for k, v in enumerate(inputs):
        inner = scope.producer(v, ops.BroadcastTo)
        if inner is None or dims_of(inner.inputs[0])[-2:] != dims_of(v)[-2:]:
            continue
        tried = [*inputs[:k], inner.inputs[0], *inputs[k + 1 :]]
        if node.op.infer(*(w.type for w in tried)) == (node.output.type,):
            inputs = tried
    return None if tuple(inputs) == node.inputs else scope(node.op, *inputs)


MOVEMENT = (
    drop_unmoved,
    merge_reshapes,
    merge_transposes,
    reshape_instead,
    merge_broadcasts,
    normalise_slices,
    merge_slices,
    slice_of_concat,
    slice_before_transpose,
    flatten_concats,
    merge_reverses,
    merge_pads,
    pad_in_convolution,
    slice_instead_of_gather,
    drop_broadcast_batch,
)
