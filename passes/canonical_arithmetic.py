# SPDX-License-Identifier: MIT
"""Rewrites of elementwise ops that keep every bit: NaN, infinities and the sign of zero.

So ``x + 0.0`` stays, because it turns -0.0 into 0.0, whereas ``x - 0.0`` goes.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir import Array, Kind, Node, Op, TensorType, Value, ops
from ..ir.ops.broadcasting import broadcast_dims
from ..ir.types import FLOATS, INTEGERS
from .reading import dims_of, size_of
from .rewriting import Scope, op_of, static_rewrite

_NEUTRAL: dict[type[ops.Binary], float] = {
    ops.Add: -0.0,
    ops.Sub: 0.0,
    ops.Mul: 1.0,
    ops.Div: 1.0,
    ops.Pow: 1.0,
    ops.And: True,
    ops.Or: False,
    ops.Xor: False,
}


@static_rewrite(ops.Add, ops.Mul, ops.Equal, ops.And, ops.Or, ops.Xor)
def constant_second(scope: Scope, node: Node) -> Value | None:
    """Put the constant operand of a commutative op second."""
    x, y = node.inputs
    if scope.array(x) is None or scope.array(y) is not None:
        return None
    return scope(node.op, y, x)


@static_rewrite(*_NEUTRAL)
def drop_neutral(scope: Scope, node: Node) -> Value | None:
    """``x * 1``, ``x / 1``, ``x - 0``, ``x ** 1`` and the like are ``x``."""
    x, y = node.inputs
    neutral = next(n for op, n in _NEUTRAL.items() if isinstance(node.op, op))
    if x.type != node.output.type or not is_filled(scope.array(y), neutral):
        return None
    return x


@static_rewrite(ops.Pow)
def square(scope: Scope, node: Node) -> Value | None:
    """``x ** 2`` is ``x * x``: the product of two equal floats is rounded once either way."""
    x, y = node.inputs
    if x.type != node.output.type or not is_filled(scope.array(y), 2):
        return None
    return scope(ops.Mul(), x, x)


@static_rewrite(ops.Mul)
def negate(scope: Scope, node: Node) -> Value | None:
    """``x * -1`` is ``-x``."""
    x, y = node.inputs
    if x.type != node.output.type or not is_filled(scope.array(y), -1):
        return None
    return scope(ops.Neg(), x)


@static_rewrite(ops.Neg, ops.Not, ops.BitwiseNot)
def drop_twice(scope: Scope, node: Node) -> Value | None:
    """``-(-x)`` is ``x``, ``not not x`` likewise."""
    inner = scope.producer(node.inputs[0], type(node.op))
    return inner.inputs[0] if inner else None


@static_rewrite(ops.Abs, ops.Relu)
def drop_repeated(scope: Scope, node: Node) -> Value | None:
    """``relu(relu(x))`` is ``relu(x)``, ``abs(abs(x))`` is ``abs(x)``."""
    return node.inputs[0] if scope.producer(node.inputs[0], type(node.op)) else None


@static_rewrite(ops.Abs)
def absolute_of_negated(scope: Scope, node: Node) -> Value | None:
    """``abs(-x)`` is ``abs(x)``."""
    inner = scope.producer(node.inputs[0], ops.Neg)
    return scope(node.op, inner.inputs[0]) if inner else None


@static_rewrite(ops.Add, ops.Sub)
def subtract_instead(scope: Scope, node: Node) -> Value | None:
    """``x + -y`` is ``x - y``, ``x - -y`` is ``x + y``."""
    x, y = node.inputs
    other = ops.Sub() if isinstance(node.op, ops.Add) else ops.Add()
    if inner := scope.producer(y, ops.Neg):
        return scope(other, x, inner.inputs[0])
    if isinstance(node.op, ops.Add) and (inner := scope.producer(x, ops.Neg)):
        return scope(other, y, inner.inputs[0])
    return None


@static_rewrite(ops.Div)
def multiply_instead(scope: Scope, node: Node) -> Value | None:
    """Division of floats by a power of two is the product with its exact reciprocal."""
    x, y = node.inputs
    array = scope.array(y)
    if array is None or array.dtype.kind != "f" or not array.size:
        return None
    fraction, exponent = np.frexp(np.abs(array))
    # Halfway inside the exponent range of float16, so that the reciprocal is exact.
    if not np.all((fraction == 0.5) & (np.abs(exponent) < 14)):
        return None
    return scope(ops.Mul(), x, scope.constant(1 / array))


@static_rewrite(ops.Maximum)
def rectify(scope: Scope, node: Node) -> Value | None:
    """``max(x, 0)`` is ``relu(x)``."""
    for x, y in (node.inputs, node.inputs[::-1]):
        if x.type == node.output.type and is_filled(scope.array(y), 0):
            return scope(ops.Relu(), x)
    return None


@static_rewrite(ops.Cast)
def drop_cast(scope: Scope, node: Node) -> Value | None:
    """A cast to the type that the operand has is the operand."""
    return node.inputs[0] if node.inputs[0].type == node.output.type else None


@static_rewrite(ops.Cast)
def merge_casts(scope: Scope, node: Node) -> Value | None:
    """``cast(cast(x))`` is one cast where the inner one loses nothing."""
    inner = scope.producer(node.inputs[0], ops.Cast)
    if inner is None:
        return None
    before, between = _dtype(inner.inputs[0]), _dtype(inner.output)
    if not _holds(before, between) or (_is_wide(before) and between in FLOATS):
        return None
    return scope(op_of(node, ops.Cast), inner.inputs[0])


def _dtype(value: Value) -> str:
    assert isinstance(value.type, TensorType)
    return value.type.dtype


def _is_wide(dtype: str) -> bool:
    # As floats these would be clamped by a cast to a narrow integer, as integers cut.
    return dtype in ("uint32", "int64", "uint64")


def _holds(narrow: str, wide: str) -> bool:
    """Whether every number of one element type is one of the other, too."""
    if narrow in (wide, "bool"):
        return True
    if narrow in INTEGERS and wide in INTEGERS:
        signed = narrow.startswith("i") + wide.startswith("i")
        more = _bits(wide) > _bits(narrow)
        return more and (signed != 1 or wide.startswith("i"))
    if narrow in INTEGERS and wide in _SIGNIFICANT:
        return _bits(narrow) <= _SIGNIFICANT[wide]
    chains = (("float16", "float32", "float64"), ("bfloat16", "float32", "float64"))
    return any(narrow in c and wide in c and c.index(narrow) < c.index(wide) for c in chains)


_SIGNIFICANT = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def _bits(dtype: str) -> int:
    return int(dtype.lstrip("uint"))


@static_rewrite(ops.ReduceMax, ops.ReduceMin, ops.ReduceProd)
def reduce_nothing(scope: Scope, node: Node) -> Value | None:
    """A maximum, minimum or product over axes of size 1 is a reshape.

    Not so a sum: it turns -0.0 into 0.0.
    """
    x = node.inputs[0]
    axes = node.op.attributes()["axes"]
    if any(dims_of(x)[a] != 1 for a in axes):
        return None
    return scope(ops.Reshape(dims_of(node.output)), x)


@static_rewrite(ops.Select)
def select_known(scope: Scope, node: Node) -> Value | None:
    """A selection by a known condition, or between equal operands, is the operand."""
    condition, x, y = node.inputs
    array = scope.array(condition)
    if array is not None and array.size and (array.all() or not array.any()):
        chosen = x if array.all() else y
    elif x == y:
        chosen = x
    else:
        return None
    return scope(ops.BroadcastTo(dims_of(node.output)), chosen)


def is_filled(array: Array | None, number: float) -> bool:
    """Whether every element is ``number``, zeros of the same sign in floats.

    >>> is_filled(np.zeros(2), 0.0), is_filled(np.zeros(2), -0.0), is_filled(np.zeros(2, int), -0.0)
    (True, False, True)
    """
    if array is None or array.size == 0 or array.dtype.kind in "Oc":
        return False
    if array.dtype.kind in "biu":
        return bool(np.all(array == int(number)))
    wide = array.astype(np.float64)
    return bool(
        np.all(wide == number) and np.all(np.signbit(wide) == (math.copysign(1, number) < 0))
    )


# Broadcasts


def _is_broadcasting(node: Node) -> bool:
    """Whether the op computes each element alone, from operands that it broadcasts."""
    return node.op.kind is Kind.ELEMENTWISE and len(node.outputs) == 1


@static_rewrite(Op)
def drop_broadcast_operand(scope: Scope, node: Node) -> Value | None:
    """Elementwise ops broadcast by themselves: read what a broadcast operand repeats."""
    if not _is_broadcasting(node) or len(node.inputs) < 2:
        return None
    inputs = list(node.inputs)
    for k, v in enumerate(inputs):
        inner = scope.producer(v, ops.BroadcastTo)
        if inner is None:
            continue
        x = inner.inputs[0]
        others = [dims_of(w) for w in (*inputs[:k], *inputs[k + 1 :])]
        if broadcast_dims(node.op, dims_of(x), *others) == dims_of(node.output):
            inputs[k] = x
    return None if tuple(inputs) == node.inputs else scope(node.op, *inputs)


@static_rewrite(Op)
def compute_before_broadcast(scope: Scope, node: Node) -> Value | None:
    """Compute on what a broadcast repeats, rather than on the repetitions.

    All operands must be repetitions of one shape, or constants that fit it.
    """
    if not _is_broadcasting(node):
        return None
    inner = [scope.producer(v, ops.BroadcastTo) for v in node.inputs]
    if not any(inner):
        return None
    inputs = [n.inputs[0] if n else v for n, v in zip(inner, node.inputs, strict=True)]
    if any(n is None and scope.array(v) is None for n, v in zip(inner, node.inputs, strict=True)):
        return None
    dims = [d for d in broadcast_dims(node.op, *map(dims_of, inputs)) if isinstance(d, int)]
    if math.prod(dims) >= size_of(node.output):
        return None
    return scope(ops.BroadcastTo(dims_of(node.output)), scope(node.op, *inputs))


ARITHMETIC = (
    constant_second,
    drop_neutral,
    square,
    negate,
    drop_twice,
    drop_repeated,
    absolute_of_negated,
    subtract_instead,
    multiply_instead,
    rectify,
    drop_cast,
    merge_casts,
    reduce_nothing,
    select_known,
    drop_broadcast_operand,
    compute_before_broadcast,
)
