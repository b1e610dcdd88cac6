# SPDX-License-Identifier: MIT
"""Sequences and optionals: all resolved while converting, so that programs see only tensors.

The length of a sequence is part of what a program is specialised to, like a shape; so are the
positions at which members are inserted, erased and read.
"""

from __future__ import annotations

import numpy as np

from ...ir import Value, ops
from ...ir.ops.shape import slice_along
from ..convert import Absent, Conversion, Entry, Items, converter
from ..tensors import element_type
from .internal import all_entries, stack


def items_of(c: Conversion, position: int) -> Items:
    """Return an operand that must be a sequence."""
    entry = c.entry(position)
    if not isinstance(entry, Items):
        raise c.error(f"operand {position} must be a sequence")
    return entry


def _position(c: Conversion, operand: int, length: int) -> int:
    numbers = c.ints(operand)
    if len(numbers) != 1:
        raise c.error(f"the position must be one number, found {len(numbers)}")
    return numbers[0] + length if numbers[0] < 0 else numbers[0]


# Sequences


@converter("SequenceConstruct")
def construct(c: Conversion) -> Entry:
    """Return the operands as a sequence."""
    return Items(all_entries(c))


@converter("SequenceEmpty")
def empty(c: Conversion) -> Entry:
    """Return a sequence without members."""
    element_type(c.attr("dtype", 1))
    return Items(())


@converter("SequenceInsert")
def insert(c: Conversion) -> Entry:
    """Return the sequence with one member more, at the end unless a position says else."""
    items, member = items_of(c, 0), c.operand(1)
    length = len(items.entries)
    at = length if c.entry(2) is None else _position(c, 2, length)
    if not 0 <= at <= length:
        raise c.error(f"position {at} is outside a sequence of {length} members")
    return Items((*items.entries[:at], member, *items.entries[at:]), items.element)


@converter("SequenceErase")
def erase(c: Conversion) -> Entry:
    """Return the sequence without one member, the last unless a position says else."""
    items = items_of(c, 0)
    at = _member(c, items, default=-1)
    return Items((*items.entries[:at], *items.entries[at + 1 :]), items.element)


@converter("SequenceAt")
def at(c: Conversion) -> Entry:
    """Return one member."""
    items = items_of(c, 0)
    return items.entries[_member(c, items)]


def _member(c: Conversion, items: Items, default: int = 0) -> int:
    length = len(items.entries)
    at = default % max(1, length) if c.entry(1) is None else _position(c, 1, length)
    if not 0 <= at < length:
        raise c.error(f"position {at} is outside a sequence of {length} members")
    return at


@converter("SequenceLength")
def length(c: Conversion) -> Value:
    """Return the number of members."""
    return c.emit.constant(len(items_of(c, 0).entries), "int64")


@converter("ConcatFromSequence")
def concat(c: Conversion) -> Value:
    """Join the members along an axis that they have, or along a new one."""
    members = [e for e in items_of(c, 0).entries if isinstance(e, Value)]
    if not members:
        raise c.error("an empty sequence cannot be joined")
    axis: int = c.attr("axis")
    if c.attr("new_axis", 0):
        return stack(c, members, axis)
    rank = getattr(members[0].type, "rank", 0)
    return c.emit(ops.Concat(c.axis(axis, rank)), *members)


@converter("SplitToSequence")
def split(c: Conversion) -> Entry:
    """Cut a tensor along an axis into members of equal or stated sizes."""
    shape = c.shape(0)
    axis = c.axis(c.attr("axis", 0), len(shape))
    size, whole = shape[axis], c.entry(1) is None
    sizes = [1] * size if whole else _sizes(c, size)
    stops = np.cumsum(sizes, dtype=np.int64).tolist()
    parts = [
        slice_along(c.emit, c.operand(0), axis, stop - n, stop)
        for n, stop in zip(sizes, stops, strict=True)
    ]
    if whole and not c.attr("keepdims", 1):
        without = ops.Reshape((*shape[:axis], *shape[axis + 1 :]))
        parts = [c.emit(without, part) for part in parts]
    return Items(tuple(parts))


def _sizes(c: Conversion, size: int) -> list[int]:
    stated = list(c.ints(1))
    if not c.shape(1):
        (each,) = stated
        if each <= 0:
            raise c.error(f"parts of {each} elements")
        return [min(each, size - start) for start in range(0, size, each)]
    if min(stated, default=0) < 0 or sum(stated) != size:
        raise c.error(f"sizes {stated} do not add up to the axis, which has {size}")
    return stated


# Optionals


@converter("Optional")
def optional(c: Conversion) -> Entry:
    """Return the operand; without one, an optional that holds nothing."""
    return c.entry(0) or Absent()


@converter("OptionalHasElement")
def has_element(c: Conversion) -> Value:
    """Return whether an optional holds something."""
    entry = c.entry(0)
    return c.emit.constant(entry is not None and not isinstance(entry, Absent))


@converter("OptionalGetElement")
def get_element(c: Conversion) -> Entry:
    """Return what an optional holds."""
    entry = c.entry(0)
    if entry is None or isinstance(entry, Absent):
        raise c.error("the optional holds nothing")
    return entry
