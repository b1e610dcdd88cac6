# SPDX-License-Identifier: MIT
"""Parts of images, and images with a border around them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ....ir import ops
from ..tensor import Layer, Number, Tensor, constant, sizes
from .drawing import Draws, Range, checked, column
from .fields import Augmentation, Fields, image_of, moved
from .points import Interpolation, positions, reading, sampled

Sizes = int | Sequence[int]


def random_crop(size: Sizes) -> Augmentation:
    """Cut a part out of image and mask, every place equally likely; without keys the middle.

    Args:
        size: of the part, one number or one per spatial axis.

    Raises:
        LayerError: when applied, the image is smaller.
    """

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        layer = Layer.begin("random_crop")
        image = image_of(layer, fields)
        target = sizes(layer, "size", size, image.rank - 2)
        spare = [n - m for n, m in zip(image.shape[2:], target, strict=True)]
        if min(spare) < 0:
            raise layer.error(f"size={list(target)} is larger than the image {image.type}")
        if keys is None:
            return moved(layer, fields, lambda x, _: _middle(layer, x, target))
        draws = Draws(layer, keys)
        points = [
            positions(m, k, len(target)) + column(_place(draws, k, n), len(target) + 1)
            for k, (m, n) in enumerate(zip(target, spare, strict=True))
        ]
        nearest = Interpolation("nearest", "border")
        return moved(layer, fields, lambda x, _: sampled(layer, x, points, target, nearest))

    return augment


def centre_crop(size: Sizes) -> Augmentation:
    """Cut the middle out of image and mask, with or without keys; see :func:`random_crop`."""
    crop = random_crop(size)
    return lambda fields, keys: crop(fields, None)


def _place(draws: Draws, stream: int, spare: int) -> Tensor:
    """Return whole numbers from 0 to ``spare``."""
    drawn = draws.uniform(stream, (0.0, spare + 1.0))
    # A product just below the bound may be rounded up to it.
    whole = draws.layer.apply(ops.Floor(), drawn)
    return draws.layer.apply(ops.Minimum(), whole, constant(spare, whole))


def _middle(layer: Layer, x: Tensor, target: Sequence[int]) -> Tensor:
    starts = (0, 0, *((n - m) // 2 for n, m in zip(x.shape[2:], target, strict=True)))
    shape = (*x.shape[:2], *target)
    stops = tuple(a + n for a, n in zip(starts, shape, strict=True))
    return layer.apply(ops.Slice(starts, stops, (1,) * x.rank), x)


def resized_crop(
    size: Sizes,
    share: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
    interpolation: Interpolation | None = None,
) -> Augmentation:
    """Cut a part of any size out of image and mask and resize it; without keys, the whole.

    The part has a drawn share of the image's area (or volume), and in its last two axes a drawn
    ratio of relative width to relative height (its logarithm is uniform); what would be larger
    than the image is as large as the image. Elements are read where the centres of the result's
    lie, so that a large part that is made small is not smoothed before.

    Args:
        size: of the result, one number or one per spatial axis.
        share: of the image, above 0.
        ratio: of width to height, above 0.
        interpolation: of the image; linear if left out.

    Raises:
        LayerError: a range is none.

    References:
        Szegedy et al., Going deeper with convolutions, CVPR 2015.
    """
    checked("resized_crop: share", share, 1e-6, 1)
    checked("resized_crop: ratio", ratio, 1e-6)
    how = interpolation or Interpolation(padding="border")

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        layer = Layer.begin("resized_crop")
        image = image_of(layer, fields)
        whole, target = image.shape[2:], sizes(layer, "size", size, image.rank - 2)
        if keys is None:
            parts = [_part(k, n, m, len(whole)) for k, (n, m) in _each(whole, target)]
        else:
            draws = Draws(layer, keys)
            lengths = _lengths(draws, share, ratio, len(whole))
            parts = [
                _drawn_part(draws, lengths[k], k, n, m, len(whole))
                for k, (n, m) in _each(whole, target)
            ]
        return moved(
            layer, fields, lambda x, mask: sampled(layer, x, parts, target, reading(how, mask))
        )

    return augment


def resized(size: Sizes, interpolation: Interpolation | None = None) -> Augmentation:
    """Resize image and mask, with or without keys; see :func:`resized_crop`."""
    crop = resized_crop(size, interpolation=interpolation)
    return lambda fields, keys: crop(fields, None)


def _each(whole: Sequence[int], target: Sequence[int]) -> list[tuple[int, tuple[int, int]]]:
    return list(enumerate(zip(whole, target, strict=True)))


def _lengths(draws: Draws, share: Range, ratio: Range, rank: int) -> list[Tensor]:
    """Return what part of each axis is taken, per sample."""
    layer = draws.layer
    part = draws.uniform(0, share)
    edge = layer.apply(ops.Pow(), part, constant(1 / rank, part))
    logarithm = draws.uniform(1, (math.log(ratio[0]) / 2, math.log(ratio[1]) / 2))
    stretch = layer.apply(ops.Exp(), logarithm)
    lengths = [edge] * rank
    if rank > 1:
        lengths[-2:] = [edge / stretch, edge * stretch]
    return [layer.apply(ops.Minimum(), x, constant(1, x)) for x in lengths]


def _drawn_part(draws: Draws, length: Tensor, k: int, n: int, m: int, rank: int) -> Tensor:
    """Return where the ``m`` elements of an axis are read if ``length`` of it is taken."""
    extent = length * n
    start = draws.uniform(2 + k, (0.0, 1.0)) * (n - extent)
    step = column(extent / m, rank + 1)
    return positions(m, k, rank, -0.5) * step + column(start - 0.5, rank + 1)


def _part(k: int, n: int, m: int, rank: int) -> Tensor:
    scale: Number = n / m
    return positions(m, k, rank, -0.5) * scale - 0.5


def pad_by(
    low: Sizes, high: Sizes | None = None, mode: str = "constant", value: float = 0.0
) -> Augmentation:
    """Put a border around image and mask, with or without keys.

    Args:
        low: elements before the first, one number or one per spatial axis.
        high: elements after the last; as many as ``low`` if it is left out.
        mode: ``constant``, ``edge``, ``reflect`` or ``wrap``.
        value: of a constant border of the image; that of a mask is 0.
    """

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        layer = Layer.begin("pad_by")
        rank = image_of(layer, fields).rank - 2
        before = (0, 0, *sizes(layer, "low", low, rank))
        after = before if high is None else (0, 0, *sizes(layer, "high", high, rank))

        def move(x: Tensor, is_mask: bool) -> Tensor:
            return layer.apply(ops.Pad(before, after, mode, 0 if is_mask else value), x)

        return moved(layer, fields, move)

    return augment


__all__ = ["centre_crop", "pad_by", "random_crop", "resized", "resized_crop"]
