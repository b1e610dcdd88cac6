# SPDX-License-Identifier: MIT
"""Noise that is added to the image or replaces some of it."""

from __future__ import annotations

import math

import numpy as np

from ....errors import LayerError
from ....ir import TensorType, ops
from ..tensor import Constant, Layer, Tensor, constant
from .drawing import Draws, Range, at_least, checked, column
from .fields import Augmentation
from .intensity import changed


def gaussian_noise(deviation: Range = (0.0, 0.1)) -> Augmentation:
    """Add normal numbers to the image; their deviation is drawn for each sample."""
    checked("gaussian_noise: deviation", deviation, 0)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        noise = draws.normal(1, *x.shape[1:])
        return x + noise * column(draws.uniform(0, deviation), x.rank)

    return changed("gaussian_noise", change)


def laplace_noise(deviation: Range = (0.0, 0.1)) -> Augmentation:
    """Add numbers of Laplace's distribution to the image, which is sharper than the normal one.

    ``-sign(u) log(1 - |u|) * deviation / sqrt(2)`` for ``u`` uniform between -1 and 1; the
    deviation is drawn for each sample.
    """
    checked("laplace_noise: deviation", deviation, 0)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        # In the middle of the steps of 24 random bits: never -1, 0 or 1.
        uniform = draws.uniform(1, (-1.0 + 2**-24, 1.0 + 2**-24), *x.shape[1:])
        away = layer.apply(ops.Abs(), uniform) * -1.0
        noise = layer.apply(ops.Sign(), uniform) * layer.apply(ops.Log1p(), away)
        scale = draws.uniform(0, deviation) * -math.sqrt(0.5)
        return x + noise * column(scale, x.rank)

    return changed("laplace_noise", change)


def poisson_noise(rate: Range = (0.0, 10.0), unit: float = 1 / 255) -> Augmentation:
    """Add counts of Poisson's distribution to the image; their mean is drawn for each sample.

    A count is the number of cumulated probabilities that a uniform number has reached, so the
    work per element grows with the highest mean.

    Args:
        rate: the mean count, at most 100.
        unit: what one count adds.
    """
    checked("poisson_noise: rate", rate, 0, 100)
    # Beyond this, counts have a probability that 24 random bits do not tell from 0.
    most = math.ceil(rate[1] + 6 * math.sqrt(rate[1]) + 6)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        cumulated = _poisson(layer, draws.uniform(0, rate), most)
        uniform = draws.uniform(1, (0.0, 1.0), math.prod(x.shape[1:]), 1)
        bounds = layer.apply(ops.Reshape((x.shape[0], 1, most)), cumulated)
        reached = layer.apply(ops.GreaterEqual(), uniform, bounds)
        numbers = layer.apply(ops.Cast("float32"), reached)
        count = layer.apply(ops.ReduceSum((2,)), numbers)
        return x + layer.apply(ops.Reshape(x.shape), count) * unit

    return changed("poisson_noise", change)


def _poisson(layer: Layer, rate: Tensor, most: int) -> Tensor:
    """Return the probabilities of at most 0, 1... counts (N, most)."""
    number = np.arange(most)
    factorial = np.array([math.lgamma(k + 1) for k in number])
    k, logarithm = (
        Tensor(TensorType("float32", (1, most)), Constant(a.astype(np.float32)[None]))
        for a in (number, factorial)
    )
    # So small that 0 counts are certain, and yet with a logarithm.
    mean = column(layer.apply(ops.Maximum(), rate, constant(1e-30, rate)), 2)
    exponent = k * layer.apply(ops.Log(), mean) - mean - logarithm
    return layer.apply(ops.CumSum(1), layer.apply(ops.Exp(), exponent))


def salt_and_pepper(
    share: Range = (0.0, 0.05),
    salt: float = 0.5,
    low: float = 0.0,
    high: float = 1.0,
    per_channel: bool = False,
) -> Augmentation:
    """Replace some elements of the image by ``high`` (salt), some by ``low`` (pepper).

    Args:
        share: of elements that are replaced; one is drawn for each sample.
        salt: share of salt among them; 1 for salt alone, 0 for pepper alone.
        low: the number of pepper.
        high: the number of salt.
        per_channel: whether channels are replaced each on its own.

    Raises:
        LayerError: a share leaves 0 to 1.
    """
    checked("salt_and_pepper: share", share, 0, 1)
    if not 0 <= salt <= 1:
        raise LayerError(f"salt_and_pepper: salt={salt} must be from 0 to 1")

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        channels = x.shape[1] if per_channel else 1
        replaced = draws.true(1, column(draws.uniform(0, share), x.rank), channels, *x.shape[2:])
        salted = at_least(draws.uniform(2, (0.0, 1.0), channels, *x.shape[2:]), 1 - salt)
        grain = layer.apply(ops.Select(), salted, constant(high, x), constant(low, x))
        return layer.apply(ops.Select(), replaced, grain, x)

    return changed("salt_and_pepper", change)


__all__ = ["gaussian_noise", "laplace_noise", "poisson_noise", "salt_and_pepper"]
