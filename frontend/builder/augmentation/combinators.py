# SPDX-License-Identifier: MIT
"""Augmentations made of others, and the switch that turns them off."""

from __future__ import annotations

from ....errors import LayerError
from ..tensor import Layer, Tensor
from .drawing import Draws, Range, at_least, probability_of, select, split
from .fields import Augmentation, Fields

_UNIT: Range = (0.0, 1.0)


def sequence(*augmentations: Augmentation) -> Augmentation:
    """Apply augmentations one after the other, each with numbers of its own.

    One more at the end changes nothing of what those before draw.

    >>> from ranvier.frontend.builder import augmentation, input
    >>> both = augmentation.sequence(augmentation.flip(), augmentation.random_crop(6))
    >>> fields = {"image": input("image", (2, 1, 8, 8))}
    >>> both(fields, input("key", (2, 4), "uint32"))["image"].shape
    (2, 1, 6, 6)
    """

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        result = dict(fields)
        for number, augmentation in enumerate(augmentations):
            result = augmentation(result, None if keys is None else split(keys, number))
        return result

    return augment


def maybe(augmentation: Augmentation, probability: float = 0.5) -> Augmentation:
    """Apply an augmentation to some samples; it must not change shapes.

    All samples are augmented, and what was not chosen is left out: compiled code has no
    branches within a batch.

    Raises:
        LayerError: the probability is none; when applied, a shape changes.
    """
    probability_of("maybe", probability)

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return augmentation(fields, None)
        layer = Layer.begin("maybe")
        chosen = Draws(layer, keys).true(0, probability)
        return _selected(layer, chosen, augmentation(fields, split(keys, 0)), fields)

    return augment


def one_of(*augmentations: Augmentation) -> Augmentation:
    """Apply one of several augmentations to each sample, all equally likely.

    All of them are computed, see :func:`maybe`.

    Raises:
        LayerError: there are none; when applied, their results differ in shape.
    """
    if not augmentations:
        raise LayerError("one_of: needs augmentations to choose from")

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return augmentations[0](fields, None)
        layer = Layer.begin("one_of")
        drawn = Draws(layer, keys).uniform(0, _UNIT)
        result = augmentations[0](fields, split(keys, 0))
        for number, augmentation in enumerate(augmentations[1:], 1):
            other = augmentation(fields, split(keys, number))
            chosen = at_least(drawn, number / len(augmentations))
            result = _selected(layer, chosen, other, result)
        return result

    return augment


def switched(augmentation: Augmentation, active: Tensor) -> Augmentation:
    """Augment where ``active`` holds, else do what is done without keys.

    One compiled graph thus serves training and evaluation. It computes both; a graph that is
    made without keys costs less.

    Args:
        augmentation: what is turned on and off.
        active: bool () for the batch or (N,) for each sample, for example an input.

    Raises:
        LayerError: ``active`` is something else.
    """
    if active.dtype != "bool" or active.rank > 1:
        raise LayerError(f"switched: active must be bool () or (N,), found {active.type}")

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        plain = augmentation(fields, None)
        if keys is None:
            return plain
        return _selected(Layer.begin("switched"), active, augmentation(fields, keys), plain)

    return augment


def _selected(layer: Layer, chosen: Tensor, yes: Fields, no: Fields) -> dict[str, Tensor]:
    if yes.keys() != no.keys():
        raise layer.error(f"chooses between fields {sorted(yes)} and {sorted(no)}")
    return {name: select(layer, chosen, x, no[name]) for name, x in yes.items()}


__all__ = ["maybe", "one_of", "sequence", "switched"]
