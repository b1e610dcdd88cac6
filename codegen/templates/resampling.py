# SPDX-License-Identifier: MIT
"""Resampling of a spatial axis by tables: lanes are channels, the table is read per position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.graph import Node
from ...ir.ops import Resample
from ...ir.ops.fused import Fused
from ...ir.types import Array, TensorType
from ..values import dims
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, emitting
from .epilogue import Anchored, Epilogue, anchored
from .walk import Lines, in_lines, in_runs


@dataclass(frozen=True, eq=False)
class Resampling(Plan):
    """Weighted sums of slices along one spatial axis.

    Attributes:
        group: the op and what follows it.
        unit: the processor core.
        operands_of: numbers of the operands that are data, positions and weights.
    """

    group: Anchored
    unit: VectorUnit
    operands_of: tuple[int, int, int]

    def __str__(self) -> str:
        return f"resampling(lanes={self.unit.lanes})"

    @property
    def axis(self) -> int:
        """The axis that changes its size."""
        assert isinstance(self.group.anchor.op, Resample)
        return self.group.anchor.op.axis

    @cached_property
    def taps(self) -> int:
        """Slices that are added up."""
        return dims(self.group.anchor.inputs[1])[1]

    @cached_property
    def output_shape(self) -> Dims:
        """Shape (N, C, spatial...) of the result."""
        return dims(self.group.anchor.output)

    @property
    def operands(self) -> Sequence[Request]:
        """Data with channels together, tables as they are."""
        requests = [ANY] * len(self.group.body.inputs)
        data, indices, weights = self.operands_of
        requests[data] = Request("channels_last")
        requests[indices] = requests[weights] = Request("row_major")
        return requests

    @property
    def result(self) -> Request:
        """Channels are stored as vectors."""
        return Request(self.group.order)

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, self.group.dtypes) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def resampling(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Resampling | None:
    """Return the plan of a group around a resampling of float32 by a constant, valid table."""
    assert isinstance(node.op, Fused)
    body = node.op.body
    group = anchored(body, lambda n: isinstance(n.op, Resample), table=1)
    if group is None:
        return None
    op, type = group.anchor.op, group.anchor.output.type
    assert isinstance(op, Resample)
    assert isinstance(type, TensorType)
    numbers = tuple(body.inputs.index(v) for v in group.anchor.inputs)
    if type.rank < 3 or op.axis < 2 or type.dims[1] < unit.lanes or len(set(numbers)) < 3:
        return None
    table = arrays.get(node.inputs[numbers[1]].name)
    length = dims(group.anchor.inputs[0])[op.axis]
    if table is None or table.min() < 0 or table.max() >= length:
        return None
    return Resampling(group, unit, (numbers[0], numbers[1], numbers[2]))


class _Writer:
    def __init__(self, plan: Resampling, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        data, indices, weights = plan.operands_of
        self.view = views[data]
        self.x, self.indices, self.w = (emit.buffers[k] for k in (data, indices, weights))
        self.epilogue = Epilogue(plan.group, views, emit.buffers)
        self.lines = Lines.of(plan.output_shape, [], False)

    def write(self) -> None:
        """Walk positions outside and channels inside, where neighbours in memory are."""
        emit = self.emit
        with in_lines(emit, self.lines) as line:
            in_runs(
                emit,
                self.lines.width,
                1,
                lambda start, rows: self._position([*line, start]),
                self.lines.count == 1,
            )

    def _position(self, at: Sequence[Expr]) -> None:
        """Compute all channels of one position."""
        emit, plan, lanes = self.emit, self.plan, self.emit.lanes
        row = at[plan.axis] * plan.taps
        sources, factors = [], []
        for tap in range(plan.taps):
            source = list(at)
            source[plan.axis] = tirx.Cast("int32", self.indices[row + tap])
            sources.append(emit.scalar(self.view.offset(source)))
            factors.append(emit.name(emit.broadcast(self.w[row + tap])))
        blocks, rest = divmod(plan.output_shape[1], lanes)
        with emit.loop(blocks) as block:
            self._store(at, (block * lanes, 0), sources, factors)
        if rest:
            # The last vector ends with the last channel and stores what is new in it.
            last = plan.output_shape[1] - lanes
            self._store(at, (last, lanes - rest), sources, factors)

    def _store(
        self,
        at: Sequence[Expr],
        part: tuple[Expr, int],
        sources: Sequence[Expr],
        factors: Sequence[Expr],
    ) -> None:
        """Compute a vector of channels; the first few are not stored."""
        emit, (channel, skip) = self.emit, part
        total = emit.register(emit.constant(0.0))
        for source, factor in zip(sources, factors, strict=True):
            total.add(emit.load(self.x, source + channel * self.view.strides[1]) * factor)
        place = [at[0], channel + skip, *at[2:]]
        self.epilogue.store(emit, total.lanes_from(skip), place, 1, emit.lanes - skip)


__all__ = ["Resampling", "resampling"]
