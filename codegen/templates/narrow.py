# SPDX-License-Identifier: MIT
"""Convolution with few output channels: lanes are input channels, summed at the end.

With fewer results per position than lanes, a vector of output channels would be mostly empty.
Here a vector holds input channels of one position; each result has a vector of partial sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.graph import Node
from ...ir.types import Array
from ..packing import Packing
from ..views import Order, Request, View
from .base import VectorUnit
from .convolution import ConvolutionPlan, convolved
from .emitter import Expr, KernelEmitter, Register
from .epilogue import Epilogue
from .sums import lane_sums
from .transposed import Taps
from .walk import Lines, in_lines, in_runs


@dataclass(frozen=True, eq=False)
class NarrowConvolution(ConvolutionPlan):
    """A convolution, transposed or not, with few output channels."""

    def __str__(self) -> str:
        return f"narrow({self.rows}x{self.conv.output_shape[1]}, lanes={self.unit.lanes})"

    @cached_property
    def rows(self) -> int:
        """Positions that are computed at once."""
        outputs = self.conv.output_shape[1]
        most = max(12, 3 * self.unit.lanes // 2)
        fits = [
            r
            for r in (1, 2, 4, 8, 16)
            if r * outputs <= most and (r + 1) * outputs < self.unit.registers
        ]
        return max(fits)

    @property
    def data_order(self) -> Order:
        """Channels together: they are the lanes."""
        return "channels_last"

    @property
    def result(self) -> Request:
        """Neighbouring positions are stored as vectors."""
        return Request("row_major")

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights of all input channels together."""
        return {self.conv.weights: Packing("channels_innermost")}

    def write(self, emit: KernelEmitter, views: Sequence[View]) -> None:
        """Write what the kernel does."""
        _Writer(self, emit, views).write()


def narrow_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> NarrowConvolution | None:
    """Return the plan of a group around a convolution of many channels to few."""
    conv = convolved(node, arrays)
    if conv is None or conv.op.groups != 1:
        return None
    if conv.output_shape[1] > min(4, unit.lanes // 2) or conv.input_shape[1] % unit.lanes:
        return None
    return NarrowConvolution(conv, unit)


class _Writer:
    def __init__(self, plan: NarrowConvolution, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.conv = plan.conv
        self.emit = emit
        self.view = views[plan.conv.data]
        self.x = emit.buffers[plan.conv.data]
        self.w = emit.buffers[plan.conv.weights]
        self.epilogue = Epilogue(plan.conv.group, views, emit.buffers)
        self.lines = Lines.of(plan.conv.output_shape, [], False)

    def write(self) -> None:
        """Walk lines; in each, runs of all phases together, then what some phases have more."""
        emit, alone = self.emit, self.lines.count == 1
        phases = self.conv.axes[-1].phases
        common = min(p.count for p in phases)
        with in_lines(emit, self.lines) as line:

            def visit(start: Expr, rows: int) -> None:
                self._tile(line, start, rows)

            if common:
                in_runs(emit, common, self.plan.rows, visit, alone)
            for phase, p in enumerate(phases):
                for start in range(common, p.count):
                    with emit.only_last_thread(alone):
                        self._single(line, phase, start)

    def _tile(self, line: Sequence[Expr], start: Expr, rows: int) -> None:
        """Compute ``rows`` positions of every phase from ``start`` on."""
        emit, outputs = self.emit, self.conv.output_shape[1]
        period = self.conv.axes[-1].period
        sums = [self._sums(line, phase, start, rows) for phase in range(period)]
        for o in range(outputs):
            lanes = [(m % period, o * rows + m // period) for m in range(rows * period)]
            for first in range(0, len(lanes), emit.lanes):
                chosen = lanes[first : first + emit.lanes]
                vector = emit.register(_gathered(emit, sums, chosen))
                at = [line[0], o, *line[2:], start * period + first]
                self.epilogue.store(emit, vector.lane, at, len(at) - 1, len(chosen))

    def _single(self, line: Sequence[Expr], phase: int, start: int) -> None:
        """Compute one position of one phase."""
        sums = self._sums(line, phase, start, 1)
        for o in range(self.conv.output_shape[1]):
            at = [line[0], o, *line[2:], start * self.conv.axes[-1].period + phase]
            self.epilogue.store(self.emit, sums[0].lanes_from(o), at, len(at) - 1, 1)

    def _sums(self, line: Sequence[Expr], phase: int, start: Expr, rows: int) -> list[Register]:
        """Return registers with the sums of ``rows`` positions, output by output."""
        emit, outputs = self.emit, self.conv.output_shape[1]
        totals = [[emit.register(emit.constant(0)) for _ in range(rows)] for _ in range(outputs)]
        self._multiply(totals, Taps.at(self.conv.axes, line, phase, start), line[0])
        return lane_sums(emit, [t for row in totals for t in row])

    def _multiply(self, totals: Sequence[Sequence[Register]], taps: Taps, image: Expr) -> None:
        emit, axes = self.emit, self.conv.axes
        outputs, depth, *window = self.conv.weight_shape
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
            weights = emit.flat(tap, window) * (outputs * depth)
            with emit.loop(depth // emit.lanes) as block:
                c = block * emit.lanes
                held = [
                    emit.name(emit.load(self.w, weights + o * depth + c)) for o in range(outputs)
                ]
                for r in range(len(totals[0])):
                    x = emit.name(emit.load(self.x, first + r * step + c))
                    for o in range(outputs):
                        totals[o][r].add(x * held[o])


def _gathered(
    emit: KernelEmitter, sums: Sequence[Sequence[Register]], chosen: Sequence[tuple[int, int]]
) -> Expr:
    """Return a vector of the chosen sums: (list, number within its registers), one per lane."""
    places = [(k, n // emit.lanes, n % emit.lanes) for k, n in chosen]
    places += [places[-1]] * (emit.lanes - len(places))
    needed = sorted({(k, register) for k, register, _ in places})
    start = {key: number * emit.lanes for number, key in enumerate(needed)}
    vectors = [sums[k][register].value for k, register in needed]
    return tirx.Shuffle(vectors, [start[k, register] + lane for k, register, lane in places])


__all__ = ["NarrowConvolution", "narrow_convolution"]
