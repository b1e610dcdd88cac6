# SPDX-License-Identifier: MIT
"""Convolution and products with constant weights: a tile of positions by channels in registers.

Every position of the tile multiplies one broadcast input element by vectors of weights; no
input is rearranged and no border is tested, because the zeros around the data are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...ir.graph import Node
from ...ir.ops import Conv
from ...ir.ops.fused import Fused
from ...ir.types import Array, TensorType
from ..packing import Packing
from ..views import ANY, Dims, Halo, Order, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, emitting
from .epilogue import Anchored, Epilogue, anchored
from .tile import Tile, good_tiles, multiply
from .walk import Lines, in_tiles


@dataclass(frozen=True, eq=False)
class DirectConvolution(Plan):
    """A convolution by its definition.

    Attributes:
        group: the convolution and what follows it.
        unit: the processor core.
        data: number of the operand that is convolved.
        weights: number of the operand that holds the weights.
        rank: which of the good tiles is taken.
    """

    group: Anchored
    unit: VectorUnit
    data: int
    weights: int
    rank: int = 0

    def __str__(self) -> str:
        return f"direct({self.tile.rows}x{self.tile.vectors}, lanes={self.unit.lanes})"

    @property
    def op(self) -> Conv:
        """The convolution."""
        assert isinstance(self.group.anchor.op, Conv)
        return self.group.anchor.op

    @cached_property
    def input_shape(self) -> Dims:
        """Shape (N, C, spatial...) of the data."""
        return _dims(self.group, 0)

    @cached_property
    def weight_shape(self) -> Dims:
        """Shape (O, C, window...) of the weights."""
        return _dims(self.group, 1)

    @cached_property
    def output_shape(self) -> Dims:
        """Shape (N, O, spatial...) of the result."""
        type = self.group.anchor.output.type
        assert isinstance(type, TensorType)
        return type.dims

    @cached_property
    def tile(self) -> Tile:
        """Positions and vectors of channels that are computed at once."""
        return self._tiles[self.rank]

    @cached_property
    def _tiles(self) -> list[Tile]:
        width = math.prod(self.output_shape[2:]) if self.is_pointwise else self.output_shape[-1]
        return good_tiles(width, self.output_shape[1], self.unit, self.input_shape[1])

    def alternatives(self) -> Sequence[Plan]:
        """Return the same with other tiles."""
        ranks = range(self.rank + 1, len(self._tiles))
        return [replace(self, rank=k) for k in ranks]

    @property
    def is_pointwise(self) -> bool:
        """Whether each position is computed from the same position of the data alone."""
        op, window = self.op, self.weight_shape[2:]
        plain = set(op.strides) == {1} and not any(op.low)
        return plain and set(window) == {1}

    @property
    def operands(self) -> Sequence[Request]:
        """Data with zeros around it; channels together where there are many."""
        requests = [ANY] * len(self.group.body.inputs)
        order: Order = "channels_last" if self.input_shape[1] >= 4 else "any"
        requests[self.data] = Request(order, self.halo)
        return requests

    @property
    def result(self) -> Request:
        """Channels are stored as vectors."""
        return Request(self.group.order)

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights in the order in which tiles read them."""
        block = self.tile.vectors * self.unit.lanes
        return {self.weights: Packing("convolution", (block,))}

    @cached_property
    def halo(self) -> Halo:
        """Zeros that windows reach around the data."""
        return halo_of(self.op, self.input_shape, self.weight_shape, self.output_shape)

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, self.group.dtypes) as (emission, emit):
            writer = _Writer(self, emit, views)
            writer.write()
        return Written(emission.function)


def direct_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> DirectConvolution | None:
    """Return the plan of a group around a dense convolution of float32 with constant weights."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, Conv))
    if group is None:
        return None
    op = group.anchor.op
    assert isinstance(op, Conv)
    if op.groups != 1 or set(op.input_dilation) != {1}:
        return None
    inputs = node.op.body.inputs
    data, weights = (inputs.index(v) for v in group.anchor.inputs)
    if node.inputs[weights].name not in arrays or data == weights:
        return None
    return DirectConvolution(group, unit, data, weights)


def halo_of(op: Conv, data: Dims, weights: Dims, result: Dims) -> Halo:
    """Return how far windows reach over the ends of the data, per axis."""
    around = [(0, 0), (0, 0)]
    for k, (n, positions) in enumerate(zip(data[2:], result[2:], strict=True)):
        reach = (positions - 1) * op.strides[k] + (weights[2 + k] - 1) * op.dilation[k]
        around.append((max(0, op.low[k]), max(0, reach - op.low[k] - (n - 1))))
    return tuple(around) if any(map(any, around)) else ()


def _dims(group: Anchored, operand: int) -> Dims:
    type = group.anchor.inputs[operand].type
    assert isinstance(type, TensorType)
    return type.dims


class _Writer:
    def __init__(self, plan: DirectConvolution, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.view = views[plan.data]
        self.x = emit.buffers[plan.data]
        self.w = emit.buffers[plan.weights]
        self.epilogue = Epilogue(plan.group, views, emit.buffers)
        self.block = plan.tile.vectors * emit.lanes
        extra = [views[k] for k in plan.group.extra]
        full = plan.output_shape
        self.lines = Lines.of(full, [self.view, self.epilogue.result, *extra], plan.is_pointwise)

    def write(self) -> None:
        """Walk blocks of channels outside where the weights are many, inside where they are few."""
        plan, emit = self.plan, self.emit
        blocks, rest = divmod(plan.output_shape[1], self.block)
        weights = 4 * math.prod(plan.weight_shape)
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
        op, (_, depth, *window) = plan.op, plan.weight_shape
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
