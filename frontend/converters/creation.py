# SPDX-License-Identifier: MIT
"""Converters of operators that make a tensor from sizes or indices: shapes, ranges, one-hot."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Value, numpy_dtype, ops
from ...ir.ops.shape import expand_axes, slice_along
from ..convert import Conversion, converter
from ..tensors import element_type
from .tensor import scalar


@converter("Shape")
def shape(c: Conversion) -> Value:
    """Return the sizes, or those from ``start`` until before ``end``."""
    sizes = c.shape(0)
    return c.emit.constant(sizes[c.attr("start", 0) : c.attr("end", len(sizes))], "int64")


@converter("Size")
def size(c: Conversion) -> Value:
    """Return the number of elements."""
    return c.emit.constant(math.prod(c.shape(0)), "int64")


@converter("ConstantOfShape")
def constant_of_shape(c: Conversion) -> Value:
    """Repeat one element, by default a float32 0."""
    value = c.attr("value", np.zeros(1, np.float32))
    sizes = c.ints(0)
    if min(sizes, default=0) < 0 or value.size != 1:
        raise c.error(f"cannot fill shape {list(sizes)} with {value.size} elements")
    return c.emit(ops.BroadcastTo(sizes), c.emit.constant(value.reshape(())))


@converter("EyeLike")
def eye_like(c: Conversion) -> Value:
    """Return ones on a diagonal of a matrix."""
    sizes = c.shape(0)
    if len(sizes) != 2:
        raise c.error(f"needs a matrix, found shape {list(sizes)}")
    dtype = element_type(c.attr("dtype")) if c.has("dtype") else c.dtype(0)
    return c.emit.constant(np.eye(*sizes, k=c.attr("k", 0)).astype(numpy_dtype(dtype)))


@converter("Range")
def range_(c: Conversion) -> Value:
    """Count; bounds that are run-time data leave that to the executor."""
    return c.emit(ops.Range(), *(scalar(c, k) for k in range(3)))


@converter("OneHot")
def one_hot(c: Conversion) -> Value:
    """Compare the indices with the positions of a new axis."""
    rank = len(c.shape(0)) + 1
    axis = c.axis(c.attr("axis", -1), rank)
    if c.array(1).size != 1 or c.shape(2) != (2,):
        raise c.error("needs one number as depth and two values")
    depth = int(c.array(1).reshape(()))
    index = c.operand(0)
    if c.dtype(0) != "int64":
        index = c.emit(ops.Cast("int64"), index)
    zero, count = c.emit.constant(0, "int64"), c.emit.constant(depth, "int64")
    negative = c.emit(ops.Less(), index, zero)
    index = c.emit(ops.Select(), negative, c.emit(ops.Add(), index, count), index)
    sizes = tuple(depth if k == axis else 1 for k in range(rank))
    hot = c.emit(
        ops.Equal(), expand_axes(c.emit, index, (axis,)), c.emit(ops.Iota("int64", sizes, axis))
    )
    off, on = (
        c.emit(ops.Reshape(()), slice_along(c.emit, c.operand(2), 0, k, k + 1)) for k in range(2)
    )
    return c.emit(ops.Select(), hot, on, off)


@converter("Trilu")
def trilu(c: Conversion) -> Value:
    """Set everything below (or above) a diagonal to zero."""
    sizes = c.shape(0)
    if len(sizes) < 2:
        raise c.error(f"needs matrices, found shape {list(sizes)}")
    k = 0
    if c.entry(1) is not None:
        (k,) = c.ints(1)
    upper = bool(c.attr("upper", 1))
    rows, columns = sizes[-2:]
    triangle = np.tri(rows, columns, k - 1 if upper else k, dtype=np.bool_)
    kept = c.emit.constant(~triangle if upper else triangle)
    return c.emit(ops.Select(), kept, c.operand(0), c.emit.scalar_like(0, c.operand(0)))
