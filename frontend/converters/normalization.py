# SPDX-License-Identifier: MIT
"""Batch, layer, root mean square, instance, group, norm, and mean-variance normalisation."""

from __future__ import annotations

import math

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ...ir.ops.normalization import channels
from ...ir.ops.widening import widen
from ..convert import Conversion, converter


@converter("BatchNormalization")
def batch_norm(c: Conversion) -> Value | tuple[Value, ...]:
    """Emit the inference form, or the training form where the model asks for it."""
    x, *parameters = (c.operand(k) for k in range(5))
    shape = c.shape(0)
    if len(shape) == 1:  # "C is assumed to be 1"
        x = c.emit(ops.Reshape((shape[0], 1)), x)
    elif c.version < 9 and not c.attr("spatial", 1):
        x, parameters = _as_one_axis(c, x, parameters)
    parameters = [_in_type_of(c, p, x) for p in parameters]
    epsilon = c.attr("epsilon", 1e-5)
    if not _is_training(c):
        return c.emit(ops.Reshape(shape), c.emit(ops.BatchNorm(epsilon), x, *parameters))
    op = ops.BatchNormTraining(epsilon, c.attr("momentum", 0.9))
    y, mean, variance = c.emit.multi(op, x, *parameters)
    mean, variance = (c.emit(ops.Cast(c.dtype(3)), v) for v in (mean, variance))
    saved = _moments(c, x) if c.wants(3) or c.wants(4) else ()
    return (c.emit(ops.Reshape(shape), y), mean, variance, *saved)


def _moments(c: Conversion, x: Value) -> tuple[Value, Value]:
    """Return the batch's mean and variance, results 3 and 4 before version 14."""
    axes = tuple(k for k in range(result_type(x).rank) if k != 1)
    wide = widen(c.emit, x)
    mean = c.emit(ops.ReduceMean(axes), wide)
    centred = c.emit(ops.Sub(), wide, channels(c.emit, mean, wide))
    variance = c.emit(ops.ReduceMean(axes), c.emit(ops.Mul(), centred, centred))
    return c.emit(ops.Cast(c.dtype(3)), mean), c.emit(ops.Cast(c.dtype(3)), variance)


def _is_training(c: Conversion) -> bool:
    """Whether the batch's statistics count; until version 14 further results say so."""
    if c.version >= 14:
        return bool(c.attr("training_mode", 0))
    training = not c.attr("is_test", 0) if c.version < 7 else c.count_results > 1
    return training and c.count_results > 1


def _as_one_axis(c: Conversion, x: Value, parameters: list[Value]) -> tuple[Value, list[Value]]:
    """Make every position a channel, which is what ``spatial=0`` means."""
    shape = c.shape(0)
    count = math.prod(shape[1:])
    flat = [c.emit(ops.Reshape((count,)), p) for p in parameters]
    return c.emit(ops.Reshape((shape[0], count)), x), flat


def _in_type_of(c: Conversion, parameter: Value, x: Value) -> Value:
    """Return a parameter in the type that data of the type of ``x`` are computed in."""
    wide = "float64" if result_type(x).dtype == "float64" else "float32"
    given = "float64" if result_type(parameter).dtype == "float64" else "float32"
    return parameter if wide == given else c.emit(ops.Cast(wide), parameter)


@converter("LayerNormalization")
def layer_norm(c: Conversion) -> Value | tuple[Value, ...]:
    """Emit the layer norm; its statistics are results in the type of ``stash_type``."""
    x, scale = c.operand(0), _in_type_of(c, c.operand(1), c.operand(0))
    bias = c.optional(2)
    operands = [x, scale] if bias is None else [x, scale, _in_type_of(c, bias, x)]
    axis = c.axis(c.attr("axis", -1), len(c.shape(0)))
    wanted = c.wants(1) or c.wants(2)
    op = ops.LayerNorm(axis, c.attr("epsilon", 1e-5), statistics=wanted)
    if not wanted:
        return c.emit(op, *operands)
    stash = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}[c.attr("stash_type", 1)]
    y, *statistics = c.emit.multi(op, *operands)
    return (y, *(c.emit(ops.Cast(stash), v) for v in statistics))


@converter("RMSNormalization")
def rms_norm(c: Conversion) -> Value:
    """Emit the root mean square norm; the result has the type of the scale."""
    x, scale = c.operand(0), c.operand(1)
    axis = c.axis(c.attr("axis", -1), len(c.shape(0)))
    op = ops.RmsNorm(axis, c.attr("epsilon", 1e-5))
    if c.dtype(0) == c.dtype(1):
        return c.emit(op, x, scale)
    y = c.emit(op, widen(c.emit, x), _in_type_of(c, scale, x))
    return c.emit(ops.Cast(c.dtype(1)), y)


@converter("InstanceNormalization")
def instance_norm(c: Conversion) -> Value:
    """Emit the instance norm."""
    return c.emit(ops.InstanceNorm(c.attr("epsilon", 1e-5)), *(c.operand(k) for k in range(3)))


@converter("GroupNormalization")
def group_norm(c: Conversion) -> Value:
    """Emit the group norm; before version 21 scale and bias were given per group."""
    x, scale, bias = (c.operand(k) for k in range(3))
    groups, count = c.attr("num_groups"), c.shape(0)[1]
    if c.version < 21 and groups != count:
        scale, bias = (_per_channel(c, p, groups, count) for p in (scale, bias))
    return c.emit(ops.GroupNorm(groups, c.attr("epsilon", 1e-5)), x, scale, bias)


def _per_channel(c: Conversion, parameter: Value, groups: int, count: int) -> Value:
    if groups < 1 or count % groups:
        raise c.error(f"num_groups is {groups}, which does not divide {count} channels")
    column = c.emit(ops.Reshape((groups, 1)), parameter)
    spread = c.emit(ops.BroadcastTo((groups, count // groups)), column)
    return c.emit(ops.Reshape((count,)), spread)


@converter("LpNormalization")
def lp_norm(c: Conversion) -> Value:
    """Emit the division by a norm along one axis."""
    axis = c.axis(c.attr("axis", -1), len(c.shape(0)))
    return c.emit(ops.LpNorm(axis, c.attr("p", 2)), c.operand(0))


@converter("MeanVarianceNormalization")
def mean_variance_norm(c: Conversion) -> Value:
    """Emit the normalisation over axes; version 1 named them by ``across_channels``."""
    x, rank = c.operand(0), len(c.shape(0))
    across = c.version < 9 and c.attr("across_channels", 0)
    default: tuple[int, ...] = (0, 1, 2, 3) if across else (0, 2, 3)
    axes = tuple(sorted(c.axis(a, rank) for a in c.attr("axes", default)))
    return c.emit(ops.MeanVarianceNorm(axes), x)
