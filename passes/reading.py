# SPDX-License-Identifier: MIT
"""Which elements of an operand a kernel reads, and how often: the arithmetic behind fusion."""

from __future__ import annotations

import math
from typing import TypeAlias

from ..ir import Kind, Node, TensorType, Value, ops
from ..ir.ops.reduction import Reduction
from ..ir.ops.sorting import ArgExtreme

Path: TypeAlias = tuple[object, ...]
"""How a value is reached from the group's result: one entry per change of element order.

Two reads by the same path read the same elements in the same order, so that one evaluation
serves both; the empty path is the order of the result itself, row-major positions equal.
"""

Reads: TypeAlias = dict[Path, int]
"""Number of elements read, by path."""

READ_ONCE = (Reduction, ArgExtreme, ops.SlabSums)
"""Reductions that read every element of an operand once."""
REPEATED = "repeated"
"""Entry of a path through an op that reads elements of its operand more than once."""


def operand_reads(user: Node, position: int, reads: Reads) -> Reads:
    """Return how operand ``position`` of ``user`` is read where the result is read so.

    >>> from ranvier.ir import Emitter
    >>> emit = Emitter()
    >>> x = emit.argument(TensorType("float32", (2, 3)))
    >>> y = emit.argument(TensorType("float32", (3,)))
    >>> z = emit(ops.Add(), x, y)
    >>> operand_reads(emit.nodes[0], 0, {(): 6})
    {(): 6}
    >>> list(operand_reads(emit.nodes[0], 1, {(): 6}).values())
    [6]
    """
    operand, result = user.inputs[position], user.outputs[0]
    step = _step(user, position)
    if step is None:
        return reads
    return {
        (*path, *step): _count(user, size_of(operand), size_of(result), count)
        for path, count in reads.items()
    }


def _step(user: Node, position: int) -> Path | None:
    """Return the entries that reading an operand adds to a path, ``None`` for no change."""
    if user.op.kind is Kind.REDUCTION and not isinstance(user.op, READ_ONCE):
        return (REPEATED,)
    operand, result = dims_of(user.inputs[position]), dims_of(user.outputs[0])
    moved = user.op.kind is not Kind.ELEMENTWISE and not isinstance(user.op, ops.BroadcastTo)
    if moved and not keeps_order(user):
        # Sums read all their operands at one place, so that what two of them need is one value.
        number = 0 if isinstance(user.op, ops.SlabSums) else position
        return ((user.op, number, operand, result),)
    if math.prod(operand) == math.prod(result):
        return None
    return (("broadcast", operand, result),)


def _count(user: Node, operand: int, result: int, count: int) -> int:
    """Return how many elements of an operand are read for ``count`` elements of the result."""
    if isinstance(user.op, READ_ONCE):
        return operand * max(1, count // max(1, result))
    if isinstance(user.op, ops.Concat | ops.Pad):  # the rest comes from elsewhere
        return min(count, -(-count * operand // max(1, result)))
    return count


def keeps_order(node: Node) -> bool:
    """Whether the result has the operand's elements in the same row-major order.

    >>> from ranvier.ir import Emitter
    >>> emit = Emitter()
    >>> x = emit.argument(TensorType("float32", (1, 2, 3)))
    >>> y = emit(ops.Transpose((1, 0, 2)), x)
    >>> keeps_order(emit.nodes[0])
    True
    """
    if isinstance(node.op, ops.Reshape):
        return True
    if not isinstance(node.op, ops.Transpose):
        return False
    sizes = dims_of(node.inputs[0])
    wide = [k for k in node.op.permutation if sizes[k] != 1]
    return wide == sorted(wide)


def dims_of(value: Value) -> tuple[int, ...]:
    """Return the sizes of a static tensor."""
    assert isinstance(value.type, TensorType)
    return value.type.dims


def size_of(value: Value) -> int:
    """Return the number of elements of a static tensor."""
    return math.prod(dims_of(value))
