# SPDX-License-Identifier: MIT
"""What a run reads: anything that gives the batches of an epoch in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from ..ir import Array


class Batches(Protocol):
    """A :class:`~ranvier.training.data.DataLoader`, or the like."""

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""

    def epoch(self, number: int, start_step: int = 0) -> Iterator[Mapping[str, Array]]:
        """Yield the batches of an epoch from number ``start_step`` on."""


__all__ = ["Batches"]
