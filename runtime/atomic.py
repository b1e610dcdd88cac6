# SPDX-License-Identifier: MIT
"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a file that takes the name ``path`` when the block ends without an error.

    Args:
        path: the name; a file of that name is replaced.
        durable: also write through to the disk, so that a crash of the machine keeps it whole.

    Raises:
        OSError: it cannot be written; nothing is left behind and ``path`` is untouched.
    """
    temporary = _sibling(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the name ``path`` when the block ends without an error.

    A folder that is already called ``path`` is replaced in one step and then removed.

    Raises:
        OSError: it cannot be written; nothing is left behind and ``path`` is untouched.
    """
    temporary = _sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        _sync_folder(temporary)
        if path.exists():
            _exchange(temporary, path)
        else:
            temporary.rename(path)
    finally:
        # After an exchange this is the old folder.
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


class HashingFile:
    """A new file, for use with ``contextlib.closing``, that knows its size and SHA-256."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._state = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._file.write(data)
        self._state.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Digest of everything written so far."""
        return self._state.hexdigest()

    def close(self) -> None:
        """Write through to the disk and close."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _sibling(path: Path) -> Path:
    # In the same folder, so that the rename stays within one file system.
    return path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"


def _exchange(new: Path, old: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    arguments = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
    if rename is not None and rename(*arguments) == 0:
        return
    # Not every file system can exchange; then the name is free for an instant.
    aside = _sibling(old)
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    aside.rename(new)


def _sync_folder(path: Path) -> None:
    # A rename is durable only when the folder is; some file systems refuse, which is no error.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
