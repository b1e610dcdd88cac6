# SPDX-License-Identifier: MIT
"""The register tile of matrix products: which sizes fit a processor, and its inner step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import VectorUnit
from .emitter import Buffer, Expr, KernelEmitter, Register

DEEP = 4
"""An inner loop of so many trips, or more, needs no more registers than one trip does."""


@dataclass(frozen=True)
class Tile:
    """``rows`` broadcast elements by ``vectors`` vectors of weights."""

    rows: int
    vectors: int


def tiles(unit: VectorUnit, depth: int = DEEP) -> list[Tile]:
    """Return the tiles whose sums, weights and broadcasts fit the registers.

    Args:
        unit: the processor core.
        depth: trips of the inner loop.

    >>> Tile(6, 2) in tiles(VectorUnit(8, 16)), Tile(7, 2) in tiles(VectorUnit(8, 16))
    (True, False)
    """
    # Beyond 24 sums a loop gains nothing and spills as soon as anything else is live.
    return [
        Tile(rows, vectors)
        for vectors in range(1, 5)
        for rows in range(1, min(24 // vectors, 14) + 1)
        if (rows + 1) * vectors + _broadcasts(rows, depth) <= unit.registers
    ]


def _broadcasts(rows: int, depth: int) -> int:
    """Return how many broadcast elements are held at once.

    LLVM unrolls a loop of few trips and mixes them. Where there is no loop it unrolls the taps
    of a window instead and holds what one has in common with the next; if it unrolls all of
    them, it reads weights from the stack instead of from where they are, which costs the same.
    """
    if depth == 1:
        return rows + 1
    return 1 if depth >= DEEP else 2


def best_tile(width: int, channels: int, unit: VectorUnit, depth: int = DEEP) -> Tile:
    """Return the tile that computes ``width`` positions of ``channels`` in the fewest steps.

    Args:
        width: positions.
        channels: of the result.
        unit: the processor core.
        depth: trips of the inner loop.

    >>> best_tile(56, 64, VectorUnit(8, 16)), best_tile(112, 64, VectorUnit(8, 16), depth=3)
    (Tile(rows=4, vectors=3), Tile(rows=6, vectors=2))
    """
    return good_tiles(width, channels, unit, depth)[0]


def good_tiles(
    width: int, channels: int, unit: VectorUnit, depth: int = DEEP, count: int = 4
) -> list[Tile]:
    """Return the ``count`` tiles that take the fewest steps, the best first."""
    ranked = sorted(tiles(unit, depth), key=lambda t: (steps(t, width, channels, unit), -t.vectors))
    return ranked[:count]


def steps(tile: Tile, width: int, channels: int, unit: VectorUnit) -> float:
    """Return the cycles, in multiply-adds, that one input channel takes with this tile."""
    full_rows, rest_rows = divmod(width, tile.rows)
    full, rest = divmod(-(-channels // unit.lanes), tile.vectors)
    total = 0.0
    for rows, times in ((tile.rows, full_rows), (rest_rows, int(rest_rows > 0))):
        for vectors, blocks in ((tile.vectors, full), (rest, int(rest > 0))):
            total += times * blocks * cycles(rows, vectors, unit)
    return total


def cycles(rows: int, vectors: int, unit: VectorUnit) -> float:
    """Return what a step costs: products, or loads, or the latency of dependent sums."""
    loads = 1.5 * rows + vectors
    return max(rows * vectors, loads, 0.5 * unit.chains) + 0.5


def multiply(
    emit: KernelEmitter,
    totals: Sequence[Sequence[Register]],
    inputs: Sequence[Expr],
    weights: Buffer,
    offset: Expr,
) -> None:
    """Add to each row of ``totals`` its input element times the vectors of weights."""
    for row, element in zip(totals, inputs, strict=True):
        spread = emit.broadcast(element)
        for j, total in enumerate(row):
            total.add(spread * emit.load(weights, offset + j * emit.lanes))
