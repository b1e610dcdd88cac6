# SPDX-License-Identifier: MIT
"""What kernels written by hand know of a processor core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VectorUnit:
    """What templates know of a processor core.

    Attributes:
        lanes: float32 elements of a vector register.
        registers: vector registers.
        chains: independent multiply-adds in flight that keep the units busy.
        l1: bytes of the first cache.
        l2: bytes of the second cache.
    """

    lanes: int
    registers: int
    chains: int = 10
    l1: int = 32 << 10
    l2: int = 512 << 10
