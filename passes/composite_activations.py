# SPDX-License-Identifier: MIT
"""Rewrites that find activation functions in their decompositions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..ir import Node, Op, Value, ops
from .algebra import coefficient, is_close, is_polynomial, polynomial, terms
from .rewriting import Scope, op_of, static_rewrite

_ROOT = math.sqrt(2 / math.pi)
_PRODUCT: tuple[type[Op], ...] = (ops.Mul, ops.Div, ops.Neg)
_SUM: tuple[type[Op], ...] = (*_PRODUCT, ops.Add, ops.Sub, ops.Pow)


@static_rewrite(ops.Div, ops.Reciprocal)
def sigmoid(scope: Scope, node: Node) -> Value | None:
    """``1 / (1 + exp(-x))``."""
    if isinstance(node.op, ops.Div) and scope.number(node.inputs[0]) != 1:
        return None
    for power in _sums_with_one(scope, node.inputs[-1], ops.Exp):
        negated = scope.producer(power.inputs[0], ops.Neg)
        if negated is not None and negated.output.type == node.output.type:
            return scope(ops.Sigmoid(), negated.inputs[0])
    return None


@static_rewrite(ops.Log, ops.Log1p)
def softplus(scope: Scope, node: Node) -> Value | None:
    """``log(1 + exp(x))``, which is finite here where ``exp(x)`` is not."""
    if isinstance(node.op, ops.Log1p):
        power = scope.producer(node.inputs[0], ops.Exp)
    else:
        power = next(_sums_with_one(scope, node.inputs[0], ops.Exp), None)
    return scope(ops.Softplus(), power.inputs[0]) if power else None


@static_rewrite(ops.Mul, ops.Div)
def gelu(scope: Scope, node: Node) -> Value | None:
    """``x/2 * (1 + erf(x / sqrt 2))`` and ``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))``."""
    for part in terms(scope, node.output, *_PRODUCT):
        for curve in _sums_with_one(scope, part, ops.Erf, ops.Tanh):
            exact = isinstance(curve.op, ops.Erf)
            inner = {1: math.sqrt(0.5)} if exact else {1: _ROOT, 3: _ROOT * 0.044715}
            for x in terms(scope, curve.inputs[0], *_SUM):
                half = _is_product(scope, node, 0.5, x, part)
                if half and is_polynomial(scope, curve.inputs[0], x, inner):
                    return scope(ops.Gelu("none" if exact else "tanh"), x)
    return None


@static_rewrite(ops.Mul, ops.Div)
def swish(scope: Scope, node: Node) -> Value | None:
    """``x * sigmoid(alpha * x)``."""
    for gate, part in _parts(scope, node, ops.Sigmoid):
        for x in terms(scope, gate.inputs[0], *_PRODUCT):
            alpha = coefficient(scope, gate.inputs[0], x)
            if alpha is not None and _is_product(scope, node, 1, x, part):
                return scope(ops.Swish(1.0 if is_close(alpha, 1, x) else alpha), x)
    return None


@static_rewrite(ops.Mul)
def mish(scope: Scope, node: Node) -> Value | None:
    """``x * tanh(softplus(x))``."""
    for gate, part in _parts(scope, node, ops.Tanh):
        inner = scope.producer(gate.inputs[0], ops.Softplus)
        if inner is not None and _is_product(scope, node, 1, inner.inputs[0], part):
            return scope(ops.Mish(), inner.inputs[0])
    return None


@static_rewrite(ops.Mul, ops.Div)
def hard_sigmoid(scope: Scope, node: Node) -> Value | None:
    """``clip(x + 3, 0, 6) / 6`` and other ramps from 0 to 1."""
    part = node.inputs[0]
    ramp = _ramp(scope, part)
    factor = coefficient(scope, node.output, part)
    if ramp is None or factor is None or not is_close(factor * ramp.high, 1, part):
        return None
    return scope(ops.HardSigmoid(factor * ramp.slope, factor * ramp.offset), ramp.x)


@static_rewrite(ops.Mul, ops.Div)
def hard_swish(scope: Scope, node: Node) -> Value | None:
    """``x * clip(x + 3, 0, 6) / 6`` and ``x * hard_sigmoid(x)``."""
    for gate, part in _parts(scope, node, ops.HardSigmoid):
        x, op = gate.inputs[0], op_of(gate, ops.HardSigmoid)
        sixth = is_close(op.alpha, 1 / 6, x) and is_close(op.beta, 0.5, x)
        if sixth and _is_product(scope, node, 1, x, part):
            return scope(ops.HardSwish(), x)
    for _, part in _parts(scope, node, ops.Minimum, ops.Maximum, ops.Relu):
        ramp = _ramp(scope, part)
        if ramp is None or ramp.high <= 0:
            continue
        factor = 1 / ramp.high
        slope, offset = factor * ramp.slope, factor * ramp.offset
        sixth = is_close(slope, 1 / 6, part) and is_close(offset, 0.5, part)
        if sixth and _is_product(scope, node, factor, ramp.x, part):
            return scope(ops.HardSwish(), ramp.x)
    return None


@dataclass(frozen=True)
class _Ramp:
    """``clip(slope * x + offset, 0, high)``."""

    x: Value
    slope: float
    offset: float
    high: float


def _ramp(scope: Scope, value: Value) -> _Ramp | None:
    """Return ``value`` as a clipped line, if it is one."""
    outer = scope.producer(value, ops.Minimum, ops.Relu)
    if outer is None:
        return None
    inner = scope.producer(outer.inputs[0], ops.Relu, ops.Minimum)
    if inner is None or type(inner.op) is type(outer.op):
        return None
    above = outer if isinstance(outer.op, ops.Minimum) else inner
    high = scope.number(above.inputs[1])
    for x in terms(scope, inner.inputs[0], *_SUM):
        line = polynomial(scope, inner.inputs[0], x)
        if high is not None and line is not None and line.keys() == {0, 1}:
            return _Ramp(x, line[1], line[0], high)
    return None


def _parts(scope: Scope, node: Node, *kinds: type[Op]) -> Iterator[tuple[Node, Value]]:
    """Yield the factors of a product that an op of ``kinds`` makes, with their nodes."""
    for part in terms(scope, node.output, *_PRODUCT):
        producer = scope.producer(part, *kinds)
        if producer is not None:
            yield producer, part


def _is_product(scope: Scope, node: Node, number: float, *atoms: Value) -> bool:
    found = coefficient(scope, node.output, *atoms)
    return found is not None and is_close(found, number, node.output)


def _sums_with_one(scope: Scope, value: Value, *kinds: type[Op]) -> Iterator[Node]:
    """Yield the node that makes ``z`` if ``value`` is ``1 + z`` and it is of ``kinds``."""
    node = scope.producer(value, ops.Add)
    if node is None:
        return
    for z, other in (node.inputs, node.inputs[::-1]):
        made = scope.producer(z, *kinds)
        if made is not None and scope.number(other) == 1 and z.type == value.type:
            yield made


ACTIVATIONS = (sigmoid, softplus, gelu, swish, mish, hard_sigmoid, hard_swish)
