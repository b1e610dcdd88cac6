# SPDX-License-Identifier: MIT
"""What an augmentation is given and returns, and which of it is moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from ....errors import LayerError
from ....ir import ops
from ....ir.types import FLOATS
from ..tensor import Layer, Tensor

Fields: TypeAlias = Mapping[str, Tensor]
"""Fields of a batch by name: ``image`` (N, C, spatial...), perhaps ``mask``, and others."""
Augmentation: TypeAlias = Callable[[Fields, "Tensor | None"], dict[str, Tensor]]
"""From the fields of a batch and the keys of its samples to changed fields.

Without keys (``None``) nothing is random: the image stays as it is, or has the shape that
training gives it, such as a crop from its middle.
"""

IMAGE, MASK = "image", "mask"


def image_of(layer: Layer, fields: Fields) -> Tensor:
    """Return the image.

    Raises:
        LayerError: there is none, or it is not floats (N, C, spatial...).
    """
    if IMAGE not in fields:
        raise layer.error(
            f"found no field 'image' among {sorted(fields)}; see augmentation.renamed"
        )
    image = fields[IMAGE]
    if image.rank < 3 or image.dtype not in FLOATS:
        raise layer.error(
            f"'image' must be floats (batch, channels, spatial...), found {image.type}"
        )
    return image


def with_image(
    layer: Layer, fields: Fields, change: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return the fields with a changed image."""
    return {**fields, IMAGE: change(image_of(layer, fields))}


def moved(
    layer: Layer, fields: Fields, move: Callable[[Tensor, bool], Tensor]
) -> dict[str, Tensor]:
    """Return the fields with the image and the mask, if there is one, moved alike.

    Args:
        layer: the augmentation.
        fields: of a batch. A mask is (N, C, spatial...) or (N, spatial...), of any type.
        move: from a tensor with channels, and whether it is a mask, to the moved one.

    Raises:
        LayerError: image and mask do not have the same spatial sizes.
    """
    image = image_of(layer, fields)
    result = {**fields, IMAGE: move(image, False)}
    if MASK not in fields:
        return result
    mask = fields[MASK]
    spatial = image.shape[2:]
    if mask.shape[0] != image.shape[0] or mask.shape[-len(spatial) :] != spatial:
        raise layer.error(f"'mask' {mask.type} does not lie on 'image' {image.type}")
    if mask.rank == image.rank:
        result[MASK] = move(mask, True)
    elif mask.rank == image.rank - 1:
        result[MASK] = _without_channels(layer, mask, move)
    else:
        raise layer.error(f"'mask' {mask.type} must have the axes of {image.type}, or no channels")
    return result


def _without_channels(layer: Layer, mask: Tensor, move: Callable[[Tensor, bool], Tensor]) -> Tensor:
    n, *spatial = mask.shape
    done = move(layer.apply(ops.Reshape((n, 1, *spatial)), mask), True)
    return layer.apply(ops.Reshape((n, *done.shape[2:])), done)


def renamed(
    augmentation: Augmentation, *, image: str = IMAGE, mask: str | None = None
) -> Augmentation:
    """Return an augmentation of fields that are called otherwise.

    Args:
        augmentation: which works on ``image`` and ``mask``.
        image: the field that is the image.
        mask: the field that is the mask; without one, none is moved.

    >>> from ranvier.frontend.builder import augmentation, input
    >>> both = {"ct": input("ct", (2, 1, 4, 4)), "organ": input("organ", (2, 4, 4), "int64")}
    >>> flip = augmentation.renamed(augmentation.flip(), image="ct", mask="organ")
    >>> {name: str(x) for name, x in flip(both, input("key", (2, 4), "uint32")).items()}
    {'ct': 'float32[2, 1, 4, 4]', 'organ': 'int64[2, 4, 4]'}
    """
    names = {image: IMAGE} if mask is None else {image: IMAGE, mask: MASK}

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        absent = [name for name in names if name not in fields]
        if absent:
            raise LayerError(f"renamed: found no field '{absent[0]}' among {sorted(fields)}")
        done = augmentation({own: fields[name] for name, own in names.items()}, keys)
        return {**fields, **{name: done[own] for name, own in names.items()}}

    return augment


__all__ = ["Augmentation", "Fields", "image_of", "moved", "renamed", "with_image"]
