# SPDX-License-Identifier: MIT
"""Images sampled at points that differ from sample to sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir import TensorType, ops
from ..tensor import Constant, Layer, Tensor


@dataclass(frozen=True)
class Interpolation:
    """How an image is read between its elements; masks are always read at the nearest one.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        padding: what lies outside: ``zeros``, ``border`` or ``reflection``.
    """

    mode: str = "linear"
    padding: str = "zeros"


def positions(n: int, axis: int, rank: int, origin: float = 0.0) -> Tensor:
    """Return ``0, 1... n - 1`` less ``origin`` along a spatial axis: (1, 1... n ... 1).

    Args:
        n: the size of the axis.
        axis: its number among the spatial axes.
        rank: the number of spatial axes.
        origin: what is subtracted.
    """
    shape = tuple(n if k == axis + 1 else 1 for k in range(rank + 1))
    numbers = (np.arange(n) - origin).astype(np.float32).reshape(shape)
    return Tensor(TensorType("float32", shape), Constant(numbers))


def sampled(
    layer: Layer,
    x: Tensor,
    coordinates: Sequence[Tensor],
    size: Sequence[int],
    interpolation: Interpolation,
) -> Tensor:
    """Return ``x`` at points, one per element of the result.

    Args:
        layer: the augmentation.
        x: (N, C, spatial...).
        coordinates: of the points along each spatial axis, counted in elements of ``x``, each
            in a shape that broadcasts to (N, size...).
        size: spatial sizes of the result.
        interpolation: how ``x`` is read.
    """
    shape = (x.shape[0], *size)
    columns = [
        layer.apply(ops.Reshape((shape[0], math.prod(size), 1)), _spread(layer, c, shape))
        for c in coordinates
    ]
    points = layer.apply(ops.Concat(2), *columns)
    op = ops.SamplePoints(interpolation.mode, interpolation.padding, align_corners=False)
    return layer.apply(ops.Reshape((*x.shape[:2], *size)), layer.apply(op, x, points))


def _spread(layer: Layer, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.shape == shape else layer.apply(ops.BroadcastTo(shape), x)


def reading(interpolation: Interpolation, is_mask: bool) -> Interpolation:
    """Return how an image, or a mask, is read."""
    return Interpolation("nearest", interpolation.padding) if is_mask else interpolation


__all__ = ["Interpolation", "positions", "reading", "sampled"]
