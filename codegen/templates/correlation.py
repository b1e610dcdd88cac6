# SPDX-License-Identifier: MIT
"""The gradient of a convolution's weights as sums over positions, cut into blocks for the cache.

Per tap every position of one tensor, the *plain* one, meets an element of the other, the
*windowed* one; a matrix of the products of their channels is added up over all positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.ops import ConvWeightGradient
from ..views import Dims
from .emitter import Expr


@dataclass(frozen=True)
class TapAxis:
    """What meets along one axis: ``t`` and, with tap ``k``, ``t * stride + k * step + offset``.

    Elements of the windowed tensor that are ``stride`` apart are a *phase*; in the phase of tap
    ``k``, position ``t`` meets element number ``t + shift(k)``.

    Attributes:
        taps: how many there are.
        positions: of the plain tensor.
        size: elements of the windowed tensor.
        stride: elements between those that neighbouring positions meet.
        step: elements between those that neighbouring taps meet; may be negative.
        offset: the element that position 0 meets with tap 0; may be outside.
    """

    taps: int
    positions: int
    size: int
    stride: int
    step: int
    offset: int

    @cached_property
    def _first(self) -> int:
        """Strides to add so that no number below is negative, as its division needs."""
        return -min(0, *(self._element(k) // self.stride for k in range(self.taps)))

    def _element(self, tap: int) -> int:
        return tap * self.step + self.offset

    @cached_property
    def single(self) -> int | None:
        """The phase of all taps, if it is one."""
        found = {self._element(k) % self.stride for k in range(self.taps)}
        return found.pop() if len(found) == 1 else None

    @property
    def phases(self) -> int:
        """How many phases are kept: all, unless one is enough."""
        return 1 if self.single is not None else self.stride

    def phase(self, tap: Expr) -> Expr:
        """Return the phase that ``tap`` meets."""
        if self.single is not None:
            return self.single
        return _mod(tap * self.step + (self.offset + self._first * self.stride), self.stride)

    def kept(self, number: Expr) -> Expr:
        """Return the phase that is kept at ``number``."""
        return number if self.single is None else self.single

    def shift(self, tap: Expr) -> Expr:
        """Return the number, within its phase, of the element that position 0 meets."""
        moved = tap * self.step + (self.offset + self._first * self.stride)
        return _div(moved, self.stride) - self._first

    @cached_property
    def reach(self) -> tuple[int, int]:
        """The least and the largest shift."""
        shifts = [self._element(k) // self.stride for k in range(self.taps)]
        return min(shifts), max(shifts)

    def count(self, phase: Expr) -> Expr:
        """Return how many elements a phase has."""
        return _div(self.size + self.stride - 1 - phase, self.stride)

    @property
    def around(self) -> tuple[int, int]:
        """How far taps reach over both ends of the windowed tensor."""
        ends = [self._element(0), self._element(self.taps - 1)]
        last = max(ends) + (self.positions - 1) * self.stride
        return max(0, -min(ends)), max(0, last - self.size + 1)

    def extent(self, positions: int) -> int:
        """Return how many elements of a phase meet ``positions`` neighbours with some tap."""
        return positions + self.reach[1] - self.reach[0]


def axes_of(op: ConvWeightGradient, data: Dims, positions: Dims, exchanged: bool) -> list[TapAxis]:
    """Return the axes of a gradient whose windowed tensor is the data, or the other if exchanged.

    >>> op = ConvWeightGradient((3,), (2,), (1,), (1,), (1,), (1,))
    >>> [axis] = axes_of(op, (8,), (4,), exchanged=False)
    >>> [(axis.phase(k), axis.shift(k)) for k in range(3)]
    [(1, -1), (0, 0), (1, 0)]
    """
    fields = zip(
        op.window, op.strides, op.dilation, op.input_dilation, op.low, data, positions, strict=True
    )
    if exchanged:
        return [TapAxis(k, n, p, i, -d, low) for k, _, d, i, low, n, p in fields]
    return [TapAxis(k, p, n, s, d, -low) for k, s, d, _, low, n, p in fields]


@dataclass(frozen=True)
class Blocks:
    """Positions that are worked on together.

    Attributes:
        batch: images of the batch, which divide it; they are innermost in a packed block.
        sizes: positions along each axis.
    """

    batch: int
    sizes: Dims

    @property
    def positions(self) -> int:
        """Positions of a whole block."""
        return self.batch * math.prod(self.sizes)

    def count(self, batch: int, axes: Iterable[TapAxis]) -> Dims:
        """Return how many blocks there are, of the batch and along each axis."""
        along = (-(-a.positions // n) for a, n in zip(axes, self.sizes, strict=True))
        return (batch // self.batch, *along)


_RUN = 32
"""Positions that follow each other in a packed block, at least, where the batch allows it."""


def blocks_of(batch: int, positions: Dims, target: int) -> Blocks:
    """Return blocks of about ``target`` positions, whole rows of few images if they are long.

    >>> blocks_of(16, (16, 16), 256)
    Blocks(batch=2, sizes=(8, 16))
    """
    divisors = [n for n in range(1, batch + 1) if batch % n == 0]
    width = positions[-1]
    short = [n for n in divisors if n * width >= _RUN or n * width * 2 > target]
    images = short[0] if short else batch
    left = max(1, target // images)
    sizes: list[int] = []
    for n in reversed(positions):
        parts = -(-n // left)
        sizes.insert(0, -(-n // parts))
        left = max(1, left // sizes[0]) if parts == 1 else 1
    if tuple(sizes) == positions:
        fitting = [n for n in divisors if n * math.prod(positions) <= target]
        images = max(images, *fitting) if fitting else images
    return Blocks(images, tuple(sizes))


def _div(number: Expr, by: int) -> Expr:
    if by == 1:
        return number
    return number // by if isinstance(number, int) else tirx.truncdiv(number, by)


def _mod(number: Expr, by: int) -> Expr:
    if by == 1:
        return 0
    return number % by if isinstance(number, int) else tirx.truncmod(number, by)


__all__ = ["Blocks", "TapAxis", "axes_of", "blocks_of"]
