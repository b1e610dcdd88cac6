# SPDX-License-Identifier: MIT
"""Activation functions, clipping, softmax and its relatives."""

from __future__ import annotations

import math

from ...ir import Value, ops
from ..convert import Conversion, converter


@converter("Relu")
def relu(c: Conversion) -> Value:
    """Emit the rectifier."""
    return c.emit(ops.Relu(), c.operand(0))


@converter("LeakyRelu")
def leaky_relu(c: Conversion) -> Value:
    """Emit the rectifier with a slope below 0."""
    return c.emit(ops.LeakyRelu(c.attr("alpha", 0.01)), c.operand(0))


@converter("PRelu")
def prelu(c: Conversion) -> Value:
    """Emit the rectifier with a learned slope, one per channel before opset 7."""
    x, slope = c.operand(0), c.operand(1)
    slopes, rank = c.shape(1), len(c.shape(0))
    if c.version < 7 and len(slopes) == 1 and slopes[0] > 1 and rank > 2:
        slope = c.emit(ops.Reshape((slopes[0], *(1 for _ in range(rank - 2)))), slope)
    y = c.emit(ops.PRelu(), x, slope)
    if y.type != x.type:
        raise c.error(f"the slope {slope.type} does not broadcast to the data {x.type}")
    return y


@converter("ThresholdedRelu")
def thresholded_relu(c: Conversion) -> Value:
    """Emit the rectifier with a threshold."""
    return c.emit(ops.ThresholdedRelu(c.attr("alpha", 1.0)), c.operand(0))


@converter("Elu")
def elu(c: Conversion) -> Value:
    """Emit the exponential linear unit."""
    return c.emit(ops.Elu(c.attr("alpha", 1.0)), c.operand(0))


@converter("Selu")
def selu(c: Conversion) -> Value:
    """Emit the scaled exponential linear unit; opset 1 had rounder defaults."""
    alpha, gamma = (1.6732, 1.0507) if c.version < 6 else (ops.Selu.alpha, ops.Selu.gamma)
    return c.emit(ops.Selu(c.attr("alpha", alpha), c.attr("gamma", gamma)), c.operand(0))


@converter("Celu")
def celu(c: Conversion) -> Value:
    """Emit the continuously differentiable exponential linear unit."""
    return c.emit(ops.Celu(c.attr("alpha", 1.0)), c.operand(0))


@converter("HardSigmoid")
def hard_sigmoid(c: Conversion) -> Value:
    """Emit the clamped line."""
    return c.emit(ops.HardSigmoid(c.attr("alpha", 0.2), c.attr("beta", 0.5)), c.operand(0))


@converter("HardSwish")
def hard_swish(c: Conversion) -> Value:
    """Emit the product with the clamped line."""
    return c.emit(ops.HardSwish(), c.operand(0))


@converter("Swish")
def swish(c: Conversion) -> Value:
    """Emit the product with the sigmoid."""
    return c.emit(ops.Swish(c.attr("alpha", 1.0)), c.operand(0))


@converter("Softplus")
def softplus(c: Conversion) -> Value:
    """Emit ``log(1 + e**x)``."""
    return c.emit(ops.Softplus(), c.operand(0))


@converter("Softsign")
def softsign(c: Conversion) -> Value:
    """Emit ``x / (1 + |x|)``."""
    return c.emit(ops.Softsign(), c.operand(0))


@converter("Mish")
def mish(c: Conversion) -> Value:
    """Emit ``x * tanh(softplus(x))``."""
    return c.emit(ops.Mish(), c.operand(0))


@converter("Gelu")
def gelu(c: Conversion) -> Value:
    """Emit the Gaussian error linear unit."""
    return c.emit(ops.Gelu(c.attr("approximate", "none")), c.operand(0))


@converter("Shrink")
def shrink(c: Conversion) -> Value:
    """Emit the shrinkage; the attribute lambd is the threshold."""
    return c.emit(ops.Shrink(c.attr("lambd", 0.5), c.attr("bias", 0.0)), c.operand(0))


@converter("Clip")
def clip(c: Conversion) -> Value:
    """Emit the lower, then the upper bound: where they cross, the upper one counts."""
    x = c.operand(0)
    low, high = _bounds(c, x)
    if low is not None:
        x = c.emit(ops.Maximum(), x, low)
    return x if high is None else c.emit(ops.Minimum(), x, high)


def _bounds(c: Conversion, x: Value) -> tuple[Value | None, Value | None]:
    """Return the bounds that exist: attributes before opset 11, operands from then on."""
    if c.version < 11:
        low, high = (c.attr(name) for name in ("min", "max"))
        infinite = {-math.inf, math.inf, None}
        return (
            None if low in infinite else c.emit.scalar_like(low, x),
            None if high in infinite else c.emit.scalar_like(high, x),
        )
    return _scalar(c, 1), _scalar(c, 2)


def _scalar(c: Conversion, position: int) -> Value | None:
    """Return an operand of one element as a scalar, so that it adds no axis to the result."""
    value = c.optional(position)
    if value is None:
        return None
    if c.tensor(position).size != 1:
        raise c.error(f"operand {position} must have one element, found {value.type}")
    return c.emit(ops.Reshape(()), value) if c.shape(position) else value


@converter("Softmax", "LogSoftmax", "Hardmax")
def softmax(c: Conversion) -> Value:
    """Emit the function along one axis; before opset 13 along all axes from one on."""
    kinds: dict[str, type[ops.Softmax | ops.LogSoftmax | ops.Hardmax]] = {
        "Softmax": ops.Softmax,
        "LogSoftmax": ops.LogSoftmax,
        "Hardmax": ops.Hardmax,
    }
    kind, x = kinds[c.type], c.operand(0)
    shape = c.shape(0)
    if c.version >= 13:
        return c.emit(kind(c.axis(c.attr("axis", -1), len(shape))), x)
    axis = c.attr("axis", 1)
    axis = axis if axis == len(shape) else c.axis(axis, len(shape))
    if shape and axis == len(shape) - 1:
        return c.emit(kind(axis), x)
    rows = c.emit(ops.Reshape((math.prod(shape[:axis]), math.prod(shape[axis:]))), x)
    return c.emit(ops.Reshape(shape), c.emit(kind(1), rows))
