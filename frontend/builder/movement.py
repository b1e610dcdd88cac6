# SPDX-License-Identifier: MIT
"""Layers that move elements without changing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...ir import ops
from .tensor import Layer, Tensor


def reshape(x: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
    """Return ``x`` in another shape, one size of which may be -1 for what is left.

    Raises:
        LayerError: the numbers of elements differ.

    >>> from ranvier.frontend import builder as nn
    >>> nn.reshape(nn.input("x", (2, 3, 4)), (2, -1)).shape
    (2, 12)
    """
    layer = Layer.begin("reshape", name)
    known = math.prod(n for n in shape if n != -1)
    if list(shape).count(-1) > 1 or known < 1 or x.type.size % known:
        raise layer.error(f"{x.type} does not fit the shape {list(shape)}")
    target = tuple(x.type.size // known if n == -1 else n for n in shape)
    return layer.apply(ops.Reshape(target), x)


def flatten(x: Tensor, start: int = 1, *, name: str | None = None) -> Tensor:
    """Return ``x`` with the axes from ``start`` on made into one."""
    return reshape(x, (*x.shape[:start], -1), name=name)


def transpose(x: Tensor, permutation: Sequence[int], *, name: str | None = None) -> Tensor:
    """Return ``x`` with its axes in the order of ``permutation``."""
    return Layer.begin("transpose", name).apply(ops.Transpose(tuple(permutation)), x)


def broadcast(x: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
    """Return ``x`` repeated along axes of size 1."""
    return Layer.begin("broadcast", name).apply(ops.BroadcastTo(tuple(shape)), x)


def concat(tensors: Sequence[Tensor], axis: int = 1, *, name: str | None = None) -> Tensor:
    """Return tensors joined along an axis, by default the channels.

    Raises:
        LayerError: there is nothing to join, or other sizes differ.
    """
    layer = Layer.begin("concat", name)
    if not tensors:
        raise layer.error("there are no tensors to join")
    return layer.apply(ops.Concat(layer.axis(axis, tensors[0])), *tensors)


def split(x: Tensor, parts: int, axis: int = -1, *, name: str | None = None) -> list[Tensor]:
    """Return equal parts of ``x`` along an axis.

    Raises:
        LayerError: the size is no multiple of ``parts``.
    """
    layer = Layer.begin("split", name)
    size = x.shape[layer.axis(axis, x)]
    if parts < 1 or size % parts:
        raise layer.error(f"axis {axis} of {x.type} does not split into {parts} equal parts")
    step = size // parts
    return [_cut(layer, x, axis, k * step, (k + 1) * step) for k in range(parts)]


def crop(
    x: Tensor, axis: int, start: int, stop: int, *, step: int = 1, name: str | None = None
) -> Tensor:
    """Return every ``step``-th element of an axis from ``start`` until before ``stop``.

    Raises:
        LayerError: not all of them exist.

    >>> from ranvier.frontend import builder as nn
    >>> nn.crop(nn.input("x", (1, 8)), 1, 1, 8, step=2).shape
    (1, 4)
    """
    return _cut(Layer.begin("crop", name), x, axis, start, stop, step)


def pad(
    x: Tensor,
    low: Sequence[int],
    high: Sequence[int],
    *,
    value: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Return ``x`` with elements around it: ``low`` before and ``high`` after, on every axis."""
    op = ops.Pad(tuple(low), tuple(high), "constant", value)
    return Layer.begin("pad", name).apply(op, x)


def _cut(layer: Layer, x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    at = layer.axis(axis, x)
    starts, stops, steps = [0] * x.rank, list(x.shape), [1] * x.rank
    starts[at], stops[at], steps[at] = start, stop, step
    return layer.apply(ops.Slice(tuple(starts), tuple(stops), tuple(steps)), x)
