# SPDX-License-Identifier: MIT
"""CUDA targets, built without a GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import TargetError
from ...runtime.cuda_launch import CudaLibrary
from ...runtime.machine import TargetInfo, this_arch
from ...runtime.program import Program
from ...runtime.strict_json import encode
from ..cuda_source import cuda_source
from ..schedules.gpu import schedule_gpu
from ..views import Strides
from .base import LIBRARY, Target

if TYPE_CHECKING:
    from ..kernel import Kernel

_ARCHITECTURES = ("sm_80", "sm_90")


@dataclass(frozen=True)
class CudaTarget(Target):
    """An NVIDIA GPU of compute capability ``arch``."""

    arch: str = "sm_80"

    @classmethod
    def from_options(cls, options: dict[str, str]) -> CudaTarget:
        """Return the target with these options.

        Raises:
            TargetError: an option or architecture is unknown.
        """
        unknown = set(options) - {"arch"}
        if unknown:
            raise TargetError(f"target cuda has no option {min(unknown)!r}; known: arch")
        arch = options.get("arch", "sm_80")
        if arch not in _ARCHITECTURES:
            known = ", ".join(_ARCHITECTURES)
            raise TargetError(f"target cuda: unknown arch {arch!r}; known: {known}")
        return cls(arch)

    @property
    def name(self) -> str:
        """Return ``cuda{arch=...}``."""
        return f"cuda{{arch={self.arch}}}"

    def info(self) -> TargetInfo:
        """Return host architecture and the GPU's compute capability."""
        return TargetInfo(self.name, "cuda", "linux", this_arch(), device=self.arch)

    def schedule(self, function: Any, strides: Sequence[Strides] = ()) -> Any:
        """Return the function with its loops bound to blocks and threads."""
        return schedule_gpu(function)

    def build(self, program: Program, kernels: Mapping[str, Kernel], folder: Path) -> None:
        """Write CUDA source and launches; they are compiled where the artifact is loaded."""
        source, launches = cuda_source({n: k.function for n, k in kernels.items()}, self.arch)
        library = CudaLibrary(self.arch, source, launches)
        text = json.dumps(encode(library), separators=(",", ":"))
        (folder / LIBRARY).write_text(text)
