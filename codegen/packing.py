# SPDX-License-Identifier: MIT
"""Operands rearranged into the order in which kernels read them: the recipes, for constants.

Computed operands are packed by kernels instead, see :mod:`.templates.pack`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..ir.types import Array
from .filtering import filter_transform

Recipe: TypeAlias = Callable[..., Array]
_RECIPES: dict[str, Recipe] = {}


@dataclass(frozen=True)
class Packing:
    """A named way to rearrange a constant: same name and arguments, same bytes.

    Attributes:
        recipe: name of a registered function.
        arguments: its arguments after the array.
    """

    recipe: str
    arguments: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.recipe}({', '.join(map(str, self.arguments))})"

    @classmethod
    def parse(cls, text: str) -> Packing:
        """Return the packing whose text this is.

        >>> Packing.parse("convolution(16)")
        Packing(recipe='convolution', arguments=(16,))
        """
        name, _, rest = text.partition("(")
        numbers = rest.rstrip(")")
        return cls(name, tuple(int(n) for n in numbers.split(",")) if numbers else ())

    def __call__(self, array: Array) -> Array:
        """Return the packed array."""
        return _RECIPES[self.recipe](array, *self.arguments)


def recipe(function: Recipe) -> Recipe:
    """Register the decorated function under its name."""
    if function.__name__ in _RECIPES:
        raise ValueError(f"two packing recipes are called {function.__name__!r}")
    _RECIPES[function.__name__] = function
    return function


@recipe
def convolution(weights: Array, block: int) -> Array:
    """Return convolution weights (O, C, K...) as (O / block, K..., C, block), zeros at the end.

    >>> convolution(np.float32([[[1, 2]], [[3, 4]], [[5, 6]]]), 2).tolist()
    [1.0, 3.0, 2.0, 4.0, 5.0, 0.0, 6.0, 0.0]
    """
    outputs, channels, *window = weights.shape
    blocks = -(-outputs // block)
    padded = _padded(weights, 0, blocks * block).reshape(blocks, block, channels, *window)
    order = (0, *range(3, padded.ndim), 2, 1)
    return np.ascontiguousarray(padded.transpose(order)).reshape(-1)


@recipe
def channels_innermost(weights: Array) -> Array:
    """Return convolution weights (O, C, K...) as (K..., O, C).

    >>> channels_innermost(np.float32([[[1, 2], [3, 4]]])).tolist()
    [1.0, 3.0, 2.0, 4.0]
    """
    order = (*range(2, weights.ndim), 0, 1)
    return np.ascontiguousarray(weights.transpose(order)).reshape(-1)


@recipe
def outputs_innermost(weights: Array) -> Array:
    """Return convolution weights (O, C, K...) as (K..., C, O).

    >>> outputs_innermost(np.float32([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])).tolist()
    [1.0, 5.0, 3.0, 7.0, 2.0, 6.0, 4.0, 8.0]
    """
    order = (*range(2, weights.ndim), 1, 0)
    return np.ascontiguousarray(weights.transpose(order)).reshape(-1)


@recipe
def matrix(weights: Array, block: int) -> Array:
    """Return a matrix (..., K, N) as (N / block, K, block), zeros at the end.

    >>> matrix(np.float32([[1, 2, 3], [4, 5, 6]]), 2).tolist()
    [1.0, 2.0, 4.0, 5.0, 3.0, 0.0, 6.0, 0.0]
    """
    depth, columns = weights.shape[-2:]
    blocks = -(-columns // block)
    padded = _padded(weights.reshape(depth, columns), 1, blocks * block)
    split = padded.reshape(depth, blocks, block)
    return np.ascontiguousarray(split.transpose(1, 0, 2)).reshape(-1)


@recipe
def winograd(weights: Array, m: int, block: int, group: int) -> Array:
    """Return weights (O, C, [D,] 3, 3) as (O / block / group, P, group, D, C, block).

    P counts the values of a filter at the (m + 2)**2 points; they are computed in float64.
    ``O / block``, rounded up, is a multiple of ``group``; the filters that are not there are zeros.

    >>> winograd(np.ones((1, 2, 3, 3), np.float32), 2, 2, 1).reshape(16, 2, 2)[5].tolist()
    [[2.25, 0.0], [2.25, 0.0]]
    """
    outputs, channels = weights.shape[:2]
    blocks = -(-outputs // block)
    taps = _padded(weights, 0, blocks * block).reshape(
        blocks // group, group, block, channels, -1, 9
    )
    ordered = taps.transpose(0, 5, 1, 4, 3, 2).astype(np.float64)
    transform = filter_transform(m)
    result = np.empty((blocks // group, len(transform), ordered[0, 0].size), np.float32)
    for k, part in enumerate(ordered):
        result[k] = transform @ part.reshape(9, -1)
    return result.reshape(-1)


def _padded(array: Array, axis: int, size: int) -> Array:
    if array.shape[axis] == size:
        return array
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


__all__ = [
    "Packing",
    "Recipe",
    "channels_innermost",
    "convolution",
    "matrix",
    "outputs_innermost",
    "recipe",
    "winograd",
]
