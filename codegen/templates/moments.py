# SPDX-License-Identifier: MIT
"""Mean and squared deviations of channels, slab by slab, in one pass over channels-last data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir.graph import Node
from ...ir.ops import SlabMoments
from ...ir.ops.fused import Fused
from ...ir.ops.moments import slabs_of
from ...ir.types import Array, TensorType
from ..views import Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, Register, emitting
from .row_walk import unflat


@dataclass(frozen=True, eq=False)
class Moments(Plan):
    """Moments of slabs of a tensor (N, C, D1, ...).

    Sums are those of differences from the mean of the slab's first line, and are added up
    line by line before they join the slab's: neither a large mean nor long sums cost digits.

    Attributes:
        shape: of the data.
        unit: the processor core.
    """

    shape: Dims
    unit: VectorUnit

    def __str__(self) -> str:
        return f"moments(lanes={self.unit.lanes})"

    @property
    def operands(self) -> Sequence[Request]:
        """Channels are loaded as vectors."""
        return [Request("channels_last")]

    @property
    def result(self) -> Request:
        """Channels are the last axis anyway."""
        return Request("row_major")

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, ["float32"] * 2) as (emission, emit):
            _Writer(self.shape, emit, views).write()
        return Written(emission.function)


def moments(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Moments | None:
    """Return the plan of a group that is nothing but moments of float32 slabs."""
    assert isinstance(node.op, Fused)
    (*_, last) = node.op.body.nodes
    if len(node.op.body.nodes) != 1 or not isinstance(last.op, SlabMoments):
        return None
    type = last.inputs[0].type
    assert isinstance(type, TensorType)
    return Moments(type.dims, unit) if type.dtype == "float32" else None


class _Writer:
    def __init__(self, shape: Dims, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.emit = emit
        self.view, self.result = views
        self.batch, self.channels, *spatial = shape
        self.slabs = slabs_of(shape)
        self.spatial = [spatial[0] // self.slabs, *spatial[1:]]

    def write(self) -> None:
        """Give each thread a part of the slabs."""
        emit, block = self.emit, 2 * self.emit.lanes
        with emit.share(self.batch * self.slabs) as number:
            n, slab = unflat(number, (self.batch, self.slabs))
            whole, rest = divmod(self.channels, block)
            if whole:
                with emit.loop(whole) as k:
                    self._block(n, slab, k * block, [emit.lanes, emit.lanes])
            widths = [min(emit.lanes, rest - c) for c in range(0, rest, emit.lanes)]
            if rest:
                self._block(n, slab, whole * block, widths)

    def _block(self, n: Expr, slab: Expr, channel: Expr, widths: Sequence[int]) -> None:
        """Compute the moments of a few vectors of channels."""
        emit = self.emit
        count = math.prod(self.spatial)
        centres = self._means_of_first_line(n, slab, channel, widths)
        sums, squares = (self._zeros(widths) for _ in range(2))
        with emit.nest(self.spatial[:-1]) as line:
            # Two of each, because a sum waits for the one before it.
            line_sums, line_squares = ([self._zeros(widths) for _ in range(2)] for _ in range(2))

            def add(at: Expr, k: int) -> None:
                for v, (width, centre) in enumerate(zip(widths, centres, strict=True)):
                    x = self._load(n, slab, channel + v * emit.lanes, [*line, at], width)
                    off = self._register(x - centre.value, width).value
                    line_sums[k][v].add(off)
                    line_squares[k][v].add(off * off)

            pairs, odd = divmod(self.spatial[-1], 2)
            if pairs:
                with emit.loop(pairs) as pair:
                    add(pair * 2, 0)
                    add(pair * 2 + 1, 1)
            if odd:
                add(self.spatial[-1] - 1, 0)
            for v in range(len(widths)):
                sums[v].add(line_sums[0][v].value + line_sums[1][v].value)
                squares[v].add(line_squares[0][v].value + line_squares[1][v].value)
        for v, width in enumerate(widths):
            at = channel + v * emit.lanes
            off = sums[v].value * emit.spread(1 / count, width)
            self._store(n, slab, 0, at, centres[v].value + off, width)
            self._store(n, slab, 1, at, squares[v].value - sums[v].value * off, width)

    def _means_of_first_line(
        self, n: Expr, slab: Expr, channel: Expr, widths: Sequence[int]
    ) -> list[Register]:
        emit = self.emit
        totals = self._zeros(widths)
        first = [0] * (len(self.spatial) - 1)
        with emit.loop(self.spatial[-1]) as at:
            for v, width in enumerate(widths):
                totals[v].add(self._load(n, slab, channel + v * emit.lanes, [*first, at], width))
        share = 1 / self.spatial[-1]
        for total, width in zip(totals, widths, strict=True):
            total.set(total.value * self.emit.spread(share, width))
        return totals

    def _load(self, n: Expr, slab: Expr, channel: Expr, at: Sequence[Expr], width: int) -> Expr:
        lines, *rest = at
        place = [slab * self.spatial[0] + lines, *rest]
        offset = self.view.offset([n, channel, *place])
        return self.emit.load(self.emit.buffers[0], offset, width)

    def _store(
        self, n: Expr, slab: Expr, number: int, channel: Expr, value: Expr, width: int
    ) -> None:
        offset = self.result.offset([n, slab, number, channel])
        self.emit.store(self.emit.buffers[1], offset, value, width)

    def _zeros(self, widths: Sequence[int]) -> list[Register]:
        return [self._register(self.emit.spread(0, width), width) for width in widths]

    def _register(self, value: Expr, width: int) -> Register:
        return self.emit.register(value, lanes=width)
