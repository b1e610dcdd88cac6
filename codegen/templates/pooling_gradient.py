# SPDX-License-Identifier: MIT
"""The way back through max pooling: each thread adds up whole planes of a few channels.

A window's first maximum differs from lane to lane, so its cotangent is added to every element of
the window, zero where that is not the maximum. Planes of a few channels stay in the second cache
while windows that overlap add to them, in the order of the windows whatever the threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from tvm import tirx

from ...ir.graph import Node
from ...ir.ops import MaxPoolGradient
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..values import dims, dtype
from ..views import Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, Register, emitting

_VECTORS = 2
"""Vectors of channels in a plane: a cache line, which is the least."""
_MOST_VECTORS = 8
"""The most: longer runs of memory are fetched ahead better, but planes leave the second cache."""
_ENOUGH_PARTS = 8
"""Planes that threads share well."""
_MOST_TAPS = 27
_MOST_REGIONS = 27
"""Windows at borders are written out for themselves, all taps of each."""

Range: TypeAlias = tuple[int, int, tuple[int, ...]]
"""First position along an axis, how many there are, and the taps that lie inside of the data."""


@dataclass(frozen=True)
class PoolingGradient(Plan):
    """The cotangents of windows at their first maxima.

    Attributes:
        op: what is computed.
        shape: (N, C, spatial...) of the data.
        positions: how many windows there are along each spatial axis.
        unit: the processor core.
    """

    op: MaxPoolGradient
    shape: Dims
    positions: Dims
    unit: VectorUnit

    def __str__(self) -> str:
        return f"pooling_gradient(lanes={self.unit.lanes})"

    @property
    def operands(self) -> Sequence[Request]:
        """Channels are loaded as vectors."""
        return [Request("channels_last")] * 2

    @property
    def result(self) -> Request:
        """Channels are stored as vectors."""
        return Request("channels_last")

    @property
    def regions(self) -> list[tuple[Range, ...]]:
        """Windows that see the same taps, by ranges of positions along each axis."""
        sizes = self.shape[2:]
        return list(product(*(self._ranges(k, sizes[k]) for k in range(len(sizes)))))

    @property
    def tiles(self) -> bool:
        """Whether every element of the data lies in exactly one window."""
        op, sizes = self.op, self.shape[2:]
        return (
            op.window == op.strides
            and not any((*op.low, *op.high))
            and set(op.dilation) == {1}
            and all(n == p * w for n, p, w in zip(sizes, self.positions, op.window, strict=True))
        )

    def _ranges(self, axis: int, size: int) -> list[Range]:
        op, found = self.op, list[Range]()
        for position in range(self.positions[axis]):
            start = position * op.strides[axis] - op.low[axis]
            taps = tuple(
                t for t in range(op.window[axis]) if 0 <= start + t * op.dilation[axis] < size
            )
            if found and found[-1][2] == taps:
                first, count, _ = found.pop()
                found.append((first, count + 1, taps))
            else:
                found.append((position, 1, taps))
        return found

    @property
    def vectors(self) -> int:
        """Vectors of channels in a plane."""
        count = _MOST_VECTORS
        while count > _VECTORS and (
            self.shape[0] * self.shape[1] < _ENOUGH_PARTS * count * self.unit.lanes
            or self.shape[1] < count * self.unit.lanes
        ):
            count //= 2
        return count

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, ["float32"] * 3) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def pooling_gradient(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> PoolingGradient | None:
    """Return the plan of the gradient of a maximum over small windows of float32."""
    assert isinstance(node.op, Fused)
    (*others, last) = node.op.body.nodes
    op = last.op
    if others or not isinstance(op, MaxPoolGradient) or dtype(last.inputs[0]) != "float32":
        return None
    if len(set(last.inputs)) < 2 or math.prod(op.window) > _MOST_TAPS:
        return None
    x, dy = map(dims, last.inputs)
    plan = PoolingGradient(op, x, dy[2:], unit)
    fits = len(plan.regions) <= _MOST_REGIONS and x[1] >= unit.lanes
    return plan if fits else None


class _Writer:
    def __init__(self, plan: PoolingGradient, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.x, self.dy, self.dx = zip(emit.buffers, views, strict=True)
        self.samples, self.channels, *self.spatial = plan.shape

    def write(self) -> None:
        """Give each thread a part of the planes."""
        emit, size = self.emit, self.plan.vectors * self.emit.lanes
        whole, rest = divmod(self.channels, size)
        if whole:
            with emit.share(self.samples * whole) as number:
                n, block = (number // whole, number % whole) if whole > 1 else (number, 0)
                self._plane(n, block * size, [emit.lanes] * self.plan.vectors)
        if rest:
            widths = [min(emit.lanes, rest - c) for c in range(0, rest, emit.lanes)]
            with emit.share(self.samples) as n:
                self._plane(n, whole * size, widths)

    def _plane(self, n: Expr, channel: Expr, widths: Sequence[int]) -> None:
        emit = self.emit
        if not self.plan.tiles:
            buffer, view = self.dx
            with emit.nest(self.spatial) as at:
                for first, width in self._parts(channel, widths):
                    emit.store(buffer, view.offset([n, first, *at]), emit.spread(0, width), width)
        for ranges in self.plan.regions:
            taps = list(product(*(r[2] for r in ranges)))
            if not taps:
                continue
            with emit.nest([count for _, count, _ in ranges]) as numbers:
                position = [first + k for (first, _, _), k in zip(ranges, numbers, strict=True)]
                if len(set(widths)) == 1:
                    with emit.loop(len(widths)) as v:
                        self._window(n, channel + v * emit.lanes, position, taps, widths[0])
                    continue
                for first, width in self._parts(channel, widths):
                    self._window(n, first, position, taps, width)

    def _parts(self, channel: Expr, widths: Sequence[int]) -> list[tuple[Expr, int]]:
        return [(channel + v * self.emit.lanes, width) for v, width in enumerate(widths)]

    def _window(
        self, n: Expr, channel: Expr, position: Sequence[Expr], taps: Sequence[Dims], width: int
    ) -> None:
        """Add a window's cotangent at its first maximum."""
        emit, op = self.emit, self.plan.op
        places = [
            [
                p * stride + tap * step - low
                for p, tap, stride, step, low in zip(
                    position, window, op.strides, op.dilation, op.low, strict=True
                )
            ]
            for window in taps
        ]
        at = self._first_maximum([[n, channel, *place] for place in places], width)
        buffer, view = self.dy
        dy = emit.load(buffer, view.offset([n, channel, *position]), width)
        dy = emit.register(dy, lanes=width)
        buffer, view = self.dx
        for number, place in enumerate(places):
            offset = view.offset([n, channel, *place])
            here = tirx.EQ(at.value, emit.spread(number, width))
            part = tirx.Select(here, dy.value, emit.spread(0, width))
            if not self.plan.tiles:
                part = emit.load(buffer, offset, width) + part
            emit.store(buffer, offset, part, width)

    def _first_maximum(self, indices: Sequence[Sequence[Expr]], width: int) -> Register:
        """Return the number of the first element that is the largest, or of the first NaN."""
        emit, (buffer, view) = self.emit, self.x
        items = [
            emit.register(emit.load(buffer, view.offset(index), width), lanes=width).value
            for index in indices
        ]
        largest = emit.register(items[0], lanes=width)
        unordered = tirx.isnan(items[0])
        for item in items[1:]:
            largest.set(tirx.Select(largest.value > item, largest.value, item))
            unordered = tirx.Or(unordered, tirx.isnan(item))
        # NaN equals nothing, so that only elements that are NaN are found below.
        largest.set(tirx.Select(unordered, emit.spread(math.nan, width), largest.value))
        at = emit.register(emit.spread(len(items) - 1, width), lanes=width)
        for number, item in reversed(list(enumerate(items[:-1]))):
            found = tirx.Or(tirx.EQ(item, largest.value), tirx.isnan(item))
            at.set(tirx.Select(found, emit.spread(number, width), at.value))
        return at


__all__ = ["PoolingGradient", "pooling_gradient"]
