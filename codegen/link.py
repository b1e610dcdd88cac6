# SPDX-License-Identifier: MIT
"""Links object files to shared libraries with the lld of the ziglang wheel.

A machine that only has Python has no linker, and the system's own cannot link for another
architecture; one bundled linker does both, the same everywhere.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

from ..errors import UnsupportedError

_EMULATION = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}
_TIMEOUT_SECONDS = 300


def link_shared(obj: Path, library: Path, machine: str) -> None:
    """Link ``obj`` into the shared library ``library``.

    Args:
        obj: an ELF object file.
        library: the file to write.
        machine: ``x86_64`` or ``aarch64``.

    Raises:
        UnsupportedError: the linker is missing or refuses.
    """
    command = [str(linker()), "ld.lld", "-shared", "-m", _EMULATION[machine]]
    command += ["--build-id=none", "-o", str(library), str(obj)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedError(f"linking {library.name} failed: {error}") from error
    if done.returncode != 0:
        raise UnsupportedError(f"linking {library.name} failed: {done.stderr.strip()[-400:]}")


def linker() -> Path:
    """Return the path of the ``zig`` program, whose ``ld.lld`` command is the linker.

    Raises:
        UnsupportedError: the ziglang package is not installed.
    """
    spec = importlib.util.find_spec("ziglang")
    locations = list(spec.submodule_search_locations or ()) if spec else []
    for folder in locations:
        program = Path(folder) / "zig"
        if program.is_file():
            return program
    raise UnsupportedError(
        "no linker found: the package 'ziglang' is missing; run 'pip install ziglang'"
    )
