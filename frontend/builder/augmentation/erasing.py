# SPDX-License-Identifier: MIT
"""Parts of the image that are hidden."""

from __future__ import annotations

from ....ir import ops
from ..tensor import Layer, Tensor, constant, sizes
from .crops import Sizes
from .drawing import Draws, Range, checked, column
from .fields import Augmentation, Fields, with_image
from .points import positions


def cutout(share: Range = (0.1, 0.3), value: float = 0.0) -> Augmentation:
    """Hide a box of the image whose middle may lie anywhere; the mask stays.

    Args:
        share: of each side of the image that the box takes, drawn per axis.
        value: what is seen instead.

    Raises:
        LayerError: the range leaves 0 to 1.

    References:
        DeVries and Taylor, Improved regularization of convolutional neural networks with
        cutout, 2017.
    """
    checked("cutout: share", share, 0, 1)

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("cutout")

        def change(image: Tensor) -> Tensor:
            draws, inside = Draws(layer, keys), None
            for k, n in enumerate(image.shape[2:]):
                near = _near(draws, k, n, share, image.rank - 2)
                inside = near if inside is None else layer.apply(ops.And(), inside, near)
            assert inside is not None
            box = layer.apply(ops.Reshape((inside.shape[0], 1, *inside.shape[1:])), inside)
            return layer.apply(ops.Select(), box, constant(value, image), image)

        return with_image(layer, fields, change)

    return augment


def _near(draws: Draws, k: int, n: int, share: Range, rank: int) -> Tensor:
    """Return which positions of an axis are less than half a side from the box's middle."""
    layer = draws.layer
    middle = draws.uniform(2 * k, (-0.5, n - 0.5))
    half = draws.uniform(2 * k + 1, share) * (n / 2)
    distance = layer.apply(ops.Abs(), positions(n, k, rank) - column(middle, rank + 1))
    return layer.apply(ops.Less(), distance, column(half, rank + 1))


def coarse_dropout(
    probability: Range = (0.02, 0.1),
    cell: Sizes = 8,
    value: float = 0.0,
    per_channel: bool = False,
) -> Augmentation:
    """Hide cells of a grid over the image, each by chance; the mask stays.

    Args:
        probability: that a cell is hidden; one is drawn for each sample.
        cell: size of a cell, one number or one per spatial axis.
        value: what is seen instead.
        per_channel: whether each channel hides other cells.

    Raises:
        LayerError: the range leaves 0 to 1.
    """
    checked("coarse_dropout: probability", probability, 0, 1)

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("coarse_dropout")

        def change(image: Tensor) -> Tensor:
            edge = sizes(layer, "cell", cell, image.rank - 2)
            if min(edge) < 1:
                raise layer.error(f"cell={list(edge)} must be positive")
            cells = [-(-n // m) for n, m in zip(image.shape[2:], edge, strict=True)]
            channels = image.shape[1] if per_channel else 1
            draws = Draws(layer, keys)
            chance = column(draws.uniform(0, probability), image.rank)
            hidden = draws.true(1, chance, channels, *cells)
            hidden = _enlarged(layer, hidden, edge, image.shape[2:])
            return layer.apply(ops.Select(), hidden, constant(value, image), image)

        return with_image(layer, fields, change)

    return augment


def _enlarged(layer: Layer, x: Tensor, factors: tuple[int, ...], target: tuple[int, ...]) -> Tensor:
    """Repeat every element along the spatial axes, and cut what is too much."""
    pairs = [(n, 1) for n in x.shape[2:]]
    columns = layer.apply(ops.Reshape((*x.shape[:2], *(n for p in pairs for n in p))), x)
    repeated = [(n, m) for n, m in zip(x.shape[2:], factors, strict=True)]
    wide = (*x.shape[:2], *(n for p in repeated for n in p))
    y = layer.apply(ops.BroadcastTo(wide), columns)
    y = layer.apply(ops.Reshape((*x.shape[:2], *(n * m for n, m in repeated))), y)
    stops = (*x.shape[:2], *target)
    return layer.apply(ops.Slice((0,) * len(stops), stops, (1,) * len(stops)), y)


__all__ = ["coarse_dropout", "cutout"]
