# SPDX-License-Identifier: MIT
"""Converters of operators that rearrange a tensor: reshape, transpose, join, split, repeat."""

from __future__ import annotations

import math

import numpy as np

from ...ir import TensorType, Value, ops
from ...ir.ops.broadcasting import broadcast_dims
from ...ir.ops.shape import expand_axes, slice_along
from ..convert import Conversion, Entry, converter


def axes_of(c: Conversion, rank: int, since: int, position: int = 1) -> tuple[int, ...] | None:
    """Return the stated axes counted from the front, an operand since a version; else ``None``."""
    if c.version < since:
        stated = c.attr("axes", None)
    else:
        stated = None if c.entry(position) is None else c.ints(position)
    return None if stated is None else tuple(c.axis(a, rank) for a in stated)


@converter("Identity")
def identity(c: Conversion) -> Entry:
    """Return the operand, which may be a sequence or an optional."""
    entry = c.entry(0)
    if entry is None:
        raise c.error("operand 0 is missing")
    return entry


@converter("Reshape")
def reshape(c: Conversion) -> Value:
    """Resolve 0 (the operand's size) and -1 (what remains) in the wanted shape."""
    stated = c.attr("shape", ()) if c.version < 5 else c.ints(1)
    return c.emit(ops.Reshape(_resolved(c, tuple(stated))), c.operand(0))


def _resolved(c: Conversion, stated: tuple[int, ...]) -> tuple[int, ...]:
    shape, keeps_zero = c.shape(0), bool(c.attr("allowzero", 0))
    if min(stated, default=0) < -1 or stated.count(-1) > 1:
        raise c.error(f"the shape {list(stated)} has a size below -1 or several of -1")
    sizes = list(stated)
    for k, n in enumerate(stated):
        if n == 0 and not keeps_zero:
            if k >= len(shape):
                raise c.error(f"size 0 at axis {k} copies an axis that {list(shape)} lacks")
            sizes[k] = shape[k]
    if -1 in sizes:
        rest = math.prod(n for n in sizes if n != -1)
        if rest == 0 or math.prod(shape) % rest:
            raise c.error(f"{list(shape)} cannot be reshaped to {list(stated)}")
        sizes[sizes.index(-1)] = math.prod(shape) // rest
    return tuple(sizes)


@converter("Flatten")
def flatten(c: Conversion) -> Value:
    """Make a matrix of the axes before and from ``axis``."""
    shape, axis = c.shape(0), c.attr("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise c.error(f"axis {axis} does not exist in a tensor of rank {len(shape)}")
    axis = axis + len(shape) if axis < 0 else axis
    rows, columns = math.prod(shape[:axis]), math.prod(shape[axis:])
    return c.emit(ops.Reshape((rows, columns)), c.operand(0))


@converter("Squeeze")
def squeeze(c: Conversion) -> Value:
    """Drop axes of size 1: those stated, or all."""
    shape = c.shape(0)
    axes = axes_of(c, len(shape), since=13)
    if axes is None:
        axes = tuple(k for k, n in enumerate(shape) if n == 1)
    wide = [k for k in axes if shape[k] != 1]
    if wide:
        raise c.error(f"axis {wide[0]} of {list(shape)} does not have size 1")
    kept = tuple(n for k, n in enumerate(shape) if k not in axes)
    return c.emit(ops.Reshape(kept), c.operand(0))


@converter("Unsqueeze")
def unsqueeze(c: Conversion) -> Value:
    """Insert axes of size 1, which are counted in the result."""
    stated = c.attr("axes", ()) if c.version < 13 else c.ints(1)
    rank = len(c.shape(0)) + len(stated)
    axes = tuple(c.axis(a, rank) for a in stated)
    if len(set(axes)) != len(axes):
        raise c.error(f"axes {list(stated)} name an axis twice")
    return expand_axes(c.emit, c.operand(0), axes)


@converter("Transpose")
def transpose(c: Conversion) -> Value:
    """Permute the axes, by default into the opposite order."""
    rank = len(c.shape(0))
    permutation = c.attr("perm", tuple(reversed(range(rank))))
    return c.emit(ops.Transpose(tuple(permutation)), c.operand(0))


@converter("Expand")
def expand(c: Conversion) -> Value:
    """Broadcast the operand and the wanted shape against each other."""
    wanted = c.ints(1)
    shape = broadcast_dims(ops.BroadcastTo(wanted), c.shape(0), wanted)
    sizes = tuple(n for n in shape if isinstance(n, int))
    return c.emit(ops.BroadcastTo(sizes), c.operand(0))


@converter("Tile")
def tile(c: Conversion) -> Value:
    """Repeat the whole tensor along each axis."""
    shape = c.shape(0)
    if c.version < 6:
        repeats = [1] * len(shape)
        (axis,), (count,) = c.ints(2), c.ints(1)
        repeats[c.axis(axis, len(shape))] = count
    else:
        repeats = list(c.ints(1))
    if len(repeats) != len(shape) or min(repeats, default=0) < 0:
        raise c.error(f"repeats {repeats} do not fit a tensor of rank {len(shape)}")
    columns = c.emit(ops.Reshape(tuple(m for n in shape for m in (1, n))), c.operand(0))
    pairs = zip(repeats, shape, strict=True)
    repeated = c.emit(ops.BroadcastTo(tuple(m for pair in pairs for m in pair)), columns)
    result = tuple(n * r for n, r in zip(shape, repeats, strict=True))
    return c.emit(ops.Reshape(result), repeated)


@converter("Concat")
def concat(c: Conversion) -> Value:
    """Join operands along an axis."""
    rank = len(c.shape(0))
    axis = c.attr("axis", 1) if c.version < 4 else c.attr("axis")
    return c.emit(ops.Concat(c.axis(axis, rank)), *c.operands)


@converter("Split")
def split(c: Conversion) -> list[Value]:
    """Cut along an axis into parts of stated or equal sizes."""
    shape = c.shape(0)
    axis = c.axis(c.attr("axis", 0), len(shape))
    sizes = _parts(c, shape[axis])
    if min(sizes, default=0) < 0 or sum(sizes) != shape[axis]:
        raise c.error(f"sizes {sizes} do not add up to the axis, which has {shape[axis]}")
    stops = np.cumsum(sizes, dtype=np.int64).tolist()
    x = c.operand(0)
    return [
        slice_along(c.emit, x, axis, stop - n, stop) for n, stop in zip(sizes, stops, strict=True)
    ]


def _parts(c: Conversion, size: int) -> list[int]:
    if c.version < 13 and c.has("split"):
        return list(c.attr("split"))
    if c.entry(1) is not None:
        return list(c.ints(1))
    count = c.attr("num_outputs", c.count_results)
    if c.version < 18:
        if size % count:
            raise c.error(f"{size} elements do not split into {count} equal parts")
        return [size // count] * count
    each = math.ceil(size / count)
    return [max(min(each, size - k * each), 0) for k in range(count)]


@converter("DepthToSpace")
def depth_to_space(c: Conversion) -> Value:
    """Move blocks of channels into height and width."""
    n, channels, height, width = _image(c)
    b = c.attr("blocksize")
    depth = channels // (b * b)
    if depth * b * b != channels:
        raise c.error(f"{channels} channels do not make blocks of {b} x {b}")
    # Channels are [row, column, depth] or [depth, row, column]; the result is depth first.
    if c.attr("mode", "DCR") == "DCR":
        blocks, order = (n, b, b, depth, height, width), (0, 3, 4, 1, 5, 2)
    else:
        blocks, order = (n, depth, b, b, height, width), (0, 1, 4, 2, 5, 3)
    moved = c.emit(ops.Transpose(order), c.emit(ops.Reshape(blocks), c.operand(0)))
    return c.emit(ops.Reshape((n, depth, height * b, width * b)), moved)


@converter("SpaceToDepth")
def space_to_depth(c: Conversion) -> Value:
    """Move blocks of height and width into channels."""
    n, channels, height, width = _image(c)
    b = c.attr("blocksize")
    if height % b or width % b:
        raise c.error(f"an image of {height} x {width} is not made of blocks of {b} x {b}")
    blocks = (n, channels, height // b, b, width // b, b)
    order = (0, 3, 5, 1, 2, 4) if c.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = c.emit(ops.Transpose(order), c.emit(ops.Reshape(blocks), c.operand(0)))
    return c.emit(ops.Reshape((n, channels * b * b, height // b, width // b)), moved)


def _image(c: Conversion) -> tuple[int, int, int, int]:
    shape = c.shape(0)
    if len(shape) != 4 or c.attr("blocksize") < 1:
        raise c.error(f"needs [N, C, H, W] and a positive blocksize, found {list(shape)}")
    n, channels, height, width = shape
    return n, channels, height, width


@converter("ReverseSequence")
def reverse_sequence(c: Conversion) -> Value:
    """Read each sequence of a batch back to front up to its length."""
    shape = c.shape(0)
    time, batch = c.axis(c.attr("time_axis", 0), len(shape)), c.attr("batch_axis", 1)
    batch = c.axis(batch, len(shape))
    if time == batch:
        raise c.error("time_axis and batch_axis are the same")
    rest = (k for k in range(len(shape)) if k not in (time, batch))
    order = (batch, time, *rest)
    lengths, steps = c.operand(1), shape[time]
    c.check(c.emit(ops.InRange(0, steps + 1), lengths), f"a length is outside [0, {steps}]")
    table = (shape[batch], steps)
    dtype = c.dtype(1)
    at = c.emit(ops.Iota(dtype, table, 1))
    length = c.emit(ops.BroadcastTo(table), expand_axes(c.emit, lengths, (1,)))
    last = c.emit(ops.Sub(), length, c.emit.constant(1, dtype))
    inside = c.emit(ops.Less(), at, length)
    source = c.emit(ops.Select(), inside, c.emit(ops.Sub(), last, at), at)
    moved = c.emit(ops.Transpose(order), c.operand(0))
    taken = c.emit(ops.GatherND(batch_dims=1), moved, expand_axes(c.emit, source, (2,)))
    back = tuple(int(k) for k in np.argsort(order))
    return c.emit(ops.Transpose(back), taken)


@converter("TensorScatter")
def tensor_scatter(c: Conversion) -> Value:
    """Write an update into a cache at a position of its own for each member of the batch."""
    cache, update = c.shape(0), c.shape(1)
    axis = c.axis(c.attr("axis", -2), len(cache))
    if axis == 0 or (*update[:axis], *update[axis + 1 :]) != (*cache[:axis], *cache[axis + 1 :]):
        raise c.error(f"update {list(update)} does not fit {list(cache)} along axis {axis}")
    count, size = update[axis], cache[axis]
    start = c.optional(2) or c.emit.constant(np.zeros(cache[0], np.int64))
    dtype = getattr(start.type, "dtype", "int64")
    table = (cache[0], count)
    steps = c.emit(ops.Iota(dtype, table, 1))
    at = c.emit(ops.Add(), expand_axes(c.emit, start, (1,)), steps)
    if c.attr("mode", "linear") == "circular":
        at = c.emit(ops.Mod(), at, c.emit.constant(size, dtype))
    else:
        c.check(c.emit(ops.InRange(0, size), at), f"an update leaves the {size} steps of the cache")
    ones = tuple(n if k in (0, axis) else 1 for k, n in enumerate(update))
    wide = c.emit(ops.BroadcastTo(update), c.emit(ops.Reshape(ones), at))
    return c.emit(ops.ScatterElements(axis), c.operand(0), wide, c.operand(1))


def scalar(c: Conversion, position: int) -> Value:
    """Return an operand of one element without its axes."""
    return (
        c.emit(ops.Reshape(()), c.operand(position)) if c.shape(position) else c.operand(position)
    )


def dims_of(value: Value) -> tuple[int, ...]:
    """Return the shape of a value that was just emitted."""
    assert isinstance(value.type, TensorType)
    return value.type.dims
