# SPDX-License-Identifier: MIT
"""What the machine is: processor, caches, system and packages; nothing that names it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

_PACKAGES = (
    "ranvier",
    "numpy",
    "apache-tvm",
    "apache-tvm-ffi",
    "ziglang",
    "onnx",
    "onnxruntime",
    "openvino",
    "torch",
    "monai",
    "transformers",
    "matplotlib",
)
_FLAGS = re.compile(r"(avx\w*|fma|f16c|amx\w*|asimd\w*|sve\w*|i8mm|bf16)$")
"""The processor's features that matter to kernels."""

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def describe() -> dict[str, Any]:
    """Return a description of this machine as JSON types."""
    return {
        "processor": _cpuinfo("model name") or platform.machine(),
        "architecture": platform.machine(),
        "flags": sorted(f for f in _features() if _FLAGS.match(f)),
        "cores": os.cpu_count(),
        "allowed_cores": len(os.sched_getaffinity(0)),
        "caches": caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the versions of the packages that matter, where installed."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    """Return the bytes of the first core's data caches by level, such as ``L1``.

    Empty where the system does not tell.
    """
    found: dict[str, int] = {}
    for index in sorted(folder.glob("index*")):
        kind, level, size = (_read(index / name) for name in ("type", "level", "size"))
        if kind in {"Data", "Unified"} and size:
            found[f"L{level}"] = int(size.rstrip("KMG")) * _UNITS.get(size[-1], 1)
    return dict(sorted(found.items()))


def _features() -> list[str]:
    return (_cpuinfo("flags") or _cpuinfo("Features")).split()


def _cpuinfo(key: str) -> str:
    match = re.search(rf"^{key}\s*: (.*)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return match[1].strip() if match else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
