# SPDX-License-Identifier: MIT
"""Writes a convolution by minimal filtering: its three phases for each block of tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tvm import tirx
from tvm.tirx.script.builder import ir as tb

from ..views import View
from .base import Written
from .direct import DirectConvolution
from .emitter import Expr, KernelEmitter, Register, emitting
from .epilogue import Epilogue
from .pack_filters import FilterWriter
from .tile import multiply
from .winograd_blocking import Blocking
from .winograd_transforms import Square


def write(direct: DirectConvolution, blocking: Blocking, views: Sequence[View]) -> Written:
    """Return the kernel.

    Args:
        direct: the convolution and what follows it.
        blocking: sizes of the parts.
        views: of operands and result.
    """
    emit: KernelEmitter
    scratch = [blocking.threads * n for n in (blocking.data_bytes, blocking.product_bytes)]
    if blocking.filters_inside:
        scratch.append(blocking.groups * blocking.group_bytes)
    dtypes = [*direct.conv.group.dtypes, *["float32"] * len(scratch)]
    with emitting(direct.unit.lanes, dtypes) as (emission, emit):
        _Writer(direct, blocking, views, emit).write()
    return Written(emission.function, tuple(scratch))


class _Writer:
    def __init__(
        self,
        direct: DirectConvolution,
        blocking: Blocking,
        views: Sequence[View],
        emit: KernelEmitter,
    ) -> None:
        self.emit = emit
        self.blocking = blocking
        self.direct = direct
        self.view = views[direct.conv.data]
        self.x, self.filters = emit.buffers[direct.conv.data], emit.buffers[direct.conv.weights]
        self.data, self.products = emit.buffers[len(views) : len(views) + 2]
        self.filter_writer = self._filter_writer(views)
        self.epilogue = Epilogue(direct.conv.group, views, emit.buffers)
        self.square = Square(emit, blocking.m)
        # Of this thread.
        self.data_start = emit.scalar(emit.thread * (blocking.data_bytes // 4))
        self.product_start = emit.scalar(emit.thread * (blocking.product_bytes // 4))

    def _filter_writer(self, views: Sequence[View]) -> FilterWriter | None:
        b, number = self.blocking, self.direct.conv.weights
        if not b.filters_inside:
            return None
        source, self.filters = (self.filters, views[number]), self.emit.buffers[-1]
        return FilterWriter(self.emit, source, self.filters, b.m, (b.filter_block, 1))

    def write(self) -> None:
        """Do this thread's share of the groups of filters of all blocks.

        A thread that does only some of a block's groups transforms all of the block's data.
        """
        b, emit = self.blocking, self.emit
        threads = tirx.min(emit.threads, b.threads)
        with tb.If(emit.thread < threads), tb.Then():
            first = tirx.truncdiv(emit.thread * b.items, threads)
            last = tirx.truncdiv((emit.thread + 1) * b.items, threads)
            start = _div(first, b.groups)
            with emit.loop(_div(last + (b.groups - 1), b.groups), start) as number:
                block = _Block(b, emit, number)
                self._transform_data(block, number == start)
                begin, end = tirx.max(first - number * b.groups, 0), last - number * b.groups
                with emit.loop(tirx.min(end, b.groups), begin) as group:
                    if self.filter_writer is None:
                        self._multiply(block, group)
                    else:
                        # In the place of the thread's first group, which stays in the cache.
                        own = emit.scalar(first * (b.group_bytes // 4))
                        self.filter_writer.write_block(group, own)
                        self._multiply(block, first)
                    self._transform_products(block, group)

    # Data to values at the points

    def _transform_data(self, block: _Block, is_first: Expr) -> None:
        b, emit = self.blocking, self.emit
        kept = b.problem.depth - 1 if b.chunk == 1 else 0
        begin: Expr = 0
        if kept:
            # Slices that the last chunk of this block read too are still there.
            fresh = tirx.any(is_first, block.chunk == 0)
            begin = emit.scalar(tirx.Select(fresh, 0, kept))
        with emit.loop(b.ring, begin) as number:
            row = emit.scalar(self._slice_row(block, number))
            with tb.serial(0, block.tiles) as tile:
                self._squares(block, block.chunk * b.chunk + number, tile, row + tile)

    def _slice_row(self, block: _Block, number: Expr) -> Expr:
        """Return the row of transformed data where slice ``number`` of the chunk starts."""
        b = self.blocking
        if b.chunk > 1 or b.ring == 1:
            return number * b.slice_rows
        return tirx.truncmod(block.chunk + number, b.ring) * b.slice_rows

    def _squares(self, block: _Block, slice: Expr, tile: Expr, row: Expr) -> None:
        """Transform all channels of a tile."""
        b, emit = self.blocking, self.emit
        low = self.direct.conv.op.low
        at = [block.line(tile) * b.m - low[-2], block.column(tile) * b.m - low[-1]]
        if len(self.view.shape) == 4:
            source = [slice, 0, *at]
        else:
            source = [block.outer, 0, slice - low[0], *at]
        first = emit.scalar(self.view.offset(source))
        target = emit.scalar(self.data_start + row * b.row_pitch)
        full, rest = divmod(b.problem.channels, emit.lanes)
        if full:
            with emit.loop(full) as vector:
                self._signal(first + vector * emit.lanes, target + vector * emit.lanes, emit.lanes)
        if rest:
            self._signal(first + full * emit.lanes, target + full * emit.lanes, rest)

    def _signal(self, first: Expr, target: Expr, count: int) -> None:
        emit, b = self.emit, self.blocking
        down, right = self.view.strides[-2:]

        def read(column: Expr, row: int) -> Expr:
            offset = first + row * down + column * right
            if count == emit.lanes:
                return emit.load(self.x, offset)
            # What lies after the last channel may be another's memory.
            part = emit.register(emit.constant(0))
            emit.store(part.buffer, 0, emit.load(self.x, offset, count), count)
            return part.value

        def write(row: Expr, column: int, value: Expr) -> None:
            point = row * self.square.size + column
            emit.store(self.data, target + point * b.data_pitch, value)

        self.square.signal(read, write)

    # Products

    def _multiply(self, block: _Block, group: Expr) -> None:
        """Multiply the data by the filters of a group, at each point."""
        b, emit = self.blocking, self.emit
        size = b.problem.depth * b.problem.channels * b.filter_block
        with tb.serial(0, b.points) as point, tb.serial(0, emit.opaque(b.group)) as number:
            panel = emit.scalar(((group * b.points + point) * b.group + number) * size)
            data = emit.scalar(self.data_start + point * b.data_pitch)
            result = self.product_start + point * b.product_pitch + number * b.filter_block
            result = emit.scalar(result)
            with tb.serial(0, block.row_tiles) as tile:
                self._product(block, tile * b.tile.rows, (data, panel, result))

    def _product(self, block: _Block, row: Expr, starts: tuple[Expr, Expr, Expr]) -> None:
        """Compute a tile of products; the sum runs over slices and channels."""
        b, emit = self.blocking, self.emit
        data, panel, result = starts
        rows, vectors, channels = b.tile.rows, b.tile.vectors, b.problem.channels
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in range(rows)]
        depth = b.problem.depth
        with emit.loop(emit.opaque(depth) if depth > 1 else 1) as number:
            first = emit.scalar(data + (self._slice_row(block, number) + row) * b.row_pitch)
            filters = emit.scalar(panel + number * (channels * b.filter_block))
            ahead = self._next_panel(panel, row, number)
            with emit.loop(channels) as c:
                if ahead is not None:
                    emit.prefetch(self.filters, ahead[0] + c * ahead[1])
                elements = [self.data[first + c + r * b.row_pitch] for r in range(rows)]
                multiply(emit, totals, elements, self.filters, filters + c * b.filter_block)
        for r, line in enumerate(totals):
            for j, total in enumerate(line):
                offset = result + (row + r) * b.product_row + j * emit.lanes
                emit.store(self.products, offset, total.value)

    def _next_panel(self, panel: Expr, row: Expr, number: Expr) -> tuple[Expr, int] | None:
        """Return where to prefetch the filters that follow, and the step per channel.

        The first tile that multiplies a block of filters waits for them to come from memory;
        the tiles before can ask for them, each for its part. Many tiles do not wait for long.
        Filters transformed here are in a cache, and asking for what follows them may cost as
        much as a page fault: no one has written there.
        """
        b = self.blocking
        step = b.filter_block * b.tile.rows // b.rows
        if step < 2 or b.filters_inside:
            return None
        inner = b.problem.depth * b.problem.channels
        start = panel + inner * b.filter_block + _div(row, b.tile.rows) * (inner * step)
        return self.emit.scalar(start + number * (b.problem.channels * step)), step

    # Products to outputs

    def _transform_products(self, block: _Block, group: Expr) -> None:
        b, emit = self.blocking, self.emit
        width = b.group * b.tile.vectors
        full, rest = divmod(b.problem.filters, emit.lanes)
        with emit.loop(b.chunk) as number, tb.serial(0, block.tiles) as tile:
            output = _Output(self, block, block.chunk * b.chunk + number, tile)
            row = emit.scalar(self.product_start + (number * b.tiles + tile) * b.product_row)
            vectors: Expr = min(full, width)
            if b.groups > 1 and b.groups * width > full:
                vectors = tirx.min(full - group * width, width)
            with emit.loop(vectors) as vector:
                output.store(row + vector * emit.lanes, group * width + vector, emit.lanes)
            if rest:
                with self._if(group == full // width, always=b.groups == 1):
                    output.store(row + full % width * emit.lanes, full, rest)

    @contextmanager
    def _if(self, condition: Expr, always: bool) -> Iterator[None]:
        if always:
            yield
        else:
            with tb.If(condition), tb.Then():
                yield


class _Block:
    """One block of tiles of one chunk, by its number."""

    def __init__(self, blocking: Blocking, emit: KernelEmitter, number: Expr) -> None:
        self.blocking = b = blocking
        self.chunk = emit.scalar(_mod(number, b.chunks))
        block = emit.scalar(_mod(_div(number, b.chunks), b.blocks))
        self.outer = emit.scalar(_div(number, b.chunks * b.blocks))
        self.first = emit.scalar(block * b.tiles)
        self.tiles: Expr = b.tiles
        self.row_tiles: Expr = emit.opaque(b.rows // b.tile.rows)
        if b.last_tiles != b.tiles:
            self.tiles = emit.scalar(tirx.min(b.all_tiles - self.first, b.tiles))
            self.row_tiles = emit.opaque(_div(self.tiles + (b.tile.rows - 1), b.tile.rows))

    def line(self, tile: Expr) -> Expr:
        """Return the row of tiles that ``tile`` of the block is in."""
        return _div(self.first + tile, self.blocking.tile_columns)

    def column(self, tile: Expr) -> Expr:
        """Return the column of tiles that ``tile`` of the block is in."""
        return _mod(self.first + tile, self.blocking.tile_columns)


class _Output:
    """The outputs of one tile."""

    def __init__(self, writer: _Writer, block: _Block, slice: Expr, tile: Expr) -> None:
        self.writer, self.block = writer, block
        emit, b = writer.emit, writer.blocking
        self.slice = slice
        self.top = emit.scalar(block.line(tile) * b.m)
        self.left = emit.scalar(block.column(tile) * b.m)
        self.rows: Expr = b.m
        if b.problem.height % b.m:
            self.rows = emit.scalar(tirx.min(b.problem.height - self.top, b.m))

    def store(self, products: Expr, vector: Expr, count: int) -> None:
        """Transform products of ``count`` filters that start at ``products``; store outputs."""
        writer = self.writer
        emit, b = writer.emit, writer.blocking
        size, width = writer.square.size, b.problem.width

        def read(column: Expr, row: int) -> Expr:
            offset = products + (row * size + column) * b.product_pitch
            return emit.load(writer.products, offset)

        def write(row: Expr, column: int, value: Register) -> None:
            if width % b.m and column >= width % b.m:
                with tb.If(self.left + column < width), tb.Then():
                    self._result(row, column, vector, value, count)
            else:
                self._result(row, column, vector, value, count)

        writer.square.output(read, self.rows, write)

    def _result(self, row: Expr, column: int, vector: Expr, value: Register, count: int) -> None:
        emit = self.writer.emit
        at = [self.top + row, self.left + column]
        channel = vector * emit.lanes
        if len(self.writer.view.shape) == 4:
            indices = [self.slice, channel, *at]
        else:
            indices = [self.block.outer, channel, self.slice, *at]
        self.writer.epilogue.store(emit, value.lane, indices, 1, count)


def _div(number: Expr, by: int) -> Expr:
    return number if by == 1 else tirx.truncdiv(number, by)


def _mod(number: Expr, by: int) -> Expr:
    return 0 if by == 1 else tirx.truncmod(number, by)
