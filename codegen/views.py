# SPDX-License-Identifier: MIT
"""How tensors lie in memory: strides, zero halos, and what kernels ask of their operands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Dims: TypeAlias = tuple[int, ...]
Halo: TypeAlias = tuple[tuple[int, int], ...]
Strides: TypeAlias = "tuple[int, ...] | None"
"""Elements between neighbours along each axis; ``None`` for a tensor that lies by itself."""
Order: TypeAlias = Literal["any", "row_major", "channels_last"]


@dataclass(frozen=True)
class View:
    """A tensor in memory: the element at ``i`` is ``sum(i * strides)`` elements from the first.

    Kernels get the address of the first element, whatever surrounds it.

    Attributes:
        shape: sizes, in the order of the graph.
        strides: elements between neighbours along each axis.
        halo: per axis how many zeros may be read before and after the tensor; empty for none.
    """

    shape: Dims
    strides: Dims
    halo: Halo = ()

    def offset(self, indices: Sequence[Any]) -> Any:
        """Return how many elements after the first the one at ``indices`` is.

        >>> View((2, 3), (3, 1)).offset((1, 2))
        5
        """
        terms = [i * s for i, s in zip(indices, self.strides, strict=True) if not _is_zero(i)]
        return sum(terms[1:], terms[0]) if terms else 0

    @property
    def is_row_major(self) -> bool:
        """Whether the elements lie one after the other, the last axis innermost."""
        return all(
            n == 1 or s == t
            for n, s, t in zip(self.shape, self.strides, row_major(self.shape).strides, strict=True)
        )

    @property
    def inner_axis(self) -> int | None:
        """The axis of more than one element along which elements are neighbours, if any."""
        for k, (n, s) in enumerate(zip(self.shape, self.strides, strict=True)):
            if n > 1 and s == 1:
                return k
        return None

    def before(self, axis: int) -> int:
        """Zeros that may be read before the tensor along ``axis``."""
        return self.halo[axis][0] if self.halo else 0

    def after(self, axis: int) -> int:
        """Zeros that may be read after the tensor along ``axis``."""
        return self.halo[axis][1] if self.halo else 0


@dataclass(frozen=True)
class Request:
    """What a kernel asks of how an operand or result lies in memory.

    Attributes:
        order: which axis is innermost: ``channels_last`` is (N, spatial..., C). Without a halo,
            elements of ``row_major`` follow each other without gaps.
        halo: zeros that are read around the operand, per axis; empty for none.
    """

    order: Order = "any"
    halo: Halo = ()

    def accepts(self, view: View) -> bool:
        """Whether a tensor that lies like ``view`` will do."""
        if self.order == "row_major" and not (view.is_row_major or self._accepts_rows(view)):
            return False
        if self.order == "channels_last" and not is_channels_last(view):
            return False
        return all(
            view.before(k) >= low and view.after(k) >= high
            for k, (low, high) in enumerate(self.halo)
        )

    def _accepts_rows(self, view: View) -> bool:
        """Whether there are zeros around, where asked for, but rows lie as they should."""
        order = sorted(range(len(view.shape)), key=lambda k: -view.strides[k])
        return bool(self.halo) and view.strides[-1] == 1 and order == sorted(order)


ANY = Request()


def row_major(shape: Dims) -> View:
    """Return the view of a tensor that lies in memory by itself, as the runtime has it.

    >>> row_major((2, 3, 4)).strides
    (12, 4, 1)
    """
    strides = [1] * len(shape)
    for k in reversed(range(len(shape) - 1)):
        strides[k] = strides[k + 1] * shape[k + 1]
    return View(shape, tuple(strides))


def is_channels_last(view: View) -> bool:
    """Whether channels are neighbours in memory."""
    return len(view.shape) >= 3 and (view.strides[1] == 1 or view.shape[1] == 1)


def axes_in_memory(rank: int, order: Order) -> Dims:
    """Return the axes from the outermost to the innermost.

    >>> axes_in_memory(4, "channels_last")
    (0, 2, 3, 1)
    """
    if order == "channels_last" and rank >= 3:
        return (0, *range(2, rank), 1)
    return tuple(range(rank))


def laid_out(shape: Dims, order: Order, halo: Halo = ()) -> tuple[View, int, int]:
    """Return the view of a tensor in a buffer of its own, its first element, and the size.

    >>> laid_out((1, 2, 3, 3), "channels_last", ((0, 0), (0, 0), (1, 1), (1, 1)))[1:]
    (12, 50)
    """
    around = halo or ((0, 0),) * len(shape)
    padded = [n + low + high for n, (low, high) in zip(shape, around, strict=True)]
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(axes_in_memory(len(shape), order)):
        strides[axis] = step
        step *= padded[axis]
    first = sum(low * s for (low, _), s in zip(around, strides, strict=True))
    return View(shape, tuple(strides), halo), first, math.prod(padded)


def merged(a: Halo, b: Halo) -> Halo:
    """Return the smallest halo that has room for both.

    >>> merged(((1, 0),), ((0, 2),))
    ((1, 2),)
    """
    if not a or not b:
        return a or b
    return tuple((max(p, q), max(r, s)) for (p, r), (q, s) in zip(a, b, strict=True))


def _is_zero(index: Any) -> bool:
    return isinstance(index, int) and index == 0
