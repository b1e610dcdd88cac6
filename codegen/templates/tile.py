# SPDX-License-Identifier: MIT
"""The register tile of matrix products: which sizes fit a processor, and its inner step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import VectorUnit
from .emitter import Buffer, Expr, KernelEmitter, Register


@dataclass(frozen=True)
class Tile:
    """``rows`` broadcast elements by ``vectors`` vectors of weights."""

    rows: int
    vectors: int


def tiles(unit: VectorUnit) -> list[Tile]:
    """Return the tiles whose sums, weights and one broadcast fit the registers.

    >>> Tile(6, 2) in tiles(VectorUnit(8, 16)), Tile(7, 2) in tiles(VectorUnit(8, 16))
    (True, False)
    """
    found = []
    for vectors in range(1, 5):
        # Beyond 24 sums a loop gains nothing and spills as soon as anything else is live.
        most = min((unit.registers - 1 - vectors) // vectors, 24 // vectors, 14)
        found += [Tile(rows, vectors) for rows in range(1, most + 1)]
    return found


def best_tile(width: int, channels: int, unit: VectorUnit) -> Tile:
    """Return the tile that computes ``width`` positions of ``channels`` in the fewest steps.

    >>> best_tile(56, 64, VectorUnit(8, 16))
    Tile(rows=4, vectors=3)
    """
    return min(tiles(unit), key=lambda t: (_steps(t, width, channels, unit), -t.vectors))


def _steps(tile: Tile, width: int, channels: int, unit: VectorUnit) -> float:
    """Return the cycles, in multiply-adds, that one input channel takes with this tile."""
    full_rows, rest_rows = divmod(width, tile.rows)
    full, rest = divmod(-(-channels // unit.lanes), tile.vectors)
    total = 0.0
    for rows, times in ((tile.rows, full_rows), (rest_rows, int(rest_rows > 0))):
        for vectors, blocks in ((tile.vectors, full), (rest, int(rest > 0))):
            total += times * blocks * _cycles(rows, vectors, unit)
    return total


def _cycles(rows: int, vectors: int, unit: VectorUnit) -> float:
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
