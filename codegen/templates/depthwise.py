# SPDX-License-Identifier: MIT
"""Convolution of each channel, or of small groups of them, by itself: lanes are channels.

A row of the window loads every element of the data once and adds it to all positions of the
tile that see it. In a group of several channels each lane needs every channel of its group:
the loaded vector is permuted within groups, once per channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.graph import Node
from ...ir.types import Array
from ..packing import Packing
from ..views import Order, View
from .base import VectorUnit
from .convolution import ConvolutionPlan, convolved
from .emitter import Expr, KernelEmitter, Register
from .epilogue import Epilogue
from .phases import Phase
from .transposed import Taps
from .walk import Lines, in_lines, in_runs


@dataclass(frozen=True, eq=False)
class DepthwiseConvolution(ConvolutionPlan):
    """A convolution whose groups are one channel, or as many as divide a vector."""

    def __str__(self) -> str:
        return f"depthwise({self.rows}, groups of {self.depth}, lanes={self.unit.lanes})"

    @property
    def depth(self) -> int:
        """Channels of a group."""
        return self.conv.weight_shape[1]

    @cached_property
    def rows(self) -> int:
        """Positions along the last axis that are computed at once."""
        held = min(self._taps, 5) * self.depth
        most = min(10, max(4, self.unit.registers - held - 2))
        return min(range(1, most + 1), key=lambda r: (self._cost(r), -r))

    @property
    def _taps(self) -> int:
        """Taps of a row of the window that meet data, at most."""
        return max(p.taps for p in self.conv.axes[-1].phases)

    def _cost(self, rows: int) -> float:
        """Return the cycles for a row of the window over the positions of a phase of a line."""
        axis, window = self.conv.axes[-1], self._taps
        full, rest = divmod(axis.phases[0].count, rows)
        total = 0.0
        for r, times in ((rows, full), (rest, int(rest > 0))):
            columns = (r - 1) * axis.stride + window
            # Sums of fewer than five positions wait for each other.
            total += times * (max(r, 5) * window + 0.5 * (columns + window))
        return total

    @property
    def data_order(self) -> Order:
        """Channels together: they are the lanes."""
        return "channels_last"

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights of all output channels together."""
        return {self.conv.weights: Packing("outputs_innermost")}

    def write(self, emit: KernelEmitter, views: Sequence[View]) -> None:
        """Write what the kernel does."""
        _Writer(self, emit, views).write()


def depthwise_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> DepthwiseConvolution | None:
    """Return the plan of a group around a convolution in groups of few channels."""
    conv = convolved(node, arrays)
    if conv is None or conv.op.groups == 1:
        return None
    outputs, depth = conv.weight_shape[:2]
    square = outputs == conv.input_shape[1]
    if not square or unit.lanes % depth or outputs < unit.lanes:
        return None
    return DepthwiseConvolution(conv, unit)


class _Writer:
    def __init__(
        self, plan: DepthwiseConvolution, emit: KernelEmitter, views: Sequence[View]
    ) -> None:
        self.plan = plan
        self.conv = plan.conv
        self.emit = emit
        self.view = views[plan.conv.data]
        self.x = emit.buffers[plan.conv.data]
        self.w = emit.buffers[plan.conv.weights]
        self.epilogue = Epilogue(plan.conv.group, views, emit.buffers)
        self.channels = plan.conv.output_shape[1]
        self.lines = Lines.of(plan.conv.output_shape, [], False)

    def write(self) -> None:
        """Walk positions outside and channels inside, where neighbours in memory are."""
        emit, alone = self.emit, self.lines.count == 1
        with in_lines(emit, self.lines) as line:
            for phase, p in enumerate(self.conv.axes[-1].phases):

                def visit(start: Expr, rows: int, phase: int = phase) -> None:
                    self._channels([*line, start], rows, phase)

                in_runs(emit, p.count, self.plan.rows, visit, alone)

    def _channels(self, position: Sequence[Expr], rows: int, phase: int) -> None:
        lanes = self.emit.lanes
        blocks, rest = divmod(self.channels, lanes)
        with self.emit.loop(blocks) as block:
            self._tile(position, rows, phase, (block * lanes, 0))
        if rest:
            # The last vector ends with the last channel and stores what is new in it.
            self._tile(position, rows, phase, (self.channels - lanes, lanes - rest))

    def _tile(
        self, position: Sequence[Expr], rows: int, phase: int, part: tuple[Expr, int]
    ) -> None:
        """Compute ``rows`` positions of a phase for a vector of channels from part[0] on.

        The first few channels, part[1], are not stored.
        """
        emit, (channel, skip) = self.emit, part
        *line, start = position
        totals = [emit.register(emit.constant(0)) for _ in range(rows)]
        *outer, width = self.conv.weight_shape[2:]
        *axes, last = self.conv.axes
        met = Taps.at(self.conv.axes, line, phase, start)
        if 0 not in met.counts:
            with emit.nest(met.counts[:-1]) as numbers:
                at, taps = [line[0], channel], []
                for k, axis in enumerate(axes):
                    at.append(met.sources[k] + numbers[k] * axis.source_step)
                    taps.append(met.taps[k] + numbers[k] * axis.tap_step)
                first = self.view.offset([*at, met.sources[-1]])
                weights = emit.flat(taps, outer) * (width * self.plan.depth * self.channels)
                self._row(totals, first, weights + channel, last.phases[phase])
        for r, total in enumerate(totals):
            at = [line[0], channel + skip, *line[2:], (start + r) * last.period + phase]
            self.epilogue.store(emit, total.lanes_from(skip), at, 1, emit.lanes - skip)

    def _row(self, totals: Sequence[Register], data: Expr, weights: Expr, phase: Phase) -> None:
        """Add a row of the window: every column of the data to all positions that see it."""
        emit, depth, axis = self.emit, self.plan.depth, self.conv.axes[-1]
        taps = [phase.tap + k * axis.tap_step for k in range(phase.taps)]
        numbers = [tap * depth + c for tap in taps for c in range(depth)]
        held = [emit.name(emit.load(self.w, weights + n * self.channels)) for n in numbers]
        seen: dict[int, list[tuple[int, int]]] = {}
        for r in range(len(totals)):
            for tap in range(phase.taps):
                seen.setdefault(r * axis.stride + tap * axis.source_step, []).append((r, tap))
        for column, pairs in sorted(seen.items()):
            x = emit.name(emit.load(self.x, data + column * self.view.strides[-1]))
            for c in range(depth):
                spread = emit.name(self._within_groups(x, c))
                for r, tap in pairs:
                    totals[r].add(spread * held[tap * depth + c])

    def _within_groups(self, x: Expr, channel: int) -> Expr:
        """Return a vector whose lanes hold channel number ``channel`` of their group."""
        depth = self.plan.depth
        if depth == 1:
            return x
        return tirx.Shuffle([x], [k - k % depth + channel for k in range(self.emit.lanes)])


__all__ = ["DepthwiseConvolution", "depthwise_convolution"]
