# SPDX-License-Identifier: MIT
"""Samples mixed with others of their batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import LayerError
from ....ir import Array, TensorType, ops
from ....ir.types import FLOATS
from ..tensor import Constant, Layer, Tensor, constant
from .drawing import Draws, column
from .fields import Augmentation, Fields

_STEPS = 1024


def mixup(alpha: float = 0.2, names: Sequence[str] = ("image", "label")) -> Augmentation:
    """Mix every sample with the one before it in the batch, the first with the last.

    ``w * x[n] + (1 - w) * x[n - 1]`` for every named field, with ``w`` of the distribution
    Beta(alpha, alpha), by the key of sample ``n``. What a sample is mixed with depends on the
    batch that the graph is given: the same batches give the same images.

    Args:
        alpha: above 0; small numbers mostly leave samples nearly as they are.
        names: fields that are mixed: the image and what is to be found out, in shares of
            classes.

    Raises:
        LayerError: alpha is not positive; when applied, a field is absent or not floats.

    References:
        Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018.
    """
    if not 0.05 <= alpha <= 100:
        raise LayerError(f"mixup: alpha={alpha} must be from 0.05 to 100")
    table = beta_quantiles(alpha, _STEPS)

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("mixup")
        share = _looked_up(layer, Draws(layer, keys).uniform(0, (0.0, float(_STEPS))), table)
        result = dict(fields)
        for name in names:
            if name not in fields:
                raise layer.error(f"found no field '{name}' among {sorted(fields)}")
            x = fields[name]
            if x.dtype not in FLOATS:
                raise layer.error(
                    f"'{name}' is {x.type}; only floats can be mixed: give labels as shares of "
                    "classes (one-hot)"
                )
            part = column(share, x.rank)
            result[name] = x * part + _neighbours(layer, x) * (1 - part)
        return result

    return augment


def _neighbours(layer: Layer, x: Tensor) -> Tensor:
    """Return the batch turned by one sample."""
    if x.shape[0] == 1:
        return x
    rest = tuple(x.shape[1:])
    ones = (1,) * x.rank
    zeros = (0,) * (x.rank - 1)
    last = layer.apply(ops.Slice((x.shape[0] - 1, *zeros), x.shape, ones), x)
    others = layer.apply(ops.Slice((0, *zeros), (x.shape[0] - 1, *rest), ones), x)
    return layer.apply(ops.Concat(0), last, others)


def _looked_up(layer: Layer, position: Tensor, table: Array) -> Tensor:
    """Return the entries of a table at positions, interpolated."""
    # A number just below the last position may have been rounded up to it.
    below = layer.apply(ops.Floor(), position)
    below = layer.apply(ops.Minimum(), below, constant(len(table) - 2, below))
    index = layer.apply(ops.Cast("int32"), below)
    first, second = (
        layer.apply(ops.Gather(0), Tensor(TensorType("float32", part.shape), Constant(part)), index)
        for part in (table[:-1], table[1:])
    )
    return first + (second - first) * (position - below)


def beta_quantiles(alpha: float, steps: int) -> Array:
    """Return what a number of Beta(alpha, alpha) stays below with probability 0, 1/steps... 1.

    >>> beta_quantiles(1.0, 4).round(4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    # The density of x has a pole at 0 if alpha < 1. With x = s**(1/p) that of s is
    # s**(alpha/p - 1) * (1 - x)**(alpha - 1), up to a factor, which for this p has none.
    p = min(alpha, 1.0)
    s = np.linspace(0, 0.5**p, 20_001)
    density = s ** (alpha / p - 1) * (1 - s ** (1 / p)) ** (alpha - 1)
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    cumulated *= 0.5 / cumulated[-1]
    half = np.linspace(0, 0.5, steps // 2 + 1)
    lower = np.interp(half, cumulated, s) ** (1 / p)
    return np.concatenate([lower, 1 - lower[-2::-1]]).astype(np.float32)


__all__ = ["beta_quantiles", "mixup"]
