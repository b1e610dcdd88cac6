# SPDX-License-Identifier: MIT
"""The gradient of a convolution's weights as a matrix product over positions, per tap.

Blocks of both tensors are packed into panels of the channels that a register tile takes, so
that all positions that a tap meets follow each other and taps at the border leave out what is
outside. Each block's sums are added to those before: long sums of float32 keep their accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from ...ir.graph import Node
from ...ir.ops import ConvWeightGradient
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..values import dims
from ..views import Dims, Order, Request, View
from .base import Plan, VectorUnit, Written
from .correlation import Blocks, TapAxis, axes_of, blocks_of
from .emitter import emitting
from .epilogue import Anchored, anchored
from .tile import Tile, good_tiles, steps
from .weight_gradient_writer import Writer

Split = Literal["rows", "vectors", "taps"]
_MANY_CHANNELS = 4
_MAX_THREADS = 64


@dataclass(frozen=True)
class Side:
    """One of the two tensors.

    Attributes:
        operand: its number among the operands of the group.
        channels: of one group of the convolution.
        axes: how taps meet its elements; with a single tap for the plain one.
    """

    operand: int
    channels: int
    axes: tuple[TapAxis, ...]


@dataclass(frozen=True, eq=False)
class WeightGradient(Plan):
    """The gradient of the weights of a convolution with groups of several channels.

    A register tile adds up products of elements of one tensor, its rows, with vectors of
    channels of the other.

    Attributes:
        group: the gradient and what follows it.
        unit: the processor core.
        rows_are_data: whether rows are channels of the data; else of the result's gradient.
        rank: which of the good tiles is taken.
    """

    group: Anchored
    unit: VectorUnit
    rows_are_data: bool
    rank: int = 0

    def __str__(self) -> str:
        b = "x".join(map(str, (self.blocks.batch, *self.blocks.sizes)))
        rows = "data" if self.rows_are_data else "gradient"
        return (
            f"weight_gradient({self.tile.rows}x{self.tile.vectors}, lanes={self.unit.lanes}, "
            f"rows={rows}, folded={self.folded}, blocks={b}, split={self.split})"
        )

    # The problem

    @property
    def op(self) -> ConvWeightGradient:
        """The gradient."""
        assert isinstance(self.group.anchor.op, ConvWeightGradient)
        return self.group.anchor.op

    @cached_property
    def shapes(self) -> tuple[Dims, Dims]:
        """Shapes of the data and of the gradient of the result."""
        x, dz = (dims(v) for v in self.group.anchor.inputs)
        return x, dz

    @cached_property
    def weight_shape(self) -> Dims:
        """Shape (O, C / groups, K...) of the result."""
        return dims(self.group.anchor.output)

    @property
    def batch(self) -> int:
        """Images."""
        return self.shapes[0][0]

    @cached_property
    def data_is_windowed(self) -> bool:
        """Whether taps move over the data; else they move over the gradient of the result."""
        spread = set(self.op.input_dilation) != {1}
        strided = set(self.op.strides) != {1}
        # Of few channels taps become rows, too, and for that they must move over the rows.
        return not spread and (strided or self.rows_are_data)

    @cached_property
    def rows(self) -> Side:
        """The tensor whose elements are broadcast."""
        return self._side(0 if self.rows_are_data else 1)

    @cached_property
    def vectors(self) -> Side:
        """The tensor whose channels are vectors."""
        return self._side(1 if self.rows_are_data else 0)

    def _side(self, number: int) -> Side:
        value = self.group.anchor.inputs[number]
        operand = self.group.body.inputs.index(value)
        channels = self.shapes[number][1] // self.op.groups
        windowed = self.data_is_windowed == (number == 0)
        plain = tuple(TapAxis(1, a.positions, a.positions, 1, 0, 0) for a in self.axes)
        return Side(operand, channels, self.axes if windowed else plain)

    @cached_property
    def axes(self) -> tuple[TapAxis, ...]:
        """How taps meet elements of the windowed tensor."""
        x, dz = self.shapes
        return tuple(axes_of(self.op, x[2:], dz[2:], not self.data_is_windowed))

    @cached_property
    def folded(self) -> bool:
        """Whether taps along the last axis are rows, because rows are few channels."""
        return (
            self.data_is_windowed == self.rows_are_data
            and self.rows.channels < _MANY_CHANNELS
            and self.op.window[-1] > 1
        )

    # How it is computed

    @cached_property
    def row_count(self) -> int:
        """Rows of the matrix of a tap, or of all taps of the last axis."""
        return self.rows.channels * (self.op.window[-1] if self.folded else 1)

    @cached_property
    def _tiles(self) -> list[Tile]:
        return good_tiles(self.row_count, self.vectors.channels, self.unit)

    @cached_property
    def tile(self) -> Tile:
        """Rows and vectors that are computed at once."""
        return self._tiles[self.rank]

    @cached_property
    def width(self) -> int:
        """Channels of a block of vectors."""
        return self.tile.vectors * self.unit.lanes

    @cached_property
    def blocks(self) -> Blocks:
        """Positions that are packed at once: vectors of them fill half of the first cache."""
        lanes = self.unit.lanes
        vectors = min(self.width, -(-self.vectors.channels // lanes) * lanes)
        target = max(64, self.unit.l1 // 2 // (4 * vectors))
        return blocks_of(self.batch, tuple(a.positions for a in self.axes), target)

    @cached_property
    def block_count(self) -> int:
        """Blocks of one group of channels."""
        return math.prod(self.blocks.count(self.batch, self.axes))

    @cached_property
    def row_panels(self) -> int:
        """Panels of rows."""
        return 1 if self.folded else -(-self.rows.channels // self.tile.rows)

    @cached_property
    def vector_panels(self) -> int:
        """Panels of vectors."""
        return -(-self.vectors.channels // self.width)

    @cached_property
    def split(self) -> Split:
        """What threads share: that of which their parts are most equal."""
        counts = self._parts
        return min(counts, key=lambda k: sum(-(-counts[k] // n) * n / counts[k] for n in (2, 4, 8)))

    @property
    def _parts(self) -> dict[Split, int]:
        """How many parts there are of what threads may share."""
        counts: dict[Split, int] = {"rows": self.row_panels, "vectors": self.vector_panels}
        if self.folded:
            counts["taps"] = self.vector_panels * math.prod(self.op.window[:-1])
        return counts

    @cached_property
    def threads(self) -> int:
        """How many threads have scratch; more do not take part."""
        return min(_MAX_THREADS, self._parts[self.split])

    # What it asks for

    @property
    def operands(self) -> Sequence[Request]:
        """Channels together where there are many; whatever else as it lies."""
        requests = [Request()] * len(self.group.body.inputs)
        for side, shape in zip((0, 1), self.shapes, strict=True):
            order: Order = "channels_last" if shape[1] >= _MANY_CHANNELS else "any"
            requests[self._side(side).operand] = Request(order)
        return requests

    @property
    def strided(self) -> frozenset[int]:
        """Both tensors: what is packed may lie anyhow."""
        return frozenset((self.rows.operand, self.vectors.operand))

    @property
    def result(self) -> Request:
        """Row by row, as gradients of parameters are wanted."""
        return Request("row_major")

    def alternatives(self) -> Sequence[Plan]:
        """Return the same with other tiles."""
        return [replace(self, rank=k) for k in range(self.rank + 1, len(self._tiles))]

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        dtypes = [*self.group.dtypes, "float32", "float32", "float32"]
        with emitting(self.unit.lanes, dtypes) as (emission, emit):
            writer = Writer(self, emit, views)
            writer.write()
        return Written(emission.function, writer.scratch)


def weight_gradient(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> WeightGradient | None:
    """Return the plan of a group around the gradient of weights, float32, of whatever shape."""
    plans = [plan_of(node, unit, rows_are_data) for rows_are_data in (True, False)]
    return min((p for p in plans if p is not None), key=direct_cycles, default=None)


def plan_of(node: Node, unit: VectorUnit, rows_are_data: bool) -> WeightGradient | None:
    """Return the plan with the one or the other tensor for rows."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, ConvWeightGradient))
    if group is None or len(set(group.anchor.inputs)) != 2:
        return None
    op = group.anchor.op
    assert isinstance(op, ConvWeightGradient)
    if set(op.strides) != {1} and set(op.input_dilation) != {1}:
        return None
    return WeightGradient(group, unit, rows_are_data)


def direct_cycles(plan: WeightGradient) -> float:
    """Return an estimate of the cycles that a gradient takes by its definition."""
    axes = plan.axes[:-1] if plan.folded else plan.axes
    positions = math.prod(sum(met(a, k) for k in range(a.taps)) for a in axes)
    if plan.folded:
        positions *= plan.axes[-1].positions
    tile = steps(plan.tile, plan.row_count, plan.vectors.channels, plan.unit)
    return plan.batch * plan.op.groups * positions * tile


def met(axis: TapAxis, tap: int) -> int:
    """Return how many positions meet an element with this tap."""
    shift, count = axis.shift(tap), axis.count(axis.phase(tap))
    return int(max(0, min(axis.positions, count - shift) - max(0, -shift)))


__all__ = ["WeightGradient", "direct_cycles", "plan_of", "weight_gradient"]
