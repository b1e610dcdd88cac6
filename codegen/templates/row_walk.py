# SPDX-License-Identifier: MIT
"""Walks the rows of a result (..., rows, columns), several at a time, shared by the threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..views import Dims, View
from .emitter import Expr, KernelEmitter

Visit = Callable[[Sequence[Expr], Expr, int], None]
"""``visit(line, start, rows)``: what :meth:`Rows.at` takes, the first row and how many."""


@dataclass(frozen=True)
class Rows:
    """Rows of a result, counted through the outer axes where its tensors allow that.

    Attributes:
        axis: the axis along which rows are counted: the last but that of columns with more
            than one element. (Lowerings broadcast along axes of one element, whatever index.)
        outer: sizes of all axes but that of columns; 1 for those that rows are counted through.
        count: rows for each index of the outer axes.
    """

    axis: int
    outer: Dims
    count: int

    @classmethod
    def of(cls, shape: Dims, views: Sequence[View]) -> Rows:
        """Return the rows of a result of ``shape`` that tensors like ``views`` are read for."""
        outer = list(shape[:-1])
        axis = max((k for k, n in enumerate(outer) if n > 1), default=len(outer) - 1)
        count, outer[axis] = outer[axis], 1
        for before in reversed(range(axis)):
            if not all(_continues(v, before, axis, shape, count) for v in views):
                break
            count *= outer[before]
            outer[before] = 1
        return cls(axis, tuple(outer), count)

    @property
    def total(self) -> int:
        """All rows."""
        return math.prod(self.outer) * self.count

    def at(self, line: Sequence[Expr], row: Expr) -> list[Expr]:
        """Return the index of a row."""
        return [*line[: self.axis], row, *line[self.axis + 1 :]]


def _continues(view: View, before: int, axis: int, shape: Dims, count: int) -> bool:
    """Whether the row after ``count`` rows along ``axis`` goes on along ``before``."""
    if math.prod(view.shape[:-1]) == 1 or shape[before] == 1:
        return True
    if len(view.shape) != len(shape) or view.shape[before:-1] != shape[before:-1]:
        return False
    return view.strides[before] == count * view.strides[axis]


def each_rows(
    emit: KernelEmitter, rows: Rows, at_once: int, visit: Visit, split: bool = True
) -> None:
    """Visit all rows, ``at_once`` at a time; with ``split``, each thread a part of them."""
    lines = math.prod(rows.outer)
    tiles, rest = divmod(rows.count, at_once)
    if lines == 1:
        outer: list[Expr] = [0] * len(rows.outer)
        if tiles:
            with emit.share(tiles, split) as tile:
                visit(outer, tile * at_once, at_once)
        if rest:
            with emit.only_last_thread(split):
                visit(outer, tiles * at_once, rest)
        return
    with emit.share(lines, split) as line:
        outer = unflat(line, rows.outer)
        if tiles:
            with emit.loop(tiles) as tile:
                visit(outer, tile * at_once, at_once)
        if rest:
            visit(outer, tiles * at_once, rest)


def unflat(number: Expr, sizes: Sequence[int]) -> list[Expr]:
    """Return the index of the element at a row-major position.

    >>> unflat(7, (2, 1, 5))
    [1, 0, 2]
    """
    indices: list[Expr] = []
    for k, size in reversed(list(enumerate(sizes))):
        outermost = math.prod(sizes[:k]) == 1
        indices.append(0 if size == 1 else number if outermost else number % size)
        if size > 1 and not outermost:
            number = number // size
    return indices[::-1]
