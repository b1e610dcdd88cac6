# SPDX-License-Identifier: MIT
"""Rewrites that find softmax and normalisations in their decompositions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir import Node, Op, TensorType, Value, ops
from ..ir.types import FLOATS
from .canonical_arithmetic import is_filled
from .reading import dims_of
from .rewriting import Scope, op_of, static_rewrite


@static_rewrite(ops.Div)
def softmax(scope: Scope, node: Node) -> Value | None:
    """``e / sum(e)`` with ``e = exp(x - max(x))`` or ``exp(x)``, along one axis."""
    numerator, total = node.inputs
    summed = _reduced(scope, total, ops.ReduceSum)
    power = scope.producer(numerator, ops.Exp)
    if summed is None or power is None or summed.x != numerator or len(summed.axes) != 1:
        return None
    x = power.inputs[0]
    shifted = scope.producer(x, ops.Sub)
    if shifted is not None:
        largest = _reduced(scope, shifted.inputs[1], ops.ReduceMax)
        if largest is not None and largest.x == shifted.inputs[0] and largest.axes == summed.axes:
            x = shifted.inputs[0]
    return scope(ops.Softmax(summed.axes[0]), x)


@static_rewrite(ops.Mul, ops.Div)
def normalisation(scope: Scope, node: Node) -> Value | None:
    """``d / sqrt(mean(d * d) + epsilon)`` over trailing axes.

    With ``d = x - mean(x)`` this is a layer norm, else a root mean square norm.
    """
    for d, deviation in (node.inputs, node.inputs[::-1]):
        found = _inverse_root(scope, node, deviation)
        if found is None or d.type != node.output.type:
            continue
        variance, epsilon = found
        axes = _mean_square(scope, variance, d)
        rank = len(dims_of(d))
        if not axes or axes != tuple(range(axes[0], rank)) or not _is_float(d):
            continue
        one = scope.scalar_like(1, d)
        x = _centred(scope, d, axes)
        if x is None:
            return scope(ops.RmsNorm(axes[0], epsilon), d, one)
        return scope(ops.LayerNorm(axes[0], epsilon), x, one)
    return None


def _inverse_root(scope: Scope, node: Node, value: Value) -> tuple[Value, float] | None:
    """Return variance and epsilon if multiplying (or dividing) by ``value`` normalises."""
    divides = isinstance(node.op, ops.Div)
    if divides and value != node.inputs[1]:
        return None
    inner: Value | None
    if not divides and (quotient := scope.producer(value, ops.Reciprocal, ops.Div)):
        if isinstance(quotient.op, ops.Div) and scope.number(quotient.inputs[0]) != 1:
            return None
        inner = _under_root(scope, quotient.inputs[-1])
    elif divides:
        inner = _under_root(scope, value)
    else:
        root = scope.producer(value, ops.Rsqrt)
        inner = root.inputs[0] if root else None
    total = scope.producer(inner, ops.Add) if inner else None
    epsilon = scope.number(total.inputs[1]) if total else None
    return None if total is None or epsilon is None else (total.inputs[0], epsilon)


def _under_root(scope: Scope, value: Value) -> Value | None:
    node = scope.producer(value, ops.Sqrt, ops.Pow)
    if node is None or (isinstance(node.op, ops.Pow) and scope.number(node.inputs[1]) != 0.5):
        return None
    return node.inputs[0]


def _mean_square(scope: Scope, value: Value, d: Value) -> tuple[int, ...] | None:
    """Return the axes if ``value`` is ``mean(d * d)`` over them."""
    mean = _reduced(scope, value, ops.ReduceMean)
    if mean is None:
        return None
    product = scope.producer(mean.x, ops.Mul)
    return mean.axes if product is not None and product.inputs == (d, d) else None


def _centred(scope: Scope, d: Value, axes: tuple[int, ...]) -> Value | None:
    """Return ``x`` if ``d`` is ``x - mean(x)`` over ``axes``."""
    node = scope.producer(d, ops.Sub)
    mean = _reduced(scope, node.inputs[1], ops.ReduceMean) if node else None
    if node is None or mean is None or mean.x != node.inputs[0] or mean.axes != axes:
        return None
    return mean.x


@dataclass(frozen=True)
class _Reduced:
    """A reduction of ``x`` over ``axes``, which the result has with size 1."""

    x: Value
    axes: tuple[int, ...]


def _reduced(scope: Scope, value: Value, kind: type[Op]) -> _Reduced | None:
    reshape = scope.producer(value, ops.Reshape)
    inner = scope.producer(reshape.inputs[0] if reshape else value, kind)
    if inner is None:
        return None
    x, axes = inner.inputs[0], tuple(sorted(inner.op.attributes()["axes"]))
    kept = tuple(1 if k in axes else n for k, n in enumerate(dims_of(x)))
    # Leading axes may be left out: the result broadcasts all the same.
    found = dims_of(value)
    return _Reduced(x, axes) if (1,) * (len(kept) - len(found)) + found == kept else None


# Scale and bias


@static_rewrite(ops.Mul)
def scale_of_rows(scope: Scope, node: Node) -> Value | None:
    """Multiplying a layer or root mean square norm without scale gives it the scale."""
    for value, scale in (node.inputs, node.inputs[::-1]):
        norm = scope.producer(value, ops.LayerNorm, ops.RmsNorm)
        if norm is None or len(norm.inputs) != 2 or not _is_fitting(scope, norm, scale):
            continue
        if len(norm.outputs) == 1 and is_filled(scope.array(norm.inputs[1]), 1):
            return scope(norm.op, norm.inputs[0], scale)
    return None


@static_rewrite(ops.Add)
def bias_of_rows(scope: Scope, node: Node) -> Value | None:
    """Adding to a layer norm without bias gives it the bias."""
    for value, bias in (node.inputs, node.inputs[::-1]):
        norm = scope.producer(value, ops.LayerNorm)
        if norm is None or len(norm.inputs) != 2 or not _is_fitting(scope, norm, bias):
            continue
        if len(norm.outputs) == 1:
            return scope(norm.op, *norm.inputs, bias)
    return None


def _is_fitting(scope: Scope, norm: Node, value: Value) -> bool:
    """Whether ``value`` has one element per position along the normalised axes, or one."""
    axis = op_axis(norm)
    normalised = dims_of(norm.inputs[0])[axis:]
    dims = dims_of(value)
    while dims and dims[0] == 1 and len(dims) > len(normalised):
        dims = dims[1:]
    return (
        scope.uses(norm.outputs[0]) == 1
        and len(dims_of(value)) <= len(dims_of(norm.inputs[0]))
        and dims == normalised[len(normalised) - len(dims) :]
    )


def op_axis(norm: Node) -> int:
    """Return the first normalised axis, counted from the front."""
    axis: int = norm.op.attributes()["axis"]
    return axis % len(dims_of(norm.inputs[0]))


@static_rewrite(ops.Mul)
def instance_norm(scope: Scope, node: Node) -> Value | None:
    """A layer norm of the spatial axes times one constant per channel is an instance norm."""
    for value, scale in (node.inputs, node.inputs[::-1]):
        norm = scope.producer(value, ops.LayerNorm)
        if norm is None or len(norm.inputs) != 2 or op_axis(norm) != 2 or len(norm.outputs) > 1:
            continue
        x = norm.inputs[0]
        per_channel = channel_constant(scope, scale, x)
        plain = is_filled(scope.array(norm.inputs[1]), 1) and scope.uses(value) == 1
        if per_channel is None or not plain:
            continue
        epsilon = op_of(norm, ops.LayerNorm).epsilon
        return scope(ops.InstanceNorm(epsilon), x, per_channel, zeros(scope, per_channel))
    return None


@static_rewrite(ops.Reshape)
def group_norm(scope: Scope, node: Node) -> Value | None:
    """An instance norm of the channels reshaped into groups, and back, is a group norm."""
    norm = scope.producer(node.inputs[0], ops.InstanceNorm)
    if norm is None or scope.uses(node.inputs[0]) != 1:
        return None
    before = scope.producer(norm.inputs[0], ops.Reshape)
    plain = is_filled(scope.array(norm.inputs[1]), 1) and is_zero(scope, norm.inputs[2])
    if before is None or not plain or before.inputs[0].type != node.output.type:
        return None
    x = before.inputs[0]
    dims, inner = dims_of(x), dims_of(norm.inputs[0])
    if len(dims) < 3 or inner[0] != dims[0] or dims[1] % inner[1]:
        return None
    op = ops.GroupNorm(inner[1], op_of(norm, ops.InstanceNorm).epsilon)
    ones = scope.constant(np.ones(dims[1]), _dtype(x))
    return scope(op, x, ones, zeros(scope, ones))


@static_rewrite(ops.Mul)
def scale_of_channels(scope: Scope, node: Node) -> Value | None:
    """Multiplying an instance or group norm without scale and bias gives it the scale."""
    for value, scale in (node.inputs, node.inputs[::-1]):
        norm = scope.producer(value, ops.InstanceNorm, ops.GroupNorm)
        if norm is None or scope.uses(value) != 1:
            continue
        x, ones, bias = norm.inputs
        per_channel = channel_constant(scope, scale, x)
        plain = is_filled(scope.array(ones), 1) and is_zero(scope, bias)
        if per_channel is not None and plain:
            return scope(norm.op, x, per_channel, bias)
    return None


@static_rewrite(ops.Add)
def bias_of_channels(scope: Scope, node: Node) -> Value | None:
    """Adding to an instance or group norm without bias gives it the bias."""
    for value, bias in (node.inputs, node.inputs[::-1]):
        norm = scope.producer(value, ops.InstanceNorm, ops.GroupNorm)
        if norm is None or scope.uses(value) != 1 or not is_zero(scope, norm.inputs[2]):
            continue
        per_channel = channel_constant(scope, bias, norm.inputs[0])
        if per_channel is not None:
            return scope(norm.op, norm.inputs[0], norm.inputs[1], per_channel)
    return None


def channel_constant(scope: Scope, value: Value, x: Value) -> Value | None:
    """Return ``value`` with shape (C) if it is a constant with one element per channel of x."""
    array, sizes = scope.array(value), dims_of(x)
    if array is None or len(sizes) < 2:
        return None
    shape = (1,) * (len(sizes) - array.ndim) + array.shape
    wanted = (1, sizes[1], *(1 for _ in sizes[2:]))
    if len(shape) != len(sizes) or shape not in (wanted, (1,) * len(sizes)):
        return None
    return scope.constant(np.broadcast_to(array.ravel(), sizes[1]).copy())


def zeros(scope: Scope, like: Value) -> Value:
    """Add a parameter of zeros of the type of ``like``."""
    return scope.constant(np.zeros(dims_of(like)), _dtype(like))


def is_zero(scope: Scope, value: Value) -> bool:
    """Whether ``value`` is a parameter of zeros, of either sign."""
    array = scope.array(value)
    return is_filled(array, 0.0) or is_filled(array, -0.0)


def _dtype(value: Value) -> str:
    assert isinstance(value.type, TensorType)
    return value.type.dtype


def _is_float(value: Value) -> bool:
    return _dtype(value) in FLOATS


ROWS = (
    softmax,
    normalisation,
    scale_of_rows,
    bias_of_rows,
    instance_norm,
    group_norm,
    scale_of_channels,
    bias_of_channels,
)
