# SPDX-License-Identifier: MIT
"""The padding of sliding windows as ONNX states it."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.ops.sliding import span
from ..convert import Conversion

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """Steps and padding per spatial axis.

    Attributes:
        excess: how much of ``high`` only serves windows that ``ceil_mode`` adds.
    """

    window: Ints
    strides: Ints
    dilation: Ints
    low: Ints
    high: Ints
    excess: Ints


def stated(c: Conversion, name: str, count: int, default: int) -> Ints:
    """Return an attribute with one integer per spatial axis."""
    values = tuple(c.attr(name, (default,) * count))
    if len(values) != count:
        raise c.error(f"{name}={list(values)} must have {count} entries")
    return values


def geometry(c: Conversion, size: Ints, window: Ints | None = None) -> Geometry:
    """Return how the operator's window moves over data of ``size``.

    Args:
        c: the node.
        size: spatial sizes of the data.
        window: size of the window, by default the attribute ``kernel_shape``.
    """
    rank = len(size)
    shape = stated(c, "kernel_shape", rank, 0)
    if window is None:
        window = shape
    elif c.has("kernel_shape") and shape != window:
        raise c.error(f"kernel_shape={list(shape)} is not that of the weights, {list(window)}")
    if min(window, default=1) < 1:
        raise c.error(f"kernel_shape={list(window)} must be positive")
    strides, dilation = stated(c, "strides", rank, 1), stated(c, "dilations", rank, 1)
    if min((*strides, *dilation), default=1) < 1:
        raise c.error(f"strides={list(strides)} and dilations={list(dilation)} must be positive")
    low, high = _padding(c, size, tuple(map(span, window, dilation)), strides)
    g = Geometry(window, strides, dilation, low, high, (0,) * rank)
    return _rounded_up(g, size) if c.attr("ceil_mode", 0) else g


def _padding(c: Conversion, size: Ints, reach: Ints, strides: Ints) -> tuple[Ints, Ints]:
    mode, rank = c.attr("auto_pad", "NOTSET"), len(size)
    if mode == "NOTSET":
        pads = stated(c, "pads", 2 * rank, 0)
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    total = [
        max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(size, reach, strides, strict=True)
    ]
    return split(c, mode, total)


def split(c: Conversion, mode: str, total: list[int]) -> tuple[Ints, Ints]:
    """Share out padding: an odd element goes to the end, or to the beginning."""
    less, more = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise c.error(f"auto_pad is {mode!r}, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def _rounded_up(g: Geometry, size: Ints) -> Geometry:
    """Round the number of positions up, without windows that start after data and padding."""
    high, excess = [], []
    for n, k, s, d, before, after in zip(
        size, g.window, g.strides, g.dilation, g.low, g.high, strict=True
    ):
        count = -(-(n + before + after - span(k, d)) // s) + 1
        if (count - 1) * s >= n + before:
            count -= 1
        needed = (count - 1) * s + span(k, d) - n - before
        high.append(needed)
        excess.append(max(needed - after, 0))
    return Geometry(g.window, g.strides, g.dilation, g.low, tuple(high), tuple(excess))
