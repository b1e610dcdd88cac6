# SPDX-License-Identifier: MIT
"""Convolution of few channels to few: lanes are neighbouring positions, weights are broadcast.

Data and result lie row by row. The last vector of a row starts early enough to end with it,
and stores only what the one before it has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...ir.graph import Node
from ...ir.types import Array
from ..packing import Packing
from ..views import Order, Request, View
from .base import VectorUnit
from .convolution import ConvolutionPlan, convolved
from .emitter import Expr, KernelEmitter, Register
from .epilogue import Epilogue
from .transposed import Taps
from .walk import Lines, in_lines

_UNROLLED = 48
"""Products of broadcast weights that are written out in the innermost loop."""


@dataclass(frozen=True, eq=False)
class PlanarConvolution(ConvolutionPlan):
    """A convolution that moves along rows one position at a time."""

    def __str__(self) -> str:
        return f"planar({self.conv.output_shape[1]}x{self.vectors}, lanes={self.unit.lanes})"

    @cached_property
    def vectors(self) -> int:
        """Vectors of positions that are computed at once."""
        outputs, unit = self.conv.output_shape[1], self.unit
        most = min(12 // outputs, (unit.registers - 1 - outputs) // outputs, 8)
        return max(1, min(most, self.conv.output_shape[-1] // unit.lanes))

    @property
    def data_order(self) -> Order:
        """Row by row: positions are the lanes."""
        return "row_major"

    @property
    def result(self) -> Request:
        """Neighbouring positions are stored as vectors."""
        return Request("row_major")

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights of all output channels together."""
        return {self.conv.weights: Packing("convolution", (self.conv.output_shape[1],))}

    def write(self, emit: KernelEmitter, views: Sequence[View]) -> None:
        """Write what the kernel does."""
        _Writer(self, emit, views).write()


def planar_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> PlanarConvolution | None:
    """Return the plan of a group around a convolution of few channels to few, if rows are long."""
    conv = convolved(node, arrays)
    if conv is None or conv.op.groups != 1 or conv.is_spread or conv.op.strides[-1] != 1:
        return None
    if conv.output_shape[1] > min(4, unit.lanes // 2) or conv.output_shape[-1] < unit.lanes:
        return None
    return PlanarConvolution(conv, unit)


class _Writer:
    def __init__(self, plan: PlanarConvolution, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.conv = plan.conv
        self.emit = emit
        self.view = views[plan.conv.data]
        self.x = emit.buffers[plan.conv.data]
        self.w = emit.buffers[plan.conv.weights]
        self.epilogue = Epilogue(plan.conv.group, views, emit.buffers)
        self.lines = Lines.of(plan.conv.output_shape, [], False)

    def write(self) -> None:
        """Walk lines in whole tiles, then the rest of each."""
        emit, alone = self.emit, self.lines.count == 1
        size = self.plan.vectors * emit.lanes
        tiles, rest = divmod(self.lines.width, size)
        with in_lines(emit, self.lines) as line:
            if tiles:
                with emit.share(tiles, alone) as tile:
                    self._tile(line, tile * size, self.plan.vectors, 0)
            if rest:
                vectors = -(-rest // emit.lanes)
                start = self.lines.width - vectors * emit.lanes
                with emit.only_last_thread(alone):
                    self._tile(line, start, vectors, tiles * size - start)

    def _tile(self, line: Sequence[Expr], start: Expr, vectors: int, done: int) -> None:
        """Compute ``vectors`` of positions from ``start`` on; the first ``done`` are stored."""
        emit, outputs = self.emit, self.conv.output_shape[1]
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in range(outputs)]
        self._multiply(totals, Taps.at(self.conv.axes, line, 0, start), line[0])
        for o in range(outputs):
            for j in range(vectors):
                skip = done if j == 0 else 0
                at = [line[0], o, *line[2:], start + j * emit.lanes + skip]
                self.epilogue.store(
                    emit,
                    totals[o][j].lanes_from(skip),
                    at,
                    len(at) - 1,
                    emit.lanes - skip,
                )

    def _multiply(self, totals: Sequence[Sequence[Register]], taps: Taps, image: Expr) -> None:
        """Add products for all taps; those along a row are written out if they are few."""
        emit, axes = self.emit, self.conv.axes
        _, depth, *window = self.conv.weight_shape
        loops, inner = list(window), 1
        if depth * window[-1] * len(totals) <= _UNROLLED:
            inner, loops[-1] = loops[-1], 1
        with emit.nest(loops) as numbers, emit.loop(depth if inner == 1 else 1) as channel:
            for tap in range(inner):
                numbers[-1] = tap if inner > 1 else numbers[-1]
                at = [image, 0]
                at += [taps.sources[k] + numbers[k] * a.source_step for k, a in enumerate(axes)]
                for c in range(depth if inner > 1 else 1):
                    at[1] = channel + c
                    number = emit.flat([*numbers, at[1]], [*window, depth])
                    self._step(totals, self.view.offset(at), number)

    def _step(self, totals: Sequence[Sequence[Register]], data: Expr, number: Expr) -> None:
        emit, outputs = self.emit, len(totals)
        held = [emit.name(emit.broadcast(self.w[number * outputs + o])) for o in range(outputs)]
        for j in range(len(totals[0])):
            x = emit.name(emit.load(self.x, data + j * emit.lanes))
            for o in range(outputs):
                totals[o][j].add(x * held[o])


__all__ = ["PlanarConvolution", "planar_convolution"]
