# SPDX-License-Identifier: MIT
"""What a template is: a way to compute a group that asks for layouts and packed constants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...ir.graph import Node
from ...ir.types import Array
from ..packing import Packing
from ..unit import VectorUnit
from ..views import Request, View


class Plan(ABC):
    """A template applied to one group; equal plans with equal views are equal kernels.

    ``str(plan)`` names template and parameters and is part of a kernel's identity.
    """

    @property
    @abstractmethod
    def operands(self) -> Sequence[Request]:
        """What is asked of each operand."""

    @property
    @abstractmethod
    def result(self) -> Request:
        """What is asked of the result."""

    @property
    def strided(self) -> frozenset[int]:
        """Numbers of the operands that are read as well whatever their strides."""
        return frozenset()

    @property
    def packings(self) -> Mapping[int, Packing]:
        """How constant operands are rearranged, by number."""
        return {}

    def alternatives(self) -> Sequence[Plan]:
        """Return other ways to do the same, for measurements to choose from."""
        return ()

    @abstractmethod
    def build(self, views: Sequence[View]) -> Written | None:
        """Write the kernel for operands and a result that lie like ``views``.

        Returns:
            ``None`` if the group is better lowered by TE when they lie like that.
        """


@dataclass(frozen=True)
class Written:
    """A kernel written by a template.

    Attributes:
        function: TIR of pointers to operands, result and scratch, then thread and threads.
        scratch: bytes of each scratch buffer.
        split: whether the threads share the work; otherwise one does it all.
    """

    function: Any
    scratch: tuple[int, ...] = ()
    split: bool = True


Template: TypeAlias = Callable[[Node, Mapping[str, Array], VectorUnit], "Plan | None"]
"""Returns how it computes a fused node, given the graph's constants, or ``None``."""

__all__ = ["Plan", "Template", "VectorUnit", "Written"]
