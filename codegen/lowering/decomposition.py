# SPDX-License-Identifier: MIT
"""Lowering of determinant and inverse: elimination with partial pivoting in scratch space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Tensor, lowering
from .imperative import bind, load, loops, statements, store, when
from .shape import empty


@lowering(ops.Det)
def det(
    ctx: Context, op: ops.Det, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Multiply the pivots; each exchange of rows changes the sign."""
    (x,) = inputs
    shape, n = outputs[0].dims, x.shape[-1]
    if 0 in x.shape:
        return (ctx.lazy(shape, x.dtype, lambda *_: ctx.const(1, x.dtype)),)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        matrix = _Elimination(x.dtype, n, n, outs[1], outs[2])

        def build() -> None:
            with loops(shape) as at:
                matrix.copy(lambda i, j: load(ins[0], (*at, i, j)))
                store(outs[0], at, tirx.const(1, x.dtype))
                with loops((n,)) as (k,):
                    exchanged = matrix.pivot(k)
                    pivot = bind(matrix(k, k))
                    signed = bind(tirx.Select(exchanged, -pivot, pivot))
                    store(outs[0], at, load(outs[0], at) * signed)
                    matrix.clear_below(k)

        return statements(build)

    specs = [(shape, x.dtype), ((n, n), x.dtype), ((1,), "int32")]
    return ctx.extern(specs, [x], body, "det")[:1]


@lowering(ops.Inverse)
def inverse(
    ctx: Context, op: ops.Inverse, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Reduce the matrix with the identity beside it to the identity with the inverse beside it."""
    (x,) = inputs
    n = x.shape[-1]
    if 0 in x.shape:
        return (empty(ctx, x.shape, x.dtype),)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        matrix = _Elimination(x.dtype, n, 2 * n, outs[1], outs[2])

        def beside(at: Sequence[Expr], i: Expr, j: Expr) -> Expr:
            unit = tirx.Select(j - n == i, tirx.const(1, x.dtype), tirx.const(0, x.dtype))
            return tirx.if_then_else(j < n, load(ins[0], (*at, i, tirx.min(j, n - 1))), unit)

        def build() -> None:
            with loops(x.shape[:-2]) as at:
                matrix.copy(lambda i, j: beside(at, i, j))
                with loops((n,)) as (k,):
                    matrix.pivot(k)
                    matrix.divide(k)
                    matrix.clear_column(k)
                with loops((n, n)) as (i, j):
                    store(outs[0], (*at, i, j), matrix(i, n + j))

        return statements(build)

    specs = [(x.shape, x.dtype), ((n, 2 * n), x.dtype), ((1,), "int32")]
    return ctx.extern(specs, [x], body, "inverse")[:1]


class _Elimination:
    """Row operations on a matrix in scratch space.

    Attributes:
        dtype: the compute type.
        rows: number of rows, of which each is a pivot once.
        columns: number of columns.
        buffer: scratch for the matrix.
        best: scratch for the row of the pivot.
    """

    def __init__(self, dtype: str, rows: int, columns: int, buffer: Any, best: Any) -> None:
        self.dtype, self.rows, self.columns = dtype, rows, columns
        self.buffer, self.best = buffer, best

    def __call__(self, i: Expr, j: Expr) -> Expr:
        """Return an element."""
        return load(self.buffer, (i, j))

    def copy(self, read: Any) -> None:
        """Fill the matrix."""
        with loops((self.rows, self.columns)) as (i, j):
            store(self.buffer, (i, j), read(i, j))

    def pivot(self, k: Expr) -> Expr:
        """Exchange row ``k`` for the one below with the largest element; return whether."""
        store(self.best, (0,), k)
        with loops((self.rows - 1 - k,)) as (below,):
            i = bind(k + 1 + below)
            with when(tirx.abs(self(i, k)) > tirx.abs(self(load(self.best, (0,)), k))):
                store(self.best, (0,), i)
        row = bind(load(self.best, (0,)))
        with when(row != k), loops((self.columns,)) as (j,):
            held = bind(self(k, j))
            store(self.buffer, (k, j), self(row, j))
            store(self.buffer, (row, j), held)
        return bind(row != k)

    def divide(self, k: Expr) -> None:
        """Divide row ``k`` by its pivot."""
        pivot = bind(self(k, k))
        with loops((self.columns,)) as (j,):
            store(self.buffer, (k, j), self(k, j) / pivot)

    def clear_below(self, k: Expr) -> None:
        """Subtract multiples of row ``k`` so that zeros are below its pivot."""
        pivot = bind(self(k, k))
        with when(pivot != tirx.const(0, self.dtype)), loops((self.rows - 1 - k,)) as (below,):
            i = bind(k + 1 + below)
            self._subtract(i, k, bind(self(i, k) / pivot))

    def clear_column(self, k: Expr) -> None:
        """Subtract multiples of row ``k``, whose pivot is 1, from all other rows."""
        with loops((self.rows,)) as (i,), when(i != k):
            self._subtract(i, k, bind(self(i, k)))

    def _subtract(self, i: Expr, k: Expr, factor: Expr) -> None:
        with loops((self.columns,)) as (j,):
            store(self.buffer, (i, j), self(i, j) - factor * self(k, j))
