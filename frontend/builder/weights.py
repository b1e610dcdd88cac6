# SPDX-License-Identifier: MIT
"""What parameters hold at first: seeded numbers that depend on the parameter's name alone."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from ...ir import Array, TensorType, numpy_dtype

_HALF = 1 << 23
"""Half the number of steps between the bounds: 24 bits, all that float32 tells apart."""


@dataclass(frozen=True)
class Uniform:
    """Numbers from ``low`` to ``high``, all equally likely.

    They come from a counter-based generator whose key is made of the seed and the parameter's
    name: adding a layer changes no other, and every process and machine draws the same.

    >>> Uniform(-1.0, 1.0).draw(0, "conv1.weight", TensorType("float32", (2,))).tolist()
    [..., ...]

    References:
        Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox).
    """

    low: float
    high: float

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Return the first value of the parameter ``name``."""
        key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16]
        # The raw bits are what NumPy promises never to change; its distributions may.
        words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(-(-type.size // 2))
        bits = words.astype("<u8", copy=False).view("<u4")[: type.size] >> 8
        # In float32 as exactly as in any wider type: steps are small whole numbers.
        numbers = bits.astype(np.float32)
        numbers -= _HALF
        numbers *= (self.high - self.low) / (2 * _HALF)
        numbers += (self.high + self.low) / 2
        return numbers.reshape(type.dims).astype(numpy_dtype(type.dtype), copy=False)


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
