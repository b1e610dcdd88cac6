# SPDX-License-Identifier: MIT
"""Walks the positions of a result in tiles along its last axis, shared by the threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..views import Dims, View
from .emitter import Expr, KernelEmitter

Visit = Callable[[Sequence[Expr], Expr, int], None]
"""``visit(line, start, rows)``: indices of a line, its first position and how many."""


@dataclass(frozen=True)
class Lines:
    """Positions of a result (N, C, spatial...) as lines along the last axis.

    Attributes:
        outer: sizes of batch and spatial axes but the last, as far as lines are counted.
        width: positions of a line.
        rank: axes of the result.
    """

    outer: Dims
    width: int
    rank: int

    @classmethod
    def of(cls, shape: Dims, views: Sequence[View], pointwise: bool) -> Lines:
        """Return the lines of a result of ``shape``; long ones where lines follow each other.

        Args:
            shape: of the result.
            views: of all tensors that have positions.
            pointwise: each position is computed from the same position alone.
        """
        outer, width = [shape[0], *shape[2:-1]], shape[-1]
        axes = [0, *range(2, len(shape) - 1)]
        # Lowerings broadcast along an axis of one element: a line along it cannot be continued.
        pointwise = pointwise and width > 1
        while pointwise and outer and all(_continues(v, axes[-1], shape, width) for v in views):
            width *= outer.pop()
            axes.pop()
        return cls(tuple(outer), width, len(shape))

    @property
    def count(self) -> int:
        """How many lines there are."""
        return math.prod(self.outer)


def _continues(view: View, axis: int, shape: Dims, width: int) -> bool:
    """Whether the line after ``width`` positions goes on along ``axis``."""
    sizes = [n for k, n in enumerate(view.shape) if k != 1]
    if set(sizes) == {1}:
        return True
    spatial = [0, *range(2, len(shape))]
    if len(view.shape) != len(shape) or any(view.shape[k] != shape[k] for k in spatial):
        return False
    return shape[axis] == 1 or view.strides[axis] == width * view.strides[-1]


def in_tiles(
    emit: KernelEmitter, lines: Lines, rows: int, visit: Visit, split: bool = True
) -> None:
    """Visit all positions, ``rows`` at a time; with ``split``, each thread a part of them."""
    with in_lines(emit, lines, split) as line:
        alone = lines.count == 1
        in_runs(emit, lines.width, rows, lambda *run: visit(line, *run), split and alone)


@contextmanager
def in_lines(emit: KernelEmitter, lines: Lines, split: bool = True) -> Iterator[list[Expr]]:
    """Loop over lines; with ``split``, each thread a part of them unless there is only one."""
    if lines.count == 1:
        yield _line(0, lines)
        return
    with emit.share(lines.count, split) as number:
        yield _line(number, lines)


def in_runs(
    emit: KernelEmitter, width: int, rows: int, visit: Callable[[Expr, int], None], split: bool
) -> None:
    """Visit the positions of a line, ``rows`` at a time: where a run starts, and its length."""
    tiles, rest = divmod(width, rows)
    if tiles:
        with emit.share(tiles, split) as tile:
            visit(tile * rows, rows)
    if rest:
        with emit.only_last_thread(split):
            visit(tiles * rows, rest)


def _line(number: Expr, lines: Lines) -> list[Expr]:
    """Return (n, 0, spatial but the last): the index of a line, its channel left at 0."""
    indices: list[Expr] = []
    for k, size in reversed(list(enumerate(lines.outer))):
        if size == 1:
            indices.append(0)
        elif math.prod(lines.outer[:k]) == 1:
            indices.append(number)
        else:
            indices.append(number % size)
            number = number // size
    # Axes that lines run through are left at 0; an offset is linear in the index.
    indices = [*reversed(indices), *[0] * (lines.rank - 2 - len(indices))]
    return [indices[0], 0, *indices[1:]]
