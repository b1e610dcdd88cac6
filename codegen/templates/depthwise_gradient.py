# SPDX-License-Identifier: MIT
"""The gradient of weights of convolutions of single channels, or of few: lanes are channels.

The sums of a window's taps are in registers while a row of positions passes; each row's are added
to those before. In a group of several channels, the data are permuted within groups, once per
channel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.graph import Node
from ...ir.types import Array
from ..views import Halo, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, Register, emitting
from .transposing import store_columns
from .weight_gradient import WeightGradient, plan_of

_Sum = tuple[tuple[int, ...], int]
"""Tap along the inner axes, and channel of the group."""


@dataclass(frozen=True, eq=False)
class DepthwiseGradient(Plan):
    """A gradient of weights whose groups are one channel, or as many as divide a vector.

    Attributes:
        direct: the same as one product per group.
    """

    direct: WeightGradient

    def __str__(self) -> str:
        return (
            f"depthwise_gradient({len(self.parts)}x{len(self.parts[0])}, groups of {self.depth}, "
            f"lanes={self.unit.lanes})"
        )

    @property
    def unit(self) -> VectorUnit:
        """The processor core."""
        return self.direct.unit

    @property
    def channels(self) -> int:
        """Of either tensor."""
        return self.direct.shapes[0][1]

    @property
    def depth(self) -> int:
        """Channels of a group."""
        return self.direct.weight_shape[1]

    @cached_property
    def inner(self) -> int:
        """How many axes' taps are summed up at once, from the last."""
        window = self.direct.op.window
        fitting = [
            n for n in range(1, len(window) + 1) if math.prod(window[-n:]) <= self._most_sums
        ]
        return max(fitting, default=1)

    @property
    def _most_sums(self) -> int:
        return self.unit.registers - 4

    @cached_property
    def parts(self) -> list[list[_Sum]]:
        """What is summed up in one pass over the positions, pass by pass."""
        window = self.direct.op.window[-self.inner :]
        sums = list(itertools.product(itertools.product(*map(range, window)), range(self.depth)))
        count = -(-len(sums) // self._most_sums)
        return [sums[len(sums) * k // count : len(sums) * (k + 1) // count] for k in range(count)]

    @property
    def halo(self) -> Halo:
        """Zeros that windows reach around the data."""
        around = ((0, 0), (0, 0), *(a.around for a in self.direct.axes))
        return around if any(map(any, around)) else ()

    @property
    def operands(self) -> Sequence[Request]:
        """Channels together: they are the lanes."""
        requests = list(self.direct.operands)
        requests[self.direct.rows.operand] = Request("channels_last", self.halo)
        requests[self.direct.vectors.operand] = Request("channels_last")
        return requests

    @property
    def result(self) -> Request:
        """Row by row, as gradients of parameters are wanted."""
        return self.direct.result

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        dtypes = [*self.direct.group.dtypes, "float32"]
        with emitting(self.unit.lanes, dtypes) as (emission, emit):
            scratch = _Writer(self, emit, views).write()
        return Written(emission.function, (4 * scratch,))


def depthwise_gradient(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> DepthwiseGradient | None:
    """Return the plan of a gradient of weights in groups of few channels."""
    direct = plan_of(node, unit, rows_are_data=True)
    if direct is None or direct.op.groups == 1 or set(direct.op.input_dilation) != {1}:
        return None
    x, dz = direct.shapes
    depth = direct.weight_shape[1]
    if x[1] != dz[1] or unit.lanes % depth or x[1] < unit.lanes:
        return None
    if direct.group.result != direct.group.anchor.output or len(direct.group.body.nodes) > 1:
        return None
    return DepthwiseGradient(direct)


class _Writer:
    def __init__(self, plan: DepthwiseGradient, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        data, gradient = plan.direct.rows.operand, plan.direct.vectors.operand
        self.data, self.gradient = views[data], views[gradient]
        self.x, self.dz = emit.buffers[data], emit.buffers[gradient]
        self.target, self.sums = emit.buffers[-2:]
        self.taps = math.prod(plan.direct.op.window)
        self.rows = self.taps * plan.depth

    def write(self) -> int:
        """Do this thread's share of the channels; return the elements of scratch."""
        plan, emit = self.plan, self.emit
        vectors = -(-plan.channels // emit.lanes)
        size = self.rows * emit.lanes
        with emit.share(vectors) as vector, emit.loop(self.rows) as row:
            emit.store(self.sums, vector * size + row * emit.lanes, emit.constant(0))
        lines = [a.positions for a in plan.direct.axes[:-1]]
        with emit.nest((plan.direct.batch, *lines)) as line, emit.share(vectors) as vector:
            # The last vector ends with the last channel.
            channel = emit.scalar(tirx.min(vector * emit.lanes, plan.channels - emit.lanes))
            self._line(line, channel, emit.scalar(vector * size))
        with emit.share(vectors) as vector:
            channel = tirx.min(vector * emit.lanes, plan.channels - emit.lanes)
            source = self.sums, vector * size, emit.lanes
            target = self.target, emit.scalar(channel * self.rows), self.rows
            store_columns(emit, source, target, self.rows, emit.lanes)
        return vectors * size

    def _line(self, line: Sequence[Expr], channel: Expr, sums: Expr) -> None:
        """Add the products of a line of positions to the sums of a vector of channels."""
        plan, emit = self.plan, self.emit
        axes, (image, *line) = plan.direct.axes, line
        with emit.nest(plan.direct.op.window[: -plan.inner]) as taps:
            taps = [*taps, *[0] * plan.inner]
            at = [
                t * a.stride + k * a.step + a.offset
                for a, t, k in zip(axes, [*line, 0], taps, strict=True)
            ]
            x = emit.scalar(self.data.offset([image, channel, *at]))
            dz = emit.scalar(self.gradient.offset([image, channel, *line, 0]))
            first = emit.flat(taps, plan.direct.op.window)
            for part in plan.parts:
                self._row((x, dz), sums + first * emit.lanes, part)

    def _row(self, starts: tuple[Expr, Expr], sums: Expr, part: Sequence[_Sum]) -> None:
        """Add the products of a row of positions to the sums of some taps and channels."""
        plan, emit, axis = self.plan, self.emit, self.plan.direct.axes[-1]
        totals = [emit.register(emit.constant(0)) for _ in part]
        with emit.loop(axis.positions) as t:
            dz = emit.name(emit.load(self.dz, starts[1] + t * self.gradient.strides[-1]))
            x = starts[0] + t * (axis.stride * self.data.strides[-1])
            self._position(x, dz, list(zip(part, totals, strict=True)))
        for (tap, channel), total in zip(part, totals, strict=True):
            at = emit.flat(tap, plan.direct.op.window[-plan.inner :]) + channel * self.taps
            place = sums + at * emit.lanes
            emit.store(self.sums, place, emit.load(self.sums, place) + total.value)

    def _position(self, x: Expr, dz: Expr, totals: Sequence[tuple[_Sum, Register]]) -> None:
        emit, depth = self.emit, self.plan.depth
        axes, strides = self.plan.direct.axes, self.data.strides
        for tap, group in itertools.groupby(totals, key=lambda pair: pair[0][0]):
            steps = zip(tap, axes[-len(tap) :], strides[-len(tap) :], strict=True)
            seen = emit.load(self.x, x + sum(k * a.step * s for k, a, s in steps))
            if depth == 1:
                next(group)[1].add(seen * dz)
                continue
            seen = emit.name(seen)
            for (_, channel), total in group:
                order = [k - k % depth + channel for k in range(emit.lanes)]
                total.add(tirx.Shuffle([seen], order) * dz)


__all__ = ["DepthwiseGradient", "depthwise_gradient"]
