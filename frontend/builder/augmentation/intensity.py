# SPDX-License-Identifier: MIT
"""Brightness, contrast, gamma, and the values that a network wants to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ....errors import LayerError
from ....ir import TensorType, numpy_dtype, ops
from ..tensor import Constant, Layer, Tensor, constant
from .drawing import Draws, Range, checked, column
from .fields import IMAGE, Augmentation, Fields, with_image


def changed(kind: str, change: Callable[[Layer, Draws, Tensor], Tensor]) -> Augmentation:
    """Return the augmentation that changes the image at random and nothing without keys.

    Args:
        kind: what it is called in messages.
        change: from the image to the changed one.
    """

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin(kind)
        return with_image(layer, fields, lambda x: change(layer, Draws(layer, keys), x))

    return augment


def brightness(amount: Range = (-0.1, 0.1)) -> Augmentation:
    """Add a number to the image, drawn for each sample."""
    checked("brightness: amount", amount)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        return x + column(draws.uniform(0, amount), x.rank)

    return changed("brightness", change)


def contrast(factor: Range = (0.8, 1.25)) -> Augmentation:
    """Multiply the image's distance from its mean by a factor, drawn for each sample."""
    checked("contrast: factor", factor, 0)

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        return stretched(layer, x, x, column(draws.uniform(0, factor), x.rank))

    return changed("contrast", change)


def stretched(layer: Layer, x: Tensor, of: Tensor, factor: Tensor) -> Tensor:
    """Return ``x * factor + mean * (1 - factor)`` with the mean of all elements of a sample."""
    mean = layer.apply(ops.ReduceMean(tuple(range(1, of.rank))), of)
    return x * factor + column(mean, x.rank) * (1 - factor)


def gamma(exponent: Range = (0.8, 1.25), low: float = 0.0, high: float = 1.0) -> Augmentation:
    """Raise the image, taken as shares of ``low`` to ``high``, to a power drawn for each sample.

    What lies outside is moved to the bound.

    Raises:
        LayerError: exponents are not above 0, or ``low`` is not below ``high``.
    """
    checked("gamma: exponent", exponent, 1e-6)
    if not low < high:
        raise LayerError(f"gamma: low={low} must be below high={high}")

    def change(layer: Layer, draws: Draws, x: Tensor) -> Tensor:
        unit = (x - low) / (high - low)
        unit = layer.apply(ops.Maximum(), unit, constant(0, x))
        unit = layer.apply(ops.Minimum(), unit, constant(1, x))
        power = layer.apply(ops.Pow(), unit, column(draws.uniform(0, exponent), x.rank))
        return power * (high - low) + low

    return changed("gamma", change)


def normalize(mean: Sequence[float] | float, deviation: Sequence[float] | float) -> Augmentation:
    """Return ``(image - mean) / deviation`` with or without keys, numbers per channel or one.

    Raises:
        LayerError: a deviation is not positive; when applied, numbers do not fit the channels.
    """
    offsets, scales = (np.atleast_1d(np.asarray(x, np.float64)) for x in (mean, deviation))
    if (scales <= 0).any():
        raise LayerError(f"normalize: deviation={deviation} must be positive")

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        layer = Layer.begin("normalize")

        def per_channel(
            x: Tensor, numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
        ) -> Tensor:
            if len(numbers) not in (1, x.shape[1]):
                raise layer.error(f"{len(numbers)} numbers do not fit the channels of {x.type}")
            shape = (len(numbers), *(1,) * (x.rank - 2))
            array = numbers.astype(numpy_dtype(x.dtype)).reshape(shape)
            return Tensor(TensorType(x.dtype, shape), Constant(array))

        return with_image(
            layer, fields, lambda x: (x - per_channel(x, offsets)) / per_channel(x, scales)
        )

    return augment


def to_float(scale: float = 1 / 255) -> Augmentation:
    """Convert the image to float32 and scale it, with or without keys.

    Batches of bytes are four times smaller on their way to the graph.
    """

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        layer = Layer.begin("to_float")
        if IMAGE not in fields:
            raise layer.error(f"found no field 'image' among {sorted(fields)}")
        return {**fields, IMAGE: layer.apply(ops.Cast("float32"), fields[IMAGE]) * scale}

    return augment


__all__ = ["brightness", "changed", "contrast", "gamma", "normalize", "stretched", "to_float"]
