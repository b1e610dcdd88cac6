# SPDX-License-Identifier: MIT
"""Windows over spread-out data as several plain windows, none of which meets a zero in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from ...ir.ops import Conv
from ..views import Dims, Halo
from .emitter import Expr


@dataclass(frozen=True)
class Phase:
    """Positions along an axis whose windows meet the data with the same taps.

    Attributes:
        count: how many there are.
        taps: how many taps meet data.
        tap: the first of them.
        source: where the first tap of the first position reads.
    """

    count: int
    taps: int
    tap: int
    source: int


@dataclass(frozen=True)
class Axis:
    """How windows move along an axis: position ``q + t * period`` belongs to phase ``q``.

    Its tap ``tap + j * tap_step`` reads element ``source + j * source_step + t * stride``.

    Attributes:
        phases: one per remainder.
        tap_step: taps from one that meets data to the next.
        source_step: elements of the data between them.
        stride: elements between what neighbouring positions of a phase read.
    """

    phases: tuple[Phase, ...]
    tap_step: int
    source_step: int
    stride: int

    @property
    def period(self) -> int:
        """Positions from one of a phase to the next."""
        return len(self.phases)

    def around(self, size: int) -> tuple[int, int]:
        """Return how far windows reach over both ends of data of ``size``."""
        low = high = 0
        for p in self.phases:
            if p.taps and p.count:
                reach = (p.taps - 1) * self.source_step + (p.count - 1) * self.stride
                low = max(low, -p.source)
                high = max(high, p.source + reach - (size - 1))
        return low, high

    def pick(self, number: Expr, field: Callable[[Phase], int]) -> Expr:
        """Return what ``field`` is for the phase of this number."""
        values = [field(p) for p in self.phases]
        if isinstance(number, int):
            return values[number]
        chosen: Expr = values[-1]
        for k in reversed(range(len(values) - 1)):
            if any(v != values[k] for v in values[k + 1 :]):
                chosen = tirx.Select(number == k, tirx.const(values[k], "int32"), chosen)
        return chosen


def axes_of(op: Conv, window: Dims, positions: Dims) -> tuple[Axis, ...]:
    """Return how the windows of a convolution move along its spatial axes.

    >>> op = Conv((1,), (1,), (1,), (1,), (2,))
    >>> [axis] = axes_of(op, (3,), (7,))
    >>> [(p.count, p.taps, p.tap, p.source) for p in axis.phases]
    [(4, 1, 1, 0), (3, 2, 0, 0)]
    """
    return tuple(
        _axis(*numbers)
        for numbers in zip(
            window, positions, op.strides, op.dilation, op.input_dilation, op.low, strict=True
        )
    )


def _axis(taps: int, positions: int, stride: int, dilation: int, spread: int, low: int) -> Axis:
    period = spread // math.gcd(spread, stride)
    tap_step = spread // math.gcd(spread, dilation)
    phases = []
    for q in range(period):
        met = [k for k in range(taps) if (q * stride + k * dilation - low) % spread == 0]
        first = met[0] if met else 0
        source = (q * stride + first * dilation - low) // spread
        phases.append(Phase(-(-(positions - q) // period), len(met), first, source))
    return Axis(tuple(phases), tap_step, tap_step * dilation // spread, period * stride // spread)


def halo_around(axes: Sequence[Axis], size: Dims) -> Halo:
    """Return how far windows reach over the ends of data (N, C, spatial...) of ``size``."""
    around = ((0, 0), (0, 0), *(a.around(n) for a, n in zip(axes, size[2:], strict=True)))
    return around if any(map(any, around)) else ()


__all__ = ["Axis", "Phase", "axes_of", "halo_around"]
