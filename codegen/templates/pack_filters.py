# SPDX-License-Identifier: MIT
"""The values of filters of 3 x 3 taps at the points of minimal filtering, computed in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import tirx
from tvm.tirx.script.builder import ir as tb

from ..filtering import TAPS, filter_matrix, samples
from ..views import View
from .columns import Columns
from .emitter import Buffer, Expr, KernelEmitter

_BUFFER = 5 << 10
"""Elements that are transformed before they are copied: most of a first cache."""

_CACHED = 4 << 20
"""Bytes of filters beyond which they come from memory, in pieces too short to be foreseen."""


def write_filters(emit: KernelEmitter, view: View, m: int, block: int, group: int) -> None:
    """Write what :func:`..packing.winograd` makes of the first operand to the second."""
    source, target = emit.buffers
    FilterWriter(emit, (source, view), target, m, (block, group)).write()


def filters_size(view: View, m: int, block: int, group: int) -> int:
    """Return the elements that :func:`write_filters` writes."""
    outputs, channels, *window = view.shape
    filters = -(-outputs // (block * group)) * block * group
    return samples(m) ** 2 * filters * channels * math.prod(window[:-2])


def filter_line(emit: KernelEmitter, m: int, g: Sequence[Expr]) -> list[Expr]:
    """Return ``G g`` of three vectors; see :func:`..filtering.filter_matrix`.

    The values at a point and its negative are a sum and a difference.
    """
    matrix, c = filter_matrix(m), emit.constant
    result = [emit.name(c(matrix[0, 0]) * g[0])]
    for row in matrix[1 : m + 1 : 2]:
        even = emit.name(c(row[0]) * g[0] + c(row[2]) * g[2])
        odd = emit.name(c(row[1]) * g[1])
        result += [even + odd, even - odd]
    return [*result, g[2]]


class FilterWriter:
    """Transforms filters of a few channels at a time into a buffer, which is then copied.

    Points lie far apart in the result, often by a power of two, so that few lines of a cache
    would have to do for all of them; of a few channels' values each point gets whole runs.

    Args:
        emit: the kernel.
        source: the filters, and how they lie.
        target: where their values go.
        m: rows and columns of outputs of a tile.
        blocking: filters of a block, and blocks whose values at a point follow each other.
    """

    def __init__(
        self,
        emit: KernelEmitter,
        source: tuple[Buffer, View],
        target: Buffer,
        m: int,
        blocking: tuple[int, int],
    ) -> None:
        self.emit = emit
        self.target = target
        buffer, view = source
        self.view = view
        self.m = m
        self.block, self.group = blocking
        self.points = samples(m) ** 2
        self.columns = Columns(emit, buffer, view.strides[0])
        self.channels = view.shape[1]
        self.depth = view.shape[2] if len(view.shape) == 5 else 1
        row, column = view.strides[-2:]
        self.taps = [y * row + x * column for y in range(TAPS) for x in range(TAPS)]
        fitting = [n for n in (8, 4, 2, 1) if n * self.points * self.block <= _BUFFER]
        self.run = fitting[0] if fitting else 1
        size = self.run * self.points * self.block
        self.buffer: Buffer = tb.alloc_buffer((size,), scope="local")

    def write(self) -> None:
        """Write this thread's share: of full blocks of filters, then of the last one."""
        emit, size = self.emit, self.depth * self.channels * self.block
        full, rest = divmod(self.view.shape[0], self.block)
        for start, blocks, count in ((0, full, self.block), (full, int(rest > 0), rest)):
            for first, runs, channels in self._runs():
                if blocks:
                    with emit.share(blocks * runs) as number:
                        block = emit.scalar(number // runs + start)
                        outer, inner = block // self.group, block % self.group
                        base = (outer * (self.points * self.group) + inner) * size
                        at = number % runs * channels + first
                        self._run(block, count, emit.scalar(base), (at, channels))

    def write_block(self, block: Expr, base: Expr) -> None:
        """Write one block by itself, to ``base`` on; blocks are not interleaved."""
        full, rest = divmod(self.view.shape[0], self.block)
        if not rest:
            self._block(block, self.block, base)
        elif not full:
            self._block(block, rest, base)
        else:
            with tb.If(block < full):
                with tb.Then():
                    self._block(block, self.block, base)
                with tb.Else():
                    self._block(block, rest, base)

    def _block(self, block: Expr, count: int, base: Expr) -> None:
        for first, runs, channels in self._runs():
            with self.emit.loop(runs) as number:
                self._run(block, count, base, (number * channels + first, channels))

    def _runs(self) -> list[tuple[int, int, int]]:
        """Return runs of slices and channels: the first, how many runs, and the length of each."""
        runs, left = divmod(self.depth * self.channels, self.run)
        parts = [(0, runs, self.run), (runs * self.run, 1, left)]
        return [p for p in parts if all(p[1:])]

    def _run(self, block: Expr, count: int, base: Expr, run: tuple[Expr, int]) -> None:
        """Write a run of slices and channels of ``count`` filters of a block."""
        first, channels = run
        at = self.emit.scalar(first)
        with self.emit.loop(channels) as channel:
            self._filters(block, at + channel, channel * self.block, count)
        self._copy(base + at * self.block, channels)

    def _filters(self, block: Expr, number: Expr, place: Expr, count: int) -> None:
        """Transform ``count`` filters of a block: slice and channel are ``number``."""
        emit, lanes, strides = self.emit, self.emit.lanes, self.view.strides
        source = emit.scalar(self._at(number) + block * (self.block * strides[0]))
        if 4 * math.prod(self.view.shape) > _CACHED:
            following = tirx.min(number + self.run, self.depth * self.channels - 1)
            ahead = emit.scalar(self._at(following) + block * (self.block * strides[0]))
            with emit.loop(count) as k:
                emit.prefetch(self.columns.source, ahead + k * strides[0])
        whole = count // lanes
        if whole:
            with emit.loop(whole) as vector:
                start = emit.scalar(source + vector * (lanes * strides[0]))
                self._vector(start, place + vector * lanes, lanes)
        for lane in range(whole * lanes, self.block, lanes):
            here = max(0, min(lanes, count - lane))
            self._vector(source + lane * strides[0], place + lane, here)

    def _at(self, number: Expr) -> Expr:
        """Return where the first filter's slice and channel of this number is."""
        strides = self.view.strides
        if self.depth == 1:
            return number * strides[1]
        return (number % self.channels) * strides[1] + (number // self.channels) * strides[2]

    def _vector(self, source: Expr, place: Expr, count: int) -> None:
        """Transform a vector of filters, ``count`` of which exist."""
        emit, size = self.emit, samples(self.m)
        step = self.run * self.block
        if not count:
            for k in range(self.points):
                emit.store(self.buffer, place + k * step, emit.constant(0))
            return
        taps = dict(self.columns.read(source, self.taps, count))
        lines = [[taps[y * TAPS + x] for y in range(TAPS)] for x in range(TAPS)]
        columns = [[emit.name(v) for v in filter_line(emit, self.m, g)] for g in lines]
        for y in range(size):
            for x, value in enumerate(filter_line(emit, self.m, [c[y] for c in columns])):
                emit.store(self.buffer, place + (y * size + x) * step, value)

    def _copy(self, target: Expr, channels: int) -> None:
        """Copy the values of a run of slices and channels."""
        emit, lanes = self.emit, self.emit.lanes
        step = self.group * self.depth * self.channels * self.block
        with emit.loop(self.points) as point:
            goal = emit.scalar(target + point * step)
            held = emit.scalar(point * (self.run * self.block))
            for k in range(0, channels * self.block, lanes):
                emit.store(self.target, goal + k, emit.load(self.buffer, held + k))


__all__ = ["FilterWriter", "filter_line", "filters_size", "write_filters"]
