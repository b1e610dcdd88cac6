# SPDX-License-Identifier: MIT
"""Random numbers of samples, and choices by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ....errors import LayerError
from ....ir import ops
from ..tensor import Layer, Tensor, constant

Range: TypeAlias = tuple[float, float]
"""The lowest and the highest of what is drawn, all between equally likely."""

_SPLIT = 2**31
"""Streams from here on make keys; those below are for numbers."""


def split(keys: Tensor, number: int) -> Tensor:
    """Return other keys, one per key: for the user of this number among several.

    The numbers drawn by the new keys are independent of those drawn by the old ones and by the
    keys of other users, so that an augmentation within another needs to know nothing of it.

    Shapes: keys and result uint32 (N, 4).

    References:
        Claessen and Palka, Splittable pseudorandom number generators using cryptographic
        hashing, Haskell 2013.
    """
    return Layer.begin("keys").apply(ops.RowBits((4,), _SPLIT + number), keys)


@dataclass(frozen=True)
class Draws:
    """Draws numbers for an augmentation: one row per sample, streams told apart by a number.

    Attributes:
        layer: what the numbers are for.
        keys: uint32 (N, 4), of the samples.
    """

    layer: Layer
    keys: Tensor

    def uniform(self, stream: int, range: Range, *shape: int) -> Tensor:
        """Return float32 (N, shape...), equally likely from ``range[0]`` to ``range[1]``."""
        low, high = map(float, range)
        return self.layer.apply(ops.RowUniform(shape, low, high, stream), self.keys)

    def normal(self, stream: int, *shape: int) -> Tensor:
        """Return normal numbers (N, shape...) of mean 0 and deviation 1."""
        return self.layer.apply(ops.RowNormal(shape, stream), self.keys)

    def true(self, stream: int, probability: float | Tensor, *shape: int) -> Tensor:
        """Return truth values (N, shape...)."""
        if not isinstance(probability, Tensor):
            probability = self.layer.filled(probability, ())
        return self.layer.apply(ops.RowBernoulli(shape, stream), self.keys, probability)


def column(x: Tensor, rank: int) -> Tensor:
    """Return one number per sample (N,) in a shape (N, 1...) of ``rank`` axes."""
    return Layer.begin("column").apply(ops.Reshape((x.shape[0], *(1,) * (rank - 1))), x)


def select(layer: Layer, chosen: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return the samples of ``yes`` that are chosen (N,), or all if () is, else those of ``no``.

    Raises:
        LayerError: both are of different types.
    """
    if yes is no:
        return no
    if yes.type != no.type:
        raise layer.error(f"chooses between {yes.type} and {no.type}, which must be of one type")
    return layer.apply(ops.Select(), column(chosen, no.rank) if chosen.rank else chosen, yes, no)


def at_least(x: Tensor, bound: float) -> Tensor:
    """Return where numbers are at least ``bound``."""
    return Layer.begin("at_least").apply(ops.GreaterEqual(), x, constant(bound, x))


def checked(
    what: str, range: Range, low: float = float("-inf"), high: float = float("inf")
) -> Range:
    """Return a range.

    Raises:
        LayerError: it is not ascending, or leaves ``low`` to ``high``.
    """
    if not low <= range[0] <= range[1] <= high:
        bounds = f" from {low} to {high}" if high < float("inf") else f", at least {low}"
        raise LayerError(
            f"{what}={range} must be two numbers, the lower one first"
            f"{bounds if low > float('-inf') else ''}"
        )
    return range


def probability_of(what: str, probability: float) -> float:
    """Return a probability.

    Raises:
        LayerError: it is none.
    """
    return checked(f"{what}: probability", (probability, probability), 0, 1)[0]


__all__ = ["Draws", "Range", "at_least", "checked", "column", "probability_of", "select", "split"]
