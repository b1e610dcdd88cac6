# SPDX-License-Identifier: MIT
"""Compiled programs on disk, found by the content of what they were compiled from.

The object files of their kernels are kept beside them, in the folder of ``object_folder``.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import platformdirs

from ..errors import ArtifactError, CacheError
from ..runtime.atomic import atomic_folder
from ..runtime.program import Program
from ..runtime.strict_json import parse_object

VARIABLE = "RANVIER_CACHE"
"""Environment variable with the cache's folder; ``off`` keeps nothing beyond the process."""

_FORMAT = 2
_PROGRAM = "program.json"
_KERNEL_SOURCES = ("codegen", "ir")
_PROGRAM_SOURCES = (*_KERNEL_SOURCES, "passes", "runtime")


def cache_folder() -> Path:
    """Return the folder of the cache; with ``RANVIER_CACHE=off`` one that goes with the process."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "off":
        return _temporary_folder()
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("ranvier"))


def object_folder(key: str) -> Path:
    """Return the folder for the object file of the kernel with this key."""
    return _root() / "objects" / key[:2]


def cached(key: str, make: Callable[[Path], Program]) -> tuple[Program, Path]:
    """Return the program for ``key`` and the folder with its library, made if not there yet.

    Args:
        key: what :func:`cache_key` gave.
        make: writes the library into a folder and returns the program.

    Raises:
        CacheError: the cache cannot be written; nothing is left half written.
    """
    folder = _root() / key[:2] / key
    program = _read(folder)
    if program is not None:
        return program, folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as fresh:
            program = make(fresh)
            _seal(fresh, program)
    except OSError as error:
        raise CacheError(
            f"cannot write the kernel cache {cache_folder()} ({error.strerror or error}); "
            f"free space, or set {VARIABLE} to a writable folder or to 'off'"
        ) from error
    return program, folder


def cache_key(*parts: str) -> str:
    """Return the digest of texts and of every version that decides what they compile to."""
    return _digest(_versions(), _source_digest(*_PROGRAM_SOURCES), *parts)


def kernel_key(*parts: str) -> str:
    """Like :func:`cache_key` for one kernel, which the passes no longer have a say in."""
    return _digest(_versions(), _source_digest(*_KERNEL_SOURCES), *parts)


def _digest(*parts: str) -> str:
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def cache_size() -> tuple[int, int]:
    """Return how many programs the cache holds, and the bytes of all its files."""
    programs = list(cache_folder().glob(f"v*/??/*/{_PROGRAM}"))
    files = [f for f in cache_folder().glob("v*/**/*") if f.is_file()]
    return len(programs), sum(f.stat().st_size for f in files)


def clear_cache() -> None:
    """Remove every cached program, of other versions too.

    Raises:
        CacheError: a folder cannot be removed.
    """
    try:
        for folder in cache_folder().glob("v*"):
            shutil.rmtree(folder)
    except OSError as error:
        raise CacheError(f"cannot clear the kernel cache {cache_folder()}: {error}") from error


def _root() -> Path:
    return cache_folder() / f"v{_FORMAT}"


def _seal(folder: Path, program: Program) -> None:
    """Write the program and the checksum of every file beside it."""
    text = json.dumps(program.to_json(), separators=(",", ":"))
    (folder / _PROGRAM).write_text(text)
    sums = {f.name: _sha256(f) for f in sorted(folder.iterdir())}
    (folder / "sums.json").write_text(json.dumps(sums))


def _read(folder: Path) -> Program | None:
    """Return the program in ``folder``; ``None`` if it is not there or damaged."""
    try:
        sums = parse_object((folder / "sums.json").read_bytes(), str(folder))
        if not all(_sha256(folder / name) == expected for name, expected in sums.items()):
            return None
        data = parse_object((folder / _PROGRAM).read_bytes(), str(folder))
        return Program.from_json(data)
    except (OSError, ArtifactError):
        # A damaged entry is compiled again and replaced: the cache holds nothing of its own.
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def _versions() -> str:
    names = ("ranvier", "apache-tvm", "apache-tvm-ffi", "ziglang")
    return " ".join(f"{n}={version(n)}" for n in names)


@lru_cache(maxsize=2)
def _source_digest(*folders: str) -> str:
    """Return a digest of the compiler's code, so that a changed lowering is a changed key."""
    state = hashlib.sha256()
    package = Path(__file__).parents[1]
    for folder in folders:
        for path in sorted((package / folder).rglob("*.py")):
            state.update(path.read_bytes())
    return state.hexdigest()


@lru_cache(maxsize=1)
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ranvier-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
