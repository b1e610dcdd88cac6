# SPDX-License-Identifier: MIT
"""Lowering of sampling at points that are data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir import TensorType, ops
from ...ir.ops.interpolation import cubic_far, cubic_near
from .base import Context, Expr, Indices, Tensor, lowering, propagating_max, propagating_min
from .shape import empty

OUTSIDE = -1
"""Index of what lies outside and reads as zero."""
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


@lowering(ops.SamplePoints)
def sample_points(
    ctx: Context, op: ops.SamplePoints, inputs: Sequence[Tensor], outputs: Sequence[TensorType]
) -> Sequence[Tensor]:
    """Find positions and weights once per point and axis, then reduce over the corners."""
    shape, (x, points) = outputs[0].dims, map(ctx.materialise, inputs)
    if 0 in shape:
        return (empty(ctx, shape, x.dtype),)
    axes = [_Axis(ctx, op, points, axis, n) for axis, n in enumerate(x.shape[2:])]
    tables = [(axis.indices(), axis.weights()) for axis in axes]
    zero = ctx.const(0, x.dtype)

    def read(i: Indices, r: Indices) -> Expr:
        n, c, p = i
        at = [index(n, t, p) for (index, _), t in zip(tables, r, strict=True)]
        inside = tirx.all(*(index >= 0 for index in at))
        value = ctx.guard(inside, lambda: x(n, c, *at), zero)
        for (_, weight), t in zip(tables, r, strict=True):
            value = value if weight is None else value * tirx.Cast(x.dtype, weight(n, t, p))
        return value

    extents = (_TAPS[op.mode],) * len(tables)
    return (ctx.reduce("sum", shape, extents, read, x.dtype),)


@dataclass(frozen=True)
class _Axis:
    """One axis of the points."""

    ctx: Context
    op: ops.SamplePoints
    points: Tensor
    axis: int
    length: int

    def number(self, value: float) -> Expr:
        """Return a constant of the type of coordinates."""
        return self.ctx.const(value, self.points.dtype)

    @cached_property
    def coordinates(self) -> Tensor:
        """The points' coordinates (N, P), moved inside if that is how the outside is read."""
        c: Callable[[Expr, Expr], Expr] = lambda n, p: self.points(n, p, self.axis)  # noqa: E731
        if self.op.mode == "nearest":
            c = self._step(lambda v: tirx.nearbyint(v), c)
        if self.op.padding == "reflection":
            c = self._step(self._mirrored, c)
        c = self._step(lambda v: propagating_min(v, self.number(self.length + 4)), c)
        return self._step(lambda v: propagating_max(v, self.number(-4)), c)

    def _step(self, fn: Callable[[Expr], Expr], c: Callable[[Expr, Expr], Expr]) -> Tensor:
        # One buffer per step: TVM's simplifier writes named values out wherever they are
        # used, which grows exponentially with a chain of them; it does not look behind loads.
        shape = (self.points.shape[0], self.points.shape[1])
        return self.ctx.stage(shape, self.points.dtype, lambda n, p: fn(c(n, p)), "coordinates")

    def _mirrored(self, c: Expr) -> Expr:
        low, high = self.number(-self.op.margin), self.number(self.length - 1 + self.op.margin)
        outside = tirx.Or(c < low, c > high)
        period = 2 * (self.length - 1 + 2 * self.op.margin)
        if period == 0:
            return tirx.Select(outside, self.number(0), c)
        turns = tirx.floor((c - low) / self.number(period))
        rest = self.ctx.let(c - low - turns * self.number(period))
        mirrored = tirx.min(rest, self.number(period) - rest) + low
        return tirx.Select(outside, mirrored, c)

    def indices(self) -> Tensor:
        """Return the element that each tap of each point reads, or :data:`OUTSIDE`."""
        first = -1 if self.op.mode == "cubic" else 0

        def base(n: Expr, p: Expr) -> Expr:
            c = self.coordinates(n, p)
            # A coordinate that is not a number reads outside; its weights are NaN.
            known = tirx.Select(tirx.isnan(c), self.number(-4), tirx.floor(c))
            return tirx.Cast("int32", known)

        bases = self.ctx.stage(self.coordinates.shape, "int32", base, "bases")
        return self.ctx.stage(
            self._shape, "int32", lambda n, t, p: self._index(bases(n, p) + (t + first)), "indices"
        )

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.points.shape[0], _TAPS[self.op.mode], self.points.shape[1]

    def _index(self, index: Expr) -> Expr:
        last = tirx.const(self.length - 1, "int32")
        if self.op.padding == "zeros":
            inside = tirx.And(index >= 0, index <= last)
            return tirx.Select(inside, index, tirx.const(OUTSIDE, "int32"))
        if self.op.padding == "border":
            return tirx.max(tirx.min(index, last), tirx.const(0, "int32"))
        rest = tirx.floormod(index, tirx.const(self.op.period(self.length), "int32"))
        return tirx.min(rest, tirx.const(self.op.mirror(self.length), "int32") - rest)

    def weights(self) -> Tensor | None:
        """Return the weight of each tap of each point; nearest needs none."""
        if self.op.mode == "nearest":
            return None

        def read(n: Expr, t: Expr, p: Expr) -> Expr:
            c = self.coordinates(n, p)
            f = c - tirx.floor(c)
            one = self.number(1)
            if self.op.mode == "linear":
                return tirx.Select(t == 0, one - f, f)
            # Distances of the taps: 1 + f, f, 1 - f, 2 - f.
            steps = tirx.Cast(self.points.dtype, t - 1)
            return tirx.abs(steps - f)

        distances = self.ctx.stage(self._shape, self.points.dtype, read, "weights")
        if self.op.mode == "linear":
            return distances

        def cubic(n: Expr, t: Expr, p: Expr) -> Expr:
            distance, inner = distances(n, t, p), tirx.Or(t == 1, t == 2)
            return tirx.Select(inner, cubic_near(distance, -0.75), cubic_far(distance, -0.75))

        return self.ctx.stage(self._shape, self.points.dtype, cubic, "weights")
