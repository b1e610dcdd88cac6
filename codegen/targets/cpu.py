# SPDX-License-Identifier: MIT
"""CPU targets: this machine, x86-64 levels, and aarch64 as a cross-compiled library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import TargetError
from ...runtime.machine import TargetInfo, cpu_features, this_arch
from ...runtime.program import Program
from ..compile_kernels import assembly_of, compile_functions, compile_kernels
from ..emit import emit_main
from ..kernel import Kernel
from ..link import link_shared
from ..objects import find_kernel, keep_kernel
from ..schedules.cpu import schedule_cpu
from ..spills import spills
from ..spmd import MAIN, spmd_functions
from ..unit import VectorUnit
from ..views import Strides
from .base import LIBRARY, Target

if TYPE_CHECKING:
    from ..library import Planned

_X86_LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v2": ("sse4_2", "ssse3", "popcnt"),
    "x86-64-v3": ("avx2", "fma", "f16c", "bmi2"),
    "x86-64-v4": ("avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512dq"),
}
_AARCH64 = {"armv8-a": ("generic", ()), "armv8.2-a": ("generic", ("+v8.2a", "+fullfp16"))}

_UNITS = {
    "x86-64-v3": VectorUnit(lanes=8, registers=16),
    "x86-64-v4": VectorUnit(lanes=16, registers=32, l2=1 << 20),
    **dict.fromkeys(_AARCH64, VectorUnit(lanes=4, registers=32)),
}


@dataclass(frozen=True)
class CpuTarget(Target):
    """A CPU: ``march`` is ``native``, an x86-64 level or an Arm architecture level."""

    march: str = "native"

    @classmethod
    def from_options(cls, options: dict[str, str]) -> CpuTarget:
        """Return the target with these options.

        Raises:
            TargetError: an option or architecture is unknown.
        """
        unknown = set(options) - {"march"}
        if unknown:
            raise TargetError(f"target cpu has no option {min(unknown)!r}; known: march")
        march = options.get("march", "native")
        known = ["native", *_X86_LEVELS, *_AARCH64]
        if march not in known:
            raise TargetError(f"target cpu: unknown march {march!r}; known: {', '.join(known)}")
        return cls(march)

    @property
    def name(self) -> str:
        """Return ``cpu`` or ``cpu{march=...}``."""
        return "cpu" if self.march == "native" else f"cpu{{march={self.march}}}"

    @property
    def machine(self) -> str:
        """The processor architecture: ``x86_64`` or ``aarch64``."""
        if self.march == "native":
            return this_arch()
        return "aarch64" if self.march in _AARCH64 else "x86_64"

    def info(self) -> TargetInfo:
        """Return architecture, level and the CPU features that the code uses."""
        level = _native_level() if self.march == "native" else self.march
        features = tuple(sorted(_X86_LEVELS.get(level, ())))
        return TargetInfo(self.name, "cpu", "linux", self.machine, level, features)

    def schedule(self, function: Any, strides: Sequence[Strides] = ()) -> Any:
        """Return the function with CPU loop orders."""
        return schedule_cpu(function, strides)

    @property
    def unit(self) -> VectorUnit:
        """The widest vectors of the level."""
        level = _native_level() if self.march == "native" else self.march
        return _UNITS.get(level, VectorUnit(lanes=4, registers=16))

    def compiled(self, key: str) -> Kernel | None:
        """Return the kernel for ``key`` from the cache of object files."""
        return find_kernel(key)

    def build(self, program: Program, kernels: Mapping[str, Kernel], folder: Path) -> None:
        """Compile ``main`` and what is new of the kernels, and link all as a shared library."""
        target = self._tvm()
        # First and alone, because LLVM must not be set up by two threads at once.
        functions = {MAIN: emit_main(program)} | spmd_functions(self.machine)
        objects = {"main": compile_functions(functions, target)}
        missing = {n: k.function for n, k in kernels.items() if not k.code}
        fresh = compile_kernels(missing, target)
        for name, code in fresh.items():
            if kernels[name].key:
                keep_kernel(replace(kernels[name], function=None, code=code))
        objects |= {n: fresh.get(n, k.code) for n, k in kernels.items()}
        link_shared(objects, folder / LIBRARY, self.machine)

    def spills(self, kernel: Planned) -> int:
        """Return how often inner loops of a template's kernel keep vectors on the stack."""
        written = kernel.plan.build(kernel.views)
        return 0 if written is None else spills(assembly_of(written.function, self._tvm()))

    def _tvm(self) -> dict[str, Any]:
        level = _native_level() if self.march == "native" else self.march
        # Level 3 takes 1.7 times as long to compile (autoencoder of the corpus).
        target: dict[str, Any] = {"kind": "llvm", "num-cores": 1, "opt-level": 2}
        if level in _AARCH64:
            cpu, attributes = _AARCH64[level]
            target |= {"mtriple": "aarch64-linux-gnu", "mcpu": cpu, "mattr": list(attributes)}
        else:
            target |= {"mtriple": "x86_64-linux-gnu", "mcpu": level}
        return target


@lru_cache(maxsize=1)
def _native_level() -> str:
    """Return the best level this CPU has; a hypervisor may hide what its model name implies."""
    if this_arch() != "x86_64":
        return "armv8-a"
    best = "x86-64"
    for level, needed in _X86_LEVELS.items():
        if not cpu_features().issuperset(needed):
            break
        best = level
    return best
