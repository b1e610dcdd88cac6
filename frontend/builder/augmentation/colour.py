# SPDX-License-Identifier: MIT
"""Colours of images of three channels."""

from __future__ import annotations

import math

from ....ir import ops
from ..tensor import Layer, Tensor
from .drawing import Draws, Range, checked, column, probability_of, select
from .fields import Augmentation
from .intensity import changed, stretched

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def colour_jitter(
    brightness: Range = (0.8, 1.25),
    contrast: Range = (0.8, 1.25),
    saturation: Range = (0.8, 1.25),
    hue: Range = (-10.0, 10.0),
) -> Augmentation:
    """Change brightness, contrast, saturation and hue, in this order, by numbers per sample.

    The first three are factors: of the image, of its distance from its mean grey, of its
    distance from its grey. The hue is turned about the axis of greys, by degrees; 120 make red
    green and green blue.

    Raises:
        LayerError: a factor is negative; when applied, the image has not three channels.
    """
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for what, range in factors.items():
        checked(f"colour_jitter: {what}", range, 0)
    checked("colour_jitter: hue", hue)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        bright, stretch, vivid = (
            column(draws.uniform(k, range), x.rank) for k, range in enumerate(factors.values())
        )
        x = x * bright
        x = stretched(layer, x, grey_of(layer, x), stretch)
        x = x * vivid + grey_of(layer, x) * (1 - vivid)
        return _turned(layer, x, column(draws.uniform(3, hue), x.rank) * (math.pi / 180))

    return changed("colour_jitter", change)


def greyscale(probability: float = 0.1) -> Augmentation:
    """Take the colours from some images of three channels."""
    probability_of("greyscale", probability)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        grey = layer.apply(ops.BroadcastTo(x.shape), grey_of(layer, x))
        return select(layer, draws.true(0, probability), grey, x)

    return changed("greyscale", change)


def grey_of(layer: Layer, x: Tensor) -> Tensor:
    """Return the grey of colours (N, 1, spatial...)."""
    red, green, blue = _channels(layer, x)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def _channels(layer: Layer, x: Tensor) -> list[Tensor]:
    if x.shape[1] != 3:
        raise layer.error(f"needs the three channels of colours, found {x.type}")
    parts = []
    for k in range(3):
        starts = tuple(k if axis == 1 else 0 for axis in range(x.rank))
        stops = tuple(k + 1 if axis == 1 else n for axis, n in enumerate(x.shape))
        parts.append(layer.apply(ops.Slice(starts, stops, (1,) * x.rank), x))
    return parts


def _turned(layer: Layer, x: Tensor, angle: Tensor) -> Tensor:
    """Return colours turned about (1, 1, 1), by Rodrigues' formula."""
    parts = _channels(layer, x)
    cosine, sine = (layer.apply(op, angle) for op in (ops.Cos(), ops.Sin()))
    along = (parts[0] + parts[1] + parts[2]) * (1 / 3) * (1 - cosine)
    across = sine * math.sqrt(1 / 3)
    turned = [
        parts[k] * cosine + along + (parts[(k + 2) % 3] - parts[(k + 1) % 3]) * across
        for k in range(3)
    ]
    return layer.apply(ops.Concat(1), *turned)


__all__ = ["colour_jitter", "greyscale"]
