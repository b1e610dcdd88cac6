# SPDX-License-Identifier: MIT
"""Blocks of feature maps packed into panels: few channels of every position, one after the other.

In a panel positions lie by phase (see :class:`.correlation.TapAxis`), then along each axis, then
by image of the batch, so that whatever one tap meets in a row of a block follows each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from tvm import tirx

from ..views import View
from .correlation import Blocks, TapAxis
from .emitter import Buffer, Expr, KernelEmitter

if TYPE_CHECKING:
    from .weight_gradient import WeightGradient


class Block:
    """A block of positions of all groups' channels, by its number.

    Attributes:
        group: of the convolution.
        number: of the block within its group.
        image: its first image.
        first: its first position along each axis.
        last: the position after its last, along each axis.
    """

    def __init__(
        self, emit: KernelEmitter, plan: WeightGradient, group: Expr, number: Expr
    ) -> None:
        self.emit = emit
        self.group = group
        self.number = number
        counts = plan.blocks.count(plan.batch, plan.axes)
        indices: list[Expr] = []
        for k in reversed(range(len(counts))):
            outer = math.prod(counts[:k])
            if counts[k] == 1:
                indices.insert(0, 0)
            elif outer == 1:
                indices.insert(0, number)
            else:
                indices.insert(0, tirx.truncmod(number, counts[k]))
                number = tirx.truncdiv(number, counts[k])
        self.image = indices[0] * plan.blocks.batch
        self.first: list[Expr] = []
        self.last: list[Expr] = []
        for axis, index, size in zip(plan.axes, indices[1:], plan.blocks.sizes, strict=True):
            if isinstance(index, int):
                self.first.append(0)
                self.last.append(axis.positions)
            else:
                self.first.append(emit.scalar(index * size))
                self.last.append(emit.scalar(tirx.min(self.first[-1] + size, axis.positions)))

    def met(self, axis: TapAxis, k: int, tap: Expr) -> tuple[Expr, Expr]:
        """Return the positions along axis ``k`` that meet an element with ``tap``: from, to."""
        emit, shift = self.emit, axis.shift(tap)
        low = tirx.max(self.first[k], -shift)
        high = tirx.min(self.last[k], axis.count(axis.phase(tap)) - shift)
        first = emit.scalar(low)
        return first, emit.scalar(tirx.max(first, high))


class Packed:
    """A feature map and the panels that parts of it are packed into.

    Attributes:
        packed: the buffer of the panels.
    """

    def __init__(
        self,
        emit: KernelEmitter,
        buffers: tuple[Buffer, Buffer],
        view: View,
        axes: Sequence[TapAxis],
        blocks: Blocks,
    ) -> None:
        self.emit = emit
        self.source, self.packed = buffers
        self.view = view
        self.axes = axes
        self.blocks = blocks
        self.channel_step = view.strides[1]
        self.extents = [a.extent(n) for a, n in zip(axes, blocks.sizes, strict=True)]

    @cached_property
    def pixels(self) -> int:
        """Positions of a panel."""
        phases = math.prod(a.phases for a in self.axes)
        return phases * math.prod(self.extents) * self.blocks.batch

    @contextmanager
    def positions(self, block: Block, channel: Expr) -> Iterator[tuple[Expr, Expr]]:
        """Loop over the elements that a block meets: yield where one is, and its place in a panel.

        Args:
            block: of positions.
            channel: the first channel.
        """
        emit = self.emit
        with ExitStack() as stack:
            phases = [stack.enter_context(emit.loop(a.phases)) for a in self.axes]
            indices, places = [], []
            for k, (axis, number) in enumerate(zip(self.axes, phases, strict=True)):
                kept = axis.kept(number)
                low, high = axis.reach
                start = emit.scalar(tirx.max(block.first[k] + low, 0))
                end = emit.scalar(tirx.min(axis.count(kept), block.last[k] + high))
                element = stack.enter_context(emit.loop(end, start))
                indices.append(element * axis.stride + kept)
                places.append(element - block.first[k] - low)
            place = emit.flat([*phases, *places], [*(a.phases for a in self.axes), *self.extents])
            image = stack.enter_context(emit.loop(self.blocks.batch))
            source = self.view.offset([block.image + image, channel, *indices])
            yield emit.scalar(source), emit.scalar(place * self.blocks.batch + image)

    def clear(self, start: Expr, width: int) -> None:
        """Fill a panel with zeros."""
        emit = self.emit
        full, rest = divmod(self.pixels * width, emit.lanes)
        with emit.loop(full) as k:
            emit.store(self.packed, start + k * emit.lanes, emit.constant(0))
        for k in range(rest):
            emit.set(self.packed, start + full * emit.lanes + k, tirx.const(0, "float32"))

    def copy(self, source: Expr, target: Expr, width: int, padded: int = 0) -> None:
        """Copy ``width`` channels of a position; zeros follow up to ``padded``."""
        emit = self.emit
        if padded > width:
            # Whatever lies there might be slow to multiply.
            emit.store(self.packed, target + padded - emit.lanes, emit.constant(0))
        if self.channel_step != 1:
            for c in range(width):
                element = self.source[source + c * self.channel_step]
                emit.set(self.packed, target + c, element)
            return
        done = 0
        while done < width:
            lanes = emit.lanes
            while lanes > width - done:
                lanes //= 2
            emit.store(
                self.packed, target + done, emit.load(self.source, source + done, lanes), lanes
            )
            done += lanes

    def start(self, block: Block, at: Sequence[Expr], taps: Sequence[Expr]) -> Expr:
        """Return the place in a panel of what position ``at`` of the block meets."""
        phases, places = [], []
        for k, axis in enumerate(self.axes):
            tap = taps[k] if axis.taps > 1 else 0
            phases.append(0 if axis.phases == 1 else axis.phase(tap))
            places.append(at[k] - block.first[k] + axis.shift(tap) - axis.reach[0])
        sizes = [*(a.phases for a in self.axes), *self.extents]
        return self.emit.flat([*phases, *places], sizes) * self.blocks.batch

    def tap_offset(self, axis: TapAxis, tap: int) -> int:
        """Return the places from what a position meets with tap 0 of the last axis to ``tap``."""

        def place(k: int) -> int:
            phase = 0 if axis.phases == 1 else axis.phase(k)
            return int(phase) * math.prod(self.extents) + int(axis.shift(k))

        return (place(tap) - place(0)) * self.blocks.batch


def odd_lines(elements: int) -> int:
    """Round up to an odd number of cache lines: even ones would meet in few sets of a cache."""
    return 16 * (-(-elements // 16) | 1)


__all__ = ["Block", "Packed", "odd_lines"]
