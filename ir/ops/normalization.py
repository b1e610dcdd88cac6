# SPDX-License-Identifier: MIT
"""Normalisations: batch, layer, root mean square, instance, group, norm, mean and variance."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Composite, Cotangents, Types, Values
from ..types import TensorType, Type
from .arithmetic import Abs, Add, Div, Mul, Sub
from .broadcasting import unbroadcast
from .elementary import Rsqrt, Sqrt
from .elementwise import result_type
from .reduction import ReduceMean, ReduceSum
from .shape import Reshape, expand_axes
from .widening import Widened, narrow, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value
    from .normalization_gradient import Normalisation


class SameType(Widened):
    """Base of normalisations with one result of the first operand's type."""

    def infer(self, *inputs: Type) -> Types:
        """Return the first operand's type, after checking all through the expansion."""
        (y,) = super().infer(*inputs)
        if y != inputs[0]:
            raise self.error(f"parameters broadcast {inputs[0]} to {y}")
        return (y,)


class OwnStatistics(Composite):
    """Base of normalisations (x, scale, bias, ...) by mean and variance of the data itself.

    Gradient: two passes over memory, see :meth:`.normalization_gradient.Normalisation.backward`;
    that of other results than ``y``, and of narrow floats, is the expansion's.
    """

    @abstractmethod
    def normalisation(self, x: TensorType) -> Normalisation:
        """Return which elements share statistics."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Emit the cotangents of data, scale and bias."""
        x, scale = inputs[:2]
        dy, *others = cotangents
        method = self.normalisation(result_type(x))
        if dy is None or any(others) or not method.fits(x.type, scale.type):
            return super().vjp(emit, inputs, outputs, cotangents)
        return (*method.backward(emit, x, scale, dy), *(None for _ in inputs[3:]))


@dataclass(frozen=True)
class BatchNorm(SameType):
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` per channel (axis 1).

    Shapes: x (N, C, ...); scale, bias, mean and variance (C). ONNX: BatchNormalization-15.

    References:
        Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    name: ClassVar[str] = "batch_norm"
    epsilon: float = 1e-5

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply the centred data by one factor per channel."""
        x, scale, bias, mean, variance = inputs
        factor = emit(Mul(), scale, _inverse_deviation(emit, variance, self.epsilon))
        centred = emit(Sub(), x, channels(emit, mean, x))
        scaled = emit(Mul(), centred, channels(emit, factor, x))
        return (emit(Add(), scaled, channels(emit, bias, x)),)


@dataclass(frozen=True)
class BatchNormTraining(OwnStatistics):
    """Batch normalisation by the batch's own statistics, which also update the running ones.

    ``running = momentum * running + (1 - momentum) * current``, with the variance of the
    population, not of a sample.

    Shapes: x (N, C, ...); scale, bias, running mean and running variance (C). Results: y and
        the new running mean and variance. ONNX: BatchNormalization-15 with training_mode.
    """

    name: ClassVar[str] = "batch_norm_training"
    epsilon: float = 1e-5
    momentum: float = 0.9

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce over every axis but the channels, normalise, and blend."""
        x, scale, bias, running_mean, running_variance = (widen(emit, v) for v in inputs)
        axes = tuple(k for k in range(result_type(x).rank) if k != 1)
        centred, mean, variance = _moments(emit, x, axes)
        factor = emit(Mul(), scale, _inverse_deviation(emit, variance, self.epsilon))
        scaled = emit(Mul(), centred, channels(emit, factor, x))
        y = emit(Add(), scaled, channels(emit, bias, x))
        return (
            narrow(emit, y, inputs[0]),
            narrow(emit, self.blend(emit, running_mean, mean), inputs[3]),
            narrow(emit, self.blend(emit, running_variance, variance), inputs[4]),
        )

    def normalisation(self, x: TensorType) -> Normalisation:
        """Return the channels of all samples."""
        from .normalization_gradient import Normalisation

        return Normalisation(x.dims[1], True, self.epsilon)

    def blend(self, emit: Emitter, old: Value, new: Value) -> Value:
        """Emit the new running statistic."""
        kept = emit(Mul(), old, emit.scalar_like(self.momentum, old))
        return emit(Add(), kept, emit(Mul(), new, emit.scalar_like(1 - self.momentum, new)))


@dataclass(frozen=True)
class LayerNorm(Composite):
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` over the axes from ``axis`` on.

    Narrow floats are computed in float32 and rounded once. ONNX: LayerNormalization-17.

    Shapes: x; scale and the optional bias broadcast to x. Results: y and, with
        ``statistics``, the mean and ``1 / sqrt(variance + epsilon)`` in the computed type,
        with axes of size 1 in place of the reduced ones.

    References:
        Ba, Kiros, Hinton, Layer normalization, arXiv:1607.06450, 2016.
    """

    name: ClassVar[str] = "layer_norm"
    axis: int = -1
    epsilon: float = 1e-5
    statistics: bool = False

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce, normalise and scale."""
        if len(inputs) not in (2, 3):
            raise self.error(f"expected x, scale and perhaps bias, found {len(inputs)} operands")
        x, scale, *bias = (widen(emit, v) for v in inputs)
        axes = _trailing(self, x, self.axis)
        centred, mean, variance = _moments(emit, x, axes)
        mean, variance = expand_axes(emit, mean, axes), expand_axes(emit, variance, axes)
        inverse = _inverse_deviation(emit, variance, self.epsilon)
        y = emit(Mul(), emit(Mul(), centred, inverse), scale)
        for offset in bias:
            y = emit(Add(), y, offset)
        y = narrow(emit, y, inputs[0])
        return (y, mean, inverse) if self.statistics else (y,)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return LayerNormGradient, and sums of ``dy`` with the rows before scale and bias.

        The gradients of the statistics, and of narrow floats, are the expansion's.
        """
        x, scale, *bias = inputs
        dy, *others = cotangents
        type = result_type(x)
        if dy is None or any(others) or type.dtype not in ("float32", "float64"):
            return super().vjp(emit, inputs, outputs, cotangents)
        dx = emit(LayerNormGradient(self.axis, self.epsilon), x, scale, dy)
        normal = emit(LayerNorm(self.axis, self.epsilon), x, emit.scalar_like(1, x))
        dscale = unbroadcast(emit, emit(Mul(), dy, normal), scale)
        return (dx, dscale, *(unbroadcast(emit, dy, b) for b in bias))


@dataclass(frozen=True)
class LayerNormGradient(Composite):
    """Cotangent of the data of LayerNorm: ``dx = (g - E[g] - z * E[g * z]) / deviation``.

    Here ``g = scale * dy`` and ``z`` are the data before scale and bias; means are over the
    axes from ``axis`` on. Shapes: x; scale broadcasts to x; dy and the result are like x.
    Gradient: that of the expansion.
    """

    name: ClassVar[str] = "layer_norm_gradient"
    axis: int = -1
    epsilon: float = 1e-5

    def infer(self, *inputs: Type) -> Types:
        """Return the type of ``x``."""
        x, _, dy = self.tensors(inputs, 3)
        (result,) = super().infer(*inputs)
        if x != dy or result != x:
            raise self.error(
                f"expected dy like x, and a scale for it: {', '.join(map(str, inputs))}"
            )
        return (x,)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce the rows four times."""
        x, scale, dy = inputs
        axes = _trailing(self, x, self.axis)
        centred, _, variance = _moments(emit, x, axes)
        inverse = _inverse_deviation(emit, expand_axes(emit, variance, axes), self.epsilon)
        z, g = emit(Mul(), centred, inverse), emit(Mul(), dy, scale)
        mean = expand_axes(emit, emit(ReduceMean(axes), g), axes)
        slope = expand_axes(emit, emit(ReduceMean(axes), emit(Mul(), g, z)), axes)
        bent = emit(Add(), emit(Mul(), z, slope), mean)
        return (emit(Mul(), emit(Sub(), g, bent), inverse),)


@dataclass(frozen=True)
class RmsNorm(Widened):
    """``y = x / sqrt(mean(x**2) + epsilon) * scale`` over the axes from ``axis`` on.

    Shapes: x; scale broadcasts to x. ONNX: RMSNormalization-23.

    References:
        Zhang and Sennrich, Root mean square layer normalization, NeurIPS 2019.
    """

    name: ClassVar[str] = "rms_norm"
    axis: int = -1
    epsilon: float = 1e-5

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Divide by the root mean square and scale."""
        x, scale = inputs
        axes = _trailing(self, x, self.axis)
        square = expand_axes(emit, emit(ReduceMean(axes), emit(Mul(), x, x)), axes)
        inverse = _inverse_deviation(emit, square, self.epsilon)
        return (emit(Mul(), emit(Mul(), x, inverse), scale),)


@dataclass(frozen=True)
class InstanceNorm(SameType, OwnStatistics):
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` per sample and channel.

    Shapes: x (N, C, D1, ...); scale and bias (C). ONNX: InstanceNormalization-22.

    References:
        Ulyanov, Vedaldi, Lempitsky, Instance normalization, arXiv:1607.08022, 2016.
    """

    name: ClassVar[str] = "instance_norm"
    epsilon: float = 1e-5

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce over the spatial axes."""
        x, scale, bias = inputs
        axes = tuple(range(2, result_type(x).rank))
        normal = _normalised(emit, x, axes, self.epsilon)
        scaled = emit(Mul(), normal, channels(emit, scale, x))
        return (emit(Add(), scaled, channels(emit, bias, x)),)

    def normalisation(self, x: TensorType) -> Normalisation:
        """Return the channels of each sample."""
        from .normalization_gradient import Normalisation

        return Normalisation(x.dims[1], False, self.epsilon)


@dataclass(frozen=True)
class GroupNorm(SameType, OwnStatistics):
    """Normalisation by mean and variance of each sample's groups of neighbouring channels.

    Shapes: x (N, C, ...) with C a multiple of ``groups``; scale and bias (C).
    ONNX: GroupNormalization-21.

    References:
        Wu and He, Group normalization, ECCV 2018.
    """

    name: ClassVar[str] = "group_norm"
    groups: int = 1
    epsilon: float = 1e-5

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Normalise in the shape (N, groups, the rest)."""
        x, scale, bias = inputs
        type = result_type(x)
        if type.rank < 2 or self.groups < 1 or type.dims[1] % self.groups:
            raise self.error(f"{self.groups} groups do not divide the channels of {type}")
        samples, count = type.dims[:2]
        rows = (samples, self.groups, count // self.groups, *type.dims[2:])
        axes = tuple(range(2, len(rows)))
        normal = _normalised(emit, emit(Reshape(rows), x), axes, self.epsilon)
        scaled = emit(Mul(), emit(Reshape(type.dims), normal), channels(emit, scale, x))
        return (emit(Add(), scaled, channels(emit, bias, x)),)

    def normalisation(self, x: TensorType) -> Normalisation:
        """Return the groups of each sample."""
        from .normalization_gradient import Normalisation

        return Normalisation(self.groups, False, self.epsilon)


@dataclass(frozen=True)
class LpNorm(SameType):
    """``x`` divided by its ``p``-norm along ``axis``, ``p`` 1 or 2; 0 where the norm is 0.

    ONNX: LpNormalization-22.
    """

    name: ClassVar[str] = "lp_norm"
    axis: int = -1
    p: int = 2

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Divide; a sum of 0 becomes 1 before the root, whose slope is infinite at 0."""
        from .comparison import Equal, Select

        (x,) = inputs
        if self.p not in (1, 2):
            raise self.error(f"p must be 1 or 2, found {self.p}")
        axes = _trailing(self, x, self.axis)[:1]
        powers = emit(Abs(), x) if self.p == 1 else emit(Mul(), x, x)
        total = expand_axes(emit, emit(ReduceSum(axes), powers), axes)
        zero, one = emit.scalar_like(0, x), emit.scalar_like(1, x)
        norm = emit(Select(), emit(Equal(), total, zero), one, total)
        return (emit(Div(), x, norm if self.p == 1 else emit(Sqrt(), norm)),)


@dataclass(frozen=True)
class MeanVarianceNorm(SameType):
    """``y = (x - mean) / (sqrt(variance) + epsilon)`` over ``axes``.

    ONNX: MeanVarianceNormalization-13.
    """

    name: ClassVar[str] = "mean_variance_norm"
    axes: tuple[int, ...] = (0, 2, 3)
    epsilon: float = 1e-9

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Divide the centred data by the deviation."""
        (x,) = inputs
        centred, _, variance = _moments(emit, x, self.axes)
        deviation = emit(Sqrt(), expand_axes(emit, variance, self.axes))
        floor = emit.scalar_like(self.epsilon, x)
        return (emit(Div(), centred, emit(Add(), deviation, floor)),)


def channels(emit: Emitter, parameter: Value, x: Value) -> Value:
    """Emit one number per channel in a shape that broadcasts to ``x`` (N, C, ...)."""
    rank = result_type(x).rank
    if rank < 2 or result_type(parameter).rank == 0:
        return parameter
    return emit(Reshape((*result_type(parameter).dims, *(1 for _ in range(rank - 2)))), parameter)


def _moments(emit: Emitter, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value, Value]:
    """Emit the centred data, the mean and the population variance over ``axes``.

    The variance is that of the centred data: the difference of two large squares would
    cancel, and could be negative.
    """
    mean = emit(ReduceMean(axes), x)
    centred = emit(Sub(), x, expand_axes(emit, mean, axes))
    return centred, mean, emit(ReduceMean(axes), emit(Mul(), centred, centred))


def _normalised(emit: Emitter, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    centred, _, variance = _moments(emit, x, axes)
    inverse = _inverse_deviation(emit, variance, epsilon)
    return emit(Mul(), centred, expand_axes(emit, inverse, axes))


def _inverse_deviation(emit: Emitter, variance: Value, epsilon: float) -> Value:
    return emit(Rsqrt(), emit(Add(), variance, emit.scalar_like(epsilon, variance)))


def _trailing(op: Composite, x: Value, axis: int) -> tuple[int, ...]:
    """Return the axes from ``axis`` on; negative ones count from the end."""
    rank = result_type(x).rank
    if not -rank <= axis < rank:
        raise op.error(f"axis {axis} does not exist in {x.type}")
    return tuple(range(axis % rank, rank))


__all__ = [
    "BatchNorm",
    "BatchNormTraining",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LayerNormGradient",
    "LpNorm",
    "MeanVarianceNorm",
    "RmsNorm",
]
