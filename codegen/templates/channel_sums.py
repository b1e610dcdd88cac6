# SPDX-License-Identifier: MIT
"""Sums over the positions of channels-last data, of several tensors computed on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir.graph import Graph, Node
from ...ir.ops import SlabSums
from ...ir.ops.fused import Fused
from ...ir.ops.moments import slabs_of
from ...ir.types import Array
from ..lowering.storage import storage_dtype
from ..values import dims, dtype
from ..views import ANY, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, Register, emitting
from .epilogue import Prologue, is_prologue
from .row_walk import unflat

_SUMS = 8
"""Vectors of sums that are kept at once, and as many of sums of a line."""


@dataclass(frozen=True, eq=False)
class ChannelSums(Plan):
    """Sums of slabs of tensors (N, C, D1, ...), which elementwise ops make of the operands.

    Sums of lines are added up before they join the slab's, so that long sums cost no digits.

    Attributes:
        body: the group.
        anchor: the sums.
        unit: the processor core.
    """

    body: Graph
    anchor: Node
    unit: VectorUnit

    def __str__(self) -> str:
        return f"channel_sums(lanes={self.unit.lanes})"

    @property
    def operands(self) -> Sequence[Request]:
        """Everything of the data's shape has its channels together."""
        shape = dims(self.anchor.inputs[0])
        return [Request("channels_last") if dims(v) == shape else ANY for v in self.body.inputs]

    @property
    def result(self) -> Request:
        """Channels are the last axis anyway."""
        return Request("row_major")

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        dtypes = [storage_dtype(dtype(v)) for v in (*self.body.inputs, *self.body.outputs)]
        with emitting(self.unit.lanes, dtypes) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def channel_sums(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> ChannelSums | None:
    """Return the plan of a group of sums of slabs and of elementwise ops before them."""
    assert isinstance(node.op, Fused)
    body = node.op.body
    anchor = body.nodes[-1]
    if not isinstance(anchor.op, SlabSums) or not is_prologue(body, anchor):
        return None
    return ChannelSums(body, anchor, unit)


class _Writer:
    def __init__(self, plan: ChannelSums, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.emit = emit
        self.count = len(plan.anchor.inputs)
        self.prologue = Prologue(plan.body, plan.anchor, views, emit.buffers)
        self.result, self.target = views[-1], emit.buffers[len(views) - 1]
        shape = dims(plan.anchor.inputs[0])
        self.batch, self.channels, *spatial = shape
        self.slabs = slabs_of(shape)
        self.spatial = [spatial[0] // self.slabs, *spatial[1:]]

    def write(self) -> None:
        """Give each thread a part of the slabs."""
        emit, lanes = self.emit, self.emit.lanes
        vectors = max(1, _SUMS // self.count)
        with emit.share(self.batch * self.slabs) as number:
            n, slab = unflat(number, (self.batch, self.slabs))
            whole, rest = divmod(self.channels, vectors * lanes)
            if whole:
                with emit.loop(whole) as k:
                    self._block(n, slab, k * vectors * lanes, [lanes] * vectors)
            if rest:
                widths = [min(lanes, rest - c) for c in range(0, rest, lanes)]
                self._block(n, slab, whole * vectors * lanes, widths)

    def _block(self, n: Expr, slab: Expr, channel: Expr, widths: Sequence[int]) -> None:
        """Sum a few vectors of channels."""
        emit = self.emit
        totals = self._zeros(widths)
        with emit.nest(self.spatial[:-1]) as line:
            sums = self._zeros(widths)
            with emit.loop(self.spatial[-1]) as at:
                lines, *rest = [*line, at]
                place = [slab * self.spatial[0] + lines, *rest]
                for v, width in enumerate(widths):
                    first = channel + v * emit.lanes
                    self._add([row[v] for row in sums], [n, first, *place], width)
            for row, added in zip(totals, sums, strict=True):
                for total, one in zip(row, added, strict=True):
                    total.add(one.value)
        for k, row in enumerate(totals):
            for v, width in enumerate(widths):
                offset = self.result.offset([n, slab, k, channel + v * emit.lanes])
                emit.store(self.target, offset, row[v].value, width)

    def _add(self, sums: Sequence[Register], indices: Sequence[Expr], width: int) -> None:
        """Add the elements of a vector of channels to the sum of each operand."""
        emit = self.emit
        for k, total in enumerate(sums):
            with emit.vectorized(width) as lane:
                n, channel, *place = indices
                element = self.prologue.element(k, [n, channel + lane, *place])
                emit.set(total.buffer, lane, total.lane(lane) + element)

    def _zeros(self, widths: Sequence[int]) -> list[list[Register]]:
        emit = self.emit
        return [
            [emit.register(emit.spread(0, width), lanes=width) for width in widths]
            for _ in range(self.count)
        ]


__all__ = ["ChannelSums", "channel_sums"]
