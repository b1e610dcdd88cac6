# SPDX-License-Identifier: MIT
"""How the kernels of a CUDA library are launched: written by codegen, read by the executor."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ArtifactError


@dataclass(frozen=True)
class Launch:
    """One device function and how to start it.

    Attributes:
        function: symbol in the CUDA source.
        blocks: size of the grid.
        threads: threads of a block.
        arguments: for each parameter the number of the kernel step's argument.
    """

    function: str
    blocks: int
    threads: int
    arguments: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.blocks < 2**31 or not 1 <= self.threads <= 1024:
            raise ArtifactError(
                f"device function {self.function!r}: {self.blocks} blocks of {self.threads} threads"
            )


@dataclass(frozen=True)
class KernelLaunches:
    """A kernel as the device functions that it starts, in order."""

    kernel: str
    launches: tuple[Launch, ...]


@dataclass(frozen=True)
class CudaLibrary:
    """What a CUDA target builds: source for every kernel, compiled when it is first loaded."""

    arch: str
    source: str
    kernels: tuple[KernelLaunches, ...]
