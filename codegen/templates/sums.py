# SPDX-License-Identifier: MIT
"""Sums over the lanes of vectors, many at once."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from .emitter import Expr, KernelEmitter, Register


def lane_sums(emit: KernelEmitter, vectors: Sequence[Register]) -> list[Register]:
    """Return registers whose lanes, one after the other, are the sums of ``vectors``.

    Halves of pairs are added until one vector is left of as many as there are lanes: three
    instructions per sum instead of the twice ``log2(lanes)`` of summing one by one.
    """
    return [
        _transposed_sum(emit, vectors[k : k + emit.lanes])
        for k in range(0, len(vectors), emit.lanes)
    ]


def _transposed_sum(emit: KernelEmitter, vectors: Sequence[Register]) -> Register:
    """Return the sums of at most ``lanes`` vectors; lanes beyond them hold anything."""
    missing = emit.lanes - len(vectors)
    values = [v.value for v in (*vectors, *[vectors[0]] * missing)]
    step = 1
    while step < emit.lanes:
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [emit.name(_folded(emit, a, b, step)) for a, b in pairs]
        step *= 2
    return emit.register(values[0])


def _folded(emit: KernelEmitter, a: Expr, b: Expr, step: int) -> Expr:
    """Add the lanes of ``a`` and of ``b`` that lie ``step`` apart, sums side by side."""
    lanes = range(emit.lanes)
    low = [k if not k & step else emit.lanes + k - step for k in lanes]
    high = [k + step if not k & step else emit.lanes + k for k in lanes]
    return tirx.Shuffle([a, b], low) + tirx.Shuffle([a, b], high)


__all__ = ["lane_sums"]
