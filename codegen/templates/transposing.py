# SPDX-License-Identifier: MIT
"""Stores sums whose lanes are channels where a gradient of weights lies row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm import tirx

from ..views import View, row_major
from .emitter import Buffer, Expr, KernelEmitter
from .epilogue import Epilogue

if TYPE_CHECKING:
    from .weight_gradient import WeightGradient

_SIDE = 4
"""Rows and columns of the squares that are transposed in registers."""


@dataclass(frozen=True)
class Panel:
    """Channels of one tensor that are computed together.

    Attributes:
        number: of the panel.
        start: the first channel.
        width: how many.
    """

    number: Expr
    start: Expr
    width: int


class Transposed:
    """The result: sums of a tile of rows and vectors go to (O, C / groups, K...)."""

    def __init__(
        self, plan: WeightGradient, views: Sequence[View], emit: KernelEmitter, sums: Buffer
    ) -> None:
        self.plan = plan
        self.emit = emit
        self.sums = sums
        self.target = emit.buffers[len(views) - 1]
        self.epilogue = Epilogue(plan.group, views, emit.buffers)
        self.is_plain = plan.group.result == plan.group.anchor.output
        self.taps = math.prod(plan.op.window)
        outputs, channels = plan.weight_shape[:2]
        self.group_step = outputs // plan.op.groups
        whole = row_major(plan.weight_shape).strides
        own, other = (1, 0) if plan.rows_are_data else (0, 1)
        self.row_step, self.lane_step = whole[own], whole[other]
        self.group_elements = self.group_step * channels * self.taps

    def store(self, group: Expr, rows: Panel, vectors: Panel, sums: Expr) -> None:
        """Store all taps of a tile, whose sums are (row, tap, lane)."""
        emit = self.emit
        first = group * self.group_elements + rows.start * self.row_step
        first = emit.scalar(first + vectors.start * self.lane_step)
        pitch = -(-vectors.width // emit.lanes) * emit.lanes
        if not self.is_plain:
            with emit.nest((rows.width, self.taps)) as (row, tap):
                place = first + row * self.row_step + tap
                self._elements(place, sums + (row * self.taps + tap) * pitch, vectors.width)
        elif self.row_step == self.taps:
            target = self.target, first, self.lane_step
            count = rows.width * self.taps
            store_columns(emit, (self.sums, sums, pitch), target, count, vectors.width)
        else:
            with emit.loop(rows.width) as row:
                target = self.target, first + row * self.row_step, self.lane_step
                source = self.sums, sums + row * (self.taps * pitch), pitch
                store_columns(emit, source, target, self.taps, vectors.width)

    def store_folded(self, group: Expr, number: Expr, vectors: Panel, sums: Expr) -> None:
        """Store one tap of the axes but the last, whose sums are (last tap, row, tap, lane)."""
        emit, plan = self.emit, self.plan
        last, channels = plan.op.window[-1], plan.rows.channels
        pitch = -(-vectors.width // emit.lanes) * emit.lanes
        first = group * self.group_elements + vectors.start * self.lane_step
        first = emit.scalar(first + number * last)
        with emit.nest((last, channels)) as (tap, c):
            source = sums + ((tap * channels + c) * (self.taps // last) + number) * pitch
            self._elements(first + c * self.row_step + tap, source, vectors.width)

    def _elements(self, first: Expr, source: Expr, count: int) -> None:
        """Store the lanes of one row and tap one by one."""
        emit = self.emit
        with emit.loop(count) as lane:
            place = emit.scalar(first + lane * self.lane_step)
            value = emit.scalar(self.sums[source + lane], "float32")
            if self.is_plain:
                emit.set(self.target, place, value)
            else:
                self.epilogue.store(emit, lambda _: value, self._indices(place), 0, 1)

    def _indices(self, place: Expr) -> list[Expr]:
        indices: list[Expr] = []
        for size in reversed(self.plan.weight_shape):
            indices.insert(0, tirx.truncmod(place, size))
            place = tirx.truncdiv(place, size)
        return indices


def store_columns(
    emit: KernelEmitter,
    source: tuple[Buffer, Expr, int],
    target: tuple[Buffer, Expr, int],
    count: int,
    lanes: int,
) -> None:
    """Store a matrix of ``count`` rows of ``lanes`` as columns, neighbours along them.

    Args:
        emit: the kernel.
        source: buffer, first element, and elements from a row to the next.
        target: buffer, where lane 0 goes, and elements from a lane to the next.
        count: rows.
        lanes: elements of a row.
    """
    (buffer, start, pitch), (into, to, step) = source, target
    if count == 1 and step == 1:
        full, rest = divmod(lanes, emit.lanes)
        for k in range(full):
            at = k * emit.lanes
            emit.store(into, to + at, emit.load(buffer, start + at))
        for k in range(lanes - rest, lanes):
            emit.set(into, to + k, buffer[start + k])
        return
    square = lanes // _SIDE * _SIDE if count >= _SIDE else 0
    if square:
        # The last squares may overlap those before.
        with emit.loop(-(-count // _SIDE)) as k:
            row = emit.scalar(tirx.min(k * _SIDE, count - _SIDE))
            for lane in range(0, square, _SIDE):
                place = to + lane * step + row
                _square(emit, (buffer, start + row * pitch + lane, pitch), (into, place, step))
    if square < lanes:
        with emit.nest((lanes - square, count)) as (lane, row):
            value = buffer[start + row * pitch + (square + lane)]
            emit.set(into, to + (square + lane) * step + row, value)


def _square(
    emit: KernelEmitter, source: tuple[Buffer, Expr, int], target: tuple[Buffer, Expr, int]
) -> None:
    """Transpose four rows of four elements: buffer, first element, elements between rows."""
    buffer, first, step = source
    rows = [
        emit.register(emit.load(buffer, first + k * step, _SIDE), lanes=_SIDE).value
        for k in range(_SIDE)
    ]

    def shuffled(a: Expr, b: Expr, order: Sequence[int]) -> Expr:
        return emit.register(tirx.Shuffle([a, b], list(order)), lanes=_SIDE).value

    pairs = [
        shuffled(rows[k], rows[k + 1], order)
        for k in (0, 2)
        for order in ((0, 4, 1, 5), (2, 6, 3, 7))
    ]
    columns = [
        shuffled(pairs[k], pairs[k + 2], order)
        for k in (0, 1)
        for order in ((0, 1, 4, 5), (2, 3, 6, 7))
    ]
    into, place, apart = target
    for k, column in enumerate(columns):
        emit.store(into, place + k * apart, column, _SIDE)


__all__ = ["Panel", "Transposed", "store_columns"]
