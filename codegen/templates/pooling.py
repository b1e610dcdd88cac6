# SPDX-License-Identifier: MIT
"""Maxima and sums of sliding windows: lanes are channels, elements of padding are never read.

A row of the window loads every element of the data once and combines it with all positions of
the tile that see it. How much of a window lies inside the data follows from the line along all
axes but the last; along that one, the few positions at both ends are written out one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.graph import Node
from ...ir.ops import MaxPool, WindowSum
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..values import dims
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, Register, emitting
from .epilogue import Anchored, Epilogue, anchored
from .walk import Lines, in_lines, in_runs

_ROWS = 8
"""Positions that are computed at once: each needs a register."""


@dataclass(frozen=True, eq=False)
class Pooling(Plan):
    """The largest element or the sum of each window.

    Attributes:
        group: the op and what follows it.
        unit: the processor core.
        data: number of the operand that is pooled.
    """

    group: Anchored
    unit: VectorUnit
    data: int

    def __str__(self) -> str:
        return f"pooling(lanes={self.unit.lanes})"

    @property
    def op(self) -> MaxPool | WindowSum:
        """The anchor."""
        assert isinstance(self.group.anchor.op, MaxPool | WindowSum)
        return self.group.anchor.op

    @cached_property
    def input_shape(self) -> Dims:
        """Shape (N, C, spatial...) of the data."""
        return dims(self.group.anchor.inputs[0])

    @cached_property
    def output_shape(self) -> Dims:
        """Shape (N, C, spatial...) of the result."""
        return dims(self.group.anchor.output)

    @property
    def operands(self) -> Sequence[Request]:
        """Data with channels together."""
        requests = [ANY] * len(self.group.body.inputs)
        requests[self.data] = Request("channels_last")
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


def pooling(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Pooling | None:
    """Return the plan of a group around a maximum or sum over windows of float32."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, MaxPool | WindowSum))
    if group is None:
        return None
    op = group.anchor.op
    if isinstance(op, WindowSum) and set(op.input_dilation) != {1}:
        return None
    if dims(group.anchor.output)[1] < unit.lanes:
        return None
    return Pooling(group, unit, node.op.body.inputs.index(group.anchor.inputs[0]))


class _Writer:
    def __init__(self, plan: Pooling, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.view = views[plan.data]
        self.x = emit.buffers[plan.data]
        self.epilogue = Epilogue(plan.group, views, emit.buffers)
        self.channels = plan.output_shape[1]
        self.lines = Lines.of(plan.output_shape, [], False)
        self.largest = isinstance(plan.op, MaxPool)

    def write(self) -> None:
        """Walk positions outside and channels inside, where neighbours in memory are."""
        emit, alone = self.emit, self.lines.count == 1
        first, last = self._inner()
        with in_lines(emit, self.lines) as line:

            def visit(start: Expr, rows: int) -> None:
                self._channels(line, start + first, rows)

            if last > first:
                in_runs(emit, last - first, _ROWS, visit, alone)
            for position in (*range(first), *range(last, self.lines.width)):
                with emit.only_last_thread(alone):
                    self._channels(line, position, 1)

    def _inner(self) -> tuple[int, int]:
        """Return the range of positions along the last axis whose windows lie in the data."""
        op, size, width = self.plan.op, self.plan.input_shape[-1], self.lines.width
        reach = (op.window[-1] - 1) * op.dilation[-1]
        first = min(max(0, -(-op.low[-1] // op.strides[-1])), width)
        last = (size - 1 - reach + op.low[-1]) // op.strides[-1] + 1
        return first, max(first, min(width, last))

    def _channels(self, line: Sequence[Expr], start: Expr, rows: int) -> None:
        lanes = self.emit.lanes
        blocks, rest = divmod(self.channels, lanes)
        with self.emit.loop(blocks) as block:
            self._tile(line, start, rows, (block * lanes, 0))
        if rest:
            # The last vector ends with the last channel and stores what is new in it.
            self._tile(line, start, rows, (self.channels - lanes, lanes - rest))

    def _tile(self, line: Sequence[Expr], start: Expr, rows: int, part: tuple[Expr, int]) -> None:
        """Compute ``rows`` positions for a vector of channels; the first few are not stored."""
        emit, op, (channel, skip) = self.emit, self.plan.op, part
        neutral = emit.constant(-math.inf if self.largest else 0.0)
        totals = [emit.register(neutral) for _ in range(rows)]
        size = self.plan.input_shape[2:]
        seen = [self._inside(k, line[2 + k], size[k]) for k in range(len(size) - 1)]
        with emit.nest([count for _, count in seen]) as numbers:
            at = [line[0], channel]
            for k, number in enumerate(numbers):
                tap = seen[k][0] + number
                at.append(line[2 + k] * op.strides[k] + tap * op.dilation[k] - op.low[k])
            at.append(start * op.strides[-1] - op.low[-1])
            self._row(totals, self.view.offset(at), start)
        for r, total in enumerate(totals):
            at = [line[0], channel + skip, *line[2:], start + r]
            self.epilogue.store(emit, total.lanes_from(skip), at, 1, emit.lanes - skip)

    def _inside(self, axis: int, position: Expr, size: int) -> tuple[Expr, Expr]:
        """Return the first tap of a window that lies in the data, and how many do."""
        op = self.plan.op
        window, step, low = op.window[axis], op.dilation[axis], op.low[axis]
        reach = (window - 1) * step
        final = (self.plan.output_shape[2 + axis] - 1) * op.strides[axis] - low + reach
        if low <= 0 and final < size:
            return 0, window
        start = position * op.strides[axis] - low
        zero, whole = tirx.const(0, "int32"), tirx.const(window, "int32")
        first = tirx.max(zero, tirx.floordiv(step - 1 - start, tirx.const(step, "int32")))
        end = tirx.min(whole, tirx.floordiv(size - 1 - start, tirx.const(step, "int32")) + 1)
        return first, tirx.max(zero, end - first)

    def _columns(self, start: Expr, row: int) -> list[int]:
        """Return the columns that position ``row`` of a tile sees, counted from the first's."""
        op, size = self.plan.op, self.plan.input_shape[-1]
        columns = [row * op.strides[-1] + tap * op.dilation[-1] for tap in range(op.window[-1])]
        if not isinstance(start, int):
            return columns
        # Only single positions at the ends are known numbers; others lie inside.
        first = start * op.strides[-1] - op.low[-1]
        return [c for c in columns if 0 <= first + c < size]

    def _row(self, totals: Sequence[Register], data: Expr, start: Expr) -> None:
        """Combine a row of each window with what the rows before it gave."""
        emit, loaded = self.emit, dict[int, Expr]()
        for r, total in enumerate(totals):
            items = [total.value]
            for column in self._columns(start, r):
                if column not in loaded:
                    offset = data + column * self.view.strides[-1]
                    loaded[column] = emit.name(emit.load(self.x, offset))
                items.append(loaded[column])
            total.set(_largest(emit, items) if self.largest else sum(items[1:], items[0]))


def _largest(emit: KernelEmitter, items: Sequence[Expr]) -> Expr:
    """Return the largest of ``items``, NaN if one of them is.

    Two items share one test for NaN, which a processor makes as fast as a maximum.
    """
    result = items[0]
    for item in items[1:]:
        result = tirx.Select(result > item, result, item)
    unordered = tirx.isnan(items[0])
    for item in items[1:]:
        unordered = tirx.Or(unordered, tirx.isnan(item))
    return tirx.Select(unordered, emit.constant(math.nan), result)


__all__ = ["Pooling", "pooling"]
