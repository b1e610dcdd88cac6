# SPDX-License-Identifier: MIT
"""Tensors one after the other in one array, each from the start of a block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..ir import Array
from ..runtime.buffers import aligned_empty

BLOCK = 1024
"""Numbers of a block: few enough that small tensors waste little, many enough that what is
done once a block costs nothing."""


@dataclass(frozen=True)
class Layout:
    """Where tensors lie in an arena of blocks.

    Attributes:
        shapes: of the tensors by name, in order.

    >>> layout = Layout({"w": (40, 30), "b": (30,)})
    >>> layout.blocks, {name: a.shape for name, a in layout.views(layout.arena()).items()}
    (3, {'w': (40, 30), 'b': (30,)})
    """

    shapes: Mapping[str, tuple[int, ...]]

    @cached_property
    def counts(self) -> list[int]:
        """Blocks of each tensor, at least one."""
        return [max(1, -(-math.prod(s) // BLOCK)) for s in self.shapes.values()]

    @cached_property
    def starts(self) -> list[int]:
        """First block of each tensor."""
        return list(itertools.accumulate(self.counts, initial=0))[:-1]

    @property
    def blocks(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def arena(self, fill: float = 0.0) -> Array:
        """Return a new float32 array (blocks, :data:`BLOCK`), aligned to 64 bytes."""
        array = aligned_empty((self.blocks, BLOCK), np.float32)
        array[...] = fill
        return array

    def views(self, arena: Array) -> dict[str, Array]:
        """Return the tensors in an arena, contiguous and aligned to 64 bytes."""
        flat = arena.reshape(-1)
        return {
            name: flat[start * BLOCK :][: math.prod(shape)].reshape(shape)
            for (name, shape), start in zip(self.shapes.items(), self.starts, strict=True)
        }

    def spread(self, numbers: Array) -> Array:
        """Return one number a block for one number a tensor."""
        return np.repeat(numbers, self.counts)

    def gathered(self, sums: Array) -> Array:
        """Return sums over tensors for sums over blocks."""
        found: Array = np.add.reduceat(sums, self.starts)
        return found


__all__ = ["BLOCK", "Layout"]
