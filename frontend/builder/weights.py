# SPDX-License-Identifier: MIT
"""What parameters hold at first: seeded numbers that depend on the parameter's name alone."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ...errors import LayerError
from ...ir import Array, TensorType, numpy_dtype
from .quantile import normal_probability, normal_quantile

_HALF = 1 << 23
"""Half the number of steps between the bounds: 24 bits, all that float32 tells apart."""


@dataclass(frozen=True)
class Fans:
    """How many products each sum takes, and in how many sums each operand is.

    Attributes:
        into: products that an output adds up.
        out: sums that an operand is a part of.
    """

    into: int
    out: int


class Initialiser(ABC):
    """What a parameter holds at first.

    Numbers come from a counter-based generator whose key is made of the seed and the
    parameter's name: adding a layer changes no other, and every process draws the same.

    References:
        Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox).
    """

    @abstractmethod
    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Return the first value of the parameter ``name``.

        Raises:
            LayerError: the initialiser has no numbers for such a shape.
        """

    def fitted(self, fans: Fans) -> Initialiser:
        """Return the initialiser for weights with these fans; by default they do not matter."""
        return self


def words(seed: int, name: str, count: int) -> Array:
    """Return random uint32 for the parameter ``name``."""
    key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16]
    # The raw bits are what NumPy promises never to change; its distributions may.
    raw = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(-(-count // 2))
    found: Array = raw.astype("<u8", copy=False).view("<u4")[:count]
    return found


@dataclass(frozen=True)
class Uniform(Initialiser):
    """Numbers from ``low`` to ``high``, all equally likely.

    >>> Uniform(-1.0, 1.0).draw(0, "conv1.weight", TensorType("float32", (2,))).tolist()
    [..., ...]
    """

    low: float
    high: float

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Return the first value of the parameter ``name``."""
        bits = words(seed, name, type.size) >> 8
        # In float32 as exactly as in any wider type: steps are small whole numbers.
        numbers = bits.astype(np.float32)
        numbers -= _HALF
        numbers *= (self.high - self.low) / (2 * _HALF)
        numbers += (self.high + self.low) / 2
        return _typed(numbers, type)


@dataclass(frozen=True)
class Normal(Initialiser):
    """Normally distributed numbers.

    Attributes:
        mean: of the distribution.
        deviation: its standard deviation.
        bound: how many standard deviations from the mean numbers may be; 0 for no bound. What
            lies beyond is not cut off but drawn from within, so the deviation of the result is
            smaller than ``deviation``, for a bound of 2 by a factor of 0.8796.
    """

    mean: float = 0.0
    deviation: float = 1.0
    bound: float = 0.0

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Return quantiles of uniform numbers."""
        numbers = (words(seed, name, type.size) + 0.5) / 2.0**32
        if self.bound:
            low = normal_probability(-self.bound)
            numbers = low + numbers * (1 - 2 * low)
        numbers = normal_quantile(numbers)
        return _typed(numbers * self.deviation + self.mean, type)


@dataclass(frozen=True)
class Filled(Initialiser):
    """One number everywhere."""

    value: float = 0.0

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Return an array of it."""
        return np.full(type.dims, self.value, numpy_dtype(type.dtype))


def truncated_normal(mean: float = 0.0, deviation: float = 0.05) -> Normal:
    """Return normally distributed numbers at most two deviations from the mean."""
    return Normal(mean, deviation, 2.0)


def around(center: float, spread: float) -> Uniform:
    """Return what is drawn from an interval given by its centre and half its width."""
    return Uniform(center - spread, center + spread)


def scaled(fan_in: int, gain: float) -> Uniform:
    """Return weights that keep the mean square of sums over ``fan_in`` products.

    ``variance = gain / fan_in``: a gain of 1 for operands with mean 0, of 2 where a rectifier
    has cut off half of them.

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010. He et al., Delving deep into rectifiers, ICCV 2015.
    """
    return around(0.0, math.sqrt(3 * gain / fan_in))


def _typed(numbers: Array, type: TensorType) -> Array:
    return numbers.reshape(type.dims).astype(numpy_dtype(type.dtype), copy=False)


def refuse(owner: object, message: str) -> LayerError:
    """Return the error of an initialiser."""
    return LayerError(f"{owner}: {message}")


__all__ = [
    "Fans",
    "Filled",
    "Initialiser",
    "Normal",
    "Uniform",
    "around",
    "refuse",
    "scaled",
    "truncated_normal",
    "words",
]
