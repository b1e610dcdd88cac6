# SPDX-License-Identifier: MIT
"""The transforms of minimal filtering for gradients of filters, the transposes of the usual ones.

``dw = G^T (sum (B d) * (A^T dz))``: a signal is taken to its values at the points as always,
outputs by the transpose of what takes products to outputs, and the sums of the products by that of
what takes filters to their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm.tirx.script.builder import ir as tb

from ..filtering import ROOTS, filter_matrix, samples
from .emitter import Buffer, Expr, KernelEmitter
from .winograd_transforms import Line, signal_line


def spread_line(emit: KernelEmitter, m: int, y: Sequence[Expr]) -> list[Expr]:
    """Return ``A^T y`` of m vectors; see :func:`..filtering.output_matrix`."""
    c = emit.constant
    result = [y[0]]
    for root in ROOTS[m]:
        even, odd = y[0], y[1] if root == 1 else c(root) * y[1]
        if m == 4:
            even = even + c(root**2) * y[2]
            odd = emit.name(odd) + c(root**3) * y[3]
        even, odd = emit.name(even), emit.name(odd)
        result += [even + odd, even - odd]
    return [*result, y[m - 1]]


def gather_line(emit: KernelEmitter, m: int, s: Sequence[Expr]) -> list[Expr]:
    """Return ``G^T s`` of m + 2 vectors; see :func:`..filtering.filter_matrix`."""
    c = emit.constant
    g = filter_matrix(m)
    taps = [c(float(g[0, 0])) * s[0], None, s[m + 1]]
    for k, root in enumerate(ROOTS[m]):
        plus, minus = s[1 + 2 * k], s[2 + 2 * k]
        scale = float(g[1 + 2 * k, 0])
        even, odd = emit.name(plus + minus), emit.name(plus - minus)
        parts = (c(scale) * even, c(scale * root) * odd, c(scale * root**2) * even)
        for j, part in enumerate(parts):
            taps[j] = part if taps[j] is None else emit.name(taps[j]) + part
    return list(taps)


@dataclass(frozen=True)
class Transform:
    """A transform of squares of vectors, first their columns, then their rows.

    Attributes:
        line: transforms one of them.
        size: vectors along a side before.
        result: vectors along a side after.
    """

    line: Line
    size: int
    result: int

    def apply(
        self,
        emit: KernelEmitter,
        m: int,
        buffer: Buffer,
        read: Callable[[Expr, int], Expr],
        write: Callable[[Expr, int, Expr], None],
    ) -> None:
        """Transform what ``read(column, row)`` loads and ``write(row, column, vector)`` it."""
        with emit.loop(self.size) as column:
            values = [emit.name(read(column, row)) for row in range(self.size)]
            for row, value in enumerate(self.line(emit, m, values)):
                emit.store(buffer, (row * self.size + column) * emit.lanes, value)
        with emit.loop(self.result) as row:
            first = row * self.size
            values = [
                emit.name(emit.load(buffer, (first + k) * emit.lanes)) for k in range(self.size)
            ]
            for column, value in enumerate(self.line(emit, m, values)):
                write(row, column, value)


def square_buffer(emit: KernelEmitter, m: int) -> Buffer:
    """Return a buffer through which squares are transformed."""
    return tb.alloc_buffer((samples(m) ** 2 * emit.lanes,), scope="local")


def signal(m: int) -> Transform:
    """Return the transform of data."""
    return Transform(signal_line, samples(m), samples(m))


def spread(m: int) -> Transform:
    """Return the transform of gradients of outputs."""
    return Transform(spread_line, m, samples(m))


def gather(m: int) -> Transform:
    """Return the transform of sums of products to gradients of filters."""
    return Transform(gather_line, samples(m), 3)


__all__ = ["Transform", "gather", "gather_line", "signal", "spread", "spread_line", "square_buffer"]
