# SPDX-License-Identifier: MIT
"""Mirror images and quarter turns: every element is kept as it is."""

from __future__ import annotations

from ....ir import ops
from ..tensor import Layer, Tensor
from .drawing import Draws, probability_of, select
from .fields import Augmentation, Fields, moved


def flip(axis: int = -1, probability: float = 0.5) -> Augmentation:
    """Mirror image and mask along a spatial axis.

    Args:
        axis: counted from the last: -1 mirrors left and right, -2 top and bottom.
        probability: that a sample is mirrored.

    Raises:
        LayerError: the probability is none; when applied, the axis is not spatial.
    """
    probability_of("flip", probability)

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("flip")
        chosen = Draws(layer, keys).true(0, probability)

        def move(x: Tensor, is_mask: bool) -> Tensor:
            if not 2 - x.rank <= axis < 0:
                raise layer.error(f"axis={axis} must be a spatial one of {x.type}, from the end")
            return select(layer, chosen, layer.apply(ops.Reverse((x.rank + axis,)), x), x)

        return moved(layer, fields, move)

    return augment


def transpose(probability: float = 0.5) -> Augmentation:
    """Exchange the last two axes of image and mask, which must be of one size."""
    probability_of("transpose", probability)

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("transpose")
        chosen = Draws(layer, keys).true(0, probability)
        return moved(layer, fields, lambda x, _: select(layer, chosen, _exchanged(layer, x), x))

    return augment


def quarter_turns() -> Augmentation:
    """Turn image and mask by 0, 90, 180 or 270 degrees in the plane of their last two axes."""

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("quarter_turns")
        half, quarter = (Draws(layer, keys).true(k, 0.5) for k in range(2))

        def move(x: Tensor, is_mask: bool) -> Tensor:
            turned = layer.apply(ops.Reverse((x.rank - 2, x.rank - 1)), x)
            x = select(layer, half, turned, x)
            turned = layer.apply(ops.Reverse((x.rank - 2,)), _exchanged(layer, x))
            return select(layer, quarter, turned, x)

        return moved(layer, fields, move)

    return augment


def _exchanged(layer: Layer, x: Tensor) -> Tensor:
    if x.rank < 4 or x.shape[-1] != x.shape[-2]:
        raise layer.error(f"the last two axes must be of one size, found {x.type}")
    return layer.apply(ops.Transpose((*range(x.rank - 2), x.rank - 1, x.rank - 2)), x)


__all__ = ["flip", "quarter_turns", "transpose"]
