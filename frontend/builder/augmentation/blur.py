# SPDX-License-Identifier: MIT
"""Smoothing, by another width for every sample."""

from __future__ import annotations

import math

import numpy as np

from ....ir import TensorType, ops
from ..tensor import Constant, Layer, Tensor, constant
from .drawing import Draws, Range, checked
from .fields import Augmentation
from .intensity import changed


def gaussian_blur(deviation: Range = (0.0, 1.5)) -> Augmentation:
    """Smooth the image by a Gaussian whose deviation is drawn for each sample.

    Weights are cut off at three times the largest deviation and add up to 1; the image goes on
    beyond its border as in a mirror.

    Units: deviation in elements of the image.
    """
    checked("gaussian_blur: deviation", deviation, 0)
    radius = max(1, math.ceil(3 * deviation[1]))

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        weights = _weights(layer, draws.uniform(0, deviation), radius)
        for axis in range(2, x.rank):
            x = _smoothed(layer, x, axis, weights, radius)
        return x

    return changed("gaussian_blur", change)


def _weights(layer: Layer, deviation: Tensor, radius: int) -> Tensor:
    """Return (N, 2 radius + 1)."""
    squares = np.arange(-radius, radius + 1, dtype=np.float32)[None] ** 2
    distance = Tensor(TensorType("float32", squares.shape), Constant(squares))
    # With a deviation of 0, all weights but the middle one vanish.
    width = layer.apply(ops.Maximum(), deviation, constant(1e-3, deviation))
    column = layer.apply(ops.Reshape((width.shape[0], 1)), width * width * -2.0)
    bell = layer.apply(ops.Exp(), distance / column)
    total = layer.apply(ops.ReduceSum((1,)), bell)
    return bell / layer.apply(ops.Reshape((width.shape[0], 1)), total)


def _smoothed(layer: Layer, x: Tensor, axis: int, weights: Tensor, radius: int) -> Tensor:
    border = tuple(radius if k == axis else 0 for k in range(x.rank))
    wide = layer.apply(ops.Pad(border, border, "reflect"), x)
    total: Tensor | None = None
    for tap in range(2 * radius + 1):
        starts = tuple(tap if k == axis else 0 for k in range(x.rank))
        stops = tuple(a + n for a, n in zip(starts, x.shape, strict=True))
        part = layer.apply(ops.Slice(starts, stops, (1,) * x.rank), wide)
        cut = ops.Slice((0, tap), (x.shape[0], tap + 1), (1, 1))
        weight = layer.apply(cut, weights)
        weight = layer.apply(ops.Reshape((x.shape[0], *(1,) * (x.rank - 1))), weight)
        total = part * weight if total is None else total + part * weight
    assert total is not None
    return total


__all__ = ["gaussian_blur"]
