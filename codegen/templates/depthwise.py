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
from .walk import Lines, in_tiles


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
        held = min(self.conv.weight_shape[-1], 5) * self.depth
        most = min(10, max(4, self.unit.registers - held - 2))
        return min(range(1, most + 1), key=lambda r: (self._cost(r), -r))

    def _cost(self, rows: int) -> float:
        """Return the cycles for a row of the window over all positions of a line."""
        width, window = self.conv.output_shape[-1], self.conv.weight_shape[-1]
        full, rest = divmod(width, rows)
        total = 0.0
        for r, times in ((rows, full), (rest, int(rest > 0))):
            columns = (r - 1) * self.conv.op.strides[-1] + window
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
    if conv is None or conv.is_spread or conv.op.groups == 1:
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
        in_tiles(self.emit, self.lines, self.plan.rows, self._channels)

    def _channels(self, line: Sequence[Expr], start: Expr, rows: int) -> None:
        lanes = self.emit.lanes
        blocks, rest = divmod(self.channels, lanes)
        with self.emit.loop(blocks) as block:
            self._tile(line, start, rows, (block * lanes, 0))
        if rest:
            # The last vector ends with the last channel and stores what is new in it.
            self._tile(line, start, rows, (self.channels - lanes, lanes - rest))

    def _tile(self, line: Sequence[Expr], start: Expr, rows: int, part: tuple[Expr, int]) -> None:
        """Compute ``rows`` positions for a vector of channels; the first few are not stored."""
        emit, (channel, skip) = self.emit, part
        totals = [emit.register(emit.constant(0)) for _ in range(rows)]
        *outer, width = self.conv.weight_shape[2:]
        with emit.nest(outer) as taps:
            at = [line[0], channel]
            for k, axis in enumerate(self.conv.axes[:-1]):
                source = axis.phases[0].source
                at.append(line[2 + k] * axis.stride + (taps[k] * axis.source_step + source))
            last = self.conv.axes[-1]
            at.append(start * last.stride + last.phases[0].source)
            weights = emit.flat(taps, outer) * (width * self.plan.depth * self.channels)
            self._row(totals, self.view.offset(at), weights + channel)
        for r, total in enumerate(totals):
            at = [line[0], channel + skip, *line[2:], start + r]
            self.epilogue.store(emit, total.lanes_from(skip), at, 1, emit.lanes - skip)

    def _row(self, totals: Sequence[Register], data: Expr, weights: Expr) -> None:
        """Add a row of the window: every column of the data to all positions that see it."""
        emit, depth, width = self.emit, self.plan.depth, self.conv.weight_shape[-1]
        axis = self.conv.axes[-1]
        held = [
            emit.name(emit.load(self.w, weights + k * self.channels)) for k in range(width * depth)
        ]
        seen: dict[int, list[tuple[int, int]]] = {}
        for r in range(len(totals)):
            for tap in range(width):
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
