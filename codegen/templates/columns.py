# SPDX-License-Identifier: MIT
"""Vectors whose lanes lie apart in memory, read by transposing squares in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tvm import tirx

from .emitter import Buffer, Expr, KernelEmitter

_SIDE = 4
"""Neighbours read at once: shuffles of 128 bits are cheap on every processor, wider ones not."""


class Columns:
    """Reads vectors whose lanes lie ``step`` elements apart.

    Args:
        emit: the kernel.
        source: where they lie.
        step: elements from a lane to the next.
    """

    def __init__(self, emit: KernelEmitter, source: Buffer, step: int) -> None:
        self.emit = emit
        self.source = source
        self.step = step

    def read(self, first: Expr, offsets: Sequence[int], count: int) -> Iterator[tuple[int, Expr]]:
        """Yield the vectors at ``first`` plus each offset, with the number of the offset.

        Args:
            first: element of the source.
            offsets: from ``first``, in any order; four that follow each other are read together.
            count: lanes that exist; the others are zeros.
        """
        if count == self.emit.lanes and self.step == 1:
            for k, offset in enumerate(offsets):
                yield k, self.emit.name(self.emit.load(self.source, first + offset))
            return
        order = sorted(range(len(offsets)), key=lambda k: offsets[k])
        while order:
            run = order[:_SIDE]
            if [offsets[k] - offsets[run[0]] for k in run] == list(range(_SIDE)):
                yield from zip(run, self._square(first + offsets[run[0]], count), strict=True)
            else:
                run = run[:1]
                yield run[0], self._single(first + offsets[run[0]], count)
            order = order[len(run) :]

    def _single(self, first: Expr, count: int) -> Expr:
        """Return one vector, read element by element."""
        emit = self.emit
        register = emit.register(emit.constant(0))
        for k in range(count):
            emit.set(register.buffer, k, self.source[first + k * self.step])
        return register.value

    def _square(self, first: Expr, count: int) -> list[Expr]:
        """Return four vectors that start next to each other."""
        emit, lanes = self.emit, self.emit.lanes
        rows = [
            emit.load(self.source, first + k * self.step, _SIDE)
            if k < count
            else emit.spread(0, _SIDE)
            for k in range(lanes)
        ]
        # Row 4 g + k becomes quarter g of vector k.
        wide = [emit.name(_joined(rows[k::_SIDE], lanes)) for k in range(_SIDE)]
        pairs = [
            self._quarters(wide[k], wide[k + 1], [low, lanes + low, low + 1, lanes + low + 1])
            for low in (0, 2)
            for k in (0, 2)
        ]
        return [
            self._quarters(pairs[k], pairs[k + 1], [low, low + 1, lanes + low, lanes + low + 1])
            for k in (0, 2)
            for low in (0, 2)
        ]

    def _quarters(self, a: Expr, b: Expr, picked: Sequence[int]) -> Expr:
        """Shuffle every quarter of two vectors alike."""
        quarters = range(0, self.emit.lanes, _SIDE)
        return self.emit.name(tirx.Shuffle([a, b], [g + k for g in quarters for k in picked]))


def _joined(parts: Sequence[Expr], lanes: int) -> Expr:
    return parts[0] if len(parts) == 1 else tirx.Shuffle(list(parts), list(range(lanes)))


__all__ = ["Columns"]
