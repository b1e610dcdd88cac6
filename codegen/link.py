# SPDX-License-Identifier: MIT
"""Links object files to shared libraries with the lld of the ziglang wheel.

A machine that only has Python has no linker, and the system's own cannot link for another
architecture; one bundled linker does both, the same everywhere.
"""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UnsupportedError

_EMULATION = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}
ENTRY_POINTS = ("ranvier_run", "ranvier_work", "ranvier_dismiss")
_TIMEOUT_SECONDS = 300
# Entry points alone are visible: kernels of equal names in two libraries never meet, and what no
# kernel uses (TVM adds helpers to every object) is dropped.
_VISIBLE = f"{{ global: {'; '.join(ENTRY_POINTS)}; local: *; }};\n"
_OPTIONS = ("--build-id=none", "--gc-sections", "--strip-debug", "--no-undefined-version")


def link_shared(objects: Mapping[str, bytes], library: Path, machine: str) -> None:
    """Link object files into a shared library whose only visible symbols are its entry points.

    Args:
        objects: ELF object files by name.
        library: the file to write.
        machine: ``x86_64`` or ``aarch64``.

    Raises:
        UnsupportedError: the linker is missing or refuses.
    """
    with TemporaryDirectory(prefix="ranvier-") as folder:
        script = Path(folder) / "visible"
        script.write_text(_VISIBLE)
        paths = [Path(folder) / f"{name}.o" for name in objects]
        for path, code in zip(paths, objects.values(), strict=True):
            path.write_bytes(code)
        # Names come from a file: hundreds of kernels would make a long command line.
        names = Path(folder) / "objects"
        names.write_text("\n".join(f'"{path}"' for path in paths))
        _run_linker(
            ["-m", _EMULATION[machine], *_OPTIONS, f"--version-script={script}", f"@{names}"],
            library,
        )


def _run_linker(arguments: Sequence[str], library: Path) -> None:
    command = [str(linker()), "ld.lld", "-shared", "-o", str(library), *arguments]
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
