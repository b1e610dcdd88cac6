# SPDX-License-Identifier: MIT
"""Mean and variance of groups of channels from moments of slabs, which are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tvm.script import tirx as T
from tvm.tirx.script.builder import ir as tb

from ...ir.graph import Node
from ...ir.ops import PooledMoments
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..values import dims, dtype
from ..views import Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Buffer, Expr, KernelEmitter, Register, emitting

_VECTORS = 4
"""Vectors of channels that are summed at once: a sum waits for the one before it."""
_MOST_CHANNELS = 4096
"""Moments of so many channels lie on the stack where channels have groups: 32 KB."""

_Term = Callable[[Expr, Expr, Expr, int, int], Expr]
"""``term(sample, slab, channel, number of the vector, lanes)``: what is added up."""


@dataclass(frozen=True)
class Pooled(Plan):
    """Statistics of the groups of channels of each sample, or of all samples.

    Attributes:
        op: what is computed.
        shape: (N, slabs, 2, C) of the moments.
        unit: the processor core.
    """

    op: PooledMoments
    shape: Dims
    unit: VectorUnit

    def __str__(self) -> str:
        return f"pooled_moments(lanes={self.unit.lanes})"

    @property
    def operands(self) -> Sequence[Request]:
        """Moments as they are written."""
        return [Request("row_major")]

    @property
    def result(self) -> Request:
        """Channels are the last axis."""
        return Request("row_major")

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, ["float32"] * 2) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def pooled_moments(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Pooled | None:
    """Return the plan of a group that is nothing but statistics of float32 from moments."""
    assert isinstance(node.op, Fused)
    (*others, last) = node.op.body.nodes
    if others or not isinstance(last.op, PooledMoments) or dtype(last.inputs[0]) != "float32":
        return None
    shape = dims(last.inputs[0])
    return Pooled(last.op, shape, unit) if shape[3] <= _MOST_CHANNELS else None


class _Writer:
    def __init__(self, plan: Pooled, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.emit = emit
        self.op = plan.op
        self.view, self.result = views
        self.samples, self.slabs, _, self.channels = plan.shape
        self.pooled = self.slabs * (self.samples if self.op.batch else 1)

    def write(self) -> None:
        """Give each thread some samples, or some channels of the only one."""
        emit = self.emit
        kept = 1 if self.op.batch else self.samples
        if self.op.groups < self.channels:
            with emit.share(kept) as n:
                self._groups(n)
        elif kept > 1:
            with emit.share(kept) as n:
                self._blocks(lambda c, widths: self._channels(n, c, widths))
        else:
            self._blocks(lambda c, widths: self._channels(0, c, widths), split=True)

    def _blocks(self, visit: Callable[[Expr, Sequence[int]], None], split: bool = False) -> None:
        """Visit all channels, a few vectors at a time."""
        emit, size = self.emit, _VECTORS * self.emit.lanes
        whole, rest = divmod(self.channels, size)
        if whole:
            with emit.share(whole, split) as k:
                visit(k * size, [emit.lanes] * _VECTORS)
        if rest:
            with emit.only_last_thread(split):
                widths = [min(emit.lanes, rest - c) for c in range(0, rest, emit.lanes)]
                visit(whole * size, widths)

    def _channels(self, n: Expr, channel: Expr, widths: Sequence[int]) -> None:
        """Store the statistics of channels that stand alone."""
        emit = self.emit
        means, totals = self._combined(n, channel, widths)
        for v, width in enumerate(widths):
            at = channel + v * emit.lanes
            variance = totals[v].value * emit.spread(1 / (self.pooled * self.op.size), width)
            emit.store(emit.buffers[1], self.result.offset([n, 0, at]), means[v].value, width)
            emit.store(emit.buffers[1], self.result.offset([n, 1, at]), variance, width)

    def _combined(
        self, n: Expr, channel: Expr, widths: Sequence[int]
    ) -> tuple[list[Register], list[Register]]:
        """Return mean and sum of squared deviations of vectors of channels."""
        emit = self.emit

        def mean(sample: Expr, slab: Expr, at: Expr, v: int, width: int) -> Expr:
            return self._moment(sample, slab, 0, at, width)

        def square(sample: Expr, slab: Expr, at: Expr, v: int, width: int) -> Expr:
            off = self._moment(sample, slab, 0, at, width) - means[v].value
            off = emit.register(off, lanes=width).value
            spread = off * off * emit.spread(self.op.size, width)
            return self._moment(sample, slab, 1, at, width) + spread

        means = self._sums(n, channel, widths, mean)
        for total, width in zip(means, widths, strict=True):
            total.set(total.value * emit.spread(1 / self.pooled, width))
        return means, self._sums(n, channel, widths, square)

    def _sums(self, n: Expr, channel: Expr, widths: Sequence[int], term: _Term) -> list[Register]:
        """Add up over slabs, then over samples."""
        emit = self.emit
        totals = [emit.register(emit.spread(0, width), lanes=width) for width in widths]
        samples: AbstractContextManager[Expr] = nullcontext(n)
        if self.op.batch:
            samples = emit.loop(self.samples)
        with samples as sample:
            sums = [emit.register(emit.spread(0, width), lanes=width) for width in widths]
            with emit.loop(self.slabs) as slab:
                for v, width in enumerate(widths):
                    sums[v].add(term(sample, slab, channel + v * emit.lanes, v, width))
            for total, one in zip(totals, sums, strict=True):
                total.add(one.value)
        return totals

    def _moment(self, n: Expr, slab: Expr, number: int, channel: Expr, width: int) -> Expr:
        offset = self.view.offset([n, slab, number, channel])
        return self.emit.load(self.emit.buffers[0], offset, width)

    def _groups(self, n: Expr) -> None:
        """Store the statistics of groups of channels."""
        emit = self.emit
        mean, total = (
            tb.alloc_buffer((self.channels,), "float32", scope="local") for _ in range(2)
        )

        def keep(channel: Expr, widths: Sequence[int]) -> None:
            for values, buffer in zip(
                self._combined(n, channel, widths), (mean, total), strict=True
            ):
                for v, width in enumerate(widths):
                    emit.store(buffer, channel + v * emit.lanes, values[v].value, width)

        self._blocks(keep)
        members = self.channels // self.op.groups
        with emit.loop(self.op.groups) as group:
            self._group(n, group * members, members, mean, total)

    def _group(self, n: Expr, first: Expr, members: int, mean: Buffer, total: Buffer) -> None:
        """Combine the moments of the channels of a group."""
        emit, positions = self.emit, self.pooled * self.op.size
        centre, squares = (emit.register(T.float32(0), lanes=1) for _ in range(2))
        with emit.loop(members) as k:
            centre.add(mean[first + k])
        centre.set(centre.value * T.float32(1 / members))
        with emit.loop(members) as k:
            off = emit.register(mean[first + k] - centre.value, lanes=1).value
            squares.add(total[first + k] + off * off * T.float32(positions))
        squares.set(squares.value * T.float32(1 / (positions * members)))
        with emit.loop(members) as k:
            at = first + k
            emit.store(emit.buffers[1], self.result.offset([n, 0, at]), centre.value, 1)
            emit.store(emit.buffers[1], self.result.offset([n, 1, at]), squares.value, 1)


__all__ = ["Pooled", "pooled_moments"]
