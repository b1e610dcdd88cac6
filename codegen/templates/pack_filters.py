# SPDX-License-Identifier: MIT
"""The values of filters of 3 x 3 taps at the points of minimal filtering, computed in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm.tirx.script.builder import ir as tb

from ..filtering import TAPS, filter_matrix, samples
from ..views import View
from .columns import Columns
from .emitter import Buffer, Expr, KernelEmitter

_BUFFER = 5 << 10
"""Elements that are transformed before they are copied: most of a first cache."""


def write_filters(emit: KernelEmitter, view: View, m: int, block: int, group: int) -> None:
    """Write what :func:`..packing.winograd` makes of the first operand to the second."""
    _Writer(emit, view, m, (block, group)).write()


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


class _Writer:
    """Transforms filters of a few channels at a time into a buffer, which is then copied.

    Points lie far apart in the result, often by a power of two, so that few lines of a cache
    would have to do for all of them; of a few channels' values each point gets whole runs.
    """

    def __init__(self, emit: KernelEmitter, view: View, m: int, blocking: tuple[int, int]) -> None:
        self.emit = emit
        self.view = view
        self.m = m
        self.block, self.group = blocking
        self.points = samples(m) ** 2
        self.source, self.target = emit.buffers
        self.columns = Columns(emit, self.source, view.strides[0])
        self.channels = view.shape[1]
        self.depth = view.shape[2] if len(view.shape) == 5 else 1
        row, column = view.strides[-2:]
        self.taps = [y * row + x * column for y in range(TAPS) for x in range(TAPS)]
        fitting = [n for n in (8, 4, 2, 1) if n * self.points * self.block <= _BUFFER]
        self.run = fitting[0] if fitting else 1
        size = self.run * self.points * self.block
        self.buffer: Buffer = tb.alloc_buffer((size,), scope="local")

    def write(self) -> None:
        """Write full blocks of filters, then the last one, each by runs of channels."""
        full, rest = divmod(self.view.shape[0], self.block)
        each = self.depth * self.channels
        runs, left = divmod(each, self.run)
        for start, blocks, count in ((0, full, self.block), (full, int(rest > 0), rest)):
            self._share(start, blocks, count, (0, runs, self.run))
            self._share(start, blocks, count, (runs * self.run, int(left > 0), left))

    def _share(self, start: int, blocks: int, count: int, part: tuple[int, int, int]) -> None:
        first, runs, channels = part
        if not blocks * runs:
            return
        with self.emit.share(blocks * runs) as number:
            block = self.emit.scalar(number // runs + start)
            at = self.emit.scalar(number % runs * channels + first)
            with self.emit.loop(channels) as channel:
                self._filters(block, at + channel, channel * self.block, count)
            self._copy(block, at, channels)

    def _filters(self, block: Expr, number: Expr, place: Expr, count: int) -> None:
        """Transform ``count`` filters of a block: slice and channel are ``number``."""
        emit, lanes, strides = self.emit, self.emit.lanes, self.view.strides
        at = number * strides[1]
        if self.depth > 1:
            at = (number % self.channels) * strides[1] + (number // self.channels) * strides[2]
        source = emit.scalar(at + block * (self.block * strides[0]))
        whole = count // lanes
        if whole:
            with emit.loop(whole) as vector:
                start = emit.scalar(source + vector * (lanes * strides[0]))
                self._vector(start, place + vector * lanes, lanes)
        for lane in range(whole * lanes, self.block, lanes):
            here = max(0, min(lanes, count - lane))
            self._vector(source + lane * strides[0], place + lane, here)

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

    def _copy(self, block: Expr, number: Expr, channels: int) -> None:
        """Copy the values of ``channels`` slices and channels from ``number`` on."""
        emit, lanes = self.emit, self.emit.lanes
        each = self.depth * self.channels
        outer, inner = block // self.group, block % self.group
        first = (outer * (self.points * self.group) + inner) * each + number
        target = emit.scalar(first * self.block)
        with emit.loop(self.points) as point:
            goal = emit.scalar(target + point * (self.group * each * self.block))
            held = emit.scalar(point * (self.run * self.block))
            for k in range(0, channels * self.block, lanes):
                emit.store(self.target, goal + k, emit.load(self.buffer, held + k))


__all__ = ["filter_line", "filters_size", "write_filters"]
