# SPDX-License-Identifier: MIT
"""Transposed convolution: one direct convolution per phase of the result, zeros never read.

Positions of a result that is ``stride`` times as large as the data fall into ``stride`` phases
per axis. Those of one phase meet the data with the same taps, so each phase is a convolution
with a smaller window whose results lie ``stride`` positions apart. The phase along the last
axis is known when the kernel is written, those along the others follow from the line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...ir.graph import Node
from ...ir.types import Array
from ..packing import Packing
from ..views import View
from .base import VectorUnit
from .convolution import ConvolutionPlan, convolved
from .emitter import Expr, KernelEmitter, Register
from .epilogue import Epilogue
from .phases import Axis
from .tile import Tile, best_tile, multiply
from .walk import Lines, in_lines, in_runs


@dataclass(frozen=True, eq=False)
class TransposedConvolution(ConvolutionPlan):
    """A transposed convolution by phases."""

    def __str__(self) -> str:
        return f"transposed({self.tile.rows}x{self.tile.vectors}, lanes={self.unit.lanes})"

    @cached_property
    def tile(self) -> Tile:
        """Positions of a phase and vectors of channels that are computed at once."""
        width = self.conv.axes[-1].phases[0].count
        return best_tile(width, self.conv.output_shape[1], self.unit)

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights in the order in which tiles read them."""
        return {self.conv.weights: Packing("convolution", (self.tile.vectors * self.unit.lanes,))}

    def write(self, emit: KernelEmitter, views: Sequence[View]) -> None:
        """Write what the kernel does."""
        _Writer(self, emit, views).write()


def transposed_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> TransposedConvolution | None:
    """Return the plan of a group around a transposed convolution."""
    conv = convolved(node, arrays)
    if conv is None or not conv.is_spread or conv.op.groups != 1:
        return None
    return TransposedConvolution(conv, unit)


@dataclass(frozen=True)
class Taps:
    """The taps of one position that meet data, along every axis.

    Attributes:
        counts: how many, per spatial axis.
        taps: the first of them.
        sources: where the first of them reads.
    """

    counts: tuple[Expr, ...]
    taps: tuple[Expr, ...]
    sources: tuple[Expr, ...]

    @classmethod
    def at(cls, axes: Sequence[Axis], line: Sequence[Expr], phase: int, start: Expr) -> Taps:
        """Return those of position ``start`` of a phase of the last axis.

        Args:
            axes: the spatial axes.
            line: index of the line.
            phase: phase along the last axis.
            start: number of the position among those of the phase.
        """
        counts, taps, sources = [], [], []
        for axis, position in zip(axes[:-1], line[2:], strict=True):
            q, t = position % axis.period, position // axis.period
            counts.append(axis.pick(q, lambda p: p.taps))
            taps.append(axis.pick(q, lambda p: p.tap))
            sources.append(t * axis.stride + axis.pick(q, lambda p: p.source))
        last = axes[-1].phases[phase]
        counts.append(last.taps)
        taps.append(last.tap)
        sources.append(start * axes[-1].stride + last.source)
        return cls(tuple(counts), tuple(taps), tuple(sources))


class _Writer:
    def __init__(
        self, plan: TransposedConvolution, emit: KernelEmitter, views: Sequence[View]
    ) -> None:
        self.plan = plan
        self.conv = plan.conv
        self.emit = emit
        self.view = views[plan.conv.data]
        self.x = emit.buffers[plan.conv.data]
        self.w = emit.buffers[plan.conv.weights]
        self.epilogue = Epilogue(plan.conv.group, views, emit.buffers)
        self.block = plan.tile.vectors * emit.lanes
        self.lines = Lines.of(plan.conv.output_shape, [], False)

    def write(self) -> None:
        """Walk blocks of channels outside where the weights are many, inside where they are few."""
        emit, channels = self.emit, self.conv.output_shape[1]
        blocks, rest = divmod(channels, self.block)
        if 4 * math.prod(self.conv.weight_shape) > self.plan.unit.l2 // 2 and blocks > 1:
            with emit.share(blocks) as block:
                self._lines([(block, self.block)], split=False)
            if rest:
                with emit.only_last_thread():
                    self._lines([(blocks, rest)], split=False)
            return
        parts: list[tuple[Expr, int]] = [(k, self.block) for k in range(blocks)]
        self._lines(parts + [(blocks, rest)] * (rest > 0), split=True)

    def _lines(self, parts: Sequence[tuple[Expr, int]], split: bool) -> None:
        """Compute parts of the channels: number of a block and how many there are."""
        emit, alone = self.emit, self.lines.count == 1
        with in_lines(emit, self.lines, split) as line:
            for phase, p in enumerate(self.conv.axes[-1].phases):

                def visit(start: Expr, rows: int, phase: int = phase) -> None:
                    self._blocks(line, phase, start, rows, parts)

                in_runs(emit, p.count, self.plan.tile.rows, visit, split and alone)

    def _blocks(
        self,
        line: Sequence[Expr],
        phase: int,
        start: Expr,
        rows: int,
        parts: Sequence[tuple[Expr, int]],
    ) -> None:
        whole = [p for p in parts if p[1] == self.block]
        if len(whole) > 1:
            with self.emit.loop(len(whole)) as block:
                self._tile(line, phase, start, rows, (block, self.block))
        for part in parts:
            if len(whole) <= 1 or part[1] != self.block:
                self._tile(line, phase, start, rows, part)

    def _tile(
        self,
        line: Sequence[Expr],
        phase: int,
        start: Expr,
        rows: int,
        part: tuple[Expr, int],
    ) -> None:
        """Compute ``rows`` positions of a phase from ``start`` on, for a part of the channels."""
        emit, (block, channels) = self.emit, part
        vectors = -(-channels // emit.lanes)
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in range(rows)]
        self._multiply(totals, Taps.at(self.conv.axes, line, phase, start), line[0], block)
        last = self.conv.axes[-1]
        for r in range(rows):
            for j in range(vectors):
                count = min(emit.lanes, channels - j * emit.lanes)
                channel = block * self.block + j * emit.lanes
                at = [line[0], channel, *line[2:], (start + r) * last.period + phase]
                self.epilogue.store(emit, totals[r][j].lane, at, 1, count)

    def _multiply(
        self, totals: Sequence[Sequence[Register]], taps: Taps, image: Expr, block: Expr
    ) -> None:
        emit, axes = self.emit, self.conv.axes
        _, depth, *window = self.conv.weight_shape
        if 0 in taps.counts:
            return
        with emit.nest(taps.counts) as numbers:
            at = [image, 0]
            tap: list[Expr] = []
            for k, axis in enumerate(axes):
                at.append(taps.sources[k] + numbers[k] * axis.source_step)
                tap.append(taps.taps[k] + numbers[k] * axis.tap_step)
            first = self.view.offset(at)
            step = axes[-1].stride * self.view.strides[-1]
            number = block * math.prod(window) + emit.flat(tap, window)
            weights = number * (depth * self.block)
            with emit.loop(depth) as c:
                inputs = [
                    self.x[first + r * step + c * self.view.strides[1]] for r in range(len(totals))
                ]
                multiply(emit, totals, inputs, self.w, weights + c * self.block)


__all__ = ["Taps", "TransposedConvolution", "transposed_convolution"]
