# SPDX-License-Identifier: MIT
"""The transforms of minimal filtering on vector registers, factored, and applied to squares.

Of a square of samples first every column is transformed, then every row, through a buffer of a
few kilobytes: 36 vectors at once are more than any processor has registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm.tirx.script.builder import ir as tb

from ..filtering import ROOTS, samples
from .emitter import Buffer, Expr, KernelEmitter, Register

Line = Callable[[KernelEmitter, int, Sequence[Expr]], list[Expr]]


def signal_line(emit: KernelEmitter, m: int, d: Sequence[Expr]) -> list[Expr]:
    """Return ``B d`` of m + 2 vectors; see :func:`..filtering.signal_matrix`.

    The values at a point and its negative are a sum and a difference.
    """
    if m == 2:
        return [d[2] - d[0], d[2] + d[1], d[2] - d[1], d[3] - d[1]]
    a, b = ROOTS[m]
    c = emit.constant
    result = [_without_roots(emit, d[0], d[2], d[4], a, b)]
    for root, other in ((a, b), (b, a)):
        even = emit.name(d[4] + c(-other * other) * d[2])
        odd = emit.name(c(root) * emit.name(d[3] + c(-other * other) * d[1]))
        result += [even + odd, even - odd]
    return [*result, _without_roots(emit, d[1], d[3], d[5], a, b)]


def _without_roots(
    emit: KernelEmitter, low: Expr, middle: Expr, high: Expr, a: float, b: float
) -> Expr:
    c = emit.constant
    return emit.name(high + c(-(a * a + b * b)) * middle) + c(a * a * b * b) * low


def output_line(emit: KernelEmitter, m: int, q: Sequence[Expr]) -> list[Expr]:
    """Return ``A q`` of m + 2 vectors; see :func:`..filtering.output_matrix`."""
    even, odd = emit.name(q[1] + q[2]), emit.name(q[1] - q[2])
    if m == 2:
        return [q[0] + even, odd + q[3]]
    a, b = ROOTS[m]
    c = emit.constant
    even_b, odd_b = emit.name(q[3] + q[4]), emit.name(q[3] - q[4])
    return [
        emit.name(q[0] + even) + even_b,
        c(b) * odd_b + c(a) * odd,
        c(b * b) * even_b + c(a * a) * even,
        emit.name(q[5] + c(a**3) * odd) + c(b**3) * odd_b,
    ]


class Square:
    """Transforms squares of (m + 2) by (m + 2) vectors through a buffer of its own."""

    def __init__(self, emit: KernelEmitter, m: int) -> None:
        self.emit = emit
        self.m = m
        self.size = samples(m)
        self.buffer: Buffer = tb.alloc_buffer((self.size**2 * emit.lanes,), scope="local")

    def signal(
        self,
        read: Callable[[Expr, int], Expr],
        write: Callable[[Expr, int, Expr], None],
    ) -> None:
        """Transform what ``read(column, row)`` loads and ``write(row, column, vector)`` it."""
        self._columns(read, signal_line)
        with self.emit.loop(self.size) as row:
            for column, value in enumerate(signal_line(self.emit, self.m, self._row(row))):
                write(row, column, value)

    def output(
        self,
        read: Callable[[Expr, int], Expr],
        rows: int | Expr,
        write: Callable[[Expr, int, Register], None],
    ) -> None:
        """Transform products to the first ``rows`` rows of m outputs each."""
        self._columns(read, output_line)
        with self.emit.loop(rows) as row:
            values = output_line(self.emit, self.m, self._row(row))
            for column, register in enumerate([self.emit.register(v) for v in values]):
                write(row, column, register)

    def _columns(self, read: Callable[[Expr, int], Expr], line: Line) -> None:
        emit = self.emit
        with emit.loop(self.size) as column:
            values = [emit.name(read(column, row)) for row in range(self.size)]
            for row, value in enumerate(line(emit, self.m, values)):
                emit.store(self.buffer, (row * self.size + column) * emit.lanes, value)

    def _row(self, row: Expr) -> list[Expr]:
        first = row * self.size
        return [
            self.emit.name(self.emit.load(self.buffer, (first + k) * self.emit.lanes))
            for k in range(self.size)
        ]
