# SPDX-License-Identifier: MIT
"""Convolution and products: a tile of positions by channels in registers.

Every position of the tile multiplies one broadcast input element by vectors of weights; no
input is rearranged and no border is tested, because the zeros around the data are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...ir.graph import Node
from ...ir.types import Array
from ..packing import Packing
from ..views import View
from .base import Plan, VectorUnit
from .convolution import ConvolutionPlan, convolved
from .emitter import Expr, KernelEmitter
from .epilogue import Epilogue
from .tile import Tile, good_tiles, multiply
from .walk import Lines, in_tiles


@dataclass(frozen=True, eq=False)
class DirectConvolution(ConvolutionPlan):
    """A convolution by its definition.

    Attributes:
        rank: which of the good tiles is taken.
    """

    rank: int = 0

    def __str__(self) -> str:
        return f"direct({self.tile.rows}x{self.tile.vectors}, lanes={self.unit.lanes})"

    @cached_property
    def tile(self) -> Tile:
        """Positions and vectors of channels that are computed at once."""
        return self._tiles[self.rank]

    @cached_property
    def _tiles(self) -> list[Tile]:
        _, outputs, *spatial = self.conv.output_shape
        width = math.prod(spatial) if self.is_pointwise else spatial[-1]
        return good_tiles(width, outputs, self.unit, self.conv.input_shape[1])

    def alternatives(self) -> Sequence[Plan]:
        """Return the same with other tiles."""
        ranks = range(self.rank + 1, len(self._tiles))
        return [replace(self, rank=k) for k in ranks]

    @property
    def is_pointwise(self) -> bool:
        """Whether each position is computed from the same position of the data alone."""
        op, window = self.conv.op, self.conv.weight_shape[2:]
        plain = set(op.strides) == {1} and not any(op.low)
        return plain and set(window) == {1}

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights in the order in which tiles read them."""
        block = self.tile.vectors * self.unit.lanes
        return {self.conv.weights: Packing("convolution", (block,))}

    def write(self, emit: KernelEmitter, views: Sequence[View]) -> None:
        """Write what the kernel does."""
        _Writer(self, emit, views).write()


def direct_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> DirectConvolution | None:
    """Return the plan of a group around a dense convolution of float32."""
    conv = convolved(node, arrays)
    if conv is None or conv.op.groups != 1 or conv.is_spread:
        return None
    return DirectConvolution(conv, unit)


class _Writer:
    def __init__(self, plan: DirectConvolution, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.view = views[plan.conv.data]
        self.x = emit.buffers[plan.conv.data]
        self.w = emit.buffers[plan.conv.weights]
        self.epilogue = Epilogue(plan.conv.group, views, emit.buffers)
        self.block = plan.tile.vectors * emit.lanes
        extra = [views[k] for k in plan.conv.group.extra]
        full = plan.conv.output_shape
        self.lines = Lines.of(full, [self.view, self.epilogue.result, *extra], plan.is_pointwise)

    def write(self) -> None:
        """Walk blocks of channels outside where the weights are many, inside where they are few."""
        plan, emit = self.plan, self.emit
        blocks, rest = divmod(plan.conv.output_shape[1], self.block)
        weights = 4 * math.prod(plan.conv.weight_shape)
        if weights > plan.unit.l2 // 2 and blocks > 1:
            with emit.share(blocks) as block:
                self._positions(block, self.block, split=False)
            if rest:
                with emit.only_last_thread():
                    self._positions(blocks, rest, split=False)
            return
        in_tiles(
            emit,
            self.lines,
            plan.tile.rows,
            lambda line, start, rows: self._blocks(line, start, rows, blocks, rest),
        )

    def _positions(self, block: Expr, channels: int, split: bool) -> None:
        in_tiles(
            self.emit,
            self.lines,
            self.plan.tile.rows,
            lambda line, start, rows: self._tile(line, start, rows, block, channels),
            split=split,
        )

    def _blocks(self, line: Sequence[Expr], start: Expr, rows: int, blocks: int, rest: int) -> None:
        if blocks:
            with self.emit.loop(blocks) as block:
                self._tile(line, start, rows, block, self.block)
        if rest:
            self._tile(line, start, rows, blocks, rest)

    def _tile(
        self, line: Sequence[Expr], start: Expr, rows: int, block: Expr, channels: int
    ) -> None:
        """Compute ``rows`` positions from ``start`` on, ``channels`` of one block."""
        plan, emit = self.plan, self.emit
        op, (_, depth, *window) = plan.conv.op, plan.conv.weight_shape
        vectors = -(-channels // emit.lanes)
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in range(rows)]
        with emit.nest(window) as taps:
            at = [line[0], 0, *line[2:], start]
            for k, tap in enumerate(taps):
                at[2 + k] = at[2 + k] * op.strides[k] + tap * op.dilation[k] - op.low[k]
            first = self.view.offset(at)
            step = op.strides[-1] * self.view.strides[-1]
            tap_number = emit.flat(taps, window)
            weights = (block * math.prod(window) + tap_number) * (depth * self.block)
            with emit.loop(depth) as c:
                multiply(
                    emit,
                    totals,
                    [self.x[first + r * step + c * self.view.strides[1]] for r in range(rows)],
                    self.w,
                    weights + c * self.block,
                )
        for r in range(rows):
            for j in range(vectors):
                count = min(emit.lanes, channels - j * emit.lanes)
                channel = block * self.block + j * emit.lanes
                at = [line[0], channel, *line[2:], start + r]
                self.epilogue.store(emit, totals[r][j].lane, at, 1, count)
