# SPDX-License-Identifier: MIT
"""Normalisation of feature maps by pooled moments, and the way back in two passes over memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..op import Values
from ..types import TensorType, Type
from .arithmetic import Add, Mul, Sub
from .elementary import Rsqrt
from .elementwise import result_type
from .moments import PooledMoments, SlabMoments, SlabSums, slabs_of
from .reduction import ReduceMean, ReduceSum
from .shape import BroadcastTo, Reshape, expand_axes, slice_along

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Normalisation:
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` by statistics of the data.

    Attributes:
        groups: groups of neighbouring channels that share statistics; C for none.
        batch: whether all samples share them.
        epsilon: added to the variance.
    """

    groups: int
    batch: bool
    epsilon: float

    @staticmethod
    def fits(x: Type, scale: Type) -> bool:
        """Whether data and scales have the types that the two functions below are for."""
        return (
            isinstance(x, TensorType)
            and x.is_static
            and x.rank >= 3
            and x.size > 0
            and x.dtype in ("float32", "float64")
            and scale == TensorType(x.dtype, x.dims[1:2])
        )

    def statistics(self, emit: Emitter, x: Value) -> Value:
        """Emit mean and variance (N, 2, C), (1, 2, C) of a batch."""
        dims = result_type(x).dims
        size = math.prod(dims[2:]) // slabs_of(dims)
        return emit(PooledMoments(size, self.groups, self.batch), emit(SlabMoments(), x))

    def forward(
        self, emit: Emitter, statistics: Value, x: Value, scale: Value, bias: Value
    ) -> Value:
        """Emit ``y`` by given statistics; the mean is taken first, so a large one costs nothing."""
        centred, inverse = self._centred(emit, x, statistics)
        factor = emit(Mul(), inverse, scale)
        scaled = emit(Mul(), centred, _per_channel(emit, factor, x))
        return emit(Add(), scaled, _per_channel(emit, bias, x))

    def backward(self, emit: Emitter, x: Value, scale: Value, dy: Value) -> Values:
        """Emit the cotangents of data, scale and bias.

        With ``z = (x - mean) / deviation``, one pass sums ``dy`` and ``dy * z`` per channel,
        another computes ``dx = (scale * dy - E[scale * dy] - z * E[scale * dy * z]) / deviation``.
        """
        centred, inverse = self._centred(emit, x, self.statistics(emit, x))
        normal = emit(Mul(), centred, _per_channel(emit, inverse, x))
        sums = emit(SlabSums(), dy, emit(Mul(), dy, normal))
        axes = (0, 1) if self.batch else (1,)
        totals = emit(ReduceSum(axes), sums)
        if self.batch:
            totals = expand_axes(emit, totals, (0,))
        dbias, dscale = (
            emit(ReduceSum((0, 1)), slice_along(emit, totals, 1, k, k + 1)) for k in (0, 1)
        )
        means = self._means(emit, emit(Mul(), totals, scale), x)
        mean, slope = (emit(Mul(), _row(emit, means, k), inverse) for k in (0, 1))
        direct = emit(Mul(), dy, _per_channel(emit, emit(Mul(), inverse, scale), x))
        bent = emit(Mul(), centred, _per_channel(emit, emit(Mul(), slope, inverse), x))
        shared = emit(Add(), bent, _per_channel(emit, mean, x))
        return emit(Sub(), direct, shared), dscale, dbias

    def _centred(self, emit: Emitter, x: Value, statistics: Value) -> tuple[Value, Value]:
        """Emit ``x - mean`` and ``1 / deviation`` (N, C)."""
        mean, variance = (_row(emit, statistics, k) for k in (0, 1))
        epsilon = emit.scalar_like(self.epsilon, variance)
        inverse = emit(Rsqrt(), emit(Add(), variance, epsilon))
        return emit(Sub(), x, _per_channel(emit, mean, x)), inverse

    def _means(self, emit: Emitter, sums: Value, x: Value) -> Value:
        """Emit sums per channel (N, 2, C) as means over all that share statistics."""
        samples, channels, *spatial = result_type(x).dims
        count = math.prod(spatial) * (samples if self.batch else 1)
        means = emit(Mul(), sums, emit.scalar_like(1 / count, sums))
        members = channels // self.groups
        if members == 1:
            return means
        kept = result_type(sums).dims[0]
        grouped = emit(Reshape((kept, 2, self.groups, members)), means)
        mean = expand_axes(emit, emit(ReduceMean((3,)), grouped), (3,))
        spread = emit(BroadcastTo((kept, 2, self.groups, members)), mean)
        return emit(Reshape((kept, 2, channels)), spread)


def _row(emit: Emitter, statistics: Value, number: int) -> Value:
    """Emit one of the two numbers per channel of (N, 2, C) as (N, C)."""
    samples, _, channels = result_type(statistics).dims
    row = slice_along(emit, statistics, 1, number, number + 1)
    return emit(Reshape((samples, channels)), row)


def _per_channel(emit: Emitter, parameter: Value, x: Value) -> Value:
    """Emit numbers (C) or (N, C) in a shape that broadcasts to ``x`` (N, C, ...)."""
    ones = (1,) * (result_type(x).rank - 2)
    return emit(Reshape((*result_type(parameter).dims, *ones)), parameter)


__all__ = ["Normalisation"]
