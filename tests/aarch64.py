# SPDX-License-Identifier: MIT
"""Runs compiled models of aarch64 in an emulated process, by a driver in C."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ranvier.codegen.build import Built
from ranvier.codegen.link import linker
from ranvier.ir.types import Array
from ranvier.runtime.buffers import ParameterBlob
from ranvier.runtime.program import TensorSpec

_EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
_SYSTEM = Path("/usr/aarch64-linux-gnu")
"""Loader and C library of Debian's ``libc6-arm64-cross``."""
_PACKAGES = "apt-get install qemu-user-static libc6-arm64-cross"
_SECONDS = 120


def why_not() -> str:
    """Return why nothing of aarch64 can run here; empty if it can."""
    if not any(map(shutil.which, _EMULATORS)):
        return f"no {_EMULATORS[0]}: {_PACKAGES}"
    if not (_SYSTEM / "lib/ld-linux-aarch64.so.1").exists():
        return f"no C library of aarch64 in {_SYSTEM}: {_PACKAGES}"
    return ""


def build_driver(folder: Path) -> Path:
    """Return the driver, compiled into ``folder``."""
    driver = folder / "driver"
    source = Path(__file__).with_name("aarch64_driver.c")
    options = ["-target", "aarch64-linux-gnu.2.34", "-std=c11", "-O1", "-Wall", "-Wextra"]
    _run([linker(), "cc", *options, "-Werror", "-o", driver, source])
    return driver


def run_emulated(
    driver: Path, built: Built, inputs: Sequence[Array], folder: Path, threads: int, runs: int
) -> list[Array]:
    """Return the outputs of the last of ``runs`` runs of a program without host steps.

    Args:
        driver: of :func:`build_driver`.
        built: the program.
        inputs: one array per input.
        folder: where files are written.
        threads: how many threads run it.
        runs: how often it is run.
    """
    program = built.program
    assert not list(program.host_steps())
    blob = ParameterBlob.of(program, built.weights).block.array
    paths = [_written(folder / "parameters", blob)]
    paths += [_written(folder / f"input{k}", array) for k, array in enumerate(inputs)]
    specs = [s for s in program.outputs if isinstance(s, TensorSpec)]
    results = [folder / f"output{k}" for k in range(len(specs))]
    numbers = (threads, runs, len(program.steps), program.arena_bytes)
    sizes = [word for p, s in zip(results, specs, strict=True) for word in (p, s.nbytes)]
    emulator = next(filter(None, map(shutil.which, _EMULATORS)))
    _run([emulator, "-L", _SYSTEM, driver, built.library, *numbers, *paths, "--", *sizes])
    return [
        np.fromfile(path, spec.numpy_dtype).reshape(spec.dims)
        for path, spec in zip(results, specs, strict=True)
    ]


def _written(path: Path, array: Array) -> Path:
    path.write_bytes(np.ascontiguousarray(array).tobytes())
    return path


def _run(command: Sequence[object]) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=_SECONDS)
    assert done.returncode == 0, f"{words[0]} gave {done.returncode}: {done.stderr[-2000:]}"
