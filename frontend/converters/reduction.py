# SPDX-License-Identifier: MIT
"""Converters of reductions."""

from __future__ import annotations

from ...ir import Op, Value, ops
from ...ir.ops.shape import expand_axes
from ...ir.types import FLOATS
from ..convert import Conversion, converter
from .tensor import axes_of


def _reduction(type: str, op: type[Op], axes_since: int, real: bool = False) -> None:
    """Register a reduction whose axes are an operand since a version.

    Args:
        type: the operator.
        op: our op, whose only attribute is the axes.
        axes_since: first version that takes the axes as an operand.
        real: whether integers are computed as float64 and truncated.
    """

    def convert(c: Conversion) -> Value:
        axes = _axes(c, axes_since)
        x, dtype = c.operand(0), c.dtype(0)
        as_float = real and dtype not in FLOATS
        x = c.emit(ops.Cast("float64"), x) if as_float else x
        y = c.emit(op(axes), x)  # type: ignore[call-arg]
        y = c.emit(ops.Cast(dtype), y) if as_float else y
        return expand_axes(c.emit, y, axes) if c.attr("keepdims", 1) else y

    converter(type)(convert)


def _axes(c: Conversion, since: int) -> tuple[int, ...]:
    """Return the axes; none stated means all, unless the operator is told to do nothing then."""
    rank = len(c.shape(0))
    stated = axes_of(c, rank, since)
    if stated:
        return tuple(sorted(stated))
    return () if c.attr("noop_with_empty_axes", 0) else tuple(range(rank))


_reduction("ReduceSum", ops.ReduceSum, 13)
_reduction("ReduceMean", ops.ReduceMean, 18)
_reduction("ReduceMax", ops.ReduceMax, 18)
_reduction("ReduceMin", ops.ReduceMin, 18)
_reduction("ReduceProd", ops.ReduceProd, 18)
_reduction("ReduceL1", ops.ReduceL1, 18)
_reduction("ReduceL2", ops.ReduceL2, 18, real=True)
_reduction("ReduceSumSquare", ops.ReduceSumSquare, 18)
_reduction("ReduceLogSum", ops.ReduceLogSum, 18, real=True)
_reduction("ReduceLogSumExp", ops.ReduceLogSumExp, 18, real=True)
