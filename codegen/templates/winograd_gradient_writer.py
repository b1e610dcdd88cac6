# SPDX-License-Identifier: MIT
"""Writes the kernels of :mod:`.winograd_gradient`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from tvm import tirx
from tvm.tirx.script.builder import ir as tb

from ..views import View
from .emitter import Buffer, Expr, KernelEmitter
from .panels import odd_lines
from .tile import multiply
from .transposing import Panel, Transposed
from .winograd_gradient_transforms import gather, signal, spread, square_buffer

if TYPE_CHECKING:
    from .winograd_gradient import WinogradGradient


class _Block:
    """A block of squares, by its number.

    Attributes:
        number: of the block.
        volume: the stack of slices it is in.
        first: its first slice of the outputs.
        last: the slice after its last.
        line: its first line of squares.
        squares: of a slice.
    """

    def __init__(self, plan: WinogradGradient, emit: KernelEmitter, number: Expr) -> None:
        self.number = number
        _, slices, lines = plan.block_counts
        positions = plan.depth.positions
        self.line = emit.scalar(_mod(number, lines) * plan.lines)
        self.first = emit.scalar(_mod(_div(number, lines), slices) * plan.slices)
        self.volume = emit.scalar(_div(number, lines * slices))
        self.last = emit.scalar(tirx.min(self.first + plan.slices, positions))
        self.squares: Expr = plan.squares
        if plan.all_lines % plan.lines:
            left = tirx.min(plan.all_lines - self.line, plan.lines)
            self.squares = emit.scalar(left * plan.columns)


class Writer:
    """Writes one kernel.

    Attributes:
        scratch: bytes of each scratch buffer: data and gradients at the points, sums of
            products, gradients of the filters of a tile.
    """

    def __init__(self, plan: WinogradGradient, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.views = views
        self.data, self.spread, self.sums, self.taps = emit.buffers[-4:]
        self.square = square_buffer(emit, plan.m)
        self.output = Transposed(plan.direct, views, emit, self.taps)
        self.blocks = math.prod(plan.block_counts)
        self.window = math.prod(plan.direct.op.window)

    # Sizes, in elements

    @cached_property
    def data_point(self) -> int:
        """From a point to the next, of a vector of channels."""
        extent = self.plan.depth.extent(self.plan.slices)
        return odd_lines(extent * self.plan.squares * self.plan.unit.lanes)

    @cached_property
    def spread_point(self) -> int:
        """From a point to the next, of a block of filters."""
        return odd_lines(self.plan.slices * self.plan.squares * self.plan.width)

    @cached_property
    def tile_sums(self) -> int:
        """Sums of a vector of channels and a block of filters."""
        plan = self.plan
        return plan.depth.taps * plan.unit.lanes * plan.points * plan.width

    @cached_property
    def tile_taps(self) -> int:
        """Gradients of them."""
        return self.plan.unit.lanes * self.window * self.plan.width

    @property
    def scratch(self) -> tuple[int, ...]:
        """Bytes of each buffer."""
        plan = self.plan
        tiles = plan.threads if self.blocks == 1 else plan.chunks * plan.filter_blocks
        return (
            4 * plan.chunks * plan.points * self.data_point,
            4 * plan.threads * plan.points * self.spread_point,
            4 * tiles * self.tile_sums,
            4 * plan.threads * self.tile_taps,
        )

    # Loops

    def write(self) -> None:
        """Do this thread's share of the channels of the data, for all filters."""
        plan, emit = self.plan, self.emit
        threads = tirx.min(emit.threads, plan.threads)
        with tb.If(emit.thread < threads), tb.Then():
            first = emit.scalar(tirx.truncdiv(emit.thread * plan.chunks, threads))
            last = emit.scalar(tirx.truncdiv((emit.thread + 1) * plan.chunks, threads))
            with emit.loop(self.blocks) as number:
                block = _Block(plan, emit, number)
                self._transform_data(block, (first, last))
                full, rest = divmod(plan.filters, plan.width)
                if full:
                    with emit.loop(full) as k:
                        self._filters(block, (first, last), Panel(k, k * plan.width, plan.width))
                if rest:
                    self._filters(block, (first, last), Panel(full, full * plan.width, rest))

    def _filters(self, block: _Block, share: tuple[Expr, Expr], filters: Panel) -> None:
        """Multiply a block of filters by this thread's channels."""
        emit, plan = self.emit, self.plan
        padded = _up(filters.width, emit.lanes)
        self._transform_gradient(block, filters, padded)
        with emit.loop(share[1], share[0]) as chunk:
            if self.blocks == 1:
                sums = emit.scalar(emit.thread * self.tile_sums)
            else:
                tile = filters.number * plan.chunks + chunk
                sums = emit.scalar(tile * self.tile_sums)
            self._multiply(block, chunk, padded, sums)
            with self._if(block.number == self.blocks - 1, self.blocks == 1):
                self._store(chunk, filters, padded, sums)

    # Transforms

    def _transform_data(self, block: _Block, share: tuple[Expr, Expr]) -> None:
        plan, emit, depth = self.plan, self.emit, self.plan.depth
        view = self.views[plan.direct.rows.operand]
        source = emit.buffers[plan.direct.rows.operand]
        low, high = depth.reach
        begin = emit.scalar(tirx.max(block.first + low, 0))
        end = emit.scalar(tirx.min(block.last + high, depth.size))
        full, rest = divmod(plan.channels, emit.lanes)
        down, right = (axis.offset for axis in plan.direct.axes[-2:])
        with emit.loop(end, begin) as slice, tb.serial(0, block.squares) as square:
            at = self._square(block, square, (down, right))
            first = emit.scalar(self._offset(view, block, slice, at))
            place = (slice - block.first - low) * plan.squares + square
            place = emit.scalar(place * emit.lanes)
            with emit.loop(tirx.min(share[1], full) if rest else share[1], share[0]) as chunk:
                target = emit.scalar(place + chunk * (plan.points * self.data_point))
                self._signal(view, source, (first + chunk * emit.lanes, target), emit.lanes)
            if rest:
                with tb.If(share[1] > full), tb.Then():
                    target = emit.scalar(place + full * (plan.points * self.data_point))
                    self._signal(view, source, (first + full * emit.lanes, target), rest)

    def _signal(self, view: View, source: Buffer, places: tuple[Expr, Expr], count: int) -> None:
        emit, size = self.emit, self.plan.m + 2
        first, target = places
        down, right = view.strides[-2:]
        signal(self.plan.m).apply(
            emit,
            self.plan.m,
            self.square,
            lambda column, row: self._load(source, first + row * down + column * right, count),
            lambda row, column, value: emit.store(
                self.data, target + (row * size + column) * self.data_point, value
            ),
        )

    def _transform_gradient(self, block: _Block, filters: Panel, padded: int) -> None:
        plan, emit = self.plan, self.emit
        view = self.views[plan.direct.vectors.operand]
        source = emit.buffers[plan.direct.vectors.operand]
        full, rest = divmod(filters.width, emit.lanes)
        start = emit.scalar(emit.thread * (plan.points * self.spread_point))
        with emit.loop(block.last, block.first) as slice, tb.serial(0, block.squares) as square:
            at = self._square(block, square, (0, 0))
            first = emit.scalar(self._offset(view, block, slice, at) + filters.start)
            place = (slice - block.first) * plan.squares + square
            place = emit.scalar(start + place * padded)
            with emit.loop(full) as k:
                step = k * emit.lanes
                self._spread(view, source, (first + step, place + step), emit.lanes)
            if rest:
                step = full * emit.lanes
                self._spread(view, source, (first + step, place + step), rest)

    def _spread(self, view: View, source: Buffer, places: tuple[Expr, Expr], count: int) -> None:
        emit, size = self.emit, self.plan.m + 2
        first, target = places
        down, right = view.strides[-2:]
        spread(self.plan.m).apply(
            emit,
            self.plan.m,
            self.square,
            lambda column, row: self._load(source, first + row * down + column * right, count),
            lambda row, column, value: emit.store(
                self.spread, target + (row * size + column) * self.spread_point, value
            ),
        )

    def _square(self, block: _Block, square: Expr, offset: tuple[int, int]) -> list[Expr]:
        """Return where a square of a block starts."""
        plan = self.plan
        line = block.line + _div(square, plan.columns)
        return [line * plan.m + offset[0], _mod(square, plan.columns) * plan.m + offset[1]]

    def _offset(self, view: View, block: _Block, slice: Expr, at: Sequence[Expr]) -> Expr:
        if len(view.shape) == 4:
            return view.offset([slice, 0, *at])
        return view.offset([block.volume, 0, slice, *at])

    def _load(self, buffer: Buffer, offset: Expr, count: int) -> Expr:
        emit = self.emit
        if count == emit.lanes:
            return emit.load(buffer, offset)
        # What lies after the last channel may be another's memory.
        part = emit.register(emit.constant(0))
        emit.store(part.buffer, 0, emit.load(buffer, offset, count), count)
        return part.value

    # Products

    def _multiply(self, block: _Block, chunk: Expr, padded: int, sums: Expr) -> None:
        """Add products of a vector of channels and a block of filters at all points."""
        plan, emit, depth = self.plan, self.emit, self.plan.depth
        rows, lanes = plan.tile.rows, emit.lanes
        with emit.loop(depth.taps) as tap:
            first, last = self._met(block, tap)
            shift = depth.shift(tap) - depth.reach[0]
            data = emit.scalar((first - block.first + shift) * plan.squares * lanes)
            gradient = emit.scalar((first - block.first) * plan.squares * padded)
            # A slice of a block has all squares, or the block is one slice.
            count = emit.scalar((last - first) * block.squares)
            with tb.serial(0, plan.points) as point, emit.loop(lanes // rows) as part:
                x = data + (chunk * plan.points + point) * self.data_point + part * rows
                z = gradient + (emit.thread * plan.points + point) * self.spread_point
                row = (tap * lanes + part * rows) * plan.points + point
                to = emit.scalar(sums + row * padded)
                self._product(block, (emit.scalar(x), emit.scalar(z), to), count, padded)

    def _met(self, block: _Block, tap: Expr) -> tuple[Expr, Expr]:
        emit, depth = self.emit, self.plan.depth
        shift = depth.shift(tap)
        first = emit.scalar(tirx.max(block.first, -shift))
        last = tirx.min(block.last, depth.size - shift)
        return first, emit.scalar(tirx.max(first, last))

    def _product(
        self, block: _Block, starts: tuple[Expr, Expr, Expr], count: Expr, padded: int
    ) -> None:
        plan, emit = self.plan, self.emit
        x, z, sums = starts
        vectors = range(padded // emit.lanes)
        totals = [[emit.register(emit.constant(0)) for _ in vectors] for _ in range(plan.tile.rows)]
        with tb.serial(0, count) as k:
            elements = [self.data[x + k * emit.lanes + r] for r in range(plan.tile.rows)]
            multiply(emit, totals, elements, self.spread, z + k * padded)
        places = [
            (total, sums + r * (plan.points * padded) + j * emit.lanes)
            for r, line in enumerate(totals)
            for j, total in enumerate(line)
        ]
        if self.blocks > 1:
            with tb.If(block.number > 0), tb.Then():
                for total, at in places:
                    total.add(emit.load(self.sums, at))
        for total, at in places:
            emit.store(self.sums, at, total.value)

    # Results

    def _store(self, chunk: Expr, filters: Panel, padded: int, sums: Expr) -> None:
        """Take the sums to gradients of filters and store those."""
        plan, emit = self.plan, self.emit
        taps = emit.scalar(emit.thread * self.tile_taps)
        vectors = padded // emit.lanes
        with emit.nest((plan.depth.taps, emit.lanes, vectors)) as (tap, channel, vector):
            row = (tap * emit.lanes + channel) * plan.points
            source = emit.scalar(sums + row * padded + vector * emit.lanes)
            target = taps + (channel * self.window + tap * 9) * padded + vector * emit.lanes
            self._gather(source, emit.scalar(target), padded)
        full, rest = divmod(plan.channels, emit.lanes)
        panel = Panel(chunk, chunk * emit.lanes, emit.lanes)
        if not rest:
            self.output.store(0, panel, filters, taps)
            return
        if full:
            with tb.If(chunk < full), tb.Then():
                self.output.store(0, panel, filters, taps)
        with self._if(chunk == full, full == 0):
            self.output.store(0, Panel(full, full * emit.lanes, rest), filters, taps)

    def _gather(self, source: Expr, target: Expr, padded: int) -> None:
        emit, size = self.emit, self.plan.m + 2
        gather(self.plan.m).apply(
            emit,
            self.plan.m,
            self.square,
            lambda column, row: emit.load(self.sums, source + (row * size + column) * padded),
            lambda row, column, value: emit.store(
                self.taps, target + (row * 3 + column) * padded, value
            ),
        )

    @contextmanager
    def _if(self, condition: Expr, always: bool) -> Iterator[None]:
        if always:
            yield
        else:
            with tb.If(condition), tb.Then():
                yield


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _div(number: Expr, by: int) -> Expr:
    return number if by == 1 else tirx.truncdiv(number, by)


def _mod(number: Expr, by: int) -> Expr:
    return 0 if by == 1 else tirx.truncmod(number, by)


__all__ = ["Writer"]
