# SPDX-License-Identifier: MIT
"""Places buffers with known lifetimes in one arena: offsets by greedy best fit, largest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import PassError
from ..ir import Array

ALIGNMENT = 64
"""Bytes: one cache line, and the width of the widest vector register."""


@dataclass(frozen=True)
class Buffer:
    """Memory that is live from step ``first`` to step ``last``, both included.

    Attributes:
        name: unique in a plan.
        nbytes: size; a buffer of no bytes still gets an offset.
        first: index of the step that writes it first.
        last: index of the step that reads it last.
    """

    name: str
    nbytes: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are live at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Offsets in bytes by buffer name, and the bytes of the arena that holds them all."""

    offsets: Mapping[str, int]
    total: int


def plan(buffers: Sequence[Buffer], alignment: int = ALIGNMENT) -> Plan:
    """Return offsets such that buffers live at the same step never overlap in memory.

    Largest buffers are placed first, each into the smallest gap that fits between those
    already placed and live at the same time ("greedy by size" of offset calculation).

    Raises:
        PassError: two buffers have one name, or a size or a lifetime is negative.

    References:
        Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference",
        MLSys workshop on resource-constrained learning, 2020.

    >>> plan([Buffer("a", 100, 0, 1), Buffer("b", 64, 1, 2), Buffer("c", 100, 2, 3)])
    Plan(offsets={'a': 0, 'c': 0, 'b': 128}, total=192)
    """
    _check(buffers)
    # Sizes tie often; the order of first use makes the plan independent of the input's order.
    order = sorted(buffers, key=lambda b: (-b.nbytes, b.first, b.last, b.name))
    first, last, low, high = (np.zeros(len(order), np.int64) for _ in range(4))
    for k, buffer in enumerate(order):
        size = aligned(buffer.nbytes, alignment)
        live = np.flatnonzero((first[:k] <= buffer.last) & (last[:k] >= buffer.first))
        live = live[np.argsort(low[live], kind="stable")]
        first[k], last[k] = buffer.first, buffer.last
        low[k] = _best_gap(low[live], high[live], size)
        high[k] = low[k] + size
    offsets = {b.name: int(offset) for b, offset in zip(order, low, strict=True)}
    return Plan(offsets, int(high.max(initial=0)))


def peak(buffers: Sequence[Buffer], alignment: int = ALIGNMENT) -> int:
    """Return the most bytes live at one step: no plan can have a smaller total.

    >>> peak([Buffer("a", 100, 0, 1), Buffer("b", 64, 1, 2), Buffer("c", 100, 2, 3)])
    192
    """
    changes: dict[int, int] = {}
    for b in buffers:
        size = aligned(b.nbytes, alignment)
        changes[b.first] = changes.get(b.first, 0) + size
        changes[b.last + 1] = changes.get(b.last + 1, 0) - size
    live = most = 0
    for step in sorted(changes):
        live += changes[step]
        most = max(most, live)
    return most


def aligned(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """Return ``nbytes`` rounded up to a multiple of ``alignment``.

    >>> aligned(65)
    128
    """
    return -(-nbytes // alignment) * alignment


def _best_gap(low: Array, high: Array, size: int) -> int:
    """Return the offset of the smallest gap that fits between regions sorted by ``low``."""
    ends = np.maximum.accumulate(np.concatenate([[0], high]))
    gaps = low - ends[:-1]
    fitting = np.flatnonzero(gaps >= size)
    if not fitting.size:
        return int(ends[-1])
    return int(ends[fitting[np.argmin(gaps[fitting])]])


def _check(buffers: Sequence[Buffer]) -> None:
    names: set[str] = set()
    for b in buffers:
        if b.name in names:
            raise PassError(f"plan_memory: two buffers are called {b.name!r}")
        if b.nbytes < 0 or b.first < 0 or b.last < b.first:
            raise PassError(f"plan_memory: buffer {b} has a negative size or lifetime")
        names.add(b.name)
