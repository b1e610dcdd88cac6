# SPDX-License-Identifier: MIT
"""Normalisation by moments of slabs, with what follows it, in one pass over channels-last data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx.script.builder import ir as tb

from ...ir.graph import Node
from ...ir.ops import NormaliseByMoments
from ...ir.ops.fused import Fused
from ...ir.ops.moments import slabs_of
from ...ir.types import Array, TensorType
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Buffer, Expr, KernelEmitter, emitting
from .epilogue import Anchored, Epilogue, anchored
from .row_walk import unflat

_MOST_CHANNELS = 2048
"""Mean, factor and offset of so many channels lie on the stack: 24 KB."""

_HELD_VECTORS = 2
"""Up to so many vectors of channels, factors stay in registers along a line."""

_Factors: TypeAlias = tuple[Buffer, Buffer, Buffer]


@dataclass(frozen=True, eq=False)
class Normalisation(Plan):
    """``(x - mean) * factor + offset`` per sample and channel, and an epilogue.

    Every thread combines the moments for itself, which is little work beside its part of the
    data; the difference from the mean is taken first, so that a large mean costs no digits.

    Attributes:
        group: the normalisation and what follows it.
        unit: the processor core.
    """

    group: Anchored
    unit: VectorUnit

    def __str__(self) -> str:
        return f"normalisation(lanes={self.unit.lanes})"

    @property
    def shape(self) -> Dims:
        """Shape (N, C, D1, ...) of the data."""
        type = self.group.anchor.output.type
        assert isinstance(type, TensorType)
        return type.dims

    @property
    def numbers(self) -> list[int]:
        """Numbers of the operands data, moments, scale and bias."""
        return [self.group.body.inputs.index(v) for v in self.group.anchor.inputs]

    @property
    def operands(self) -> Sequence[Request]:
        """Everything of the data's shape has its channels together."""
        requests = [ANY] * len(self.group.body.inputs)
        for k, value in enumerate(self.group.body.inputs):
            if isinstance(value.type, TensorType) and value.type.dims == self.shape:
                requests[k] = Request("channels_last")
        requests[self.numbers[1]] = Request("row_major")
        return requests

    @property
    def result(self) -> Request:
        """Channels are stored as vectors; a reshape at the end needs its own order."""
        return Request(self.group.order)

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, ["float32"] * len(views)) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def normalises(type: TensorType) -> bool:
    """Whether moments and normalisations of such data have templates."""
    fits = type.is_static and type.rank >= 3 and type.dtype == "float32"
    # The parameters of a single channel would be numbers inside the group.
    return fits and type.size > 0 and 1 < type.dims[1] <= _MOST_CHANNELS


def normalise(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Normalisation | None:
    """Return the plan of a group around a normalisation of float32 by moments."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, NormaliseByMoments))
    if group is None or len(set(group.anchor.inputs)) < 4:
        return None
    values = (*node.op.body.inputs, group.result)
    types = [v.type for v in values if isinstance(v.type, TensorType)]
    plan = Normalisation(group, unit)
    return plan if {t.dtype for t in types} == {"float32"} else None


class _Writer:
    def __init__(self, plan: Normalisation, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.epilogue = Epilogue(plan.group, views, emit.buffers)
        self.batch, self.channels, *self.spatial = plan.shape
        self.slabs = slabs_of(plan.shape)
        numbers = plan.numbers
        self.x, self.moments, self.scale, self.bias = (emit.buffers[k] for k in numbers)
        self.view, self.moment_view = (views[k] for k in numbers[:2])

    def write(self) -> None:
        """For each sample, combine the moments, then walk this thread's lines."""
        size = -(-self.channels // self.emit.lanes) * self.emit.lanes
        mean, factor, offset = (
            tb.alloc_buffer((size,), "float32", scope="local") for _ in range(3)
        )
        factors = (mean, factor, offset)
        lines = self.spatial[:-1]
        with self.emit.loop(self.batch) as n:
            self._combine(n, factors)
            with self.emit.share(math.prod(lines)) as number:
                self._line(n, unflat(number, lines), factors)

    # Statistics

    def _combine(self, n: Expr, factors: _Factors) -> None:
        """Fill mean, factor and offset of every channel of a sample."""
        self._per_channel(n, factors)
        op = self.plan.group.anchor.op
        assert isinstance(op, NormaliseByMoments)
        members = self.channels // op.groups
        with self.emit.loop(op.groups) as group:
            self._group(group * members, members, factors)

    def _per_channel(self, n: Expr, factors: _Factors) -> None:
        """Put mean and sum of squares of every channel where mean and factor will be."""
        emit, slabs = self.emit, self.slabs
        each = math.prod(self.spatial) // slabs

        def visit(channel: Expr, width: int) -> None:
            total = emit.register(emit.spread(0, width), lanes=width)
            with emit.loop(slabs) as slab:
                total.add(self._moment(n, slab, 0, channel, width))
            centre = emit.register(total.value * emit.spread(1 / slabs, width), lanes=width)
            total.set(emit.spread(0, width))
            with emit.loop(slabs) as slab:
                off = emit.register(
                    self._moment(n, slab, 0, channel, width) - centre.value, lanes=width
                ).value
                spread = off * off * emit.spread(each, width)
                total.add(self._moment(n, slab, 1, channel, width) + spread)
            emit.store(factors[0], channel, centre.value, width)
            emit.store(factors[1], channel, total.value, width)

        self._each_vector(visit)

    def _group(self, first: Expr, members: int, factors: _Factors) -> None:
        """Replace the moments of a group's channels by mean, factor and offset."""
        emit, (mean, factor, offset) = self.emit, factors
        positions = math.prod(self.spatial)
        centre, total = (emit.register(T.float32(0), lanes=1) for _ in range(2))
        with emit.loop(members) as k:
            centre.add(mean[first + k])
        centre.set(centre.value * T.float32(1 / members))
        with emit.loop(members) as k:
            off = emit.register(mean[first + k] - centre.value, lanes=1).value
            total.add(factor[first + k] + off * off * T.float32(positions))
        op = self.plan.group.anchor.op
        assert isinstance(op, NormaliseByMoments)
        variance = total.value * T.float32(1 / (positions * members))
        total.set(T.float32(1) / tirx.sqrt(variance + T.float32(op.epsilon)))
        with emit.loop(members) as k:
            emit.store(mean, first + k, centre.value, 1)
            emit.store(factor, first + k, total.value * self.scale[first + k], 1)
            emit.store(offset, first + k, self.bias[first + k], 1)

    def _moment(self, n: Expr, slab: Expr, number: int, channel: Expr, width: int) -> Expr:
        offset = self.moment_view.offset([n, slab, number, channel])
        return self.emit.load(self.moments, offset, width)

    def _each_vector(self, visit: Callable[[Expr, int], None]) -> None:
        whole, rest = divmod(self.channels, self.emit.lanes)
        if whole:
            with self.emit.loop(whole) as k:
                visit(k * self.emit.lanes, self.emit.lanes)
        if rest:
            visit(whole * self.emit.lanes, rest)

    # Data

    def _line(self, n: Expr, line: Sequence[Expr], factors: _Factors) -> None:
        """Normalise the positions of one line."""
        width = self.spatial[-1]
        if self.channels > _HELD_VECTORS * self.emit.lanes:
            with self.emit.loop(width) as at:
                self._each_vector(lambda c, w: self._vector(n, c, [*line, at], w, factors))
            return
        with self.emit.loop(width) as at:
            for c in range(0, self.channels, self.emit.lanes):
                count = min(self.emit.lanes, self.channels - c)
                self._vector(n, c, [*line, at], count, factors)

    def _vector(
        self, n: Expr, channel: Expr, at: Sequence[Expr], width: int, factors: _Factors
    ) -> None:
        emit = self.emit
        mean, factor, offset = (emit.load(f, channel, width) for f in factors)
        indices = [n, channel, *at]
        x = emit.load(self.x, self.view.offset(indices), width)
        value = emit.register((x - mean) * factor + offset, lanes=width)
        self.epilogue.store(emit, value.lane, indices, 1, width)
