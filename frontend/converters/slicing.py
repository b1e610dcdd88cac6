# SPDX-License-Identifier: MIT
"""Converters of operators that cut or enlarge a tensor: slice, pad, centre crop."""

from __future__ import annotations

from typing import Any

from ...ir import Value, ops
from ...ir.ops.shape import filled
from ..convert import Conversion, converter
from .tensor import scalar


@converter("Slice")
def slice_(c: Conversion) -> Value:
    """Count bounds from the front and clip them to what exists."""
    shape = c.shape(0)
    if c.version < 10:
        starts, ends = c.attr("starts"), c.attr("ends")
        axes, steps = c.attr("axes", None), None
    else:
        starts, ends = c.ints(1), c.ints(2)
        axes = None if c.entry(3) is None else c.ints(3)
        steps = None if c.entry(4) is None else c.ints(4)
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise c.error(f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes differ in number")
    taken = [range(n) for n in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = c.axis(axis, len(shape))
        if step == 0:
            raise c.error("a step is 0")
        taken[axis] = positions(start, end, step, shape[axis])
    if all(r == range(n) for r, n in zip(taken, shape, strict=True)):
        return c.operand(0)
    bounds = (tuple(r.start for r in taken), tuple(r.stop for r in taken))
    return c.emit(ops.Slice(*bounds, tuple(r.step for r in taken)), c.operand(0))


def positions(start: int, end: int, step: int, size: int) -> range:
    """Return the positions that bounds in the ONNX manner take from an axis.

    >>> positions(-1, -(2**63), -2, 5), positions(1, 2**63 - 1, 1, 5)
    (range(4, -1, -2), range(1, 5))
    """
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if size == 0:
        return range(0)
    if step > 0:
        return range(min(max(start, 0), size), min(max(end, 0), size), step)
    return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


@converter("Pad")
def pad(c: Conversion) -> Value:
    """Add elements at both ends of the stated axes; negative numbers crop."""
    rank, mode = len(c.shape(0)), c.attr("mode", "constant")
    low, high = _widths(c, rank)
    blank: Any = {"bool": False, "string": ""}.get(c.dtype(0), 0)
    if c.version < 11:
        return c.emit(ops.Pad(low, high, mode, c.attr("value", 0.0)), c.operand(0))
    if mode != "constant" or c.entry(2) is None:
        return c.emit(ops.Pad(low, high, mode, blank), c.operand(0))
    known = c.known(2)
    if known is not None:
        if known.size != 1:
            raise c.error(f"constant_value must be one element, found {known.size}")
        return c.emit(ops.Pad(low, high, mode, _number(known.reshape(())[()])), c.operand(0))
    return _pad_with(c, ops.Pad(low, high, mode, blank))


def _widths(c: Conversion, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return elements before and after each axis."""
    attribute = "paddings" if c.version < 2 else "pads"
    stated = tuple(c.attr(attribute)) if c.version < 11 else c.ints(1)
    axes = tuple(range(rank)) if c.entry(3) is None else c.ints(3)
    if len(stated) != 2 * len(axes):
        raise c.error(f"{len(stated)} pads do not fit {len(axes)} axes")
    low, high = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        axis = c.axis(axis, rank)
        low[axis], high[axis] = stated[k], stated[len(axes) + k]
    return tuple(low), tuple(high)


def _number(element: Any) -> float | int | bool | str:
    """Return an array element as a number of Python."""
    if isinstance(element, str):
        return element
    if element.dtype.kind in "biu":
        number: int | bool = element.item()
        return number
    return float(element)


def _pad_with(c: Conversion, op: ops.Pad) -> Value:
    """Pad with an element that is known only at run time."""
    padded = c.emit(op, c.operand(0))
    inside = c.emit(ops.Pad(op.low, op.high, value=False), filled(c.emit, True, "bool", c.shape(0)))
    return c.emit(ops.Select(), inside, padded, scalar(c, 2))


@converter("CenterCropPad")
def center_crop_pad(c: Conversion) -> Value:
    """Crop or pad about the centre; the odd element is at the end."""
    shape, wanted = c.shape(0), c.ints(1)
    axes = c.attr("axes", tuple(range(len(shape))))
    if len(wanted) != len(axes):
        raise c.error(f"{len(wanted)} sizes for {len(axes)} axes")
    low, high = [0] * len(shape), [0] * len(shape)
    for axis, size in zip(axes, wanted, strict=True):
        axis = c.axis(axis, len(shape))
        missing = size - shape[axis]
        before = missing // 2 if missing > 0 else -(-missing // 2)
        low[axis], high[axis] = before, missing - before
    return c.emit(ops.Pad(tuple(low), tuple(high)), c.operand(0))
