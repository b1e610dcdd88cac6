# SPDX-License-Identifier: MIT
"""Lowering of order along an axis: extremes, the k best, running sums and products."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tvm import te, tirx

from ...ir import TensorType, ops
from .base import Context, Expr, Indices, Tensor, is_float, lowering, reduction_identity, wrapping
from .imperative import bind, load, loops, repeat, statements, store, when
from .shape import empty

SELECTION = 24
"""Up to this many elements are chosen by insertion; more are taken from a full merge sort."""

Order = Callable[[Expr, Expr], Expr]
"""Whether the first element comes strictly before the second."""


@lowering(ops.ArgMax, ops.ArgMin)
def arg_extreme(
    ctx: Context,
    op: ops.ArgMax | ops.ArgMin,
    inputs: Sequence[Tensor],
    outputs: Sequence[TensorType],
) -> Sequence[Tensor]:
    """Reduce pairs of value and position."""
    shape = outputs[0].dims
    if 0 in shape:
        return (empty(ctx, shape, "int64"),)
    x = _comparable(ctx, inputs[0])
    largest = isinstance(op, ops.ArgMax)
    before = _order(largest, nan_first=True)

    def combine(a: Sequence[Expr], b: Sequence[Expr]) -> tuple[Expr, Expr]:
        preferred = a[1] > b[1] if op.last else a[1] < b[1]
        wins = tirx.Or(before(a[0], b[0]), tirx.And(_tie(a[0], b[0]), preferred))
        return tirx.Select(wins, a[0], b[0]), tirx.Select(wins, a[1], b[1])

    def identity(value: Any, position: Any) -> tuple[Expr, Expr]:
        worst = reduction_identity("max" if largest else "min", x.dtype)
        return worst, tirx.const(-1, "int32") if op.last else tirx.max_value("int32")

    def read(i: Indices, r: Indices) -> tuple[Expr, Expr]:
        return x(*i[: op.axis], r[0], *i[op.axis :]), r[0]

    reducer = te.comm_reducer(combine, identity, name="extreme")
    extents = (x.shape[op.axis],)
    _, position = ctx.reduce_with(reducer, shape, extents, read, (x.dtype, "int32"))
    return (ctx.lazy(shape, "int64", lambda *i: tirx.Cast("int64", position(*i))),)


@lowering(ops.TopK)
def top_k(
    ctx: Context, op: ops.TopK, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Choose few elements by insertion, many by a merge sort, row by row."""
    shape = outputs[0].dims
    if 0 in shape:
        return empty(ctx, shape, inputs[0].dtype), empty(ctx, shape, "int64")
    x = _comparable(ctx, inputs[0])
    before = _order(op.largest, nan_first=op.largest)
    n = x.shape[op.axis]
    few = op.k <= SELECTION
    scratch = (op.k,) if few else (2, n)
    specs = [(shape, x.dtype), (shape, "int64"), (scratch, x.dtype), (scratch, "int32")]
    specs.append(((2,), "int32"))

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        row = _Row(ins[0], op.axis, outs[2:], before)

        def build() -> None:
            with _rows(x.shape, op.axis) as at:
                keys, order = row.selected(at, n, op.k) if few else row.sorted(at, n)
                with loops((op.k,)) as (k,):
                    place = _placed(at, op.axis, k)
                    store(outs[0], place, keys(k))
                    store(outs[1], place, tirx.Cast("int64", order(k)))

        return statements(build)

    values, positions, *_ = ctx.extern(specs, [x], body, "top_k")
    if inputs[0].dtype == "bool":
        values = ctx.elementwise("bool", lambda v: v != ctx.const(0, "int8"), values)
    return values, positions


@lowering(ops.CumSum, ops.CumProd)
def cumulative(
    ctx: Context,
    op: ops.CumSum | ops.CumProd,
    inputs: Sequence[Tensor],
    outputs: Sequence[TensorType],
) -> Sequence[Tensor]:
    """Run along the axis; the axes after it are the innermost loops, which vectorise."""
    (x,) = inputs
    axis, n = op.axis, x.shape[op.axis]
    if 0 in x.shape:
        return (empty(ctx, x.shape, x.dtype),)
    start, adds = ctx.const(op.start, x.dtype), isinstance(op, ops.CumSum)

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        def at(outer: Indices, step: Expr, inner: Indices) -> Indices:
            return (*outer, n - 1 - step if op.reverse else step, *inner)

        def build() -> None:
            with loops(x.shape[:axis]) as outer:
                with loops(x.shape[axis + 1 :]) as inner:
                    first = start if op.exclusive else load(ins[0], at(outer, 0, inner))
                    store(outs[0], at(outer, 0, inner), first)
                with loops((n - 1,)) as (k,), loops(x.shape[axis + 1 :]) as inner:
                    total = load(outs[0], at(outer, k, inner))
                    item = load(ins[0], at(outer, k if op.exclusive else k + 1, inner))
                    joined = wrapping(operator.add if adds else operator.mul, total, item)
                    store(outs[0], at(outer, k + 1, inner), joined)

        return statements(build)

    return ctx.extern([(x.shape, x.dtype)], [x], body, "cumulative")


class _Row:
    """Sorts one row of a tensor in scratch space.

    Attributes:
        source: the tensor's buffer.
        axis: the axis that rows run along.
        keys: scratch for elements.
        order: scratch for their positions in the row.
        state: scratch for two counters.
        before: the order.
    """

    def __init__(self, source: Any, axis: int, scratch: Sequence[Any], before: Order) -> None:
        self.source, self.axis = source, axis
        self.keys, self.order, self.state = scratch
        self.before = before

    def selected(
        self, at: Indices, n: int, k: int
    ) -> tuple[Callable[[Expr], Expr], Callable[[Expr], Expr]]:
        """Keep the ``k`` best in order while reading the row: fast where ``k`` is small."""
        slot = (0,)
        with loops((n,)) as (position,):
            key = bind(load(self.source, _placed(at, self.axis, position)))
            last = bind(tirx.min(position, k - 1))
            enters = tirx.Or(position < k, self.before(key, load(self.keys, (last,))))
            with when(enters):
                store(self.state, slot, last)
                free = load(self.state, slot)
                left = tirx.max(free - 1, 0)  # the condition is evaluated at slot 0 too
                earlier = load(self.keys, (left,))
                with repeat(tirx.And(free > 0, self.before(key, earlier))):
                    store(self.keys, (free,), load(self.keys, (free - 1,)))
                    store(self.order, (free,), load(self.order, (free - 1,)))
                    store(self.state, slot, free - 1)
                store(self.keys, (free,), key)
                store(self.order, (free,), position)
        return lambda i: load(self.keys, (i,)), lambda i: load(self.order, (i,))

    def sorted(self, at: Indices, n: int) -> tuple[Callable[[Expr], Expr], Callable[[Expr], Expr]]:
        """Merge runs of doubling length between two halves of the scratch space."""
        with loops((n,)) as (position,):
            store(self.keys, (0, position), load(self.source, _placed(at, self.axis, position)))
            store(self.order, (0, position), position)
        half, width = 0, 1
        while width < n:
            with loops((math.ceil(n / (2 * width)),)) as (pair,):
                start = bind(pair * (2 * width))
                self._merge(half, start, width, n)
            half, width = 1 - half, 2 * width
        return (
            lambda i, half=half: load(self.keys, (half, i)),
            lambda i, half=half: load(self.order, (half, i)),
        )

    def _merge(self, half: int, start: Expr, width: int, n: int) -> None:
        """Merge the runs at ``start`` and ``start + width``; of equals the left one goes first."""
        middle = bind(tirx.min(start + width, n))
        end = bind(tirx.min(start + 2 * width, n))
        store(self.state, (0,), start)
        store(self.state, (1,), middle)
        with loops((end - start,)) as (step,):
            left, right = bind(load(self.state, (0,))), bind(load(self.state, (1,)))
            # Both sides are read before it is known which of them exists.
            a = bind(load(self.keys, (half, tirx.min(left, n - 1))))
            b = bind(load(self.keys, (half, tirx.min(right, n - 1))))
            from_right = tirx.Or(left >= middle, tirx.And(right < end, self.before(b, a)))
            takes_right = bind(from_right)
            source = bind(tirx.Select(takes_right, right, left))
            store(self.keys, (1 - half, start + step), tirx.Select(takes_right, b, a))
            store(self.order, (1 - half, start + step), load(self.order, (half, source)))
            store(self.state, (0,), tirx.Select(takes_right, left, left + 1))
            store(self.state, (1,), tirx.Select(takes_right, right + 1, right))


def _order(largest: bool, nan_first: bool) -> Order:
    """Return the order of numbers with NaN before or after all of them."""

    def before(a: Expr, b: Expr) -> Expr:
        wins = a > b if largest else a < b
        if not is_float(a):
            return wins
        first, second = (a, b) if nan_first else (b, a)
        return tirx.Or(wins, tirx.And(tirx.isnan(first), tirx.Not(tirx.isnan(second))))

    return before


def _tie(a: Expr, b: Expr) -> Expr:
    """Whether neither element comes before the other."""
    # Not `Not(before)`: the simplifier turns that into a <= b, which is false for NaN.
    if not is_float(a):
        return a == b
    return tirx.Or(a == b, tirx.And(tirx.isnan(a), tirx.isnan(b)))


def _comparable(ctx: Context, x: Tensor) -> Tensor:
    """Return ``x`` in a buffer of numbers, because comparisons read elements many times."""
    if x.dtype == "bool":
        x = ctx.elementwise("int8", lambda v: tirx.Cast("int8", v), x)
    return ctx.materialise(x)


@contextmanager
def _rows(shape: tuple[int, ...], axis: int) -> Iterator[Indices]:
    """Loop over all rows along ``axis``; yields the indices of the other axes."""
    with loops(shape[:axis] + shape[axis + 1 :]) as at:
        yield at


def _placed(at: Indices, axis: int, position: Expr) -> Indices:
    """Return ``at`` with the index along ``axis`` put in."""
    return (*at[:axis], position, *at[axis:])
