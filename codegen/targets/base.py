# SPDX-License-Identifier: MIT
"""The target interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.op import Kind, Op
from ...ir.types import TensorType, Type
from ...runtime.machine import TargetInfo
from ...runtime.program import Program
from ..unit import VectorUnit
from ..views import Strides

if TYPE_CHECKING:
    from ..kernel import Kernel
    from ..library import Planned

LIBRARY = "model.so"
"""File name of what a target builds."""


@dataclass(frozen=True)
class Target(ABC):
    """A device class: what it can run, how its kernels are scheduled, built and linked.

    Attributes:
        accuracy: ``default``, or ``strict``: no algorithms that round more than the definition.
    """

    accuracy: str = field(default="default", kw_only=True)

    @property
    @abstractmethod
    def name(self) -> str:
        """The target as the user writes it, such as ``cpu`` or ``cuda{arch=sm_90}``."""

    @abstractmethod
    def info(self) -> TargetInfo:
        """Return what an artifact records: kind, architecture, features that must be present."""

    @abstractmethod
    def schedule(self, function: Any, strides: Sequence[Strides] = ()) -> Any:
        """Return a TIR function scheduled for this target.

        Args:
            function: operands, results and scratch as buffers.
            strides: of the first of them; ``None`` for those that lie by themselves.
        """

    @property
    def unit(self) -> VectorUnit | None:
        """The processor core that templates write kernels for; ``None`` without templates."""
        return None

    @abstractmethod
    def build(self, program: Program, kernels: Mapping[str, Kernel], folder: Path) -> None:
        """Compile steps and kernels into :data:`LIBRARY` in ``folder``.

        Raises:
            CompileError: a kernel cannot be compiled.
        """

    def compiled(self, key: str) -> Kernel | None:
        """Return the kernel for ``key`` if this target keeps compiled kernels and has it."""
        return None

    def spills(self, kernel: Planned) -> int:
        """Return how often inner loops of a template's kernel keep vectors on the stack."""
        return 0

    def supports(self, op: Op, *types: Type) -> bool:
        """Whether kernels of this target can run ``op`` on operands of these types."""
        from ..lowering.base import LOWERINGS
        from ..lowering.storage import has_storage

        if op.kind is Kind.HOST:
            return False
        if not all(isinstance(t, TensorType) and has_storage(t.dtype) for t in types):
            return False
        return op.kind is Kind.CONTROL or type(op) in LOWERINGS or self.keeps(op, *types)

    def keeps(self, op: Op, *types: Type) -> bool:
        """Whether a composite of operands of these types is best left whole."""
        from ...ir.ops import BlockOp, NormaliseByMoments, PooledMoments, SlabMoments, SlabSums
        from ..templates.blocks import in_one_pass
        from ..templates.rows import keeps

        if self.unit is None:
            return False
        if isinstance(op, SlabMoments | NormaliseByMoments):
            return isinstance(types[0], TensorType) and self.normalises(types[0])
        if isinstance(op, BlockOp):
            return in_one_pass(op, types, self.unit)
        if isinstance(op, PooledMoments | SlabSums):
            return isinstance(types[0], TensorType) and types[0].dtype == "float32"
        return keeps(op, types, self.unit)

    def normalises(self, type: TensorType) -> bool:
        """Whether moments of slabs of such data, and normalisations by them, have templates."""
        from ..templates.normalise import normalises

        return self.unit is not None and normalises(type)

    def sums_slabs(self, type: TensorType) -> bool:
        """Whether sums of slabs of such data have a template that is worth it."""
        return self.normalises(type) and self.unit is not None and type.dims[1] >= self.unit.lanes
