# SPDX-License-Identifier: MIT
"""Kernels that rearrange computed operands as :mod:`..packing` does constants."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..packing import Packing
from ..views import View
from .base import Written
from .columns import Columns
from .emitter import Expr, KernelEmitter, emitting
from .pack_filters import filters_size, write_filters

_CELL = 128
"""Vectors that are written without a loop: shuffles then have constant addresses around them."""

Axis: TypeAlias = tuple[int, int]
"""Size and stride in the source."""


@dataclass(frozen=True)
class Layout:
    """An order of axes: blocks of the inner axis, then the outer axes, then the block.

    Attributes:
        outer: axes, outermost first.
        inner: the axis whose elements become neighbours.
        block: neighbours; those of the last block that do not exist are zeros.
    """

    outer: tuple[Axis, ...]
    inner: Axis
    block: int

    @property
    def blocks(self) -> int:
        """Blocks of the inner axis, the last one perhaps not full."""
        return -(-self.inner[0] // self.block)

    @property
    def size(self) -> int:
        """Elements of the result."""
        return self.blocks * self.block * math.prod(n for n, _ in self.outer)

    def cell(self, lanes: int) -> tuple[int, ...]:
        """Return how many steps of each outer axis are taken at once.

        They are neighbours in the source, as far as it has any, a multiple of four where there
        are many, so that they are read as squares.
        """
        steps, run = [1] * len(self.outer), 1
        for k in sorted(range(len(steps)), key=lambda k: abs(self.outer[k][1])):
            size, stride = self.outer[k]
            if size == 1:
                continue
            if abs(stride) != run:
                break
            whole = run * size <= _CELL // 2
            steps[k] = size if whole else 4 if 4 * run <= _CELL and size >= 4 else 1
            run *= steps[k]
            if not whole:
                break
        if run == 1 and steps:
            steps[-1] = min(self.outer[-1][0], 8)
        return tuple(steps)


def _axes(view: View, *numbers: int) -> tuple[Axis, ...]:
    return tuple((view.shape[k], view.strides[k]) for k in numbers)


def _convolution(view: View, block: int) -> Layout:
    outputs, channels, *taps = _axes(view, *range(len(view.shape)))
    return Layout((*taps, channels), outputs, block)


def _channels_innermost(view: View) -> Layout:
    outputs, channels, *taps = _axes(view, *range(len(view.shape)))
    return Layout((*taps, outputs), channels, channels[0])


def _outputs_innermost(view: View) -> Layout:
    return _convolution(view, view.shape[0])


def _matrix(view: View, block: int) -> Layout:
    depth, columns = _axes(view, -2, -1)
    return Layout((depth,), columns, block)


_LAYOUTS: dict[str, Callable[..., Layout]] = {
    "convolution": _convolution,
    "channels_innermost": _channels_innermost,
    "outputs_innermost": _outputs_innermost,
    "matrix": _matrix,
}


def pack(packing: Packing, view: View, lanes: int) -> Written:
    """Return the kernel that packs a float32 operand that lies like ``view``.

    Its pointers are the operand and the result, whose elements are those that
    ``packing(operand)`` has.

    Args:
        packing: the order of the result.
        view: of the operand; any strides.
        lanes: float32 elements of a vector register.
    """
    with emitting(lanes, ["float32", "float32"]) as (emission, emit):
        if packing.recipe == "winograd":
            write_filters(emit, view, *packing.arguments)
        else:
            _Writer(emit, _LAYOUTS[packing.recipe](view, *packing.arguments)).write()
    return Written(emission.function)


def packed_size(packing: Packing, view: View) -> int:
    """Return the elements of an operand packed by :func:`pack`.

    >>> packed_size(Packing("convolution", (16,)), View((20, 3, 1, 1), (3, 1, 1, 1)))
    96
    """
    if packing.recipe == "winograd":
        return filters_size(view, *packing.arguments)
    return _LAYOUTS[packing.recipe](view, *packing.arguments).size


class _Writer:
    def __init__(self, emit: KernelEmitter, layout: Layout) -> None:
        self.emit = emit
        self.layout = layout
        self.source, self.target = emit.buffers
        self.columns = Columns(emit, self.source, layout.inner[1])

    def write(self) -> None:
        """Write full blocks, then the last one, each by cells and what is left of them."""
        full, rest = divmod(self.layout.inner[0], self.layout.block)
        for start, blocks, count in ((0, full, self.layout.block), (full, int(rest > 0), rest)):
            for first, cells, steps in self._parts():
                self._share(start, blocks, count, (first, cells, steps))

    def _parts(self) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """Yield the first index, the counts and the steps of cells that cover the outer axes."""
        steps = list(self.layout.cell(self.emit.lanes))
        sizes = [n for n, _ in self.layout.outer]
        cells = [n // s for n, s in zip(sizes, steps, strict=True)]
        yield [0] * len(sizes), cells, steps
        for k, (size, step) in enumerate(zip(sizes, steps, strict=True)):
            if size % step:
                # At most one axis is cut into cells that do not fit.
                first, left = [0] * len(sizes), list(steps)
                first[k], left[k] = size - size % step, size % step
                yield first, [*cells[:k], 1, *cells[k + 1 :]], left

    def _share(
        self,
        start: int,
        blocks: int,
        count: int,
        part: tuple[Sequence[int], Sequence[int], Sequence[int]],
    ) -> None:
        first, cells, steps = part
        total = blocks * math.prod(cells)
        if not total:
            return
        with self.emit.share(total) as number:
            *at, block = _unflattened(number, [*cells, blocks])
            index = [f + i * s for f, i, s in zip(first, at, steps, strict=True)]
            self._cell(block + start, count, index, steps)

    def _cell(self, block: Expr, count: int, index: Sequence[Expr], steps: Sequence[int]) -> None:
        """Write ``count`` lanes of a block for the outer indices from ``index`` on."""
        emit, layout = self.emit, self.layout
        sizes = [n for n, _ in layout.outer]
        source = sum((i * s for i, (_, s) in zip(index, layout.outer, strict=True)), 0)
        source = source + block * (layout.block * layout.inner[1])
        target = (emit.flat(index, sizes) + block * math.prod(sizes)) * layout.block
        places = list(itertools.product(*map(range, steps)))
        offsets = [sum(i * s for i, (_, s) in zip(p, layout.outer, strict=True)) for p in places]
        targets = [emit.flat(p, sizes) * layout.block for p in places]
        whole, lanes = count // emit.lanes, emit.lanes
        if whole:
            with emit.loop(whole) as vector:
                base = emit.scalar(source + vector * (lanes * layout.inner[1]))
                goal = emit.scalar(target + vector * lanes)
                for k, value in self.columns.read(base, offsets, lanes):
                    emit.store(self.target, goal + targets[k], value)
        for lane in range(whole * lanes, layout.block, lanes):
            self._rest(source, target, offsets, targets, lane, count)

    def _rest(
        self,
        source: Expr,
        target: Expr,
        offsets: Sequence[int],
        targets: Sequence[int],
        lane: int,
        count: int,
    ) -> None:
        """Write the lanes from ``lane`` on, fewer of which than a vector has exist."""
        emit, step = self.emit, self.layout.inner[1]
        here = max(0, min(emit.lanes, count - lane))
        if lane + emit.lanes <= self.layout.block:
            for k, value in self.columns.read(source + lane * step, offsets, here):
                emit.store(self.target, target + (targets[k] + lane), value)
            return
        for k, offset in enumerate(offsets):
            for n in range(lane, self.layout.block):
                element = self.source[source + (offset + n * step)] if n < count else 0.0
                emit.set(self.target, target + (targets[k] + n), element)


def _unflattened(number: Expr, sizes: Sequence[int]) -> list[Expr]:
    """Return the index whose row-major position is ``number``."""
    index: list[Expr] = []
    for k in reversed(range(len(sizes))):
        outer = math.prod(sizes[:k])
        index.append(0 if sizes[k] == 1 else number if outer == 1 else number % sizes[k])
        number = number // sizes[k] if sizes[k] > 1 else number
    return index[::-1]


__all__ = ["Layout", "pack", "packed_size"]
