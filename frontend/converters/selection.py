# SPDX-License-Identifier: MIT
"""Converters of reads and writes at positions that are data, of order, and of what data select."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Value, ops
from ...ir.ops.shape import expand_axes, slice_along
from ..convert import Conversion, converter
from .tensor import dims_of

# Gather and scatter


def _check_positions(c: Conversion, indices: Value, size: int) -> None:
    """Make sure that indices, which may count from the end, exist on an axis."""
    if math.prod(dims_of(indices)) == 0:
        return
    if size == 0:
        raise c.error("indices into an axis of size 0")
    flag = c.emit(ops.InRange(-size, size), indices)
    c.check(flag, f"an index is outside [-{size}, {size})")


def _check_coordinates(c: Conversion, indices: Value, sizes: tuple[int, ...]) -> None:
    """Check the last axis of ``indices`` coordinate by coordinate, or at once if sizes agree."""
    if len(set(sizes)) == 1:
        _check_positions(c, indices, sizes[0])
        return
    axis = len(dims_of(indices)) - 1
    for k, size in enumerate(sizes):
        _check_positions(c, slice_along(c.emit, indices, axis, k, k + 1), size)


def _along(c: Conversion) -> int:
    return c.axis(c.attr("axis", 0), len(c.shape(0)))


@converter("Gather")
def gather(c: Conversion) -> Value:
    """Take slices along an axis."""
    axis, indices = _along(c), c.operand(1)
    c.tensor(1)
    _check_positions(c, indices, c.shape(0)[axis])
    return c.emit(ops.Gather(axis), c.operand(0), indices)


@converter("GatherElements")
def gather_elements(c: Conversion) -> Value:
    """Take elements along an axis."""
    axis, indices = _along(c), c.operand(1)
    c.tensor(1)
    _check_positions(c, indices, c.shape(0)[axis])
    return c.emit(ops.GatherElements(axis), c.operand(0), indices)


@converter("GatherND")
def gather_nd(c: Conversion) -> Value:
    """Take slices at coordinates."""
    batch, indices, depth = c.attr("batch_dims", 0), c.operand(1), _depth(c)
    _check_coordinates(c, indices, c.shape(0)[batch : batch + depth])
    return c.emit(ops.GatherND(batch), c.operand(0), indices)


@converter("Scatter", "ScatterElements")
def scatter_elements(c: Conversion) -> Value:
    """Write elements along an axis."""
    axis, indices = _along(c), c.operand(1)
    c.tensor(1)
    _check_positions(c, indices, c.shape(0)[axis])
    op = ops.ScatterElements(axis, c.attr("reduction", "none"))
    return c.emit(op, c.operand(0), indices, c.operand(2))


@converter("ScatterND")
def scatter_nd(c: Conversion) -> Value:
    """Write slices at coordinates."""
    indices = c.operand(1)
    _check_coordinates(c, indices, c.shape(0)[: _depth(c)])
    op = ops.ScatterND(c.attr("reduction", "none"))
    return c.emit(op, c.operand(0), indices, c.operand(2))


def _depth(c: Conversion) -> int:
    """Return how many coordinates each index has."""
    shape = c.shape(1)
    if not shape:
        raise c.error("indices need a last axis that holds the coordinates")
    return shape[-1]


# Order


@converter("ArgMax", "ArgMin")
def arg_extreme(c: Conversion) -> Value:
    """Find the position of an extreme."""
    op = ops.ArgMax if c.type == "ArgMax" else ops.ArgMin
    axis = _along(c)
    y = c.emit(op(axis, bool(c.attr("select_last_index", 0))), c.operand(0))
    return expand_axes(c.emit, y, (axis,)) if c.attr("keepdims", 1) else y


@converter("TopK")
def top_k(c: Conversion) -> tuple[Value, ...]:
    """Choose the best along an axis."""
    axis = c.axis(c.attr("axis", -1), len(c.shape(0)))
    if c.version < 10:
        k = c.attr("k")
    else:
        (k,) = c.ints(1)
    op = ops.TopK(axis, k, bool(c.attr("largest", 1)), bool(c.attr("sorted", 1)))
    return c.emit.multi(op, c.operand(0))


@converter("CumSum", "CumProd")
def cumulative(c: Conversion) -> Value:
    """Run along an axis."""
    op = ops.CumSum if c.type == "CumSum" else ops.CumProd
    (axis,) = c.ints(1)
    exclusive, reverse = bool(c.attr("exclusive", 0)), bool(c.attr("reverse", 0))
    return c.emit(op(c.axis(axis, len(c.shape(0))), exclusive, reverse), c.operand(0))


# Selection by the data


@converter("NonZero")
def nonzero(c: Conversion) -> Value:
    """Find the elements other than 0."""
    return c.emit(ops.NonZero(), c.operand(0))


@converter("Unique")
def unique(c: Conversion) -> tuple[Value, ...]:
    """Find the distinct elements or slices."""
    axis = c.attr("axis")
    axis = None if axis is None else c.axis(axis, len(c.shape(0)))
    return c.emit.multi(ops.Unique(axis, bool(c.attr("sorted", 1))), c.operand(0))


@converter("Compress")
def compress(c: Conversion) -> Value:
    """Take what a condition selects; a known condition is a gather, whose size is known."""
    x, axis, condition = c.operand(0), c.attr("axis"), c.known(1)
    axis = None if axis is None else c.axis(axis, len(c.shape(0)))
    if condition is None:
        return c.emit(ops.Compress(axis), x, c.operand(1))
    if axis is None:
        x, axis = c.emit(ops.Reshape((math.prod(c.shape(0)),)), x), 0
    chosen = c.emit.constant(np.flatnonzero(condition), "int64")
    _check_positions(c, chosen, dims_of(x)[axis])
    return c.emit(ops.Gather(axis), x, chosen)


@converter("NonMaxSuppression")
def non_max_suppression(c: Conversion) -> Value:
    """Keep the best of boxes that overlap."""
    most = c.optional(2) or c.emit.constant(0, "int64")
    iou = c.optional(3) or c.emit.constant(0.0, "float32")
    # Without a threshold no score is too low.
    score = c.optional(4) or c.emit.constant(-np.inf, "float32")
    op = ops.NonMaxSuppression(bool(c.attr("center_point_box", 0)))
    return c.emit(op, c.operand(0), c.operand(1), most, iou, score)


@converter("Det")
def det(c: Conversion) -> Value:
    """Compute determinants."""
    return c.emit(ops.Det(), c.operand(0))
