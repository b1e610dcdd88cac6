# SPDX-License-Identifier: MIT
"""Convolutions with windows of 3 x 3 and D x 3 x 3 by minimal filtering (Winograd).

Per block of tiles: data are taken to their values at the points, matrices of them are multiplied
by the filters' values there, and the products are taken to outputs, which the epilogue stores.
The sum over the slices of a three-dimensional window is part of the matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from ...ir.graph import Node
from ...ir.types import Array
from ..filtering import ROOTS
from ..packing import Packing
from ..views import Halo, Request, View
from .base import Plan, VectorUnit, Written
from .direct import DirectConvolution, direct_convolution
from .tile import steps
from .winograd_blocking import Blocking, Filtered, best_blocking, cost, packing, streaming
from .winograd_writer import write

_MIN_CHANNELS = 8


@dataclass(frozen=True, eq=False)
class WinogradConvolution(Plan):
    """A convolution by minimal filtering.

    Attributes:
        direct: the same by its definition.
        blocking: sizes of the parts.
    """

    direct: DirectConvolution
    blocking: Blocking

    def __str__(self) -> str:
        b = self.blocking
        return (
            f"winograd(m={b.m}, {b.tile.rows}x{b.tile.vectors}, lanes={b.unit.lanes}, "
            f"tiles={b.tiles}, chunk={b.chunk}, group={b.group})"
        )

    @property
    def operands(self) -> Sequence[Request]:
        """Data with zeros around them, up to the ends of the last tiles."""
        requests = list(self.direct.operands)
        requests[self.direct.conv.data] = Request("channels_last", self.halo)
        return requests

    @property
    def result(self) -> Request:
        """Channels are stored as vectors, row by row if a reshape follows."""
        return Request(self.direct.conv.group.order)

    @property
    def packings(self) -> Mapping[int, Packing]:
        """The filters' values at the points, unless the kernel computes them."""
        b = self.blocking
        if b.filters_inside:
            return {}
        return {self.direct.conv.weights: Packing("winograd", (b.m, b.filter_block, b.group))}

    @property
    def strided(self) -> frozenset[int]:
        """Filters that the kernel transforms."""
        return frozenset({self.direct.conv.weights} if self.blocking.filters_inside else ())

    @cached_property
    def halo(self) -> Halo:
        """Zeros that tiles reach around the data."""
        m, op = self.blocking.m, self.direct.conv.op
        around = [(0, 0), (0, 0)]
        shapes = zip(
            self.direct.conv.input_shape[2:], self.direct.conv.output_shape[2:], strict=True
        )
        for k, (n, positions) in enumerate(shapes):
            tiled = k >= len(op.low) - 2
            reach = -(-positions // m) * m + 2 if tiled else positions + self._depth - 1
            around.append((max(0, op.low[k]), max(0, reach - op.low[k] - n)))
        return tuple(around)

    @property
    def _depth(self) -> int:
        return self.blocking.problem.depth

    def alternatives(self) -> Sequence[Plan]:
        """Return the same with outputs in squares of other sizes."""
        problem, unit = self.blocking.problem, self.blocking.unit
        others = (best_blocking(problem, m, unit) for m in ROOTS if m != self.blocking.m)
        return [replace(self, blocking=b) for b in others]

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        return write(self.direct, self.blocking, views)


def winograd_convolution(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> WinogradConvolution | None:
    """Return the plan of a convolution that takes less time by minimal filtering than directly."""
    direct = direct_convolution(node, arrays, unit)
    if direct is None or direct.conv.input_shape[1] < max(_MIN_CHANNELS, unit.lanes):
        # Few channels come from images that lie row by row; rearranging them costs the gain.
        return None
    problem = problem_of(direct)
    if problem is None:
        return None
    best = _best_blocking(problem, unit)
    return WinogradConvolution(direct, best) if cost(best) < _direct_cost(direct) else None


def problem_of(direct: DirectConvolution) -> Filtered | None:
    """Return a convolution as sums of 3 x 3 convolutions of slices; ``None`` if it is not that."""
    op = direct.conv.op
    n, filters, *spatial = direct.conv.output_shape
    channels, *window = direct.conv.weight_shape[1:]
    plain = set(op.strides) == {1} and set(op.dilation) == {1}
    if not plain or window[-2:] != [3, 3] or len(window) > 3:
        return None
    height, width = spatial[-2:]
    size, computed = (height, width, channels, filters), direct.conv.computed
    if len(spatial) == 2:
        return Filtered(1, n, 1, *size, computed)
    return Filtered(n, spatial[0], window[0], *size, computed)


@lru_cache(maxsize=1024)
def _best_blocking(problem: Filtered, unit: VectorUnit) -> Blocking:
    return min((best_blocking(problem, m, unit) for m in ROOTS), key=cost)


def _direct_cost(direct: DirectConvolution) -> float:
    """Return an estimate of the cycles that the convolution takes by its definition."""
    n, filters, *spatial = direct.conv.output_shape
    taps = math.prod(direct.conv.weight_shape[1:])
    lines = n * math.prod(spatial[:-1])
    product = lines * taps * steps(direct.tile, spatial[-1], filters, direct.unit)
    nbytes = 4 * filters * taps
    packed = streaming(nbytes) + packing(nbytes) if direct.conv.computed else 0
    return product + streaming(nbytes) + packed
