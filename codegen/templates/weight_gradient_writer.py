# SPDX-License-Identifier: MIT
"""Writes the kernels of :mod:`.weight_gradient`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tvm import tirx
from tvm.tirx.script.builder import ir as tb

from ..views import View
from .emitter import Buffer, Expr, KernelEmitter, Register
from .panels import Block, Packed, odd_lines
from .tile import multiply
from .transposing import Panel, Transposed

if TYPE_CHECKING:
    from .weight_gradient import Side, WeightGradient


@dataclass(frozen=True)
class _Row:
    """A row of the register tile.

    Attributes:
        read: elements from a position's first in a panel to the row's.
        kept: the row's number among the sums, a multiple of the taps that are loops.
    """

    read: int
    kept: int


class Writer:
    """Writes one kernel.

    Attributes:
        scratch: bytes of each scratch buffer: panels of rows, of vectors, sums.
    """

    def __init__(self, plan: WeightGradient, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.views = views
        self.sums = emit.buffers[-1]
        self.rows = self._packed(plan.rows, -3)
        self.vectors = self._packed(plan.vectors, -2)
        self.taps = math.prod(plan.op.window)
        self.looped = plan.op.window[:-1] if plan.folded else plan.op.window
        self.output = Transposed(plan, views, emit, self.sums)

    def _packed(self, side: Side, scratch: int) -> Packed:
        emit = self.emit
        source = emit.buffers[side.operand]
        return Packed(
            emit,
            (source, emit.buffers[scratch]),
            self.views[side.operand],
            side.axes,
            self.plan.blocks,
        )

    @cached_property
    def in_place(self) -> bool:
        """Whether vectors are read where they lie: they are all there is of a position."""
        plan = self.plan
        view = self.views[plan.vectors.operand]
        moves = plan.data_is_windowed != plan.rows_are_data
        fills = plan.vector_panels == 1 and plan.vectors.channels % self.emit.lanes == 0
        near = view.strides[1] == 1 and view.strides[-1] <= 2 * plan.vectors.channels
        return not moves and fills and near and plan.blocks.batch == 1

    # Sizes of scratch, in elements

    @cached_property
    def row_panel(self) -> int:
        """Elements from a panel of rows to the next."""
        plan = self.plan
        width = plan.rows.channels if plan.folded else plan.tile.rows
        return odd_lines(self.rows.pixels * width)

    @cached_property
    def vector_panel(self) -> int:
        """Elements of a panel of vectors."""
        if self.in_place:
            return 0
        return odd_lines(self.vectors.pixels * self.plan.width)

    @cached_property
    def tile_sums(self) -> int:
        """Elements of the sums of one tile, all taps."""
        rows = self.plan.row_count if self.plan.folded else self.plan.tile.rows
        return rows * math.prod(self.looped) * self.plan.width

    @property
    def keeps_tiles(self) -> bool:
        """Whether tiles have sums of their own: blocks or threads have them in common."""
        return self.plan.block_count > 1 or self.plan.split == "taps"

    @property
    def scratch(self) -> tuple[int, ...]:
        """Bytes of each buffer."""
        plan = self.plan
        row_panels = plan.row_panels * (1 if plan.split == "rows" else plan.threads)
        tiles = plan.row_panels * plan.vector_panels if self.keeps_tiles else plan.threads
        return (
            4 * row_panels * self.row_panel,
            max(64, 4 * plan.threads * self.vector_panel),
            4 * tiles * self.tile_sums,
        )

    # Loops

    def write(self) -> None:
        """Do this thread's share of rows, vectors or taps, in all blocks of positions."""
        plan, emit = self.plan, self.emit
        threads = tirx.min(emit.threads, plan.threads)
        with (
            tb.If(emit.thread < threads),
            tb.Then(),
            emit.loop(plan.op.groups) as group,
            emit.loop(plan.block_count) as number,
        ):
            self._block(Block(emit, plan, group, number))

    def _share(self, split: str, count: int) -> tuple[Expr, Expr]:
        """Return the first and the last of this thread's part of ``count``."""
        if count == 1:
            return 0, 1
        if split == "vectors" and self.plan.split == "taps":
            first, last = self._tap_items()
            outer = math.prod(self.looped)
            return tirx.truncdiv(first, outer), tirx.truncdiv(last + (outer - 1), outer)
        return self._part(count) if self.plan.split == split else (0, count)

    def _part(self, count: int) -> tuple[Expr, Expr]:
        """Return this thread's part of ``count``."""
        emit = self.emit
        threads = tirx.min(emit.threads, self.plan.threads)
        first = emit.scalar(tirx.truncdiv(emit.thread * count, threads))
        return first, emit.scalar(tirx.truncdiv((emit.thread + 1) * count, threads))

    def _tap_items(self) -> tuple[Expr, Expr]:
        """Return this thread's part of the taps that are loops, of all panels of vectors."""
        return self._part(self.plan.vector_panels * math.prod(self.looped))

    def _taps(self, vectors: Panel) -> tuple[Expr, Expr]:
        """Return this thread's part of the taps that are loops, of one panel of vectors."""
        emit, outer = self.emit, math.prod(self.looped)
        if self.plan.split != "taps":
            return 0, outer
        first, last = self._tap_items()
        start = vectors.number * outer
        return (
            emit.scalar(tirx.max(first - start, 0)),
            emit.scalar(tirx.min(last - start, outer)),
        )

    def _block(self, block: Block) -> None:
        plan, emit = self.plan, self.emit
        channel = block.group * plan.rows.channels
        first = emit.scalar(self._row_panels_start())
        if plan.folded:
            self.rows.clear(first, plan.rows.channels)
            with self.rows.positions(block, channel) as (source, pixel):
                self.rows.copy(source, first + pixel * plan.rows.channels, plan.rows.channels)
        else:
            with self.rows.positions(block, channel) as (source, pixel):
                for panel in self._panels("rows", plan.rows.channels, plan.tile.rows):
                    at = source + panel.start * self.rows.channel_step
                    target = first + panel.number * self.row_panel + pixel * panel.width
                    self.rows.copy(at, target, panel.width)
        for vectors in self._panels("vectors", plan.vectors.channels, plan.width):
            self._vectors(block, first, vectors)

    def _row_panels_start(self) -> Expr:
        if self.plan.split == "rows":
            return 0
        return self.emit.thread * (self.plan.row_panels * self.row_panel)

    def _panels(self, split: str, channels: int, width: int) -> Iterator[Panel]:
        """Loop over this thread's full panels, then visit the rest if it is its own."""
        emit = self.emit
        full, rest = divmod(channels, width)
        first, last = self._share(split, full + (rest > 0))
        if full:
            end = last if not rest or not isinstance(last, int) else full
            if rest and not isinstance(last, int):
                end = tirx.min(last, full)
            with emit.loop(end, first) as number:
                yield Panel(number, number * width, width)
        if rest and isinstance(last, int):
            yield Panel(full, full * width, rest)
        elif rest:
            with tb.If(last > full), tb.Then():
                yield Panel(full, full * width, rest)

    def _vectors(self, block: Block, row_panels: Expr, vectors: Panel) -> None:
        """Pack a panel of vectors and multiply it by all panels of rows."""
        plan, emit = self.plan, self.emit
        padded = -(-vectors.width // emit.lanes) * emit.lanes
        start = channel = emit.scalar(block.group * plan.vectors.channels + vectors.start)
        if not self.in_place:
            start = emit.scalar(emit.thread * self.vector_panel)
            with self.vectors.positions(block, channel) as (source, pixel):
                self.vectors.copy(source, start + pixel * padded, vectors.width, padded)
        if plan.folded:
            self._folded(block, (row_panels, start), vectors)
            return
        for rows in self._panels("rows", plan.rows.channels, plan.tile.rows):
            panel = emit.scalar(row_panels + rows.number * self.row_panel)
            sums = emit.scalar(self._sums_start(rows, vectors))
            tile = [_Row(k, k * self.taps) for k in range(rows.width)]
            with emit.nest(plan.op.window) as taps:
                at = (panel, start, sums + emit.flat(taps, plan.op.window) * padded)
                self._tile(block, taps, at, tile, (rows.width, padded))
            with self._if_last(block):
                self.output.store(block.group, rows, vectors, sums)

    def _folded(self, block: Block, starts: tuple[Expr, Expr], vectors: Panel) -> None:
        """Multiply by few channels: their taps along the last axis are rows, too."""
        plan, emit = self.plan, self.emit
        padded = -(-vectors.width // emit.lanes) * emit.lanes
        outer = math.prod(self.looped)
        sums = emit.scalar(self._sums_start(Panel(0, 0, 1), vectors))
        rows = self._folded_rows(outer)
        parts = -(-len(rows) // plan.tile.rows)
        first, last = self._taps(vectors)
        with emit.loop(last, first) as number:
            taps = [*_unflattened(number, self.looped), 0]
            for k in range(parts):
                tile = rows[len(rows) * k // parts : len(rows) * (k + 1) // parts]
                at = (*starts, sums + number * padded)
                self._tile(block, taps, at, tile, (plan.rows.channels, padded))
            with self._if_last(block):
                self.output.store_folded(block.group, number, vectors, sums)

    def _folded_rows(self, outer: int) -> list[_Row]:
        plan, axis = self.plan, self.plan.axes[-1]
        channels = plan.rows.channels
        rows = []
        for tap in range(plan.op.window[-1]):
            pixel = self.rows.tap_offset(axis, tap) * channels
            rows += [_Row(pixel + c, (tap * channels + c) * outer) for c in range(channels)]
        return rows

    def _sums_start(self, rows: Panel, vectors: Panel) -> Expr:
        plan = self.plan
        if self.keeps_tiles:
            return (vectors.number * plan.row_panels + rows.number) * self.tile_sums
        return self.emit.thread * self.tile_sums

    @contextmanager
    def _if_last(self, block: Block) -> Iterator[None]:
        if self.plan.block_count == 1:
            yield
            return
        with tb.If(block.number == self.plan.block_count - 1), tb.Then():
            yield

    # The register tile

    def _tile(
        self,
        block: Block,
        taps: Sequence[Expr],
        starts: tuple[Expr, Expr, Expr],
        tile: Sequence[_Row],
        pitch: tuple[int, int],
    ) -> None:
        """Add a block's products to the sums of one tap.

        Args:
            block: of positions.
            taps: the tap along each axis; the first along the last where it is folded.
            starts: of both panels and of the tap's sums.
            tile: the rows.
            pitch: elements from a position to the next in both panels.
        """
        emit, (wide, padded) = self.emit, pitch
        vectors = padded // emit.lanes
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in tile]
        ranges = [
            (block.first[k], block.last[k])
            if self.plan.folded and k == len(taps) - 1
            else block.met(axis, k, taps[k])
            for k, axis in enumerate(self.plan.axes)
        ]
        *outer, (first, last) = ranges
        with ExitStack() as stack:
            at = [stack.enter_context(emit.loop(high, low)) for low, high in outer]
            at.append(first)
            row = emit.scalar(starts[0] + self.rows.start(block, at, taps) * wide)
            place, step, buffer = self._vector_place(block, at, taps, padded)
            vector = emit.scalar(starts[1] + place)
            count = emit.scalar((last - first) * self.plan.blocks.batch)
            with tb.serial(0, count) as k:
                elements = [self.rows.packed[row + k * wide + r.read] for r in tile]
                multiply(emit, totals, elements, buffer, vector + k * step)
        self._add(block, totals, [starts[2] + r.kept * padded for r in tile])

    def _vector_place(
        self, block: Block, at: Sequence[Expr], taps: Sequence[Expr], padded: int
    ) -> tuple[Expr, int, Buffer]:
        """Return where the vectors of a position are, the step to the next, and the buffer."""
        if self.in_place:
            view = self.views[self.plan.vectors.operand]
            return view.offset([block.image, 0, *at]), view.strides[-1], self.vectors.source
        return self.vectors.start(block, at, taps) * padded, padded, self.vectors.packed

    def _add(self, block: Block, totals: list[list[Register]], starts: list[Expr]) -> None:
        """Add a block's sums to those of the blocks before."""
        emit = self.emit

        def store(value: Callable[[Expr, Register], Expr]) -> None:
            for line, start in zip(totals, starts, strict=True):
                for j, total in enumerate(line):
                    at = start + j * emit.lanes
                    emit.store(self.sums, at, value(at, total))

        if self.plan.block_count == 1:
            store(lambda at, total: total.value)
            return
        with tb.If(block.number == 0):
            with tb.Then():
                store(lambda at, total: total.value)
            with tb.Else():
                store(lambda at, total: emit.load(self.sums, at) + total.value)


def _unflattened(number: Expr, sizes: Sequence[int]) -> list[Expr]:
    indices: list[Expr] = []
    for k in reversed(range(len(sizes))):
        outer = math.prod(sizes[:k])
        if isinstance(number, int):
            indices.insert(0, number % sizes[k])
            number //= sizes[k]
        else:
            indices.insert(0, number if outer == 1 else tirx.truncmod(number, sizes[k]))
            number = tirx.truncdiv(number, sizes[k])
    return indices


__all__ = ["Writer"]
