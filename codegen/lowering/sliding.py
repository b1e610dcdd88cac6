# SPDX-License-Identifier: MIT
"""How kernels read windows that slide over padded data."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir.ops.sliding import Sliding
from .base import Context, Dims, Expr, Indices, Tensor


def padded(ctx: Context, x: Tensor, sliding: Sliding, fill: float) -> Tensor:
    """Return data (N, C, spatial...) dilated and padded with ``fill``, held in a buffer.

    The inner loop of a kernel that reads it needs no bounds checks.
    """
    plain = (0,) * len(sliding.window)
    spread = any(step != 1 for step in sliding.input_dilation)
    if sliding.low == sliding.high == plain and not spread:
        return ctx.materialise(x)
    x = ctx.materialise(x)
    shape = (*x.shape[:2], *sliding.padded(x.shape[2:]))

    def read(n: Expr, c: Expr, *at: Expr) -> Expr:
        source = [p - low for p, low in zip(at, sliding.low, strict=True)]
        inside = within(source, sliding.input_dilation, x.shape[2:])
        where = [s // step for s, step in zip(source, sliding.input_dilation, strict=True)]
        return ctx.guard(inside, lambda: x(n, c, *where), ctx.const(fill, x.dtype))

    return ctx.stage(shape, x.dtype, read, "padded")


def within(at: Sequence[Expr], steps: Sequence[int], size: Dims) -> Expr:
    """Return whether positions are elements of data of ``size`` that lie ``steps`` apart."""
    conditions: list[Expr] = []
    for p, step, n in zip(at, steps, size, strict=True):
        conditions += [p >= 0, p < n * step]
        if step != 1:
            conditions.append(tirx.floormod(p, tirx.const(step, "int32")) == 0)
    return tirx.all(*conditions)


def seen(sliding: Sliding, position: Indices, tap: Indices) -> Indices:
    """Return where in the padded data a window element lies."""
    return tuple(
        p * s + k * d
        for p, s, k, d in zip(position, sliding.strides, tap, sliding.dilation, strict=True)
    )


def flat(at: Indices, size: Dims) -> Expr:
    """Return the row-major position of an index."""
    total: Expr = tirx.const(0, "int32")
    for k, n in zip(at, size, strict=True):
        total = total * n + k
    return total


def unflattened(position: Expr, size: Dims) -> Indices:
    """Return the index at a row-major position."""
    at: list[Expr] = []
    for n in reversed(size[1:]):
        at.append(tirx.floormod(position, n))
        position = tirx.floordiv(position, n)
    return (position, *reversed(at))


def candidates(sliding: Sliding) -> Dims:
    """Return how many windows may hold one element, per axis."""
    return tuple(
        (k - 1) * d // s + 1
        for k, d, s in zip(sliding.window, sliding.dilation, sliding.strides, strict=True)
    )


def holding(sliding: Sliding, at: Indices, candidate: Indices) -> tuple[Indices, Indices]:
    """Return the position of a window that may hold the element ``at``, and the distance.

    The element is held if the distance is that of an element of the window.
    """
    positions, distances = [], []
    for i, j, low, s in zip(at, candidate, sliding.low, sliding.strides, strict=True):
        p = tirx.floordiv(i + low, tirx.const(s, "int32")) - j
        positions.append(p)
        distances.append(i + low - p * s)
    return tuple(positions), tuple(distances)
