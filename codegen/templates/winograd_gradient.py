# SPDX-License-Identifier: MIT
"""Gradients of filters of 3 x 3 and D x 3 x 3 taps by minimal filtering (Winograd).

Squares of outputs' gradients and of the data they meet are taken to their values at the points;
per point a matrix of products of channels is added up over all squares, which the transpose of
the filters' transform takes to the gradient: ``dw = G^T (sum (B d) * (A^T dz))``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...ir.graph import Node
from ...ir.types import Array
from ..filtering import ROOTS, samples
from ..views import Halo, Request, View
from .base import Plan, VectorUnit, Written
from .correlation import TapAxis
from .emitter import emitting
from .tile import Tile, steps, tiles
from .weight_gradient import WeightGradient, direct_cycles, plan_of
from .winograd_gradient_writer import Writer

_HELD = 4 << 20
"""Bytes of transformed tensors that a block may have, so that they stay in the last cache."""

_SCRATCH = 8 << 20
"""Bytes of transformed gradients of all threads."""

_MAX_THREADS = 64
_SIGNAL, _SPREAD = 7.0, 5.5
"""Cycles to transform a vector of data, or of gradients, of one of a square's points."""


@dataclass(frozen=True, eq=False)
class WinogradGradient(Plan):
    """A gradient of filters by minimal filtering.

    Attributes:
        direct: the same by its definition, rows being channels of the data.
        m: rows and columns of outputs of a square.
    """

    direct: WeightGradient
    m: int

    def __str__(self) -> str:
        t = self.tile
        return (
            f"winograd_gradient(m={self.m}, {t.rows}x{t.vectors}, lanes={self.unit.lanes}, "
            f"slices={self.slices}, lines={self.lines})"
        )

    @property
    def unit(self) -> VectorUnit:
        """The processor core."""
        return self.direct.unit

    # The problem: slices are images, or along the depth of volumes

    @cached_property
    def depth(self) -> TapAxis:
        """How taps along the depth meet slices; a single one meets images."""
        if len(self.direct.axes) == 3:
            return self.direct.axes[0]
        return TapAxis(1, self.direct.batch, self.direct.batch, 1, 0, 0)

    @property
    def volumes(self) -> int:
        """Stacks of slices that have nothing to do with each other."""
        return self.direct.batch if len(self.direct.axes) == 3 else 1

    @property
    def channels(self) -> int:
        """Of the data."""
        return self.direct.rows.channels

    @property
    def filters(self) -> int:
        """Channels of the outputs' gradient."""
        return self.direct.vectors.channels

    @property
    def points(self) -> int:
        """Products of a square, data channel and filter."""
        return samples(self.m) ** 2

    @cached_property
    def columns(self) -> int:
        """Squares of a line of them."""
        return -(-self.direct.axes[-1].positions // self.m)

    @cached_property
    def all_lines(self) -> int:
        """Lines of squares of a slice."""
        return -(-self.direct.axes[-2].positions // self.m)

    # How it is cut

    @cached_property
    def tile(self) -> Tile:
        """Channels and vectors of filters that are computed at once."""
        unit = self.unit
        fitting = [t for t in tiles(unit) if unit.lanes % t.rows == 0]
        return min(fitting, key=lambda t: steps(t, self.channels, self.filters, unit))

    @property
    def width(self) -> int:
        """Filters of a block."""
        return self.tile.vectors * self.unit.lanes

    @property
    def chunks(self) -> int:
        """Vectors of channels of the data."""
        return -(-self.channels // self.unit.lanes)

    @property
    def filter_blocks(self) -> int:
        """Blocks of filters."""
        return -(-self.filters // self.width)

    @cached_property
    def _square_bytes(self) -> int:
        lanes = self.unit.lanes
        return 4 * self.points * lanes * (self.chunks + -(-self.filters // lanes))

    @cached_property
    def lines(self) -> int:
        """Lines of squares of a block, all of a slice if there are several slices."""
        reach = self.depth.reach[1] - self.depth.reach[0] + 1
        most = max(1, _HELD // (self._square_bytes * self.columns * reach))
        parts = -(-self.all_lines // most)
        return -(-self.all_lines // parts)

    @cached_property
    def slices(self) -> int:
        """Slices of a block."""
        if self.lines < self.all_lines:
            return 1
        most = max(1, _HELD // (self._square_bytes * self.columns * self.lines))
        parts = -(-self.depth.positions // most)
        return -(-self.depth.positions // parts)

    @property
    def squares(self) -> int:
        """Squares of a slice of a block."""
        return self.lines * self.columns

    @cached_property
    def block_counts(self) -> tuple[int, int, int]:
        """Blocks: of volumes, slices and lines."""
        slices = -(-self.depth.positions // self.slices)
        return self.volumes, slices, -(-self.all_lines // self.lines)

    @cached_property
    def threads(self) -> int:
        """How many threads have scratch; more do not take part."""
        spread = 4 * self.points * self.slices * self.squares * self.width
        return max(1, min(_MAX_THREADS, self.chunks, _SCRATCH // spread))

    # What it asks for

    @property
    def operands(self) -> Sequence[Request]:
        """Both tensors with zeros around them, up to the ends of the last squares."""
        requests = list(self.direct.operands)
        reach = (self.all_lines * self.m, self.columns * self.m)
        data, ends = [(0, 0)] * 2, [(0, 0)] * 2
        if len(self.direct.axes) == 3:
            data.append((0, 0))
            ends.append((0, 0))
        for axis, end in zip(self.direct.axes[-2:], reach, strict=True):
            low = -axis.offset
            data.append((max(0, low), max(0, end + 2 - low - axis.size)))
            ends.append((0, end - axis.positions))
        for side, halo in ((self.direct.rows, data), (self.direct.vectors, ends)):
            requests[side.operand] = Request("channels_last", _halo(halo))
        return requests

    @property
    def result(self) -> Request:
        """Row by row, as gradients of parameters are wanted."""
        return self.direct.result

    def alternatives(self) -> Sequence[Plan]:
        """Return the same with squares of other sizes."""
        return [replace(self, m=m) for m in ROOTS if m != self.m]

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        dtypes = [*self.direct.group.dtypes, *["float32"] * 4]
        with emitting(self.unit.lanes, dtypes) as (emission, emit):
            writer = Writer(self, emit, views)
            writer.write()
        return Written(emission.function, writer.scratch)


def winograd_gradient(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> WinogradGradient | None:
    """Return the plan of a gradient that takes less time by minimal filtering than directly."""
    direct = plan_of(node, unit, rows_are_data=True)
    if direct is None or not _is_filtered(direct):
        return None
    best = min((WinogradGradient(direct, m) for m in ROOTS), key=cycles)
    return best if cycles(best) < direct_cycles(direct) else None


def _is_filtered(direct: WeightGradient) -> bool:
    op = direct.op
    few = min(direct.rows.channels, direct.vectors.channels) < direct.unit.lanes
    plain = {*op.strides, *op.dilation, *op.input_dilation, op.groups} == {1}
    return plain and not few and op.window[-2:] == (3, 3) and 2 <= len(op.window) <= 3


def cycles(plan: WinogradGradient) -> float:
    """Return an estimate of the cycles that one thread takes."""
    lanes = plan.unit.lanes
    taps = plan.depth.taps
    squares = plan.volumes * plan.depth.positions * plan.all_lines * plan.columns
    channels = plan.chunks * lanes
    product = plan.points * squares * taps * steps(plan.tile, channels, plan.filters, plan.unit)
    again = plan.depth.extent(plan.slices) / plan.slices
    vectors = -(-plan.filters // lanes)
    transforms = plan.points * squares * (_SIGNAL * plan.chunks * again + _SPREAD * vectors)
    blocks = math.prod(plan.block_counts)
    # A tile's sums are stored and loaded for every block, and taken to filters once.
    sums = plan.points * taps * channels * vectors
    return product + transforms + sums * (4.0 + 3.0 * (blocks - 1))


def _halo(around: Sequence[tuple[int, int]]) -> Halo:
    return tuple(around) if any(map(any, around)) else ()


__all__ = ["WinogradGradient", "cycles", "winograd_gradient"]
