# SPDX-License-Identifier: MIT
"""CUDA source to machine code with NVIDIA's run-time compiler; needs no GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ..errors import TargetError

INSTALL = "pip install 'ranvier[cuda]'"


def compile_cuda(source: str, arch: str) -> bytes:
    """Return the cubin of CUDA C for a compute capability such as ``sm_80``.

    Raises:
        TargetError: the compiler is not installed or refuses the source.
    """
    nvrtc = _nvrtc()
    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"model.cu", 0, [], []))
    options = [f"--gpu-architecture={arch}", "--std=c++17"]
    options += [f"--include-path={folder}" for folder in _include_folders()]
    encoded = [o.encode() for o in options]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
    if int(status) != 0:
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        text = log.decode(errors="replace").strip()
        raise TargetError(f"the CUDA source does not compile for {arch}: {text[:2000]}")
    cubin: bytes = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    nvrtc.nvrtcGetCUBIN(program, cubin)
    nvrtc.nvrtcDestroyProgram(program)
    return cubin


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        raise TargetError(f"CUDA artifacts need NVIDIA's compiler wheels: {INSTALL}") from None
    return nvrtc


def _checked(result: tuple[Any, ...]) -> Any:
    status, value = result
    if int(status) != 0:
        raise TargetError(f"NVIDIA's run-time compiler failed: {status}")
    return value


def _include_folders() -> list[Path]:
    """Return the folders with CUDA's headers, which come as wheels."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    headers = [h.parent for root in roots for h in root.glob("*/include/cuda_fp16.h")]
    standard = [h.parents[2] for root in roots for h in root.glob("*/include/**/cuda/std/cstdint")]
    if not headers:
        raise TargetError(f"CUDA's headers are not installed: {INSTALL}")
    return [*headers, *standard]
